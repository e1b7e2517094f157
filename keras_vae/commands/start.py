"""How a command starts Keras, once nothing is left to refuse without it."""

import contextlib
import os
import sys

from keras_vae import backends


def start_keras(backend=None, devices=1, purpose=None):
    """Import Keras on a backend, and with it all of the package.

    TensorFlow's start-up messages are kept off the terminal.

    Args:
        backend: Optional name. Defaults to what Keras is configured for.
        devices: Int. How many a CPU is to pass for, where there is no GPU.
        purpose: Optional str, what Keras is imported for, printed where it takes seconds.

    Raises:
        ValueError: If Keras already runs on another backend, as when a command is called from
            Python.
        ImportError: If the backend is not installed, or none is.
    """
    if "keras" not in sys.modules:
        if purpose:
            print(f"{purpose}; starting Keras on {backends.find(backend)}", flush=True)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        backends.choose(backend)
        with stderr_hidden():
            import keras

            if devices > 1:
                from keras_vae import training

                training.prepare_devices(devices)
            # The first operation is what makes TensorFlow look for devices, and speak of them.
            keras.ops.zeros(())
    import keras

    if backend and keras.backend.backend() != backend:
        raise ValueError(
            f"--backend {backend} must be chosen before Keras is imported, which runs on "
            f"{keras.backend.backend()}. Set the environment variable KERAS_BACKEND."
        )


@contextlib.contextmanager
def stderr_hidden():
    """Send the standard error output elsewhere, below Python: TensorFlow's C++ writes there."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
