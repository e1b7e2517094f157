"""How much of a condition a linear model reads from codes, which are to be free of it."""

import importlib.util

import numpy as np

from keras_vae import data, seeds
from keras_vae.evaluation.classifier import proportion
from keras_vae.models.capabilities import Bounds, Encodes, lack

MOST_CODES = 10_000


def leakage(model, dataset, name, seed=0):
    """What a linear model, made of codes of training images, reads from those of test images.

    Args:
        model: A model that bounds the likelihood, conditioned on `name`.
        dataset: `data.Dataset`, which has its conditions. Of each part the first 10,000 whose value
            is known are looked at.
        name: Str, of a label, a number or tags.
        seed: Int, of the draws.

    Returns:
        Dict. Of labels `leakage`, the share that a logistic regression reads from `z`, with its
        `leakage_interval`, and `leakage_by_chance`, the share of the most frequent. Of tags the
        same, averaged over those that some images have and some have not. Of numbers `leakage`, the
        share of their variance that a linear regression explains, which may be below 0, and 0 by
        chance.

    Raises:
        ValueError: If it cannot be measured; the message is the reason.
    """
    if not isinstance(model, Encodes):
        raise ValueError(lack(model, Encodes))
    if name not in model.condition or not isinstance(model, Bounds):
        raise ValueError(f"the codes of {type(model).__name__} are not meant to be free of it")
    if importlib.util.find_spec("sklearn") is None:
        raise ValueError('it needs scikit-learn: pip install "keras-vae[cli]"')
    kind, rng = model.condition[name], seeds.generator(seed, "leakage")
    parts = []
    for part in ("train", "test"):
        values = dataset.values(name, part)
        rows = np.flatnonzero(known_rows(kind, values))[:MOST_CODES]
        if not len(rows):
            raise ValueError("it is unknown of all images of a part")
        inputs = dataset.inputs(part, model.condition, rows)
        inputs["x"] = data.as_float(inputs["x"])
        parts += model.draw_codes(inputs, rng), values[rows]
    if len(np.unique(parts[1], axis=0)) < 2:
        raise ValueError("the training images have one value of it")
    return _READERS[kind.kind](*parts)


def known_rows(kind, values):
    """Which values of a condition are known, bool `(n,)`."""
    if kind.kind == "continuous":
        return np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if kind.kind == "categorical":
        return values < kind.num_leaves
    return (values < kind.unknown).all(axis=1)


def _of_label(z_train, y_train, z_test, y_test):
    right = _classified(z_train, y_train, z_test) == y_test
    chance = float(np.bincount(y_test).max() / len(y_test))
    return {**proportion("leakage", right), "leakage_by_chance": chance}


def _of_tags(z_train, y_train, z_test, y_test):
    tags = [at for at in range(y_train.shape[1]) if len(np.unique(y_train[:, at])) > 1]
    right = [_classified(z_train, y_train[:, at], z_test) == y_test[:, at] for at in tags]
    shares = y_test[:, tags].mean(axis=0)
    return {
        "leakage": float(np.mean(right)),
        "leakage_by_chance": float(np.maximum(shares, 1 - shares).mean()),
    }


def _of_number(z_train, y_train, z_test, y_test):
    from sklearn.linear_model import LinearRegression

    # Of each entry alike, whatever its unit.
    middle, spread = y_train.mean(axis=0), np.maximum(y_train.std(axis=0), 1e-30)
    y_train, y_test = ((y - middle) / spread for y in (y_train, y_test))
    missed = LinearRegression().fit(z_train, y_train).predict(z_test) - y_test
    variance = max(float(np.square(y_test - y_test.mean(axis=0)).mean()), 1e-30)
    return {"leakage": float(1 - np.square(missed).mean() / variance), "leakage_by_chance": 0.0}


def _classified(z_train, y_train, z_test):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    return reader.fit(z_train, y_train).predict(z_test)


_READERS = {"categorical": _of_label, "continuous": _of_number, "multi_label": _of_tags}
