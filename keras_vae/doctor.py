"""What usually goes wrong with a VAE, from measured numbers to plain words.

Every diagnosis is a function of numbers that returns a `Finding` or None. `examine` measures the
numbers of a model and asks all of them; `callbacks.Doctor` does so during training, and the command
`evaluate --doctor` afterwards.
"""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from keras_vae import seeds
from keras_vae.data import as_float, bounds
from keras_vae.evaluation.latents import evaluate_latents
from keras_vae.evaluation.report import first_of
from keras_vae.models.generative import in_batches
from keras_vae.models.inputs import check_examples

EXAMPLES = 1000
# A dimension that costs less, in nats, says next to nothing of the example.
LEAST_KL = 0.01
LEAST_ACTIVE_SHARE = 0.25
# Of a posterior's log-variance. Where the prior's variance is 1, useful ones are below it.
MOST_LOG_VAR, LEAST_LOG_VAR = 5.0, -20.0
# In standard deviations of an example's ELBO over the test data.
MOST_GAP = 0.5
# Nats by which the codes' means and variances alone set them apart from the prior's draws.
MOST_MISMATCH = 0.5
# Nats of an example's reconstruction that the right label is worth, at least.
LEAST_LABEL_NATS = 0.5


@dataclasses.dataclass(frozen=True)
class Finding:
    """A diagnosis that holds.

    Attributes:
        name: Str, such as `"posterior_collapse"`.
        number: Float, the measured number behind it.
        text: Str. One line: what is wrong, the number, and what to do.
    """

    name: str
    number: float
    text: str

    def __str__(self):
        return f"{self.name}: {self.text}"


# Diagnoses


def posterior_collapse(kl_per_latent, active_units):
    """Whether most latent dimensions carry nothing.

    Args:
        kl_per_latent: Sequence of floats, nats, averaged over examples; None if unknown.
        active_units: Int. Dimensions whose posterior mean varies with the example.
    """
    if kl_per_latent is None:
        return None
    count = len(kl_per_latent)
    dead = [index for index, nats in enumerate(kl_per_latent) if nats < LEAST_KL]
    if active_units >= LEAST_ACTIVE_SHARE * count and count - len(dead) > 0:
        return None
    named = ", ".join(map(str, dead[:20])) + (", ..." if len(dead) > 20 else "")
    which = f"Latents that cost less than {LEAST_KL} nats: {named}. " if dead else ""
    return Finding(
        "posterior_collapse",
        float(active_units),
        f"{active_units} of {count} latent dimensions are active, so the decoder hardly looks at "
        f"the code. {which}Lower kl_weight, let it rise over some epochs "
        "(schedules.LinearWarmup), set free_bits, or make the latent space smaller.",
    )


def exploding_log_variance(z_log_var):
    """Whether posterior variances run off to infinity or to nothing.

    Args:
        z_log_var: Float array `(n, latent)`.
    """
    largest, smallest = float(np.max(z_log_var)), float(np.min(z_log_var))
    if largest > MOST_LOG_VAR:
        number, what = largest, f"reaches {largest:.1f}, a variance of {math.exp(largest):.3g}"
        advice = "Lower the learning rate, clip gradients (Adam(clipnorm=1)) or raise kl_weight"
    elif smallest < LEAST_LOG_VAR:
        number, what = smallest, f"falls to {smallest:.1f}, a variance of {math.exp(smallest):.3g}"
        advice = "Raise kl_weight: with so little noise the model is a plain autoencoder"
    else:
        return None
    return Finding(
        "exploding_log_variance",
        number,
        f"The posterior's log-variance {what}, where the prior's is 0. {advice}.",
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
        f"at {kl_weight:.3g} instead of {end:.3g}. Train longer or shorten the warm-up.",
    )


def unfit_data(likelihood, smallest, largest, deviation, rounding=0.0):
    """Whether the values of the data are none that the likelihood is for.

    Args:
        likelihood: Object of `keras_vae.likelihoods`.
        smallest, largest: Floats, the range of the data.
        deviation: Float, the standard deviation of all values.
        rounding: Float, the root of the mean squared distance of the values from the likelihood's
            levels.
    """
    low, high = likelihood.data_range
    least, most = bounds(likelihood.data_range)
    is_density = math.isinf(high)
    scale = getattr(likelihood, "scale", None)
    seen = f"The data run from {smallest:.4g} to {largest:.4g}"
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        number, problem = math.nan, "The data hold NaN or infinity. Remove those examples"
    elif smallest < least or largest > most:
        number = largest if largest > most else smallest
        problem = (
            f"{seen}, outside of the {likelihood.name} likelihood's [{low:g}, {high:g}]. Divide "
            "8-bit images by 255, or use the gaussian likelihood"
        )
    elif deviation == 0:
        number, problem = 0.0, f"{seen}: every value is the same. Check how they are loaded"
    elif not is_density and largest < (high - low) / 20:
        number = largest
        problem = (
            f"{seen}, a sliver of the {likelihood.name} likelihood's [{low:g}, {high:g}]. Were "
            "they divided by 255 twice?"
        )
    elif is_density and deviation > 10:
        number = deviation
        problem = (
            f"{seen} with a standard deviation of {deviation:.3g}, far from what networks begin "
            "with. Divide 8-bit images by 255, or standardise the data"
        )
    elif is_density and isinstance(scale, int | float) and scale > 2 * deviation:
        number = scale / deviation
        problem = (
            f"The {likelihood.name} likelihood's fixed scale {scale:.3g} is {number:.1f} times the "
            f"data's standard deviation {deviation:.3g}: it takes the images for noise. Use "
            "scale='shared' or 'optimal', which are learnt"
        )
    elif rounding > 0.1 * deviation:
        number = rounding / deviation
        problem = (
            f"The {likelihood.levels} levels of the {likelihood.name} likelihood round the data by "
            f"{rounding:.3g}, {100 * number:.0f} % of their standard deviation. Use more of them, "
            "or the gaussian or continuous_bernoulli likelihood"
        )
    else:
        return None
    return Finding("unfit_data", float(number), f"{problem.rstrip('.')}.".replace("?.", "?"))


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
        "and samples will be poor. Use kl_weight=1, the bound itself, and try other values near.",
    )


def overfitting(train_elbo, test_elbo):
    """Whether the test data are much less likely than the training data.

    Args:
        train_elbo: Float array `(n,)`, the bound of training examples, nats.
        test_elbo: Float array `(m,)`, that of test examples.
    """
    train_elbo, test_elbo = np.asarray(train_elbo, "float64"), np.asarray(test_elbo, "float64")
    gap = float(train_elbo.mean() - test_elbo.mean())
    spread = float(test_elbo.std())
    error = math.sqrt(train_elbo.var() / len(train_elbo) + test_elbo.var() / len(test_elbo))
    if gap <= max(MOST_GAP * spread, 3 * error):
        return None
    return Finding(
        "overfitting",
        gap,
        f"The ELBO is {train_elbo.mean():.2f} nats on training and {test_elbo.mean():.2f} on test "
        f"data, a gap of {gap:.2f}, {gap / max(spread, 1e-12):.1f} times the spread between test "
        "examples. Stop earlier, use smaller networks or dropout, or train on more data.",
    )


def prior_mismatch(code_mean_per_latent, code_std_per_latent):
    """Whether `sample` draws other codes than the decoder has learnt to decode.

    The KL of two normal distributions with these means and variances: the least that the codes'
    KL from N(0, I) can be.

    Args:
        code_mean_per_latent: Sequence of floats, the codes' means in units of the prior's draws.
        code_std_per_latent: Sequence of floats, their standard deviations.
    """
    mean, std = (np.asarray(v, "float64") for v in (code_mean_per_latent, code_std_per_latent))
    variance = np.maximum(std, 1e-6) ** 2
    nats = (mean**2 + variance - 1 - np.log(variance)) / 2
    if nats.sum() <= MOST_MISMATCH:
        return None
    worst = int(np.argmax(nats))
    return Finding(
        "prior_mismatch",
        float(nats.sum()),
        f"The codes of the data are {nats.sum():.2f} nats away from the prior's draws; furthest "
        f"latent {worst}, with mean {mean[worst]:.2f} and standard deviation {std[worst]:.2f} "
        "where the prior has 0 and 1. Expect good reconstructions and poor samples. Raise "
        "kl_weight, or fit a prior to the codes with fit_prior.",
    )


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
        "the class from the code, and samples will not follow the label. Make the latent space "
        "smaller, raise kl_weight, and check that labels and images belong together.",
    )


# Measuring


def examine(model, train=None, test=None, epochs=None, examples=EXAMPLES, seed=0):
    """Ask every diagnosis about a model.

    Args:
        model: A model of this package.
        train: Optional arrays as `fit` takes them, training data.
        test: Optional arrays, data that were not trained on. One of both is needed.
        epochs: Optional int. Epochs of the training.
        examples: Int. So many of each are looked at, the first.
        seed: Int, of the draws.

    Returns:
        Tuple of the list of `Finding`s and a dict from each diagnosis that
        could not be made to the reason.
    """
    train, test = (None if inputs is None else _first(inputs, examples) for inputs in (train, test))
    held_out = train if test is None else test
    found = examine_before(model, held_out, epochs, examples)
    x, conditions = model.named_inputs(held_out)
    if not hasattr(model, "log_likelihood"):
        reason = f"{type(model).__name__} has no posterior and no bound"
        return found, {"all but unfit_data": reason}
    if not bool(ops.all(model.likelihood.valid(as_float(x)))):
        return found, {"what needs a look at the codes": "the data are out of range"}
    left_out = {}
    latents = evaluate_latents(model, held_out, seed=seed)
    _, z_log_var = model.encode(model.as_observed(held_out, seed))
    found += [
        exploding_log_variance(z_log_var),
        posterior_collapse(latents["kl_per_latent"], latents["active_units"]),
        prior_mismatch(latents["code_mean_per_latent"], latents["code_std_per_latent"]),
    ]
    if latents["kl_per_latent"] is None:
        left_out["posterior_collapse"] = (
            f"the KL from a {type(model.prior).__name__} is no sum over latents"
        )
    if train is None or test is None:
        left_out["overfitting"] = "it needs training and test data"
    else:
        bounds = [
            model.log_likelihood(inputs, num_samples=1, seed=seed) for inputs in (train, test)
        ]
        found.append(overfitting(*bounds))
    label_nats = worth_of_label(model, held_out, seed)
    if label_nats is not None:
        found.append(ignored_labels(label_nats))
    elif conditions:
        left_out["ignored_labels"] = "it needs a label of at least two classes in the data"
    return _held(found), left_out


def examine_before(model, inputs, epochs=None, examples=EXAMPLES):
    """The diagnoses that need no trained model: of the data, the KL's weight and its schedule.

    Args:
        model, epochs, examples: As for `examine`.
        inputs: Arrays as `fit` takes them.

    Returns:
        List of `Finding`s.
    """
    x, _ = model.named_inputs(_first(inputs, examples))
    x = as_float(x)
    numbers = float(x.min()), float(x.max()), float(x.std(dtype="float64"))
    found = [unfit_data(model.likelihood, *numbers, _rounding(model.likelihood, x))]
    if hasattr(model, "kl_weight"):
        schedule = model.kl_schedule
        kl_weight = float(ops.convert_to_numpy(model.kl_weight))
        end = kl_weight if schedule is None else schedule.end
        found.append(rescaled_kl(end, math.prod(x.shape[1:])))
        if schedule is not None and epochs is not None:
            last = schedule(max(epochs - 1, 0))
            found.append(unfinished_warm_up(schedule.epochs, epochs, last, end))
    return _held(found)


def worth_of_label(model, inputs, seed=0, batch_size=256):
    """By how many nats a wrong label worsens the reconstruction of the posterior mean, or None."""
    _, conditions = model.named_inputs(inputs)
    labels = [name for name, kind in model.condition.items() if kind.kind == "categorical"]
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


def _first(inputs, count):
    return keras.tree.map_structure(np.asarray, first_of(inputs, count))


def _rounding(likelihood, x):
    if not hasattr(likelihood, "levels"):
        return 0.0
    at = x.astype("float64") * (likelihood.levels - 1)
    return float(np.sqrt(np.mean((at - np.round(at)) ** 2))) / (likelihood.levels - 1)


def _held(found):
    return [finding for finding in found if finding is not None]
