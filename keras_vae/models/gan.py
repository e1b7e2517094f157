"""The generative adversarial network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import keras
from keras import ops

from keras_vae import arguments, replica
from keras_vae.exceptions import reason
from keras_vae.models import logits
from keras_vae.models.capabilities import Adversarial, Samples
from keras_vae.models.generative import GenerativeModel, join
from keras_vae.models.vae import VAE
from keras_vae.priors import StandardNormal
from keras_vae.training import datasets
from keras_vae.training.players import JointOptimizer, as_optimizer
from keras_vae.training.steps import Player
from keras_vae.type_aliases import Conditions, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class GAN(GenerativeModel, Samples, Adversarial):
    """Generator and discriminator, each trained against the other inside one step.

    With `D(x)` the discriminator's logit of *real* and `G(z)` the likelihood's mean, a step first
    lowers the discriminator's loss `softplus(-D(x)) + softplus(D(G(z)))` by its weights and then,
    with fresh draws of `z`, the generator's non-saturating loss `softplus(-D(G(z)))` by those of
    the generator: cross-entropies in nats per example, averaged over the batch. At equilibrium
    they are 2 log 2 and log 2.

    Args:
        generator: Keras model from `z` to the likelihood's parameters, such as `DenseDecoder`: to
            the logits of the pixels.
        discriminator: Keras model from `x` to a logit `(batch, 1)`, such as `DenseDiscriminator`.
            It sees real and generated images side by side in one batch.
        latent_dim: Int, size of `z`, which is drawn from N(0, I).
        label_smoothing: Float in [0, 1). Real images count as *generated* to this share; generated
            ones never as real.
        likelihood: Name or object of `keras_vae.likelihoods`.
        seed: Optional int, for the draws and the order of the batches.

    Call arguments:
        inputs: `z`, float `(batch, latent)`, or a list of it and the condition, as the generator
            takes it.
        training: Bool.

    Returns:
        The generator's output, `(batch, *data_shape)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> gan = keras_vae.GAN(
    ...     keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,)),
    ...     keras_vae.networks.DenseDiscriminator(hidden_units=(8,)),
    ...     latent_dim=2,
    ... )
    >>> gan.compile("adam")
    >>> history = gan.fit(np.zeros((16, 4, 4, 1), "float32"), verbose=0)
    >>> gan.sample(3, seed=0).shape
    (3, 4, 4, 1)

    See also:
        `ConditionalGAN`; `VAE`, which has a bound of the likelihood.

    References:
        - Goodfellow et al., 2014, algorithm 1 with one step of each. https://arxiv.org/abs/1406.2661
        - Salimans et al., 2016, section 3.4, for the smoothing. https://arxiv.org/abs/1606.03498
    """

    has_one_loss = False
    conditional_class = "ConditionalGAN"
    has_target = False

    def __init__(
        self,
        generator: Any,
        discriminator: Any,
        latent_dim: int,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        latent_dim = arguments.whole(latent_dim, "latent_dim")
        label_smoothing = arguments.part_of_one(label_smoothing, "label_smoothing")
        super().__init__({"generator": generator, "discriminator": discriminator}, **kwargs)
        self.latent_dim = latent_dim
        self.label_smoothing = label_smoothing
        self.prior = StandardNormal()
        self.prior.build_for(self)

    @property
    def decoder(self) -> Any:
        """The generator, by the name that all models have for it."""
        return self.generator

    def build(self, input_shape: Any = None) -> None:
        """Create all weights.

        Args:
            input_shape: Optional shape of `x` with its batch axis, or a dict that has it under
                `"x"`, to compare with what the generator makes.
        """
        if isinstance(input_shape, dict):
            input_shape = input_shape["x"]
        condition = keras.KerasTensor((None, self.conditioning.size)) if self.condition else None
        beside = f" and a condition of size {self.conditioning.size}" if self.condition else ""
        try:
            made = self.generator(join(keras.KerasTensor((None, self.latent_dim)), condition))
        except (ValueError, TypeError) as err:
            raise ValueError(
                f"The generator must accept codes of size {self.latent_dim}{beside}. It raised: "
                f"{reason(err)}"
            ) from err
        data_shape = tuple(getattr(made, "shape", ())[1:])
        if not data_shape:
            raise ValueError(
                "The generator must return one tensor, the likelihood's parameters. Received: "
                f"{type(made).__name__}."
            )
        if input_shape is not None and tuple(input_shape[1:]) != data_shape:
            raise ValueError(
                f"The generator must make what the data are, {tuple(input_shape[1:])}. Received: "
                f"{data_shape}. Set the generator's output_shape."
            )
        try:
            judged = self.discriminator(keras.KerasTensor((None, *data_shape)))
        except (ValueError, TypeError) as err:
            raise ValueError(
                f"The discriminator must accept examples of shape {data_shape}. It raised: "
                f"{reason(err)}"
            ) from err
        self._check_judgement(judged)
        self.data_shape = data_shape
        self.built = True

    def _check_judgement(self, judged):
        """Check what the discriminator returns, given as symbolic tensors."""
        shapes = [tuple(head.shape) for head in keras.tree.flatten(judged)]
        if shapes not in ([(None, 1)], [(None,)]):
            raise ValueError(
                f"The discriminator of a `{type(self).__name__}` must return one logit per "
                f"example, (batch, 1). Received: {shapes}."
            )

    def check_logits(self, by_values: bool = True) -> None:
        code, images = [], []
        if by_values and self.built:
            code.append((None, self.latent_dim))
            code += [(None, self.conditioning.size)] if self.condition else []
            images = [(None, *self.data_shape)]
        if self.likelihood.takes_logits:
            why = f"the {self.likelihood.name} likelihood takes its logits, of any size"
            logits.check(self.generator, "generator", why, code)
        why = "the loss takes its logits, of any size"
        logits.check(self.discriminator, "discriminator", why, images)

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        return self.generator(inputs, training=training)

    # The losses

    @property
    def players(self) -> tuple[Player, ...]:
        """The discriminator, which moves first, and the generator."""
        of_generator, of_discriminator = self.optimizer.optimizers
        return (
            Player(self.discriminator_loss, self.discriminator, of_discriminator),
            Player(self.generator_loss, self.generator, of_generator),
        )

    def loss_and_terms(self, data: Any, training: bool) -> tuple[None, dict[str, Tensor]]:
        """Measure both losses of a batch: None, as nobody lowers their sum, and their terms."""
        _, terms = self.discriminator_loss(data, training)
        _, more = self.generator_loss(data, training)
        return None, {**terms, **more}

    def discriminator_loss(self, data: Any, training: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw images and measure how well the discriminator tells them from a batch.

        Args:
            data: `x`, or a tuple of `x`, a target that is not looked at, and sample weights, which
                weight the real examples.
            training: Bool.

        Returns:
            Tuple of the discriminator's loss and a dict of its terms, float32 scalars in nats per
            example.
        """
        inputs, _, sample_weight = datasets.unpack(self, data)
        given, conditions = self.named_inputs(inputs)
        x = self.as_values(given)
        seen = self._seen(conditions, training)
        condition = self.encode_condition(seen, training=False)
        made = ops.stop_gradient(self._generate(x, condition, training))
        judged = self.discriminator(
            ops.concatenate([ops.cast(x, made.dtype), made]), training=training
        )
        real, generated = zip(*map(_halves, keras.tree.flatten(judged)), strict=True)
        weight = ops.ones_like(real[0])
        if sample_weight is not None:
            weight = ops.cast(ops.reshape(sample_weight, (-1,)), weight.dtype)
        # A product, because NaN must reach the gradient as well.
        weight = weight * self._validity(given, x, conditions)
        loss, terms = self.discriminator_terms(real, generated, seen, weight)
        return loss + sum(self.discriminator.losses), terms

    def generator_loss(self, data: Any, training: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw images and measure how well the discriminator sees through them.

        Args:
            data: As for `discriminator_loss`; only the number of examples and their conditions
                count.
            training: Bool.

        Returns:
            Tuple of the generator's loss and a dict of its terms, float32 scalars in nats per
            example.
        """
        inputs, _, _ = datasets.unpack(self, data)
        x, conditions = self.named_inputs(inputs)
        conditions = self._seen(conditions, training)
        condition = self.encode_condition(conditions, training=False)
        judged = self.discriminator(self._generate(x, condition, training), training=training)
        generated = [_float(head) for head in keras.tree.flatten(judged)]
        loss, terms = self.generator_terms(generated, conditions)
        return loss + sum(self.generator.losses), terms

    def _seen(self, conditions, training):
        """The conditions as the generator sees them, of which training hides some."""
        return self.conditioning.hide(conditions) if training and self.condition else conditions

    def discriminator_terms(
        self,
        real: Sequence[Tensor],
        generated: Sequence[Tensor],
        conditions: Conditions,
        weight: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's loss and its terms.

        Args:
            real, generated: What the discriminator says of either, a tuple of logits `(batch,)`
                and, with a class head, what it says of the conditions `(batch, size)`.
            conditions: Dict of tensors, the conditions of both; empty without any.
            weight: Float tensor `(batch,)`, of the real examples.
        """
        as_real, as_generated = ops.softplus(-real[0]), ops.softplus(real[0])
        cross_entropy = (1 - self.label_smoothing) * as_real + self.label_smoothing * as_generated
        loss = ops.mean(cross_entropy * weight) + ops.mean(ops.softplus(generated[0]))
        return loss, {"discriminator_loss": loss}

    def generator_terms(
        self, generated: Sequence[Tensor], conditions: Conditions
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss and its terms; the arguments are those of `discriminator_terms`."""
        loss = ops.mean(ops.softplus(-generated[0]))
        return loss, {"generator_loss": loss}

    def _generate(self, x, condition, training):
        """As many images as there are examples, `(batch, *data_shape)`, each of a new code."""
        shape = (ops.shape(x)[0], self.latent_dim)
        draw = replica.current().draw
        z = draw(keras.random.normal, shape, dtype="float32", seed=self.seed_generator)
        parameters = self.generator(join(z, condition), training=training)
        return self.likelihood.mean(ops.cast(parameters, "float32"))

    # Plain Keras, with the edges checked

    def compile(
        self, optimizer: Any = "adam", discriminator_optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Configure training, as in Keras.

        Args:
            optimizer: Keras optimizer of the generator.
            discriminator_optimizer: Keras optimizer of the discriminator. Defaults to another one
                with the same settings.
            **kwargs: As for every model of this package. In mixed float16 each optimizer finds a
                loss scale of its own.
        """
        optimizer = as_optimizer(optimizer, "optimizer")
        if discriminator_optimizer is None:
            discriminator_optimizer = type(optimizer).from_config(optimizer.get_config())
        optimizers = [optimizer, as_optimizer(discriminator_optimizer, "discriminator_optimizer")]
        if optimizers[0] is optimizers[1]:
            raise ValueError(
                "`optimizer` and `discriminator_optimizer` must be two optimizers, because each "
                "has a state of its own. Received: one. Leave the second out to have it copied."
            )
        if kwargs.pop("auto_scale_loss", True) and self.dtype_policy.name == "mixed_float16":
            optimizers = [_with_loss_scale(each) for each in optimizers]
        joint = JointOptimizer(optimizers, lambda: (self.generator, self.discriminator))
        super().compile(optimizer=joint, auto_scale_loss=False, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        if not config:
            return config
        optimizer, discriminator_optimizer = config["optimizer"]["config"]["optimizers"]
        return {
            **config,
            "optimizer": optimizer,
            "discriminator_optimizer": discriminator_optimizer,
        }

    def predict(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(
            f"A `{type(self).__name__}` has no encoder, so it reconstructs nothing. Use `sample` "
            "or `decode`."
        )

    # A code is drawn and decoded as a VAE's is.
    sample, _made = VAE.sample, VAE._made

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "label_smoothing": self.label_smoothing,
        }


def _halves(head):
    """A head's values `(batch, ...)` for the real images and for the generated ones."""
    head = _float(head)
    count = ops.shape(head)[0] // 2
    return head[:count], head[count:]


def _float(head):
    """A head in float32; logits `(batch, 1)` as `(batch,)`."""
    head = ops.cast(head, "float32")
    return head[:, 0] if len(head.shape) == 2 and head.shape[1] == 1 else head


def _with_loss_scale(optimizer):
    scaled = keras.optimizers.LossScaleOptimizer
    return optimizer if isinstance(optimizer, scaled) else scaled(optimizer)
