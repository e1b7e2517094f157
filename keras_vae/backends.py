"""Which backend Keras runs on, decided before Keras is imported and without importing one.

Keras asks `KERAS_BACKEND`, then its config file, and else takes TensorFlow, installed or not. Here
what is named must be installed, and where nothing names a backend, one is taken that is. Keras
writes its config file by itself, with "tensorflow" in it: where TensorFlow is not installed, that
is nobody's choice.
"""

import importlib.util
import json
import os
import pathlib
import sys

# The order in which they are taken where none is named; the first is Keras' own default.
BACKENDS = ("tensorflow", "jax", "torch")


def choose(name=None):
    """Let Keras run on a backend that is installed, by way of `KERAS_BACKEND`.

    Where it is neither named nor Keras' own default, one line says which. Does nothing where Keras
    has been imported already.

    Args:
        name: Optional str, which goes before what the environment and Keras' config name.

    Raises:
        ImportError: As `find`.
    """
    if "keras" in sys.modules:
        return
    found = find(name)
    if found == (_named()[0] or BACKENDS[0]):
        return
    os.environ["KERAS_BACKEND"] = found
    if not name:
        print(
            f"keras-vae: no backend is named; taking {found}, the first of {', '.join(BACKENDS)} "
            "that is installed. KERAS_BACKEND names another.",
            file=sys.stderr,
        )


def find(name=None):
    """Return the backend that `choose` takes.

    Raises:
        ImportError: If the backend that is named is unknown or not installed, or if none is
            installed.
    """
    named, by = (name, "--backend") if name else _named()
    installed = [backend for backend in BACKENDS if is_installed(backend)]
    if named in installed:
        return named
    if named and named not in BACKENDS:
        raise ImportError(unknown(f"{named}, from {by}"))
    if named and not (named == BACKENDS[0] and by == _config_path()):
        others = f" Or choose one that is installed: {', '.join(installed)}." if installed else ""
        raise ImportError(
            f"The backend {named} must be installed to be used. Received: {named} from {by}, and "
            f"no such package. Install it with: {install(named)}.{others}"
        )
    if not installed:
        raise ImportError(
            f"keras-vae needs one of the backends {', '.join(BACKENDS)}. Received: none that is "
            f"installed. Install one with: {install(BACKENDS[0])}, or with [jax] or [torch]."
        )
    return installed[0]


def unknown(name):
    """What is said of a backend that Keras may know and this package does not."""
    return (
        f"keras-vae needs the backend {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}. Received: "
        f"{name}. Set the environment variable KERAS_BACKEND."
    )


def install(extra):
    """The command that installs an extra of this package."""
    return f'pip install "keras-vae[{extra}]"'


def is_installed(package):
    """Whether a package can be imported, as far as can be said without importing it."""
    if package in sys.modules:
        return sys.modules[package] is not None
    spec = importlib.util.find_spec(package)
    # A folder of that name, such as an uninstalled package leaves behind, has no origin.
    return spec is not None and spec.origin is not None


def _named():
    """The backend that the environment or Keras' config names, and which of the two; or Nones."""
    if name := os.environ.get("KERAS_BACKEND"):
        return name, "KERAS_BACKEND"
    try:
        return json.loads(_config_path().read_text(encoding="utf-8"))["backend"], _config_path()
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def _config_path():
    """Where Keras keeps its config."""
    if "KERAS_HOME" in os.environ:
        return pathlib.Path(os.environ["KERAS_HOME"], "keras.json").expanduser()
    home = pathlib.Path.home()
    return (home if os.access(home, os.W_OK) else pathlib.Path("/tmp")) / ".keras" / "keras.json"
