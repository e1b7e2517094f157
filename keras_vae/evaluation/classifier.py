"""A classifier of real images, to judge samples by, and what it tells of images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_vae import data
from keras_vae.data.datasets import Dataset
from keras_vae.networks.convolutional import convolution
from keras_vae.storage import saving

EPOCHS = 5


def train_classifier(dataset: Dataset, epochs: int = EPOCHS, verbose: int = 0) -> Any:
    """Train a small convolutional classifier on real images, to judge samples by.

    Args:
        dataset: `data.Dataset`.
        epochs: Int.
        verbose: As in Keras.

    Returns:
        Keras model from images `(n, *data_shape)` to class probabilities. On MNIST it names 98.5 %
        of the test images rightly.

    Example:

    >>> import keras_vae
    >>> digits = keras_vae.data.load("digits")
    >>> classifier = keras_vae.evaluation.train_classifier(digits, epochs=1)
    >>> classifier.output_shape
    (None, 10)

    See also:
        `scorecard`, which judges by it.
    """
    classifier = small_network(dataset.x_train.shape[1:], len(dataset.class_names), "softmax")
    classifier.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    dataset = dataset.labelled
    batch_size = min(256, max(16, len(dataset.x_train) // 64))
    x_train = data.as_float(dataset.x_train)
    classifier.fit(x_train, dataset.y_train, batch_size=batch_size, epochs=epochs, verbose=verbose)
    return classifier


def small_network(shape, units, activation=None):
    """A small convolutional network from images of a shape to so many numbers."""
    layers = keras.layers
    initializers = [keras.initializers.GlorotUniform(seed=seed) for seed in range(4)]
    return keras.Sequential(
        [
            keras.Input(shape),
            convolution(16, 3, strides=2, activation="relu", kernel_initializer=initializers[0]),
            convolution(32, 3, strides=2, activation="relu", kernel_initializer=initializers[1]),
            layers.Flatten(data_format="channels_last"),
            layers.Dropout(0.3, seed=0),
            layers.Dense(128, activation="relu", kernel_initializer=initializers[2]),
            layers.Dropout(0.3, seed=1),
            layers.Dense(units, activation=activation, kernel_initializer=initializers[3]),
        ]
    )


def kept_classifier(run, dataset, say=None, verbose=0):
    """The classifier that a run folder keeps beside its model, trained on the first call.

    Args:
        run: `runs.Run`.
        dataset: `data.Dataset`, of the run.
        say: Optional function of a line, called before training.
        verbose: As in Keras, of training.

    Returns:
        Keras model, as of `train_classifier`.
    """
    if run.classifier_path.is_file():
        return saving.load_any(run.classifier_path, compile=False)
    if say is not None:
        say("training a classifier of real images, kept with the run")
    classifier = train_classifier(dataset, verbose=verbose)
    run.save_model(classifier, run.classifier_path)
    return classifier


def predicted(classifier, images, batch_size=500):
    """The class that a classifier names for each image, int `(n,)`."""
    return classifier.predict(data.as_float(images), batch_size, verbose=0).argmax(axis=1)


def features(classifier, images, batch_size=500):
    """What a classifier's last hidden layer makes of images, float64 `(n, features)`."""
    return extracted(feature_model(classifier), images, batch_size)


def feature_model(classifier):
    """A classifier up to its last hidden layer, which is compiled once for many `extracted`."""
    hidden = [layer for layer in classifier.layers if isinstance(layer, keras.layers.Dense)][-2]
    return keras.Model(classifier.inputs, hidden.output)


def extracted(extract, images, batch_size=500):
    """As `features`, of a `feature_model`."""
    made = extract.predict(data.as_float(images), batch_size, verbose=0)
    return made.astype("float64")


def frechet_distance(first, second):
    """Squared Frechet distance of the normal distributions fitted to two sets of features.

    `|m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2))`, with means and covariances of the sets. What
    it says depends on the features: only of Inception's is it what papers call FID.

    Args:
        first: Float array `(n, features)`, n at least 2.
        second: Float array `(m, features)`.

    Returns:
        Float, at least 0.

    References:
        - Heusel et al., 2017, eq. 6. https://arxiv.org/abs/1706.08500
    """
    means = [np.mean(values, axis=0, dtype="float64") for values in (first, second)]
    covariances = [np.atleast_2d(np.cov(v, rowvar=False)) for v in (first, second)]
    root = _square_root(covariances[0])
    product = np.linalg.eigvalsh(root @ covariances[1] @ root)
    trace = sum(map(np.trace, covariances)) - 2 * np.sum(np.sqrt(np.maximum(product, 0)))
    return max(float(np.sum((means[0] - means[1]) ** 2) + trace), 0.0)


def _square_root(matrix):
    """The symmetric square root of a symmetric matrix that has no negative eigenvalue."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def mean_distance(images):
    """Mean Euclidean distance of all pairs of images `(n, ...)`, as they are; n at least 2."""
    flat = np.asarray(images, "float64").reshape(len(images), -1)
    squares = np.sum(flat**2, axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0))
    np.fill_diagonal(distances, 0)
    return distances.sum() / (len(flat) * (len(flat) - 1))


def proportion(name, right):
    """A share and its interval, of a bool array."""
    interval = wilson_interval(int(right.sum()), len(right))
    return {name: float(right.mean()), f"{name}_interval": list(interval)}


def wilson_interval(successes, count, z=1.959964):
    """Wilson's score interval of a proportion.

    Args:
        successes: Int, from 0 to `count`.
        count: Int, at least 1.
        z: Float. The default is for 95 %.

    Returns:
        Tuple of floats in [0, 1], the interval's ends.

    References:
        - Wilson, 1927. https://doi.org/10.1080/01621459.1927.10502953
    """
    proportion, weight = successes / count, z**2 / count
    middle = (proportion + weight / 2) / (1 + weight)
    half = z / (1 + weight) * np.sqrt(proportion * (1 - proportion) / count + weight / (4 * count))
    return float(max(middle - half, 0)), float(min(middle + half, 1))
