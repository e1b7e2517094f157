"""A set of images, and what must hold of its arrays wherever they come from."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keras_vae.arguments import bounds
from keras_vae.data.errors import DataError, shortened
from keras_vae.data.image_files import ImageFiles
from keras_vae.data.images import looks_channels_first

# Labels stay below this: a larger one is an identifier, not a class.
MAX_CLASSES = 100_000


@dataclasses.dataclass(frozen=True, eq=False)
class Condition:
    """What images have besides a label: a number, several, one of some names, or tags.

    Attributes:
        train, test: float32 `(n, dim)`, NaN where missing; or int32 `(n,)`, indices of `names`; or
            int32 `(n, tags)`, of each of the `names` 1 where an image has it, 0 where not and 2
            where that is unknown.
        names: Tuple of different str, or None of numbers.
    """

    train: np.ndarray
    test: np.ndarray
    names: tuple[str, ...] | None = None

    @property
    def has_tags(self) -> bool:
        """Whether an image may have several of the names."""
        return self.names is not None and self.train.ndim == 2


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, split into a training and a test set.

    Attributes:
        name: Str. The set's name, or that of the file or folder it came from.
        x_train: `(n, height, width, channels)`, uint8 from 0 to 255 where the source is uint8,
            else float32 in [0, 1]; an `ImageFiles` where the images stay in their files. Models
            take any of them; `as_float` gives floats.
        y_train: int32 `(n,)`, from 0 to `len(class_names) - 1`; or `len(class_names)`, *unknown*.
        x_test: As `x_train`, of the same image shape.
        y_test: As `y_train`, all known.
        class_names: Tuple of str, one per label.
        has_labels: Whether the source says of which class an image is; else all are of class 0.
        conditions: Dict from a name to a `Condition`, what images have besides a label.
        has_groups: Whether classes are in groups: `animal/dog` in `animal`.

    Example:

    >>> import keras_vae
    >>> digits = keras_vae.data.load("mnist_small")
    >>> digits.x_train.shape, digits.class_names[7]
    ((8000, 28, 28, 1), '7')
    >>> {name: values.shape for name, values in digits.inputs("test", ["label"]).items()}
    {'x': (1000, 28, 28, 1), 'label': (1000,)}

    See also:
        `load`, which makes it.
    """

    name: str
    x_train: np.ndarray | ImageFiles
    y_train: np.ndarray
    x_test: np.ndarray | ImageFiles
    y_test: np.ndarray
    class_names: tuple[str, ...]
    has_labels: bool = True
    conditions: dict[str, Condition] = dataclasses.field(default_factory=dict)
    has_groups: bool = False

    def inputs(
        self,
        part: Literal["train", "test"],
        names: Iterable[str] = (),
        rows: slice | NDArray[Any] | None = None,
    ) -> Any:
        """Images of a part as a model of some conditions takes them.

        Args:
            part: `"train"` or `"test"`.
            names: The model's conditions; one that is none of `conditions` is the label.
            rows: Optional slice or int array. Default: all.

        Returns:
            The images, or with names a dict of them, `x`, and of every condition's values.
        """
        found = {"x": getattr(self, f"x_{part}"), **{n: self.values(n, part) for n in names}}
        if rows is not None:
            found = {name: values[rows] for name, values in found.items()}
        return found if names else found["x"]

    def values(self, name: str, part: Literal["train", "test"]) -> NDArray[Any]:
        """The values of a condition, or the labels, of `"train"` or `"test"`."""
        if name in self.conditions:
            return getattr(self.conditions[name], part)
        return getattr(self, f"y_{part}")

    @property
    def labelled(self) -> Dataset:
        """The same set with those training images alone whose labels are known."""
        known = self.y_train < len(self.class_names)
        if known.all():
            return self
        x = self.x_train
        x = x.take(np.flatnonzero(known)) if isinstance(x, ImageFiles) else x[known]
        conditions = {
            name: dataclasses.replace(condition, train=condition.train[known])
            for name, condition in self.conditions.items()
        }
        return dataclasses.replace(
            self, x_train=x, y_train=self.y_train[known], conditions=conditions
        )


def make(
    source,
    name,
    x_train,
    y_train,
    x_test,
    y_test,
    class_names=None,
    **told,
):
    """Check and convert the arrays of any source: the one place where a `Dataset` is made.

    What else is `told` are the other attributes of a `Dataset`.
    """
    x_train, x_test = _images(x_train, "x_train", source), _images(x_test, "x_test", source)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"x_train and x_test of {source} must have one image shape. Received: "
            f"{x_train.shape[1:]} and {x_test.shape[1:]}. Resize one of them."
        )
    y_train = labels(y_train, len(x_train), "y_train", source)
    y_test = labels(y_test, len(x_test), "y_test", source)
    if (unknown := y_test < 0).any():
        x_test, y_test = _without(unknown, x_test, y_test, source)
        if "conditions" in told:
            told["conditions"] = {
                each: dataclasses.replace(condition, test=condition.test[~unknown])
                for each, condition in told["conditions"].items()
            }
    known = y_train[y_train >= 0]
    if not len(known):
        raise DataError(
            f"{source} must have training images with labels. Received: -1 or NaN, which is "
            "unknown, for all of them. Leave the labels out, if there are none."
        )
    num_classes = int(max(known.max(), y_test.max())) + 1
    first = int(min(known.min(), y_test.min()))
    if first > 0 and (class_names is None or num_classes - first == len(class_names)):
        raise DataError(
            f"Labels of {source} must count the classes from 0. Received: labels from {first} to "
            f"{num_classes - 1}. Save y - {first}; or save class_names of every number from 0, if "
            "there are classes without images."
        )
    if class_names is None:
        class_names = tuple(str(label) for label in range(num_classes))
    if not num_classes <= len(class_names) <= MAX_CLASSES:
        raise DataError(
            f"{source} must have a class name for each label. Received: {len(class_names)} names "
            f"for labels from 0 to {num_classes - 1}. Correct the labels or the names."
        )
    if len(set(class_names)) < len(class_names) or not all(
        isinstance(class_name, str) and class_name and class_name.isprintable()
        for class_name in class_names
    ):
        raise DataError(
            f"Class names of {source} must be text, distinct, printable and not empty. Received: "
            f"{shortened(repr(class_names))}. Rename the classes."
        )
    if (y_train < 0).any():
        unknown = _unknown(class_names, told.get("has_groups", False))
        y_train = np.where(y_train < 0, unknown, y_train).astype("int32")
    return Dataset(name, x_train, y_train, x_test, y_test, class_names, **told)


def _unknown(class_names, has_groups):
    """The index of an unknown label: the one after those of the classes, and of their groups."""
    if not has_groups:
        return len(class_names)
    from keras_vae.conditions import Hierarchical  # which needs Keras

    return Hierarchical(class_names).unknown


def _without(unknown, x_test, y_test, source):
    """The test images whose labels are known."""
    if unknown.all():
        raise DataError(
            f"{source} must have test images with labels. Received: -1 or NaN, which is unknown, "
            "for all of them."
        )
    warnings.warn(
        f"Left out: {unknown.sum()} of {len(unknown)} test images of {source}, whose labels are "
        "unknown.",
        stacklevel=5,
    )
    x_test = (
        x_test.take(np.flatnonzero(~unknown))
        if isinstance(x_test, ImageFiles)
        else x_test[~unknown]
    )
    return x_test, y_test[~unknown]


def _images(x, array, source):
    if isinstance(x, ImageFiles):
        return x
    check_images(x, array, source)
    if x.dtype == np.uint8:
        x = np.ascontiguousarray(x)
    else:
        low, high = float(x.min()), float(x.max())
        least, most = bounds(0, 1)
        if not (low >= least and high <= most):  # True for NaN too.
            raise DataError(
                f"{array} of {source} must be finite and in [0, 1], or uint8. Received: {x.dtype} "
                f"from {low:g} to {high:g}. Rescale the array, or save it as uint8."
            )
        x = np.ascontiguousarray(x, dtype=np.float32)
    return x if x.ndim == 4 else x[..., np.newaxis]


def check_images(x, array, source):
    """Check the shape and dtype of images, or of what their header says."""
    if len(x.shape) not in (3, 4) or 0 in x.shape:
        raise DataError(
            f"{array} of {source} must be images (n, height, width) or (n, height, width, "
            f"channels), at least one. Received: shape={x.shape}. Reshape the array."
        )
    if looks_channels_first(x.shape):
        raise DataError(
            f"{array} of {source} must have its channels last, (n, height, width, channels). "
            f"Received: shape={x.shape}, which looks like channels first. Save "
            f"np.moveaxis({array}, 1, -1) instead."
        )
    if x.dtype.kind not in "fiub":
        raise DataError(
            f"{array} of {source} must be uint8, bool, or numbers in [0, 1]. Received: {x.dtype}. "
            "Convert the array."
        )


def labels(y, count, array, source):
    """Check labels, of which there must be so many, and return them as int32 `(n,)`.

    -1 and NaN are *unknown*, and become -1.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1 and y.dtype.kind == "f" and np.isnan(y).any():
        whole = np.where(np.isnan(y), -1.0, y)
        y = whole.astype("int64") if (whole == np.floor(whole)).all() else y
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{array} of {source} must be integer labels (n,) or (n, 1). Received: {y.dtype} of "
            f"shape={y.shape}. {_as_labels(y, array)}"
        )
    if len(y) != count:
        raise DataError(
            f"{array} of {source} must have one label per image. Received: {len(y)} labels, "
            f"{count} images. Check how the two were made."
        )
    low, high = y.min(), y.max()
    if low < -1 or high >= MAX_CLASSES:
        raise DataError(
            f"{array} of {source} must be class numbers from 0 to num_classes - 1, with at most "
            f"{MAX_CLASSES} classes, or -1 for unknown. Received: labels from {low} to {high}. "
            "Renumber the classes."
        )
    return y.astype(np.int32)


def condition(name, train, test, counts, source, names=None):
    """Check and convert the values of a condition: floats are numbers, all else names or tags.

    Args:
        name: Str.
        train, test: Arrays `(n,)`, or of floats `(n, dim)`, or of whole numbers `(n, tags)`.
        counts: How many images there are of each.
        source: What the errors call the file.
        names: Optional sequence of str, all that may occur, in their order. Default: those that do.

    Returns:
        A `Condition`.

    Raises:
        DataError: If a shape does not fit, a number is infinite, or a name is none of `names`.
    """
    for part, values, count in (("train", train, counts[0]), ("test", test, counts[1])):
        most = 1 if values.dtype.kind == "U" else 2
        one_tag = values.dtype.kind != "f" and values.shape[1:] == (1,)
        fits = 1 <= values.ndim <= most and len(values) == count
        if not fits or one_tag or 0 in values.shape:
            raise DataError(
                f"{name}_{part} of {source} must have one value per image: floats (n,) or (n, dim),"
                f" whole numbers or text (n,), or tags, 0 and 1 (n, tags), n={count}. Received: "
                f"{values.dtype} of shape={values.shape}."
            )
        if values.dtype.kind == "f" and np.isinf(values).any():
            raise DataError(f"{name}_{part} of {source} must be finite. Received: infinity.")
    if train.dtype.kind == test.dtype.kind == "f":
        if train.shape[1:] != test.shape[1:]:
            raise DataError(
                f"{name}_train and {name}_test of {source} must have one length of vectors. "
                f"Received: {train.shape[1:]} and {test.shape[1:]}."
            )
        return Condition(*(v.reshape(len(v), -1).astype("float32") for v in (train, test)))
    if "f" in (train.dtype.kind, test.dtype.kind):
        raise DataError(
            f"{name}_train and {name}_test of {source} must be of one kind. Received: "
            f"{train.dtype} and {test.dtype}."
        )
    if 2 in (train.ndim, test.ndim):
        return _tags(name, train, test, source, names)
    known = np.unique(np.concatenate([train, test])) if names is None else np.array(names)
    index = {str(value): k for k, value in enumerate(known.tolist())}
    if len(index) > MAX_CLASSES:
        raise DataError(
            f"{name} of {source} must have at most {MAX_CLASSES} different values. Received: "
            f"{len(index)}. Save numbers as floats."
        )
    found = [[index.get(str(value)) for value in values.tolist()] for values in (train, test)]
    for values, indices in zip((train, test), found, strict=True):
        if None in indices:
            raise DataError(
                f"{name} of {source} must be one of {shortened(', '.join(index))}. Received: "
                f"{values.tolist()[indices.index(None)]!r}. Load the data that the model was "
                "trained on."
            )
    return Condition(*(np.array(each, "int32") for each in found), tuple(index))


def _tags(name, train, test, source, names):
    """A `Condition` of tags."""
    if train.shape[1:] != test.shape[1:] or train.shape[1:] != np.shape(names or train[0]):
        raise DataError(
            f"{name}_train and {name}_test of {source} must have as many tags, and {name}_names a "
            f"name for each. Received: {train.shape[1:]} and {test.shape[1:]}, and names "
            f"{shortened(repr(names))}."
        )
    names = tuple(map(str, range(train.shape[1]) if names is None else names))
    if len(set(names)) < len(names):
        raise DataError(
            f"{name}_names of {source} must be different. Received: {shortened(repr(names))}."
        )
    for part, values in (("train", train), ("test", test)):
        if values.min() < 0 or values.max() > 2:
            raise DataError(
                f"{name}_{part} of {source} must be 1 for a tag, 0 for none and 2 for unknown. "
                f"Received: values from {values.min()} to {values.max()}."
            )
    return Condition(train.astype("int32"), test.astype("int32"), names)


def _as_labels(y, array):
    """The line that makes labels of what is none."""
    if y.ndim == 2 and y.dtype.kind in "biuf":
        return f"Save {array}.argmax(-1), if it is one-hot."
    if y.ndim == 1 and y.dtype.kind == "U":
        return f"Save class_names, {array} = np.unique({array}, return_inverse=True)."
    if y.ndim == 1 and y.dtype.kind in "bf":
        return f"Save {array}.astype(int)."
    return "Convert the array."


def check_memory(size, most, source, advice="Use less data"):
    """Refuse data that need more than `most` bytes."""
    if size > most:
        raise DataError(
            f"{str(source)!r} must fit into {most / 2**30:.3g} GiB of memory. Received: "
            f"{size / 2**30:.3g} GiB. {advice}, or raise keras_vae.data.MAX_BYTES if the machine "
            "has the memory."
        )
