"""Encoder and decoder of rows of a table, whose columns are of several kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments, exact_columns
from keras_vae.column_distributions import layout
from keras_vae.networks import exact as whole_numbers
from keras_vae.networks.dense import GaussianEncoder, dense_stack, join_condition, split_condition
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class TableEncoder(GaussianEncoder):
    """Dense layers from a row to the mean and log-variance of its latent code.

    They see numbers as they are, counts as `log(1 + x)`, categories as one-hot vectors, and beside
    them for each column whether it is missing; a missing one is 0 otherwise.

    Args:
        blocks: Sequence of one block a column, as of `likelihoods.Table`, such as
            `TableSchema.blocks`.
        latent_dim, hidden_units, activation, full_covariance: As for `DenseEncoder`.

    Call arguments:
        inputs: `x`, float `(batch, columns)` with NaN for a missing value, or a list
            `[x, condition]` with a float `(batch, size)`.

    Returns:
        As `DenseEncoder`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.TableEncoder([("normal",), ("categorical", 3)], latent_dim=2)
    >>> z_mean, z_log_var = encoder(np.array([[0.5, 2.0], [np.nan, 1.0]], "float32"))
    >>> tuple(z_mean.shape)
    (2, 2)

    See also:
        `TableDecoder`; `table_vae`, which makes both.
    """

    def __init__(
        self,
        blocks: Sequence[Sequence[Any]],
        latent_dim: int,
        hidden_units: Sequence[int] = (256,),
        activation: str | Callable[..., Any] = "relu",
        full_covariance: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.blocks = layout(_plain(blocks)).blocks
        self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.activation = arguments.activation(activation)
        self.hidden = dense_stack(self.hidden_units, activation)
        self.add_heads(latent_dim, full_covariance)

    def call(self, inputs: Any) -> tuple[Tensor, ...]:
        x, condition = split_condition(inputs)
        h = row_features(self.blocks, x)
        if condition is not None:
            h = ops.concatenate([h, ops.cast(condition, h.dtype)], axis=-1)
        for layer in self.hidden:
            h = layer(h)
        return self.heads(h)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "blocks": [list(block) for block in self.blocks],
            "hidden_units": list(self.hidden_units),
            "activation": self.activation,
        }


def row_features(blocks, x):
    """What networks see of rows `(batch, columns)`, NaN where missing: `(batch, features)`."""
    places = layout(blocks)
    observed = ops.abs(x) < 1e30  # of NaN no comparison holds
    x = ops.where(observed, x, 0.0)
    seen = ops.cast(observed, x.dtype)
    parts = [seen]
    for kind, columns in places.columns.items():
        if len(columns):
            values = places.take(x, columns)
            is_count = kind == "negative_binomial"
            parts.append(ops.log(1 + ops.relu(values)) if is_count else values)
    for columns, names in zip(places.groups, places.names, strict=True):
        most = int(names.max())
        value, known = (places.take(part, columns)[..., None] for part in (x, seen))
        one_hot = ops.round(value) == ops.arange(most, dtype="float32")
        parts.append(ops.reshape(ops.cast(one_hot, x.dtype) * known, (-1, len(names) * most)))
    return ops.concatenate(parts, axis=-1)


@keras.saving.register_keras_serializable("keras_vae")
class TableDecoder(StoredModel, whole_numbers.MayBeExact):
    """Dense layers from a latent code to the parameters of every column.

    Args:
        blocks: As for `TableEncoder`.
        hidden_units: Tuple of ints, the widths of the hidden layers.
        activation: Activation of the hidden layers.
        exact: Whether to compute with whole numbers, so that every device draws the same rows
            (`networks.exact`). Such a decoder is not trained, but made by `VAE.as_exact`.

    Call arguments:
        inputs: `z`, float `(batch, latent)`, or a list `[z, condition]` with a float
            `(batch, size)`.

    Returns:
        float32 tensor `(batch, parameters)`, as `likelihoods.Table` of the same blocks takes it;
        where `exact` in steps of 1/256.

    Raises:
        ValueError: If `exact` with another activation than "relu".

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.TableDecoder([("normal",), ("categorical", 3)], (8,))
    >>> tuple(decoder(np.zeros((4, 2), "float32")).shape)
    (4, 5)

    See also:
        `TableEncoder`; `table_vae`, which makes both.
    """

    def __init__(
        self,
        blocks: Sequence[Sequence[Any]],
        hidden_units: Sequence[int] = (256,),
        activation: str | Callable[..., Any] = "relu",
        exact: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.blocks = layout(_plain(blocks)).blocks
        self.data_shape = (len(self.blocks),)
        self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.activation = arguments.activation(activation)
        self.exact, size = bool(exact), layout(self.blocks).size
        if self.exact and not self.can_be_exact:
            raise ValueError(whole_numbers.refusal(self))
        if not self.exact:
            self.hidden = dense_stack(self.hidden_units, activation)
            self.outputs_dense = keras.layers.Dense(
                size, dtype=self.variable_dtype, name="parameters"
            )
            return
        self.arithmetic = whole_numbers.Wholes()
        self.hidden = [
            self.arithmetic.dense(
                width,
                reads="hidden" if at else "row",
                signed=not at,
                activation=activation,
            )
            for at, width in enumerate(self.hidden_units)
        ]
        self.outputs_dense = self.arithmetic.dense(
            size,
            reads="hidden" if self.hidden else "row",
            gives="parameters",
            signed=not self.hidden,
            name="parameters",
        )

    @property
    def can_be_exact(self) -> bool:
        return self.activation == "relu"

    def call(self, inputs: Any) -> Tensor:
        h = join_condition(inputs)
        if self.exact:
            h = self.arithmetic.code(h, "row")
        for layer in self.hidden:
            h = layer(h)
        h = self.outputs_dense(h)
        return h / float(exact_columns.STEPS) if self.exact else h

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "blocks": [list(block) for block in self.blocks],
            "hidden_units": list(self.hidden_units),
            "activation": self.activation,
            # Where it is left out, earlier versions read the file, too.
            **({"exact": True} if self.exact else {}),
        }


def _plain(blocks):
    return tuple((block,) if isinstance(block, str) else tuple(block) for block in blocks)
