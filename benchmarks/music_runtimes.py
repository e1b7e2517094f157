"""Whether a seed gives the same notes everywhere: Keras x3, LiteRT, ONNX Runtime, and both in JS.

    npm install --no-package-lock --prefix benchmarks/runtimes    # once; needs Node.js 20
    python benchmarks/music_runtimes.py --model runs/bach --quantize exact

Exports the sampler of a `SequenceVAE` as TFLite and ONNX (or takes `--files FOLDER`, which holds
`sampler.tflite` and `sampler.onnx`), draws 10,000 pieces in batches of 16, each batch of a seed of
its own and over melodies of test pieces, and counts those of which any note is another one than in
LiteRT. Of float files it also counts the pieces whose `margin` said so. Prints sizes and the
milliseconds of one piece and of sixteen, median of 50 calls, one thread, CPU time.

Exit status: 1 if pieces of an exact model differ, else 0.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

import numpy as np
import portable_random_runtimes as runtimes
import receipts

import keras_vae
from export import export, onnx, tflite

ROWS = 16
CLOSE = 1e-6


def make_requests(model, count, token_temperature):
    """List of dicts of flat lists: a batch of test melodies, a seed of its own."""
    from keras_vae import data

    found = data.sequences("jsb", model.data_shape[0], tuple(model.condition), schema=model.schema)
    conditions = found.test if model.condition else {}
    requests = []
    for seed in range(-(-count // ROWS)):
        at = np.arange(seed * ROWS, seed * ROWS + ROWS)
        request = {n: conditions[n][at % len(conditions[n])].tolist() for n in model.condition}
        request = {n: np.ravel(values).tolist() for n, values in request.items()}
        if not model.condition:
            request["index"] = list(range(ROWS))
        settings = {"seed": [seed], "temperature": [1.0], "token_temperature": [token_temperature]}
        requests.append({**request, **settings})
    return requests


def as_arrays(request, sides):
    made = {}
    for name, values in request.items():
        dtype = "float32" if "temperature" in name else "int32"
        array = np.array(values, dtype)
        made[name] = array.reshape(-1, sides[name]) if name in sides else array
    return made


def run_here(program, requests, sides):
    made = [program(as_arrays(request, sides)) for request in requests]
    margin = np.concatenate([each["margin"] for each in made])
    return np.concatenate([each["x"] for each in made]), margin


def milliseconds(path, request, sides):
    """Of one piece and of sixteen in LiteRT, one thread."""
    from ai_edge_litert.interpreter import Interpreter

    found = []
    for rows in (1, ROWS):
        runner = Interpreter(str(path), num_threads=1).get_signature_runner(f"sampler_{rows}")
        inputs = as_arrays(request, sides)
        batched = set(inputs) - {"seed", "temperature", "token_temperature"}
        inputs = {n: v[:rows] if n in batched else v for n, v in inputs.items()}
        runner(**inputs)
        times = []
        for _ in range(50):
            start = time.process_time()
            runner(**inputs)
            times.append(time.process_time() - start)
        found.append(1000 * statistics.median(times))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="run folder or .keras file")
    parser.add_argument("--quantize", default="exact", help="exact, or any other (default: exact)")
    parser.add_argument("--files", type=pathlib.Path, metavar="FOLDER", help="files made before")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--token-temperature", type=float, default=0.7)
    receipts.add_option(parser)
    args = parser.parse_args()
    path = pathlib.Path(args.model)
    model = keras_vae.load_model(path / "model.keras" if path.is_dir() else path)
    model = model.as_exact() if args.quantize == "exact" else model
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for module in (tflite, onnx):
            target = folder / f"sampler{module.SUFFIX}"
            if args.files is None:
                export(model, module.SUFFIX[1:], "sampler", args.quantize, target)
            else:
                shutil.copy(args.files / target.name, target)
        sides = {n: kind.steps for n, kind in model.condition.items() if kind.kind == "sequence"}
        requests = make_requests(model, args.count, args.token_temperature)
        model.save(folder / "model.keras")
        dtypes = {n: str(v.dtype) for n, v in as_arrays(requests[0], sides).items()}
        given = {"dtypes": dtypes, "sides": sides, "rows": ROWS, "requests": requests}
        (folder / "requests.json").write_text(json.dumps(given))
        lite, network = folder / "sampler.tflite", folder / "sampler.onnx"
        sizes = [each.stat().st_size for each in (lite, network)]
        times = milliseconds(lite, requests[0], sides)
        print(f"{args.quantize}: {sizes[0]} bytes TFLite, {sizes[1]} bytes ONNX")
        print(f"LiteRT: {times[0]:.2f} ms one piece, {times[1]:.2f} ms sixteen", flush=True)
        pieces, margin = run_here(tflite.load(lite), requests, sides)
        close = int((margin < CLOSE).sum())
        print(f"LiteRT: {len(pieces)} pieces, {close} with a margin below {CLOSE:g}", flush=True)
        differ, elsewhere = {}, runtimes.run_elsewhere

        def compare(name, x):
            differs = (x.reshape(pieces.shape) != pieces).any(axis=(1, 2))
            differ[name.replace(".", "-")] = count = int(differs.sum())
            print(f"{name}: {count} of {len(pieces)} pieces differ", flush=True)

        compare("onnxruntime", run_here(onnx.load(network), requests, sides)[0])
        for backend in runtimes.BACKENDS:
            name = f"keras-{backend}"
            command = [sys.executable, runtimes.HERE / "runtimes" / "keras_notes.py"]
            compare(name, elsewhere(folder, name, command, KERAS_BACKEND=backend)[0])
        for name, script in runtimes.SCRIPTS.items():
            if lack := runtimes.missing(script):
                print(f"{name}: not run: {lack}", flush=True)
                continue
            command = ["node", runtimes.HERE / "runtimes" / script]
            compare(name, elsewhere(folder, name, command)[0])
    result = {"pieces": len(pieces), "differ": differ, "close": close, "bytes": sizes}
    receipts.finish(args, {**result, "milliseconds": times})
    sys.exit(args.quantize == "exact" and any(differ.values()))


if __name__ == "__main__":
    main()
