"""The variational autoencoder."""

import math

import keras
from keras import ops

from keras_vae.layers.sampling import Sampling
from keras_vae.models import inputs as model_inputs
from keras_vae.models.base import LatentVariableModel
from keras_vae.models.generative import in_batches, join, weighted_mean
from keras_vae.priors import StandardNormal

# Far outside any useful posterior; beyond it exp() overflows and a single example is NaN.
LOG_VAR_RANGE = (-30.0, 20.0)


@keras.saving.register_keras_serializable("keras_vae")
class VAE(LatentVariableModel):
    """Variational autoencoder: the negative evidence lower bound as loss.

    The loss is `-log p(x|z) + kl_weight * KL(q(z|x) || p(z))` in nats per example, with one draw
    of `z` per example, summed over data and latent dimensions and averaged over the batch.

    Args:
        encoder: Keras model from `x` to `(z_mean, z_log_var)`, each `(batch, latent)`. The
            log-variance is clipped to [-30, 20].
        decoder: Keras model from `z` to the likelihood's parameters, shaped like `x`.
        likelihood: Name or object of `keras_vae.likelihoods`.
        prior: Object of `keras_vae.priors`. Defaults to `StandardNormal()`.
        kl_weight: Float, at least 0: beta. 1 gives the bound itself; it is never rescaled.
        seed: Optional int, for the draws and the order of the batches.

    Call arguments:
        inputs: `x`, float `(batch, *data_shape)`.
        sample_weight: Optional float `(batch,)`; weights the KL that the call adds.
        draw: Whether to draw `z` rather than take `z_mean`. Defaults to `training`.
        training: Bool.

    Returns:
        Dict of `"parameters"` (the likelihood's, `(batch, *data_shape)`), `"z_mean"`,
        `"z_log_var"`, `"z"` (`(batch, latent)`) and `"kl"` (`(batch,)`, nats).

    References:
        - Kingma & Welling, 2014. https://arxiv.org/abs/1312.6114
        - Higgins et al., 2017, for `kl_weight`. https://openreview.net/forum?id=Sy2fzU9gl
    """

    loss_terms = ("reconstruction_loss", "kl_loss")
    code_names = ("z_mean", "z_log_var")

    def __init__(self, encoder, decoder, prior=None, kl_weight=1.0, **kwargs):
        if not (math.isfinite(kl_weight) and kl_weight >= 0):
            raise ValueError(f"`kl_weight` must be at least 0. Received: {kl_weight!r}")
        super().__init__(encoder, decoder, **kwargs)
        self.prior = StandardNormal() if prior is None else prior
        self.sampling = Sampling(self.seed)
        self.initial_kl_weight = float(kl_weight)
        self.kl_weight = self.add_weight(
            name="kl_weight",
            shape=(),
            initializer=keras.initializers.Constant(kl_weight),
            dtype="float32",
            trainable=False,
        )

    def call(self, inputs, sample_weight=None, draw=None, training=None):
        x, conditions = self.split_inputs(inputs)
        condition = self.encode_condition(conditions, training=training)
        z_mean, z_log_var = self.code(x, condition, training=training)
        kl = self.prior.kl(z_mean, z_log_var)
        self.add_loss(self.kl_weight * weighted_mean(kl, sample_weight))
        draw = training if draw is None else draw
        z = self.sampling(z_mean, z_log_var) if draw else z_mean
        return {
            "parameters": self.decoder(join(z, condition), training=training),
            "z_mean": z_mean,
            "z_log_var": z_log_var,
            "z": z,
            "kl": kl,
        }

    def code(self, x, condition=None, training=None):
        z_mean, z_log_var = self.encoder(join(x, condition), training=training)
        z_log_var = ops.clip(ops.cast(z_log_var, "float32"), *LOG_VAR_RANGE)
        return ops.cast(z_mean, "float32"), z_log_var

    def sample(self, count=1, temperature=1.0, seed=None):
        """Decode codes drawn from the prior.

        Args:
            count: Int. Number of samples.
            temperature: Float, at least 0. Scales the prior's standard deviation.
            seed: Optional int, from 0 to 2^31 - 1. The same seed gives the same codes on every
                backend and on devices.

        Returns:
            float32 array `(count, *data_shape)`, the likelihood's mean.
        """
        self._ensure_built()
        return self.decode(self.prior.sample(count, self.latent_dim, temperature, seed))

    def log_likelihood(self, inputs, num_samples=5000, batch_size=64, seed=None):
        """Estimate `log p(x)` by importance sampling from the posterior.

        Computes `logsumexp_k(log p(x|z_k) + log p(z_k) - log q(z_k|x)) - log K`, a lower bound in
        expectation that tightens as K grows.

        Args:
            inputs: As in `fit`.
            num_samples: Int, K.
            batch_size: Int. Examples computed at once; memory is that of `batch_size` times about
                `8192 / batch_size` decoded samples, whatever `num_samples` is.
            seed: Optional int.

        Returns:
            float32 array `(n,)`, nats per example.

        References:
            - Burda et al., 2016, eq. 8. https://arxiv.org/abs/1509.00519
        """
        if int(num_samples) != num_samples or num_samples < 1:
            raise ValueError(
                f"`num_samples` must be a whole number of at least 1. Received: {num_samples!r}"
            )
        inputs = self.as_observed(model_inputs.check_examples(self, inputs), seed)
        generator = keras.random.SeedGenerator(seed)
        at_once = max(1, 8192 // batch_size)
        log_weights = self.as_compiled("log_weights", self._log_weights)

        def estimate(batch):
            x, conditions = self.split_inputs(batch)
            condition = self.encode_condition(conditions, training=False)
            outputs = self(batch, draw=False, training=False)
            posterior = (outputs["z_mean"], outputs["z_log_var"])
            total = None
            for start in range(0, num_samples, at_once):
                draws = min(at_once, num_samples - start)
                shape = (draws, *posterior[0].shape)
                noise = keras.random.normal(shape, seed=generator)
                weights = log_weights(x, condition, *posterior, noise)
                joined = weights if total is None else ops.concatenate([total, weights], axis=0)
                total = ops.logsumexp(joined, axis=0, keepdims=True)
            return [total[0] - math.log(num_samples)]

        return in_batches(estimate, inputs, batch_size)[0]

    def _log_weights(self, x, condition, z_mean, z_log_var, noise):
        """Log importance weights `(draws, batch)` of codes drawn from the posterior."""
        draws, batch = ops.shape(noise)[:2]
        z = z_mean + ops.exp(z_log_var / 2) * noise
        log_q = -ops.sum(ops.square(noise) + z_log_var + math.log(2 * math.pi), axis=-1) / 2

        def repeat(tensor):
            return ops.tile(tensor, (draws,) + (1,) * (len(tensor.shape) - 1))

        flat = ops.reshape(z, (-1, z_mean.shape[-1]))
        condition = None if condition is None else repeat(condition)
        parameters = self.decoder(join(flat, condition), training=False)
        log_p = self.likelihood.log_prob(repeat(ops.cast(x, "float32")), parameters)
        return ops.reshape(log_p, (draws, batch)) + self.prior.log_prob(z) - log_q

    def get_config(self):
        return {
            **super().get_config(),
            "prior": keras.saving.serialize_keras_object(self.prior),
            "kl_weight": self.initial_kl_weight,
        }
