"""p-values of files with rounded weights: of what the file itself scores.

Rounding moves scores a little, and p-values that are made of the model's scores with them. Where
the examples are at hand that the model was calibrated by, the file scores them itself, and holds
p-values made of that: of normal examples a share of `false_alarms` is then in alarm, as of the
model. That examples are these is not taken on trust: the model's p-values must follow from them.
"""

import contextlib
import dataclasses

import numpy as np

from export import graphs, ports, told_calibration
from export.errors import ExportError
from keras_vae.calibration import Calibration
from keras_vae.data import SeriesSchema, TableSchema, as_float

# How far p-values may be off for examples to be those of a calibration, beside two of its ranks:
# a model of half precision, or of another backend, scores a little otherwise.
_SAME = 0.01
# What a file may make otherwise of a p-value than float64 does.
_SLACK = 1e-4
# Examples that a file scores at once, and of loops, which are of static sizes.
_ROWS, _ROWS_OF_LOOPS = 256, 16
# Examples that tell how far scores are off where those of the calibration are not at hand.
_OTHERS = 1000


@dataclasses.dataclass(frozen=True)
class Scored:
    """Examples and what the model scores, before its weights are rounded.

    Args:
        examples: Dict of arrays, as a scorer takes them.
        scores: Float array `(n,)`.
        are_known: Whether the model was calibrated by them.
    """

    examples: dict
    scores: np.ndarray
    are_known: bool


def is_asked(graph, quantize):
    """Whether p-values are in a file, and its weights rounded to 8 bits."""
    from export.tracing import own

    if not quantize.startswith("int8") or (model := own(graph.model)) is None:
        return False
    if graph.name == "scorer":
        return model.scoring.calibration is not None
    # Beside a reconstructor a device computes one score, by a scale.
    told = told_calibration.of(graph) if graph.name == "reconstructor" else {}
    return told.get("calibration") is not None and "likelihood_scale" in told


def scored(graph, candidates, otherwise):
    """The examples that a model was calibrated by, or others, with the scores of the model.

    Args:
        graph: The `Graph` that a file is made of, a scorer or a reconstructor.
        candidates: Iterable of dicts of arrays, as a scorer takes them, or None.
        otherwise: Dict of arrays, as the graph takes them.
    """
    scorer, schema = graphs.scorer(graph.model), graph.model.schema
    known = examples_of(scorer, candidates)
    if known is None and graph.name == "reconstructor" and isinstance(schema, SeriesSchema):
        otherwise = {**otherwise, "x": schema.decode(otherwise["x"])}
    examples = scorer.rows(otherwise, slice(0, _OTHERS)) if known is None else known
    return Scored(examples, scorer.evaluate(examples)["score"], known is not None)


def as_graphs_take(model, inputs):
    """Examples as the graphs of a model take them, of those that `fit` takes; or None of files."""
    x, conditions = model.named_inputs(inputs)
    if not isinstance(x, np.ndarray):
        return None
    if isinstance(model.schema, TableSchema):
        return ports.of(model).arrays(model.schema.decode(x, conditions))
    if isinstance(model.schema, SeriesSchema):
        x = model.schema.decode(x)
    return {"x": as_float(x) if x.dtype == np.uint8 else x, **conditions}


def examples_of(graph, candidates):
    """The first of some examples that a model's calibration was made of, or None.

    Args:
        graph: The `Graph` "scorer" of the model, calibrated.
        candidates: Iterable of dicts of arrays, as the graph takes them, or None.
    """
    calibration = graph.model.scoring.calibration
    names = {spec.name for spec in graph.inputs}
    for given in candidates:
        if not isinstance(given, dict) or not names <= set(given):
            continue
        given = {spec.name: np.asarray(given[spec.name], spec.dtype) for spec in graph.inputs}
        count = graph.count(given)
        if count - int(calibration.contamination * count) != calibration.groups[0]["count"]:
            continue
        scores, labels = graph.evaluate(given)["score"], _labels(calibration, given)
        made = _anew(graph.model, scores, labels)
        off = made.p_values(scores, labels) - calibration.p_values(scores, labels)
        counts = [[group["count"] for group in each.groups] for each in (made, calibration)]
        if counts[0] == counts[1] and np.abs(off).max() <= _SAME + 2 / (count + 1):
            return given
    return None


def of_file(graph, run, scored):
    """The calibration of a file, and words about it.

    Args:
        graph: The `Graph` that the file holds, a scorer or a reconstructor.
        run: Function from a dict of arrays to what the file gives.
        scored: `Scored`. Where the model was not calibrated by these, its calibration stays, and
            the words say how far that makes p-values other ones.

    Returns:
        Tuple of a `Calibration` and a str.
    """
    calibration = graph.model.scoring.calibration
    labels, made = _labels(calibration, scored.examples), scores(graph, run, scored.examples)
    if scored.are_known:
        words = f"p-values by its own scores of {len(made):,} examples"
        return _anew(graph.model, made, labels), words
    found, expected = (calibration.p_values(s, labels) for s in (made, scored.scores))
    off = np.abs(found - expected)
    return (
        calibration,
        f"p-values by the model's scores, off by {off.mean():.1g}, at most {off.max():.1g}",
    )


def scores(graph, run, examples):
    """What a file scores, float32 `(n,)`; of a reconstructor what a device computes beside it."""
    parts, rows = [], _ROWS_OF_LOOPS if graph.loops else _ROWS
    for start in range(0, graph.count(examples), rows):
        batch = graph.rows(examples, slice(start, start + rows))
        parts.append(_scores(graph, run, batch))
    return np.concatenate(parts)


def check(graph, run, examples):
    """Raise an ExportError unless the p-values of a scorer are those of its scores."""
    calibration = graph.model.scoring.calibration
    batch = graph.rows(examples, slice(0, _ROWS_OF_LOOPS))
    made = run(batch)
    expected = calibration.p_values(made["score"].astype("f8"), _labels(calibration, batch))
    if not np.abs(made["p_value"] - expected).max() <= _SLACK:
        raise ExportError("The p-values of the file must be those of its own scores. They are not.")


@contextlib.contextmanager
def held(model, calibration):
    """Let a model hold another calibration, in the block."""
    before = model.scoring
    model.scoring = dataclasses.replace(before, calibration=calibration)
    try:
        yield
    finally:
        model.scoring = before


def _scores(graph, run, batch):
    import keras

    if graph.name == "scorer":
        return run(batch)["score"]
    schema, likelihood = graph.model.schema, graph.model.likelihood
    if isinstance(schema, SeriesSchema):  # it takes and gives them standardised
        batch = {**batch, "x": (batch["x"] - schema.mean) / schema.std}
    made = likelihood.from_mean(run(batch)["x_reconstructed"])
    log_prob = likelihood.log_prob(keras.ops.convert_to_tensor(batch["x"]), made)
    return -keras.ops.convert_to_numpy(log_prob)


def _anew(model, scores, labels):
    from keras_vae.models.scoring import names_of

    before = model.scoring.calibration
    names = names_of(model, before.condition)
    asked = before.false_alarms, before.contamination, labels, before.condition, names
    return Calibration.fit(scores, *asked)


def _labels(calibration, examples):
    return None if calibration.condition is None else examples[calibration.condition]
