"""What the exported decoder costs on a device: file size, start-up, memory, time per image.

    KERAS_BACKEND=torch python benchmarks/device.py

Exports the decoder of a 784-400-20 conditional VAE (weights at their initial values, which costs
the same as trained ones) to both formats and prints, as JSON for each: the file's size over 4 bytes
per parameter (bound: 1.05), the largest error against Keras over every class (bound: 1e-5), and,
over several runs of `mobile_demo/edge/sample.py`, the median seconds from the start of the process
to 16 images on disk (bound: 1), its peak memory (bound: 120 MB) and milliseconds per image.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import receipts

import keras_vae
from export import export_files

VARIANTS = [("tflite", "none"), ("onnx", "none")]
SAMPLE = pathlib.Path(__file__).parents[1] / "mobile_demo" / "edge" / "sample.py"


# A small process between: a process started from a large one counts that one's memory as its own.
LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
said = subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE, text=True).stdout
seconds = time.perf_counter() - start
kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([seconds, kilobytes / 1000, said]))
"""


def run_sampler(model, folder):
    """Return seconds, peak megabytes and milliseconds per image of one process."""
    words = [sys.executable, SAMPLE, "--model", model, "--label", "7", "--count", "16"]
    words += ["--seed", "42", "--out", folder / "sevens.png"]
    launch = [sys.executable, "-c", LAUNCHER, *map(str, words)]
    done = subprocess.run(launch, check=True, stdout=subprocess.PIPE, text=True)
    seconds, megabytes, said = json.loads(done.stdout)
    return seconds, megabytes, float(re.search(r"([\d.]+) ms an image", said)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=9, help="runs of the sampler (default: 9)")
    receipts.add_option(parser)
    args = parser.parse_args()
    model = keras_vae.ConditionalVAE(
        keras_vae.networks.DenseEncoder(latent_dim=20, hidden_units=(400,)),
        keras_vae.networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,)),
        condition={"label": keras_vae.Categorical(10)},
    )
    model.build()
    files = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for path, report in export_files(model, VARIANTS, out=folder):
            measured = [run_sampler(path, folder) for _ in range(1 + args.runs)][1:]
            seconds, megabytes, milliseconds = map(statistics.median, zip(*measured, strict=True))
            row = {
                "file": path.name,
                "size_ratio": round(path.stat().st_size / (4 * model.decoder.count_params()), 4),
                "largest_error": report.largest_error,
                "seconds_to_16_images": round(seconds, 3),
                "peak_megabytes": round(megabytes, 1),
                "milliseconds_per_image": milliseconds,
            }
            files.append(row)
    receipts.finish(args, {"files": files})


if __name__ == "__main__":
    main()
