"""By which converter a format's files are made, and in which process."""

import importlib
import importlib.util

from keras_vae import processes

# On which backend of Keras each converts.
BACKENDS = {"tensorflow": "tensorflow", "stablehlo": "jax", "torch": "torch"}
# The extra that installs it.
_EXTRAS = {"tensorflow": "export", "stablehlo": "export-lite", "torch": "export-onnx"}
# The environment of a process that converts.
ENVIRONMENTS = {
    "tensorflow": processes.ON_TENSORFLOW,
    "jax": processes.ON_JAX,
    "torch": processes.ON_TORCH,
}
# As people write them.
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def chosen(format, converter="auto"):
    """The converter of a format: that which is asked for, or the first that is installed.

    Args:
        format: `"tflite"`, `"onnx"` or `"c"`.
        converter: `"auto"`, or one of `BACKENDS`.

    Returns:
        Str, one of `BACKENDS`.

    Raises:
        ValueError: If the format has no such converter.
        ModuleNotFoundError: If it is not installed.
    """
    packages = importlib.import_module(f"export.{format}").PACKAGES
    if converter not in ("auto", *BACKENDS):
        raise ValueError(
            f"`converter` must be one of auto, {', '.join(BACKENDS)}. Received: {converter!r}."
        )
    if converter == "auto":
        installed = [name for name, needed in packages.items() if not _missing(needed)]
        converter = installed[0] if installed else next(iter(packages))
    elif converter not in packages:
        raise ValueError(
            f"The {format} format has the converters {', '.join(packages)}. Received: "
            f"{converter!r}."
        )
    require(packages[converter], format, converter)
    return converter


def require(packages, format, converter):
    """Raise a ModuleNotFoundError that says which extra installs what is missing."""
    for package in _missing(packages):
        raise ModuleNotFoundError(
            f'Exporting to "{format}" needs the `{package}` package. Install it with: '
            f'pip install "keras-vae[{_EXTRAS[converter]}]".'
        )


def _missing(packages):
    return [package for package in packages if importlib.util.find_spec(package) is None]


def runs_here(backend):
    """Whether this process can convert on a backend: Keras runs on it, but TensorFlow on a CPU.

    An accelerator rounds otherwise than most devices do.
    """
    import keras

    if keras.backend.backend() != backend:
        return False
    if backend == "jax":
        import jax

        return jax.default_backend() == "cpu"
    if backend == "torch":
        import torch

        return not torch.cuda.is_available()
    return True
