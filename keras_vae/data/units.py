"""The columns of a table in units, as tensors: what an exported file computes around its model.

`TableSchema` does the same for arrays, in float64. Here every number is float32, and the maps of
all numeric columns are computed together, each as straight lines between some places.
"""

import numpy as np
from keras import ops

from keras_vae.data.lines import to_scores, to_units
from keras_vae.networks import arithmetic

# What a model takes for a missing value, too: a product of it and 0 is 0, where one of NaN is NaN,
# and tf2onnx makes such products of `where`, unless it sees what NaN alone is: unequal to itself.
MISSING = 3e38
# Of a column's range: how near float32 must come to a number of it.
PRECISION = 1e-5
# Beyond it `exp` is no float32; bounds are within.
_MOST_EXPONENT = 88.0


class PiecewiseLinear:
    """Maps of some columns, one `Lines` each, of tensors `(batch, columns)`."""

    def __init__(self, lines):
        sizes = np.array([len(line.knots) for line in lines])
        self.last = (np.cumsum(sizes) - 1).astype("int32")
        self.first = (self.last + 1 - sizes).astype("int32")
        halves = int(sizes.max()).bit_length()
        self.steps = [2**power for power in reversed(range(halves))]
        names = ("knots", "starts", "bases", "slopes")
        tables = {name: np.concatenate([getattr(line, name) for line in lines]) for name in names}
        for name, table in tables.items():
            setattr(self, name, table.astype("float32"))
        # A whole number is a whole base and what is rounded besides: sums that are exact.
        self.whole = np.array([line.whole for line in lines])
        at_starts = [line.bases if line.at_starts is None else line.at_starts for line in lines]
        self.at_starts = np.concatenate(at_starts).astype("float32")
        # What float32 leaves of the starts: a step between two places may be as small.
        self.rests = (tables["starts"] - self.starts).astype("float32")

    def __call__(self, x):
        """Map float32 `(batch, columns)`, none of them NaN."""
        at = ops.zeros_like(x, dtype="int32") + ops.convert_to_tensor(self.first)
        for step in self.steps:  # to the last knot that is not above
            further = ops.minimum(at + step, self.last)
            at = ops.where(arithmetic.look_up(self.knots, further) <= x, further, at)
        start = arithmetic.look_up(self.starts, at)
        along = x - start
        if self.rests.any():
            along = along - arithmetic.look_up(self.rests, at)
        along = arithmetic.look_up(self.slopes, at) * along
        if self.whole.any():
            along = ops.where(self.whole, ops.round(along), along)
        mapped = arithmetic.look_up(self.bases, at) + along
        if (self.at_starts == self.bases).all() and not self.rests.any():
            return mapped
        # What float32 has rounded to a start is taken for it.
        return ops.where(x == start, arithmetic.look_up(self.at_starts, at), mapped)


class Units:
    """A table's columns in units, as tensors by their ports, and what a model takes and gives.

    Args:
        schema: `TableSchema`.

    Raises:
        ValueError: If float32 does not tell the numbers of a column apart.
    """

    def __init__(self, schema):
        self.schema = schema
        self.columns = {name: schema.columns[name] for name in schema.names}
        self.numbers = [name for name, kind in self.columns.items() if is_number(kind)]
        for name, kind in schema.columns.items():
            if is_number(kind):
                _check_precision(name, *limits(kind))
        self.scores, self.units = self._maps(self.numbers)
        self.given = {
            name: self._maps([name])[0]
            for name in schema.conditions
            if is_number(schema.columns[name])
        }

    def encode(self, tensors):
        """Rows as a model takes them, of columns in units.

        Args:
            tensors: Dict by the columns' ports: float32 `(batch,)` of numbers, NaN where one is
                missing, and int32 `(batch,)` of names, -1 where one is missing.

        Returns:
            float32 tensor `(batch, columns)`, `MISSING` where a value is missing.
        """
        ports, encoded = self.schema.ports, {}
        if self.numbers:
            x = ops.stack([tensors[ports[name]] for name in self.numbers], axis=1)
            missing = ops.not_equal(x, x)
            scores = self._scores(self.numbers, ops.where(missing, 1.0, x), self.scores)
            scores = ops.unstack(ops.where(missing, MISSING, scores), axis=1)
            encoded = dict(zip(self.numbers, scores, strict=True))
        for name in self.columns:
            if name not in encoded:
                index = tensors[ports[name]]
                encoded[name] = ops.where(index < 0, MISSING, ops.cast(index, "float32"))
        return ops.stack([encoded[name] for name in self.columns], axis=1)

    def encode_conditions(self, tensors):
        """Conditions as a model takes them: of numbers in units, and of names' indices.

        Args:
            tensors: Dict by name: float32 `(batch, 1)`, or int32 `(batch,)`, of which -1 and the
                index after the last name are *unknown*.
        """
        encoded = {}
        for name in self.schema.conditions:
            value = tensors[name]
            if name in self.given:
                encoded[name] = self._scores([name], value, self.given[name])
            else:
                unknown = len(self.schema.columns[name].names)
                encoded[name] = ops.where(value < 0, unknown, value)
        return encoded

    def decode(self, x):
        """Columns in units, by their ports, of rows as a model makes them: none is missing.

        Args:
            x: Float tensor `(batch, columns)`.

        Returns:
            Dict of tensors `(batch,)`, float32 of numbers and int32 of names.
        """
        decoded = dict(zip(self.columns, ops.unstack(x, axis=1), strict=True))
        if self.numbers:
            scores = ops.stack([decoded[name] for name in self.numbers], axis=1)
            values = zip(self.numbers, ops.unstack(self.units(scores), axis=1), strict=True)
            decoded.update((name, _finished(self.columns[name], value)) for name, value in values)
        for name in self.columns:
            if name not in self.numbers:
                decoded[name] = ops.cast(ops.floor(decoded[name] + 0.5), "int32")
        return {self.schema.ports[name]: value for name, value in decoded.items()}

    def _maps(self, names):
        """The maps of some columns to scores and back."""
        kinds = [self.schema.columns[name] for name in names]
        if not kinds:
            return None, None
        return [PiecewiseLinear([lines(kind) for kind in kinds]) for lines in (to_scores, to_units)]

    def _scores(self, names, x, scores):
        """Scores of numbers `(batch, columns)`."""
        is_log = np.array([_is_log(self.schema.columns[name]) for name in names])
        if is_log.any():
            least = np.float32(np.finfo("float32").tiny)
            x = ops.where(is_log, ops.log(ops.maximum(x, least)), x)
        return scores(x)


def is_number(kind):
    """Whether a column is of numbers, `Numeric` or `Count`, and not of names."""
    return not hasattr(kind, "names")


def limits(kind):
    """Between which numbers the values of a `Numeric` or a `Count` are decoded."""
    return (0.0, float(kind.most)) if hasattr(kind, "most") else kind.bounds


def _finished(kind, value):
    """A number as it is decoded, of what its lines give: whole, and within its bounds."""
    if _is_log(kind):
        value = ops.exp(ops.minimum(value, _MOST_EXPONENT))
    if getattr(kind, "integer", True):
        value = ops.round(value)
    return ops.clip(value, *(np.float32(end) for end in limits(kind)))


def _is_log(kind):
    return getattr(kind, "transform", None) == "log"


def _check_precision(name, low, high):
    step = float(np.spacing(np.float32(max(abs(low), abs(high)))))
    if step > 2 * PRECISION * (high - low):
        raise ValueError(
            f"Column {name!r} must be numbers that float32 tells apart, as a device takes them. "
            f"Received: {low:.9g} to {high:.9g}, where it has steps of {step:g}. Count them from "
            "a nearer zero."
        )
