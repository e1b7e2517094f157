"""An autoregressive prior over grids of codes."""

import math
import types

import keras
import numpy as np
from keras import ops

from keras_vae import portable_random, seeds
from keras_vae.layers.conditioning import Conditioning
from keras_vae.layers.masked_convolution import MaskedConv2D
from keras_vae.networks.convolutional import convolution
from keras_vae.storage.stored import StoredModel
from keras_vae.training import Guard, datasets, is_divided, resuming
from keras_vae.training import inputs as model_inputs
from keras_vae.training.bar import with_bar
from keras_vae.training.batched import in_batches, padded
from keras_vae.training.occurrence import check_occurrence
from keras_vae.version import __version__


@keras.saving.register_keras_serializable("keras_vae")
class PixelCNN(Guard, StoredModel):
    """Gated PixelCNN: each code given those before it in raster order, and the conditions.

    `fit(codes)` or `fit({"codes": codes, "label": y})` minimises `-log p(codes | label)` in nats
    per example, summed over the grid and averaged over the batch. The loss is its own: there is
    no `y`. As prior of a `VQVAE` it is trained by `VQVAE.fit_prior`.

    Args:
        grid_shape: Tuple `(height, width)` of the codes.
        num_codes: Int, at least 2.
        condition: Optional dict from name to `Categorical` or `Continuous`.
        hidden_units: Int, channels.
        num_layers: Int, at least 1, of masked convolutions.
        kernel_size: Odd int, of the first layer; the further ones have 3.
        seed: Optional int, for the order of the batches.

    Call arguments:
        inputs: Codes, int `(batch, height, width)`; or a dict of `"codes"` and one tensor per
            condition, int `(batch,)` or float `(batch, dim)`.
        training: Bool. Whether labels become *unknown* at their `unknown_rate`.

    Returns:
        Logits of each code's distribution, float32 `(batch, height, width, num_codes)`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        - van den Oord et al., 2016, section 2. https://arxiv.org/abs/1606.05328
    """

    input_name = "codes"
    has_target = False

    def __init__(
        self,
        grid_shape,
        num_codes,
        condition=None,
        hidden_units=64,
        num_layers=6,
        kernel_size=5,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.grid_shape = tuple(int(size) for size in grid_shape)
        if len(self.grid_shape) != 2 or min(self.grid_shape) < 1:
            raise ValueError(f"`grid_shape` must be (height, width). Received: {grid_shape!r}")
        for name, value, least in (("num_codes", num_codes, 2), ("num_layers", num_layers, 1)):
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {value!r}")
        self.num_codes = int(num_codes)
        self.condition = dict(condition or {})
        self.conditioning = Conditioning(self.condition, seed) if self.condition else None
        self.options = {
            "hidden_units": hidden_units,
            "num_layers": num_layers,
            "kernel_size": kernel_size,
        }
        self.seed = seed
        self.ignores_labels = False
        self.untracked = types.SimpleNamespace(known_batches=set())
        self.embedding = keras.layers.Embedding(num_codes, hidden_units)
        self.blocks = [
            GatedBlock(hidden_units, 3 if index else kernel_size, index == 0, bool(self.condition))
            for index in range(num_layers)
        ]
        self.hidden = convolution(hidden_units, 1, activation="relu")
        self.logits = convolution(num_codes, 1, dtype=self.variable_dtype, name="logits")

    def build(self, input_shape=None):
        """Create all weights."""
        size = self.conditioning.size if self.condition else None
        condition = keras.KerasTensor((None, size)) if self.condition else None
        self._logits(keras.KerasTensor((None, *self.grid_shape), "int32"), condition)
        self.built = True

    def build_for_weights(self):
        if not self.built:
            self.build()

    def get_build_config(self):
        if not self.built:
            return None
        sizes = {"grid_shape": list(self.grid_shape), "keras_vae": __version__}
        return {**sizes, **self.frozen()}

    def build_from_config(self, config):
        self.build()
        self.freeze(config)

    @property
    def example_shape(self):
        """Shape of one example's codes."""
        return self.grid_shape

    def call(self, inputs, training=None):
        codes, conditions = self.named_inputs(inputs)
        condition = self.conditioning(conditions, training=training) if self.condition else None
        return self._logits(codes, condition)

    def _logits(self, codes, condition):
        above = left = self.embedding(codes)
        for block in self.blocks:
            above, left = block(above, left, condition)
        return self.logits(self.hidden(ops.relu(left)))

    def named_inputs(self, inputs):
        """Return the codes and the dict of conditions."""
        keys = ["codes", *self.condition]
        if isinstance(inputs, dict) and set(inputs) == set(keys):
            return inputs["codes"], {name: inputs[name] for name in self.condition}
        if isinstance(inputs, dict) or self.condition:
            received = sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"The input must be a dict of {keys}. Received: {received}.")
        return inputs, {}

    # Training, by plain Keras

    def compile(self, optimizer="adam", **kwargs):
        """As in Keras, but for `loss` and `metrics`, which are refused: the loss is its own."""
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.pop(name, None) is not None:
                raise ValueError(f"`compile` takes no `{name}`: a PixelCNN has its own loss.")
        super().compile(optimizer=optimizer, **kwargs)

    def get_compile_config(self):
        # How steps are run is chosen anew, for another backend may load the model.
        config = super().get_compile_config()
        return {k: v for k, v in config.items() if k != "jit_compile"} if config else config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.build_optimizer()

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True, **kwargs
    ):
        codes, _ = self.named_inputs(x)
        return ops.mean(negative_log_prob(codes, y_pred)) + sum(self.losses)

    def fit(self, x=None, y=None, batch_size=None, validation_data=None, shuffle=True, **kwargs):
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
                "A PixelCNN takes neither `y` nor weights. Pass labels in the input dict: "
                'fit({"codes": codes, "label": y}).'
            )
        if is_divided(self):
            raise ValueError(
                "A PixelCNN trains on one device. Received: a distribution, a strategy or a group "
                "of processes in use. Make it outside of that, or end it first."
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
                    "`validation_data` of a PixelCNN must have neither `y` nor weights. Received: "
                    "some. Pass labels in the input dict."
                )
            else:
                validation_data = (self._check(given),)
        callbacks = with_bar(kwargs.pop("callbacks", None))
        batches = None
        if model_inputs.is_array(x):
            given = x
            x = self._check(x)
            check_occurrence(self, given)
            if shuffle is True and not kwargs.get("validation_split"):
                batches = model_inputs.Batches((x,), batch_size or 32, lambda: self.seed or 0)
                callbacks.append(model_inputs.ShuffleEachEpoch(batches))
                x, batch_size, shuffle = batches, None, False
        else:
            x = datasets.as_keras_takes_it(x)
            shuffle = shuffle and isinstance(x, keras.utils.PyDataset)
        settings = {
            "batch_size": batch_size,
            "callbacks": callbacks,
            "validation_data": validation_data,
            "shuffle": shuffle,
            **kwargs,
        }
        return resuming.fit(self, super().fit, x, settings, batches)

    def evaluate(self, x=None, y=None, **kwargs):
        """Measure the loss, as in Keras, of what `fit` takes."""
        if not self.built:
            self.build()
        is_array = model_inputs.is_array(x)
        x = self._check(x) if is_array else datasets.as_keras_takes_it(x)
        return super().evaluate(x, **{**kwargs, "callbacks": with_bar(kwargs.get("callbacks"))})

    # A step takes the state, on JAX, and a batch.

    def train_step(self, *args):
        *state, data = args
        return super().train_step(*state, datasets.unpack(self, data))

    def test_step(self, *args):
        *state, data = args
        return super().test_step(*state, datasets.unpack(self, data))

    def check_batch(self, data):
        """Check a batch of a dataset, given as tensors that may be symbolic."""
        datasets.unpack(self, data)

    def check_dtype(self, dtype):
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

    def log_likelihood(self, inputs, batch_size=256):
        """Compute `log p(codes | conditions)`, exactly.

        Args:
            inputs: As in `fit`.
            batch_size: Int. Examples computed at once.

        Returns:
            float32 array `(n,)`, nats per example.
        """

        def measure(batch):
            return [-negative_log_prob(self.named_inputs(batch)[0], self(batch, training=False))]

        return in_batches(measure, self._check(inputs), batch_size)[0]

    def sample(self, conditions=None, temperature=1.0, seed=None, batch_size=256, count=None):
        """Draw codes in raster order, all examples at once.

        Each place takes one uniform number of `portable_random`, so a seed gives the same codes on
        every backend, unless a number falls within rounding of the border between two codes.

        Args:
            conditions: Dict from each condition's name to its values, one for each sample, or to a
                single one. Without the dict, labels are drawn, every class alike. Of a prior
                without conditions, optionally an int, how many.
            temperature: Float, at least 0. Divides the logits; 0 takes the likeliest code.
            seed: Optional int, from 0 to 2^31 - 1. Example k of a seed does not depend on how
                many are drawn.
            batch_size: Int. Examples computed at once.
            count: Optional int, n. Defaults to the number of values, 1 if they are single.

        Returns:
            int32 array `(n, height, width)`.

        Raises:
            ValueError: If an argument is out of range or a condition is missing.
        """
        seed = seeds.given_or_drawn(seed)
        conditions, count = self._check_sampled(conditions, count, seed)
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"`temperature` must be at least 0. Received: {temperature!r}")
        places = math.prod(self.grid_shape)
        portable_random.check(seed, count, places)
        index, place = np.arange(count)[:, None], np.arange(places)[None]
        high, low = portable_random.words(np.int64(seed), index, place)
        uniform = ((high * 65536.0 + low + 0.5) / 2**32).reshape(count, *self.grid_shape)
        parts = []
        for start in range(0, count, batch_size):
            rows = slice(start, start + batch_size)
            given = {name: values[rows] for name, values in conditions.items()}
            numbers, given = padded((uniform[rows], given), batch_size)
            parts.append(self._draw(numbers, given, temperature))
        return np.concatenate(parts)[:count]

    def _draw(self, uniform, conditions, temperature):
        if not self.built:
            self.build()
        codes = np.zeros(uniform.shape, "int32")
        for row, column in np.ndindex(self.grid_shape):
            logits = self.predict_on_batch({"codes": codes, **conditions} if conditions else codes)
            logits = logits[:, row, column].astype("float64")
            codes[:, row, column] = draw(logits, uniform[:, row, column], temperature)
        return codes

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

    def manifest(self):
        """What a device must know: that it cannot draw from this prior."""
        return {"kind": "pixel_cnn"}

    def get_config(self):
        condition = {
            name: keras.saving.serialize_keras_object(kind) for name, kind in self.condition.items()
        }
        return {
            **super().get_config(),
            "grid_shape": list(self.grid_shape),
            "num_codes": self.num_codes,
            "condition": condition,
            **self.options,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        condition = {name: deserialize(kind) for name, kind in config["condition"].items()}
        return cls(**{**config, "condition": condition})


class GatedBlock(keras.layers.Layer):
    """A gated layer of both stacks: what is above, and what is above or to the left.

    The condition enters the first, and the second through it.

    Args:
        hidden_units: Int, channels.
        kernel_size: Odd int.
        is_first: Bool. The first layer sees the codes themselves, so neither its own row above
            nor its own place to the left, and has no residual connection.
        is_conditional: Bool. Whether there is a condition.
    """

    def __init__(self, hidden_units, kernel_size, is_first, is_conditional, **kwargs):
        super().__init__(**kwargs)
        self.is_first = is_first
        width = 2 * hidden_units
        self.above = MaskedConv2D(width, kernel_size, "vertical", sees_center=not is_first)
        self.left = MaskedConv2D(width, kernel_size, "horizontal", sees_center=not is_first)
        self.from_above = convolution(width, 1)
        self.from_condition = keras.layers.Dense(width, use_bias=False) if is_conditional else None
        self.out = convolution(hidden_units, 1)

    def call(self, above, left, condition=None):
        new_above = self.above(above)
        if condition is not None:
            new_above += self.from_condition(condition)[:, None, None, :]
        new_left = self.left(left) + self.from_above(new_above)
        new_left = self.out(_gate(new_left))
        return _gate(new_above), new_left if self.is_first else new_left + left


def _gate(h):
    signal, gate = ops.split(h, 2, axis=-1)
    return ops.tanh(signal) * ops.sigmoid(gate)


def negative_log_prob(codes, logits):
    """`-log p` of codes `(batch, height, width)`, summed over the grid: float32 nats `(batch,)`."""
    logits = ops.cast(logits, "float32")
    each = ops.sparse_categorical_crossentropy(codes, logits, from_logits=True)
    return ops.sum(each, axis=(1, 2))


def draw(logits, uniform, temperature):
    """Draw from categorical distributions by inverting their cumulated probabilities.

    Args:
        logits: Float array `(n, categories)`.
        uniform: Float array `(n,)`, in (0, 1).
        temperature: Float, at least 0.

    Returns:
        Int array `(n,)`.
    """
    if temperature == 0:
        return logits.argmax(axis=1)
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    cumulated = np.cumsum(np.exp(scaled), axis=1)
    return np.sum(cumulated < uniform[:, None] * cumulated[:, -1:], axis=1)


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
