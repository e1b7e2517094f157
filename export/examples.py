"""Examples of the data that a model was trained on: to round by, and to describe its files."""

import os

import numpy as np

from export import example_files, ports, tracing
from keras_vae import data
from keras_vae.data import table_sources
from keras_vae.models.capabilities import DrawsTokens
from keras_vae.storage.runs import Run

HELD_OUT = 2000


def dataset(model, run, source=None):
    """The data that are named, or else those that a run folder names, or None.

    Raises:
        data.DataError: If they cannot be loaded, a ValueError.
        ValueError: If those that are named do not fit the model.
    """
    if source is None:
        return Run(run).dataset() if run and Run(run).config_path.is_file() else None
    if isinstance(model.schema, data.TableSchema):
        return _table(source, model.schema)
    if isinstance(model.schema, data.SeriesSchema):
        return data.series(source, schema=model.schema)
    if isinstance(model, DrawsTokens):
        steps, _ = model.data_shape
        return data.sequences(source, steps, tuple(model.condition), False, schema=model.schema)
    label = model.condition.get("label")
    size = {"image_size": model.data_shape[:2]} if os.path.isdir(source) else {}
    others = {n: getattr(k, "names", None) for n, k in model.condition.items() if n != "label"}
    names = getattr(label, "leaf_names", None)
    found = data.load(source, class_names=names, conditions=others, **size)
    shape = found.x_test.shape[1:]
    if shape != tuple(model.data_shape or shape):
        raise ValueError(
            f"`data` must be examples of shape {model.data_shape} for conditions "
            f"{sorted(model.condition)}. Received: {source}, of shape {shape} with labels."
        )
    return found


def _table(source, schema):
    """A `data.Table` of the columns that a schema has."""
    name, columns = table_sources.read(source)
    if missing := [column for column in schema.columns if column not in columns]:
        raise data.DataError(
            f"{name} must have the columns of the model. Received: none of {missing[0]!r}. Pass "
            "the table that it was trained on."
        )
    return data.table({column: columns[column] for column in schema.columns}, schema=schema)


def knows_data(model):
    """Whether the command line has data for a model: a table, music, or images with conditions."""
    kinds = (data.TableSchema, data.SeriesSchema)
    has_schema = isinstance(model, DrawsTokens) or isinstance(model.schema, kinds)
    kinds_of_images = {kind.kind for kind in model.condition.values()}
    return has_schema or kinds_of_images <= {"categorical", "continuous"}


def rows_of(model, found, part, count=None):
    """The first examples of a part of data, "train" or "test", as the graphs take them.

    Args:
        model: A model of `keras_vae`.
        found: `data.Sequences`, of which an example is a window, or `data.Table`.
        part: Str.
        count: Optional int. Default: all.

    Returns:
        Dict of arrays; None if these are no data of the model.
    """
    if isinstance(found, data.Table) and isinstance(model.schema, data.TableSchema):
        arrays = ports.of(model).arrays(found.columns(part))
        return {name: values[:count] for name, values in arrays.items()}
    if isinstance(found, data.Series) and isinstance(model.schema, data.SeriesSchema):
        arrays = ports.of(model).arrays(found.windows(part), found.labels(part))
        return {name: values[:count] for name, values in arrays.items()}
    if not isinstance(found, data.Sequences):
        return None
    x, conditions = model.named_inputs(getattr(found, part))
    return {"x": x[:count].astype("int32"), **{n: c[:count] for n, c in conditions.items()}}


def held_out(model, run, say, source=None):
    """Held-out examples, as the graphs take them, or None where there are none."""
    if source is None and not knows_data(model):
        return None
    try:
        found = dataset(model, run, source)
    except (data.DataError, OSError) as err:
        if source is not None:
            raise
        say(f"no map of the latent space and no percentiles of scores: {err}", done=True)
        return None
    if (rows := rows_of(model, found, "test", HELD_OUT)) is not None:
        return rows
    if not isinstance(found, data.Dataset) or found.x_test.shape[1:] != tuple(
        model.data_shape or ()
    ):
        return None
    return images_of(model, found, "test", HELD_OUT)


def images_of(model, found, part, count=None):
    """As `rows_of`, of a `data.Dataset`; None if it lacks a condition of the model.

    Args:
        model: A model of `keras_vae`, or None of another Keras model, which takes images alone.
    """
    names = tuple(model.condition) if model else ()
    if not set(names) <= {"label", *found.conditions}:
        return None
    inputs = found.inputs(part, names, slice(0, count))
    inputs = inputs if names else {"x": inputs}
    return {**inputs, "x": data.as_float(inputs["x"])}


def calibrating(model, run, source, given):
    """Yield what a model may have been calibrated by: some examples, and the part for it of data.

    Args:
        model, run, source: As of `dataset`.
        given: List of dicts of arrays, or None.
    """
    yield from given
    if isinstance(model.schema, data.SeriesSchema):
        found = dataset(model, run, source)
        yield None if found is None else rows_of(model, found, "calibration")


def calibration_of(graph, calibration_data, run, source=None, quantize="int8"):
    """The examples by which to round.

    Args:
        graph: The `Graph`.
        calibration_data: Optional dict of arrays, or what `example_files.read` takes.
        run, source: As of `dataset`.
        quantize: How the file is to be quantized.

    Returns:
        Dict of arrays; or None to draw them, of the prior, or of what the model makes of it.

    Raises:
        ValueError: If examples do not fit the graph, or it needs some and there are none.
    """
    names = [spec.name for spec in graph.inputs if spec.batched]
    own = tracing.own(graph.model)
    if isinstance(calibration_data, str | os.PathLike):
        calibration_data = example_files.read(calibration_data)
        if not isinstance(calibration_data, dict):
            calibration_data, source = None, calibration_data
    if calibration_data is not None:
        if own and not graph.takes_data and _are_data(own, calibration_data):
            return None
        if not isinstance(calibration_data, dict) or not set(names) <= set(calibration_data):
            received = sorted(calibration_data) if isinstance(calibration_data, dict) else "none"
            raise ValueError(
                f"`calibration_data` must be a dict of arrays for {names}. Received: {received}."
            )
        return {
            spec.name: np.asarray(calibration_data[spec.name], spec.dtype) for spec in graph.inputs
        }
    if not graph.takes_data:
        return None
    is_known = knows_data(own) if own else set(names) <= {"x", "label"}
    found = dataset(graph.model, run, source) if is_known else None
    if found is None and own and quantize == "int8":
        return None
    if found is None:
        raise ValueError(
            f"Rounding the `{graph.name}` needs typical examples. Received: none. Export from a "
            "run folder, name them by `calibration_data` (--calibration) or the data by `data` "
            f"(--data). An .npz or a dict has an array for each of {names}."
        )
    if graph.name == "reconstructor" and isinstance(found, data.Series):
        train = found.train if isinstance(found.train, dict) else {"x": found.train}
        return {name: train[name] for name in names}  # standardised, as it takes them
    if (rows := rows_of(graph.model, found, "train")) is not None:
        return rows
    if own is None:
        return dict(zip(names, (found.x_train, found.y_train), strict=False))
    if not set(own.condition) <= {"label", *found.conditions}:
        raise ValueError(
            f"The data must have the conditions {', '.join(own.condition)}. Received: label"
            f"{''.join(f', {name}' for name in found.conditions)}."
        )
    inputs = found.inputs("train", tuple(own.condition))
    return inputs if own.condition else {"x": inputs}


def _are_data(model, arrays):
    """Whether arrays are examples of a model's data, rather than of codes."""
    return isinstance(arrays, dict) and any(s.name in arrays for s in ports.of(model).inputs)
