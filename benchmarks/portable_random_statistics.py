"""Whether the portable generator's draws are independent and N(0, I).

    python benchmarks/portable_random_statistics.py

Draws 2e7 values four times: from one seed after the other (2^20 images each), as a gallery (16
images of each seed), as one image of each seed, and as one value of each seed, the seeds being 0,
1, 2, ... For each it prints the worst score of each kind of test, in standard errors:

- *marginal*: moments, Kolmogorov-Smirnov, Anderson-Darling and tails of the values; chi-squares of
  the words they are made of; spectrum; coincidences of 32-bit words and of their spacings.
- *dimensions*: correlations of all pairs of latent dimensions, and their means and variances.
- *neighbours*: each value with the one of the next dimension, image, seed and so on: correlations
  of z with z, z^2 with z^2 and z with z^2; chi-squares of the pairs of words (their five highest
  and five lowest bits), of their differences and of their exclusive or.

The words are held against uniform, independent ones, so the values are held against the
distribution that the table gives to such words; how far this is from N(0, 1) is computed exactly
and printed first. Exit status 1 if that is further than `keras_vae/portable_random.py` says, or if
any score is beyond 5.
"""

import argparse
import sys
import time

import numpy as np
import receipts
from scipy import stats

from keras_vae import portable_random

MOST_SIGMAS = 5
LATENT_DIM = 20
TAILS = (2, 3, 3.5, 4, 4.5)
# Name, latent dimensions, images of a seed.
ARRANGEMENTS = (
    ("one seed after the other", LATENT_DIM, portable_random.MOST_EXAMPLES),
    ("16 images of each seed", LATENT_DIM, 16),
    ("one image of each seed", LATENT_DIM, 1),
    ("one value of each seed", 1, 1),
)
# What is added to (seed, index, dimension) to get to either of two neighbours.
NEIGHBOURS = {
    "next dimension": ((0, 0, 0), (0, 0, 1)),
    "dimension 2 later": ((0, 0, 0), (0, 0, 2)),
    "next image": ((0, 0, 0), (0, 1, 0)),
    "image 2 later": ((0, 0, 0), (0, 2, 0)),
    "image 16 later": ((0, 0, 0), (0, 16, 0)),
    "next image, dimension before": ((0, 0, 1), (0, 1, 0)),
    "next seed": ((0, 0, 0), (1, 0, 0)),
    "next seed, image before": ((0, 1, 0), (1, 0, 0)),
    "next seed, image after": ((0, 0, 0), (1, 1, 0)),
    "next seed, dimension before": ((0, 0, 1), (1, 0, 0)),
    "seed 65536 later": ((0, 0, 0), (65536, 0, 0)),
    "seed 65536 later, image before": ((0, 1, 0), (65536, 0, 0)),
    "seed 65537 later, image and dimension before": ((0, 1, 1), (65537, 0, 0)),
}


class Draws:
    """Values in one arrangement: `words` of 32 bits and `z`, both `(images, latent_dim)`."""

    def __init__(self, count, latent_dim, per_seed, shift=(0, 0, 0)):
        images = count // latent_dim
        self.words = np.empty((images, latent_dim), "uint32")
        self.z = np.empty((images, latent_dim), "float32")
        a, b = portable_random.tables()
        dimension = np.arange(latent_dim, dtype="int32")[None] + shift[2]
        rows = 65536 // latent_dim
        for start in range(0, images, rows):
            part = slice(start, min(start + rows, images))
            image = np.arange(part.start, part.stop, dtype="int32")[:, None]
            seed, index = image // per_seed + shift[0], image % per_seed + shift[1]
            first, second = portable_random.words(seed, index, dimension)
            self.words[part] = first.astype("uint32") << 16 | second.astype("uint32")
            self.z[part] = a[first // 16] + b[second // 16]

    @property
    def high(self):
        return (self.words >> 16).ravel()

    @property
    def low(self):
        return (self.words & 65535).ravel()


class Exact:
    """The distribution that the table gives to two even, independent words."""

    def __init__(self):
        a, b = portable_random.tables()
        self.values = (a[:, None] + b).ravel().astype("float64")
        self.order = np.argsort(self.values)
        self.sorted = self.values[self.order]
        self.normal = stats.norm.cdf(self.sorted)
        self.moments = dict(self.moments_of(np.full(len(self.values), 1 / len(self.values)), 16))

    def moments_of(self, weights, most):
        """Yield order and moment, of the sorted values under some weights, up to an order."""
        weighted = weights.astype("float64")
        for order in range(1, most + 1):
            weighted *= self.sorted
            yield order, weighted.sum()

    def tail(self, sigma):
        return np.mean(self.sorted > sigma)

    def distance(self):
        """Largest distance of the distribution function from that of N(0, 1)."""
        ranks = np.arange(len(self.normal) + 1) / len(self.normal)
        return max(np.max(ranks[1:] - self.normal), np.max(self.normal - ranks[:-1]))


def one_sided(p):
    """The score of a p-value."""
    return stats.norm.isf(np.clip(p, 1e-300, 1))


def chi_square(cells, count, spread=1.0):
    """Score of equally probable cells; `spread`: their variance over that of independent draws."""
    observed = np.bincount(cells, minlength=count)
    expected = len(cells) / count
    statistic = np.sum((observed - expected) ** 2) / expected / spread
    return (statistic - (count - 1)) / np.sqrt(2 * (count - 1))


def anderson_darling(cdf, counts):
    """Statistic and p-value, of `counts` observations at increasing values of the function `cdf`.

    The p-value is Marsaglia & Marsaglia's, 2004, https://doi.org/10.18637/jss.v009.i02.
    """
    total = counts.sum()
    after = np.cumsum(counts, dtype="float64")
    before = after - counts
    squares = (after**2 - before**2) * np.log(cdf)
    squares += ((total - before) ** 2 - (total - after) ** 2) * np.log1p(-cdf)
    a = -total - squares.sum() / total
    if a < 2:
        series = (2.00012, 0.247105, -0.0649821, 0.0347962, -0.011672, 0.00168691)
        return a, 1 - np.exp(-1.2337141 / a) / np.sqrt(a) * np.polyval(series[::-1], a)
    series = (1.0776, -2.30695, 0.43424, -0.082433, 0.008056, -0.0003146)
    return a, -np.expm1(-np.exp(np.polyval(series[::-1], min(a, 10)) - max(a - 10, 0)))


def discretisation(exact):
    """Print how far the table is from N(0, 1), and return whether it is as near as claimed."""
    print("The table against N(0, 1), exactly:")
    print(f"  distribution function: {exact.distance():.1e} (claimed: 4e-5)")
    ratios = {sigma: exact.tail(sigma) / stats.norm.sf(sigma) for sigma in (*TAILS, 5)}
    listed = ", ".join(f"{sigma}: {ratio:.3f}" for sigma, ratio in ratios.items())
    print(f"  tails over those of N(0, 1), by sigma: {listed} (claimed: within 2 % up to 4)")
    largest = exact.sorted[-1]
    print(f"  largest value: {largest:.4f} (claimed: 5.4)")
    moments = ", ".join(f"{order}: {exact.moments[order]:.4f}" for order in (2, 4, 6, 8))
    print(f"  moments: {moments} (N(0, 1): 1, 3, 15, 105)\n", flush=True)
    near = all(abs(ratio - 1) < 0.02 for sigma, ratio in ratios.items() if sigma <= 4)
    return exact.distance() < 4e-5 and near and largest < 5.4


def marginal(draws, exact, per_seed):
    """Yield tests of all values together: name, found, expected, score."""
    n = draws.z.size
    cells = (draws.high >> 4) << 12 | draws.low >> 4
    counts = np.bincount(cells, minlength=2**24)[exact.order]
    for order, total in exact.moments_of(counts, 8):
        found, expected = total / n, exact.moments[order]
        error = np.sqrt((exact.moments[2 * order] - expected**2) / n)
        score = (found - expected) / error
        yield f"moment {order}", f"{found:.5f}", f"{expected:.5f} ± {error:.5f}", score
    ranks = np.cumsum(counts) / n
    for name, cdf in (
        ("exact", np.arange(1, 2**24 + 1) / 2**24),
        ("N(0, 1)", exact.normal),
    ):
        distance = np.max(np.abs(ranks - cdf))
        p = stats.kstwobign.sf(distance * np.sqrt(n))
        yield f"Kolmogorov-Smirnov, {name}", f"{distance:.2e}", f"p = {p:.2f}", one_sided(p)
    a, p = anderson_darling(exact.normal, counts)
    yield "Anderson-Darling, N(0, 1)", f"{a:.3f}", f"p = {p:.2f}", one_sided(p)
    for sigma in TAILS:
        expected = exact.tail(sigma) * n
        for side, tail in ((">", exact.sorted > sigma), ("< -", exact.sorted < -sigma)):
            found = counts @ tail
            score = (found - expected) / np.sqrt(expected)
            yield f"z {side}{sigma}", f"{found}", f"{expected:.0f}", score
    # No word comes twice within a seed: the counts of cells are more even than independent ones.
    per_seed = min(per_seed * draws.z.shape[1], n)
    spread = (2**32 - per_seed) / (2**32 - 1)
    for name, values, count in (
        ("first word", draws.high, 2**16),
        ("second word", draws.low, 2**16),
        ("pairs of words, 12 bits each", cells, 2**24),
        ("low 4 bits of both", (draws.high & 15) << 4 | draws.low & 15, 2**8),
        ("exclusive or of both", draws.high ^ draws.low, 2**16),
    ):
        yield f"chi-square, {name}", "", "", chi_square(values, count, spread)
    yield from coincidences(draws, per_seed)
    yield from spectrum(draws)


def coincidences(draws, per_seed):
    """Yield tests for words of 32 bits that are equal, and for spacings that are."""
    words = draws.words.ravel()
    n = len(words)
    # Within a seed there is none, by design.
    pairs = n * (n - 1) / 2 - n * (per_seed - 1) / 2
    found, expected = count_repeated_pairs(words), pairs / 2**32
    if expected > 10:
        score = (found - expected) / np.sqrt(expected)
        yield "equal words", f"{found}", f"{expected:.0f}", score
    else:
        yield "equal words", f"{found}", f"{expected:.0f}", 0.0 if found == 0 else np.inf
    size = 4096
    groups = words[: n // size * size].reshape(-1, size)
    for name, turned in (("", groups), (", halves swapped", groups >> 16 | groups << 16)):
        spacings = np.sort(np.diff(np.sort(turned, axis=1), axis=1), axis=1)
        found = np.count_nonzero(np.diff(spacings, axis=1) == 0)
        expected = len(groups) * size**3 / 2**34
        score = (found - expected) / np.sqrt(expected)
        yield f"birthday spacings{name}", f"{found}", f"{expected:.0f}", score


def count_repeated_pairs(words):
    ordered = np.sort(words)
    ends = np.flatnonzero(np.diff(ordered)) + 1
    repeats = np.diff(np.concatenate([[0], ends, [len(ordered)]]))
    return int(np.sum(repeats * (repeats - 1) // 2))


def spectrum(draws):
    """Yield tests of the periodogram, whose ordinates are exponentially distributed."""
    length = 1 << min(22, draws.z.size.bit_length() - 1)
    ordered = draws.z.ravel()[:length]
    power = np.abs(np.fft.rfft(ordered.astype("float64"))[1:-1]) ** 2 / length
    p = -np.expm1(len(power) * np.log1p(-np.exp(-power.max())))
    expected = f"{np.log(len(power)) + np.euler_gamma:.1f}"
    yield "spectrum, largest ordinate", f"{power.max():.1f}", expected, one_sided(p)
    p = stats.kstest(power, "expon").pvalue
    yield "spectrum, Kolmogorov-Smirnov", "", f"p = {p:.2f}", one_sided(p)


def dimensions(draws):
    """Yield tests of every latent dimension and of all pairs: name, number of scores, worst."""
    z = draws.z.astype("float64")
    n, latent_dim = z.shape
    both = np.concatenate([z, (z**2 - 1) / np.sqrt(2)], axis=1)
    means = both.sum(axis=0) / np.sqrt(n)
    yield "mean of each dimension", means[:latent_dim]
    yield "variance of each dimension", means[latent_dim:]
    scores = both.T @ both / np.sqrt(n)
    upper = np.triu_indices(latent_dim, 1)
    if latent_dim > 1:
        yield "z with z of another dimension", scores[:latent_dim, :latent_dim][upper]
        yield "z² with z² of another dimension", scores[latent_dim:, latent_dim:][upper]
        yield "z with z² of another dimension", scores[:latent_dim, latent_dim:][upper]


def neighbours(one, two):
    """Yield tests of pairs of values: name, scores."""
    x, y = one.z.ravel().astype("float64"), two.z.ravel().astype("float64")
    n = len(x)
    x2, y2 = (x**2 - 1) / np.sqrt(2), (y**2 - 1) / np.sqrt(2)
    yield "z z", [x @ y / np.sqrt(n)]
    yield "z² z²", [x2 @ y2 / np.sqrt(n)]
    yield "z z²", [x @ y2 / np.sqrt(n), x2 @ y / np.sqrt(n)]
    del x, y, x2, y2
    words = ((u, v) for u in (one.high, one.low) for v in (two.high, two.low))
    pairs, differences = [], []
    for u, v in words:
        pairs.append(chi_square((u >> 11) << 5 | v >> 11, 1024))
        pairs.append(chi_square((u & 31) << 5 | v & 31, 1024))
        differences.append(chi_square(u - v & 65535, 65536))
        differences.append(chi_square(u ^ v, 65536))
    yield "pairs", pairs
    yield "differences", differences


def worst(scores):
    return max(np.ravel(scores), key=abs)


def mark(score):
    return "" if abs(score) <= MOST_SIGMAS else "  <-- beyond 5"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--draws", type=float, default=2e7, help="values in each arrangement (default: 2e7)"
    )
    receipts.add_option(parser)
    args = parser.parse_args()
    count = int(args.draws)
    start = time.perf_counter()
    exact = Exact()
    as_claimed = discretisation(exact)
    scores = []
    for name, latent_dim, per_seed in ARRANGEMENTS:
        draws = Draws(count, latent_dim, per_seed)
        print(f"{name}: {draws.z.size:.2e} values, {latent_dim} an image", flush=True)
        print(f"  {'marginal':<42} {'found':>12} {'expected':>22} {'score':>7}")
        for test, found, expected, score in marginal(draws, exact, per_seed):
            print(f"  {test:<42} {found:>12} {expected:>22} {score:7.2f}{mark(score)}", flush=True)
            scores.append(score)
        print(f"  {'dimensions':<42} {'scores':>12} {'worst expected':>22} {'worst':>7}")
        for test, values in dimensions(draws):
            score = worst(values)
            # The median of the largest of that many.
            expected = stats.norm.isf((1 - 0.5 ** (1 / len(values))) / 2)
            print(f"  {test:<42} {len(values):>12} {expected:>22.2f} {score:7.2f}{mark(score)}")
            scores.extend(values)
        kinds = ("z z", "z² z²", "z z²", "pairs", "differences")
        print(f"  {'neighbours':<46}" + "".join(f"{kind:>12}" for kind in kinds))
        for test, shifts in NEIGHBOURS.items():
            pair = [draws if not any(s) else Draws(count, latent_dim, per_seed, s) for s in shifts]
            row = dict(neighbours(*pair))
            row_worst = [worst(row[kind]) for kind in kinds]
            line = "".join(f"{score:12.2f}" for score in row_worst)
            print(f"  {test:<46}{line}{mark(worst(row_worst))}", flush=True)
            scores.extend(value for values in row.values() for value in values)
        print(f"  ({time.perf_counter() - start:.0f} s)\n", flush=True)
    scores = np.array(scores)
    beyond = np.count_nonzero(np.abs(scores) > MOST_SIGMAS)
    expected = stats.norm.isf((1 - 0.5 ** (1 / len(scores))) / 2)
    result = {"scores": len(scores), "worst": abs(worst(scores)), "expected": expected}
    receipts.finish(args, {**result, f"beyond_{MOST_SIGMAS}": beyond})
    sys.exit(0 if as_claimed and beyond == 0 else 1)


if __name__ == "__main__":
    main()
