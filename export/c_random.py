"""The C functions that draw: the same bits for the same seed on every machine."""

# `keras_vae.portable_random.normal`; its file says why no product overflows.
DRAW = """\
/* Seven rounds over a seed, an image and a dimension: two halves of 16 bits each. */
static void rounds(int32_t seed, int32_t index, int32_t dimension, int32_t half[2])
{
    const int32_t low = seed % 65536;
    const int32_t high = seed / 65536;
    const int32_t mixed = (low * 20077 + high * 25057) % 65536;
    const int32_t key[3] = {low + 40503, high + 35129, mixed + 46337};
    half[0] = index / 65536 * 4096 + dimension;
    half[1] = index % 65536;
    for (int32_t n = 0; n < 7; n++) {
        const int32_t sum = half[1] + key[n % 3];
        const int32_t next = (sum * (sum / 16) / 128 + half[0]) % 65536;
        half[0] = half[1];
        half[1] = next;
    }
}

/* One draw from N(0, 1): the same bits for the same arguments on every machine. */
static float draw(int32_t seed, int32_t index, int32_t dimension)
{
    int32_t half[2];
    rounds(seed, index, dimension, half);
    return normal_a[half[0] / 16] + normal_b[half[1] / 16];
}
"""
# `keras_vae.portable_random.uniform`, of the last dimension.
UNIFORM = """\
/* A whole number from 0 to 2147483647. */
static int32_t uniform(int32_t seed, int32_t index)
{
    int32_t half[2];
    rounds(seed, index, 4095, half);
    return half[0] * 32768 + half[1] / 2;
}
"""
