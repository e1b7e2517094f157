"""What quantization costs, in the user's terms: the same questions to every file of a graph."""

import dataclasses
import functools
import json
import math
import pathlib
import statistics
import time

import numpy as np

from export import examples, graphs, oracle, tracing
from export.quantization import calibration
from keras_vae.data import Dataset, SeriesSchema

SAMPLES = 1000
# Of a graph that repeats steps, whose files take so many at once at most.
SAMPLES_OF_LOOPS, AT_ONCE = 160, max(graphs.STATIC_BATCH_SIZES)
HELD_OUT = 500
PER_ROW = 12
SEED = 0


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one file.

    Args:
        file: String, the file's name.
        size: Int, bytes.
        largest_error, mean_error: Floats, against the model, over 1,000 seeded samples. Of a model
            of tokens, over 160, the shares of the samples and of the tokens that are others. Of a
            table, the largest and the mean of all columns': of numbers the error over how far they
            spread, of names the share of those that are others.
        psnr: Float, decibels: the data's range against the root of the mean squared error; or None
            of tokens and tables.
        elbo_change: Float, nats per example: mean ELBO of 500 held-out examples through the file,
            at the posterior mean, less that of the model; or None where there are no data.
        accuracy: Float, the share of the samples that a classifier of real images gives the asked
            class; or None without classes.
        milliseconds: Float, one image at batch size 1 in the real runtime, one thread.
        milliseconds_of_16: Float, an image at batch size 16.
        arena: Int, bytes of working memory in TFLite Micro; or None where it does not run there.
        of_tokens: Whether the errors are shares of samples and tokens.
    """

    file: str
    size: int
    largest_error: float
    mean_error: float
    psnr: float | None
    elbo_change: float | None
    accuracy: float | None
    milliseconds: float
    milliseconds_of_16: float
    arena: int | None = None
    of_tokens: bool = False


class Reporter:
    """Measures the files of one graph of one model.

    Args:
        model: A model of `keras_vae`.
        graph: Name of the graph.
        run: Optional `keras_vae.storage.runs.Run`, for its data and its classifier.
        inputs: Optional dict, as for `export.export`.
        say: Function that is called with a line about each step.
        data: Optional name or path of the data, in the place of those that the run names.
    """

    def __init__(
        self, model, graph, run=None, inputs=None, say=lambda line, done=False: None, data=None
    ):
        import export

        self.model, self.say = model, say
        with tracing.full_precision(model):
            self.graph = export.build_graph(model, graph, inputs)
        self.dataset, self.classifier = None, None
        self.own = tracing.own(model)
        conditions = set(self.own.condition if self.own else ())
        if (run is not None or data is not None) and (
            self.own is None or examples.knows_data(self.own)
        ):
            self.dataset = self._load(run, data)
            in_run = run is not None and self.dataset is not None
            if in_run and "label" in conditions and graph in ("decoder", "sampler"):
                self.classifier = self._classifier(run)
        self.inputs = self._inputs()
        with tracing.full_precision(model):
            self.expected = self._of_model(self.inputs)
        self.output = self.graph.outputs[0].name
        self.is_tokens = self.expected[self.output].dtype.kind == "i" and self.graph.loops

    @functools.cached_property
    def baseline(self):
        """What the model itself gives: a dict of `elbo` and `accuracy`, each perhaps None."""
        with tracing.full_precision(self.model):
            elbo = self._elbo(self._of_model)
        return {"elbo": elbo, "accuracy": self._accuracy(self.expected)}

    def measure(self, path, module):
        """Measure a file.

        Args:
            path: The file.
            module: The format's module, such as `export.tflite`.

        Returns:
            Tuple of a `Row` and the outputs of the samples.
        """
        path = pathlib.Path(path)
        self.say(f"{path.name}: sampling {self._samples():,} examples")
        run = self._in_parts(module.load(path))
        made = run(self.inputs)
        elbo, baseline = self._elbo(run), self.baseline["elbo"]
        integer = module.read_manifest(path)["quantization"] == "int8-full"
        one, many = (self.graph.rows(self.inputs, slice(0, rows)) for rows in (1, 16))
        row = Row(
            file=path.name,
            size=path.stat().st_size,
            **self._errors(made),
            elbo_change=None if elbo is None else elbo - baseline,
            accuracy=self._accuracy(made),
            milliseconds=_milliseconds(run, one),
            milliseconds_of_16=_milliseconds(run, many) / 16,
            arena=module.arena(path) if integer else None,
        )
        return row, made

    def _of_model(self, inputs):
        return self._in_parts(functools.partial(oracle.outputs, self.graph))(inputs)

    def _in_parts(self, run):
        """As `run`, asked as many examples at once as files of the graph take."""
        if not self.graph.loops:
            return run

        def run_in_parts(inputs):
            starts = range(0, self.graph.count(inputs), AT_ONCE)
            rows = [slice(start, start + AT_ONCE) for start in starts]
            made = [run(self.graph.rows(inputs, part)) for part in rows]
            return {name: np.concatenate([part[name] for part in made]) for name in made[0]}

        return run_in_parts

    def _errors(self, made):
        """The fields of a `Row` that compare what a file made with what the model does."""
        if self.output in self.graph.in_units:
            return self._errors_in_units(made)
        made, expected = made[self.output], self.expected[self.output]
        if self.is_tokens:
            others = made != expected
            of_samples = float(others.reshape(len(others), -1).any(axis=1).mean())
            errors = {"largest_error": of_samples, "mean_error": float(others.mean())}
            return {**errors, "psnr": None, "of_tokens": True}
        error = made.astype(np.float64) - expected
        spread = np.ptp(expected)
        data_range = self.own.likelihood.data_range if self.own else None
        if self.output.startswith("x") and data_range is not None and np.isfinite(data_range).all():
            spread = data_range[1] - data_range[0]
        noise = math.sqrt(np.mean(error**2))
        return {
            "largest_error": float(np.abs(error).max()),
            "mean_error": float(np.abs(error).mean()),
            "psnr": float(20 * math.log10(spread / noise)) if noise > 0 else math.inf,
        }

    def _errors_in_units(self, made):
        largest, mean = [], []
        for name, spread in self.graph.in_units.items():
            if name in self.expected:
                error = np.abs(made[name].astype(np.float64) - self.expected[name])
                is_name = self.expected[name].dtype.kind == "i"
                error = error > 0 if is_name else error / spread
                largest.append(error.mean() if is_name else error.max())
                mean.append(error.mean())
        errors = {"largest_error": float(max(largest)), "mean_error": float(np.mean(mean))}
        return {**errors, "psnr": None}

    def _inputs(self):
        if not self.graph.takes_data:
            rng = np.random.default_rng(SEED)
            data = self.graph.draw(self._samples(), rng)
            if self.classifier is None:
                return data
            for spec in self.graph.inputs:
                if spec.num_values is not None:
                    # Classes in turn, without *unknown*, so that a row of pictures shows each.
                    data[spec.name] = (np.arange(SAMPLES) % (spec.num_values - 1)).astype(np.int32)
            if "z" in data:  # whose prior may depend on them
                data["z"] = graphs.as_prior(self.own, data["z"], data, rng)
            return data
        return calibration(self.graph, self._held_out(), self._samples())

    def _samples(self):
        return SAMPLES_OF_LOOPS if self.graph.loops else SAMPLES

    def _held_out(self, most=None):
        if self.dataset is None:
            return None
        if not isinstance(self.dataset, Dataset):
            return examples.rows_of(self.own, self.dataset, "test", most)
        return examples.images_of(self.own, self.dataset, "test", most)

    def _load(self, run, source):
        from keras_vae import data

        try:
            return examples.dataset(self.model, run and run.folder, source)
        except (data.DataError, OSError) as err:
            if source is not None:
                raise
            self.say(f"no ELBO and no classes: {err}", done=True)
            return None

    def _classifier(self, run):
        from keras_vae.evaluation.classifier import kept_classifier

        return kept_classifier(run, self.dataset, self.say)

    def _accuracy(self, made):
        if self.classifier is None:
            return None
        given = self.classifier.predict(made["x"], batch_size=500, verbose=0).argmax(axis=1)
        return float(np.mean(given == self.inputs["label"]))

    def _elbo(self, run):
        """Mean ELBO of held-out examples with the graph computed by `run`, or None."""
        from keras import ops

        from keras_vae.models.capabilities import Bounds, DrawsTokens, Encodes

        has_codes = isinstance(self.model, Encodes)
        if self.dataset is None or self.graph.name == "sampler" or not has_codes:
            return None

        held_out = self._held_out(HELD_OUT)
        if self.graph.name == "scorer":
            return -float(np.mean(run(held_out)["score"], dtype="float64"))
        model = self.model
        if self.graph.name == "reconstructor" or not isinstance(model, Bounds):
            return None
        if isinstance(model, DrawsTokens):
            return None
        if model.parameters_per_value > 1:  # a decoder file gives their mean, and no more
            return None
        x = self._as_model_takes(held_out["x"])
        conditions = {name: held_out[name] for name in model.condition}
        code = model.encode({"x": x, **conditions} if conditions else x)
        if self.graph.name == "encoder":
            made = run(held_out)
            code = (made["z_mean"], made["z_log_var"])
            mean = model.decode(code[0], conditions)
        else:
            mean = self._as_model_takes(run({"z": code[0], **conditions})["x"])
        log_prob = model.likelihood.log_prob(x, model.likelihood.from_mean(mean))
        condition = model.encode_condition(
            {name: ops.convert_to_tensor(values) for name, values in conditions.items()}
        )
        code = [ops.convert_to_tensor(values) for values in code]
        kl = model.prior.kl(*code, condition=condition)
        return float(np.mean(ops.convert_to_numpy(log_prob - kl), dtype="float64"))

    def _as_model_takes(self, x):
        """Windows of a series standardised, which files have in units; other data as they are."""
        schema = self.model.schema
        is_of_series = isinstance(schema, SeriesSchema)
        return (x - schema.mean) / schema.std if is_of_series else x


def table(rows, baseline):
    """The rows as lines of text, a header first."""
    form, errors = "{:.1e}", ("largest error", "mean error")
    if any(row.of_tokens for row in rows):
        form, errors = "{:.1%}", ("other samples", "other tokens")
    columns = [
        ("file", lambda row: row.file),
        ("kB", lambda row: f"{row.size / 1000:.0f}"),
        (errors[0], lambda row: form.format(row.largest_error)),
        (errors[1], lambda row: form.format(row.mean_error)),
        ("PSNR dB", lambda row: _or_dash(row.psnr, "{:.1f}")),
        ("ELBO nats", lambda row: _or_dash(row.elbo_change, "{:+.3f}")),
        ("right class", lambda row: _or_dash(row.accuracy, "{:.1%}")),
        ("ms alone", lambda row: f"{row.milliseconds:.3f}"),
        ("ms of 16", lambda row: f"{row.milliseconds_of_16:.3f}"),
        ("arena kB", lambda row: _or_dash(row.arena and row.arena / 1000, "{:.1f}")),
    ]
    elbo = _or_dash(baseline["elbo"], "{:.3f}")
    model = ["Keras model", "", "", "", "", elbo, _or_dash(baseline["accuracy"], "{:.1%}")]
    lines = [[name for name, _ in columns], [*model, "", "", ""]]
    lines += [[show(row) for _, show in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return [
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        ).rstrip()
        for line in lines
    ]


def save(folder, graph, rows, baseline, pictures=None, data_range=None):
    """Write `GRAPH.report.json`, and `GRAPH.report.png` with one row of samples a file.

    Args:
        folder: Where to write.
        graph: Name of the graph.
        rows: List of `Row`.
        baseline: Dict, as `Reporter.baseline`.
        pictures: Optional dict from a name to images, the first of which are drawn.
        data_range: Optional pair of floats, black and white.

    Returns:
        List of the paths.
    """
    from keras_vae import figures
    from keras_vae.storage.files import replaced, write_atomically

    folder = pathlib.Path(folder)
    paths = [folder / f"{graph}.report.json"]
    content = {"model": baseline, "files": [dataclasses.asdict(row) for row in rows]}
    text = json.dumps(content, indent=2, allow_nan=True) + "\n"
    write_atomically(paths[0], text.encode("utf-8"))
    if pictures:
        images = np.concatenate([images[:PER_ROW] for images in pictures.values()])
        title = "The same seeds, one row a file"
        figure = figures.samples(images, list(pictures), title, data_range or (0.0, 1.0))
        paths.append(folder / f"{graph}.report.png")
        with replaced(paths[-1]) as part:
            figure.savefig(part)
    return paths


def _milliseconds(run, batch, seconds=0.2, repeats=50):
    """Median milliseconds of a call."""
    run(batch)
    times = []
    begin = time.perf_counter()
    while len(times) < repeats and (len(times) < 3 or time.perf_counter() - begin < seconds):
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _or_dash(value, form):
    return "-" if value is None else form.format(value)
