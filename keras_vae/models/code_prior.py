"""What the priors over grids of codes share: conditions, training by plain `fit`, sampling."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments, portable_random, seeds
from keras_vae.layers.conditioning import Conditioning
from keras_vae.storage.stored import StoredModel
from keras_vae.training import Guard, datasets, is_divided, resuming
from keras_vae.training import inputs as model_inputs
from keras_vae.training.bar import with_bar
from keras_vae.training.batched import in_batches
from keras_vae.training.occurrence import check_occurrence
from keras_vae.training.ranges import LearnsRanges
from keras_vae.type_aliases import Conditions, Examples, Tensor
from keras_vae.version import __version__


class CodePrior(LearnsRanges, Guard, StoredModel):
    """A model of the grids of codes of a `VQVAE`, `p(codes | conditions)`, trained by plain `fit`.

    A subclass writes `build`, `call`, `negative_log_likelihood`, `draw` and `manifest`, and sets
    `options`, its own arguments.

    Args:
        grid_shape: Tuple `(height, width)` of the codes.
        num_codes: Int, at least 2.
        condition: Optional dict from name to `Categorical` or `Continuous`.
        seed: Optional int, for the order of the batches.

    Attributes:
        guidance: Float, 1.0 by default: that of `sample` where nothing else is said, and of
            exported samplers. It may be set, and is saved.

    Raises:
        ValueError: If an argument is out of range.
    """

    input_name = "codes"
    has_target = False

    def __init__(
        self,
        grid_shape: Sequence[int],
        num_codes: int,
        condition: Mapping[str, Any] | None = None,
        seed: int | None = None,
        guidance: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grid_shape = tuple(int(size) for size in grid_shape)
        if len(self.grid_shape) != 2 or min(self.grid_shape) < 1:
            raise ValueError(f"`grid_shape` must be (height, width). Received: {grid_shape!r}")
        self.num_codes = arguments.whole(num_codes, "num_codes", 2)
        self.condition = dict(condition or {})
        self.conditioning = Conditioning(self.condition, seed) if self.condition else None
        self.options = {}
        self._guidance = 1.0
        self.guidance = guidance
        self.seed = seed
        self.ignores_labels = False
        self.untracked = types.SimpleNamespace(known_batches=set(), warned_of=set())

    @property
    def guidance(self) -> float:
        """By how much conditions are sharpened where nothing else is said."""
        return self._guidance

    @guidance.setter
    def guidance(self, guidance: float) -> None:
        self._check_guidance(guidance)
        self._guidance = float(guidance)

    def build_for_weights(self) -> None:
        if not self.built:
            self.build()

    def get_build_config(self) -> dict[str, Any] | None:
        if not self.built:
            return None
        sizes = {"grid_shape": list(self.grid_shape), "keras_vae": __version__}
        return {**sizes, **self.frozen()}

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build()
        self.freeze(config)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example's codes."""
        return self.grid_shape

    def condition_vector(
        self, conditions: Conditions, training: bool | None = None
    ) -> Tensor | None:
        """The conditions' joint vector `(batch, size)` of a dict of tensors, or None."""
        return self.conditioning(conditions, training=training) if self.condition else None

    def named_inputs(self, inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the codes and the dict of conditions."""
        keys = ["codes", *self.condition]
        if isinstance(inputs, dict) and set(inputs) == set(keys):
            return inputs["codes"], {name: inputs[name] for name in self.condition}
        if isinstance(inputs, dict) or self.condition:
            received = sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"The input must be a dict of {keys}. Received: {received}.")
        return inputs, {}

    def negative_log_likelihood(self, inputs: Any, outputs: Tensor) -> Tensor:
        """`-log p(codes | conditions)` of tensors, and of what a call gives of them.

        Args:
            inputs: As of a call.
            outputs: Tensor, what `call` returned; in training it may be an estimate.

        Returns:
            float32 tensor `(batch,)`, nats per example.
        """
        raise NotImplementedError

    # Training, by plain Keras

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
        **kwargs: Any,
    ) -> Tensor:
        return ops.mean(self.negative_log_likelihood(x, y_pred)) + sum(self.losses)

    def compile(self, optimizer: Any = "adam", **kwargs: Any) -> None:
        """As in Keras, but for `loss` and `metrics`, which are refused: the loss is its own."""
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.pop(name, None) is not None:
                raise ValueError(
                    f"`compile` takes no `{name}`: a {type(self).__name__} has its own loss."
                )
        super().compile(optimizer=optimizer, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        # How steps are run is chosen anew, for another backend may load the model.
        config = super().get_compile_config()
        return {k: v for k, v in config.items() if k != "jit_compile"} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.build_optimizer()

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        validation_data: Any = None,
        shuffle: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Train, as in Keras.

        Args:
            x: Int array of codes `(n, height, width)`, or a dict of `"codes"` and one array per
                condition; or a dataset of batches of these, each in a tuple. Where labels of arrays
                are *unknown*, every class must occur, too; of a dataset that is not seen.
            validation_data: As `x`, alone or in a tuple.
            **kwargs: The other arguments of Keras' `fit`, but `y` and weights. Arrays are checked
                first and shuffled by the seed and the epoch.

        Returns:
            Keras' `History`, with `loss` in nats per example.
        """
        if y is not None or any(
            kwargs.get(k) is not None for k in ("sample_weight", "class_weight")
        ):
            raise ValueError(
                f"A {type(self).__name__} takes neither `y` nor weights. Pass labels in the input "
                'dict: fit({"codes": codes, "label": y}).'
            )
        if is_divided(self):
            raise ValueError(
                f"A {type(self).__name__} trains on one device. Received: a distribution, a "
                "strategy or a group of processes in use. Make it outside of that, or end it first."
            )
        if not self.built:
            self.build()
        if self.compiled and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)  # a checkpoint is loaded into it
        if validation_data is not None:
            given, *others = datasets.unpack_validation(validation_data)
            if not model_inputs.is_array(given):
                validation_data = datasets.as_keras_takes_it(validation_data, "validation_data")
            elif any(other is not None for other in others):
                raise ValueError(
                    f"`validation_data` of a {type(self).__name__} must have neither `y` nor "
                    "weights. Received: some. Pass labels in the input dict."
                )
            else:
                validation_data = (self._check(given),)
        callbacks = with_bar(kwargs.pop("callbacks", None))
        batches = None
        if model_inputs.is_array(x):
            given = x
            x = self._check(x)
            check_occurrence(self, given)
            self.learn_ranges(x)
            if shuffle is True and not kwargs.get("validation_split"):
                batches = model_inputs.Batches((x,), batch_size or 32, lambda: self.seed or 0)
                callbacks.append(model_inputs.ShuffleEachEpoch(batches))
                x, batch_size, shuffle = batches, None, False
        else:
            x = datasets.as_keras_takes_it(x)
            self.learn_ranges_of_batches(x)
            shuffle = shuffle and isinstance(x, keras.utils.PyDataset)
        settings = {
            "batch_size": batch_size,
            "callbacks": callbacks,
            "validation_data": validation_data,
            "shuffle": shuffle,
            **kwargs,
        }
        return resuming.fit(self, super().fit, x, settings, batches)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Measure the loss, as in Keras, of what `fit` takes."""
        if not self.built:
            self.build()
        is_array = model_inputs.is_array(x)
        x = self._check(x) if is_array else datasets.as_keras_takes_it(x)
        return super().evaluate(x, **{**kwargs, "callbacks": with_bar(kwargs.get("callbacks"))})

    # A step takes the state, on JAX, and a batch.

    def train_step(self, *args: Any) -> Any:
        *state, data = args
        return super().train_step(*state, datasets.unpack(self, data))

    def test_step(self, *args: Any) -> Any:
        *state, data = args
        return super().test_step(*state, datasets.unpack(self, data))

    def check_batch(self, data: Any) -> None:
        """Check a batch of a dataset, given as tensors that may be symbolic."""
        datasets.unpack(self, data)

    def check_dtype(self, dtype: str) -> None:
        """Check that codes of a dtype, given by its name, are integers."""
        if "int" not in dtype:
            raise ValueError(f"Codes must be integers. Received: dtype {dtype}.")

    def _check(self, inputs):
        """Check arrays of codes and conditions."""
        codes, conditions = self.named_inputs(inputs)
        codes = check_codes(codes, self.grid_shape, self.num_codes)
        conditions = model_inputs.check_conditions(self, conditions, len(codes))
        return {"codes": codes, **conditions} if conditions else codes

    # NumPy in, NumPy out

    def log_likelihood(self, inputs: Examples, batch_size: int = 256) -> NDArray[np.float32]:
        """Compute `log p(codes | conditions)`, exactly.

        Args:
            inputs: As in `fit`.
            batch_size: Int. Examples computed at once.

        Returns:
            float32 array `(n,)`, nats per example.
        """

        def measure(batch):
            return [-self.negative_log_likelihood(batch, self(batch, training=False))]

        return in_batches(measure, self._check(inputs), batch_size)[0]

    def sample(
        self,
        conditions: Conditions | int | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int = 256,
        count: int | None = None,
        guidance: float | None = None,
    ) -> NDArray[np.int32]:
        """Draw codes.

        Each place takes one uniform number of `portable_random`, so a seed gives the same codes on
        every backend, unless a number falls within rounding of the border between two codes.

        Args:
            conditions: Dict from each condition's name to its values, one for each sample, or to a
                single one. Without the dict, they are drawn as of a `ConditionalVAE`. Of a prior
                without conditions, optionally an int, how many.
            temperature: Float, at least 0. Divides the logits; 0 takes the likeliest code.
            seed: Optional int, from 0 to 2^31 - 1. Example k of a seed does not depend on how
                many are drawn.
            batch_size: Int. Examples computed at once.
            count: Optional int, n. Defaults to the number of values, 1 if they are single.
            guidance: Optional float, at least 0, by default the attribute. Above 1 it sharpens the
                conditions: codes are drawn by `u + guidance (c - u)`, where `c` are the logits
                under the conditions and `u` those without any. Needs conditions with an
                `unknown_rate`. 0 leaves them out.

        Returns:
            int32 array `(n, height, width)`.

        Raises:
            ValueError: If an argument is out of range or a condition is missing, or for guidance of
                a prior that was not trained without its conditions.

        References:
            - Ho & Salimans, 2022, for guidance. https://arxiv.org/abs/2207.12598
        """
        seed = seeds.given_or_drawn(seed)
        conditions, count = self._check_sampled(conditions, count, seed)
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"`temperature` must be at least 0. Received: {temperature!r}")
        guidance = self.guidance if guidance is None else guidance
        self._check_guidance(guidance)
        portable_random.check(seed, count, math.prod(self.grid_shape))
        if not self.built:
            self.build()
        return self.draw(conditions, seed, count, temperature, batch_size, float(guidance))

    def _check_guidance(self, guidance):
        if not (math.isfinite(guidance) and guidance >= 0):
            raise ValueError(f"`guidance` must be at least 0. Received: {guidance!r}")
        never = [name for name, kind in self.condition.items() if not kind.unknown_rate]
        if guidance != 1 and (never or not self.condition):
            what = f"{', '.join(never)}, never unknown" if never else "a prior without conditions"
            raise ValueError(
                "`guidance` needs a prior that was trained without its conditions, too. Received: "
                f"{what}. Train with an unknown_rate, such as Categorical(10, unknown_rate=0.1)."
            )

    def draw(
        self,
        conditions: Conditions,
        seed: int,
        count: int,
        temperature: float,
        batch_size: int,
        guidance: float = 1.0,
    ) -> NDArray[np.int32]:
        """As `sample`, of arguments that were checked: int32 array `(count, height, width)`."""
        raise NotImplementedError

    def _check_sampled(self, conditions, count, seed):
        """Return the dict of conditions, empty without any, and how many samples they ask for."""
        if not self.condition:
            if isinstance(conditions, dict) or None not in (conditions, count):
                raise ValueError(
                    "This prior has no conditions: pass the number of samples, sample(count=16). "
                    f"Received: {conditions!r}."
                )
            given = [number for number in (conditions, count) if number is not None]
            return {}, given[0] if given else 1
        conditions = model_inputs.sampled_conditions(self, conditions, count, seed)
        return conditions, len(next(iter(conditions.values())))

    def manifest(self) -> dict[str, Any]:
        """What a device must know of the prior: a dict that JSON can hold."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        condition = {
            name: keras.saving.serialize_keras_object(kind) for name, kind in self.condition.items()
        }
        return {
            **super().get_config(),
            "grid_shape": list(self.grid_shape),
            "num_codes": self.num_codes,
            "condition": condition,
            **self.options,
            **({} if self.guidance == 1 else {"guidance": self.guidance}),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        deserialize = keras.saving.deserialize_keras_object
        condition = {name: deserialize(kind) for name, kind in config["condition"].items()}
        return cls(**{**config, "condition": condition})


def check_codes(codes, grid_shape, num_codes):
    """Check an array of codes and return it as int32.

    Raises:
        ValueError: One line, if it is no int array `(n, *grid_shape)` of 0 to `num_codes - 1`.
    """
    codes = np.asarray(model_inputs.to_numpy(codes))
    fits = codes.shape[1:] == grid_shape and codes.dtype.kind in "iu" and len(codes) > 0
    if not fits or codes.min() < 0 or codes.max() >= num_codes:
        found = f" from {codes.min()} to {codes.max()}" if codes.size else ""
        raise ValueError(
            f"Codes must be integers of the shape (n, {', '.join(map(str, grid_shape))}), from 0 "
            f"to {num_codes - 1}. Received: {codes.dtype} {codes.shape}{found}."
        )
    return codes.astype("int32")
