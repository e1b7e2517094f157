"""Classifiers: which class an example has, where its label is not known.

A classifier is any Keras model from `x` to logits `(batch, classes)`; of a model with several label
conditions it gives those of all of them side by side. These are the simplest ones; your own need no
base class. What differs between two passes in training, such as dropout or moved images, teaches
it: `ConditionalVAE` wants both passes to agree on examples whose label nobody said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_vae import arguments, seeds
from keras_vae.layers.random_shift import RandomShift
from keras_vae.networks.convolutional import convolution
from keras_vae.networks.tables import row_features
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


class Classifier(StoredModel):
    """What the classifiers share: dropout and the logits at the end."""

    def __init__(
        self,
        num_classes: int,
        hidden_units: Sequence[int],
        dropout: float,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.num_classes = arguments.whole(num_classes, "num_classes")
        self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.dropout = arguments.part_of_one(dropout, "dropout")
        self.flatten = keras.layers.Flatten(data_format="channels_last")
        self.logits = keras.layers.Dense(num_classes, dtype=self.variable_dtype, name="logits")

    def stage(self, linear: Any) -> list[Any]:
        """A linear layer with all that comes after it."""
        return [
            linear,
            keras.layers.BatchNormalization(axis=-1, momentum=0.9),
            keras.layers.ReLU(),
        ]

    def forgetting(self, name: str) -> Any:
        """Dropout with draws of its own."""
        return keras.layers.Dropout(self.dropout, seed=seeds.fold(self.seed, name))

    def logits_of(self, stages: Sequence[Any], h: Tensor, training: bool | None) -> Tensor:
        """Apply the stages and then the logits."""
        for layer in (layer for stage in stages for layer in stage):
            h = layer(h, training=training)
        return self.logits(self.flatten(h))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "hidden_units": list(self.hidden_units),
            "dropout": self.dropout,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("keras_vae")
class DenseClassifier(Classifier):
    """Dense layers from an example to the logits of its class.

    Args:
        num_classes: Int. Number of logits: the classes of all label conditions together.
        hidden_units: Tuple of ints, the widths of the hidden layers, each with batch normalisation.
        dropout: Float in [0, 1), after each hidden layer.
        noise: Float, at least 0. Standard deviation of the Gaussian noise that training adds to
            `x`.
        seed: Optional int, for noise and dropout.

    Call arguments:
        inputs: `x`, float `(batch, ...)`.
        training: Bool, for noise, dropout and batch normalisation.

    Returns:
        float32 tensor `(batch, num_classes)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> classifier = keras_vae.networks.DenseClassifier(3, hidden_units=(8,))
    >>> tuple(classifier(np.zeros((2, 4, 4, 1), "float32")).shape)
    (2, 3)

    See also:
        `ConvClassifier`, `TableClassifier`; `ConditionalVAE`, whose `classifier` it can be.
    """

    def __init__(
        self,
        num_classes: int,
        hidden_units: Sequence[int] = (512, 256),
        dropout: float = 0.3,
        noise: float = 0.3,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, hidden_units, dropout, **kwargs)
        self.noise = arguments.not_negative(noise, "noise")
        self.noisy = keras.layers.GaussianNoise(self.noise, seed=seeds.fold(self.seed, "noise"))
        self.stages = [
            [*self.stage(keras.layers.Dense(width)), self.forgetting(f"dropout {at}")]
            for at, width in enumerate(self.hidden_units)
        ]

    def features(self, x: Tensor) -> Tensor:
        return self.flatten(x)

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        h = self.noisy(self.features(inputs), training=training)
        return self.logits_of(self.stages, h, training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "noise": self.noise}


@keras.saving.register_keras_serializable("keras_vae")
class TableClassifier(DenseClassifier):
    """As `DenseClassifier`, of rows of a table, which may have gaps.

    Args:
        blocks: As for `TableEncoder`, which sees rows alike.
        num_classes, hidden_units, dropout, noise, seed: As for `DenseClassifier`.

    Call arguments:
        inputs: `x`, float `(batch, columns)` with NaN for a missing value.
        training: Bool.

    Returns:
        float32 tensor `(batch, num_classes)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> blocks = [("normal",), ("categorical", 3)]
    >>> classifier = keras_vae.networks.TableClassifier(blocks, num_classes=2, hidden_units=(8,))
    >>> tuple(classifier(np.zeros((4, 2), "float32")).shape)
    (4, 2)

    See also:
        `TableEncoder`; `DenseClassifier`.
    """

    def __init__(self, blocks: Sequence[Sequence[Any]], num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.blocks = tuple(tuple(block) for block in blocks)

    def features(self, x: Tensor) -> Tensor:
        return row_features(self.blocks, x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "blocks": [list(block) for block in self.blocks]}


@keras.saving.register_keras_serializable("keras_vae")
class ConvClassifier(Classifier):
    """Strided convolutions from an image to the logits of its class.

    Args:
        num_classes: Int. Number of logits: the classes of all label conditions together.
        hidden_units: Tuple of ints, the channels of each stage, which halves the image.
        dropout: Float in [0, 1), before the logits.
        shift: Float in [0, 1). How far training moves each image, at most, as a part of its size:
            in each direction on its own, with zeros coming in.
        seed: Optional int, for moving images and dropout.

    Call arguments:
        inputs: `x`, float `(batch, height, width, channels)`.
        training: Bool, for moving images, dropout and batch normalisation.

    Returns:
        float32 tensor `(batch, num_classes)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> classifier = keras_vae.networks.ConvClassifier(3, hidden_units=(4, 8))
    >>> tuple(classifier(np.zeros((2, 8, 8, 1), "float32")).shape)
    (2, 3)

    See also:
        `DenseClassifier`; `ConditionalVAE`, whose `classifier` it can be.
    """

    def __init__(
        self,
        num_classes: int,
        hidden_units: Sequence[int] = (16, 32, 64),
        dropout: float = 0.3,
        shift: float = 0.08,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, hidden_units, dropout, **kwargs)
        self.shift = arguments.part_of_one(shift, "shift")
        self.moved = RandomShift(self.shift, seed=seeds.fold(self.seed, "shift"))
        self.stages = [
            self.stage(convolution(width, 3, strides=2, use_bias=False))
            for width in self.hidden_units
        ]
        self.stages.append([self.forgetting("dropout")])

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        return self.logits_of(self.stages, self.moved(inputs, training=training), training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shift": self.shift}
