"""The variational autoencoder."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import (
    arguments,
    distributions,
    keras_internals,
    objectives,
    posteriors,
    replica,
    seeds,
)
from keras_vae.data.series_schema import SeriesSchema
from keras_vae.data.table_schema import TableSchema
from keras_vae.distributions import Distribution, Normal, by_draw, repeat
from keras_vae.layers.sampling import Sampling
from keras_vae.likelihoods import LocationScale
from keras_vae.models import importance
from keras_vae.models.base import LatentVariableModel
from keras_vae.models.capabilities import Bounds, DrawsExactly, Samples, Scores
from keras_vae.models.generative import join
from keras_vae.networks import exact
from keras_vae.objectives import Loss, Objective, weighted_mean
from keras_vae.posteriors import Posterior
from keras_vae.priors import StandardNormal, VampPrior, fitted
from keras_vae.priors.base import Prior
from keras_vae.priors.fitted import FittedMixture
from keras_vae.schedules import Schedule
from keras_vae.training import inputs as model_inputs
from keras_vae.training.batched import in_batches
from keras_vae.training.callbacks import CountEpochs, ScheduledKLWeight
from keras_vae.type_aliases import Examples, Tensor

# Of rows of a table whose gaps are filled, all that are decoded at once: 32 MB.
MOST_PARAMETERS = 2**23


@keras.saving.register_keras_serializable("keras_vae")
class VAE(LatentVariableModel, Samples, Bounds, Scores, DrawsExactly):
    """Variational autoencoder: the negative evidence lower bound as loss.

    The loss is `-log p(x|z) + kl_weight * KL(q(z|x) || p(z))` in nats per example, with one draw
    of `z` per example, summed over data and latent dimensions and averaged over the batch; or
    another objective.

    Args:
        encoder: Keras model from `x` to `(z_mean, z_log_var)`, each `(batch, latent)`, and to what
            the posterior needs besides. The log-variance is clipped to [-30, 20].
        decoder: Keras model from `z` to the likelihood's parameters: shaped like `x`, with as many
            times its channels as the likelihood has `parameters_per_value`.
        likelihood: Name or object of `keras_vae.likelihoods`.
        prior: Object of `keras_vae.priors`. Defaults to `StandardNormal()`. Where the KL has no
            closed form for it, it is estimated with the drawn `z`.
        posterior: `"diagonal"`, the default, `"full_covariance"`, `"ladder"` or an object of
            `keras_vae.posteriors`.
        kl_weight: Float, at least 0: beta. 1 gives the bound itself; it is never rescaled. Or one
            of `keras_vae.schedules`, by which `fit` sets the weight at the start of every epoch. A
            later `fit` goes on with the schedule where the last one ended, also after loading.
        free_bits: Float, at least 0, in nats. Least KL that each latent dimension counts with,
            averaged over the batch: `sum_j max(free_bits, mean_batch KL_j)` takes the KL's place in
            the loss. `kl_loss` stays the KL itself.
        total_free_bits: Float, at least 0, in nats. Least KL that the whole code counts with:
            `max(total_free_bits, mean_batch KL)`. Below it nothing pushes the KL down, so that a
            strong decoder uses the code. One of both free bits may be above 0.
        num_samples: Optional int, at least 1. Codes drawn for each example in `fit` and `evaluate`;
            the decoder sees the batch so many times. Defaults to the objective's own number.
        objective: `"elbo"`, `"iwae"`, `"total_correlation"`, `"mmd"` or an object of
            `keras_vae.objectives`, which has `num_samples` and `gradient` as arguments itself.
        gradient: Optional name of the gradient's estimator, of those that the objective knows:
            `"reparameterized"`; `"score_function"` for the ELBO; `"doubly_reparameterized"` for
            the IWAE.
        schema: Optional `data.TableSchema` or `data.SeriesSchema`: saved with the model.
        seed: Optional int, for the draws and the order of the batches.

    Call arguments:
        inputs: `x`, float `(batch, *data_shape)`.
        sample_weight: Optional float `(batch,)`; weights the KL that the call adds.
        draw: How many `z` to draw for each example (True is 1), rather than take `z_mean`.
            Defaults to `training`.
        training: Bool.

    Returns:
        Dict of `"parameters"` (the likelihood's, as the decoder gives them for
        `(draws * batch, latent)`), `"z_mean"` and `"z_log_var"` (`(batch, latent)`; of a posterior
        whose entries depend on each other `(draws * batch, latent)`, each entry's given those
        before it), `"kl"` (`(batch,)`, nats), `"z"` (`(draws * batch, latent)`, the batch once for
        each draw) and, in a conditional model, `"condition"` (`(batch, size)`).

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> history = vae.fit(np.zeros((16, 4, 4, 1), "float32"), verbose=0)
    >>> vae.sample(3, seed=0).shape
    (3, 4, 4, 1)

    See also:
        `ConditionalVAE`; `Autoencoder`; `VQVAE`.

    References:
        - Kingma & Welling, 2014. https://arxiv.org/abs/1312.6114
        - Higgins et al., 2017, for `kl_weight`. https://openreview.net/forum?id=Sy2fzU9gl
        - Kingma et al., 2016, for `free_bits`. https://arxiv.org/abs/1606.04934
    """

    code_names = ("z_mean", "z_log_var")
    if TYPE_CHECKING:
        prior: Prior

        def encode(
            self, inputs: Examples, batch_size: int = 256
        ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        prior: Prior | None = None,
        kl_weight: float | Schedule = 1.0,
        free_bits: float = 0.0,
        num_samples: int | None = None,
        objective: str | Objective = "elbo",
        gradient: str | None = None,
        posterior: str | Posterior | None = None,
        total_free_bits: float = 0.0,
        schema: Any = None,
        **kwargs: Any,
    ) -> None:
        schedule = kl_weight if isinstance(kl_weight, Schedule) else None
        first_weight = arguments.not_negative(schedule(0) if schedule else kl_weight, "kl_weight")
        objective = objectives.get(objective, num_samples=num_samples, gradient=gradient)
        prior = StandardNormal() if prior is None else prior
        if not isinstance(prior, Prior):
            raise ValueError(f"`prior` must be one of keras_vae.priors. Received: {prior!r}")
        posterior = posteriors.get(posterior)
        _check_prior(objective, prior)
        _check_posterior(posterior, objective, prior)
        if arguments.not_negative(free_bits, "free_bits"):
            _check_free_bits(objective, prior)
        if arguments.not_negative(total_free_bits, "total_free_bits"):
            _check_total_free_bits(objective, free_bits)
        posterior.prepare(encoder, decoder)
        super().__init__(encoder, decoder, **kwargs)
        if schema is not None:
            self.schema = _checked(schema, self.likelihood)
        self.prior = prior
        self.posterior = posterior
        self.sampling = Sampling(self.seed)
        self.objective = objective
        self.num_samples = objective.num_samples
        self.free_bits = float(free_bits)
        self.total_free_bits = float(total_free_bits)
        self.kl_schedule = schedule
        self.initial_kl_weight = first_weight
        self.kl_weight = self.add_weight(
            name="kl_weight",
            shape=(),
            initializer=keras.initializers.Constant(first_weight),
            dtype="float32",
            trainable=False,
        )
        self.epochs_trained = None
        if schedule:
            self.epochs_trained = self.add_weight(
                name="epochs_trained", shape=(), initializer="zeros", dtype="int32", trainable=False
            )

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.prior.build_for(self)

    def call(
        self,
        inputs: Any,
        sample_weight: Tensor | None = None,
        draw: int | bool | None = None,
        training: bool | None = None,
    ) -> dict[str, Tensor]:
        x, condition = self.network_inputs(inputs, training=training)
        draws = int(bool(training) if draw is None else draw)
        q = self.infer(x, condition, training=training)  # q(z|x, c)
        z, given = q.draw(self.sampling if draws else None, max(draws, 1))
        p = self.prior(condition)  # p(z|c)
        kl = q.kl(p, by_draw(z, max(draws, 1)), given)
        if self.objective.adds_kl:
            self.add_loss(self.kl_weight * self._counted_kl(kl, q, p, given, sample_weight))
        code = self.objective.gradient_gate(z) if draws else {"z": z}
        rows = repeat(condition, max(draws, 1))
        decoded = self._decoded_code(code["z"], condition, training)
        return {
            "parameters": self.decoder(join(decoded, rows), training=training),  # p(x|z, c)
            "z_mean": _by_row(given.loc),
            "z_log_var": _by_row(given.log_var),
            "kl": kl,
            **code,
            **({} if condition is None else {"condition": condition}),
        }

    def _decoded_code(self, z, condition, training):
        """What the decoder is to see in place of codes `(draws * batch, latent)`."""
        return z

    def _counted_kl(self, kl, q, p, given, sample_weight):
        """The KL averaged over the batch, no less than the free bits."""
        if self.total_free_bits:
            if sample_weight is not None:
                kl = kl * ops.cast(ops.reshape(sample_weight, (-1,)), kl.dtype)
            return ops.maximum(ops.mean(replica.current().gather(kl)), self.total_free_bits)
        if not self.free_bits:
            return weighted_mean(kl, sample_weight)
        by_dimension = q.kl_by_value(p, given)
        if sample_weight is not None:
            weight = ops.cast(ops.reshape(sample_weight, (-1, 1)), by_dimension.dtype)
            by_dimension = by_dimension * weight
        by_dimension = ops.mean(replica.current().gather(by_dimension), axis=0)
        return ops.sum(ops.maximum(by_dimension, self.free_bits))

    def objective_loss(
        self, outputs: dict[str, Tensor], log_likelihood: Tensor, sample_weight: Tensor | None
    ) -> Loss:
        average = functools.partial(weighted_mean, sample_weight=sample_weight)
        given = Normal(outputs["z_mean"], outputs["z_log_var"])
        if not self.posterior.is_diagonal:
            given = Normal(*(by_draw(t, self.num_samples) for t in (given.loc, given.log_var)))
        p = self.prior(outputs.get("condition")) if self.objective.uses_prior else None
        loss = self.objective(
            given,
            p,
            outputs["z"],
            log_likelihood,
            average,
            kl_weight=self.kl_weight,
            prior_codes=functools.partial(self._prior_codes, outputs.get("condition")),
            gate=outputs.get("gate"),
        )
        return Loss(loss.total, {**loss.terms, "kl_loss": average(outputs["kl"])})

    def _prior_codes(self, condition, like):
        """Codes of the prior, as many as there are `(draws, batch, latent)`, of all replicas."""
        draws, batch, _ = ops.shape(like)
        seed = keras.random.randint((1,), 0, 2**31 - 1, seed=self.seed_generator)
        index = ops.arange(draws * batch, dtype="int32")
        if condition is not None:
            condition = ops.tile(replica.current().gather(condition), (draws, 1))
        # What was gathered from replicas does not know its shape.
        return self.prior.draw(seed, index, ops.ones((1,)), self.latent_dim, condition)

    def _add_callbacks(self, callbacks):
        callbacks = super()._add_callbacks(callbacks)
        if self.kl_schedule:
            callbacks = [CountEpochs(), *callbacks, ScheduledKLWeight(self.kl_schedule)]
        return callbacks

    def _check_code(self, code):
        return super()._check_code(self.posterior.check(code))

    def infer(
        self, x: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> Distribution:
        """The posterior of a batch, as tensors.

        Args:
            x: Float tensor `(batch, *data_shape)`.
            condition: Optional float tensor `(batch, size)`, from `encode_condition`.
            training: Bool.

        Returns:
            Distribution of codes, as `posteriors.Posterior` gives it.
        """
        heads = self.encoder(join(x, condition), training=training)
        return self.posterior(heads, condition, self.decoder)

    def code(
        self, x: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        marginals = self.infer(x, condition, training=training).marginals()
        return marginals.loc, marginals.log_var

    def sample(
        self,
        count: int = 1,
        temperature: float = 1.0,
        seed: int | None = None,
        observation: bool | None = None,
    ) -> NDArray[np.float32]:
        """Decode codes drawn from the prior.

        Args:
            count: Int. Number of samples.
            temperature: Float, at least 0. Scales the prior's standard deviation.
            seed: Optional int, from 0 to 2^31 - 1. The same seed gives the same codes on every
                backend and on devices.
            observation: Optional bool. Whether data are drawn from the likelihood, too, rather than
                its mean taken; of a `likelihoods.Table` or a `Gaussian`, whose draws are the same
                everywhere. Default: `observes`.

        Returns:
            float32 array `(count, *data_shape)`, the likelihood's mean or draws.
        """
        if isinstance(count, dict):
            raise ValueError(
                f"`{type(self).__name__}` has no conditions. Received: {sorted(map(str, count))}. "
                f"Pass sample(count=16), or train a {self.conditional_class}."
            )
        self._ensure_built()
        seed = seeds.given_or_drawn(seed)
        z = self.prior.sample(count, self.latent_dim, temperature, seed)
        return self._made(z, {}, observation, seed)

    def _made(self, z, conditions, observation, seed):
        """What codes are decoded to: the likelihood's mean, or draws from it."""
        observation = self.observes if observation is None else observation
        if not observation:
            return self.decode(z, conditions)
        if not self.likelihood.observes:
            raise ValueError(
                "`observation=True` needs a likelihoods.Table or a Gaussian, whose draws are the "
                f"same everywhere. Received: {self.likelihood.name}. Leave it out, for the "
                "likelihood's mean."
            )
        index = np.arange(len(z), dtype="int32")
        size = math.prod(self.data_shape)
        noise = self.likelihood.noise(np.array([seed], "int32"), index, self.latent_dim, size=size)

        def draw(batch):
            given = {name: batch[name] for name in self.condition}
            parameters = self.decode_parameters(batch["z"], given)
            return [self.likelihood.from_noise(parameters, batch["normal"], batch["uniform"])]

        arrays = {"z": z, "normal": noise[0], "uniform": noise[1], **conditions}
        return in_batches(self.as_compiled(draw), arrays, 256)[0]

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`; an exact model is not trained.

        Raises:
            ValueError: If the model is exact, or an argument is wrong.
        """
        if self.is_exact:
            raise ValueError(
                "An exact model is not trained. Train the one that it was made of, and call its "
                "as_exact() again."
            )
        return super().fit(*args, **kwargs)

    @property
    def is_exact(self) -> bool:
        """Whether the decoder computes with whole numbers, and draws the same everywhere."""
        return isinstance(self.decoder, exact.MayBeExact) and self.decoder.exact

    def as_exact(self) -> Self:
        """Make a model whose decoder computes with whole numbers: `networks.exact`.

        For one seed it draws the same tokens, or rows of a table, on every backend and in every
        exported file, to the last one, because it rounds nothing that could be rounded in two ways.
        It is a function of this model's weights alone, needs no data, and is not trained.

        Returns:
            A model of the same class; an exact model returns itself.

        Raises:
            ValueError: If the decoder draws neither, or is a GRU or a conductor; a column is a
                count; a condition is of real numbers; the prior is none whose draws are the same
                bits everywhere; or weights are too large.
        """
        if self.is_exact:
            return self
        exact.check(self)
        self._ensure_built()
        config = self.get_config()
        config["decoder"] = exact.config_of(self.decoder)
        if "likelihood" in config:
            config["likelihood"] = keras.saving.serialize_keras_object(self.likelihood.as_exact())
        model = type(self).from_config(config)
        model.build()
        exact.copy(self, model)
        if isinstance(self.prior, fitted.FittedMixture):  # whose parameters are no weights
            model.replace_prior(self.prior)
        return model

    def impute(
        self, inputs: Examples, batch_size: int = 256, num_samples: int = 100, seed: int = 0
    ) -> NDArray[np.float32]:
        """Fill what is missing in rows of a table with what is expected, given what is not.

        That is the mean of the likelihood over codes given what is known of a row, of categories
        the likeliest. Codes are drawn from the posterior, and their means weighted by
        `p(x known|z) p(z) / q(z|x known)`, whose sum is made 1: where the encoder errs about a row
        with gaps, the weights tell. What is not missing stays as it is.

        Args:
            inputs: As in `fit`, NaN where a value is missing, as `TableSchema.encode` gives them.
            batch_size: Int. Examples computed at once, fewer where rows are wide.
            num_samples: Int, at least 1. Codes drawn for each row with gaps.
            seed: Int, at least 0, of the draws.

        Returns:
            float32 array `(n, columns)`, for `TableSchema.decode`.

        Raises:
            ValueError: If the likelihood takes no missing values.

        References:
            - Mattei & Frellsen, 2019, section 3. https://arxiv.org/abs/1812.02633
        """
        if not self.likelihood.takes_missing:
            raise ValueError(
                "`impute` needs a likelihoods.Table, which takes missing values. Received: "
                f"{self.likelihood.name}."
            )
        num_samples = arguments.whole(num_samples, "num_samples")
        inputs = model_inputs.check_examples(self, inputs)
        x = self.named_inputs(inputs)[0]
        x = np.array(model_inputs.to_numpy(x), "float32")
        [rows] = np.nonzero(np.isnan(x).any(axis=1))
        if len(rows):
            some = keras.tree.map_structure(lambda array: array[rows], inputs)
            mean = self._expected(some, batch_size, num_samples, seed)
            x[rows] = self.likelihood.fill(x[rows], mean)
        return x

    def _expected(self, inputs, batch_size, num_samples, seed):
        """The likelihood's mean over codes given what is known of each row."""
        heads_of = self.as_compiled(self._heads)

        @self.as_compiled
        def mean(x, condition, noise, *heads):
            log_weights, parameters = self._weighted(x, condition, noise, *heads)
            return self.likelihood(parameters).mean_of_draws(ops.softmax(log_weights, axis=0))

        def expected(batch):
            noise = self._noise(streams_of(seed, batch["index"]), num_samples)
            x, condition, heads = heads_of(batch["inputs"])
            return [mean(x, condition, noise, *heads)]

        examples = len(keras.tree.flatten(inputs)[0])
        most = MOST_PARAMETERS // (num_samples * self.likelihood.layout.size)
        arrays = {"inputs": inputs, "index": np.arange(examples)}
        return in_batches(expected, arrays, max(1, min(batch_size, most)))[0]

    def fit_prior(
        self,
        inputs: Examples,
        kind: Literal["gaussian", "mixture", "kernel_density", "auto"] = "mixture",
        per_class: bool | str | None = None,
        num_components: int | None = None,
        batch_size: int = 256,
        seed: int | None = None,
    ) -> FittedMixture:
        """Replace the prior by one fitted to the codes of data, after training.

        The codes that the decoder has seen are those of the aggregated posterior, the mean of
        `q(z|x)` over the data, and N(0, I) may put samples where there are none. One code is
        drawn for each example, and a density fitted to them through scikit-learn; it is saved
        with the model and drawn from by `sample` and by exported files.

        Args:
            inputs: As in `fit`: the training data.
            kind: `"gaussian"`, diagonal; `"mixture"`, of diagonal Gaussians;
                `"kernel_density"`, one equal Gaussian for each of some codes; or `"auto"`, of
                these the one under which a fifth of the codes, set apart, is likeliest, fitted to
                all in the end (`evaluation.choose_prior` judges by samples instead).
            per_class: Whether to fit one density for each class, and one to all codes for
                *unknown*; with several labels, the name of one. Defaults to whether the model has
                one label.
            num_components: Optional int, for each class. Defaults to 10 for a mixture, and for a
                kernel density to 500 or the number of examples of the smallest class.
            batch_size: Int. Examples encoded at once.
            seed: Optional int, for the draws and the fit.

        Returns:
            The prior, a `priors.FittedMixture`, now `model.prior`. If it takes the place of one
            with trainable weights, the optimizer starts anew. `free_bits` are 0 from then on:
            the KL from a mixture is no sum over dimensions.

        Raises:
            ValueError: If the model is not trained, or there are too few examples of a class.
            ImportError: Without scikit-learn.

        References:
            - Ghosh et al., 2020, section 4, for deterministic codes.
              https://arxiv.org/abs/1903.12436
        """
        codes, labels, table = self._codes_to_fit(inputs, per_class, batch_size, seed)
        if kind != "auto":
            self.replace_prior(fitted.fit(codes, labels, kind, num_components, **table))
            return self.prior
        if num_components is not None:
            raise ValueError("`num_components` goes with one kind of prior. Received: 'auto'.")
        rows = table["rng"].permutation(len(codes))
        held_out, rest = np.split(rows, [len(rows) // 5])
        found = fitted.candidates(*fitted.part(codes, labels, rest), **table)
        scores = {
            name: fitted.mean_log_prob(prior, *fitted.part(codes, labels, held_out))
            for name, prior in found.items()
        }
        best = max(scores, key=scores.get)
        self.replace_prior(fitted.candidates(codes, labels, **table, only=best)[best])
        return self.prior

    def fill_labels(self, inputs: Examples, batch_size: int = 256) -> Any:
        """Inputs, checked; a conditional model puts classes in the place of unknown labels."""
        return model_inputs.check_examples(self, inputs)

    def prior_candidates(
        self,
        inputs: Examples,
        per_class: bool | str | None = None,
        batch_size: int = 256,
        seed: int | None = None,
    ) -> dict[str, FittedMixture]:
        """Fit every kind of prior that there are codes enough for, and leave `prior` as it is.

        Args:
            inputs, per_class, batch_size, seed: As for `fit_prior`.

        Returns:
            Dict from a name, such as `"mixture of 3"`, to a `priors.FittedMixture`, for
            `replace_prior`.
        """
        codes, labels, table = self._codes_to_fit(inputs, per_class, batch_size, seed)
        return fitted.candidates(codes, labels, **table)

    def _codes_to_fit(self, inputs, per_class, batch_size, seed):
        """A code of every example, their rows of the mixture, and what else a fit takes."""
        if not self.built:
            raise ValueError(
                f"`fit_prior` needs a trained model. Received: a {type(self).__name__} that is "
                "not built. Call fit first."
            )
        inputs = self.fill_labels(inputs, batch_size)
        name = fitted.label_of(self, per_class)
        rng = seeds.generator(seed, "fit_prior")
        labels, table = None, {"rng": rng}
        if name is not None:
            kind, labels = self.condition[name], inputs[name]
            table["classes"] = [entry for entry in fitted.classes_of(self) if entry[0] == name]
            table |= {"names": kind.names, "members": kind.members}
        return self.draw_codes(inputs, rng, batch_size), labels, table

    def draw_codes(
        self, inputs: Examples, seed: int | np.random.Generator | None = None, batch_size: int = 256
    ) -> NDArray[np.float32]:
        """Draw a code from the posterior of every example.

        Args:
            inputs: As in `fit`.
            seed: Optional int or NumPy generator, for the noise, which NumPy draws: the same on
                every backend.
            batch_size: Int. Examples encoded at once.

        Returns:
            float32 array `(n, latent)`.
        """
        inputs = self.as_observed(model_inputs.check_examples(self, inputs), seed)
        count = len(keras.tree.flatten(inputs)[0])
        rng = seeds.generator(seed, "codes")
        noise = rng.standard_normal((count, self.latent_dim), "float32")

        def draw(batch):
            x, condition = self.network_inputs(batch["inputs"], training=False)
            q = self.infer(x, condition, training=False)
            return [q.draw(with_noise(batch["noise"]))[0]]

        arrays = {"inputs": inputs, "noise": noise}
        return in_batches(self.as_compiled(draw), arrays, batch_size)[0]

    def kl_by_dimension(
        self, inputs: Examples, batch_size: int = 256
    ) -> NDArray[np.float32] | None:
        """What each latent dimension costs.

        Args:
            inputs: As in `fit`.
            batch_size: Int. Examples encoded at once.

        Returns:
            float32 array `(n, latent)`, nats per example, which add up to the KL divergence (of a
            ladder, to that of each level given the mean of those above); None for a prior whose KL
            is no sum over the dimensions.
        """
        if not self.prior.kl_adds_up:
            return None

        def measure(batch):
            x, condition = self.network_inputs(batch, training=False)
            q = self.infer(x, condition, training=False)
            return [q.kl_by_value(self.prior(condition))]

        inputs = model_inputs.check_examples(self, inputs)
        return in_batches(self.as_compiled(measure), inputs, batch_size)[0]

    def replace_prior(self, prior: Prior) -> None:
        """Change the prior of a built model, to which Keras lets no part be added.

        Args:
            prior: Object of `keras_vae.priors`. If it takes the place of one with trainable
                weights, or has some, the optimizer starts anew; `free_bits` are 0 from then on if
                its KL is no sum over dimensions.

        Raises:
            ValueError: If it does not fit the model.
        """
        prior.build_for(self)
        self.forget_calibration()
        trainable = len(self.trainable_variables)
        with keras_internals.unlocked(self):
            if isinstance(self.prior, keras.layers.Layer):
                keras_internals.untrack(self, self.prior)
                del self.prior  # PyTorch lets a module give way to modules alone
            self.prior = prior
        if not prior.kl_adds_up:
            self.free_bits = 0.0
        self.forget_compiled()
        if self.compiled and len(self.trainable_variables) != trainable:
            self.compile_from_config(self.get_compile_config())

    def log_likelihood(
        self,
        inputs: Examples,
        num_samples: int | Sequence[int] = 5000,
        batch_size: int = 64,
        seed: int | None = None,
        with_error: bool = False,
        progress: Callable[..., Any] | None = None,
    ) -> NDArray[np.float32] | Any:
        """Estimate `log p(x)` by importance sampling from the posterior.

        Computes `logsumexp_k(log p(x|z_k) + log p(z_k) - log q(z_k|x)) - log K`, a lower bound in
        expectation that tightens as K grows. The noise is drawn by NumPy, for each example from a
        stream of its own: a seed gives the same codes on every backend, with any `batch_size` and
        whatever examples follow.

        Args:
            inputs: As in `fit`.
            num_samples: Int, K; or several, which take one pass: the fewer samples are the first
                of the more.
            batch_size: Int. Examples computed at once; memory is that of `batch_size` times about
                `8192 / batch_size` decoded samples, whatever `num_samples` is.
            seed: Optional int, at least 0.
            with_error: Whether to return also the estimates' standard errors, those of the draws
                alone (the delta method; NaN for K = 1).
            progress: Optional function from an iterable of batch starts to the same iterable.

        Returns:
            float32 array `(n,)`, nats per example; of several `num_samples`, `(len(num_samples),
            n)`. With errors, a tuple of two such arrays.

        References:
            - Burda et al., 2016, eq. 8. https://arxiv.org/abs/1509.00519
        """
        several = isinstance(num_samples, list | tuple)
        given = [
            arguments.whole(k, "num_samples") for k in (num_samples if several else [num_samples])
        ]
        counts = sorted(set(given))
        if not counts:
            raise ValueError("`num_samples` must hold at least one number. Received: none.")
        seed = seeds.given_or_drawn(seed)
        inputs = self.as_observed(model_inputs.check_examples(self, inputs), seed)
        examples = len(keras.tree.flatten(inputs)[0])
        at_once = max(1, 8192 // batch_size)
        heads_of = self.as_compiled(self._heads)
        log_weights = self.as_compiled(self._log_weights)

        def estimate(batch):
            x, condition, heads = heads_of(batch["inputs"])
            streams = streams_of(seed, batch["index"])

            def chunks():
                for start in range(0, counts[-1], at_once):
                    noise = self._noise(streams, min(at_once, counts[-1] - start))
                    yield ops.convert_to_numpy(log_weights(x, condition, noise, *heads))

            return [array.T for array in importance.log_mean(chunks(), counts)]

        arrays = {"inputs": inputs, "index": np.arange(examples)}
        found = in_batches(estimate, arrays, batch_size, progress)
        chosen = [counts.index(k) for k in given]
        log_prob, errors = (
            array.T[chosen if several else chosen[0]].astype("float32") for array in found
        )
        return (log_prob, errors) if with_error else log_prob

    def _heads(self, inputs):
        """Of a batch `x`, the vector of its conditions or None, and what the encoder gives."""
        x, condition = self.network_inputs(inputs, training=False)
        return x, condition, tuple(self.encoder(join(x, condition), training=False))

    def _noise(self, streams, draws):
        """N(0, 1) for so many codes of each example, `(draws, batch, latent)`."""
        noise = [stream.standard_normal((draws, self.latent_dim), "float32") for stream in streams]
        return ops.convert_to_tensor(np.stack(noise, axis=1))

    def _log_weights(self, x, condition, noise, *heads):
        """Log importance weights `(draws, batch)` of codes drawn from the posterior."""
        return self._weighted(x, condition, noise, *heads)[0]

    def _weighted(self, x, condition, noise, *heads):
        """As `_log_weights`, and what the decoder gives, `(draws * batch, ...)`."""
        shape = draws, batch, latent_dim = ops.shape(noise)
        q = self.posterior(heads, condition, self.decoder)
        z, given = q.draw(with_noise(ops.reshape(noise, (-1, latent_dim))), draws)
        # By the noise, as a difference from a mean would lose what is left of a small variance.
        log_q = distributions.StandardNormal().log_prob(noise) - ops.sum(given.log_var, axis=-1) / 2
        parameters = self.decoder(join(z, repeat(condition, draws)), training=False)
        log_px = self.likelihood(parameters).log_prob(repeat(ops.cast(x, "float32"), draws))
        log_pz = self.prior(condition).log_prob(ops.reshape(z, shape))
        return ops.reshape(log_px, (draws, batch)) + log_pz - log_q, parameters

    def load_own_variables(self, store: Any) -> None:
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118 - it is no dict
        if self.epochs_trained is not None:
            # Files of before it was saved do not say; then the schedule begins anew.
            own.setdefault("1", np.zeros((), "int32"))
        super().load_own_variables(own)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "prior": serialize(self.prior),
            "posterior": serialize(self.posterior),
            "kl_weight": serialize(self.kl_schedule or self.initial_kl_weight),
            "free_bits": self.free_bits,
            # Where it is left out, earlier versions read the file, too.
            **({"total_free_bits": self.total_free_bits} if self.total_free_bits else {}),
            "objective": serialize(self.objective),
            **({} if self.schema is None else {"schema": serialize(self.schema)}),
        }


def _by_row(tensor):
    """Join `(draws, batch, latent)` to `(draws * batch, latent)`; of one draw nothing."""
    return ops.reshape(tensor, (-1, tensor.shape[-1])) if len(tensor.shape) > 2 else tensor


def streams_of(seed, index):
    """A generator for each example, begun anew: a batch may be computed again, in smaller parts."""
    return [
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(at,)))
        for at in ops.convert_to_numpy(index).tolist()
    ]


def with_noise(noise):
    """A sampling function, as `draw` takes it, of noise that is given."""
    return lambda z_mean, z_log_var: Normal(z_mean, z_log_var).from_noise(noise)


def _checked(schema, likelihood):
    """A schema, or a ValueError if the likelihood is none of its columns."""
    if isinstance(schema, SeriesSchema):
        if not isinstance(likelihood, LocationScale):
            raise ValueError(
                "A series needs a likelihood of any numbers, Gaussian or Laplace. Received: "
                f"{likelihood.name}."
            )
        return schema
    if not isinstance(schema, TableSchema):
        raise ValueError(
            "`schema` must be a data.TableSchema or a data.SeriesSchema. Received: "
            f"{type(schema).__name__}."
        )
    if not likelihood.observes or likelihood.layout.blocks != schema.blocks:
        raise ValueError(
            "`schema` needs the likelihood of its columns, likelihoods.Table(schema.blocks). "
            f"Received: {likelihood.name}, of others."
        )
    return schema


def _check_prior(objective, prior):
    """Refuse an objective that draws from a prior which is drawn from only after training."""
    if objective.draws_prior and not prior.draws_in_training:
        raise ValueError(
            f"{type(objective).__name__} needs a prior to draw from while it is learned: "
            "StandardNormal, ConditionalNormal or RealNVP. Received: "
            f"{type(prior).__name__}"
        )


def _check_posterior(posterior, objective, prior):
    """Refuse what reads a posterior as one of independent entries where it is none."""
    if posterior.is_diagonal:
        return
    if objective.needs_diagonal:
        gradient = objective.get_config().get("gradient")
        of_gradient = f"(gradient={gradient!r})" if gradient else ""
        raise ValueError(
            f"{type(objective).__name__}{of_gradient} needs the diagonal posterior. Received: "
            f"{type(posterior).__name__}, which works with ELBO(), MMD() and "
            'IWAE(gradient="reparameterized").'
        )
    if isinstance(prior, VampPrior):
        raise ValueError(
            f"VampPrior, a mixture of diagonal posteriors, needs the diagonal posterior. Received: "
            f"{type(posterior).__name__}."
        )


def _check_total_free_bits(objective, free_bits):
    if free_bits:
        raise ValueError(
            "One of `free_bits` and `total_free_bits` must be 0. Received: both above."
        )
    if not objective.adds_kl:
        raise ValueError(
            f"`total_free_bits` must be 0 with {type(objective).__name__}, whose loss has no KL "
            "term."
        )


def _check_free_bits(objective, prior):
    """Refuse free bits where they would do nothing, or cannot be had."""
    if not objective.adds_kl:
        raise ValueError(
            f"`free_bits` must be 0 with {type(objective).__name__}, whose loss has no KL term."
        )
    if not prior.kl_adds_up:
        raise ValueError(
            "`free_bits` needs a prior whose KL is a sum over the latent dimensions, such as "
            f"StandardNormal. Received: {type(prior).__name__}"
        )
