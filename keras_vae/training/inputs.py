"""What may go into a model: checks made once, at the edge, and batches in a repeatable order."""

import contextlib
import copy
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_vae import data as image_data
from keras_vae import keras_internals, portable_random, seeds
from keras_vae.training import datasets, frames

# Threads that read batches of files, and batches that they may be ahead.
READERS = 4
BATCHES_AHEAD = 16
# Names of other inputs and outputs of exported graphs.
_RESERVED = ("x", "z", "seed", "temperature", "token_temperature")


def is_array(x):
    """Whether `x` is an array or a frame, or a dict of such, not a dataset or a generator."""
    if isinstance(x, dict):
        return any(is_array(v) for v in x.values())
    return frames.is_frame(x) or (hasattr(x, "shape") and hasattr(x, "dtype"))


def check_examples(model, inputs):
    """Check a model's input arrays and return them with the dtypes that the model computes in.

    They also tell the shape of the data to a model that is not built yet, and build it.

    Args:
        model: A `GenerativeModel`.
        inputs: `x`, an array `(n, *data_shape)` in the likelihood's range, or a frame of numbers;
            or a dict with `"x"` and, for a conditional model, one array `(n, ...)` or series per
            condition.

    Returns:
        `x` as an array, or the dict with it and int32 labels. uint8, an 8-bit picture whatever its
        values, stays so, a quarter of the memory; whatever else is no float becomes float32: bools
        are 0 and 1, integers what they are.

    Raises:
        ValueError: One line that says what must hold, what came and what to do.
    """
    x, conditions = model.named_inputs(inputs)
    x = check_data(model, x, name="x")
    if not model.built:
        model.build_for((None, *x.shape[1:]))
    if not isinstance(inputs, dict):
        return x
    return {"x": x, **check_conditions(model, conditions, len(x))}


def check_data(model, x, name):
    """Check one array of examples against the model's shape and its likelihood's range."""
    x = x if isinstance(x, image_data.ImageFiles) else to_numpy(x)
    expected = model.data_shape
    if expected is not None and x.shape[1:] != expected:
        hint = datasets.shape_hint(x.shape, expected)
        raise ValueError(
            f"`{name}` must have the shape (n, {', '.join(map(str, expected))}), as the decoder "
            f"makes it. Received: {x.shape}.{hint}"
        )
    if len(x) == 0:
        raise ValueError(f"`{name}` must hold at least one example. Received: shape {x.shape}.")
    check_dtype(model, x.dtype.name, name)
    if model.likelihood.holds_tokens:
        return _check_tokens(model, x, name)
    if isinstance(x, image_data.ImageFiles) or x.dtype == np.uint8:
        return x
    if model.likelihood.takes_missing:
        return _check_rows(model.likelihood, x, name)
    low, high = image_data.bounds(*model.likelihood.data_range)
    smallest, largest = float(x.min()), float(x.max())
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity. Remove or repair those examples."
        )
    if smallest < low or largest > high:
        is_8_bit = smallest >= 0 and 1 < largest <= 255 and largest == int(largest)
        hint = " Divide 8-bit images by 255, or pass them as uint8." if is_8_bit else ""
        low, high = model.likelihood.data_range
        raise ValueError(
            f"`{name}` must lie in [{low:g}, {high:g}] under the {model.likelihood.name} "
            f"likelihood. Received: {x.dtype} from {smallest:g} to {largest:g}.{hint}"
        )
    return x if x.dtype.kind == "f" else x.astype("float32")


def check_dtype(model, dtype, name="x"):
    """Check that examples of a dtype, given by its name, are numbers that the likelihood takes."""
    if not any(kind in dtype for kind in ("float", "int", "bool")):
        raise ValueError(f"`{name}` must be numbers. Received: dtype {dtype}.")
    if dtype == "uint8" and not model.likelihood.holds_tokens:
        _check_picture(model.likelihood, name)


def _check_tokens(model, x, name):
    """Check tokens, and return them as integers that are not taken for an 8-bit picture."""
    most = int(model.likelihood.data_range[1])
    if isinstance(x, image_data.ImageFiles) or x.dtype.kind not in "iuf":
        raise ValueError(f"`{name}` must be whole numbers, tokens. Received: {x.dtype}.")
    low, high = x.min(), x.max()
    if x.dtype.kind == "f" and not (np.isfinite(low + high) and np.all(x == np.floor(x))):
        raise ValueError(f"`{name}` must be whole numbers, tokens. Received: others in {x.dtype}.")
    if low < -1 or high > most:
        raise ValueError(
            f"`{name}` must be tokens from 0 to {most}, or -1 where there is no step. Received: "
            f"values from {low:g} to {high:g}."
        )
    return x.astype("int8" if most < 128 else "int16" if most < 2**15 else "int32")


def _check_rows(likelihood, x, name):
    """Check rows of a table, of which NaN is a missing value, and return them as float32."""
    x = x.astype("float32")
    valid = keras.ops.convert_to_numpy(likelihood.valid(keras.ops.convert_to_tensor(x)))
    if not valid.all():
        row = int(np.argmin(valid))
        raise ValueError(
            f"`{name}` must hold in every column what its kind has, or NaN: finite numbers, "
            f"indices of names, counts, 0 and 1. Received: {x[row].tolist()} in row {row + 1}. Use "
            "the encode of a data.TableSchema."
        )
    return x


def check_layout(model, shape):
    """Refuse to train convolutions that would take the rows of an image for its channels.

    Args:
        model: A `GenerativeModel`.
        shape: Tuple `(n, ...)`, the shape of `x`.

    Raises:
        ValueError: If the images seem to have their channels first, and the model has convolutions,
            none of which is made for that.
    """
    formats = {
        getattr(layer, "data_format", None)
        for layer in keras_internals.flatten_layers(model)
        if "Conv" in type(layer).__name__
    }
    if image_data.looks_channels_first(shape) and formats - {None} == {"channels_last"}:
        raise ValueError(
            "Convolutions of this model take images (n, height, width, channels). Received: images "
            f"{tuple(shape[1:])}, which look like channels first. Move the channels last with "
            "np.moveaxis(x, 1, -1), or make the layers with data_format='channels_first'."
        )


def _check_picture(likelihood, name):
    """Check that a likelihood has a meaning for uint8: an 8-bit picture, 0 to 255 for 0 to 1."""
    low, high = likelihood.data_range
    if not likelihood.takes_pictures or low > 0 or high < 1:
        levels = likelihood.levels
        hint = (
            f"Pass classes as x.astype('float32') / {levels - 1}, a picture as x / 255."
            if levels
            else "Convert it to float32."
        )
        of_levels = f" of {levels} levels" if levels else ""
        raise ValueError(
            f"`{name}` under a {likelihood.name} likelihood{of_levels} must be floats in "
            f"[{low:g}, {high:g}]. Received: uint8, which is an 8-bit picture of 256 levels. {hint}"
        )


def warn_of_darkness(x):
    """Warn of uint8 whose values are only 0 and 1, as they are read as 0 to 255."""
    x = x["x"] if isinstance(x, dict) else x
    if x.dtype != np.uint8 or isinstance(x, image_data.ImageFiles):
        return
    # A picture ends the search with its first rows.
    if all(x[start : start + 1000].max() <= 1 for start in range(0, len(x), 1000)):
        warnings.warn(
            "`x` is uint8, which is read as 0 to 255, but none of its values exceeds 1. If they "
            "are 0 and 1, pass them as bool or float32.",
            stacklevel=3,
        )


def as_float(x):
    """Return a tensor as floats by its dtype alone.

    uint8 is an 8-bit picture: 0 to 255 become 0 to 1, float32. Bools become 0 and 1, integers what
    they are, float32. Floats stay as they are.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    if "float" in dtype:
        return x
    x = keras.ops.cast(x, "float32")
    return x / 255 if dtype == "uint8" else x


def check_kinds(condition):
    """Check the `condition` of a conditional model: a dict from names to kinds."""
    pairs = condition.items() if isinstance(condition, dict) else ()
    if not pairs or not all(_is_name(name) and hasattr(kind, "encode") for name, kind in pairs):
        raise ValueError(
            "`condition` must be a dict of at least one name, a valid identifier other than "
            f"{', '.join(_RESERVED)}, each with a kind such as Categorical(10) or Continuous(1). "
            f"Received: {condition!r}"
        )


def _is_name(name):
    return isinstance(name, str) and name.isidentifier() and name not in _RESERVED


def check_conditions(model, conditions, count=None):
    """Check a dict of condition values, and return as many of each.

    Args:
        model: Model with conditions.
        conditions: Dict from every name to its values, or to a single one, that of all examples.
        count: Optional int, how many examples. Defaults to the number of values.

    Returns:
        Dict of arrays `(count, ...)`, as the kinds have them.

    Raises:
        ValueError: If a condition is missing, a value is none of its condition, or their numbers
            differ.
    """
    if not isinstance(conditions, dict) or set(conditions) != set(model.condition):
        is_dict = isinstance(conditions, dict)
        received = sorted(map(str, conditions)) if is_dict else [type(conditions).__name__]
        raise ValueError(
            f"`{type(model).__name__}` needs a dict of the conditions {sorted(model.condition)}. "
            f"Received: {received}."
        )
    checked, single = {}, []
    for name, kind in model.condition.items():
        values = as_given(conditions[name])
        if kind.is_single(values):
            single.append(name)
            values = np.asarray(values)[None]
        checked[name] = kind.as_array(values, name)
    if count is None:
        count = next((len(v) for name, v in checked.items() if name not in single), 1)
    for name, values in checked.items():
        if name in single:
            checked[name] = np.repeat(values, count, axis=0)
        elif len(values) != count:
            raise ValueError(
                f"`{name}` must hold one value per example. Received: {len(values)} values for "
                f"{count} examples."
            )
    return checked


def sampled_conditions(model, conditions, count, seed):
    """The conditions of samples, checked, as arrays of one number.

    Args:
        model: Model with conditions.
        conditions: Dict as for `check_conditions`; or None for what `_drawn` draws.
        count: Optional int, how many samples. Defaults to the number of values, or 1.
        seed: Int.

    Raises:
        ValueError: As `check_conditions`; or if there is a condition that cannot be drawn.
    """
    if isinstance(conditions, int):
        raise ValueError(
            f"`{type(model).__name__}` takes the number of samples by its name: "
            f"sample(count={conditions}). Received: {conditions}, without a name."
        )
    portable_random.check(seed, 1 if count is None else count, 1)
    if conditions is None:
        conditions = _drawn(model, count or 1, seed)
    found = check_conditions(model, conditions, count)
    _warn_of_range(model, found)
    return found


def _drawn(model, count, seed):
    """Conditions that nobody asked for: classes alike, numbers uniform over their range.

    What cannot be drawn, tags and numbers without a range, is *unknown* where a model knows that.
    """
    drawn, needed = {}, []
    for name, kind in model.condition.items():
        if kind.kind == "categorical":
            rng = seeds.generator(seed, f"label {name}")
            drawn[name] = rng.integers(kind.num_leaves, size=count)
        elif kind.kind == "continuous" and kind.low is not None:
            rng = seeds.generator(seed, f"number {name}")
            drawn[name] = rng.uniform(kind.low, kind.high, (count, kind.dim))
        elif kind.unknown_rate:
            drawn[name] = np.full((count, *kind.value_shape), kind.unknown)
        else:
            needed.append(name)
    if needed:
        asked = ", ".join(f"{name!r}: ..." for name in model.condition)
        raise ValueError(
            f"`{type(model).__name__}` draws labels, and numbers whose range it knows. Received: "
            f"no value of {', '.join(needed)}. Pass sample({{{asked}}}, count={count})."
        )
    return drawn


def _warn_of_range(model, conditions):
    """Warn of numbers outside of the range that training saw: of each condition once."""
    for name, kind in model.condition.items():
        if kind.kind != "continuous" or name in model.untracked.warned_of:
            continue
        outside = kind.outside(conditions[name])
        if outside.any():
            model.untracked.warned_of.add(name)
            received = ", ".join(f"{number:g}" for number in conditions[name][np.argmax(outside)])
            warnings.warn(
                f"`{name}` is {received}, outside of what the model was trained on, "
                f"{kind.described_range()}: samples may be of no use.",
                stacklevel=4,
            )


def check_fit_data(model, x, y, sample_weight):
    """Check `x`, `y` and `sample_weight` as `fit` and `evaluate` take them.

    Without `y`, an example is its own target. With weights it is made explicit, because Keras
    drops `sample_weight` when there is no `y`.
    """
    x = check_examples(model, x)
    data = x["x"] if isinstance(x, dict) else x
    if y is not None:
        if not model.has_target:
            raise ValueError(
                f"`{type(model).__name__}` takes no `y`, because it reconstructs nothing. "
                'Conditions such as labels go into the input dict: fit({"x": x, "label": y}).'
            )
        y = to_numpy(y) if frames.is_frame(y) else y
        if tuple(getattr(y, "shape", ())) != data.shape:
            raise ValueError(
                f"`y` is the image to reconstruct and must have the shape of `x`, {data.shape}. "
                f"Received: {getattr(y, 'shape', type(y).__name__)}. Conditions such as labels go "
                'into the input dict: fit({"x": x, "label": y}).'
            )
        y = check_data(model, y, name="y")
    if sample_weight is not None:
        sample_weight = np.asarray(to_numpy(sample_weight), "float32")
        if sample_weight.shape != (len(data),) or not np.isfinite(sample_weight).all():
            raise ValueError(
                f"`sample_weight` must be {len(data)} finite numbers, one per example. "
                f"Received: shape {sample_weight.shape}."
            )
        y = data if y is None else y
    return x, y, sample_weight


def as_given(values):
    """Values of a condition as a NumPy array; what is no array, such as a list, as it came."""
    return to_numpy(values) if hasattr(values, "dtype") or frames.is_frame(values) else values


def to_numpy(x):
    """Return an array of any backend, nested lists, a frame or a series as a NumPy array."""
    if isinstance(x, np.ndarray | np.generic):
        return np.asarray(x)
    return frames.to_array(x) if hasattr(x, "to_numpy") else keras.ops.convert_to_numpy(x)


def is_in_files(arrays):
    """Whether some of nested arrays are read from the disk as they are needed."""
    kinds = (image_data.ImageFiles, np.memmap)
    return any(isinstance(array, kinds) for array in keras.tree.flatten(arrays))


class Batches(keras.utils.PyDataset):
    """Batches of arrays in their order, or in one that depends on the seed and the epoch alone.

    Keras shuffles with the backend's global generator, whose state no checkpoint holds; with this
    order a resumed run sees the batches that an uninterrupted one would. What is in files is read
    by several threads, ahead of the training; Keras' own `workers` lose the first batch of an epoch
    that they read before it began (Keras 3.15.1, JAX and PyTorch).

    Args:
        arrays: Tuple `(x, y, sample_weight)`; `y` and `sample_weight` may be None.
        batch_size: Int.
        seed: Optional callable that returns the seed, an int, at the start of each epoch.
        strata: Optional `strata.Strata`, by which an epoch draws its rows; `y` is given then.

    Attributes:
        prepare: Function from the rows of a batch to what is made of them: `load`, unless the batch
            is divided among devices or processes.
    """

    def __init__(self, arrays, batch_size, seed=None, strata=None):
        if strata is not None:
            x, y, weight = arrays
            arrays = (x, y, strata.weight if weight is None else weight * strata.weight)
        while arrays[-1] is None:
            arrays = arrays[:-1]
        self.in_files = is_in_files(arrays)
        super().__init__()
        self.readers = ThreadPoolExecutor(READERS) if self.in_files else None
        self.ahead = {}
        self.arrays = tuple(arrays)
        self.batch_size = batch_size
        self.count = len(keras.tree.flatten(self.arrays)[0])
        self.seed = seed
        self.strata = strata
        self.first = 0
        self.order = np.arange(self.count)
        self.errors = []
        self.prepare = self.load

    def shuffle(self, epoch):
        """Draw the order of an epoch, for the batches and for what came from `after`."""
        rng = np.random.default_rng([self.seed(), epoch])
        self.order[:] = self.strata.order(rng) if self.strata else rng.permutation(self.count)
        self.ahead = {}

    def after(self, count):
        """The same batches but for the first so many."""
        rest = copy.copy(self)
        rest.first, rest.ahead = count, {}
        return rest

    @property
    def rows(self):
        """The examples of all batches in their order, a copy."""
        return self.order[self.first * self.batch_size :].copy()

    def __len__(self):
        return -(-self.count // self.batch_size) - self.first

    def __getitem__(self, index):
        if not self.in_files:
            return self._batch(index)
        for later in range(index, min(index + BATCHES_AHEAD, len(self))):
            if later not in self.ahead:
                self.ahead[later] = self.readers.submit(self._batch, later)
        return self.ahead.pop(index).result()

    def _batch(self, index):
        start = (self.first + index) * self.batch_size
        rows = self.order[start : start + self.batch_size]
        try:
            return self.prepare(rows)
        except Exception as err:
            self.errors.append(err)
            raise

    @contextlib.contextmanager
    def own_errors(self):
        """Raise what went wrong in reading a batch as it was: TensorFlow wraps it in pages."""
        try:
            yield
        except Exception as err:
            if self.errors and err is not self.errors[0]:
                raise self.errors[0] from None
            raise

    def load(self, rows):
        """The examples of some rows."""
        return keras.tree.map_structure(lambda array: np.asarray(array[rows]), self.arrays)


class ShuffleEachEpoch(keras.callbacks.Callback):
    """Tell `Batches` which epoch begins, also after a resumed run's jump ahead."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.shuffle(epoch)
