"""What usually goes wrong with a generative model, from measured numbers to one change to make.

Every diagnosis is a function of numbers that returns a `Finding` or None, and is one of
`DIAGNOSES`, causes before what they cause. `measure` takes the numbers of a model and `examine`
asks all diagnoses about them; `callbacks.Doctor` does so during training, and the command
`evaluate --doctor` afterwards. Where the thresholds come from is in docs/doctor.md.
"""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from keras_vae import seeds
from keras_vae.data import Dataset, as_float, bounds
from keras_vae.evaluation.classifier import mean_distance, named, train_classifier
from keras_vae.evaluation.latents import ACTIVE_VARIANCE, groups
from keras_vae.evaluation.report import first_of
from keras_vae.evaluation.scorecard import DISTANCES_PER_CLASS, label_of
from keras_vae.evaluation.scorecard import diversity as diversity_by_class
from keras_vae.evaluation.terms import evaluate_codes
from keras_vae.models.capabilities import Adversarial, Bounds, DiscreteCodes, Encodes, Samples, lack
from keras_vae.models.generative import in_batches
from keras_vae.priors import StandardNormal
from keras_vae.training.inputs import check_examples

EXAMPLES = 1000
# Of which a classifier is made to judge samples by, and samples that it judges.
JUDGED_BY = 5000
SAMPLES = 1000

# 8-bit pictures without a pixel above this share of 255 were made of fewer levels.
LEAST_BRIGHT = 0.25
# Standard deviation of all values above which a density's data are not standardised.
MOST_DEVIATION = 3.0
# Share of the values of colours that are neither black nor white.
MOST_BETWEEN = 0.1
# Part of a training's whole gain that its second half may still bring.
MOST_GAIN = 0.13
# Part of a training's whole gain by which its loss may rise again, epoch by epoch; an epoch's
# gradient norm over the usual; and Adam's learning rate.
MOST_RISE, MOST_SPIKE, MOST_LEARNING_RATE = 0.25, 1000.0, 0.02
# In standard deviations of an example's ELBO over the test data.
MOST_GAP = 0.5
# A dimension that costs less, in nats, says next to nothing of the example.
LEAST_KL = 0.02
MOST_DEAD_SHARE = 0.4
# Of what as many principal components explain of the data, the part that the code does.
LEAST_EXPLAINED, LEAST_EXPLAINED_AT_ALL = 0.85, 0.1
# Of a latent's median log-variance. Where the prior's variance is 1, useful ones are below it.
MOST_LOG_VAR, LEAST_LOG_VAR = 5.0, -20.0
# Nats by which the codes' means and variances alone set them apart from the prior's draws.
MOST_MISMATCH = 1.25
LEAST_CODES_USED = 0.5
# Nats of an example's reconstruction that the right label is worth, at least.
LEAST_LABEL_NATS = 0.5
# From guessing, 0, to no mistake, 1: what a classifier of real images reaches.
LEAST_SKILL, LEAST_COUNTED = 0.2, 100
# By how much fewer samples than real images are of the class that a classifier names.
MOST_MISSED = 0.1
LEAST_DIVERSITY = 0.6

# Diagnoses of what passes as a model learns.
PASSING = {"low_kl", "dead_latents", "prior_mismatch", "ignored_labels"}

# Codes of a class, fewer than which say nothing of its distribution; draws of the prior for each.
LEAST_GROUP, DRAWS = 20, 4
# Nats, times dimensions over codes, that the moments of codes drawn from the prior itself are off.
MISMATCH_BY_CHANCE = 1 + 1 / DRAWS


@dataclasses.dataclass(frozen=True)
class Finding:
    """A diagnosis that holds.

    Attributes:
        name: Str, such as `"posterior_collapse"`.
        number: Float, the measured number behind it.
        text: Str. One line: what is wrong, with the number, and what it means.
        change: Str. The one change to make.
    """

    name: str
    number: float
    text: str
    change: str

    def __str__(self):
        return f"{self.name}: {self.text} {self.change}"


# Of the data and the settings


def unfit_data(likelihood, smallest, largest, deviation, rounding=0.0, is_uint8=False):
    """Whether the values of the data are none that the likelihood is for.

    Args:
        likelihood: Object of `keras_vae.likelihoods`.
        smallest, largest: Floats, the range of the data, of uint8 in units of 255.
        deviation: Float, the standard deviation of all values.
        rounding: Float, the root of the mean squared distance of the values from the likelihood's
            levels.
        is_uint8: Whether the data are uint8, which is read as 0 to 255.
    """
    low, high = likelihood.data_range
    least, most = bounds(likelihood.data_range)
    is_density = math.isinf(high)
    scale = likelihood.scale
    seen = f"The data run from {smallest:.4g} to {largest:.4g}"
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        number, problem = math.nan, "The data hold NaN or infinity, of which no loss is one."
        change = "Remove those examples."
    elif is_uint8 and largest < LEAST_BRIGHT:
        number = round(255 * largest)
        problem = (
            f"The data are uint8, which is read as 0 to 255, but run from {255 * smallest:.0f} to "
            f"{number}: the model sees all but black."
        )
        kind = "bool" if number <= 1 else f"'float32') / {number}"
        change = f"Pass x.astype({kind}{')' if number <= 1 else ''}."
    elif smallest < least or largest > most:
        number = largest if largest > most else smallest
        problem = f"{seen}, outside of the {likelihood.name} likelihood's [{low:g}, {high:g}]."
        change = f"Pass {_rescaled(smallest, largest)}."
    elif deviation == 0:
        number, problem = 0.0, f"{seen}: every value is the same."
        change = "Check how they are loaded."
    elif not is_density and largest < (high - low) / 20:
        number = largest
        problem = (
            f"{seen}, a sliver of the {likelihood.name} likelihood's [{low:g}, {high:g}]: were "
            "they divided by 255 twice?"
        )
        change = "Divide them once."
    elif is_density and deviation > MOST_DEVIATION:
        number = deviation
        problem = (
            f"{seen} with a standard deviation of {deviation:.3g}, far from what networks begin "
            "with."
        )
        change = f"Pass {_rescaled(smallest, largest)}."
    elif is_density and isinstance(scale, int | float) and scale > 2 * deviation:
        number = scale / deviation
        problem = (
            f"The {likelihood.name} likelihood's fixed scale {scale:.3g} is {number:.1f} times the "
            f"data's standard deviation {deviation:.3g}: it takes the images for noise."
        )
        change = "Use scale='shared', which is learnt."
    elif rounding > 0.1 * deviation:
        number = rounding / deviation
        problem = (
            f"The {likelihood.levels} levels of the {likelihood.name} likelihood round the data by "
            f"{rounding:.3g}, {100 * number:.0f} % of their standard deviation."
        )
        change = "Use more of them."
    else:
        return None
    return Finding("unfit_data", float(number), problem, change)


def squashed_logits(reason, smallest, largest):
    """Whether a network ends in a sigmoid or softmax whose values are taken for logits.

    Args:
        reason: Str, what `check_logits` says; None if nothing is wrong.
        smallest, largest: Floats, the range of what the model makes of data.
    """
    if reason is None:
        return None
    what = reason.rpartition(" Remove ")[0] or reason
    return Finding(
        "squashed_logits",
        largest,
        f"Nothing that the model makes is below {smallest:.3f} or above {largest:.3f}: it is "
        f"squashed twice. {what}",
        "Remove the activation from the last layer, and train again.",
    )


def bernoulli_colours(likelihood, channels, between):
    """Whether the Bernoulli likelihood, of black and white, is to make colours.

    Args:
        likelihood: Object of `keras_vae.likelihoods`.
        channels: Int, of an image.
        between: Float, the share of values from 0.1 to 0.9.
    """
    if likelihood.name != "bernoulli" or channels != 3 or between <= MOST_BETWEEN:
        return None
    return Finding(
        "bernoulli_colours",
        between,
        f"{100 * between:.0f} % of the values of these colours are neither 0 nor 1, all that a "
        "Bernoulli draws: most of its loss is of what no code can tell, and little is left for the "
        "code to win.",
        'Use likelihood="gaussian".',
    )


def rescaled_kl(kl_weight, num_values):
    """Whether the KL's weight is that of a loss averaged over pixels.

    Args:
        kl_weight: Float. The weight, at the end of its schedule.
        num_values: Int. Values of an example: pixels times channels.
    """
    if kl_weight == 0 or kl_weight > max(1e-3, 1.5 / num_values):
        return None
    return Finding(
        "rescaled_kl",
        kl_weight,
        f"kl_weight is {kl_weight:.3g}, about what a loss averaged over {num_values} pixels would "
        f"need ({1 / num_values:.3g}). Losses here are summed over pixels, so the KL hardly counts "
        "and samples will be poor.",
        "Use kl_weight=1, the bound itself.",
    )


def unfinished_warm_up(warm_up_epochs, epochs, kl_weight, end):
    """Whether training ended before the KL's weight reached its end.

    Args:
        warm_up_epochs: Int. Epochs that the schedule takes.
        epochs: Int. Epochs that were, or are to be, trained.
        kl_weight: Float. The weight in the last of them.
        end: Float. Where the schedule ends.
    """
    if epochs >= warm_up_epochs:
        return None
    return Finding(
        "unfinished_warm_up",
        float(epochs),
        f"The KL's weight rises over {warm_up_epochs} epochs, but training has {epochs}: it ends "
        f"at {kl_weight:.3g} instead of {end:.3g}, so the codes are not those that are sampled.",
        f"Train at least {warm_up_epochs} epochs.",
    )


# Of the curves


def unstable_training(losses, skipped_updates=0, gradient_norms=(), learning_rate=None):
    """Whether steps are too large to settle.

    Args:
        losses: Sequence of floats, nats: the training loss of every epoch.
        skipped_updates: Float. Updates that were not finite.
        gradient_norms: Sequence of floats, the gradient's norm of every epoch.
        learning_rate: Optional float, that of Adam at the start.
    """
    rise, spike = rise_of(losses), spike_of(gradient_norms)
    if skipped_updates:
        number, what = skipped_updates, f"{skipped_updates:.0f} updates were not finite"
    elif spike is not None and spike > MOST_SPIKE:
        number, what = spike, f"The gradient's norm of one epoch was {spike:.2g} times the usual"
    elif rise is not None and rise > MOST_RISE:
        number = rise
        what = f"The training loss rose again by {100 * rise:.0f} % of what it fell"
    elif learning_rate is not None and learning_rate > MOST_LEARNING_RATE:
        number, what = learning_rate, f"Adam's learning rate is {learning_rate:g}"
    else:
        return None
    return Finding(
        "unstable_training",
        float(number),
        f"{what}: steps are too large to settle, and may have thrown the model to where it learns "
        "no more.",
        "Divide the learning rate by 10.",
    )


def unconverged(losses):
    """Whether training ended while the loss still fell.

    Args:
        losses: Sequence of floats, nats: the loss of every epoch, of held-out data if there are.
    """
    number = gain_of(losses)
    if number is None or number <= MOST_GAIN:
        return None
    count = len(losses)
    return Finding(
        "unconverged",
        number,
        f"The loss still falls: of all that it fell from the first of {count} epochs to the last, "
        f"{100 * number:.0f} % was in their second half ({losses[count // 2 - 1]:.2f} to "
        f"{losses[-1]:.2f} nats). As many again would bring more.",
        f"Train {2 * count} epochs.",
    )


def rise_of(losses):
    """How far a loss rose, from epoch to epoch, as a part of how far it fell; None if unknown."""
    losses = np.asarray(losses, "float64")
    if len(losses) < 3 or not np.isfinite(losses).all():
        return None
    fall = losses[0] - losses.min()
    return float(np.maximum(np.diff(losses), 0).sum() / max(fall, 1e-9))


def spike_of(gradient_norms):
    """The largest of the epochs' gradient norms over their median; None if unknown."""
    norms = np.asarray(gradient_norms, "float64")
    if len(norms) < 3 or not np.isfinite(norms).all():
        return None
    return float(norms.max() / max(np.median(norms), 1e-9))


def gain_of(losses):
    """The part of a loss' fall that its second half of epochs brought; None if unknown."""
    losses = np.asarray(losses, "float64")
    if len(losses) < 2 or not np.isfinite(losses).all():
        return None
    fall = losses[0] - losses[-1]
    if fall <= 0:
        return 0.0
    return float(max(losses[len(losses) // 2 - 1] - losses[-1], 0) / fall)


def overfitting(train_elbo, test_elbo, best_epoch=None):
    """Whether the test data are much less likely than the training data.

    Args:
        train_elbo: Float array `(n,)`, the bound of training examples, nats.
        test_elbo: Float array `(m,)`, that of test examples.
        best_epoch: Optional int, the number of epochs after which the loss of held-out data was
            lowest, where that was not the last one.
    """
    train_elbo, test_elbo = np.asarray(train_elbo, "float64"), np.asarray(test_elbo, "float64")
    gap, parts = float(train_elbo.mean() - test_elbo.mean()), gap_of(train_elbo, test_elbo)
    error = math.sqrt(train_elbo.var() / len(train_elbo) + test_elbo.var() / len(test_elbo))
    if parts <= MOST_GAP or gap <= 3 * error:
        return None
    change = "Halve the networks' hidden_units."
    if best_epoch:
        change = f"Train {best_epoch} epochs: then the loss of held-out data was lowest."
    return Finding(
        "overfitting",
        gap,
        f"The ELBO is {train_elbo.mean():.2f} nats on training and {test_elbo.mean():.2f} on test "
        f"data, a gap of {gap:.2f}, {parts:.1f} times the spread between test "
        "examples: the model knows its training data by heart.",
        change,
    )


def gap_of(train_elbo, test_elbo):
    """How much more likely training examples are, in standard deviations of test examples."""
    train_elbo, test_elbo = np.asarray(train_elbo, "float64"), np.asarray(test_elbo, "float64")
    return float((train_elbo.mean() - test_elbo.mean()) / max(test_elbo.std(), 1e-12))


# Of the codes


def exploding_log_variance(z_log_var, kl_weight=1.0):
    """Whether posterior variances run off to infinity or to nothing.

    Of each latent its median over the examples, for a single one may well be an exception.

    Args:
        z_log_var: Float array `(n, latent)`.
        kl_weight: Float.
    """
    smallest, largest = log_variances_of(z_log_var)
    if largest > MOST_LOG_VAR:
        number, what = largest, f"reaches {largest:.1f}, a variance of {math.exp(largest):.3g}"
        means, change = "codes are noise that no sample has", "Divide the learning rate by 10."
    elif smallest < LEAST_LOG_VAR:
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


def log_variances_of(z_log_var):
    """The smallest and the largest of the latents' median log-variances."""
    medians = np.median(z_log_var, axis=0)
    return float(np.min(medians)), float(np.max(medians))


def posterior_collapse(explained, explained_by_components, dead, count, raise_kl=""):
    """Whether the code carries next to nothing.

    Args:
        explained: Float, at most 1: the share of the variance of data, within a class where the
            model is told the class, that reconstructions explain.
        explained_by_components: Float, the share that as many principal components do.
        dead: Sequence of ints: the latent dimensions that carry nothing.
        count: Int. Latent dimensions.
        raise_kl: Str. The change that makes the code carry more.
    """
    part = part_explained(explained, explained_by_components)
    if part >= LEAST_EXPLAINED_AT_ALL and len(dead) < count:
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
    if part >= LEAST_EXPLAINED or is_collapse:
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
    if not MOST_DEAD_SHARE * count < len(dead) < count:
        return None
    which = ", ".join(map(str, dead[:20])) + (", ..." if len(dead) > 20 else "")
    return Finding(
        "dead_latents",
        float(len(dead)),
        f"{len(dead)} of {count} latent dimensions are dead, {which}: none costs {LEAST_KL} nats, "
        "and the decoder makes the same whatever they are.",
        f"Use latent_dim={count - len(dead)}.",
    )


def part_explained(explained, explained_by_components):
    """What a code explains as a part of what principal components do."""
    return max(explained, 0.0) / max(explained_by_components, 1e-6)


def _of_components(explained):
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
    if number <= MOST_MISMATCH:
        return None
    means, stds = np.asarray(means), np.asarray(stds)
    nats = _nats_from_standard(means, stds)
    group, worst = np.unravel_index(np.argmax(nats), nats.shape)
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


def mismatch_of(means, stds, counts):
    """Nats between codes and a prior, from the arguments of `prior_mismatch`, over all groups."""
    nats = _nats_from_standard(means, stds)
    by_chance = MISMATCH_BY_CHANCE * nats.shape[1] / np.asarray(counts)
    return float(np.average(nats.sum(axis=1) - by_chance, weights=counts))


def _nats_from_standard(means, stds):
    means, stds = np.asarray(means, "float64"), np.asarray(stds, "float64")
    variance = np.maximum(stds, 1e-6) ** 2
    return (means**2 + variance - 1 - np.log(variance)) / 2


def unused_codes(codes_used, num_codes, perplexity):
    """Whether most of a codebook never occurs.

    Args:
        codes_used: Float, the share of codes that occur.
        num_codes: Int.
        perplexity: Float, how many equally frequent codes would be as varied.
    """
    if codes_used >= LEAST_CODES_USED:
        return None
    used = round(codes_used * num_codes)
    return Finding(
        "unused_codes",
        codes_used,
        f"{used} of {num_codes} codes occur, as varied as {perplexity:.0f} equally frequent ones: "
        "the others are dead weight, which the prior may yet draw.",
        f"Use num_codes={max(2, 1 << (used - 1).bit_length())}.",
    )


# Of labels and samples


def meaningless_labels(real_accuracy, count, chance):
    """Whether nothing can tell the label of real test images.

    Args:
        real_accuracy: Float, the share whose label a classifier of training images names.
        count: Int. Test images.
        chance: Float, the share of the most frequent label.
    """
    if skill_of(real_accuracy, chance) >= LEAST_SKILL or count < LEAST_COUNTED:
        return None
    return Finding(
        "meaningless_labels",
        real_accuracy,
        f"A classifier of the training images gives {100 * real_accuracy:.0f} % of the test images "
        f"their label, where guessing gives {100 * chance:.0f} %: labels and images do not belong "
        "together.",
        "Load both in one order.",
    )


def skill_of(accuracy, chance):
    """A classifier's accuracy, from guessing, 0, to no mistake, 1."""
    return (accuracy - chance) / max(1 - chance, 1e-6)


def ignored_labels(label_nats):
    """Whether the decoder makes the same of a code whatever the label.

    Args:
        label_nats: Float. By how many nats a wrong label worsens the reconstruction.
    """
    if label_nats >= LEAST_LABEL_NATS:
        return None
    return Finding(
        "ignored_labels",
        label_nats,
        f"A wrong label makes reconstructions only {label_nats:.2f} nats worse: the decoder takes "
        "the class from the code, and samples will not follow the label.",
        "Halve latent_dim.",
    )


def missed_labels(sample_accuracy, real_accuracy, change=""):
    """Whether samples are not of the class that was asked for.

    Args:
        sample_accuracy: Float, the share of samples that a classifier gives the asked label.
        real_accuracy: Float, the share of real test images that it gives theirs.
        change: Str. The change that makes them follow.
    """
    if real_accuracy - sample_accuracy <= MOST_MISSED:
        return None
    return Finding(
        "missed_labels",
        sample_accuracy,
        f"A classifier gives {100 * sample_accuracy:.0f} % of the samples the label that was asked "
        f"for, and {100 * real_accuracy:.0f} % of real images theirs: one in "
        f"{1 / (1 - sample_accuracy):.0f} is of another class, or of none.",
        change,
    )


def alike_samples(diversity, possible=1.0, of="", change=""):
    """Whether samples, those of a class where there are classes, are too much alike.

    Args:
        diversity: Float: mean distance of two samples over that of two real examples.
        possible: Float: what it would be of examples without what no code of that size can tell,
            the root of the share that as many principal components explain.
        of: Str, " of a class" where that is meant.
        change: Str. The change that makes them vary.
    """
    if diversity >= LEAST_DIVERSITY * possible:
        return None
    where = f", where a code of that size allows {possible:.2f}" if possible < 1 else ""
    return Finding(
        "alike_samples",
        diversity,
        f"Two samples{of} differ {diversity:.2f} times as much as two real examples{where}: they "
        "are nearly one picture, again and again.",
        change,
    )


# In the order in which they are asked: a cause before what it causes.
DIAGNOSES = {
    diagnosis.__name__: diagnosis
    for diagnosis in (
        unfit_data,
        squashed_logits,
        bernoulli_colours,
        rescaled_kl,
        unfinished_warm_up,
        meaningless_labels,
        unstable_training,
        unconverged,
        overfitting,
        exploding_log_variance,
        posterior_collapse,
        low_kl,
        dead_latents,
        unused_codes,
        prior_mismatch,
        ignored_labels,
        missed_labels,
        alike_samples,
    )
}


# Measuring


def examine(
    model,
    train=None,
    test=None,
    epochs=None,
    examples=EXAMPLES,
    seed=0,
    history=None,
    scorecard=None,
):
    """Ask every diagnosis about a model.

    Args:
        model: A model of this package.
        train: Optional arrays as `fit` takes them, training data.
        test: Optional arrays, data that were not trained on. One of both is needed.
        epochs: Optional int. Epochs of the training.
        examples: Int. So many of each are looked at, the first.
        seed: Int, of the draws.
        history: Optional dict from metric to one float per epoch, of the training.
        scorecard: Optional dict as of `evaluation.scorecard`, to judge the samples by. Without it
            a classifier of the first 5,000 training images judges 1,000 samples, which takes some
            seconds; False leaves that out.

    Returns:
        Tuple of the list of `Finding`s, causes before what they cause, and a dict from each
        diagnosis that could not be made to the reason.
    """
    numbers, left_out = measure(model, train, test, epochs, examples, seed, history, scorecard)
    return diagnose(numbers), left_out


def examine_during(model, train, test=None, epochs=None, examples=EXAMPLES):
    """As `examine`, while a model trains: without what passes as it learns.

    Args:
        model, train, test, epochs, examples: As for `examine`.

    Returns:
        List of `Finding`s.
    """
    numbers, _ = measure(model, train, test, epochs, examples, scorecard=False)
    return diagnose({name: of for name, of in numbers.items() if name not in PASSING})


def examine_before(model, inputs, epochs=None, examples=EXAMPLES):
    """The diagnoses that need no trained model: of the data, the KL's weight and its schedule.

    Args:
        model, epochs, examples: As for `examine`.
        inputs: Arrays as `fit` takes them.

    Returns:
        List of `Finding`s.
    """
    return diagnose(_of_settings(model, _first(inputs, examples), epochs))


def diagnose(numbers):
    """The `Finding`s in what `measure` measured: a dict from diagnosis to its arguments."""
    found = [DIAGNOSES[name](**numbers[name]) for name in DIAGNOSES if name in numbers]
    return [finding for finding in found if finding is not None]


def measure(
    model,
    train=None,
    test=None,
    epochs=None,
    examples=EXAMPLES,
    seed=0,
    history=None,
    scorecard=None,
):
    """Measure what the diagnoses ask.

    Args:
        model, train, test, epochs, examples, seed, history, scorecard: As for `examine`.

    Returns:
        Tuple of a dict from the name of a diagnosis to its arguments, and a dict from each that
        could not be made to the reason.
    """
    splits = train, test
    train, test = (None if inputs is None else _first(inputs, examples) for inputs in splits)
    held_out = train if test is None else test
    numbers = _of_settings(model, held_out, epochs)
    x, conditions = model.named_inputs(held_out)
    if not bool(ops.all(model.likelihood.valid(as_float(x)))):
        return numbers, {"what needs a look at the model": "the data are out of range"}
    left_out = {}
    numbers |= _of_curves(model, history, left_out)
    if isinstance(model, DiscreteCodes):
        numbers["unused_codes"] = _of_codebook(model, held_out)
    elif isinstance(model, Encodes):
        numbers |= _of_codes(model, train, held_out, epochs, seed)
    else:
        left_out["low_kl"] = lack(model, Encodes)
    if isinstance(model, Bounds):
        if train is None or test is None:
            left_out["overfitting"] = "it needs training and test data"
        else:
            train_elbo, test_elbo = (
                model.log_likelihood(inputs, num_samples=1, seed=seed) for inputs in (train, test)
            )
            numbers["overfitting"] = {
                "train_elbo": train_elbo,
                "test_elbo": test_elbo,
                "best_epoch": _best_epoch(_curve(model, history or {}, "val_")),
            }
        label_nats = worth_of_label(model, held_out, seed)
        if label_nats is not None:
            numbers["ignored_labels"] = {"label_nats": label_nats}
        elif conditions:
            left_out["ignored_labels"] = "it needs a label of at least two classes in the data"
    if scorecard is None:
        scorecard = _judged(model, *splits, seed, left_out)
    if scorecard:
        numbers |= _of_samples(model, scorecard, test, x, epochs)
        if "low_kl" in numbers and "alike_samples" in numbers:
            possible = math.sqrt(max(numbers["low_kl"]["explained_by_components"], 0.0))
            numbers["alike_samples"]["possible"] = possible
    return numbers, left_out


def _of_settings(model, inputs, epochs):
    """What needs no trained model."""
    x, _ = model.named_inputs(inputs)
    is_uint8, x = x.dtype == np.uint8, as_float(x)
    numbers = {
        "unfit_data": {
            "likelihood": model.likelihood,
            "smallest": float(x.min()),
            "largest": float(x.max()),
            "deviation": float(x.std(dtype="float64")),
            "rounding": _rounding(model.likelihood, x),
            "is_uint8": is_uint8,
        },
        "bernoulli_colours": {
            "likelihood": model.likelihood,
            "channels": x.shape[-1] if x.ndim == 4 else 0,
            "between": _share_between(x),
        },
    }
    is_valid = bool(ops.all(model.likelihood.valid(x)))
    try:
        if is_valid:
            model.check_logits()
    except ValueError as err:
        made = model.reconstruct(inputs) if isinstance(model, Encodes) else model.sample(len(x))
        numbers["squashed_logits"] = {
            "reason": str(err),
            "smallest": float(made.min()),
            "largest": float(made.max()),
        }
    if isinstance(model, Bounds):
        schedule = model.kl_schedule
        kl_weight = _end_of_kl_weight(model)
        numbers["rescaled_kl"] = {"kl_weight": kl_weight, "num_values": math.prod(x.shape[1:])}
        if schedule is not None and epochs is not None:
            numbers["unfinished_warm_up"] = {
                "warm_up_epochs": schedule.epochs,
                "epochs": epochs,
                "kl_weight": schedule(max(epochs - 1, 0)),
                "end": kl_weight,
            }
    return numbers


def _of_curves(model, history, left_out):
    """What the losses of the epochs say."""
    losses, held_out = (_curve(model, history or {}, prefix) for prefix in ("", "val_"))
    if not isinstance(model, Encodes):
        left_out["unconverged"] = "the losses of two players do not fall"
    elif rise_of(losses) is None:
        left_out["unconverged"] = "it needs the losses of three epochs"
    else:
        return {
            "unconverged": {"losses": losses if gain_of(held_out) is None else held_out},
            "unstable_training": {
                "losses": losses,
                "skipped_updates": sum(history.get("skipped_updates", ())),
                "gradient_norms": history.get("gradient_norm", ()),
                "learning_rate": _learning_rate(model),
            },
        }
    return {}


def _curve(model, history, prefix):
    """The loss of every epoch: with a warm-up, what it would have been with the last weight."""
    terms = [history.get(f"{prefix}{name}", ()) for name in ("reconstruction_loss", "kl_loss")]
    if not isinstance(model, Bounds) or model.kl_schedule is None or not all(map(len, terms)):
        return history.get(f"{prefix}loss", ())
    end = _end_of_kl_weight(model)
    return [nats + end * kl for nats, kl in zip(*terms, strict=True)]


def _best_epoch(losses):
    """After how many epochs the loss of held-out data was lowest, None if near the end."""
    best = int(np.argmin(losses)) + 1 if len(losses) else 0
    return best if best < 0.8 * len(losses) else None


def _of_codebook(model, inputs):
    used = evaluate_codes(model, inputs)
    return {
        "codes_used": used["codes_used"],
        "num_codes": model.quantizer.num_codes,
        "perplexity": used["perplexity"],
    }


def _of_codes(model, train, held_out, epochs, seed):
    """What an encoder makes of data."""
    has_posterior = isinstance(model, Bounds)
    inputs, x, rows = _in_classes(model, held_out, seed)
    _, x_train, rows_train = _in_classes(model, held_out if train is None else train, seed)
    if has_posterior:
        z_mean, z_log_var = model.encode(inputs)
        nats = model.kl_by_dimension(inputs)
    else:
        z_mean, nats = model.encode(inputs), None
    nats = None if nats is None else nats.mean(axis=0, dtype="float64")
    is_dead = z_mean.var(axis=0) <= ACTIVE_VARIANCE if nats is None else nats < LEAST_KL
    raise_kl = _raised_kl(model, x, epochs)
    latent_dim = z_mean.shape[1]
    of_code = {
        "explained": explained_by_reconstructions(model.reconstruct(inputs), x, rows),
        "explained_by_components": explained_by_components(
            x_train, rows_train, x, rows, latent_dim
        ),
        "dead": np.flatnonzero(is_dead).tolist(),
        "count": latent_dim,
    }
    numbers = {
        "posterior_collapse": {**of_code, "raise_kl": raise_kl},
        "low_kl": {
            **of_code,
            "kl": None if nats is None else float(nats.sum()),
            "raise_kl": raise_kl,
        },
        "dead_latents": {name: of_code[name] for name in ("dead", "count")},
    }
    if has_posterior:
        numbers["exploding_log_variance"] = {
            "z_log_var": z_log_var,
            "kl_weight": _end_of_kl_weight(model),
        }
        numbers["prior_mismatch"] = _of_prior(model, inputs, seed)
    return numbers


def _in_classes(model, inputs, seed):
    """Checked inputs, their examples as floats, and the rows of each combination of labels."""
    inputs = model.as_observed(check_examples(model, inputs), seed)
    x, conditions = model.named_inputs(inputs)
    x = as_float(x)
    return inputs, x, groups(_labels(model, conditions), len(x))


def _labels(model, conditions):
    return {name: conditions[name] for name, kind in model.condition.items() if _is_label(kind)}


def _is_label(kind):
    return kind.kind == "categorical"


def explained_by_reconstructions(reconstructions, x, rows):
    """The share of the variance of data within groups that reconstructions explain, at most 1.

    Args:
        reconstructions, x: Float arrays `(n, ...)`.
        rows: List of int arrays, the rows of each group.
    """
    error = np.sum(np.square(x - reconstructions, dtype="float64"))
    return float(1 - error / max(np.sum(np.square(_centered(x, rows))), 1e-12))


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


def _of_prior(model, inputs, seed):
    """The codes of each class, or of all, in units of the prior's draws for it."""
    _, conditions = model.named_inputs(inputs)
    z = model.draw_codes(inputs, seed).astype("float64")
    labels = _labels(model, conditions)
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
        "change": _mended_prior(model),
    }


def worth_of_label(model, inputs, seed=0, batch_size=256):
    """By how many nats a wrong label worsens the reconstruction of the posterior mean, or None."""
    _, conditions = model.named_inputs(inputs)
    labels = [name for name, kind in model.condition.items() if _is_label(kind)]
    classes = [name for name in labels if len(np.unique(conditions[name])) > 1]
    if not classes:
        return None
    name = classes[0]
    inputs = model.as_observed(check_examples(model, inputs), seed)
    rng = seeds.generator(seed, "wrong labels")
    right = inputs[name]
    present = np.unique(right)
    shift = rng.integers(1, len(present), len(right))
    wrong = present[(np.searchsorted(present, right) + shift) % len(present)].astype("int32")

    def measure(batch):
        given, wrong = batch
        x, conditions = model.split_inputs(given)
        condition = model.encode_condition(conditions, training=False)
        z_mean, _ = model.code(x, condition, training=False)
        nats = [
            model.likelihood.log_prob(
                ops.cast(x, "float32"),
                ops.cast(model.decode_parameters(z_mean, {**conditions, name: labels}), "float32"),
            )
            for labels in (conditions[name], wrong)
        ]
        return [nats[0] - nats[1]]

    measure = model.as_compiled(measure)
    return float(np.mean(in_batches(measure, (inputs, wrong), batch_size)[0], dtype="float64"))


def _judged(model, train, test, seed, left_out):
    """What a scorecard would say of samples of images, measured in seconds; None if it cannot."""

    def leave_out(reason):
        left_out["missed_labels"] = left_out["alike_samples"] = reason

    if not isinstance(model, Samples):
        return leave_out(lack(model, Samples))
    if isinstance(model, DiscreteCodes):
        return leave_out("a prior over codes takes long to draw from; a scorecard does it")
    if test is None:
        return leave_out("it needs test data")
    x_test, conditions = model.named_inputs(test)
    if len(x_test.shape) != 4:
        return leave_out("the data are no images")
    try:
        name, kind = label_of(model)
    except ValueError:
        if model.condition:
            return leave_out(f"the {type(model).__name__} has more to ask for than one label")
        real = as_float(x_test[:DISTANCES_PER_CLASS])
        spread = mean_distance(real) if len(real) > 1 else 0.0
        if not spread:
            return leave_out("it needs test images that differ")
        made = model.sample(DISTANCES_PER_CLASS, seed=seed)
        return {"diversity": float(mean_distance(made) / spread)}
    if train is None or name not in conditions:
        return leave_out("it needs labelled training images")
    x_train, given = model.named_inputs(train)
    parts = []
    for x, y in ((x_train, given[name]), (x_test, conditions[name])):
        y = kind.as_array(y)[:JUDGED_BY]
        known = y < kind.num_classes
        parts += np.asarray(x[:JUDGED_BY])[known], y[known]
    dataset = Dataset("images", *parts, kind.names)
    if kind.num_classes < 2 or min(len(dataset.y_train), len(dataset.y_test)) < 2:
        return leave_out("it needs images of two classes")
    classifier = train_classifier(dataset)
    per_class = max(SAMPLES // kind.num_classes, 2)
    labels = np.repeat(np.arange(kind.num_classes, dtype="int32"), per_class)
    samples = model.sample({name: labels}, seed=seed)
    ratios = list(diversity_by_class(samples, labels, dataset).values())
    return {
        "sample_accuracy": float(np.mean(named(classifier, samples) == labels)),
        "real_accuracy": float(np.mean(named(classifier, dataset.x_test) == dataset.y_test)),
        "diversity": float(np.mean(ratios)) if ratios else None,
    }


def _of_samples(model, scorecard, test, x, epochs):
    """What a scorecard says, as the diagnoses take it."""
    numbers = {}
    _, conditions = model.named_inputs(test) if test is not None else (None, {})
    if "sample_accuracy" in scorecard:
        name, kind = label_of(model)
        chance, count = 1 / kind.num_classes, LEAST_COUNTED
        if name in conditions:
            chance = float(np.bincount(kind.as_array(conditions[name])).max() / len(x))
            count = len(x)
        numbers["meaningless_labels"] = {
            "real_accuracy": scorecard["real_accuracy"],
            "count": count,
            "chance": chance,
        }
        numbers["missed_labels"] = {
            "sample_accuracy": scorecard["sample_accuracy"],
            "real_accuracy": scorecard["real_accuracy"],
            "change": _mended_prior(model),
        }
    if scorecard.get("diversity") is not None:
        numbers["alike_samples"] = {
            "diversity": scorecard["diversity"],
            "of": " of a class" if "sample_accuracy" in scorecard else "",
            "change": _raised_kl(model, x, epochs),
        }
    return numbers


# Changes


def _raised_kl(model, x, epochs):
    """The change that makes a code carry more, or samples vary more."""
    if isinstance(model, Adversarial):
        return "Use spectral_normalization=True in the discriminator."
    if not isinstance(model, Bounds):
        return "Train twice as many epochs."
    kl_weight = _end_of_kl_weight(model)
    if kl_weight > 1:
        return "Use kl_weight=1."
    if model.likelihood.name == "bernoulli" and _share_between(x) > MOST_BETWEEN:
        return 'Use likelihood="gaussian": a Bernoulli is for black and white.'
    if model.kl_schedule is None and epochs and epochs > 2:
        return f"Use kl_weight=keras_vae.schedules.LinearWarmup({epochs // 2})."
    return f"Use kl_weight={kl_weight / 2:.2g}."


def _mended_prior(model):
    """The change that makes a prior draw the codes that the decoder knows."""
    if isinstance(model, Adversarial):
        return "Train twice as many epochs."
    if isinstance(model, DiscreteCodes):
        return "Train its prior for twice as many epochs."
    if _end_of_kl_weight(model) < 1:
        return "Use kl_weight=1."
    if isinstance(model.prior, StandardNormal):
        return "Fit a prior to the codes: model.fit_prior(train)."
    return "Fit a prior to the codes anew: model.fit_prior(train)."


def _learning_rate(model):
    """Where Adam's learning rate began, None of another optimizer or of none."""
    optimizer = model.optimizer if model.compiled else None
    if not isinstance(optimizer, keras.optimizers.Adam):
        return None
    rate = optimizer.get_config()["learning_rate"]
    rate = rate["config"].get("initial_learning_rate") if isinstance(rate, dict) else rate
    return None if rate is None else float(rate)


def _end_of_kl_weight(model):
    schedule = model.kl_schedule
    return float(ops.convert_to_numpy(model.kl_weight)) if schedule is None else schedule.end


def _rescaled(smallest, largest):
    """The expression that brings data to where networks begin."""
    if smallest >= 0 and largest > 1:
        return f"x / {255 if 128 < largest <= 255 else largest:g}"
    if smallest >= -1 and largest <= 1:
        return "(x + 1) / 2"
    return "(x - x.mean()) / x.std()"


def _first(inputs, count):
    return keras.tree.map_structure(np.asarray, first_of(inputs, count))


def _share_between(x):
    return float(np.mean((x > 0.1) & (x < 0.9)))


def _rounding(likelihood, x):
    if likelihood.levels is None:
        return 0.0
    at = x.astype("float64") * (likelihood.levels - 1)
    return float(np.sqrt(np.mean((at - np.round(at)) ** 2))) / (likelihood.levels - 1)
