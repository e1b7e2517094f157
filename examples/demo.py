"""What `make demo` runs: train, evaluate, export, verify, and sample on a "device".

    python examples/demo.py runs/demo                # --overwrite replaces a run that is there

Every step is a command that you can run yourself; each is printed before it runs. The last two
read only the exported files, in a process that imports neither Keras nor TensorFlow.
"""

import argparse
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
EDGE = ROOT / "mobile_demo" / "edge" / "sample.py"
FORMATS = ("tflite", "onnx")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", nargs="?", default="runs/demo", type=pathlib.Path)
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    args = parser.parse_args()
    run, replacing = args.run, ["--overwrite"] * args.overwrite
    start = time.perf_counter()
    keras_vae = ("-m", "keras_vae")
    step(
        "Train on scikit-learn's handwritten digits", *keras_vae, "train", "--out", run, *replacing
    )
    step("Draw what it learnt", *keras_vae, "figures", run)
    step("Export and verify", "-m", "export", "--format", ",".join(FORMATS), "--model", run)
    pictures = sorted((run / "figures").glob("*.png"))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        reference = pathlib.Path(folder) / "keras.npy"
        sampling = ("--count", 10, "--seed", 42)
        quiet(*keras_vae, "sample", run, *sampling, "--out", reference)
        for form in FORMATS:
            model = run / "export" / f"decoder.{form}"
            picture = run / f"samples.{form}.png"
            step(
                f"Sample every digit from {model.name} alone",
                EDGE,
                "--model",
                model,
                *sampling,
                "--out",
                picture,
            )
            quiet(EDGE, "--model", model, "--self-test")
            values = pathlib.Path(folder) / f"{form}.npy"
            said = quiet(EDGE, "--model", model, *sampling, "--out", values)
            error = np.abs(np.load(values) - np.load(reference)).max()
            milliseconds = re.search(r"([\d.]+) ms an image", said).group(1)
            rows.append(
                (
                    model.name,
                    f"{model.stat().st_size / 1000:.0f} kB",
                    f"{error:.1e}",
                    f"{milliseconds} ms",
                )
            )
            pictures.append(picture)
    losses = json.loads((run / "evaluation.json").read_text())
    print(f"\nDone in {time.perf_counter() - start:.0f} s.\n")
    for name in ("loss", "reconstruction_loss", "kl_loss"):
        print(f"  {'test ' + name:<26}{losses[name]:6.2f} nats per image")
    print(f"\n  {'file':<16}{'size':>8}{'largest error against Keras':>30}{'per image':>12}")
    for name, size, error, milliseconds in rows:
        print(f"  {name:<16}{size:>8}{error:>30}{milliseconds:>12}")
    print("\nLook at:")
    for picture in pictures:
        print(f"  {picture}")


def step(title, *words):
    """Print and run one command."""
    words = [str(word) for word in words]
    print(f"\n== {title}\n$ python {shlex.join(words)}", flush=True)
    if subprocess.run([sys.executable, *words]).returncode:
        sys.exit(f"The step failed: {title}")


def quiet(*words):
    """Run one command and return what it printed."""
    command = [sys.executable, *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
