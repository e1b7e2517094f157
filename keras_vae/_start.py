"""What must happen before Keras is imported when the package runs as a command.

`python -m keras_vae` imports the package, and with it Keras and its backend, before any line of
`__main__` runs: too late for `--backend`, for making `--devices` of one CPU, and for keeping
TensorFlow's start-up messages off the terminal. `keras_vae/__init__.py` imports this file first, in
that case only.
"""

import contextlib
import os
import sys

BACKENDS = ("tensorflow", "jax", "torch")


@contextlib.contextmanager
def library_noise_hidden():
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


def chosen(option, argv):
    """Return the value of an option such as `--backend` in a command line, or an empty string."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name == option:
            return value or following
    return ""


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if sys.argv[1:2] == ["export"]:  # export always runs on TensorFlow
    os.environ["KERAS_BACKEND"] = "tensorflow"
elif chosen("--backend", sys.argv) in BACKENDS:
    os.environ["KERAS_BACKEND"] = chosen("--backend", sys.argv)
with library_noise_hidden():
    import keras

    if chosen("--devices", sys.argv).isdecimal():
        from keras_vae import trainers

        trainers.prepare_devices(int(chosen("--devices", sys.argv)))
    # The first operation is what makes TensorFlow look for devices, and speak of them.
    keras.ops.zeros(())
