"""Fully connected encoder and decoder.

An encoder is any Keras model that maps `x`, or `[x, condition]`, to `(z_mean, z_log_var)`; a
decoder maps `z`, or `[z, condition]`, to the likelihood's parameters, shaped like `x`. `condition`
is a float vector `(batch, size)`. These two are the simplest ones; your own need no base class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


class GaussianEncoder(StoredModel):
    """What encoders end with: heads for the parameters of the code's Gaussian.

    A subclass calls `add_heads` at the end of its `__init__` and `heads` at that of its `call`.

    Example:

    >>> import keras_vae
    >>> import keras
    >>> class MyEncoder(keras_vae.networks.GaussianEncoder):
    ...     def __init__(self, latent_dim, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.hidden = keras.layers.Dense(8, activation="relu")
    ...         self.add_heads(latent_dim)
    ...
    ...     def call(self, inputs):
    ...         x, condition = keras_vae.networks.split_condition(inputs)
    ...         return self.heads(self.hidden(keras.ops.reshape(x, (-1, 16))))
    ...
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> keras_vae.VAE(MyEncoder(2), decoder).sample(3, seed=0).shape
    (3, 4, 4, 1)

    See also:
        `DenseEncoder`, `ConvEncoder`.
    """

    def add_heads(self, latent_dim: int, full_covariance: bool | None = None) -> None:
        latent_dim = self.latent_dim = arguments.whole(latent_dim, "latent_dim")
        self.z_mean = keras.layers.Dense(latent_dim, dtype=self.variable_dtype, name="z_mean")
        self.z_log_var = keras.layers.Dense(latent_dim, dtype=self.variable_dtype, name="z_log_var")
        self.triangle = None
        self.full_covariance = None
        if full_covariance is not None:
            self.set_full_covariance(full_covariance)

    def set_full_covariance(self, value: bool) -> None:
        """Give a third head, or none. Before the first call only."""
        self.full_covariance = bool(value)
        if not value:
            return
        if self.latent_dim < 2:
            raise ValueError(
                "A full covariance needs a latent code of at least 2 entries. Received: "
                f"latent_dim={self.latent_dim}."
            )
        self.triangle = keras.layers.Dense(
            self.latent_dim * (self.latent_dim - 1) // 2,
            kernel_initializer="zeros",  # training begins with independent entries
            dtype=self.variable_dtype,
            name="triangle",
        )

    def heads(self, h: Tensor) -> tuple[Tensor, ...]:
        heads = self.z_mean(h), self.z_log_var(h)
        return (*heads, self.triangle(h)) if self.full_covariance else heads

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "full_covariance": self.full_covariance,
        }


@keras.saving.register_keras_serializable("keras_vae")
class DenseEncoder(GaussianEncoder):
    """Dense layers from an example to the mean and log-variance of its latent code.

    Args:
        latent_dim: Int, size of the latent code.
        hidden_units: Tuple of ints, the widths of the hidden layers.
        activation: Activation of the hidden layers.
        full_covariance: Bool. Whether a third head tells how the entries of the code depend on each
            other, as `posteriors.FullCovarianceNormal` takes it. Left out, the model sets it.

    Call arguments:
        inputs: `x`, float `(batch, ...)`, or a list `[x, condition]` with a float
            `(batch, size)`; the condition is put beside the flattened `x`.

    Returns:
        Tuple `(z_mean, z_log_var)` of float32 tensors `(batch, latent_dim)`, and with a full
        covariance its triangle `(batch, latent_dim * (latent_dim - 1) / 2)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(latent_dim=20, hidden_units=(400,))
    >>> z_mean, z_log_var = encoder(np.zeros((2, 28, 28, 1), "float32"))
    >>> tuple(z_mean.shape), tuple(z_log_var.shape)
    ((2, 20), (2, 20))

    See also:
        `DenseDecoder`; `ConvEncoder`.

    References:
        - Kingma & Welling, 2014, appendix C.2. https://arxiv.org/abs/1312.6114
    """

    def __init__(
        self,
        latent_dim: int,
        hidden_units: Sequence[int] = (400,),
        activation: str | Callable[..., Any] = "relu",
        full_covariance: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.activation = arguments.activation(activation)
        self.flatten = keras.layers.Flatten(data_format="channels_last")
        self.hidden = dense_stack(self.hidden_units, activation)
        self.add_heads(latent_dim, full_covariance)

    def call(self, inputs: Any) -> tuple[Tensor, ...]:
        x, condition = split_condition(inputs)
        h = self.flatten(x)
        if condition is not None:
            h = ops.concatenate([h, condition], axis=-1)
        for layer in self.hidden:
            h = layer(h)
        return self.heads(h)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "activation": self.activation,
        }


@keras.saving.register_keras_serializable("keras_vae")
class DenseDecoder(StoredModel):
    """Dense layers from a latent code to the likelihood's parameters.

    Args:
        output_shape: Tuple of ints, the shape of one example, such as `(28, 28, 1)`.
        hidden_units: Tuple of ints, the widths of the hidden layers.
        activation: Activation of the hidden layers. The last layer has none: it gives logits.
        parameters_per_value: Int, the likelihood's parameters for each value of the data.
            Left out, the model sets it by its likelihood.

    Call arguments:
        inputs: `z`, float `(batch, latent)`, or a list `[z, condition]` with a float
            `(batch, size)`, put beside it.

    Returns:
        float32 tensor `(batch, *output_shape)`, with `parameters_per_value` times its channels.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,))
    >>> tuple(decoder(np.zeros((2, 20), "float32")).shape)
    (2, 28, 28, 1)

    See also:
        `DenseEncoder`; `ConvDecoder`.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        hidden_units: Sequence[int] = (400,),
        activation: str | Callable[..., Any] = "relu",
        parameters_per_value: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_shape = arguments.shape(output_shape, "output_shape")
        self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.activation = arguments.activation(activation)
        self.hidden = dense_stack(self.hidden_units, activation)
        self.outputs_dense = keras.layers.Dense(
            math.prod(self.data_shape), dtype=self.variable_dtype, name="parameters"
        )
        self.reshape = keras.layers.Reshape(self.data_shape, dtype=self.variable_dtype)
        self.parameters_per_value = None
        if parameters_per_value is not None:
            self.set_parameters_per_value(parameters_per_value)

    def set_parameters_per_value(self, count: int) -> None:
        """Give `count` parameters per value, as further channels. Before the first call only."""
        check_count(count)
        *sides, channels = self.data_shape
        self.reshape.target_shape = (*sides, channels * count)
        self.outputs_dense.units = math.prod(self.reshape.target_shape)
        self.parameters_per_value = count

    def call(self, inputs: Any) -> Tensor:
        h = join_condition(inputs)
        for layer in self.hidden:
            h = layer(h)
        return self.reshape(self.outputs_dense(h))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "output_shape": list(self.data_shape),
            "hidden_units": list(self.hidden_units),
            "activation": self.activation,
            "parameters_per_value": self.parameters_per_value,
        }


def check_count(count):
    """Check a `parameters_per_value`."""
    if not (type(count) is int and count >= 1):
        raise ValueError(
            "`parameters_per_value` must be a whole number of at least 1, or None for what the "
            f"likelihood needs. Received: {count!r}"
        )


def dense_stack(units, activation, **kwargs):
    """Dense layers, one per width."""
    return [keras.layers.Dense(width, activation=activation, **kwargs) for width in units]


def split_condition(inputs: Any) -> tuple[Tensor, Tensor | None]:
    """Return `(tensor, condition or None)` from `tensor` or `[tensor, condition]`.

    Args:
        inputs: What a network is called with: a tensor, or a list of it and the condition's vectors
            `(batch, size)`.

    Returns:
        Tuple of both, None without a condition.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> x, condition = keras_vae.networks.split_condition([ops.zeros((2, 4)), ops.ones((2, 3))])
    >>> tuple(x.shape), tuple(condition.shape)
    ((2, 4), (2, 3))

    See also:
        `join_condition`.
    """
    if isinstance(inputs, list | tuple):
        tensor, condition = inputs
        return tensor, condition
    return inputs, None


def join_condition(inputs: Any) -> Tensor:
    """Return `[tensor, condition]` side by side, or the tensor alone.

    Args:
        inputs: As for `split_condition`, the tensor `(batch, features)`.

    Returns:
        Tensor `(batch, features + size)`.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> inputs = [ops.zeros((2, 4)), ops.ones((2, 3))]
    >>> tuple(keras_vae.networks.join_condition(inputs).shape)
    (2, 7)

    See also:
        `split_condition`.
    """
    tensor, condition = split_condition(inputs)
    return tensor if condition is None else ops.concatenate([tensor, condition], axis=-1)
