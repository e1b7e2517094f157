"""The conditional generative adversarial network, by an auxiliary classifier."""

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.models.conditional_vae import ConditionalVAE
from keras_vae.models.gan import GAN
from keras_vae.training import inputs as model_inputs


@keras.saving.register_keras_serializable("keras_vae")
class ConditionalGAN(GAN):
    """Generator that sees labels and discriminator that also names them.

    Beside their losses of `GAN`, both players lower the cross-entropy of the labels, in nats per
    example: the discriminator on real images (reported as `class_loss`), the generator on generated
    ones (`generated_class_loss`). An *unknown* label adds nothing to it. The paper's discriminator
    lowers it on generated images too; then it learns to read signs of a class that no real image
    has, and an independent classifier agrees less with the labels.

    Args:
        generator: Keras model from `[z, condition]` to the likelihood's parameters; `condition` is
            a float vector `(batch, size)`.
        discriminator: Keras model from `x` to `(logit, class_logits)`, `(batch, 1)` and
            `(batch, size)`, such as `ConvDiscriminator(num_classes=10)`.
        condition: Dict from name to `Categorical`. The names are the keys of `fit`'s input dict, of
            `sample`'s conditions and the inputs of exported graphs.
        latent_dim: Int, size of `z`.
        class_loss_weight: Float, at least 0. Factor of the cross-entropies of the labels.
        **kwargs: As for `GAN`.

    Call arguments:
        inputs, training: As for `GAN`.

    References:
        - Odena et al., 2017, eq. 2 and 3, with the generator's non-saturating loss and the
          discriminator's labels of real images only.
          https://arxiv.org/abs/1610.09585
    """

    conditional = True

    def __init__(
        self, generator, discriminator, condition, latent_dim, class_loss_weight=1.0, **kwargs
    ):
        model_inputs.check_kinds(condition)
        unnamed = [n for n, kind in condition.items() if not getattr(kind, "is_one_hot", False)]
        if unnamed:
            raise ValueError(
                "`condition` of a `ConditionalGAN` must be Categorical, with embedding_dim=0, "
                "because the discriminator names classes. Received another kind for: "
                f"{', '.join(unnamed)}."
            )
        class_loss_weight = arguments.not_negative(class_loss_weight, "class_loss_weight")
        super().__init__(generator, discriminator, latent_dim, condition=condition, **kwargs)
        self.class_loss_weight = class_loss_weight

    def _check_judgement(self, judged):
        size = self.conditioning.size
        shapes = [tuple(head.shape) for head in keras.tree.flatten(judged)]
        if shapes not in ([(None, 1), (None, size)], [(None,), (None, size)]):
            raise ValueError(
                "The discriminator of a `ConditionalGAN` needs a class head: it must return "
                f"`(logit, class_logits)`, (batch, 1) and (batch, {size}). Received: {shapes}. "
                f"Make it with num_classes={size}."
            )

    def discriminator_terms(self, real, generated, condition, weight):
        loss, terms = super().discriminator_terms(real, generated, condition, weight)
        terms["class_loss"] = ops.mean(weight * self._class_losses(real[1], condition))
        return loss + self.class_loss_weight * terms["class_loss"], terms

    def generator_terms(self, generated, condition):
        loss, terms = super().generator_terms(generated, condition)
        terms["generated_class_loss"] = ops.mean(self._class_losses(generated[1], condition))
        return loss + self.class_loss_weight * terms["generated_class_loss"], terms

    def _class_losses(self, class_logits, condition):
        """Cross-entropy of the labels `(batch,)`, summed over the conditions.

        Args:
            class_logits: Float tensor `(batch, size)`.
            condition: Float tensor, same shape: for each condition a one-hot vector, or zeros for
                *unknown*.
        """
        cross_entropy, start = 0.0, 0
        for kind in self.condition.values():
            own = slice(start, start + kind.size)
            log_p = ops.log_softmax(class_logits[:, own], axis=-1)
            cross_entropy = cross_entropy - ops.sum(condition[:, own] * log_p, axis=-1)
            start += kind.size
        return cross_entropy

    # A code is drawn and decoded as a conditional VAE's is.
    sample = ConditionalVAE.sample

    def get_config(self):
        return {**super().get_config(), "class_loss_weight": self.class_loss_weight}
