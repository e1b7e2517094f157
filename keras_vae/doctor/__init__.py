"""What usually goes wrong with a generative model, from measured numbers to one change to make.

Every diagnosis is a function of numbers that returns a `Finding` or None, and is one of
`DIAGNOSES`, causes before what they cause. `measure` takes the numbers of a model and `examine`
asks all diagnoses about them; `callbacks.Doctor` does so during training, and the command
`evaluate --doctor` afterwards. Where the thresholds come from is in docs/doctor.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_vae.doctor import calibrations, codes, curves, samples, settings
from keras_vae.doctor.calibrations import contaminated_calibration, other_units
from keras_vae.doctor.codes import (
    dead_latents,
    exploding_log_variance,
    low_kl,
    posterior_collapse,
    prior_mismatch,
    unused_codes,
)
from keras_vae.doctor.curves import (
    overfitting,
    unconverged,
    unstable_training,
)
from keras_vae.doctor.finding import Finding as Finding
from keras_vae.doctor.samples import (
    alike_samples,
    copied_images,
    copied_rows,
    ignored_conditions,
    ignored_labels,
    meaningless_labels,
    missed_conditions,
    missed_labels,
)
from keras_vae.doctor.settings import (
    bernoulli_colours,
    rescaled_kl,
    squashed_logits,
    unfinished_warm_up,
    unfit_data,
)
from keras_vae.evaluation.report import first_of
from keras_vae.models.capabilities import Bounds, DiscreteCodes, Encodes, Scores, lack
from keras_vae.type_aliases import Examples

EXAMPLES = 1000
# Diagnoses of what passes as a model learns.
PASSING = {"low_kl", "dead_latents", "prior_mismatch", "ignored_labels", "ignored_conditions"}

# In the order in which they are asked: a cause before what it causes.
DIAGNOSES = {
    diagnosis.__name__: diagnosis
    for diagnosis in (
        other_units,
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
        ignored_conditions,
        missed_labels,
        missed_conditions,
        alike_samples,
        copied_images,
        copied_rows,
        contaminated_calibration,
    )
}


def examine(
    model: Any,
    train: Examples | None = None,
    test: Examples | None = None,
    epochs: int | None = None,
    examples: int = EXAMPLES,
    **options: Any,
) -> tuple[list[Finding], dict[str, str]]:
    """Ask every diagnosis about a model.

    Args:
        model: A model of this package.
        train: Optional arrays as `fit` takes them, training data.
        test: Optional arrays, data that were not trained on. One of both is needed.
        epochs: Optional int. Epochs of the training.
        examples, **options: As for `measure`.

    Returns:
        Tuple of the list of `Finding`s, causes before what they cause, and a dict from each
        diagnosis that could not be made to the reason.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 4, 4, 1), "float32")
    >>> history = vae.fit(x[:48], verbose=0)
    >>> findings, left_out = keras_vae.doctor.examine(vae, x[:48], x[48:])
    >>> all(finding.change for finding in findings)
    True

    See also:
        `callbacks.Doctor`, during training; `examine_before`.
    """
    numbers, left_out = measure(model, train, test, epochs, examples, **options)
    return diagnose(numbers), left_out


def examine_during(
    model: Any,
    train: Examples,
    test: Examples | None = None,
    epochs: int | None = None,
    examples: int = EXAMPLES,
) -> list[Finding]:
    """As `examine`, while a model trains: without what passes as it learns.

    Args:
        model, train, test, epochs, examples: As for `measure`.

    Returns:
        List of `Finding`s.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 4, 4, 1), "float32")
    >>> history = vae.fit(x, verbose=0)
    >>> type(keras_vae.doctor.examine_during(vae, x)).__name__
    'list'

    See also:
        `callbacks.Doctor`, which calls it.
    """
    numbers, _ = measure(model, train, test, epochs, examples, scorecard=False)
    return diagnose({name: of for name, of in numbers.items() if name not in PASSING})


def examine_before(
    model: Any, inputs: Examples, epochs: int | None = None, examples: int = EXAMPLES
) -> list[Finding]:
    """The diagnoses that need no trained model: of the data, the KL's weight and its schedule.

    Args:
        model, epochs, examples: As for `measure`.
        inputs: Arrays as `fit` takes them.

    Returns:
        List of `Finding`s.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder, kl_weight=0.01)
    >>> x = np.random.default_rng(0).random((64, 4, 4, 1), "float32")
    >>> [finding.name for finding in keras_vae.doctor.examine_before(vae, x)]
    ['rescaled_kl']

    See also:
        `examine`.
    """
    return diagnose(settings.of_settings(model, _first(inputs, examples), epochs))


def diagnose(numbers: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """The `Finding`s in what `measure` measured: a dict from diagnosis to its arguments.

    Args:
        numbers: Dict from a diagnosis to a dict of its arguments.

    Returns:
        List of `Finding`s, causes before what they cause.

    Example:

    >>> import keras_vae
    >>> numbers = {"ignored_labels": {"label_nats": 0.0}}
    >>> [finding.name for finding in keras_vae.doctor.diagnose(numbers)]
    ['ignored_labels']

    See also:
        `measure`, whose numbers it takes; `examine` does both.
    """
    found = [DIAGNOSES[name](**numbers[name]) for name in DIAGNOSES if name in numbers]
    return [finding for finding in found if finding is not None]


def measure(
    model: Any,
    train: Examples | None = None,
    test: Examples | None = None,
    epochs: int | None = None,
    examples: int = EXAMPLES,
    seed: int = 0,
    history: Mapping[str, Sequence[float]] | None = None,
    scorecard: Mapping[str, Any] | Literal[False] | None = None,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Measure what the diagnoses ask.

    Args:
        model, train, test, epochs: As for `examine`.
        examples: Int. So many of each are looked at, the first.
        seed: Int, of the draws.
        history: Optional dict from metric to one float per epoch, of the training.
        scorecard: Optional dict as of `evaluation.scorecard`, to judge the samples by, or one whose
            `obedience` is of `evaluation.obedience`. Without it a classifier of the first 5,000
            training images judges 1,000 samples, which takes some seconds, or of several conditions
            a judge of each; False leaves that out.

    Returns:
        Tuple of a dict from the name of a diagnosis to its arguments, and a dict from each that
        could not be made to the reason.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> x = np.random.default_rng(0).random((64, 4, 4, 1), "float32")
    >>> numbers, left_out = keras_vae.doctor.measure(vae, x, scorecard=False)
    >>> sorted(numbers["rescaled_kl"])
    ['kl_weight', 'num_values']

    See also:
        `diagnose`, which says what they mean.
    """
    splits = train, test
    train, test = (None if inputs is None else _first(inputs, examples) for inputs in splits)
    held_out = train if test is None else test
    numbers = settings.of_settings(model, held_out, epochs)
    x, _ = model.named_inputs(held_out)
    if not bool(ops.all(model.likelihood.valid(settings.values_of(model, x)))):
        return numbers, {"what needs a look at the model": "the data are out of range"}
    left_out = {}
    if isinstance(model, Scores) and model.scoring.calibration is not None:
        numbers |= calibrations.of_calibration(model, held_out, np.asarray(x), test is None)
    numbers |= curves.of_curves(model, history, left_out)
    if isinstance(model, DiscreteCodes):
        numbers["unused_codes"] = codes.of_codebook(model, held_out)
    elif isinstance(model, Encodes):
        numbers |= codes.of_codes(model, train, held_out, epochs, seed, left_out)
    else:
        left_out["low_kl"] = lack(model, Encodes)
    if isinstance(model, Bounds):
        numbers |= curves.of_splits(model, train, test, seed, history, left_out)
        numbers |= samples.of_conditions(model, held_out, seed, left_out)
    if scorecard is None:
        scorecard = samples.judged(model, *splits, seed, left_out)
    if scorecard:
        numbers |= samples.of_samples(model, scorecard, test, x, epochs)
        if "low_kl" in numbers and "alike_samples" in numbers:
            possible = math.sqrt(max(numbers["low_kl"]["explained_by_components"], 0.0))
            numbers["alike_samples"]["possible"] = possible
    return numbers, left_out


def _first(inputs, count):
    return keras.tree.map_structure(np.asarray, first_of(inputs, count))
