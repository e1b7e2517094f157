"""What every latent-variable model shares: an encoder before the decoder, and their loss."""

from __future__ import annotations

import dataclasses
import functools
import json
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import likelihoods, replica
from keras_vae.data import binarize
from keras_vae.distributions import repeat
from keras_vae.exceptions import reason
from keras_vae.models import logits
from keras_vae.models.capabilities import Encodes
from keras_vae.models.generative import GenerativeModel, join
from keras_vae.models.scoring import Scoring
from keras_vae.objectives import Loss, mean_over_rows, weighted_mean
from keras_vae.training import datasets, fingerprints
from keras_vae.training import inputs as model_inputs
from keras_vae.training.batched import in_batches
from keras_vae.type_aliases import Examples, Tensor


class LatentVariableModel(GenerativeModel, Encodes):
    """An encoder, a decoder and a likelihood, trained by plain `fit`.

    A subclass writes `call`, which returns a dict with the likelihood's `"parameters"` and the
    latent code `"z"`, and adds its penalties there with `add_loss`.

    Args:
        encoder: Keras model from `x`, or `[x, condition]`, to the latent code's parameters.
        decoder: Keras model from `z`, or `[z, condition]`, to the likelihood's parameters: shaped
            like `x`, with as many times its channels as the likelihood has `parameters_per_value`.
        dynamic_binarization: Whether `fit` and `evaluate` draw every pixel as 0 or 1 with its grey
            value as the probability, anew for every batch (Burda et al., 2016). Then losses are
            those of binary images; `log_likelihood` draws them by its seed.
        **kwargs: As for `GenerativeModel`.
    """

    code_names = ("z",)
    num_samples = 1
    reconstructs = True
    scoring = Scoring()
    trained_on: str | None = None

    def __init__(
        self, encoder: Any, decoder: Any, dynamic_binarization: bool = False, **kwargs: Any
    ) -> None:
        super().__init__({"encoder": encoder, "decoder": decoder}, **kwargs)
        self.parameters_per_value = self.likelihood.parameters_per_value
        if getattr(decoder, "parameters_per_value", 1) is None and not decoder.built:
            decoder.set_parameters_per_value(self.parameters_per_value)
        self.latent_dim = getattr(encoder, "latent_dim", None)
        if dynamic_binarization and not isinstance(self.likelihood, likelihoods.Bernoulli):
            raise ValueError(
                "`dynamic_binarization` needs the bernoulli likelihood. Received: "
                f"{self.likelihood.name}."
            )
        self.dynamic_binarization = bool(dynamic_binarization)

    # Building

    def build(self, input_shape: Any = None) -> None:
        """Create all weights.

        Args:
            input_shape: Shape of `x` with its batch axis, or a dict that has it under `"x"`.
                Not needed when the decoder has a `data_shape`.
        """
        if isinstance(input_shape, dict):
            input_shape = input_shape["x"]
        data_shape = self.data_shape if input_shape is None else tuple(input_shape[1:])
        if data_shape is None:
            raise ValueError(
                f"`{type(self).__name__}` is not built and its decoder does not say what it "
                "makes. Call fit first, or build with the shape of the data: "
                "model.build((None, 28, 28, 1))."
            )
        condition = None
        if self.condition:
            self.conditioning.build()
            condition = keras.KerasTensor((None, self.conditioning.size))
        beside = f" and a condition of size {self.conditioning.size}" if self.condition else ""
        try:
            code = self.encoder(join(keras.KerasTensor((None, *data_shape)), condition))
        except (ValueError, TypeError) as err:
            raise ValueError(
                f"The encoder must accept examples of shape {data_shape}{beside}. It raised: "
                f"{reason(err)}"
            ) from err
        code_shape = self._check_code(code)
        try:
            made = self.decoder(join(keras.KerasTensor((None, *code_shape)), condition))
        except (ValueError, TypeError) as err:
            size = "×".join(map(str, code_shape))
            raise ValueError(
                f"The decoder must accept the encoder's latent code of size {size}{beside}. "
                f"It raised: {reason(err)}"
            ) from err
        self._check_made(tuple(made.shape[1:]), data_shape)
        self.latent_dim = code_shape[-1]
        self.code_shape = code_shape
        self.data_shape = data_shape
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        config = super().get_build_config()
        if config and self.scoring != Scoring():
            # As text, for numbers in a build config are sizes.
            config["scoring"] = json.dumps(self.scoring.get_config())
        if config and self.trained_on:
            config["trained_on"] = self.trained_on
        return config

    def build_from_config(self, config: dict[str, Any]) -> None:
        super().build_from_config(config)
        if config and "scoring" in config:
            self.scoring = Scoring.from_config(json.loads(config["scoring"]))
        if config:
            self.trained_on = config.get("trained_on")

    def forget_calibration(self, what: str = "model") -> None:
        """Drop the p-values of scores, which hold for the model as it was, and say so."""
        if self.scoring.calibration is not None:
            warnings.warn(
                f"The {what} is changed, so that the p-values hold no more and are dropped. Call "
                "AnomalyDetector(model).calibrate(...) again.",
                stacklevel=3,
            )
            self.scoring = dataclasses.replace(self.scoring, calibration=None)

    def before_fit(self, x: Any) -> None:
        self.forget_calibration()
        self.trained_on = fingerprints.of_some(x)

    def _check_code(self, code):
        """Check what the encoder returns, one head or two, and return the code's shape."""
        heads = code if isinstance(code, list | tuple) else [code]
        shapes = [getattr(head, "shape", type(head).__name__) for head in heads]
        count_fits = len(self.code_names) <= len(heads) <= 2
        if not count_fits or len(set(shapes)) > 1 or len(shapes[0]) != 2:
            raise ValueError(
                f"The encoder must return {' and '.join(f'`{name}`' for name in self.code_names)} "
                f"of one shape (batch, latent), in this order. Received: {shapes}."
            )
        return (int(shapes[0][-1]),)

    def check_logits(self, by_values: bool = True) -> None:
        if not self.likelihood.takes_logits:
            return
        shapes = []
        if by_values and self.built:
            shapes.append((None, *self.code_shape))
            shapes += [(None, self.conditioning.size)] if self.condition else []
        why = f"the {self.likelihood.name} likelihood takes its logits, of any size"
        logits.check(self.decoder, "decoder", why, shapes)

    def _check_made(self, made, data_shape):
        """Check the shape of what the decoder makes."""
        count = self.parameters_per_value
        if count == 1 and made != data_shape:
            raise ValueError(
                f"The decoder must make what the data are, {data_shape}. Received: {made}. Set the "
                "decoder's output_shape."
            )
        needed = self.likelihood.parameters_shape(data_shape)
        if self.likelihood.takes_missing and made != needed:
            raise ValueError(
                f"The {self.likelihood.name} likelihood needs the parameters {needed} of a row "
                f"from the decoder. Received: {made}. Use a networks.TableDecoder of the same "
                "blocks."
            )
        if count > 1 and made != needed:
            raise ValueError(
                f"The {self.likelihood.name} likelihood needs {count} parameters for each value of "
                f"the data {data_shape}: {needed}. Received "
                f"from the decoder: {made}. Set its parameters_per_value={count}."
            )

    def code(
        self, x: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor, ...]:
        """Encode to the latent code's parameters, as tensors, one for each of `code_names`.

        Args:
            x: Float tensor `(batch, *data_shape)`.
            condition: Optional float tensor `(batch, size)`, from `encode_condition`.
            training: Bool.

        Returns:
            Tuple of tensors `(batch, latent)`.
        """
        raise NotImplementedError

    def reconstruction(self, data: Any) -> Tensor:
        """Decode the posterior mean of a batch, as `predict` does."""
        x, _, _ = datasets.unpack(self, data)
        outputs = self(x, draw=False, training=False)
        return self.likelihood(outputs["parameters"]).mean()

    # The loss

    def loss_and_terms(self, data: Any, training: bool) -> Loss:
        """Draw `num_samples` codes for each example of a batch and measure them.

        Args:
            data: `x`, or a tuple of `x`, the target (default: `x`) and sample weights.
            training: Bool.

        Returns:
            `objectives.Loss`: the total and a dict of its terms, float32 scalars in nats per
            example, summed over data and latent dimensions, averaged over the batch. A sample
            weight multiplies its example's whole loss.
        """
        inputs, target, sample_weight = datasets.unpack(self, data)
        given, conditions = self.named_inputs(inputs)
        x = self.as_values(given)
        grey = x if target is None else self.as_values(target)
        given = given if target is None else target
        target = grey
        if self.dynamic_binarization:
            # One threshold for both, as they may be the same image.
            draw = replica.current().draw
            threshold = draw(keras.random.uniform, ops.shape(x), seed=self.seed_generator)
            x, target = (ops.cast(threshold < pixels, "float32") for pixels in (x, grey))
        inputs = {"x": x, **conditions} if isinstance(inputs, dict) else x
        draws = self.num_samples
        outputs = self(inputs, sample_weight=sample_weight, draw=draws, training=training)
        parameters = ops.cast(outputs["parameters"], "float32")
        valid = self._validity(given, grey, conditions)
        target, row_weight = ops.cast(target, "float32"), sample_weight
        if draws > 1:
            target, valid, row_weight = (repeat(t, draws) for t in (target, valid, row_weight))
        if training:
            mean = functools.partial(mean_over_rows, sample_weight=row_weight)
            px = self.likelihood.in_training(parameters, target, mean)
        else:
            px = self.likelihood(parameters)
        # A product, because NaN must reach the gradient as well.
        log_likelihood = px.log_prob(target) * valid
        loss = self.objective_loss(outputs, log_likelihood, sample_weight)
        return Loss(loss.total + sum(self.losses), loss.terms)

    def objective_loss(
        self, outputs: dict[str, Tensor], log_likelihood: Tensor, sample_weight: Tensor | None
    ) -> Loss:
        """Return the `Loss`, but for what `call` added.

        Args:
            outputs: Dict, as `call` returns it.
            log_likelihood: Float tensor `(num_samples * batch,)`, `log p(x|z)`.
            sample_weight: Optional float tensor `(batch,)`.
        """
        reconstruction = -weighted_mean(log_likelihood, sample_weight)
        return Loss(reconstruction, {"reconstruction_loss": reconstruction})

    def as_observed(self, inputs: Any, seed: int | None) -> Any:
        """Checked inputs as the likelihood is to see them: binary with `dynamic_binarization`."""
        if not self.dynamic_binarization:
            return inputs
        x, conditions = self.named_inputs(inputs)
        x = binarize(x, seed)
        return {"x": x, **conditions} if isinstance(inputs, dict) else x

    # NumPy in, NumPy out

    def encode(self, inputs: Examples, batch_size: int = 256) -> Any:
        """Return the parameters of the latent code, as the encoder gives them.

        Args:
            inputs: As in `fit`.
            batch_size: Int. Examples computed at once.

        Returns:
            Tuple `(z_mean, z_log_var)` of float32 arrays `(n, latent)`; an `Autoencoder` returns
            the one array `z`.
        """
        inputs = model_inputs.check_examples(self, inputs)

        def encode(batch):
            return self.code(*self.network_inputs(batch, training=False), training=False)

        arrays = in_batches(self.as_compiled(encode), inputs, batch_size)
        return tuple(arrays) if len(arrays) > 1 else arrays[0]

    def reconstruct(self, inputs: Examples, batch_size: int = 256) -> NDArray[np.float32]:
        """Decode the posterior mean of every example; the same call gives the same bytes.

        Args:
            inputs: As in `fit`.
            batch_size: Int. Examples computed at once.

        Returns:
            float32 array `(n, *data_shape)`, the likelihood's mean.
        """
        inputs = model_inputs.check_examples(self, inputs)
        reconstruct = self.as_compiled(lambda batch: [self.reconstruction(batch)])
        return in_batches(reconstruct, inputs, batch_size)[0]

    # Saving

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dynamic_binarization": self.dynamic_binarization}
