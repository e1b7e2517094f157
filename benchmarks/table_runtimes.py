"""Are the drawn rows of a seed the same everywhere, and how fast and how large are the files?

`KERAS_BACKEND=torch python benchmarks/table_runtimes.py [MODEL]` takes the model of a table, a
`.keras` file, or fits that of `benchmarks/adult.py`; draws 100,000 rows of one seed by Keras on the
three backends and by every variant of the `sampler` in LiteRT and ONNX Runtime, then by the model
`as_exact` and its files, also in C, and prints for each, against Keras on PyTorch,

- how many names differ, of how many, and how many cells of each column of whole numbers; and of all
  numbers the largest difference, over how far the column spreads, and how many cells differ by more
  than 1e-5 of that;

then the size of every variant of the sampler, and the milliseconds that a row takes in it, of 1,024
at once and alone, on one thread.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

BACKENDS = ("torch", "tensorflow", "jax")
VARIANTS = {"float": ("none", "float16", "int8"), "exact": ("exact",)}
FORMATS = {"float": ("tflite", "onnx"), "exact": ("tflite", "onnx", "c")}
SEED, ROWS, AT_ONCE = 42, 100_000, 1024

_KERAS = """
import sys
import keras_vae, numpy as np
model, given = keras_vae.load_model(sys.argv[1]), dict(np.load(sys.argv[2]))
rows = given.pop("rows")
np.save(sys.argv[3], model.sample(*([given] if given else [int(rows)]), seed=int(sys.argv[4])))
"""


def conditions(schema, rows):
    """Every combination of names in turn, and numbers that spread; in units, as files take them."""
    made, every = {}, 1
    for name in schema.conditions:
        kind = schema.columns[name]
        if hasattr(kind, "names"):
            made[name] = (np.arange(rows) // every % len(kind.names)).astype("int32")
            every *= len(kind.names)
        else:
            made[name] = np.linspace(*kind.bounds, rows, dtype="float32")[:, None]
    return made


def in_files(run, inputs, rows):
    """What a sampler's file gives, `AT_ONCE` rows at a time."""
    parts = []
    for start in range(0, rows, AT_ONCE):
        index = np.arange(start, start + AT_ONCE) % rows
        parts.append(run({n: v if len(v) == 1 else v[index] for n, v in inputs.items()}))
    return {name: np.concatenate([part[name] for part in parts])[:rows] for name in parts[0]}


def milliseconds(run, inputs, rows, seconds=2.0):
    """Median of calls with so many rows, for a row."""
    batch = {name: value if len(value) == 1 else value[:rows] for name, value in inputs.items()}
    run(batch)
    times, begin = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times)) / rows


def compare(schema, found, expected):
    """A line of what differs between two dicts of columns by their ports."""
    names, whole, count, largest, beyond = [0, 0], [], 0, 0.0, 0
    for name in schema.names:
        kind, port = schema.columns[name], schema.ports[name]
        one, other = (np.asarray(columns[port], "float64") for columns in (found, expected))
        differ = int(np.sum(one != other))
        if hasattr(kind, "names"):
            names = [names[0] + differ, names[1] + len(one)]
            continue
        if getattr(kind, "integer", True) and differ:
            whole.append(f"{differ} of {name}")
        low, high = (0, kind.most) if hasattr(kind, "most") else kind.bounds
        error = np.abs(one - other) / (high - low)
        largest, beyond = max(largest, float(error.max())), beyond + int(np.sum(error > 1e-5))
        count += len(one)
    return (
        f"{names[0]} of {names[1]:,} names; whole numbers: {', '.join(whole) or 'none'}; numbers "
        f"within {largest:.1e}, {beyond} of {count:,} beyond 1e-5"
    )


def main(path=None, rows=ROWS):
    import keras_vae

    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            import adult

            path = f"{folder}/model.keras"
            table = adult.read()
            adult.fit(table.schema, table.train, epochs=adult.EPOCHS, seed=0).save(path)
        model = keras_vae.load_model(path)
        model.as_exact().save(f"{folder}/exact.keras")
        for form, file in {"float": path, "exact": f"{folder}/exact.keras"}.items():
            print(f"{form}:", flush=True)
            variants = [(format, name) for format in FORMATS[form] for name in VARIANTS[form]]
            report(file, variants, rows, folder)


def report(path, variants, rows, folder):
    """Print how the rows of a model's backends and files differ."""
    import export
    import keras_vae
    from export import table_oracle

    model = keras_vae.load_model(path)
    schema, inputs = model.schema, conditions(model.schema, rows)
    given = table_oracle.conditions(model, inputs)
    np.savez(f"{folder}/given.npz", rows=rows, **given)
    drawn = {}
    for backend in BACKENDS:
        out = f"{folder}/{backend}.npy"
        words = [sys.executable, "-c", _KERAS, path, f"{folder}/given.npz", out, str(SEED)]
        environment = {**os.environ, "KERAS_BACKEND": backend}
        subprocess.run(words, check=True, env=environment, stderr=subprocess.DEVNULL)
        drawn[backend] = table_oracle.columns(model, np.load(out))
    expected = drawn.pop("torch")
    for backend, found in drawn.items():
        print(f"Keras on {backend}: {compare(schema, found, expected)}", flush=True)
    files = export.export_files(path, variants, ["sampler"], folder)
    inputs["index"] = np.arange(rows, dtype="int32")
    inputs |= {"seed": np.array([SEED], "int32"), "temperature": np.ones(1, "float32")}
    for file, _ in files:
        run = export.module_of(file.suffix[1:]).load(pathlib.Path(file))
        many, one = (milliseconds(run, inputs, count) for count in (AT_ONCE, 1))
        print(
            f"{file.name}: {file.stat().st_size / 1000:.0f} kB, {many:.4f} ms a row of "
            f"{AT_ONCE}, {one:.3f} ms alone"
        )
        print(f"  {compare(schema, in_files(run, inputs, rows), expected)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
