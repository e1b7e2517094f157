"""How long `import keras_vae` takes beyond `import keras`. Bound: 0.2 s.

KERAS_BACKEND=jax python benchmarks/import_time.py
"""

import statistics
import subprocess
import sys

PROGRAM = """
import keras, time
start = time.perf_counter()
import keras_vae
print(time.perf_counter() - start)
"""


def main():
    command = [sys.executable, "-c", PROGRAM]
    seconds = [float(subprocess.check_output(command)) for _ in range(5)]
    print(f"{statistics.median(seconds):.3f} s beyond `import keras` (median of {len(seconds)})")


if __name__ == "__main__":
    main()
