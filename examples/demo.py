"""What `make demo` runs: train, draw, export and sample on a "device".

    python examples/demo.py runs/demo                # --overwrite replaces a run that is there

Every step is a command that you can run yourself, and is shown. Of what the commands print only the
results are shown; where one fails, all that it said. The last step reads only the exported files,
in processes that import neither Keras nor TensorFlow.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
EDGE = os.path.relpath(ROOT / "mobile_demo" / "edge" / "sample.py")
FORMATS = ("tflite", "onnx")
# Of each step, on two quiet cores.
SECONDS = {"Train": 75, "Draw": 20, "Export": 15, "Sample": 2}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", nargs="?", default="runs/demo", type=pathlib.Path)
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    parser.add_argument("--epochs", type=int, help="fewer: a quick demo of worse samples")
    parser.add_argument("--seed", type=int, help="of the training (default: 0)")
    args = parser.parse_args()
    run, start = args.run, time.perf_counter()
    # A higher learning rate than the default helps, with which a latent may fall silent if the KL
    # has its full weight at once. The codes of few images are not quite N(0, I).
    options = ["--data", "mnist_small", "--prior", "fitted_mixture"]
    options += ["--learning-rate", "2e-3", "--kl-warmup", min(10, args.epochs or 10)]
    options += ["--epochs", args.epochs] if args.epochs else []
    options += ["--seed", args.seed] if args.seed else []
    options += ["--overwrite"] if args.overwrite else []
    print("A conditional VAE learns handwritten digits, 8,000 of MNIST, and leaves for a device.")
    times = ", ".join(f"{name.lower()} {seconds} s" for name, seconds in SECONDS.items())
    print(f"On two quiet cores: {times}.\n", flush=True)
    step("Train", "-m", "keras_vae", "train", "--out", run, *options)
    drawn = step("Draw", "-m", "keras_vae", "figures", run)
    step("Export", "-m", "export", "--format", ",".join(FORMATS), "--model", run)
    files = {form: run / "export" / f"decoder.{form}" for form in FORMATS}
    pictures = {form: run / f"samples.{form}.png" for form in FORMATS}

    def sampling(form):
        every_digit = ("--count", 10, "--seed", 42, "--out", pictures[form])
        return (EDGE, "--model", files[form], *every_digit)

    said = {"tflite": step("Sample", *sampling("tflite")), "onnx": output(*sampling("onnx"))}
    found = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    nats = f"{found['loss']:.1f} nats an image, {found['kl_loss']:.1f} of them for the code"
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Test loss: {nats}.")
    print("\n  file            size      largest error against Keras   an image")
    for form, file in files.items():
        tested = output(EDGE, "--model", file, "--self-test")
        error = re.search(r"largest error ([\d.e+-]+)", tested)[1]
        milliseconds = re.search(r"([\d.]+) ms an image", said[form])[1]
        size = f"{file.stat().st_size / 1000:.0f} kB"
        print(f"  {file.name:<16}{size:<10}{error:<30}{milliseconds} ms")
    print("\nLook at:")
    print(f"  {pictures['tflite']}  every digit, drawn by the file alone")
    for line in drawn.splitlines():
        if line.endswith((".png", ".gif")):
            print(f"  {line}")
    print("\nNext:")
    for line in next_commands(run):
        print(f"  {line}")


def next_commands(run):
    """What to type next; the activation first, where Python runs in an environment."""
    if sys.prefix != sys.base_prefix:
        yield f"source {shlex.quote(os.path.relpath(sys.prefix))}/bin/activate"
    seven = "--label 7 --count 16 --seed 42 --out sevens.png"
    yield f"python -m keras_vae sample {shlex.quote(str(run))} {seven}"
    yield f"python -m keras_vae evaluate {shlex.quote(str(run))} --scorecard --doctor"


def step(name, *words):
    """Show a command, run it and show how long it took; return what it printed."""
    start = time.perf_counter()
    print(f"{name:<8}{command_line(words)}", flush=True)
    said = output(*words)
    print(f"{'':<8}{time.perf_counter() - start:.0f} s", flush=True)
    return said


def output(*words):
    """Run a command and return what it printed; on a terminal, show its newest line meanwhile."""
    lines, shown = [], sys.stdout.isatty()
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout:
                lines.append(line)
                if shown:
                    width = shutil.get_terminal_size().columns - 9
                    print(f"\r\x1b[K{'':<8}{line.rstrip()[:width]}", end="", flush=True)
        except KeyboardInterrupt:
            sys.exit("\ninterrupted")
    if shown:
        print("\r\x1b[K", end="", flush=True)
    if process.returncode:
        why = f"This failed, with status {process.returncode}: {command_line(words)}"
        sys.exit(f"{''.join(lines)}\n{why}")
    return "".join(lines)


def command_line(words):
    return f"python {shlex.join(map(str, words))}"


if __name__ == "__main__":
    main()
