"""A variational autoencoder of the right sizes for a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_vae import likelihoods
from keras_vae.data.table_schema import TableSchema
from keras_vae.models.conditional_vae import ConditionalVAE
from keras_vae.models.vae import VAE
from keras_vae.networks.tables import TableDecoder, TableEncoder


def table_vae(
    schema: TableSchema,
    latent_dim: int = 8,
    hidden_units: Sequence[int] = (128, 128),
    **kwargs: Any,
) -> VAE:
    """Make a model of a table: its columns learnt, its conditions asked for.

    Args:
        schema: `data.TableSchema`, such as `data.table("adult.csv").schema`.
        latent_dim: Int, size of the latent code.
        hidden_units: Tuple of ints, the widths of the layers of the encoder and of the decoder.
        **kwargs: As for `VAE`, but for the likelihood, which is that of the columns.

    Returns:
        A `ConditionalVAE`; without conditions a `VAE`. It is not compiled.

    Example:

    >>> import keras_vae
    >>> rows = {"age": [39, 50, 38, 53, 28], "sex": ["m", "m", "f", None, "f"]}
    >>> made = keras_vae.data.table(rows, conditions=["sex"])
    >>> model = keras_vae.table_vae(made.schema, latent_dim=2, hidden_units=(8,))
    >>> drawn = model.sample({"sex": "f"}, count=3, seed=1)
    >>> list(made.schema.decode(drawn, {"sex": 0})["sex"])
    ['f', 'f', 'f']

    See also:
        `data.table`; `evaluation.evaluate_rows`.
    """
    encoder = TableEncoder(schema.blocks, latent_dim, hidden_units)
    decoder = TableDecoder(schema.blocks, hidden_units)
    kwargs = {"likelihood": likelihoods.Table(schema.blocks), "schema": schema, **kwargs}
    if not schema.conditions:
        return VAE(encoder, decoder, **kwargs)
    return ConditionalVAE(encoder, decoder, schema.condition, **kwargs)
