"""The encoder of sequences: convolutions over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments, seeds
from keras_vae.networks.dense import GaussianEncoder, split_condition
from keras_vae.networks.sequences import (
    ConditionByStep,
    Dropout,
    one_hots,
    shapes_of,
)
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class SequenceEncoder(GaussianEncoder, ConditionByStep, Dropout):
    """Convolutions over time from a sequence to the mean and log-variance of its code.

    Args:
        latent_dim: Int, size of the latent code.
        num_tokens: Int. Tokens are from 0 to `num_tokens - 1`.
        width: Int, channels.
        blocks: Int, how often the time is halved.
        hidden_units: Int, of the dense layer before the heads.
        dropout: Float in [0, 1). Share of the channels that training hides, of all steps together.
        seed: Optional int, for what is hidden.
        full_covariance: As of `DenseEncoder`.
        step_conditions: Where the vector of conditions holds sequences; the model sets it.

    Call arguments:
        inputs: Tokens `(batch, steps, voices)`, or a list `[tokens, condition]` with a float
            `(batch, size)`.

    Returns:
        As `DenseEncoder`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.SequenceEncoder(4, num_tokens=5, width=8, blocks=2)
    >>> z_mean, z_log_var = encoder(np.zeros((3, 8, 2), "int32"))
    >>> tuple(z_mean.shape)
    (3, 4)

    See also:
        `CausalDecoder`, `GRUDecoder`.
    """

    def __init__(
        self,
        latent_dim: int,
        num_tokens: int,
        width: int = 96,
        blocks: int = 3,
        hidden_units: int = 256,
        full_covariance: bool | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        step_conditions: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dropout = arguments.part_of_one(dropout, "dropout")
        self.seed = seed
        self.seed_generator = seeds.stream(seed, "encoder dropout") if self.dropout else None
        self.num_tokens = arguments.whole(num_tokens, "num_tokens")
        self.width = arguments.whole(width, "width")
        self.blocks = arguments.whole(blocks, "blocks")
        self.hidden_units = arguments.whole(hidden_units, "hidden_units")
        if step_conditions is not None:
            self.set_step_conditions(step_conditions)
        self.embedding = keras.layers.Dense(self.width, name="embedding")
        self.by_step = keras.layers.Dense(self.width, use_bias=False, name="by_step")
        self.halvings = [
            keras.layers.Conv1D(self.width, 4, strides=2, padding="same", activation="relu")
            for _ in range(self.blocks)
        ]
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(self.hidden_units, activation="relu")
        self.add_heads(latent_dim, full_covariance)

    def build(self, input_shape: Any) -> None:
        (_, steps, voices), size = shapes_of(input_shape)
        rest, by_step = self.condition_sizes(size)
        self.embedding.build((None, steps, voices * self.num_tokens))
        if by_step:
            self.by_step.build((None, steps, by_step))
        for layer in self.halvings:
            layer.build((None, steps, self.width))
            steps = -(-steps // 2)
        self.hidden.build((None, steps * self.width + rest))
        for head in (self.z_mean, self.z_log_var, self.triangle):
            if head is not None:
                head.build((None, self.hidden_units))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Tensor, ...]:
        drop = self.drop_in(training)
        tokens, condition = split_condition(inputs)
        rest, by_step = self.split(condition)
        h = self.embedding(one_hots(tokens, self.num_tokens))
        if by_step is not None:
            h = h + self.by_step(by_step)
        h = drop(ops.relu(h))
        for layer in self.halvings:
            h = drop(layer(h))
        h = self.flatten(h)
        if rest is not None:
            h = ops.concatenate([h, ops.cast(rest, h.dtype)], axis=-1)
        return self.heads(self.hidden(h))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_tokens": self.num_tokens,
            "width": self.width,
            "blocks": self.blocks,
            "hidden_units": self.hidden_units,
            "dropout": self.dropout,
            "seed": self.seed,
            "step_conditions": self.step_conditions,
        }
