"""Settings and small data that all tests share."""

import os

# Compile time, not run time, is what tests on JAX cost.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# The models are small: threads would wait for each other, and for those of the other worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import random

import hypothesis
import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.__main__ import main

BACKEND = keras.backend.backend()
# Read by mypy, not run.
collect_ignore = ["typing"]
# A program takes about eight memory mappings, of which Linux gives a process 65,530.
MOST_PROGRAMS = 4000
# Arguments of a training on the `archive`.
SMALL = ["--hidden-units", "8", "--latent-dim", "2", "--epochs", "2", "--batch-size", "16"]

# Each is a new model, which JAX compiles.
for name, examples in {"ordinary": 2 if BACKEND == "jax" else 5, "slow": 100}.items():
    hypothesis.settings.register_profile(
        name, max_examples=examples, derandomize=True, deadline=None, database=None
    )
hypothesis.settings.load_profile("ordinary")


def ordinary_on(*backends):
    """Mark of tests that say little about a backend: on others they are left to `test-slow`."""
    return pytest.mark.skipif(False, reason="") if BACKEND in backends else pytest.mark.slow


def some_if_compiled(params, every=4):
    """Parameters of a test: PyTorch takes all, a backend that compiles for each one of `every`."""
    return [
        param if index % every == 0 else pytest.param(*param, marks=ordinary_on("torch"))
        for index, param in enumerate(params)
    ]


def _compile_once():
    """Give JAX what it has compiled where it is to compile the same program again.

    A third of the time goes to programs of models that were loaded, or made again from a seed.
    """
    from jax._src import compiler

    compile_anew, compiled = compiler.compile_or_get_cached, {}

    def compile_once(backend, module, devices, options, callbacks, *rest, **kwargs):
        key = str(module), str(devices), options.SerializeAsString()
        if len(compiled) == MOST_PROGRAMS:
            compiled.clear()
        if callbacks or key not in compiled:
            arguments = backend, module, devices, options, callbacks
            compiled[key] = compile_anew(*arguments, *rest, **kwargs)
        return compiled[key]

    compiler.compile_or_get_cached = compile_once


if BACKEND == "jax":
    _compile_once()


@pytest.fixture(autouse=True)
def _seeded():
    # Keras' initializers and seed generators take their default seed from `random`.
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="module")
def untraced():
    """On TensorFlow, where a function that is called once takes longer to trace than to run."""
    with pytest.MonkeyPatch.context() as patch:
        if BACKEND == "tensorflow":
            compiled = "keras_vae.models.generative.GenerativeModel.as_compiled"
            patch.setattr(compiled, lambda self, function: function)
        yield


@pytest.fixture(scope="module")
def one_signature():
    """Files of TFLite without their static signatures, whose conversion takes twice the rest.

    Those of every family, which have them, are in tests/export/test_families.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.graphs.STATIC_BATCH_SIZES", ())
        yield


@pytest.fixture
def images():
    """Float images `(48, 6, 5, 1)` in [0, 1], and labels of three classes."""
    generator = np.random.default_rng(0)
    labels = np.arange(48) % 3
    x = generator.uniform(size=(48, 6, 5, 1)) * 0.3
    x[np.arange(48), labels] += 0.6
    return x.astype("float32"), labels.astype("int32")


@pytest.fixture
def fixed_noise(monkeypatch):
    """The same noise, for the 48 images or some of them, on every backend and in every step."""
    noise = np.random.default_rng(7).normal(size=(48, 3)).astype("f4")

    def normal(shape, dtype=None, seed=None):
        return ops.convert_to_tensor(noise[: shape[0]] if isinstance(shape[0], int) else noise)

    monkeypatch.setattr(keras.random, "normal", normal)
    return noise


@pytest.fixture
def make():
    """Makes a small compiled model of any class."""
    return make_model


def make_model(name="ConditionalVAE", conv=False, compile_model=True, **kwargs):
    """Return a small model for the `images`, with fixed initial weights."""
    random.seed(1)
    networks = keras_vae.networks
    if conv:
        encoder = networks.ConvEncoder(3, hidden_units=(4, 6))
        decoder = networks.ConvDecoder((6, 5, 1), hidden_units=(6, 4))
    else:
        encoder = networks.DenseEncoder(3, hidden_units=(8,))
        decoder = networks.DenseDecoder((6, 5, 1), hidden_units=(8,))
    kwargs.setdefault("seed", 3)
    if name == "ConditionalVAE":
        kwargs.setdefault("condition", {"label": keras_vae.Categorical(3)})
    model = getattr(keras_vae, name)(encoder, decoder, **kwargs)
    if compile_model:
        model.compile(keras.optimizers.Adam(1e-2))
    return model


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An .npz of three classes with names."""
    path = tmp_path_factory.mktemp("data") / "shapes.npz"
    generator = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = generator.integers(0, 80, (60, 6, 5))
    x[np.arange(60), y * 2] += 150
    np.savez(
        path,
        x_train=x[:48].astype("uint8"),
        y_train=y[:48],
        x_test=x[48:].astype("uint8"),
        y_test=y[48:],
        class_names=np.array(["one", "two", "three"]),
    )
    return path


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    """A trained run folder."""
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    assert main(["train", "--data", str(archive), "--out", str(folder), *SMALL]) == 0
    return folder


def fails(capsys, arguments, words, status=2):
    """Run a command that must fail with one line."""
    assert main([str(word) for word in arguments]) == status
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert words in said
