"""Which prior makes the best samples of a trained model: each is judged as a scorecard does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_vae.data.datasets import Dataset
from keras_vae.evaluation.classifier import (
    extracted,
    feature_model,
    frechet_distance,
    predicted,
    train_classifier,
)
from keras_vae.models.capabilities import Samples

# So many samples are judged, and of the distance as many as there are held-out images, up to MOST.
SAMPLES, MOST = 2000, 10_000
# Of priors whose samples are of the right class less often than this part of the best none is kept.
ACCURACY_PART = 0.9
# Of those that are as near as the nearest but for chance, the one with the fewest numbers is kept.
DISTANCE_MARGIN = 1.05
AS_TRAINED = "as trained"
# A mixture of many components is also tried narrower, without codes far from any image's.
WIDE, NARROW = "mixture of 30", 0.9


def choose_prior(
    model: Any,
    dataset: Dataset,
    classifier: Any = None,
    seed: int = 0,
    say: Callable[..., Any] | None = None,
    verbose: int = 0,
) -> dict[str, Any]:
    """Fit every kind of prior to a model's codes, measure all, and keep the best.

    Of a model that samples by one label, every prior's samples are judged by a classifier of real
    images: the share that is of the class asked for, and the Frechet distance to real held-out
    images. Kept is the smallest distance among those whose share is at least 0.9 of the best; of
    such that differ by less than 5 %, the simplest, and of two mixtures of 30 the narrower one,
    whose scales are 0.9 of those that fit the codes best. Of other models, the prior is kept under
    which held-out codes are likeliest.

    Args:
        model: A trained `VAE` or `ConditionalVAE`.
        dataset: `data.Dataset`: priors are fitted to the codes of its training images, and measured
            by its test images.
        classifier: Optional Keras model, as of `train_classifier`, or function that makes it.
        seed: Int, from 0 to 2^31 - 1.
        say: Optional function of a line.
        verbose: As in Keras, of the classifier's training.

    Returns:
        Dict of `kept`, the name of the prior that the model now has, and `priors`, a dict from each
        one's name to a dict of floats: `sample_accuracy` and `classifier_frechet_distance`, or
        `held_out_log_prob` in nats.

    Raises:
        ValueError: If there are too few images of a class.
        ImportError: Without scikit-learn.

    Example:

    >>> import keras_vae
    >>> digits = keras_vae.data.load("digits")
    >>> vae = keras_vae.VAE(
    ...     keras_vae.networks.DenseEncoder(2, hidden_units=(8,)),
    ...     keras_vae.networks.DenseDecoder((8, 8, 1), hidden_units=(8,)),
    ... )
    >>> vae.compile("adam")
    >>> history = vae.fit(digits.x_train, verbose=0)
    >>> found = keras_vae.evaluation.choose_prior(vae, digits)
    >>> found["kept"] in found["priors"]
    True

    See also:
        `VAE.fit_prior`, of one kind.
    """
    say = say or (lambda line: None)
    inputs = dataset.inputs("train", model.condition)
    found = {AS_TRAINED: model.prior}
    for name, prior in model.prior_candidates(inputs, seed=seed).items():
        if name == WIDE:
            found[f"{WIDE}, x {NARROW}"] = prior.narrowed(NARROW)
        found[name] = prior
    labels = [kind for kind in model.condition.values() if kind.kind == "categorical"]
    is_judged = isinstance(model, Samples) and len(labels) == len(model.condition) == 1
    if is_judged and len(dataset.class_names) > 1:
        if not hasattr(classifier, "predict"):
            classifier = classifier() if classifier else train_classifier(dataset, verbose=verbose)
        measured = _judged(model, dataset, classifier, found, seed)
        best = max(figures["sample_accuracy"] for figures in measured.values())
        least = ACCURACY_PART * best
        good = [name for name in found if measured[name]["sample_accuracy"] >= least]
        distances = {name: measured[name]["classifier_frechet_distance"] for name in good}
        least = min(distances.values())
        kept = next(name for name in good if distances[name] <= DISTANCE_MARGIN * least)
    else:
        measured = _log_probs(model, dataset, found, seed)
        kept = max(found, key=lambda name: measured[name]["held_out_log_prob"])
    if found[kept] is not model.prior:
        model.replace_prior(found[kept])
    for line in lines(kept, measured):
        say(line)
    return {"kept": kept, "priors": measured}


def lines(kept, measured):
    """Yield a table of what was measured, the kept one marked."""
    for name, figures in measured.items():
        told = {
            "sample_accuracy": "right class {:.3f}",
            "classifier_frechet_distance": "Fréchet distance {:.1f}",
            "held_out_log_prob": "held-out codes {:.2f} nats",
        }
        text = ", ".join(told[key].format(value) for key, value in figures.items())
        yield f"  {name:>20}: {text}{'  <- kept' if name == kept else ''}"


def _judged(model, dataset, classifier, found, seed):
    """The figures of samples of each prior, by the classes' shares in the test images."""
    [label] = model.condition
    shares = np.bincount(dataset.y_test, minlength=len(dataset.class_names)) / len(dataset.y_test)
    classes = np.arange(len(shares), dtype="int32")
    count = max(SAMPLES, min(MOST, len(dataset.x_test)))
    of_shares = np.repeat(classes, np.maximum(np.round(shares * count).astype(int), 2))
    each = np.repeat(classes, max(2, SAMPLES // len(classes)))
    extract = feature_model(classifier)
    real = extracted(extract, dataset.x_test)
    trained, free_bits, measured = model.prior, model.free_bits, {}
    try:
        for name, prior in found.items():
            if prior is not model.prior:
                model.replace_prior(prior)
            given = predicted(classifier, model.sample({label: each}, seed=seed))
            made = extracted(extract, model.sample({label: of_shares}, seed=seed))
            measured[name] = {
                "sample_accuracy": float(np.mean(given == each)),
                "classifier_frechet_distance": frechet_distance(made, real),
            }
    finally:
        if model.prior is not trained:
            model.replace_prior(trained)
        model.free_bits = free_bits
    return measured


def _log_probs(model, dataset, found, seed):
    """The mean log-density of held-out codes under each prior."""
    inputs = dataset.inputs("test", model.condition)
    codes = model.draw_codes(inputs, seed)
    condition = model.condition_vectors({name: inputs[name] for name in model.condition})
    measured = {}
    for name, prior in found.items():
        log_prob = keras.ops.convert_to_numpy(prior.log_prob(codes, condition))
        measured[name] = {"held_out_log_prob": float(np.mean(log_prob))}
    return measured
