"""Data sets of batches: as Keras takes them, and what a batch must hold."""

import contextlib
import copy
import math
import re
import warnings
from typing import Any, NamedTuple

import keras
from keras import ops

# The shape of what is no tensor: none that a tensor of a batch may have.
_NONE = ()


def unpack_validation(data):
    """Validation data as `(x, y, sample_weight)`, `x` alone or in a tuple.

    Raises:
        ValueError: If it is a tuple of another length.
    """
    if isinstance(data, list | tuple) and not 1 <= len(data) <= 3:
        raise ValueError(
            "`validation_data` must be `x`, (x,), (x, y) or (x, y, sample_weight). Received: "
            f"{len(data)} items."
        )
    return keras.utils.unpack_x_y_sample_weight(data)


def as_keras_takes_it(dataset, name="x"):
    """Return a dataset whose batches are tuples, as Keras wants them of some kinds of dataset.

    Generators, and a torch `DataLoader` on some backends, may not give a bare dict or array; theirs
    are put into a tuple.

    Raises:
        ValueError: If it is no dataset.
    """
    if dataset is None or isinstance(dataset, list | tuple | dict | str | int | float):
        raise ValueError(
            f"`{name}` must be an array, a dict of arrays, a frame, or a dataset or generator of "
            f"batches. Received: {_said(dataset)}. Make an array of it, as with np.asarray."
        )
    if hasattr(dataset, "collate_fn"):
        dataset = copy.copy(dataset)
        dataset.collate_fn = InTuple(dataset.collate_fn)
    elif hasattr(dataset, "__next__"):
        dataset = map(_in_tuple, dataset)
        dataset = (batch for batch in dataset)  # Keras knows iterators by this type
    return dataset


@contextlib.contextmanager
def names_explained(model):
    """Say what to do about labels in words, which Keras and JAX refuse for their dtype."""
    try:
        yield
    except (ValueError, TypeError) as err:
        labels = [name for name, kind in model.condition.items() if kind.kind == "categorical"]
        of_dtype = r"Invalid dtype: (str|object|bytes)|Error interpreting argument"
        if not labels or not re.match(of_dtype, str(err)):
            raise
        raise ValueError(
            "Batches must hold numbers. Received: words or objects. Make numbers of the names of "
            f"classes: y = model.condition[{labels[0]!r}].as_array(y)."
        ) from err


class InTuple:
    """A `collate_fn` that puts a batch into a tuple. A class, so that workers can unpickle it."""

    def __init__(self, collate_fn):
        self.collate_fn = collate_fn

    def __call__(self, rows):
        return _in_tuple(self.collate_fn(rows))


class Batch(NamedTuple):
    """A batch that was looked at.

    Attributes:
        inputs: `x`, or a dict of it and every condition.
        target: Tensor like `x`, or None.
        sample_weight: Float tensor `(batch,)`, or None.
    """

    inputs: Any
    target: Any = None
    sample_weight: Any = None


def unpack(model, data):
    """A batch as `fit` takes it, as a `Batch`.

    It is looked at when a step is traced, or where none is whenever its shapes and dtypes are new:
    at these, at no values. A model that is not built is built. Of a pair of examples and labels, a
    conditional model whose one condition is a label takes both; another model ignores the labels
    and says so, once. A second item of the shape of the examples is the target.

    Args:
        model: Model with the attributes `input_name` ("x"), `example_shape`, `condition`, and the
            methods `check_dtype` and `build`.
        data: `x`, a dict with it and every condition, or a tuple of one of these, what comes beside
            it, and sample weights `(batch,)`.

    Raises:
        ValueError: One line that says what must hold, what came and what to do.
    """
    if isinstance(data, Batch):
        return data
    kind = _kind(data)
    if kind in model.untracked.known_batches:
        return Batch(*keras.utils.unpack_x_y_sample_weight(data))
    if isinstance(data, tuple | list) and not 1 <= len(data) <= 3:
        raise ValueError(
            "A batch must be `x`, (x,), (x, y) or (x, y, sample_weight). Received: "
            f"{len(data)} items. Put conditions into a dict: {_keys(model)}."
        )
    inputs, second, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if not isinstance(inputs, dict) and second is not None and _has_one_label(model):
        inputs, second = {model.input_name: inputs, next(iter(model.condition)): second}, None
    x, conditions = model.named_inputs(inputs)
    _check_examples(model, x)
    conditions = {
        name: _values(name, model.condition[name], values, x) for name, values in conditions.items()
    }
    shape = _shape(sample_weight)
    if sample_weight is not None and shape is not None and shape[1:] not in ((), (1,)):
        raise ValueError(
            "Sample weights of a batch must be of the shape (batch,). Received: "
            f"{_said(sample_weight)}."
        )
    inputs = {model.input_name: x, **conditions} if isinstance(inputs, dict) else x
    batch = Batch(inputs, _target(model, second, x), sample_weight)
    if kind and model.built and _is_as_it_came(batch, data):
        model.untracked.known_batches.add(kind)
    return batch


def _kind(data):
    """The shapes and dtypes of a batch by their names, as text; None of what has none."""
    leaves = keras.tree.flatten(data)
    if not all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves):
        return None
    return repr(keras.tree.map_structure(lambda leaf: (leaf.shape, leaf.dtype), data))


def _is_as_it_came(batch, data):
    """Whether nothing of a batch was left out or given another place or shape."""
    given = keras.utils.unpack_x_y_sample_weight(data)
    came, goes = (keras.tree.flatten(tuple(each)) for each in (given, batch))
    return len(came) == len(goes) and all(a is b for a, b in zip(came, goes, strict=True))


def shape_hint(shape, expected):
    """What mends an array whose shape, with its rows, is not that of a model's examples.

    Args:
        shape: Tuple `(n, ...)`.
        expected: Tuple, the shape of one example.
    """
    if len(expected) == 3 and shape[1:] == (expected[2], *expected[:2]):
        return " Its channels come first: move them with np.moveaxis(x, 1, -1)."
    if (*shape[1:], 1) == expected:
        return " Add the channels with x[..., None]."
    if shape == expected:
        return " That is a single example: make batches, as with dataset.batch(32) or x[None]."
    if len(shape) == 2 and shape[1] == math.prod(expected):
        return f" Give them their shape with x.reshape(-1, {', '.join(map(str, expected))})."
    return ""


def _check_examples(model, x):
    """Check the examples of a batch by shape and dtype, and build a model that is not built."""
    name, shape = model.input_name, _shape(x)
    if shape is None:
        return
    if shape == _NONE:
        raise ValueError(
            f"`{name}` of a batch must be an array. Received: {_said(x)}. A batch is `{name}` or a "
            f"dict of {_keys(model)}, alone or in a tuple."
        )
    model.check_dtype(_dtype(x))
    if not model.built and len(shape) > 1 and None not in shape[1:]:
        model.build_for((None, *shape[1:]))
    expected = model.example_shape
    if expected is not None and not _agree(shape, (None, *expected)):
        raise ValueError(
            f"`{name}` of a batch must have the shape {_listed((None, *expected))}, as the model "
            f"is made for it. Received: {_listed(shape)}.{shape_hint(shape, expected)}"
        )


def _values(name, kind, values, x):
    """Check the values of a condition in a batch, and return them in the shape of its kind."""
    shape, expected, rows = _shape(values), kind.value_shape, _shape(x)
    if shape is None:
        return values
    dtype = _dtype(values)
    is_number = "int" in dtype or "float" in dtype
    fits = len(shape) > 0 and (
        shape[1:] == expected or {shape[1:], expected} <= {(), (1,)}
    )  # (batch, 1) is as good as (batch,)
    if not (is_number and fits):
        hint = ""
        if expected == () and len(shape) == 2:
            hint = " If it is one-hot, make it numbers: y = np.argmax(y, axis=1)."
        elif dtype == "string":
            hint = (
                " Make numbers of names: keras.layers.StringLookup(vocabulary="
                f"model.condition[{name!r}].names, num_oov_indices=0)."
            )
        elif dtype == "bool":
            hint = " Cast it to int32."
        raise ValueError(
            f"`{name}` of a batch must be numbers of the shape {_listed((None, *expected))}. "
            f"Received: {_said(values)}.{hint}"
        )
    if rows and not _agree(shape[:1], rows[:1]):
        raise ValueError(
            f"`{name}` of a batch must hold one value per example. Received: {shape[0]} values "
            f"for {rows[0]} examples."
        )
    return values if shape[1:] == expected else ops.reshape(values, (-1, *expected))


def _target(model, second, x):
    """What comes beside the examples of a batch: the target, or None for labels."""
    shape, wanted = _shape(second), _shape(x)
    if second is None or shape is None or wanted is None:
        return second
    if _agree(shape, wanted):
        if model.has_target:
            model.check_dtype(_dtype(second))
        return second
    are_labels = len(shape) in (1, 2) and (
        len(shape) == 1 or shape[1] == 1 or len(shape) < len(wanted)  # one-hot
    )
    if not are_labels:
        raise ValueError(
            "What comes beside the examples of a batch must be a target of their shape, "
            f"{_listed(wanted)}, or labels (batch,). Received: {_said(second)}. Put conditions "
            f"into a dict: {_keys(model)}."
        )
    if not model.ignores_labels:
        model.ignores_labels = True
        warnings.warn(
            f"The batches hold labels beside the examples, {_said(second)}, which this "
            f"`{type(model).__name__}` does not use.",
            stacklevel=2,
        )
    return None


def _has_one_label(model):
    kinds = list(model.condition.values())
    return len(kinds) == 1 and kinds[0].kind == "categorical"


def _shape(value):
    """The shape of a tensor; None where TensorFlow does not know it, `_NONE` of anything else."""
    shape = getattr(value, "shape", None)
    if shape is None or not hasattr(value, "dtype"):
        return _NONE
    return None if getattr(shape, "rank", 0) is None else tuple(shape)


def _dtype(value):
    return keras.backend.standardize_dtype(value.dtype) if hasattr(value, "dtype") else "none"


def _agree(shape, expected):
    return len(shape) == len(expected) and all(
        None in (size, wanted) or size == wanted
        for size, wanted in zip(shape, expected, strict=True)
    )


def _in_tuple(batch):
    return tuple(batch) if isinstance(batch, list | tuple) else (batch,)


def _keys(model):
    return ", ".join(repr(name) for name in [model.input_name, *model.condition])


def _said(value):
    """A value in a few words: dtype and shape, or its type."""
    shape = _shape(value)
    if shape != _NONE:
        return f"{_dtype(value)} {'of unknown shape' if shape is None else _listed(shape)}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(str, value))}"[:200]
    return f"a {type(value).__name__}" if value is not None else "None"


def _listed(shape):
    sizes = ["batch" if size is None and at == 0 else str(size) for at, size in enumerate(shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
