"""The formulas in float64 NumPy, restated from the papers without importing the package."""

import numpy as np
import scipy.stats


def gaussian_kl(z_mean, z_log_var):
    """Kingma & Welling, appendix B, by numerically safe float64 terms."""
    return 0.5 * np.sum(z_mean**2 + np.exp(z_log_var) - 1.0 - z_log_var, axis=-1)


def gaussian_log_density(z, mean, variance):
    """Log density of a diagonal Gaussian, summed over the last axis."""
    return -0.5 * np.sum(np.log(2 * np.pi * variance) + (z - mean) ** 2 / variance, axis=-1)


def binary_cross_entropy(x, logits):
    """Negative Bernoulli log-likelihood from its definition, summed over all but the batch."""
    p = 1.0 / (1.0 + np.exp(-logits))
    nats = -(x * np.log(p) + (1.0 - x) * np.log1p(-p))
    return nats.reshape(len(x), -1).sum(axis=1)


def softmax(logits):
    """Probabilities along the first axis."""
    weights = np.exp(logits - logits.max(axis=0))
    return weights / weights.sum(axis=0)


def discretized_logistic_mixture(logits, mean, scale, levels):
    """Salimans et al., section 2.1: the probability of every level, from -1 to 1, first axis.

    The parameters are float64 `(components, ...)`.
    """
    edges = (2 * np.arange(1, levels) - 1) / (levels - 1) - 1
    position = (edges.reshape(-1, *[1] * logits.ndim) - mean) / scale
    zero, one = np.zeros_like(position[:1]), np.ones_like(position[:1])
    below = np.concatenate([zero, np.exp(-np.logaddexp(0, -position)), one])
    above = np.concatenate([one, np.exp(-np.logaddexp(0, position)), zero])
    # Of two tails, the difference of the smaller ones keeps its digits.
    of_components = np.where(below[:-1] < 0.5, np.diff(below, axis=0), -np.diff(above, axis=0))
    return np.sum(of_components * softmax(logits), axis=1)


def dense_vae_loss_and_gradients(weights, x, label, noise, sample_weight, kl_weight):
    """Negative ELBO of a one-hidden-layer conditional VAE, and its gradients by hand.

    Args:
        weights: Dict of float64 arrays: `encoder/hidden`, `encoder/mean`, `encoder/log_var`,
            `decoder/hidden`, `decoder/output`, each a pair (kernel, bias).
        x: `(n, pixels)`.
        label: One-hot `(n, classes)`.
        noise: `(n, latent)`.
        sample_weight: `(n,)`.
        kl_weight: Float.

    Returns:
        Tuple `(loss, gradients)`, the gradients in a dict like `weights`.
    """
    n = len(x)
    (w1, b1), (wm, bm), (wv, bv) = (
        weights[f"encoder/{part}"] for part in ("hidden", "mean", "log_var")
    )
    (w2, b2), (w3, b3) = (weights[f"decoder/{part}"] for part in ("hidden", "output"))
    inputs = np.concatenate([x, label], axis=1)
    before1 = inputs @ w1 + b1
    h1 = np.maximum(before1, 0.0)
    mean, log_var = h1 @ wm + bm, h1 @ wv + bv
    std = np.exp(log_var / 2)
    codes = np.concatenate([mean + std * noise, label], axis=1)
    before2 = codes @ w2 + b2
    h2 = np.maximum(before2, 0.0)
    logits = h2 @ w3 + b3
    nats = binary_cross_entropy(x, logits) + kl_weight * gaussian_kl(mean, log_var)
    loss = np.mean(sample_weight * nats)

    scale = sample_weight[:, None] / n
    d_logits = (1.0 / (1.0 + np.exp(-logits)) - x) * scale
    d_before2 = (d_logits @ w3.T) * (before2 > 0)
    d_z = (d_before2 @ w2.T)[:, : mean.shape[1]]
    d_mean = d_z + kl_weight * mean * scale
    d_log_var = d_z * noise * std / 2 + kl_weight * (np.exp(log_var) - 1.0) / 2 * scale
    d_before1 = (d_mean @ wm.T + d_log_var @ wv.T) * (before1 > 0)
    gradients = {
        "encoder/hidden": (inputs.T @ d_before1, d_before1.sum(0)),
        "encoder/mean": (h1.T @ d_mean, d_mean.sum(0)),
        "encoder/log_var": (h1.T @ d_log_var, d_log_var.sum(0)),
        "decoder/hidden": (codes.T @ d_before2, d_before2.sum(0)),
        "decoder/output": (h2.T @ d_logits, d_logits.sum(0)),
    }
    return loss, gradients


def log_mean_exp(values, axis=0):
    """Logarithm of the mean of exponentials, without overflow."""
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.mean(np.exp(values - top), axis=axis)) + np.squeeze(top, axis)


def total_correlation(z, z_mean, z_log_var, dataset_size=None):
    """Mean of `log q(z) - sum_j log q(z_j)`, one code at a time (Chen et al., appendix C).

    Args:
        z: `(n, latent)`; code i was drawn from posterior i.
        z_mean, z_log_var: `(n, latent)`.
        dataset_size: The share of a code's own posterior in q(z) is one of so many; without, each
            of the batch has the same.
    """
    n, latent = z.shape
    differences = []
    for i in range(n):
        shares = np.full(n, 1 / n)
        if dataset_size is not None:
            shares[:] = (dataset_size - 1) / (dataset_size * (n - 1))
            shares[i] = 1 / dataset_size
        variances = np.exp(z_log_var)
        density = np.exp(-((z[i] - z_mean) ** 2) / (2 * variances)) / np.sqrt(2 * np.pi * variances)
        joint = np.sum(shares * density.prod(axis=1))
        singles = [np.sum(shares * density[:, j]) for j in range(latent)]
        differences.append(np.log(joint) - np.sum(np.log(singles)))
    return np.mean(differences)


def mmd(one, other, bandwidth):
    """Squared maximum mean discrepancy, pair by pair (Gretton et al., 2012, eq. 5)."""

    def similarity(a, b):
        pairs = [np.exp(-np.sum((x - y) ** 2) / (2 * bandwidth**2)) for x in a for y in b]
        return np.mean(pairs)

    return similarity(one, one) + similarity(other, other) - 2 * similarity(one, other)


def mixture_log_density(z, means, variances, weights):
    """Log density of a mixture of diagonal Gaussians, from its definition: `z` `(n, latent)`."""
    each = [np.exp(gaussian_log_density(z, m, v)) for m, v in zip(means, variances, strict=True)]
    return np.log(np.asarray(weights) @ np.array(each))


def real_nvp(noise, condition, couplings):
    """Dinh et al., eq. 7 and 8: from noise to codes, each `(n, latent)`.

    Args:
        noise: `(n, latent)`.
        condition: `(n, size)`.
        couplings: One dict a layer: `hidden`, a list of pairs (kernel, bias) before a ReLU;
            `log_scale` and `shift`, such pairs; and `kept`, the mask b of the paper.
    """
    z = noise
    for layer in couplings:
        kept, h = layer["kept"], np.concatenate([z * layer["kept"], condition], axis=1)
        for kernel, bias in layer["hidden"]:
            h = np.maximum(h @ kernel + bias, 0.0)
        s, t = (h @ kernel + bias for kernel, bias in (layer["log_scale"], layer["shift"]))
        z = kept * z + (1 - kept) * (z * np.exp(2 * np.tanh(s / 2)) + t)
    return z


def dense_gan_losses(weights, x, z, label=None, smoothing=0.0, sample_weight=1.0):
    """Losses of a GAN of one hidden layer a network, from the papers, by probabilities.

    Goodfellow et al., 2014, with the generator's loss of section 3; Salimans et al., 2016, for
    one-sided smoothing; Odena et al., 2017, eq. 2 and 3, with labels.

    Args:
        weights: Dict of float64 pairs (kernel, bias): `generator/hidden` (ReLU),
            `generator/output`, `discriminator/hidden` (LeakyReLU of slope 0.2),
            `discriminator/logit` and, with labels, `discriminator/classes`.
        x: `(n, pixels)`.
        z: `(n, latent)`.
        label: Optional one-hot `(n, classes)`; a row of zeros is an unknown label.
        smoothing: Float.
        sample_weight: `(n,)`, or 1.

    Returns:
        Tuple of both players' losses and a dict of their terms.
    """

    def layer(name, h):
        kernel, bias = weights[name]
        return h @ kernel + bias

    def sigmoid(logits):
        return 1.0 / (1.0 + np.exp(-logits))

    def judge(images):
        before = layer("discriminator/hidden", images)
        h = np.where(before > 0, before, 0.2 * before)
        p_real = sigmoid(layer("discriminator/logit", h))[:, 0]
        if label is None:
            return p_real, np.zeros(len(h))
        p_class = np.exp(layer("discriminator/classes", h))
        p_class /= p_class.sum(axis=1, keepdims=True)
        return p_real, -np.sum(label * np.log(p_class), axis=1)

    codes = z if label is None else np.concatenate([z, label], axis=1)
    hidden = np.maximum(layer("generator/hidden", codes), 0.0)
    (real, named), (generated, generated_named) = (
        judge(x),
        judge(sigmoid(layer("generator/output", hidden))),
    )
    told = -(1 - smoothing) * np.log(real) - smoothing * np.log1p(-real)
    terms = {
        "discriminator_loss": np.mean(sample_weight * told) - np.mean(np.log1p(-generated)),
        "generator_loss": -np.mean(np.log(generated)),
    }
    if label is None:
        return terms["discriminator_loss"], terms["generator_loss"], terms
    terms["class_loss"] = np.mean(sample_weight * named)
    terms["generated_class_loss"] = np.mean(generated_named)
    return (
        terms["discriminator_loss"] + terms["class_loss"],
        terms["generator_loss"] + terms["generated_class_loss"],
        terms,
    )


def numerical_gradient(function, array, step=1e-7):
    """Gradient of a function without arguments by the float64 array that it reads, in place."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        gradient[index] = (above - function()) / (2 * step)
        array[index] = value
    return gradient


def nearest_codes(vectors, codebook):
    """Index of the codebook's row nearest to each vector `(n, dim)`."""
    return ((vectors[:, None] - codebook) ** 2).sum(axis=-1).argmin(axis=1)


def codebook_step(vectors, codebook, usage, decay):
    """van den Oord et al., 2017, appendix A.1: counts N, sums m = N e, and the codebook m / N.

    Returns:
        Tuple `(codebook, usage)` after a step.
    """
    one_hot = np.eye(len(codebook))[nearest_codes(vectors, codebook)]
    counts = decay * usage + (1 - decay) * one_hot.sum(axis=0)
    sums = decay * usage[:, None] * codebook + (1 - decay) * one_hot.T @ vectors
    return sums / counts[:, None], counts


def finite_scalar_quantization(z, levels):
    """Each entry's tanh, rounded to equidistant levels from -1 to 1, and the index of the level."""
    grids = [np.linspace(-1, 1, count) for count in levels]
    index = np.stack(
        [np.abs(np.tanh(z[..., i, None]) - grid).argmin(-1) for i, grid in enumerate(grids)], -1
    )
    return np.stack([grid[index[..., i]] for i, grid in enumerate(grids)], -1), index


def perplexity(codes, num_codes):
    """The exponential of the entropy of the codes' frequencies."""
    share = np.bincount(codes.reshape(-1), minlength=num_codes) / codes.size
    return np.exp(-sum(p * np.log(p) for p in share if p > 0))


def ladder(heads, noise, priors):
    """Top-down inference of Sønderby et al., eq. 12 and 13, in the levels' own coordinates.

    Args:
        heads: One pair (mean, log-variance) a level, the top one first, `(n, size)`: the encoder's.
        noise: One array `(n, size)` a level.
        priors: Function from the list of the codes above, the top one first, to mean and variance
            of the next level's prior.

    Returns:
        Tuple of the levels' codes, and of arrays `(n,)`: the KL of each level, given the draw of
        those above; log q; and log p.
    """
    codes, kls, log_q, log_p = [], [], 0.0, 0.0
    for (mean, log_var), eps in zip(heads, noise, strict=True):
        variance = np.exp(log_var)
        prior_mean, prior_variance = np.zeros_like(mean), np.ones_like(mean)
        if codes:
            prior_mean, prior_variance = priors(codes)
            precision = 1 / variance + 1 / prior_variance
            mean = (mean / variance + prior_mean / prior_variance) / precision
            variance = 1 / precision
        z = mean + np.sqrt(variance) * eps
        ratio = variance / prior_variance
        shift = (mean - prior_mean) ** 2 / prior_variance
        kls.append(0.5 * np.sum(ratio + shift - 1 - np.log(ratio), axis=1))
        log_q = log_q + gaussian_log_density(z, mean, variance)
        log_p = log_p + gaussian_log_density(z, prior_mean, prior_variance)
        codes.append(z)
    return codes, kls, log_q, log_p


def linear_gaussian_log_likelihood(x, kernel, bias, scale):
    """log N(x; b, W W^T + s^2 I): the evidence of `x = W z + b + s e` with normal `z` and `e`.

    Args:
        x: `(n, values)`.
        kernel: W, `(values, latent)`.
        bias: `(values,)`.
        scale: Float.
    """
    covariance = kernel @ kernel.T + scale**2 * np.eye(len(kernel))
    error = x - bias
    _, log_determinant = np.linalg.slogdet(2 * np.pi * covariance)
    squares = np.sum(error * np.linalg.solve(covariance, error.T).T, axis=1)
    return -(squares + log_determinant) / 2


def ssim(first, second, data_range):
    """Wang et al., eqs. 13 to 16, of two grey images `(height, width)`, window by window."""
    size = min(11, *first.shape)
    size -= 1 - size % 2
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for top in range(first.shape[0] - size + 1):
        for left in range(first.shape[1] - size + 1):
            a, b = (image[top : top + size, left : left + size] for image in (first, second))
            mean_a, mean_b = np.sum(window * a), np.sum(window * b)
            var_a = np.sum(window * (a - mean_a) ** 2)
            var_b = np.sum(window * (b - mean_b) ** 2)
            covariance = np.sum(window * (a - mean_a) * (b - mean_b))
            luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            values.append(luminance * (2 * covariance + c2) / (var_a + var_b + c2))
    return np.mean(values)


def ladder_log_density(code, heads, priors):
    """Log density of a ladder's code, each level in units of its prior, by the change of variables.

    Args:
        code, heads, priors: As `noise`, `heads` and `priors` of `ladder`.
    """
    codes, total = [], 0.0
    for eps, (mean, log_var) in zip(code, heads, strict=True):
        prior_mean, prior_variance = priors(codes) if codes else (np.zeros(1), np.ones(1))
        z = prior_mean + np.sqrt(prior_variance) * eps
        variance = np.exp(log_var)
        if codes:
            precision = 1 / variance + 1 / prior_variance
            mean = (mean / variance + prior_mean / prior_variance) / precision
            variance = 1 / precision
        total = total + gaussian_log_density(z, mean, variance)
        total = total + np.sum(np.log(prior_variance) * np.ones_like(eps), axis=-1) / 2
        codes.append(z)
    return total


def gaussian_kl_between(mean, covariance, other_mean, other_covariance):
    """KL of one Gaussian from another, by determinants and inverses: `(size,)`, `(size, size)`."""
    precision, shift = np.linalg.inv(other_covariance), other_mean - mean
    log_ratio = np.linalg.slogdet(other_covariance)[1] - np.linalg.slogdet(covariance)[1]
    trace = np.trace(precision @ covariance)
    return (trace + shift @ precision @ shift - len(mean) + log_ratio) / 2


def columns(x, blocks, parameters):
    """Log-probability of every value of a table, by SciPy's distributions; 0 of a missing one.

    Args:
        x: float64 `(n, columns)`.
        blocks: A tuple for each column: its kind and, of some, a number.
        parameters: For each column its own, `(n, k)`: mean and scale; logit; mean and shape; or
            logits.
    """
    found = []
    for values, (kind, *_), own in zip(x.T, blocks, parameters, strict=True):
        known = np.nan_to_num(values)
        if kind == "normal":
            log_prob = scipy.stats.norm(own[:, 0], own[:, 1]).logpdf(known)
        elif kind == "bernoulli":
            log_prob = scipy.stats.bernoulli(1 / (1 + np.exp(-own[:, 0]))).logpmf(known)
        elif kind == "negative_binomial":
            mean, shape = own.T
            log_prob = scipy.stats.nbinom(shape, shape / (shape + mean)).logpmf(known)
        else:
            log_prob = np.log(softmax(own.T)[known.astype(int), np.arange(len(known))])
        found.append(np.where(np.isnan(values), 0.0, log_prob))
    return np.stack(found, axis=1)
