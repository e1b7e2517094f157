"""Normal draws that are the same bits on every backend and in every exported file.

A seed must give the same image in Keras, in LiteRT, in ONNX Runtime and in a browser, and these
share no random operation. So the draws are computed from a counter, with operations that all of
them have and agree on: additions, products and divisions by constants of integers below 2^31,
which cannot overflow, and a look-up in a table.

The generator maps (seed, index of the example, latent dimension) to two 16-bit words by a Feistel
network whose round function takes the middle bits of a square (von Neumann's middle square,
brought back by Widynski), under the rotating three-word key of Threefry: two halves of the seed and
a mix of both. Five rounds pass every test that we have; seven are made. Like every counter-based
design (Salmon et al.) it has no state: example k of a seed is the same whether one or a hundred
are drawn, and any part can be drawn anywhere.

A normal draw is the sum of two table entries, one for each word. The entries are the means of 4096
slices of equal probability of N(0, 9/16) and N(0, 7/16), on a grid of 2^-18, on which sums are
exact; sums of 2^24 equally probable pairs, they follow N(0, 1) within 4e-5 of its distribution
function and within 2 % of its tail probabilities up to four standard deviations; none exceeds 5.4.

Limits: seeds below 2^31, 2^20 examples a seed, 4096 latent dimensions. Two seeds give unrelated
streams, not provably disjoint ones; within a seed no pair of words comes twice. Not for
cryptography.
`benchmarks/portable_random_statistics.py` holds it against N(0, I).

References:
    - Salmon et al., 2011, Parallel Random Numbers: As Easy as 1, 2, 3.
      https://doi.org/10.1145/2063384.2063405 (counter-based generators, Threefry's key schedule)
    - Widynski, 2020, Squares: A Fast Counter-Based RNG. https://arxiv.org/abs/2004.06278
"""

import functools
import statistics

import numpy as np

SEEDS = 2**31
MOST_EXAMPLES = 2**20
MOST_DIMENSIONS = 2**12
TABLE_SIZE = 2**12

_ROUNDS = 7
# Large enough that no number to be squared is small, whose square would have no middle, and small
# enough that none reaches 2^31.
_KEY_OFFSETS = (40503, 35129, 46337)
# For the key's third word. Their sum less one is odd: no change of seed moves all words alike.
_KEY_FACTORS = (20077, 25057)
# Variances of the two table entries.
_VARIANCES = (9 / 16, 7 / 16)
# The outermost slice spreads too far for its mean to stand for it in the tail.
_OUTERMOST = 1.02
_GRID = 2.0**18


def normal(seed, index, latent_dim, ops=np):
    """Draw codes from N(0, I).

    Args:
        seed: Integer array or tensor `(1,)`, from 0 to 2^31 - 1.
        index: Integer array or tensor `(n,)`, from 0 to 2^20 - 1: which examples of the seed.
        latent_dim: Int, at most 4096.
        ops: Module that makes and looks up: `numpy` for arrays, `keras.ops` for tensors; then the
            draw can be part of a graph.

    Returns:
        float32 array or tensor `(n, latent_dim)`.

    Raises:
        ValueError: If `latent_dim` is out of range. Seeds and indices are not looked at here, for
            a graph cannot; see `check`.
    """
    if not 1 <= latent_dim <= MOST_DIMENSIONS:
        raise ValueError(
            f"The portable generator draws 1 to {MOST_DIMENSIONS} dimensions. "
            f"Received: {latent_dim}."
        )
    dimension = ops.arange(latent_dim, dtype="int32")[None]
    return _as_normal(*words(seed[:, None], index[:, None], dimension), ops)


def uniform(seed, index):
    """Draw a whole number from 0 to 2^31 - 1 for each example, apart from its normals.

    It takes the last dimension, 4095, which `normal` must then leave: `latent_dim` below 4096.

    Args:
        seed: Integer array or tensor `(1,)`, from 0 to 2^31 - 1.
        index: Integer array or tensor `(n,)`, from 0 to 2^20 - 1: which examples of the seed.

    Returns:
        Integer array or tensor `(n,)`.
    """
    first, second = words(seed, index, MOST_DIMENSIONS - 1)
    return first * 32768 + second // 2


def uniforms(seed, index, first, size, ops=np):
    """Draw numbers from (0, 1) for each example, apart from its normals.

    Multiples of 2^-23 and a half of it, which float32 holds exactly: the same bits everywhere.

    Args:
        seed: Integer array or tensor `(1,)`, from 0 to 2^31 - 1.
        index: Integer array or tensor `(n,)`, from 0 to 2^20 - 1: which examples of the seed.
        first: Int. Dimensions that the normals of an example take, its `latent_dim`.
        size: Int, how many numbers; with `first` at most 4095.
        ops: As for `normal`.

    Returns:
        float32 array or tensor `(n, size)`.

    Raises:
        ValueError: If there are not so many dimensions.
    """
    return normals_and_uniforms(seed, index, first, 0, size, ops)[1]


def normals_and_uniforms(seed, index, first, normals, uniforms, ops=np):
    """Draw numbers of N(0, 1) for each example, and others from (0, 1), apart from its code.

    Args:
        seed, index, first, ops: As for `uniforms`.
        normals: Int, how many of N(0, 1): those that `normal` gives behind the `first` ones.
        uniforms: Int, how many from (0, 1), as `uniforms` gives them behind all of these.

    Returns:
        Tuple of float32 arrays or tensors `(n, normals)` and `(n, uniforms)`.

    Raises:
        ValueError: If there are not so many dimensions.
    """
    size = normals + uniforms
    if first + size >= MOST_DIMENSIONS:
        raise ValueError(
            f"The portable generator draws {MOST_DIMENSIONS - 1} numbers an example. Received: "
            f"{first} dimensions of a code and {size} draws. Use shorter sequences, or fewer "
            "columns."
        )
    dimension = ops.arange(first, first + size, dtype="int32")[None]
    high, low = words(seed[:, None], index[:, None], dimension)
    normal = _as_normal(high[:, :normals], low[:, :normals], ops)
    whole = high[:, normals:] * 128 + low[:, normals:] // 512
    whole = whole.astype("float32") if ops is np else ops.cast(whole, "float32")
    return normal, (whole + np.float32(0.5)) * np.float32(2.0**-23)


def words(seed, index, dimension):
    """The two random words of a counter: integers from 0 to 65535.

    Args:
        seed, index, dimension: Integer arrays or tensors of shapes that broadcast.

    Returns:
        Tuple of two arrays or tensors. No intermediate value reaches 2^31.
    """
    low, high = seed % 65536, seed // 65536
    mixed = (low * _KEY_FACTORS[0] + high * _KEY_FACTORS[1]) % 65536
    key = [word + offset for word, offset in zip((low, high, mixed), _KEY_OFFSETS, strict=True)]
    left, right = index // 65536 * MOST_DIMENSIONS + dimension, index % 65536
    for n in range(_ROUNDS):
        x = right + key[n % 3]
        left, right = right, (x * (x // 16) // 128 + left) % 65536
    return left, right


def _as_normal(first, second, ops):
    a, b = tables()
    return ops.take(a, first // 16, axis=0) + ops.take(b, second // 16, axis=0)


@functools.cache
def tables():
    """The values that the two words stand for: two float32 arrays `(4096,)`."""
    standard = statistics.NormalDist()
    edges = [standard.inv_cdf(i / TABLE_SIZE) for i in range(1, TABLE_SIZE)]
    density = np.array([0.0, *(standard.pdf(edge) for edge in edges), 0.0])
    means = (density[:-1] - density[1:]) * TABLE_SIZE
    means[[0, -1]] *= _OUTERMOST
    means /= np.sqrt(np.mean(means**2))
    return tuple(
        (np.round(means * np.sqrt(variance) * _GRID) / _GRID).astype("float32")
        for variance in _VARIANCES
    )


def check(seed, count, latent_dim):
    """Raise a ValueError if the generator cannot draw this much from this seed."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < SEEDS:
        raise ValueError(
            f"`seed` must be a whole number from 0 to {SEEDS - 1}. Received: {seed!r}."
        )
    whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if not (whole and 1 <= count <= MOST_EXAMPLES):
        raise ValueError(
            f"`count` must be a whole number from 1 to {MOST_EXAMPLES}; draw more with further "
            f"seeds. Received: {count!r}."
        )
    if latent_dim > MOST_DIMENSIONS:
        raise ValueError(
            f"`latent_dim` must be at most {MOST_DIMENSIONS} to be drawn. Received: {latent_dim}."
        )
