"""Whether a conditional model's samples are what was asked for, as varied as the real ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_vae import data, seeds
from keras_vae.data.datasets import Dataset
from keras_vae.evaluation import nearest
from keras_vae.evaluation.classifier import (
    EPOCHS,
    features,
    frechet_distance,
    mean_distance,
    predicted,
    proportion,
    train_classifier,
)
from keras_vae.evaluation.leakage import leakage
from keras_vae.models.capabilities import DiscreteCodes, Samples

PER_CLASS = 1000
# A prior over a grid of codes takes a pass of its network for each place.
PER_CLASS_OF_GRIDS = 100
DISTANCES_PER_CLASS = 500


def samples_per_class(model):
    """How many samples of each class a scorecard draws by default."""
    return PER_CLASS_OF_GRIDS if isinstance(model, DiscreteCodes) else PER_CLASS


def seconds_of_classifiers(dataset, samples):
    """About how long the classifiers of real images and of samples train, on two cores."""
    pixels = math.prod(dataset.x_train.shape[1:])
    return 8e-7 * pixels * EPOCHS * (len(dataset.x_train) + samples)


def scorecard(
    model: Any,
    dataset: Dataset,
    per_class: int | None = None,
    seed: int = 0,
    classifier: Any = None,
    say: Callable[..., Any] | None = None,
    verbose: int = 0,
) -> dict[str, Any]:
    """Judge a conditional model's samples by a classifier of real images.

    Args:
        model: A model with one label as its condition, or as that of its prior.
        dataset: `data.Dataset` with at least two classes: of its training images the classifier is
            made, its test images are what samples are compared with.
        per_class: Optional int, at least 2. Samples of each class, at temperature 1; 1,000 by
            default, and 100 of a `VQVAE`, whose prior takes long to draw.
        seed: Int, from 0 to 2^31 - 1.
        classifier: Optional Keras model, as of `train_classifier`.
        say: Optional function of a line, called before what takes long.
        verbose: As in Keras, of the classifiers' training.

    Returns:
        Dict, of shares from 0 to 1 with the ends of Wilson's 95 % interval under `..._interval`:

        - `sample_accuracy`: samples that the classifier gives the asked label;
          `sample_accuracy_per_class`, a dict by name.
        - `real_accuracy`: real test images that it gives their label, the ceiling.
        - `wrong_label_accuracy`: samples that it gives the label for which they count, when the
          decoder is fed another, drawn at random. As high as `sample_accuracy` if labels are
          ignored.
        - `synthetic_training_accuracy`: real test images that a classifier trained on the samples
          alone gives their label.
        - `diversity`: mean distance of two samples of a class over that of two real test images,
          averaged over the classes; `diversity_per_class`.
        - `classifier_frechet_distance`: Frechet distance of samples, in the classes' shares of the
          test images, and real test images by the classifier's last hidden layer, and
          `classifier_frechet_distance_of_real`, that of training and test images, its floor. Not
          FID, and comparable by one classifier only.
        - `nearest_distance`, `nearest_distance_of_held_out`, `close_samples`, `close_held_out` and
          `copied_samples`: how near samples and held-out images are to the training images, as
          `nearest.closeness` says; many close samples are copies, or too smooth.
        - `label_leakage`: held-out codes whose label a logistic regression reads from `z`, and
          `label_leakage_by_chance`, the share of the most frequent label.
        - `samples_per_class`: how many were drawn.
        - `left_out`: dict from what could not be measured to the reason.

    Raises:
        ValueError: If the model has no label to ask for, or there is one class only.

    Example:

    >>> import keras_vae
    >>> digits = keras_vae.data.load("digits")
    >>> cvae = keras_vae.ConditionalVAE(
    ...     keras_vae.networks.DenseEncoder(2, hidden_units=(8,)),
    ...     keras_vae.networks.DenseDecoder((8, 8, 1), hidden_units=(8,)),
    ...     condition={"label": keras_vae.Categorical(10)},
    ... )
    >>> cvae.build()
    >>> found = keras_vae.evaluation.scorecard(cvae, digits, per_class=20)
    >>> 0 <= found["sample_accuracy"] <= 1
    True

    See also:
        `obedience`, of several conditions; `train_classifier`.
    """
    name, kind = label_of(model)
    count = len(dataset.class_names)
    if count < 2 or count != kind.num_leaves:
        raise ValueError(
            "A scorecard needs at least two classes, those of the model. Received: "
            f"{count} of {dataset.name} for a model of {kind.num_leaves}."
        )
    if per_class is None:
        per_class = samples_per_class(model)
    if per_class < 2:
        raise ValueError(f"`per_class` must be at least 2. Received: {per_class!r}")
    say = say or (lambda line: None)
    if classifier is None:
        say("training a classifier of real images")
        classifier = train_classifier(dataset, verbose=verbose)
    labels = np.repeat(np.arange(count, dtype="int32"), per_class)
    say(f"drawing {len(labels):,} samples")
    samples = model.sample({name: labels}, seed=seed)
    shift = seeds.generator(seed, "wrong labels").integers(1, count, len(labels), dtype="int32")
    wrong = model.sample({name: (labels + shift) % count}, seed=seed)
    given = predicted(classifier, samples)
    per_name = zip(dataset.class_names, (given == labels).reshape(count, -1), strict=True)
    left_out = {}
    results = {
        **proportion("sample_accuracy", given == labels),
        "sample_accuracy_per_class": {name: float(right.mean()) for name, right in per_name},
        **proportion("real_accuracy", predicted(classifier, dataset.x_test) == dataset.y_test),
        **proportion("wrong_label_accuracy", predicted(classifier, wrong) == labels),
    }
    say("training a classifier of samples alone")
    order = seeds.generator(seed, "order").permutation(len(labels))
    made = dataclasses.replace(dataset, x_train=samples[order], y_train=labels[order])
    right = predicted(train_classifier(made, verbose=verbose), dataset.x_test) == dataset.y_test
    results |= proportion("synthetic_training_accuracy", right)
    ratios = diversity(samples, labels, dataset)
    if missing := [name for name in dataset.class_names if name not in ratios]:
        left_out["diversity"] = (
            f"no two different test images of {len(missing)} classes, such as {missing[0]}"
        )
    results["diversity"] = float(np.mean(list(ratios.values()))) if ratios else None
    results["diversity_per_class"] = ratios
    say("looking for the training image that is nearest to each")
    results |= nearest.closeness(samples, dataset, seed)
    results |= _frechet(classifier, samples[as_tested(labels, dataset)], dataset)
    results |= _leakage(model, name, dataset, seed, left_out)
    return {**results, "samples_per_class": per_class, "left_out": left_out}


def label_of(model):
    """The name and kind of the one label that samples can be asked for by."""
    conditions = model.sample_conditions if isinstance(model, Samples) else {}
    kinds = [kind.kind for kind in conditions.values()]
    if kinds != ["categorical"]:
        raise ValueError(
            "A scorecard needs a model that samples by one label, and no other condition. "
            f"Received: a {type(model).__name__} with {sorted(conditions) or 'no condition'}."
        )
    return next(iter(conditions.items()))


def diversity(samples: ArrayLike, labels: ArrayLike, dataset: Dataset) -> dict[str, float]:
    """Mean distance of two samples of a class over that of two real test images.

    Args:
        samples: Float array `(n, *data_shape)` in [0, 1].
        labels: Int array `(n,)`, the classes that they are samples of.
        dataset: `data.Dataset`. Of each class the first 500 of both are taken.

    Returns:
        Dict from the class' name to a float, without the classes that have no two different test
        images.

    Example:

    >>> import keras_vae
    >>> digits = keras_vae.data.load("digits")
    >>> x, y = keras_vae.data.as_float(digits.x_test), digits.y_test
    >>> sorted(keras_vae.evaluation.diversity(x, y, digits))[:3]
    ['0', '1', '2']

    See also:
        `scorecard`, which has it.
    """
    ratios = {}
    for index, name in enumerate(dataset.class_names):
        real = dataset.x_test[np.flatnonzero(dataset.y_test == index)[:DISTANCES_PER_CLASS]]
        spread = mean_distance(data.as_float(real)) if len(real) > 1 else 0.0
        if spread:
            made = samples[labels == index][:DISTANCES_PER_CLASS]
            ratios[name] = float(mean_distance(made) / spread)
    return ratios


def as_tested(labels, dataset):
    """Which of the samples of each class to take for the shares that it has of the test images.

    Args:
        labels: Int array `(n,)`, the classes that samples are of.
        dataset: `data.Dataset`.

    Returns:
        Int array of indices, as many as there are samples for.
    """
    shares = np.bincount(dataset.y_test, minlength=len(dataset.class_names))
    made = np.bincount(labels, minlength=len(shares))
    room = np.min(made[shares > 0] / shares[shares > 0])
    counts = np.round(room * shares).astype(int)
    return np.concatenate([np.flatnonzero(labels == i)[:n] for i, n in enumerate(counts)])


def _frechet(classifier, samples, dataset):
    name = "classifier_frechet_distance"
    if min(len(dataset.x_test), len(dataset.x_train)) < 2:
        return {name: None, f"{name}_of_real": None}
    test = features(classifier, dataset.x_test)
    train = features(classifier, dataset.x_train[: max(len(dataset.x_test), len(samples))])
    made = features(classifier, samples)
    return {name: frechet_distance(made, test), f"{name}_of_real": frechet_distance(train, test)}


def _leakage(model, name, dataset, seed, left_out):
    """How much of the label a linear classifier reads from drawn codes."""
    try:
        found = leakage(model, dataset, name, seed)
    except ValueError as err:
        left_out["label_leakage"] = str(err)
        return {}
    return {f"label_{key}": value for key, value in found.items()}
