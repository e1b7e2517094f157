"""What goes into a graph and comes out of it: data as they are, or a table's columns in units."""

import dataclasses
import math

import numpy as np

from keras_vae.data import Count, SeriesSchema
from keras_vae.data.columns import numbers
from keras_vae.data.table_schema import RECONSTRUCTED, RESERVED, TableSchema

# Of the values of a table's columns that are drawn to try a file with.
MISSING_SHARE = 0.1
_LARGEST_COUNT = 20


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One named input or output of a graph.

    Args:
        name: The name that devices bind by.
        dtype: `"float32"` or `"int32"`.
        shape: Tuple; its first entry is None for the batch, or 1 for one value for all of it.
        num_values: For int32: from 0 to `num_values - 1`; of a table's column also -1, missing.
        range: For float32: optional tuple of pairs, the least and the largest of each entry.
        unknown: For float32: whether NaN is a value, *unknown*.
    """

    name: str
    dtype: str
    shape: tuple
    num_values: int | None = None
    range: tuple | None = None
    unknown: bool = False

    @property
    def batched(self):
        """Whether there is one row for each example."""
        return self.shape[0] is None


def of(model, standardised=False):
    """The ports of a model of `keras_vae`, by its schema.

    Args:
        model: The model.
        standardised: Whether windows of a series are standardised, and not in units.
    """
    if isinstance(model.schema, TableSchema):
        return TablePorts(model)
    in_units = isinstance(model.schema, SeriesSchema) and not standardised
    return (SeriesPorts if in_units else Ports)(model)


class Ports:
    """The one tensor `x` of a model's data, and its conditions, as the model has them.

    Args:
        model: A model of `keras_vae`.

    Attributes:
        condition_specs, inputs: Tuples of `TensorSpec`, of the conditions and of the data.
    """

    def __init__(self, model):
        self.model = model
        self.condition_specs = specs_of(model.condition)

    @property
    def inputs(self):
        return (self._data_spec("x"),)

    def outputs(self, reconstructed=False):
        """Tuple of `TensorSpec` of the data that a graph makes."""
        return (self._data_spec("x_reconstructed" if reconstructed else "x"),)

    def data(self, tensors):
        """The data as the model takes them, of a dict of a graph's inputs."""
        return tensors["x"]

    def conditions(self, tensors):
        """Dict of the conditions as the model takes them, of a dict of a graph's inputs."""
        return {name: tensors[name] for name in self.model.condition}

    def given(self, x, reconstructed=False):
        """Dict of a graph's outputs, of data as the model makes them."""
        [spec] = self.outputs(reconstructed)
        return {spec.name: as_type(x, spec.dtype)}

    def in_units(self):
        """`Graph.in_units`: nothing, as data are what the model takes."""
        return {}

    def draw_conditions(self, rows, rng):
        """Dict of typical conditions, in which every label occurs if the rows are enough."""
        return draw_inputs(self.condition_specs, rows, rng)

    def draw_data(self, code, conditions, rng):
        """Dict of data that the model makes of codes."""
        return {"x": self.model.decode(code, conditions)}

    def _data_spec(self, name):
        shape, likelihood = (None, *self.model.data_shape), self.model.likelihood
        if likelihood.holds_tokens:
            return TensorSpec(name, "int32", shape, int(likelihood.data_range[1]) + 1)
        return TensorSpec(name, "float32", shape)


class SeriesPorts(Ports):
    """Windows of a series in units, `x` `(batch, window, channels)`, and its conditions."""

    def data(self, tensors):
        from keras import ops

        schema = self.model.schema
        return ops.divide(ops.subtract(tensors["x"], schema.mean), schema.std)

    def given(self, x, reconstructed=False):
        from keras import ops

        schema = self.model.schema
        x = ops.add(ops.multiply(as_float32(x), schema.std), schema.mean)
        return super().given(x, reconstructed)

    def draw_data(self, code, conditions, rng):
        """Windows as the model makes them, and what each step has besides."""
        x = self.model.decode(code, conditions)
        return {"x": self.model.schema.decode(x + 0.5 * rng.standard_normal(x.shape))}

    def arrays(self, windows, conditions=None):
        """What a graph takes of windows in units and the names of their conditions."""
        made = self.model.schema.encode_conditions(conditions or {}, len(windows))
        return {"x": windows.astype("float32"), **made}


class TablePorts(Ports):
    """The columns of a table in units, each a tensor `(batch,)` by its port.

    Raises:
        ValueError: If a column cannot be told by float32, or a condition's name is another input's.
    """

    def __init__(self, model):
        from keras_vae.data.units import Units

        super().__init__(model)
        self.schema = model.schema
        self.units = Units(self.schema)
        if taken := [name for name in self.schema.conditions if name in RESERVED]:
            raise ValueError(
                f"A condition must have a name that no other input of a file has. Received: "
                f"{taken[0]!r}. Rename the column."
            )

    @property
    def inputs(self):
        return self._specs()

    def outputs(self, reconstructed=False):
        return self._specs(RECONSTRUCTED if reconstructed else "")

    def data(self, tensors):
        return self.units.encode(tensors)

    def conditions(self, tensors):
        return self.units.encode_conditions(tensors)

    def given(self, x, reconstructed=False):
        values = self.units.decode(as_float32(x)).values()
        return dict(zip([s.name for s in self.outputs(reconstructed)], values, strict=True))

    def in_units(self):
        from keras_vae.data.units import is_number, limits

        found = {}
        for name, port in self.schema.ports.items():
            kind = self.schema.columns[name]
            low, high = limits(kind) if is_number(kind) else (0, 1)
            found.update({port: high - low, port + RECONSTRUCTED: high - low})
        return found

    def draw_conditions(self, rows, rng):
        drawn = super().draw_conditions(rows, rng)
        for name in self.units.given:
            drawn[name] = self._draw(self.schema.columns[name], rows, rng)[:, None]
        return drawn

    def draw_data(self, code, conditions, rng):
        """Columns with gaps, each by itself, in which every name occurs if the rows are enough."""
        rows, drawn = len(code), {}
        for spec, kind in zip(self.inputs, self.units.columns.values(), strict=True):
            if spec.num_values is None:
                drawn[spec.name] = self._draw(kind, rows, rng)
            else:
                drawn.update(draw_inputs([spec], rows, rng))
            gaps = rng.random(rows) < MISSING_SHARE
            drawn[spec.name][gaps] = np.nan if spec.num_values is None else -1
        return drawn

    def arrays(self, columns):
        """What a graph takes of columns as a table has them, a dict of arrays."""
        encoded = self.schema.encode(columns)  # which says what does not fit
        encoded = encoded if isinstance(encoded, dict) else {"x": encoded}
        found = {}
        for name, port in self.schema.ports.items():
            kind = self.schema.columns[name]
            if name in self.schema.conditions and hasattr(kind, "names"):
                found[port] = encoded[name]
            elif hasattr(kind, "names"):
                index = encoded["x"][:, self.schema.names.index(name)]
                found[port] = np.where(np.isnan(index), -1, index).astype("int32")
            else:
                found[port] = numbers(columns[name], name).astype("float32")
                if name in self.schema.conditions:
                    found[port] = found[port][:, None]
        return found

    def _draw(self, kind, rows, rng):
        """Numbers of a column in units, float32 `(rows,)`."""
        if isinstance(kind, Count):
            return rng.integers(0, min(kind.most, _LARGEST_COUNT) + 1, rows).astype("float32")
        return kind.decode(rng.standard_normal(rows)).astype("float32")

    def _specs(self, ending=""):
        names = ((port, self.schema.columns[n]) for n, port in self._ports())
        return tuple(
            TensorSpec(port + ending, "int32", (None,), len(kind.names))
            if hasattr(kind, "names")
            else TensorSpec(port + ending, "float32", (None,))
            for port, kind in names
        )

    def _ports(self):
        ports = self.schema.ports
        return [(name, ports[name]) for name in self.schema.names]


def specs_of(conditions):
    """Tuple of `TensorSpec` of a dict of conditions."""
    return tuple(_condition_spec(*each) for each in conditions.items())


def _condition_spec(name, kind):
    if kind.kind == "categorical":
        return TensorSpec(name, "int32", (None,), kind.num_classes + 1)
    if kind.kind == "multi_label":
        return TensorSpec(name, "int32", (None, kind.size), kind.unknown + 1)
    if kind.kind == "sequence":
        return TensorSpec(name, "int32", (None, kind.steps), kind.num_values + 1)
    told = kind.manifest()
    ends = told.get("range") and tuple(map(tuple, told["range"]))
    return TensorSpec(name, "float32", (None, kind.dim), None, ends, told.get("unknown", False))


def draw_inputs(specs, rows, rng):
    """Floats, and integers shuffled, so that two do not always meet in the same pairs.

    Floats are normal, or uniform within their range; every fourth row is NaN where that is a value.
    """
    return {
        spec.name: _draw_floats(spec, rows, rng)
        if spec.num_values is None
        else rng.permutation(np.arange(rows * math.prod(spec.shape[1:])) % spec.num_values)
        .astype(np.int32)
        .reshape(rows, *spec.shape[1:])
        for spec in specs
    }


def _draw_floats(spec, rows, rng):
    drawn = rng.standard_normal((rows, *spec.shape[1:]), dtype=np.float32)
    if spec.range is not None:
        low, high = np.array(spec.range).T
        drawn = rng.uniform(low, high, drawn.shape).astype("float32")
    if spec.unknown:
        drawn[3::4] = np.nan
    return drawn


def as_float32(tensor):
    return as_type(tensor, "float32")


def as_type(tensor, dtype):
    import keras

    return keras.ops.cast(tensor, dtype)
