"""The conditional variational autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_vae import portable_random, seeds
from keras_vae.data.table_schema import TableSchema
from keras_vae.models.label_inference import LabelInference
from keras_vae.models.vae import VAE
from keras_vae.training import inputs as model_inputs
from keras_vae.type_aliases import Conditions


@keras.saving.register_keras_serializable("keras_vae")
class ConditionalVAE(LabelInference, VAE):
    """Variational autoencoder whose encoder and decoder both see conditions.

    It maximises a bound of `log p(x|c)`: the posterior is `q(z|x, c)`, the likelihood
    `p(x|z, c)`; the prior of `z` depends on the condition `c` if it is one that can, such as
    `priors.ConditionalNormal`.

    Args:
        encoder: Keras model from `[x, condition]` to `(z_mean, z_log_var)`; `condition` is a
            float vector `(batch, size)`.
        decoder: Keras model from `[z, condition]` to the likelihood's parameters.
        condition: Dict from name to `Categorical` or `Continuous`. The names are the keys of
            `fit`'s input dict, of `sample`'s conditions and the inputs of exported graphs.
        classifier: Optional Keras model from `x` to logits `(batch, classes)`, of all label
            conditions side by side, such as a `networks.DenseClassifier`: `q(label|x)`, learned
            with the model from examples with and without labels. `"auto"`, the default, makes one
            if the arrays of a `fit` hold unknown labels of a condition whose `unknown_rate` is 0,
            and says so. None trains those as of an unknown class.
        classifier_weight: Float, at least 0. Factor of the classifier's own losses.
        **kwargs: As for `VAE`.

    Call arguments:
        inputs: Dict of `"x"`, float `(batch, *data_shape)`, and one tensor per condition: int
            `(batch,)` or float `(batch, dim)`.
        sample_weight, draw, training: As for `VAE`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> cvae = keras_vae.ConditionalVAE(encoder, decoder, {"label": keras_vae.Categorical(3)})
    >>> cvae.compile("adam")
    >>> x, y = np.zeros((15, 4, 4, 1), "float32"), np.arange(15) % 3
    >>> history = cvae.fit({"x": x, "label": y}, verbose=0)
    >>> cvae.sample({"label": [2] * 4}, seed=42).shape
    (4, 4, 4, 1)

    See also:
        `VAE`; `Categorical`, `Continuous` and other conditions.

    References:
        - Sohn et al., 2015. https://papers.nips.cc/paper/5775
        - Kingma et al., 2014, for few labels. https://arxiv.org/abs/1406.5298
    """

    conditional = True

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        condition: Mapping[str, Any],
        classifier: Any = "auto",
        classifier_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        model_inputs.check_kinds(condition)
        super().__init__(encoder, decoder, condition=condition, **kwargs)
        self.set_classifier(classifier, classifier_weight)
        if self.infers_labels:
            self.part_names = (*self.part_names, "classifier")

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.build_classifier(self.data_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.classifier_config()}

    def sample(
        self,
        conditions: Conditions | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        count: int | None = None,
        observation: bool | None = None,
        guidance: float = 1.0,
    ) -> NDArray[np.float32]:
        """Decode codes drawn from the prior, one for each row of the conditions.

        Args:
            conditions: Dict from every condition's name to its values: for a categorical one a
                sequence `(n,)` of indices, names, or `None` for *unknown*; for a continuous one
                `(n, dim)`, in its unit. A single value is that of all samples. Without the dict,
                labels are drawn, every class alike, and numbers, uniform over their range; others
                are *unknown* where they may be. Of a model of a table, numbers are in units, single
                ones or `(n,)`; those that `data.TableSchema` has encoded are `(n, 1)`.
            temperature: Float, at least 0. Scales the prior's standard deviation.
            seed: Optional int, from 0 to 2^31 - 1. The same seed gives the same codes on every
                backend and on devices.
            count: Optional int, n. Defaults to the number of values, 1 if they are single.
            observation: Optional bool, as for `VAE.sample`.
            guidance: 1.0. A prior over codes of a grid can be guided, as of a `VQVAE`.

        Returns:
            float32 array `(n, *data_shape)`, the likelihood's mean or draws.

        Raises:
            ValueError: If a condition is missing or a label is no class.
        """
        if guidance != 1:
            raise ValueError(
                "`guidance` needs a VQVAE, whose prior has logits to sharpen. Received: "
                f"{guidance!r} for a {type(self).__name__}. Lower the temperature instead."
            )
        self._ensure_built()
        seed = seeds.given_or_drawn(seed)
        if isinstance(self.schema, TableSchema) and isinstance(conditions, dict):
            conditions = self.schema.encode_numbers(conditions)
        conditions = model_inputs.sampled_conditions(self, conditions, count, seed)
        count = len(next(iter(conditions.values())))
        portable_random.check(seed, count, self.latent_dim)
        condition = self.condition_vectors(conditions)
        z = self.prior.sample(count, self.latent_dim, temperature, seed, condition)
        return self._made(z, conditions, observation, seed)
