"""The variational autoencoder of sequences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from keras_vae import arguments, likelihoods, objectives, portable_random, replica, seeds
from keras_vae.models.capabilities import DrawsTokens
from keras_vae.models.vae import VAE
from keras_vae.networks import exact
from keras_vae.networks.sequences import ConditionByStep, SequenceDecoder
from keras_vae.training import inputs as model_inputs
from keras_vae.training.batched import in_batches
from keras_vae.type_aliases import Conditions, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class SequenceVAE(VAE, DrawsTokens):
    """Variational autoencoder of sequences of tokens, such as music in several voices.

    `p(x|z, c)` is autoregressive: each token has a probability given the code, the conditions and
    the tokens before it, over the steps and within a step from the first voice to the last. Against
    a decoder that is strong enough to do without the code there are `total_free_bits` and the
    decoder's `past_dropout`.

    Args:
        encoder: Keras model from tokens `(batch, steps, voices)`, or `[tokens, condition]`, to
            `(z_mean, z_log_var)`, such as `networks.SequenceEncoder`.
        decoder: A `networks.SequenceDecoder`: `CausalDecoder`, `GRUDecoder`, `ConductorDecoder`.
        condition: Optional dict from name to `Categorical`, `Continuous` or `Sequence`, of whole
            examples and of each step, such as the melody to harmonise.
        schema: Optional object that says what tokens are, such as `data.Notes`: saved with the
            model and written into exported files.
        prior_share: Float in [0, 1). Share of the examples, drawn anew for every batch, that
            training decodes from a code of the prior in place of the posterior's, so that the
            decoder has seen such codes before `sample` gives it some. What is minimised of them,
            `-E_p(z)[log p(x|z)]` and the posterior's KL, bounds `-log p(x)` as well, less
            tightly: the loss of training is higher for it, the bound of `evaluate` is the usual
            one. For the reparameterized ELBO, and a prior that can be drawn from in training.
        **kwargs: As for `VAE`, but for the likelihood, which is the decoder's.

    Call arguments:
        inputs: Tokens, whole numbers `(batch, steps, voices)` of any dtype, also uint8; -1 is no
            step, as beyond the end of a shorter sequence. With conditions a dict of `"x"` and one
            tensor for each.
        sample_weight, draw, training: As for `VAE`.

    Returns:
        As `VAE`; `"parameters"` is the decoder's plan `(draws * batch, steps, width)`.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.SequenceEncoder(4, num_tokens=5, width=8, blocks=1)
    >>> decoder = keras_vae.networks.GRUDecoder((8, 2), num_tokens=5, width=8, units=8)
    >>> model = keras_vae.SequenceVAE(encoder, decoder)
    >>> model.sample(count=3, seed=0).shape
    (3, 8, 2)

    See also:
        `data.sequences`, which makes tokens of music.

    References:
        - Roberts et al., 2018, MusicVAE. https://arxiv.org/abs/1803.05428
        - Bowman et al., 2016. https://arxiv.org/abs/1511.06349
    """

    conditional = True
    conditional_class = "SequenceVAE"

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        condition: Mapping[str, Any] | None = None,
        schema: Any = None,
        prior_share: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(decoder, SequenceDecoder):
            raise ValueError(
                "`decoder` must be a networks.SequenceDecoder, such as CausalDecoder. Received: "
                f"{type(decoder).__name__}."
            )
        if "likelihood" in kwargs:
            raise ValueError(
                "`SequenceVAE` takes no `likelihood`: it is that of the decoder. Received: "
                f"{kwargs['likelihood']!r}. Leave it out."
            )
        if condition is not None:
            model_inputs.check_kinds(condition)
        _tell_places(condition or {}, (encoder, decoder))
        likelihood = likelihoods.Autoregressive(decoder)
        super().__init__(encoder, decoder, condition=condition, likelihood=likelihood, **kwargs)
        self.schema = schema
        self.prior_share = arguments.part_of_one(prior_share, "prior_share")
        self.prior_codes_generator = None
        if self.prior_share:
            _check_prior_share(self.objective, self.prior)
            self.prior_codes_generator = seeds.stream(self.seed, "prior codes")

    def _decoded_code(self, z, condition, training):
        if not (training and self.prior_share):
            return z
        draw, shape = replica.current().draw, ops.shape(z)
        seed = keras.random.randint((1,), 0, 2**31 - 1, seed=self.prior_codes_generator)
        drawn = draw(keras.random.uniform, (shape[0], 1), seed=self.prior_codes_generator)
        if condition is not None:
            condition = replica.current().gather(condition)

        def codes(shape):
            index, given = ops.arange(shape[0], dtype="int32"), condition
            if given is not None:
                given = ops.tile(given, (self.num_samples, 1))
            return self.prior.draw(seed, index, ops.ones((1,)), shape[1], given)

        return ops.where(drawn < self.prior_share, ops.cast(draw(codes, shape), z.dtype), z)

    def _check_made(self, made, data_shape):
        if self.decoder.data_shape != data_shape:
            raise ValueError(
                f"The decoder must make what the data are, {data_shape}. Received: "
                f"{self.decoder.data_shape}. Set the decoder's output_shape."
            )

    def generate(
        self,
        z: Tensor,
        uniform: Tensor,
        token_temperature: Tensor,
        conditions: Conditions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw tokens from codes, as tensors: what a device computes.

        Args:
            z: Float tensor `(batch, latent)`.
            uniform: Float tensor `(batch, steps, voices)`, in (0, 1).
            token_temperature: Float tensor `(1,)`, at least 0; 0 takes the likeliest tokens.
            conditions: Dict of tensors by name.

        Returns:
            Tuple of int32 tokens `(batch, steps, voices)` and float32 `(batch,)`, how near the
            closest draw came to a border between two tokens, as a part of 1.
        """
        return self.decoder.generate(
            self.decode_parameters(z, conditions), uniform, token_temperature
        )

    def uniforms(self, seed: Tensor, index: Tensor, ops: Any = np) -> Tensor:
        """The numbers that tokens are drawn with: the same bits everywhere.

        Args:
            seed: Integer array or tensor `(1,)`.
            index: Integer array or tensor `(n,)`. Which examples of the seed.
            ops: `numpy` for arrays, `keras.ops` for tensors.

        Returns:
            float32 `(n, steps, voices)`.
        """
        size = math.prod(self.data_shape)
        numbers = portable_random.uniforms(seed, index, self.latent_dim, size, ops)
        return ops.reshape(numbers, (-1, *self.data_shape))

    def decode(
        self,
        z: ArrayLike,
        conditions: Conditions | None = None,
        batch_size: int = 256,
        token_temperature: float = 0.0,
        seed: int | None = None,
    ) -> NDArray[np.int32]:
        """Draw sequences from latent codes.

        Args:
            z: Array `(n, latent)`.
            conditions: Dict of arrays `(n, ...)` for a conditional model.
            batch_size: Int. Examples computed at once.
            token_temperature: Float, at least 0. Divides the logits of every token; 0 takes the
                likeliest one.
            seed: Optional int, from 0 to 2^31 - 1, of the draws.

        Returns:
            int32 array `(n, steps, voices)`.

        Raises:
            ValueError: If a shape, a condition or the temperature does not fit.
        """
        self._check_temperature(token_temperature)
        self._ensure_built()
        z = self._check_codes(z)
        conditions = {} if conditions is None else conditions
        conditions = model_inputs.check_conditions(self, conditions, len(z))
        seed = seeds.given_or_drawn(seed)
        portable_random.check(seed, len(z), self.latent_dim)

        def generate(batch):
            given = {name: batch[name] for name in self.condition}
            return self.generate(batch["z"], batch["uniform"], batch["temperature"][:1], given)

        index = np.arange(len(z), dtype="int32")
        arrays = {
            "z": z,
            "uniform": self.uniforms(np.array([seed], "int32"), index),
            "temperature": np.full(len(z), token_temperature, "float32"),
            **conditions,
        }
        return in_batches(self.as_compiled(generate), arrays, batch_size)[0]

    def sample(
        self,
        conditions: Conditions | int | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        count: int | None = None,
        token_temperature: float = 0.7,
    ) -> NDArray[np.int32]:
        """Draw sequences of codes drawn from the prior.

        Args:
            conditions: For a model with conditions a dict, as for `ConditionalVAE.sample`; a
                sequence `(steps,)` is that of all samples. For one without, optionally an int, how
                many.
            temperature: Float, at least 0. Scales the prior's standard deviation.
            seed: Optional int, from 0 to 2^31 - 1. The same seed gives the same codes everywhere,
                and the same tokens, unless a draw falls within rounding of a border between two.
            count: Optional int, n. Defaults to the number of values, 1 if they are single.
            token_temperature: Float, at least 0. Divides the logits of every token; 0 takes the
                likeliest one.

        Returns:
            int32 array `(n, steps, voices)`.
        """
        self._check_temperature(token_temperature)
        self._ensure_built()
        seed = seeds.given_or_drawn(seed)
        condition = None
        if self.condition:
            conditions = model_inputs.sampled_conditions(self, conditions, count, seed)
            count = len(next(iter(conditions.values())))
            condition = self.condition_vectors(conditions)
        else:
            count, conditions = _count(conditions, count), {}
        portable_random.check(seed, count, self.latent_dim)
        z = self.prior.sample(count, self.latent_dim, temperature, seed, condition)
        return self.decode(z, conditions, token_temperature=token_temperature, seed=seed)

    def _check_temperature(self, token_temperature):
        low, high = exact.TEMPERATURES if self.is_exact else (0, math.inf)
        if token_temperature == 0 or low <= token_temperature <= high < math.inf:
            return
        if low > 0:
            raise ValueError(
                f"`token_temperature` of an exact model must be 0, or from {low} to {high:g}. "
                f"Received: {token_temperature!r}."
            )
        if not (math.isfinite(token_temperature) and token_temperature >= 0):
            raise ValueError(
                "`token_temperature` must be a number of at least 0. Received: "
                f"{token_temperature!r}"
            )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["likelihood"]
        schema = None if self.schema is None else keras.saving.serialize_keras_object(self.schema)
        # Where it is left out, earlier versions read the file, too.
        share = {"prior_share": self.prior_share} if self.prior_share else {}
        return {**config, "schema": schema, **share}


def _tell_places(condition, networks):
    """Tell networks where the vector of conditions holds sequences, unless they know."""
    places, start = [], 0
    for kind in condition.values():
        if kind.kind == "sequence":
            places.append((start, kind.steps, kind.num_values))
        start += kind.size
    for network in networks:
        if isinstance(network, ConditionByStep) and network.step_conditions is None:
            network.set_step_conditions(places)


def _check_prior_share(objective, prior):
    """Refuse codes of the prior where a loss takes all codes for the posterior's."""
    is_elbo = isinstance(objective, objectives.ELBO) and objective.gradient == "reparameterized"
    if not is_elbo:
        raise ValueError(
            "`prior_share` above 0 needs the reparameterized ELBO, as other objectives take all "
            f"codes for the posterior's. Received: {type(objective).__name__}. Leave it at 0."
        )
    if not prior.draws_in_training:
        raise ValueError(
            "`prior_share` above 0 needs a prior to draw from while it is learned: "
            f"StandardNormal, ConditionalNormal or RealNVP. Received: {type(prior).__name__}."
        )


def _count(conditions, count):
    """How many samples of a model without conditions."""
    if isinstance(conditions, dict) or None not in (conditions, count):
        raise ValueError(
            "This model has no conditions: pass the number of samples, sample(count=16). "
            f"Received: {conditions!r}."
        )
    given = [number for number in (conditions, count) if number is not None]
    return given[0] if given else 1
