"""Convolutional encoder and decoder for windows of series, such as those of sensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.networks.convolutional import apply_stage, finish_stage, stage_options
from keras_vae.networks.dense import (
    GaussianEncoder,
    check_count,
    join_condition,
    split_condition,
)
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class Conv1DEncoder(GaussianEncoder):
    """Strided convolutions along time, to the mean and log-variance of a window's latent code.

    Each stage is a convolution of stride 2, batch normalisation and LeakyReLU, and halves the
    window, rounding up: 45 steps become 23, 12, ...

    Args:
        latent_dim: Int, size of the latent code.
        hidden_units: Tuple of ints, the channels of each stage.
        kernel_size: Int, steps.
        causal: Bool. Whether what a convolution gives at a step depends on no later one.
        batch_normalization: Bool. Without it the convolutions have a bias instead.
        negative_slope: Float, of LeakyReLU.
        full_covariance: As for `DenseEncoder`.

    Call arguments:
        inputs: `x`, float `(batch, steps, channels)`, or a list `[x, condition]` with a float
            `(batch, size)`; the condition is put beside every step as further channels.
        training: Bool, for batch normalisation.

    Returns:
        As `DenseEncoder`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.Conv1DEncoder(5, hidden_units=(4, 8))
    >>> z_mean, z_log_var = encoder(np.zeros((2, 16, 3), "float32"))
    >>> tuple(z_mean.shape)
    (2, 5)

    See also:
        `Conv1DDecoder`; `series_vae`, which makes both.
    """

    def __init__(
        self,
        latent_dim: int,
        hidden_units: Sequence[int] = (32, 64),
        kernel_size: int = 5,
        causal: bool = False,
        batch_normalization: bool = True,
        negative_slope: float = 0.2,
        full_covariance: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options = _options(
            hidden_units, kernel_size, causal, batch_normalization, negative_slope
        )
        self.stages = [
            [
                convolution(
                    width, kernel_size, causal, strides=2, use_bias=not batch_normalization
                ),
                *finish_stage(batch_normalization, negative_slope),
            ]
            for width in self.options["hidden_units"]
        ]
        self.flatten = keras.layers.Flatten(data_format="channels_last")
        self.add_heads(latent_dim, full_covariance)

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Tensor, ...]:
        h, condition = split_condition(inputs)
        if condition is not None:
            beside = ops.ones_like(h[..., :1]) * condition[:, None, :]
            h = ops.concatenate([h, beside], axis=-1)
        for stage in self.stages:
            h = apply_stage(stage, h, training)
        return self.heads(self.flatten(h))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable("keras_vae")
class Conv1DDecoder(StoredModel):
    """From a latent code to the likelihood's parameters of a window, doubling it stage by stage.

    A dense layer makes the shortest window; each stage repeats every step, cuts what is beyond the
    length that is due, convolves, normalises and applies LeakyReLU; a last convolution gives the
    channels.

    Args:
        output_shape: Tuple `(steps, channels)` of one window, of any length.
        hidden_units: Tuple of ints, the channels of each stage, shortest window first.
        kernel_size: Int, steps.
        causal: Bool, as for `Conv1DEncoder`.
        batch_normalization: Bool. Without it the convolutions have a bias instead.
        negative_slope: Float, of LeakyReLU.
        parameters_per_value: Int, the likelihood's parameters for each value of the data.
            Left out, the model sets it by its likelihood.

    Call arguments:
        inputs: `z`, float `(batch, latent)`, or a list `[z, condition]` with a float
            `(batch, size)`, put beside it.
        training: Bool, for batch normalisation.

    Returns:
        float32 tensor `(batch, *output_shape)`, with `parameters_per_value` times its channels.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.Conv1DDecoder((16, 3), hidden_units=(8, 4))
    >>> tuple(decoder(np.zeros((2, 5), "float32")).shape)
    (2, 16, 3)

    See also:
        `Conv1DEncoder`; `series_vae`, which makes both.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        hidden_units: Sequence[int] = (64, 32),
        kernel_size: int = 5,
        causal: bool = False,
        batch_normalization: bool = True,
        negative_slope: float = 0.2,
        parameters_per_value: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_shape = arguments.shape(output_shape, "output_shape")
        if len(self.data_shape) != 2:
            raise ValueError(
                f"`output_shape` must be (steps, channels). Received: {self.data_shape}"
            )
        self.options = _options(
            hidden_units, kernel_size, causal, batch_normalization, negative_slope
        )
        widths = self.options["hidden_units"]
        self.steps = [self.data_shape[0]]
        for _ in widths:
            self.steps.insert(0, math.ceil(self.steps[0] / 2))
        self.project = keras.layers.Dense(self.steps[0] * widths[0])
        self.reshape = keras.layers.Reshape((self.steps[0], widths[0]))
        self.stages = [
            [
                convolution(width, kernel_size, causal, use_bias=not batch_normalization),
                *finish_stage(batch_normalization, negative_slope),
            ]
            for width in widths
        ]
        self.channels = convolution(
            self.data_shape[1], kernel_size, causal, dtype=self.variable_dtype, name="parameters"
        )
        self.parameters_per_value = None
        if parameters_per_value is not None:
            self.set_parameters_per_value(parameters_per_value)

    def set_parameters_per_value(self, count: int) -> None:
        """Give `count` parameters per value, as further channels. Before the first call only."""
        check_count(count)
        self.channels.filters = self.data_shape[1] * count
        self.parameters_per_value = count

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        h = self.reshape(self.project(join_condition(inputs)))
        for stage, steps in zip(self.stages, self.steps[1:], strict=True):
            twice = ops.stack([h, h], axis=2)
            h = ops.reshape(twice, (-1, 2 * h.shape[1], h.shape[2]))[:, :steps]
            h = apply_stage(stage, h, training)
        return self.channels(h)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "output_shape": list(self.data_shape),
            **self.options,
            "parameters_per_value": self.parameters_per_value,
        }


def convolution(filters, kernel_size, causal=False, **kwargs):
    """A `Conv1D` of the same length, channels last whatever Keras is configured to."""
    padding = "causal" if causal else "same"
    return keras.layers.Conv1D(
        filters, kernel_size, padding=padding, data_format="channels_last", **kwargs
    )


def _options(hidden_units, kernel_size, causal, *others):
    return {**stage_options(hidden_units, kernel_size, *others), "causal": bool(causal)}
