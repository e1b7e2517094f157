"""Diagnoses of the latent codes: what they carry, and whether the prior draws such."""

import math

import numpy as np

from keras_vae.data import as_float
from keras_vae.doctor import changes, thresholds
from keras_vae.doctor.finding import Finding
from keras_vae.evaluation.latents import ACTIVE_VARIANCE, groups
from keras_vae.evaluation.terms import evaluate_codes
from keras_vae.models.capabilities import Bounds, DrawsTokens
from keras_vae.training.inputs import check_examples

# Codes of a class, fewer than which say nothing of its distribution; draws of the prior for each.
LEAST_GROUP, DRAWS = 20, 4
# Nats, times dimensions over codes, that the moments of codes drawn from the prior itself are off.
MISMATCH_BY_CHANCE = 1 + 1 / DRAWS


def exploding_log_variance(z_log_var, kl_weight=1.0):
    """Whether posterior variances run off to infinity or to nothing.

    Of each latent its median over the examples, for a single one may well be an exception.

    Args:
        z_log_var: Float array `(n, latent)`.
        kl_weight: Float.
    """
    smallest, largest = log_variances_of(z_log_var)
    if largest > thresholds.MOST_LOG_VAR:
        number, what = largest, f"reaches {largest:.1f}, a variance of {math.exp(largest):.3g}"
        means, change = "codes are noise that no sample has", "Divide the learning rate by 10."
    elif smallest < thresholds.LEAST_LOG_VAR:
        number, what = smallest, f"falls to {smallest:.1f}, a variance of {math.exp(smallest):.3g}"
        means = "with so little noise the model is a plain autoencoder"
        change = "Use kl_weight=1." if kl_weight < 1 else "Divide the learning rate by 10."
    else:
        return None
    return Finding(
        "exploding_log_variance",
        number,
        f"The posterior's log-variance {what}, where the prior's is 0: {means}.",
        change,
    )


def posterior_collapse(explained, explained_by_components, dead, count, raise_kl=""):
    """Whether the code carries next to nothing.

    Args:
        explained: Float, at most 1: the share of the variance of data, within a class where the
            model is told the class, that reconstructions explain; of tokens the share that the
            right code brings back, of what another example's does not.
        explained_by_components: Float, the share that as many principal components do; None of
            tokens, which have none.
        dead: Sequence of ints: the latent dimensions that carry nothing.
        count: Int. Latent dimensions.
        raise_kl: Str. The change that makes the code carry more.
    """
    part = part_explained(explained, explained_by_components)
    if part >= thresholds.LEAST_EXPLAINED_AT_ALL and len(dead) < count:
        return None
    return Finding(
        "posterior_collapse",
        part,
        f"{count - len(dead)} of {count} latent dimensions are active, and the code explains "
        f"{100 * max(explained, 0):.0f} % of what varies {_of_components(explained_by_components)}:"
        " the decoder hardly looks at it, and all samples are alike.",
        raise_kl,
    )


def low_kl(explained, explained_by_components, kl, dead, count, raise_kl=""):
    """Whether the code carries little of what it could.

    Args:
        kl: Float, nats: what the code costs.
        explained, explained_by_components, dead, count, raise_kl: As for `posterior_collapse`,
            which it is not if it is that.
    """
    part = part_explained(explained, explained_by_components)
    is_collapse = posterior_collapse(explained, explained_by_components, dead, count)
    if part >= thresholds.LEAST_EXPLAINED or is_collapse:
        return None
    cost = f"A code of {kl:.1f} nats is little for these data" if kl is not None else "The code"
    return Finding(
        "low_kl",
        part,
        f"{cost}{':' if kl is not None else ''} it explains {100 * explained:.0f} % of what varies "
        f"{_of_components(explained_by_components)}. Samples vary too little.",
        raise_kl,
    )


def dead_latents(dead, count):
    """Whether many dimensions of a code carry nothing, but not all.

    Args:
        dead: Sequence of ints: which.
        count: Int. Latent dimensions.
    """
    if not thresholds.MOST_DEAD_SHARE * count < len(dead) < count:
        return None
    which = ", ".join(map(str, dead[:20])) + (", ..." if len(dead) > 20 else "")
    return Finding(
        "dead_latents",
        float(len(dead)),
        f"{len(dead)} of {count} latent dimensions are dead, {which}: none costs "
        f"{thresholds.LEAST_KL} nats, and the decoder makes the same whatever they are.",
        f"Use latent_dim={count - len(dead)}.",
    )


def _of_components(explained):
    if explained is None:
        return "from one example to another"
    return f"(as many principal components: {100 * explained:.0f} %)"


def prior_mismatch(means, stds, counts, change="", names=None):
    """Whether `sample` draws other codes than the decoder has learnt to decode.

    The KL of two normal distributions with these means and variances: the least that the codes'
    KL from N(0, I) can be, less what as few codes of that distribution would have by chance.

    Args:
        means: Float array `(groups, latent)`: of each class, or of all, the codes' means in units
            of the prior's draws.
        stds: Float array, same shape, their standard deviations.
        counts: Ints `(groups,)`, how many codes.
        change: Str. The change that makes them alike.
        names: Optional sequence of str, of the classes.
    """
    number = mismatch_of(means, stds, counts)
    if number <= thresholds.MOST_MISMATCH:
        return None
    means, stds = np.asarray(means), np.asarray(stds)
    kl = _kl_from_standard(means, stds)
    group, worst = np.unravel_index(np.argmax(kl), kl.shape)
    of = f" of class {names[group]}" if names is not None and len(means) > 1 else ""
    return Finding(
        "prior_mismatch",
        number,
        f"The codes of the data are {number:.2f} nats away from the prior's draws; furthest "
        f"latent {worst}{of}, with mean {means[group, worst]:.2f} and standard deviation "
        f"{stds[group, worst]:.2f} where the prior has 0 and 1. Expect good reconstructions and "
        "poor samples.",
        change,
    )


def unused_codes(codes_used, num_codes, perplexity):
    """Whether most of a codebook never occurs.

    Args:
        codes_used: Float, the share of codes that occur.
        num_codes: Int.
        perplexity: Float, how many equally frequent codes would be as varied.
    """
    if codes_used >= thresholds.LEAST_CODES_USED:
        return None
    used = round(codes_used * num_codes)
    return Finding(
        "unused_codes",
        codes_used,
        f"{used} of {num_codes} codes occur, as varied as {perplexity:.0f} equally frequent ones: "
        "the others are dead weight, which the prior may yet draw.",
        f"Use num_codes={max(2, 1 << (used - 1).bit_length())}.",
    )


def log_variances_of(z_log_var):
    """The smallest and the largest of the latents' median log-variances."""
    medians = np.median(z_log_var, axis=0)
    return float(np.min(medians)), float(np.max(medians))


def part_explained(explained, explained_by_components):
    """What a code explains as a part of what principal components do."""
    possible = 1.0 if explained_by_components is None else explained_by_components
    return max(explained, 0.0) / max(possible, 1e-6)


def mismatch_of(means, stds, counts):
    """Nats between codes and a prior, from the arguments of `prior_mismatch`, over all groups."""
    kl = _kl_from_standard(means, stds)
    by_chance = MISMATCH_BY_CHANCE * kl.shape[1] / np.asarray(counts)
    return float(np.average(kl.sum(axis=1) - by_chance, weights=counts))


def _kl_from_standard(means, stds):
    means, stds = np.asarray(means, "float64"), np.asarray(stds, "float64")
    variance = np.maximum(stds, 1e-6) ** 2
    return (means**2 + variance - 1 - np.log(variance)) / 2


def of_codebook(model, inputs):
    used = evaluate_codes(model, inputs)
    return {
        "codes_used": used["codes_used"],
        "num_codes": model.quantizer.num_codes,
        "perplexity": used["perplexity"],
    }


def of_codes(model, train, held_out, epochs, seed, left_out):
    """What an encoder makes of data."""
    has_posterior = isinstance(model, Bounds)
    inputs, x, rows = _in_classes(model, held_out, seed)
    if has_posterior:
        z_mean, z_log_var = model.encode(inputs)
        kl = model.kl_by_dimension(inputs)
    else:
        z_mean, kl = model.encode_means(inputs), None
    kl = None if kl is None else kl.mean(axis=0, dtype="float64")
    is_dead = z_mean.var(axis=0) <= ACTIVE_VARIANCE if kl is None else kl < thresholds.LEAST_KL
    raise_kl = changes.raised_kl(model, x, epochs)
    latent_dim = z_mean.shape[1]
    if isinstance(model, DrawsTokens):
        explained, possible = explained_tokens(model, inputs, z_mean), None
    elif model.likelihood.takes_missing:
        explained, possible = explained_columns(model.schema, model.reconstruct(inputs), x), None
    else:
        _, x_train, rows_train = _in_classes(model, held_out if train is None else train, seed)
        explained = explained_by_reconstructions(model.reconstruct(inputs), x, rows)
        possible = explained_by_components(x_train, rows_train, x, rows, latent_dim)
    of_code = {
        "explained": explained,
        "explained_by_components": possible,
        "dead": np.flatnonzero(is_dead).tolist(),
        "count": latent_dim,
    }
    numbers = {
        "posterior_collapse": {**of_code, "raise_kl": raise_kl},
        "low_kl": {
            **of_code,
            "kl": None if kl is None else float(kl.sum()),
            "raise_kl": raise_kl,
        },
        "dead_latents": {name: of_code[name] for name in ("dead", "count")},
    }
    if possible is None:
        del numbers["low_kl"]
        what = "tokens" if isinstance(model, DrawsTokens) else "columns of several kinds"
        left_out["low_kl"] = f"{what} have no principal components to compare with"
    if has_posterior:
        numbers["exploding_log_variance"] = {
            "z_log_var": z_log_var,
            "kl_weight": changes.end_of_kl_weight(model),
        }
        numbers["prior_mismatch"] = _of_prior(model, inputs, seed)
    return numbers


def _of_prior(model, inputs, seed):
    """The codes of each class, or of all, in units of the prior's draws for it."""
    _, conditions = model.named_inputs(inputs)
    z = model.draw_codes(inputs, seed).astype("float64")
    labels = labels_of(model, conditions)
    rows = [group for group in groups(labels, len(z)) if len(group) >= LEAST_GROUP]
    rows = rows or [np.arange(len(z))]
    vectors = model.condition_vectors(conditions)
    drawn = model.prior.sample(
        DRAWS * len(z),
        z.shape[1],
        seed=seed,
        condition=None if vectors is None else np.concatenate([vectors] * DRAWS),
    )
    drawn = drawn.astype("float64").reshape(DRAWS, *z.shape)
    means, stds = [], []
    for group in rows:
        of_prior = drawn[:, group].reshape(-1, z.shape[1])
        scale = np.maximum(of_prior.std(axis=0), 1e-6)
        means.append((z[group].mean(axis=0) - of_prior.mean(axis=0)) / scale)
        stds.append(z[group].std(axis=0) / scale)
    names = None
    if len(labels) == 1:
        [(name, values)] = labels.items()
        names = [(*model.condition[name].names, "unknown")[values[group[0]]] for group in rows]
    return {
        "means": means,
        "stds": stds,
        "counts": [len(group) for group in rows],
        "names": names,
        "change": changes.mended_prior(model),
    }


def _in_classes(model, inputs, seed):
    """Checked inputs, their examples as floats, and the rows of each combination of labels."""
    inputs = model.as_observed(check_examples(model, inputs), seed)
    x, conditions = model.named_inputs(inputs)
    x = as_float(x)
    return inputs, x, groups(labels_of(model, conditions), len(x))


def labels_of(model, conditions):
    return {
        name: conditions[name]
        for name, kind in model.condition.items()
        if kind.kind == "categorical"
    }


def explained_by_reconstructions(reconstructions, x, rows):
    """The share of the variance of data within groups that reconstructions explain, at most 1.

    Args:
        reconstructions, x: Float arrays `(n, ...)`.
        rows: List of int arrays, the rows of each group.
    """
    error = np.sum(np.square(x - reconstructions, dtype="float64"))
    return float(1 - error / max(np.sum(np.square(_centered(x, rows))), 1e-12))


def explained_tokens(model, inputs, z_mean):
    """The share of the tokens that the right code brings back, of what another's does not.

    Args:
        model: A model that draws tokens.
        inputs: Checked arrays as `fit` takes them.
        z_mean: Float array `(n, latent)`, the code of each example.
    """
    x, conditions = model.named_inputs(inputs)
    right, wrong = (
        float((model.decode(z, conditions) == x)[x >= 0].mean())
        for z in (z_mean, np.roll(z_mean, len(z_mean) // 2, axis=0))
    )
    return (right - wrong) / max(1 - wrong, 1e-6)


def explained_columns(schema, reconstructions, x):
    """The mean share of the columns of a table that reconstructions explain, at most 1.

    Args:
        schema: `data.TableSchema`.
        reconstructions, x: Float arrays `(n, columns)`, NaN in `x` where a value is missing: of
            numbers the share of the variance, of names the right ones beyond the most frequent.
    """
    shares = []
    for name, made, real in zip(schema.names, reconstructions.T, x.T, strict=True):
        made, real = made[~np.isnan(real)], real[~np.isnan(real)].astype("float64")
        if not len(real) or real.min() == real.max():
            continue
        if hasattr(schema.columns[name], "names"):
            chance = np.unique(real, return_counts=True)[1].max() / len(real)
            shares.append((np.mean(np.round(made) == real) - chance) / (1 - chance))
        else:
            shares.append(1 - np.mean((real - made) ** 2) / real.var())
    return float(np.mean(shares)) if shares else 0.0


def explained_by_components(x_train, rows_train, x, rows, count):
    """The share of the variance of data within groups that principal components explain.

    Args:
        x_train: Float array `(m, ...)`, of which the components are.
        rows_train: List of int arrays, the rows of each of its groups.
        x, rows: As for `explained_by_reconstructions`.
        count: Int. How many components.
    """
    fitted, held_out = _centered(x_train, rows_train), _centered(x, rows)
    if len(fitted) < fitted.shape[1]:
        _, vectors = np.linalg.eigh(fitted @ fitted.T)
        axes, _ = np.linalg.qr(fitted.T @ vectors[:, -count:])
    else:
        axes = np.linalg.eigh(fitted.T @ fitted)[1][:, -count:]
    return float(np.sum(np.square(held_out @ axes)) / max(np.sum(np.square(held_out)), 1e-12))


def _centered(x, rows):
    """Examples as rows, float64, less the mean of their group."""
    centered = x.reshape(len(x), -1).astype("float64")
    for group in rows:
        centered[group] -= centered[group].mean(axis=0)
    return centered
