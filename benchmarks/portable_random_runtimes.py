"""Whether a sampler draws the same bits everywhere: Keras x3, LiteRT, ONNX Runtime, and both in JS.

    npm install --no-package-lock --prefix benchmarks/runtimes    # once; needs Node.js 20
    python benchmarks/portable_random_runtimes.py

Exports two small samplers with initial weights: one with a label, which draws the examples 0, 1,
2, ... of a seed, and one without, which is told which ones. (`--sampler FOLDER` takes the
`sampler.tflite` and `sampler.onnx` that `python -m export --format tflite,onnx --graph sampler`
made.) Asks every runtime for 100,000 codes in batches of 16 and of one, of 7,195 seeds, at several
temperatures; and those that take any batch size for 100,000 more in one batch. Compares the bits of
`z` with NumPy's, and prints the largest difference of `x` from LiteRT's.

Exit status: 0 if all bits are equal and `x` within 1e-5; 1 if not; 2 if that holds but a runtime is
missing.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import receipts

import keras_vae
from export import export, onnx, tflite
from keras_vae import portable_random

HERE = pathlib.Path(__file__).parent
CODES = 100_000
ROWS = 16
SINGLE = 1008
TEMPERATURES = (1.0, 0.7, 1.3, 0.0, 0.1)
BOUND = 1e-5
BACKENDS = ("tensorflow", "jax", "torch")
SCRIPTS = {"onnxruntime-web": "onnxruntime_web.js", "litert.js": "litert.js"}


def export_small(folder, condition):
    """Export the sampler of a small model in both formats."""
    networks = keras_vae.networks
    encoder = networks.DenseEncoder(latent_dim=20, hidden_units=(32,))
    decoder = networks.DenseDecoder(output_shape=(8, 8, 1), hidden_units=(32,))
    if condition:
        model = keras_vae.ConditionalVAE(
            encoder, decoder, condition={"label": keras_vae.Categorical(10)}, seed=0
        )
    else:
        model = keras_vae.VAE(encoder, decoder, seed=0)
    model.build()
    folder.mkdir()
    for format in ("tflite", "onnx"):
        export(model, format, graph="sampler", out=folder)
    return folder


def make_requests(manifest):
    """List of dicts of inputs: in batches of 16, in batches of one, and in one large batch."""
    [num_classes] = [entry["size"] for entry in manifest["conditions"]] or [None]
    generator = np.random.default_rng(0)
    last = portable_random.MOST_EXAMPLES - 1
    batches = [ROWS] * ((CODES - SINGLE) // ROWS) + [1] * SINGLE + [CODES]
    seeds = [0, portable_random.SEEDS - 1, *generator.integers(0, portable_random.SEEDS, 3000)]
    seeds += range(1, len(batches) - len(seeds))
    requests = []
    for n, (rows, seed) in enumerate(
        zip(batches, [*seeds, portable_random.SEEDS - 1], strict=True)
    ):
        request = {"seed": [int(seed)], "temperature": [TEMPERATURES[n % len(TEMPERATURES)]]}
        if num_classes is None:
            index = generator.integers(0, last + 1, rows)
            index[0] = (0, last, 65535, 65536)[n % 4]
            requests.append({"index": index.tolist(), **request})
        else:
            requests.append({"label": (np.arange(n, n + rows) % num_classes).tolist(), **request})
    return requests


def as_arrays(request):
    dtypes = {"temperature": "float32"}
    return {name: np.array(values, dtypes.get(name, "int32")) for name, values in request.items()}


def expected(requests, latent_dim):
    """The codes, by NumPy."""
    parts = []
    for request in map(as_arrays, requests):
        rows = np.arange(len(request["label"])) if "label" in request else request["index"]
        noise = portable_random.normal(request["seed"], rows, latent_dim)
        parts.append(request["temperature"] * noise)
    return np.concatenate(parts)


def run_here(program, requests):
    """Run a loaded file in this process: x and z."""
    outputs = [program(request) for request in map(as_arrays, requests)]
    return tuple(np.concatenate([each[name].ravel() for each in outputs]) for name in ("x", "z"))


def missing(script):
    """What must be installed for a script of JavaScript, or None."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "install Node.js 20 and npm (`apt-get install nodejs npm`)"
    if not (HERE / "runtimes" / "node_modules").is_dir():
        return f"run `npm install --no-package-lock --prefix {HERE / 'runtimes'}`"
    return None


def run_elsewhere(folder, name, command, **environment):
    """Run a program that answers the requests: x and z, None where it gives none."""
    done = subprocess.run(
        [*map(str, command), str(folder)],
        env={**os.environ, "PYTHONPATH": str(HERE.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    found = {path.suffix[1:]: np.fromfile(path, "float32") for path in folder.glob(f"{name}.[xz]")}
    return found.get("x"), found.get("z")


def runtimes(folder, requests):
    """Yield, for each runtime, its name, the requests that it takes and a function to run them."""
    small = requests[:-1]
    lite, network = folder / "sampler.tflite", folder / "sampler.onnx"
    yield "LiteRT", requests, lambda: run_here(tflite.load(lite, "sampler"), requests)

    def static():
        programs = {rows: tflite.load(lite, f"sampler_{rows}") for rows in (1, ROWS)}
        return run_here(lambda inputs: programs[max(map(len, inputs.values()))](inputs), small)

    yield "LiteRT, static signatures", small, static
    yield "ONNX Runtime", requests, lambda: run_here(onnx.load(network), requests)
    for backend in BACKENDS:
        command = [sys.executable, HERE / "runtimes" / "keras_draws.py"]
        name = f"keras-{backend}"
        yield (
            name,
            requests,
            lambda name=name, backend=backend, command=command: run_elsewhere(
                folder, name, command, KERAS_BACKEND=backend
            ),
        )
    for name, script in SCRIPTS.items():
        taken = small if name == "litert.js" else requests
        command = ["node", HERE / "runtimes" / script]
        lack = missing(script)
        yield (
            name,
            taken,
            lack or (lambda name=name, command=command: run_elsewhere(folder, name, command)),
        )


def compare(folder, title):
    """Run and print one sampler.

    Returns whether all agreed, and for each runtime how many values of z differ, or None where it
    could not be run.
    """
    manifest = tflite.read_manifest(folder / "sampler.tflite")
    if any(entry["kind"] != "categorical" for entry in manifest["conditions"]):
        sys.exit("This benchmark asks for a model without conditions, or with one class label.")
    latent_dim = manifest["latent_dim"]
    requests = make_requests(manifest)
    dtypes = {name: str(value.dtype) for name, value in as_arrays(requests[0]).items()}
    given = {"latent_dim": latent_dim, "dtypes": dtypes, "requests": requests}
    (folder / "requests.json").write_text(json.dumps(given))
    z = expected(requests, latent_dim)
    print(f"{title}, {latent_dim} latent dimensions")
    print(f"  {'runtime':<28}{'codes':>10}{'bits of z differ':>18}{'x from LiteRT':>16}{'s':>8}")
    agreed, found, reference = True, {}, None
    for name, taken, run in runtimes(folder, requests):
        if isinstance(run, str):
            print(f"  {name:<28}not run: {run}", flush=True)
            found[name] = None
            continue
        start = time.perf_counter()
        x, codes = run()
        seconds = time.perf_counter() - start
        count = sum(len(request.get("label", request.get("index"))) for request in taken)
        if codes.size != count * latent_dim:
            sys.exit(f"{name} made {codes.size} values where {count * latent_dim} were asked for.")
        differ = np.count_nonzero(codes.view("uint32") != z[:count].ravel().view("uint32"))
        reference = x if reference is None else reference
        error = 0.0 if x is None else np.max(np.abs(x - reference[: x.size]))
        # Not the other way round: a comparison with NaN is false.
        agreed = agreed and differ == 0 and bool(error <= BOUND)
        found[name] = int(differ)
        shown = "" if x is None else f"{error:.1e}"
        print(f"  {name:<28}{count:>10}{differ:>18}{shown:>16}{seconds:>8.1f}", flush=True)
    print(flush=True)
    return agreed, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--sampler",
        type=pathlib.Path,
        metavar="FOLDER",
        help="folder with sampler.tflite and sampler.onnx (default: two small samplers)",
    )
    receipts.add_option(parser)
    args = parser.parse_args()
    sampler = args.sampler
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if sampler is not None:
            for suffix in ("tflite", "onnx"):
                shutil.copy(sampler / f"sampler.{suffix}", folder)
            results = [compare(folder, str(sampler))]
        else:
            results = [
                compare(export_small(folder / "label", condition=True), "A sampler with a label"),
                compare(export_small(folder / "index", condition=False), "A sampler without one"),
            ]
    agreed = all(good for good, _ in results)
    found = [differ for _, of_runtimes in results for differ in of_runtimes.values()]
    complete = None not in found
    receipts.finish(
        args,
        {
            "values_that_differ": sum(found) if complete else None,
            "of_runtimes": [of_runtimes for _, of_runtimes in results],
            "images": CODES,
        },
    )
    sys.exit(1 if not agreed else 0 if complete else 2)


if __name__ == "__main__":
    main()
