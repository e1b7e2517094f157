"""One seed, many uses: each draws from a stream of random numbers of its own.

A counter-based generator gives the same numbers for the same seed and counter, whoever asks. So two
uses of one seed would draw the same numbers, or functions of the same numbers: a label would be
unknown exactly where the noise of its code is small. Each use therefore folds its name into the
seed.
"""

import hashlib
import random

import numpy as np

SEEDS = 2**31


def fold(seed, name):
    """Return the seed of one use: a whole number from 0 to 2^31 - 1, from SHA-256; None for None.

    Args:
        seed: Optional int.
        name: Str. What the numbers are for.
    """
    if seed is None:
        return None
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % SEEDS


def stream(seed, name):
    """A `keras.random.SeedGenerator` of its own for one use of a seed.

    Args:
        seed: Optional int. None takes one from Python's generator, as Keras does: then
            `keras.utils.set_random_seed` repeats the draws.
        name: As for `fold`.
    """
    import keras  # here, because reading data needs none of it

    return keras.random.SeedGenerator(fold(seed, name))


def generator(seed, name):
    """A NumPy generator of its own for one use of a seed.

    Args:
        seed: Int, None as for `stream`, or a NumPy generator, which is returned.
        name: As for `fold`.
    """
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(fold(given_or_drawn(seed), name))


def given_or_drawn(seed):
    """Return a seed; for None one from 0 to 2^31 - 1 that Python's generator draws.

    `keras.utils.set_random_seed` and `random.seed` repeat it.
    """
    return random.randrange(SEEDS) if seed is None else seed
