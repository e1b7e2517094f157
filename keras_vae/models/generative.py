"""What every generative model shares: its parts, conditions, decoding and saving."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from keras_vae import arguments, likelihoods, portable_random, seeds
from keras_vae.data.series_schema import SeriesSchema
from keras_vae.layers.conditioning import Conditioning
from keras_vae.storage.stored import StoredModel
from keras_vae.training import inputs as model_inputs
from keras_vae.training.batched import CompiledFunctions, in_batches
from keras_vae.training.fitting import Fitting
from keras_vae.type_aliases import Conditions, Shape, Tensor
from keras_vae.version import __version__


class GenerativeModel(Fitting, StoredModel):
    """Networks, of which one decodes a latent code, and a likelihood, trained by plain `fit`.

    A subclass writes `build` and `loss_and_terms`. Everything else is here, but for the gradient
    steps, which are in `keras_vae.training`, one file per backend.

    Args:
        parts: Dict from the name of an argument and attribute to the Keras model that it is. The
            `decoder` maps `z`, or `[z, condition]`, to the likelihood's parameters.
        likelihood: Name or object of `keras_vae.likelihoods`.
        condition: Optional dict from name to `Categorical` or `Continuous`.
        seed: Optional int, for all draws of the model and for the order of the batches. The same
            seed (and the same initial weights) on the same backend gives the same weights.
    """

    conditional = False
    conditional_class = "ConditionalVAE"
    latent_dim: int | None = None
    makes_data = True

    def __init__(
        self,
        parts: Mapping[str, Any],
        likelihood: str | likelihoods.Likelihood = "bernoulli",
        condition: Mapping[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if condition and not self.conditional:
            raise ValueError(
                f"`{type(self).__name__}` takes no `condition`. Use `{self.conditional_class}`."
            )
        # Without autocast, data and sample weights keep their precision under mixed policies; the
        # layers inside cast for themselves.
        super().__init__(autocast=False, **kwargs)
        self.part_names = tuple(parts)
        for name, part in parts.items():
            setattr(self, name, arguments.layer(part, name))
        self.likelihood = likelihoods.get(likelihood)
        # Not on the class: on PyTorch that would hide a layer of this name.
        self.prior: Any = None
        self.schema: Any = None  # what the values of the data mean, where somebody says it
        self.condition = dict(condition or {})
        self.conditioning = Conditioning(self.condition, seed) if self.condition else None
        self.seed = seed
        self.seed_generator = seeds.stream(seed, "model")
        self.data_shape: Shape | None = getattr(self.decoder, "data_shape", None)
        self.add_metrics()
        self.compiled_functions = CompiledFunctions()

    # Building

    def get_build_config(self) -> dict[str, Any] | None:
        if not self.built:
            return None
        sizes = {"data_shape": list(self.data_shape), "keras_vae": __version__}
        return {**sizes, **self.frozen()}

    def build_from_config(self, config: dict[str, Any]) -> None:
        if config:
            self.build((None, *config["data_shape"]))
            self.freeze(config)

    def _ensure_built(self) -> None:
        if not self.built:
            self.build_for()

    build_for_weights = _ensure_built

    def build_for(self, input_shape: Any = None) -> None:
        """As `build`, on all devices that the model is to train on."""
        if input_shape is not None:
            model_inputs.check_layout(self, input_shape)
        with self.building():
            self.build(input_shape)

    # The model as a function of tensors

    def split_inputs(self, inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `x` and the dict of conditions, or raise a ValueError that names what is missing.

        Args:
            inputs: `x`, or a dict with `"x"` and every condition's name. What is no float becomes
                float32 here, by its dtype alone: uint8 is an 8-bit picture, 0 to 255 for 0 to 1.
        """
        x, conditions = self.named_inputs(inputs)
        return self.as_values(x), conditions

    def as_values(self, x: Tensor) -> Tensor:
        """A tensor of examples as floats: of tokens what they are, of others by the dtype alone.

        uint8 is an 8-bit picture, 0 to 255 for 0 to 1, unless the likelihood holds tokens.
        """
        if self.likelihood.holds_tokens:
            return ops.cast(x, "float32")
        return model_inputs.as_float(x)

    def named_inputs(self, inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """As `split_inputs`, with `x` as it came."""
        if not isinstance(inputs, dict):
            if self.condition:
                raise ValueError(
                    f"`{type(self).__name__}` needs a dict with the keys {self._keys()}. "
                    f"Received: {type(inputs).__name__}. Pass conditions in the input: "
                    'fit({"x": x, "label": y}).'
                )
            return inputs, {}
        if set(inputs) != {"x", *self.condition}:
            raise ValueError(
                f"The input dict must have the keys {self._keys()}. Received: {sorted(inputs)}."
            )
        return inputs["x"], {name: inputs[name] for name in self.condition}

    def _keys(self):
        return ["x", *self.condition]

    def encode_condition(
        self, conditions: Conditions, training: bool | None = None
    ) -> Tensor | None:
        """Return the conditions' joint vector `(batch, size)`, or None without conditions."""
        return self.conditioning(conditions, training=training) if self.condition else None

    def network_inputs(
        self, inputs: Any, training: bool | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return `x`, as `split_inputs` does, and the conditions' joint vector, or None."""
        x, conditions = self.split_inputs(inputs)
        return x, self.encode_condition(conditions, training=training)

    def condition_vectors(self, conditions: Conditions) -> NDArray[np.float32] | None:
        """As `encode_condition`, from arrays to a float32 array `(n, size)`."""
        if not self.condition:
            return None

        def encode(batch):
            return [self.encode_condition(batch, training=False)]

        return in_batches(encode, conditions, batch_size=1024)[0]

    def decode_mean(self, z: Tensor, conditions: Conditions | None = None) -> Tensor:
        """Decode to the likelihood's mean, as tensors: what a device computes.

        Args:
            z: Float tensor `(batch, latent)`.
            conditions: Dict of tensors, int `(batch,)` or float `(batch, dim)` by kind.

        Returns:
            float32 tensor `(batch, *data_shape)` in the data's range.
        """
        return self.likelihood.mean(self.decode_parameters(z, conditions))

    def decode_parameters(self, z: Tensor, conditions: Conditions | None = None) -> Tensor:
        """As `decode_mean`, the likelihood's parameters."""
        condition = self.encode_condition(conditions or {}, training=False)
        return self.decoder(join(z, condition), training=False)

    @property
    def example_shape(self) -> Shape | None:
        """Shape of one example, or None before it is known."""
        return self.data_shape

    @property
    def observes(self) -> bool:
        """Whether `sample` draws data from the likelihood, too, where nothing else is said.

        Of tables and of series it does, for a mean has no spread; but for windows of more values
        than the portable generator draws, 4095 less the size of the code.
        """
        if not isinstance(self.schema, SeriesSchema):
            return self.likelihood.takes_missing and self.likelihood.observes
        size = self.latent_dim + math.prod(self.schema.shape)
        return self.likelihood.observes and size < portable_random.MOST_DIMENSIONS

    # NumPy in, NumPy out

    def decode(
        self, z: ArrayLike, conditions: Conditions | None = None, batch_size: int = 256
    ) -> NDArray[np.float32]:
        """Decode latent codes to the likelihood's mean.

        Args:
            z: Array `(n, latent)`.
            conditions: Dict of arrays `(n, ...)` for a conditional model.
            batch_size: Int. Examples computed at once.

        Returns:
            float32 array `(n, *data_shape)` in the data's range.

        Raises:
            ValueError: If a shape or a condition does not fit.
        """
        self._ensure_built()
        z = self._check_codes(z)
        conditions = {} if conditions is None else conditions
        conditions = model_inputs.check_conditions(self, conditions, len(z))

        def decode(batch):
            return [self.decode_mean(batch["z"], {n: batch[n] for n in self.condition})]

        arrays = {"z": z, **conditions}
        return in_batches(self.as_compiled(decode), arrays, batch_size)[0]

    def _check_codes(self, z):
        """Latent codes as a float32 array `(n, latent)`."""
        z = np.asarray(model_inputs.to_numpy(z), "float32")
        if z.ndim != 2 or z.shape[1] != self.latent_dim or len(z) == 0:
            raise ValueError(
                f"`z` must have the shape (n, {self.latent_dim}), n at least 1. "
                f"Received: {z.shape}."
            )
        return z

    def as_compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function, compiled where the backend does: once for its code and what it refers to.

        Args:
            function: Function of tensors that reads the model's variables. Another one of the same
                code that closes over other objects is another function, and compiled anew: what
                changes from call to call belongs into the arguments.
        """
        return self.compiled_functions.of(function, self.without_gradients)

    def forget_compiled(self) -> None:
        super().forget_compiled()
        self.compiled_functions.clear()
        getattr(self, "graphs", {}).clear()  # of PyTorch's traced steps

    # Saving

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = super().get_config()
        config.pop("autocast", None)
        if self.condition:
            config["condition"] = {name: serialize(k) for name, k in self.condition.items()}
        return {
            **config,
            **{name: serialize(getattr(self, name)) for name in self.part_names},
            "likelihood": serialize(self.likelihood),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = copy.deepcopy(config)  # Keras empties that of a functional model
        return cls(**{name: _deserialize(value) for name, value in config.items()})


def join(tensor, condition):
    return tensor if condition is None else [tensor, condition]


def _deserialize(value):
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _deserialize(item) for name, item in value.items()}
    return value
