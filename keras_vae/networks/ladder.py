"""Networks of the ladder VAE: codes on several levels, each drawn given those above.

`latent_dims` and `hidden_units` have one entry for each level, from the data up, in the encoder and
in the decoder alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.distributions import Normal
from keras_vae.networks.dense import DenseDecoder, dense_stack, split_condition
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor

# Of a level's prior: a variance between 5e-5 and 2e4.
PRIOR_LOG_VAR_RANGE = (-10.0, 10.0)


@keras.saving.register_keras_serializable("keras_vae")
class LadderEncoder(StoredModel):
    """Dense layers from an example up through the levels, with what each level tells of its code.

    A level is `depth` dense layers on top of the level below; its mean and log-variance are linear
    in the last of them.

    Args:
        latent_dims: Tuple of ints, sizes of the levels' codes, from the data up: `(32, 16, 8)`.
        hidden_units: Tuple of ints, widths of the levels' dense layers, from the data up.
        activation: Activation of the hidden layers.
        depth: Int, at least 1. Dense layers of each level.

    Call arguments:
        inputs: `x`, float `(batch, ...)`, or a list `[x, condition]` with a float
            `(batch, size)`; the condition is put beside the flattened `x`.

    Returns:
        Tuple `(z_mean, z_log_var)` of float32 tensors `(batch, sum(latent_dims))`, the top level
        first.

    Raises:
        ValueError: If there is not one width for each level.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.LadderEncoder(latent_dims=(3, 2), hidden_units=(8, 8))
    >>> z_mean, z_log_var = encoder(np.zeros((6, 4, 4, 1), "float32"))
    >>> tuple(z_mean.shape)
    (6, 5)

    See also:
        `LadderDecoder`; `posteriors.Ladder`.

    References:
        - Sønderby et al., 2016, eq. 6 to 8. https://arxiv.org/abs/1602.02282
    """

    def __init__(
        self,
        latent_dims: Sequence[int],
        hidden_units: Sequence[int] = (512, 256, 128),
        activation: str | Callable[..., Any] = "relu",
        depth: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options = _options(latent_dims, hidden_units, activation, depth)
        self.latent_dims = self.options["latent_dims"]
        self.latent_dim = sum(self.latent_dims)
        self.flatten = keras.layers.Flatten(data_format="channels_last")
        self.hidden = [dense_stack((width,) * depth, activation) for width in hidden_units]
        self.z_means, self.z_log_vars = (
            [keras.layers.Dense(size, dtype=self.variable_dtype) for size in self.latent_dims]
            for _ in range(2)
        )

    def call(self, inputs: Any) -> tuple[Tensor, Tensor]:
        x, condition = split_condition(inputs)
        h = self.flatten(x)
        if condition is not None:
            h = ops.concatenate([h, condition], axis=-1)
        codes = []
        for hidden, *heads in zip(self.hidden, self.z_means, self.z_log_vars, strict=True):
            for layer in hidden:
                h = layer(h)
            codes.append([head(h) for head in heads])
        means, log_vars = zip(*reversed(codes), strict=True)
        return ops.concatenate(means, axis=-1), ops.concatenate(log_vars, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable("keras_vae")
class LadderDecoder(DenseDecoder):
    """Dense layers from the top level's code down to the likelihood's parameters.

    A level is `depth` dense layers of its code and of what the level above computed; linear in the
    last of them are mean and log-variance of the next level's prior, the latter clipped to
    [-10, 10]. The code that comes in is in units of these priors: `eps`, N(0, I) under the prior,
    for `z = mean + exp(log_var / 2) * eps`.

    Args:
        output_shape: Tuple of ints, the shape of one example, such as `(28, 28, 1)`.
        latent_dims: Tuple of ints, sizes of the levels' codes, from the data up: as the encoder's.
        hidden_units: Tuple of ints, widths of the levels' dense layers, from the data up.
        activation: Activation of the hidden layers. The last layer has none: it gives logits.
        depth: Int, at least 1. Dense layers of each level.
        parameters_per_value: Int, the likelihood's parameters for each value of the data.
            Left out, the model sets it by its likelihood.

    Call arguments:
        inputs: `eps`, float `(batch, sum(latent_dims))`, the top level first, or a list
            `[eps, condition]` with a float `(batch, size)`, which every level sees.

    Returns:
        float32 tensor `(batch, *output_shape)`, with `parameters_per_value` times its channels.

    Raises:
        ValueError: If there is not one width for each level.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.LadderDecoder((4, 4, 1), (3, 2), hidden_units=(8, 8))
    >>> tuple(decoder(np.zeros((6, 5), "float32")).shape)
    (6, 4, 4, 1)

    See also:
        `LadderEncoder`; `posteriors.Ladder`.

    References:
        - Sønderby et al., 2016, eq. 2 and 3. https://arxiv.org/abs/1602.02282
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        latent_dims: Sequence[int],
        hidden_units: Sequence[int] = (512, 256, 128),
        activation: str | Callable[..., Any] = "relu",
        depth: int = 2,
        parameters_per_value: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_shape, (), activation, parameters_per_value, **kwargs)
        self.options = _options(latent_dims, hidden_units, activation, depth)
        self.latent_dims = self.options["latent_dims"]
        self.hidden_units = tuple(hidden_units)
        self.hidden = [
            dense_stack((width,) * depth, activation) for width in reversed(hidden_units)
        ]
        self.means, self.log_vars = (
            [
                keras.layers.Dense(size, dtype=self.variable_dtype)
                for size in self.latent_dims[-2::-1]
            ]
            for _ in range(2)
        )

    def split(self, code: Tensor) -> list[Tensor]:
        """Split `(batch, sum(latent_dims))` into the levels, the top one first."""
        return split_levels(code, self.latent_dims)

    def next_level(
        self, level: int, eps: Tensor, above: Any = None, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Go down by one level.

        Args:
            level: Int, 0 at the top.
            eps: Float tensor `(batch, size)`, the level's code in units of its prior.
            above: What this method returned for the level above; None at the top.
            condition: Optional float tensor `(batch, size)`.

        Returns:
            Tuple of the level's last hidden layer `(batch, units)` and of mean and log-variance of
            the next level's prior, float32 `(batch, size)`; the latter two None at the bottom.
        """
        z = ops.cast(eps, self.variable_dtype)
        inputs = [] if condition is None else [condition]
        if above is not None:
            h, *prior = above
            z = Normal(*prior).from_noise(z)
            inputs.append(h)
        h = ops.concatenate([z, *inputs], axis=-1) if inputs else z
        for layer in self.hidden[level]:
            h = layer(h)
        if level == len(self.means):
            return h, None, None
        log_var = ops.clip(self.log_vars[level](h), *PRIOR_LOG_VAR_RANGE)
        return h, self.means[level](h), log_var

    def call(self, inputs: Any) -> Tensor:
        code, condition = split_condition(inputs)
        above = None
        for level, eps in enumerate(self.split(code)):
            above = self.next_level(level, eps, above, condition)
        return self.reshape(self.outputs_dense(above[0]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}


def split_levels(code, latent_dims):
    """Split `(batch, sum(latent_dims))` into levels, the last of `latent_dims` first."""
    if code.shape[-1] != sum(latent_dims):
        raise ValueError(
            f"The code must have the size of all levels, {sum(latent_dims)}. Received: "
            f"{code.shape[-1]}."
        )
    levels, start = [], 0
    for size in reversed(latent_dims):
        levels.append(code[..., start : start + size])
        start += size
    return levels


def _options(latent_dims, hidden_units, activation, depth):
    latent_dims = arguments.wholes(latent_dims, "latent_dims")
    hidden_units = arguments.wholes(hidden_units, "hidden_units")
    if len(latent_dims) != len(hidden_units) or not latent_dims:
        raise ValueError(
            "`latent_dims` and `hidden_units` must have one entry for each level. Received: "
            f"{tuple(latent_dims)} and {tuple(hidden_units)}."
        )
    return {
        "latent_dims": list(latent_dims),
        "hidden_units": list(hidden_units),
        "activation": arguments.activation(activation),
        "depth": arguments.whole(depth, "depth"),
    }
