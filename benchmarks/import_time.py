"""How long `import keras_vae` takes beyond `import keras`. Bound: 0.2 s.

KERAS_BACKEND=jax python benchmarks/import_time.py
"""

import argparse
import statistics
import subprocess
import sys

import receipts

PROGRAM = """
import keras, time
start = time.perf_counter()
import keras_vae
print(time.perf_counter() - start)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="processes (%(default)s)")
    receipts.add_option(parser)
    args = parser.parse_args()
    command = [sys.executable, "-c", PROGRAM]
    seconds = [float(subprocess.check_output(command)) for _ in range(args.runs)]
    receipts.finish(args, {"seconds": round(statistics.median(seconds), 3)})


if __name__ == "__main__":
    main()
