"""The conditional generative adversarial network, by an auxiliary classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.models.conditional_vae import ConditionalVAE
from keras_vae.models.gan import GAN
from keras_vae.training import inputs as model_inputs
from keras_vae.type_aliases import Conditions, Tensor

# What numbers count by: the standard deviation of a Gaussian, in halves of their range.
NUMBER_SCALE = 0.25


@keras.saving.register_keras_serializable("keras_vae")
class ConditionalGAN(GAN):
    """Generator that sees conditions and discriminator that also reads them.

    Beside their losses of `GAN`, both players lower the cross-entropy of the labels, in nats per
    example: the discriminator on real images (reported as `class_loss`), the generator on generated
    ones (`generated_class_loss`). An *unknown* label adds nothing to it, and one that is a group of
    classes counts by the sum of their probabilities. Of tags it is the cross-entropy of each, of
    numbers, which the head says in halves of their range, that of a Gaussian of standard deviation
    0.25 but for a constant. The paper's discriminator lowers it on generated images too; then it
    learns to read signs of a class that no real image has, and an independent classifier agrees
    less with the labels.

    Args:
        generator: Keras model from `[z, condition]` to the likelihood's parameters; `condition` is
            a float vector `(batch, size)`.
        discriminator: Keras model from `x` to `(logit, class_logits)`, `(batch, 1)` and
            `(batch, num_classes)`, such as `ConvDiscriminator(num_classes=10)`. Of several
            conditions the classes of each label, each tag and each number have one entry, in the
            order of `condition`.
        condition: Dict from name to a kind of label, number or tags, without learned vectors
            (`embedding_dim`). The names are the keys of `fit`'s input dict, of `sample`'s
            conditions and the inputs of exported graphs.
        latent_dim: Int, size of `z`.
        class_loss_weight: Float, at least 0. Factor of the cross-entropies of the conditions.
        **kwargs: As for `GAN`.

    Call arguments:
        inputs, training: As for `GAN`.

    Example:

    >>> import keras_vae
    >>> gan = keras_vae.ConditionalGAN(
    ...     keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,)),
    ...     keras_vae.networks.DenseDiscriminator(hidden_units=(8,), num_classes=3),
    ...     condition={"label": keras_vae.Categorical(3)},
    ...     latent_dim=2,
    ... )
    >>> gan.sample({"label": [0, 1, 2]}, seed=0).shape
    (3, 4, 4, 1)

    See also:
        `GAN`; `ConditionalVAE`.

    References:
        - Odena et al., 2017, eq. 2 and 3, with the generator's non-saturating loss and the
          discriminator's labels of real images only.
          https://arxiv.org/abs/1610.09585
    """

    conditional = True

    def __init__(
        self,
        generator: Any,
        discriminator: Any,
        condition: Mapping[str, Any],
        latent_dim: int,
        class_loss_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        model_inputs.check_kinds(condition)
        for name, kind in condition.items():
            if kind.kind not in _READ or getattr(kind, "embedding_dim", 0):
                raise ValueError(
                    "`condition` of a `ConditionalGAN` must be labels with embedding_dim=0, "
                    "numbers or tags, which its discriminator reads. Received another kind for: "
                    f"{name}."
                )
        class_loss_weight = arguments.not_negative(class_loss_weight, "class_loss_weight")
        super().__init__(generator, discriminator, latent_dim, condition=condition, **kwargs)
        self.class_loss_weight = class_loss_weight

    def _check_judgement(self, judged):
        size = head_size(self.condition)
        shapes = [tuple(head.shape) for head in keras.tree.flatten(judged)]
        if shapes not in ([(None, 1), (None, size)], [(None,), (None, size)]):
            raise ValueError(
                "The discriminator of a `ConditionalGAN` needs a class head: it must return "
                f"`(logit, class_logits)`, (batch, 1) and (batch, {size}). Received: {shapes}. "
                f"Make it with num_classes={size}."
            )

    def discriminator_terms(
        self,
        real: Sequence[Tensor],
        generated: Sequence[Tensor],
        conditions: Conditions,
        weight: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, terms = super().discriminator_terms(real, generated, conditions, weight)
        terms["class_loss"] = ops.mean(weight * self._class_losses(real[1], conditions))
        return loss + self.class_loss_weight * terms["class_loss"], terms

    def generator_terms(
        self, generated: Sequence[Tensor], conditions: Conditions
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, terms = super().generator_terms(generated, conditions)
        terms["generated_class_loss"] = ops.mean(self._class_losses(generated[1], conditions))
        return loss + self.class_loss_weight * terms["generated_class_loss"], terms

    def _class_losses(self, class_logits, conditions):
        """Cross-entropy of the conditions `(batch,)`, summed over them.

        Args:
            class_logits: Float tensor `(batch, size)`; of one class and one number `(batch,)`.
            conditions: Dict of tensors.
        """
        class_logits = ops.reshape(class_logits, (ops.shape(class_logits)[0], -1))
        cross_entropy, start = 0.0, 0
        for name, kind in self.condition.items():
            size, loss = _READ[kind.kind]
            own = class_logits[:, start : start + size(kind)]
            cross_entropy = cross_entropy + loss(kind, own, conditions[name])
            start += size(kind)
        return cross_entropy

    # A code is drawn and decoded as a conditional VAE's is.
    sample = ConditionalVAE.sample

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_loss_weight": self.class_loss_weight}


def head_size(condition: Mapping[str, Any]) -> int:
    """How many entries a discriminator reads conditions by, its `num_classes`."""
    return sum(_READ[kind.kind][0](kind) for kind in condition.values())


def _of_label(kind, logits, label):
    return -kind.log_prob(ops.log_softmax(logits, axis=-1), label)


def _of_tags(kind, logits, tags):
    sign = kind.encode(tags)  # 1, -1, and 0 where unknown
    return ops.sum(ops.abs(sign) * ops.softplus(-sign * logits), axis=-1)


def _of_numbers(kind, read, numbers):
    numbers = ops.cast(numbers, "float32")
    known = ops.cast(ops.equal(numbers, numbers), "float32")  # NaN equals nothing
    known = ops.min(known, axis=-1, keepdims=True)
    away = known * (read - kind.encode(numbers)[:, : kind.dim]) / NUMBER_SCALE
    return ops.sum(ops.square(away), axis=-1) / 2


# Of each kind, how many entries of the head read it, and the loss of these.
_READ = {
    "categorical": (lambda kind: kind.num_leaves, _of_label),
    "multi_label": (lambda kind: kind.size, _of_tags),
    "continuous": (lambda kind: kind.dim, _of_numbers),
}
