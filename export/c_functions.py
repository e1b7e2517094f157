"""The C functions that compute layers: dense ones and convolutions."""

_DOT = """\
/* Four sums at once: each addition need not wait for the last. */
static float dot(const int8_t *weights, const float *x, int32_t size)
{
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    int32_t i = 0;
    for (; i + 3 < size; i += 4) {
        a += (float)weights[i] * x[i];
        b += (float)weights[i + 1] * x[i + 1];
        c += (float)weights[i + 2] * x[i + 2];
        d += (float)weights[i + 3] * x[i + 3];
    }
    for (; i < size; i++) {
        a += (float)weights[i] * x[i];
    }
    return (a + b) + (c + d);
}
"""
_DENSE = """\
static void dense(const int8_t *weights, const float *scales, const float *biases,
                  int32_t inputs, int32_t outputs, const float *x, float *y)
{
    for (int32_t o = 0; o < outputs; o++) {
        y[o] = dot(weights + o * inputs, x, inputs) * scales[o] + biases[o];
    }
}
"""
_CONVOLVE = """\
/* Repeats each pixel of x `repeat` times down and across, crops at the end to x_height x x_width,
 * and convolves, from one place to the next by `stride`, with zeros around: `above` and `left` of
 * them before the first pixel. */
static void convolve(const int8_t *weights, const float *scales, const float *biases,
                     int32_t kernel_height, int32_t kernel_width, int32_t above, int32_t left,
                     int32_t stride, int32_t repeat, int32_t x_height, int32_t x_width,
                     int32_t x_channels, int32_t height, int32_t width, int32_t channels,
                     const float *x, float *y)
{
    const int32_t pixels = (x_width + repeat - 1) / repeat;
    for (int32_t row = 0; row < height; row++) {
        for (int32_t column = 0; column < width; column++) {
            const int8_t *w = weights;
            for (int32_t o = 0; o < channels; o++) {
                float sum = 0.0f;
                for (int32_t i = 0; i < kernel_height; i++) {
                    const int32_t from_row = row * stride + i - above;
                    for (int32_t j = 0; j < kernel_width; j++, w += x_channels) {
                        const int32_t from_column = column * stride + j - left;
                        if (from_row >= 0 && from_row < x_height
                            && from_column >= 0 && from_column < x_width) {
                            const float *pixel = x
                                + (from_row / repeat * pixels + from_column / repeat) * x_channels;
                            sum += dot(w, pixel, x_channels);
                        }
                    }
                }
                *y++ = sum * scales[o] + biases[o];
            }
        }
    }
}
"""
_TRANSPOSE = """\
/* The transposed convolution of stride 2, cropped at the end to height x width: each value gathers
 * the pixels of x that would be spread over it. */
static void transpose(const int8_t *weights, const float *scales, const float *biases,
                      int32_t kernel_height, int32_t kernel_width,
                      int32_t x_height, int32_t x_width, int32_t x_channels,
                      int32_t height, int32_t width, int32_t channels, const float *x, float *y)
{
    const int32_t above = kernel_height > 2 ? (kernel_height - 2) / 2 : 0;
    const int32_t left = kernel_width > 2 ? (kernel_width - 2) / 2 : 0;
    for (int32_t row = 0; row < height; row++) {
        for (int32_t column = 0; column < width; column++) {
            const int8_t *w = weights;
            for (int32_t o = 0; o < channels; o++) {
                float sum = 0.0f;
                for (int32_t i = 0; i < kernel_height; i++) {
                    const int32_t twice_row = row + above - i;
                    for (int32_t j = 0; j < kernel_width; j++, w += x_channels) {
                        const int32_t twice_column = column + left - j;
                        if (twice_row >= 0 && twice_row % 2 == 0 && twice_row / 2 < x_height
                            && twice_column >= 0 && twice_column % 2 == 0
                            && twice_column / 2 < x_width) {
                            const float *pixel = x
                                + (twice_row / 2 * x_width + twice_column / 2) * x_channels;
                            sum += dot(w, pixel, x_channels);
                        }
                    }
                }
                *y++ = sum * scales[o] + biases[o];
            }
        }
    }
}
"""
_SLIDE = """\
/* Repeats each step of x `repeat` times up to x_steps, and convolves along time, from one place to
 * the next by `stride`, with zeros around: `before` of them before the first step. */
static void slide(const int8_t *weights, const float *scales, const float *biases,
                  int32_t kernel_steps, int32_t before, int32_t stride, int32_t repeat,
                  int32_t x_steps, int32_t x_channels,
                  int32_t steps, int32_t channels, const float *x, float *y)
{
    for (int32_t step = 0; step < steps; step++) {
        const int8_t *w = weights;
        for (int32_t o = 0; o < channels; o++) {
            float sum = 0.0f;
            for (int32_t i = 0; i < kernel_steps; i++, w += x_channels) {
                const int32_t from = step * stride + i - before;
                if (from >= 0 && from < x_steps) {
                    sum += dot(w, x + from / repeat * x_channels, x_channels);
                }
            }
            *y++ = sum * scales[o] + biases[o];
        }
    }
}
"""
_FUNCTIONS = {"dense": _DENSE, "convolve": _CONVOLVE, "transpose": _TRANSPOSE, "slide": _SLIDE}
# Of a function on int8 weights, what is another in the one on float32 weights.
_IN_FLOAT = {
    "static float dot(": "static float dot_float(",
    "static void dense(": "static void dense_float(",
    "static void convolve(": "static void convolve_float(",
    "static void transpose(": "static void transpose_float(",
    "static void slide(": "static void slide_float(",
    "const float *scales, ": "",
    "int8_t *w": "float *w",
    "(float)weights": "weights",
    " dot(": " dot_float(",
    " * scales[o]": "",
}


def of(layers):
    """The texts of the functions that compute layers, of int8 weights and of float32 ones."""
    texts = []
    for is_float in (False, True):
        kinds = {layer.kind for layer in layers if layer.is_float == is_float}
        used = [_DOT, *(_FUNCTIONS[kind] for kind in _FUNCTIONS if kind in kinds)]
        texts += [_in_float(text) if is_float else text for text in used if kinds]
    return texts


def _in_float(text):
    for given, made in _IN_FLOAT.items():
        text = text.replace(given, made)
    return text
