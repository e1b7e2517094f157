"""The vector-quantized variational autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae.conditions import Categorical
from keras_vae.layers.quantizers import Quantizer, usage
from keras_vae.metrics import Perplexity
from keras_vae.models.base import LatentVariableModel
from keras_vae.models.capabilities import DiscreteCodes, Samples
from keras_vae.models.code_prior import CodePrior, check_codes
from keras_vae.models.mask_git import MaskGIT
from keras_vae.objectives import Loss, weighted_mean
from keras_vae.training import datasets
from keras_vae.training import inputs as model_inputs
from keras_vae.training.batched import in_batches
from keras_vae.type_aliases import Conditions, Examples, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class VQVAE(LatentVariableModel, Samples, DiscreteCodes):
    """Autoencoder whose code is a grid of indices into a codebook, with a prior learnt after it.

    The loss is `-log p(x|codes) + commitment_weight * |z - sg(vectors of the codes)|^2` in nats
    per example, summed over data, grid and vectors, averaged over the batch; `fit` and `evaluate`
    report both terms, and the codebook's perplexity. Nothing is drawn. To sample, train a prior
    over the codes with `fit_prior`; it becomes part of the model and of its file. A `MaskGIT` is
    drawn in a few steps, on devices too; a `PixelCNN`, which takes a step for each code, has the
    better likelihoods.

    ```python
    vqvae = keras_vae.VQVAE(
        keras_vae.networks.ConvGridEncoder(latent_dim=16, hidden_units=(32, 64)),
        keras_vae.networks.ConvGridDecoder((28, 28, 1), hidden_units=(64, 32)),
        keras_vae.layers.VectorQuantizer(num_codes=128, dim=16),
    )
    vqvae.compile(keras.optimizers.Adam(1e-3))
    vqvae.fit(x, epochs=10)
    vqvae.encode(x)                                         # int32 (n, 7, 7)
    vqvae.fit_prior({"x": x, "label": y}, epochs=10)
    vqvae.sample({"label": [7] * 16}, seed=42)
    ```

    Args:
        encoder: Keras model from `x` to a grid of vectors, `(batch, height, width, dim)`.
        decoder: Keras model from that grid to the likelihood's parameters, shaped like `x`.
        quantizer: `layers.VectorQuantizer`, `layers.FiniteScalarQuantizer` or another
            `layers.Quantizer`.
        likelihood: Name or object of `keras_vae.likelihoods`.
        prior: Optional `MaskGIT` or `PixelCNN` over the codes, trained already or to be.
        seed: Optional int, for the order of the batches.

    Call arguments:
        inputs: `x`, float `(batch, *data_shape)`.
        sample_weight: Optional float `(batch,)`; weights the commitment loss that the call adds.
            The codebook counts every example once.
        draw: Unused; there for the steps that all models share.
        training: Bool. Whether the codebook follows.

    Returns:
        Dict of `"parameters"` (the likelihood's, `(batch, *data_shape)`), `"codes"` (int32
        `(batch, height, width)`), `"z"` (their vectors) and `"commitment"` (`(batch,)`, the squared
        distance of the encoder's vectors from them).

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> vqvae = keras_vae.VQVAE(
    ...     keras_vae.networks.ConvGridEncoder(latent_dim=4, hidden_units=(4, 8)),
    ...     keras_vae.networks.ConvGridDecoder((8, 8, 1), hidden_units=(8, 4)),
    ...     keras_vae.layers.VectorQuantizer(num_codes=8, dim=4),
    ... )
    >>> vqvae.encode(np.zeros((3, 8, 8, 1), "float32")).shape
    (3, 2, 2)

    See also:
        `MaskGIT` and `PixelCNN`, the priors over its codes; `VAE`.

    References:
        - van den Oord et al., 2017. https://arxiv.org/abs/1711.00937
        - Mentzer et al., 2023, for `FiniteScalarQuantizer`. https://arxiv.org/abs/2309.15505
    """

    code_names = ("codes",)
    if TYPE_CHECKING:

        def encode(self, inputs: Examples, batch_size: int = 256) -> NDArray[np.int32]: ...

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        quantizer: Quantizer,
        prior: CodePrior | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, **kwargs)
        if not isinstance(quantizer, Quantizer):
            raise ValueError(
                "`quantizer` must be a VectorQuantizer or another "
                f"keras_vae.layers.Quantizer. Received: {quantizer!r}"
            )
        self.quantizer = quantizer
        self.other_metrics["perplexity"] = Perplexity(quantizer.num_codes)
        self.grid_shape: tuple[int, ...] | None = None
        if prior is not None:
            vars(self)["prior"] = prior

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        if self.prior is not None:
            self.set_prior(self.prior)

    def _check_code(self, code):
        shape = tuple(getattr(code, "shape", ()))
        if len(shape) != 4 or None in shape[1:]:
            raise ValueError(
                "The encoder must return a grid of vectors, (batch, height, width, dim). "
                f"Received: {shape or type(code).__name__}. See networks.ConvGridEncoder."
            )
        if not self.quantizer.built:
            self.quantizer.build(shape)
        self.grid_shape = tuple(map(int, shape[1:3]))
        return tuple(map(int, shape[1:]))

    @property
    def learns(self) -> bool:
        return super().learns or (self.quantizer.trainable and bool(self.quantizer.weights))

    def call(
        self,
        inputs: Any,
        sample_weight: Tensor | None = None,
        draw: Any = None,
        training: bool | None = None,
    ) -> dict[str, Tensor]:
        x, _ = self.split_inputs(inputs)
        z, codes, distance = self.quantizer(self.encoder(x, training=training), training=training)
        commitment = weighted_mean(distance, sample_weight)
        self.add_loss(self.quantizer.commitment_weight * commitment)
        return {
            "parameters": self.decoder(z, training=training),
            "z": z,
            "codes": codes,
            "commitment": distance,
        }

    def objective_loss(
        self, outputs: dict[str, Tensor], log_likelihood: Tensor, sample_weight: Tensor | None
    ) -> Loss:
        loss = super().objective_loss(outputs, log_likelihood, sample_weight)
        more = {
            "commitment_loss": weighted_mean(outputs["commitment"], sample_weight),
            "perplexity": usage(outputs["codes"], self.quantizer.num_codes),
        }
        return Loss(loss.total, {**loss.terms, **more})

    def code(
        self, x: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor]:
        _, codes, _ = self.quantizer(self.encoder(x, training=training), training=training)
        return (codes,)

    def decode_parameters(self, z: Tensor, conditions: Conditions | None = None) -> Tensor:
        """The likelihood's parameters from codes, int `(batch, height, width)`."""
        return self.decoder(self.quantizer.embed(z), training=False)

    def decode(
        self, codes: ArrayLike, conditions: Conditions | None = None, batch_size: int = 256
    ) -> NDArray[np.float32]:
        """Decode codes to the likelihood's mean.

        Args:
            codes: Int array `(n, height, width)`, as `encode` gives them.
            conditions: None; the decoder has none.
            batch_size: Int. Examples computed at once.

        Returns:
            float32 array `(n, *data_shape)` in the data's range.

        Raises:
            ValueError: If the shape differs or a code is not in the codebook.
        """
        self._ensure_built()
        codes = check_codes(codes, self.grid_shape, self.quantizer.num_codes)
        model_inputs.check_conditions(self, {} if conditions is None else conditions)
        decode = self.as_compiled(lambda batch: [self.decode_mean(batch)])
        return in_batches(decode, codes, batch_size)[0]

    def fit_prior(
        self,
        inputs: Any,
        prior: CodePrior | None = None,
        epochs: int = 10,
        batch_size: int = 128,
        validation_data: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Train a prior over the codes of some examples, to be called when the model is trained.

        Args:
            inputs: `x` as in `fit`, for a prior without conditions; or a dict of `"x"` and one
                array of labels or conditions per name, `{"x": x, "label": y}`.
            validation_data: Optional, as `inputs`.
            prior: Optional `MaskGIT` or `PixelCNN`. Defaults to the one that the model has, which
                is trained on, or else to `MaskGIT(model.grid_shape, num_codes)`, with a
                `Categorical` for each array of labels, whole numbers or names. It is compiled with
                Adam unless it is compiled.
            epochs, batch_size, **kwargs: As for Keras' `fit`.

        Returns:
            Keras' `History`: `loss` per epoch, `-log p(codes | conditions)` in nats per example.
        """
        if validation_data is not None:
            given, *others = datasets.unpack_validation(validation_data)
            if model_inputs.is_array(given):
                validation_data = (self._coded(given), *others)
        inputs = self._coded(inputs)
        conditions = inputs if isinstance(inputs, dict) else {}
        prior = prior or self.prior or self._new_prior(conditions)
        if not prior.compiled:
            prior.compile(keras.optimizers.Adam(1e-3))
        self.set_prior(prior)
        return prior.fit(
            inputs,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            **kwargs,
        )

    def _coded(self, inputs):
        """Examples as a prior takes them: their codes, in a dict if there are conditions."""
        conditions = {k: v for k, v in inputs.items() if k != "x"} if type(inputs) is dict else {}
        x = model_inputs.check_examples(self, inputs["x"] if conditions else inputs)
        codes = self.encode(self.as_observed(x, self.seed))
        return {"codes": codes, **conditions} if conditions else codes

    def _new_prior(self, conditions):
        kinds = {}
        for name in conditions.keys() - {"codes"}:
            values = np.asarray(model_inputs.as_given(conditions[name]))
            if values.ndim == 1 and all(isinstance(value, str) for value in values):
                kinds[name] = Categorical(names=np.unique(values))
                continue
            if values.ndim != 1 or values.dtype.kind not in "iu":
                hint = "Pass prior=MaskGIT(..., condition=...)."
                if values.ndim == 2 and values.shape[1] > 1:
                    hint = f"If it is one-hot, pass y = np.argmax(y, axis=1). Else: {hint}"
                raise ValueError(
                    "`fit_prior` makes a prior for labels (n,) only, whole numbers or names. "
                    f"Received: {name} of {values.dtype} {values.shape}. {hint}"
                )
            if values.min() > 0:
                raise ValueError(
                    f"`{name}` must count its classes from 0. Received: labels from {values.min()} "
                    f"to {values.max()}. Pass y - {values.min()}, or "
                    "prior=MaskGIT(..., condition=...)."
                )
            kinds[name] = Categorical(int(values.max()) + 1)
        return MaskGIT(self.grid_shape, self.quantizer.num_codes, kinds, seed=self.seed)

    def set_prior(self, prior: CodePrior) -> None:
        """Take a prior that is trained already. It is saved with the model, in one file.

        Args:
            prior: `MaskGIT` or `PixelCNN` over this model's codes.

        Raises:
            ValueError: If it is made for other codes.
        """
        self._ensure_built()
        expected = (self.grid_shape, self.quantizer.num_codes)
        if not isinstance(prior, CodePrior) or (prior.grid_shape, prior.num_codes) != expected:
            is_of_codes = isinstance(prior, CodePrior)
            received = (prior.grid_shape, prior.num_codes) if is_of_codes else (prior, None)
            raise ValueError(
                f"The prior must be a MaskGIT or a PixelCNN of grid_shape={expected[0]} and "
                f"num_codes={expected[1]}. Received: {received[0]} and {received[1]}."
            )
        if not prior.built:
            prior.build()
        # Past Keras' tracking: the steps of this model must neither see nor change its weights.
        # Saving finds it nevertheless.
        vars(self)["prior"] = prior

    @property
    def sample_conditions(self) -> dict[str, Any]:
        return self.prior.condition if self.prior else {}

    def sample(
        self,
        conditions: Conditions | int | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        count: int | None = None,
        guidance: float | None = None,
    ) -> NDArray[np.float32]:
        """Decode codes drawn from the prior.

        Args:
            conditions: For a prior with conditions a dict, as for `MaskGIT.sample`; for one
                without, optionally an int, how many.
            temperature: Float, at least 0. Divides the prior's logits; 0 takes the likeliest code
                at each place.
            seed: Optional int, from 0 to 2^31 - 1. The same seed gives the same codes on every
                backend, unless a draw falls within rounding of the border between two codes.
            count: Optional int, n. Defaults to the number of values, 1 if they are single.
            guidance: Optional float, at least 0, as for `MaskGIT.sample`: above 1 it sharpens the
                conditions of a prior with an `unknown_rate`. By default that of the prior.

        Returns:
            float32 array `(n, *data_shape)`, the likelihood's mean.
        """
        if self.prior is None:
            raise ValueError(
                "Sampling needs a prior over the codes, and this model has none. Train one with "
                'fit_prior({"x": x, "label": y}).'
            )
        asked = {"count": count, "guidance": guidance}
        return self.decode(self.prior.sample(conditions, temperature, seed, **asked))

    def _random_states(self):
        weights = {id(weight) for weight in self.prior.weights} if self.prior else set()
        states = self.prior.variables if self.prior else []
        return super()._random_states() + [v for v in states if id(v) not in weights]

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        prior = None if self.prior is None else serialize(self.prior)
        return {**super().get_config(), "quantizer": serialize(self.quantizer), "prior": prior}
