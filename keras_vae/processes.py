"""Other Python processes, which run a line of this package's code."""

import os
import pathlib
import subprocess
import sys

# How such a process imports both packages by their place, not by their names alone: the folder
# where it runs may hold an `export.py` of its own.
IMPORT = (
    f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).resolve().parents[1])!r}); "
    "import export, keras_vae; del sys.path[0]; "
)
# An accelerator is slow to start for one small batch, and rounds otherwise than a device.
ON_TENSORFLOW = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}
# Without TensorFlow and its warnings.
ON_JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
ON_TORCH = {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "-1"}


def run(code, *arguments, environment=None, **options):
    """Run Python code in a process that finds the modules which this one finds.

    Args:
        code: Str. `export` and `keras_vae` are imported before it.
        *arguments: Strs, its `sys.argv[1:]`.
        environment: Optional dict of variables that are added to those of this process.
        **options: As for `subprocess.run`. Text is UTF-8 or what stands for it.

    Returns:
        `subprocess.CompletedProcess`.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, "-c", IMPORT + code, *arguments],
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        **options,
    )


def end_of(process):
    """How a process ended, and the last line that it wrote about it."""
    last = process.stderr.strip().splitlines()[-1:] or ["it said nothing"]
    return f"ended with status {process.returncode}: {last[0][:300]}"
