"""Whether samples are what was asked for: each condition, read from them by a judge of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_vae import data, seeds
from keras_vae.data.datasets import Dataset
from keras_vae.evaluation.classifier import small_network
from keras_vae.evaluation.leakage import known_rows, leakage

SAMPLES = 2000
EPOCHS = 5
BINS = 10
SURE = 0.5  # a judge's probability from which on it says that a tag is there


def obedience(
    model: Any,
    dataset: Dataset,
    seed: int = 0,
    samples: int = SAMPLES,
    say: Callable[..., Any] | None = None,
    verbose: int = 0,
) -> dict[str, Any]:
    """Ask for labels, numbers and tags at random, and let judges of real images read the samples.

    Args:
        model: Model that samples by conditions, each of which `dataset` has.
        dataset: `data.Dataset`. Judges learn from its training images.
        seed: Int, of what is asked and of the samples.
        samples: Int.
        say: Optional function of a line of progress.
        verbose: As in Keras, of the judges.

    Returns:
        Dict from a condition's name to a dict. Of labels `accuracy`, the share of samples that the
        judge gives the asked class. Of numbers `error`, the mean distance of what it reads from
        what was asked, in units, `correlation`, and `curve`: of ten parts of the range what was
        asked on average, what is read, and the error. Of tags `precision`, by tag the share of
        samples asked with it that the judge sees it in. Each with `real_...`, the same of real test
        images; `variance_explained`, the share of the variance of samples' pixels that lies between
        what was asked: 0 of a condition that does nothing; and what `leakage` says, or under
        `left_out` why it cannot. Conditions that nothing can be read of, such as those with one
        value, are left out.

    Example:

    >>> import keras_vae
    >>> digits = keras_vae.data.load("digits")
    >>> cvae = keras_vae.ConditionalVAE(
    ...     keras_vae.networks.DenseEncoder(2, hidden_units=(8,)),
    ...     keras_vae.networks.DenseDecoder((8, 8, 1), hidden_units=(8,)),
    ...     condition={"label": keras_vae.Categorical(10)},
    ... )
    >>> cvae.build()
    >>> found = keras_vae.evaluation.obedience(cvae, digits, samples=200)
    >>> 0 <= found["label"]["accuracy"] <= 1
    True

    See also:
        `scorecard`, of a model with one label.
    """
    say = say or (lambda line: None)
    rng = seeds.generator(seed, "obedience")
    asked = {
        name: _drawn(kind, dataset.values(name, "train"), samples, rng)
        for name, kind in model.condition.items()
    }
    made = model.sample(asked, seed=seed)
    found = {}
    for name, kind in model.condition.items():
        train, test = (dataset.values(name, part) for part in ("train", "test"))
        reader = _READERS.get(kind.kind)
        if reader is None or len(np.unique(train[known_rows(kind, train)], axis=0)) < 2:
            continue
        say(f"training a judge of {name}")
        told, groups = reader(kind, dataset, (train, test), made, asked[name], verbose)
        found[name] = {**told, "variance_explained": variance_explained(made, groups)}
        try:
            found[name] |= leakage(model, dataset, name, seed)
        except ValueError as err:
            found[name]["left_out"] = {"leakage": str(err)}
    return found


def variance_explained(made, groups):
    """The share of the variance of values `(n, ...)` that lies between groups, int `(n,)`."""
    flat = made.reshape(len(made), -1).astype("float64")
    total = flat.var(axis=0).sum()
    within = sum(
        (groups == group).sum() * flat[groups == group].var(axis=0).sum()
        for group in np.unique(groups)
    )
    return float(1 - within / len(flat) / total) if total else 0.0


def _drawn(kind, train, count, rng):
    """Values to ask for: classes alike, numbers over the range, tags as training images have."""
    known = train[known_rows(kind, train)]
    if kind.kind == "categorical":
        return rng.integers(0, kind.num_leaves, count).astype("int32")
    if kind.kind == "continuous":
        low, high = known.min(axis=0), known.max(axis=0)
        return rng.uniform(low, high, (count, kind.dim)).astype("float32")
    return known[rng.integers(0, len(known), count)]


def _judge(dataset, known, target, units, loss, verbose):
    """A function from images to what a small network, trained on real ones, says of them."""
    network = small_network(dataset.x_train.shape[1:], units)
    network.compile(keras.optimizers.Adam(2e-3), loss)
    x = data.as_float(dataset.x_train[np.flatnonzero(known)])
    batch_size = min(256, max(16, len(x) // 64))
    network.fit(x, target, batch_size=batch_size, epochs=EPOCHS, verbose=verbose)
    return lambda x: network.predict(data.as_float(x), batch_size=256, verbose=0)


def _of_label(kind, dataset, values, made, asked, verbose):
    train, test = values
    known = known_rows(kind, train)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    read = _judge(dataset, known, train[known], kind.num_leaves, loss, verbose)
    right = read(made).argmax(axis=1) == asked
    real = known_rows(kind, test)
    really = read(dataset.x_test).argmax(axis=1)[real] == test[real]
    return {"accuracy": float(right.mean()), "real_accuracy": float(really.mean())}, asked


def _of_number(kind, dataset, values, made, asked, verbose):
    train, test = values
    known = known_rows(kind, train)
    middle, spread = train[known].mean(axis=0), train[known].std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    target = (train[known] - middle) / spread
    judge = _judge(dataset, known, target, kind.dim, "mse", verbose)

    def read(x):
        return judge(x) * spread + middle

    seen, real = read(made), known_rows(kind, test)
    really = read(dataset.x_test)[real]
    distance = np.abs(seen - asked).mean(axis=1)
    first = asked[:, 0]
    order = np.argsort(first, kind="stable")
    parts = np.array_split(order, BINS)
    groups = np.empty(len(asked), int)
    for at, rows in enumerate(parts):
        groups[rows] = at
    told = {
        "error": float(distance.mean()),
        "real_error": float(np.abs(really - test[real]).mean()),
        "correlation": float(np.corrcoef(seen[:, 0], first)[0, 1]),
        "real_correlation": float(np.corrcoef(really[:, 0], test[real, 0])[0, 1]),
        "curve": [
            {
                "asked": float(first[rows].mean()),
                "read": float(seen[rows, 0].mean()),
                "error": float(distance[rows].mean()),
            }
            for rows in parts
        ],
    }
    return told, groups


def _of_tags(kind, dataset, values, made, asked, verbose):
    train, test = values
    known = known_rows(kind, train)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    target = train[known].astype("float32")
    judge = _judge(dataset, known, target, len(kind.names), loss, verbose)
    limit = np.log(SURE / (1 - SURE))
    seen, real = judge(made) > limit, judge(dataset.x_test) > limit

    def precision(seen, values):
        return {
            name: float(seen[values[:, at] == 1, at].mean())
            for at, name in enumerate(kind.names)
            if (values[:, at] == 1).any()
        }

    _, groups = np.unique(asked, axis=0, return_inverse=True)
    told = {"precision": precision(seen, asked), "real_precision": precision(real, test)}
    return told, groups.reshape(-1)


_READERS = {"categorical": _of_label, "continuous": _of_number, "multi_label": _of_tags}
