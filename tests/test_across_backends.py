"""A model trained on one backend is the same function on the others."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from tests.conftest import BACKEND, ordinary_on

# From there it looks at both others.
pytestmark = ordinary_on("torch")
OTHERS = [name for name in ("tensorflow", "jax", "torch") if name != BACKEND]
REPOSITORY = pathlib.Path(__file__).parents[1]
SCRIPT = """
import json, sys
from keras_vae import VAE  # and with it all of the package
print(json.dumps(sorted(sys.modules)))
sys.modules.setdefault("tensorflow", None)  # as if not installed: Keras' loading imports it
from tests.test_across_backends import measure_files
measure_files(sys.argv[1])
"""


def measure(model, inputs):
    """What a model makes of inputs, without a draw.

    Returns:
        Dict of arrays: the loss terms at the posterior mean, in nats per example, the posterior,
        the reconstruction and the optimizer's state.
    """
    outputs = model(keras.tree.map_structure(ops.convert_to_tensor, inputs), draw=False)
    x = inputs["x"] if isinstance(inputs, dict) else inputs
    nats = -model.likelihood.log_prob(x, outputs["parameters"])
    measured = {
        "reconstruction_loss": ops.mean(nats),
        "kl_loss": ops.mean(outputs["kl"]),
        "z_mean": outputs["z_mean"],
        "z_log_var": outputs["z_log_var"],
        "reconstruction": model.reconstruct(inputs),
        "log_likelihood": model.log_likelihood(inputs, [1, 20], seed=0),
        "optimizer": ops.concatenate([ops.reshape(v, (-1,)) for v in model.optimizer.variables]),
    }
    return {name: ops.convert_to_numpy(value) for name, value in measured.items()}


def measure_files(folder):
    """Measure every `NAME.keras` on the inputs beside it and write `NAME.BACKEND.npz`."""
    folder = pathlib.Path(folder)
    for path in sorted(folder.glob("*.keras")):
        with np.load(path.with_suffix(".npz")) as arrays:
            inputs = dict(arrays)
        inputs = inputs if len(inputs) > 1 else inputs["x"]
        model = keras_vae.load_model(path)
        assert model.jit_compile == (BACKEND == "jax")
        np.savez(path.with_suffix(f".{BACKEND}.npz"), **measure(model, inputs))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with two trained models, and what they measure here."""
    from tests.conftest import make_model

    folder = tmp_path_factory.mktemp("trained")
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(48, 6, 5, 1)).astype("float32")
    label = np.arange(48, dtype="int32") % 4  # the last is unknown
    here = {}
    for name, inputs in (("ConditionalVAE", {"x": x, "label": label}), ("VAE", x)):
        options = {"classifier": None} if name == "ConditionalVAE" else {}
        model = make_model(name, conv=name == "VAE", **options)
        if BACKEND != "torch":  # which has no such thing, and must load the model nevertheless
            model.compile(keras.optimizers.Adam(1e-2), steps_per_execution=2)
        model.fit(inputs, batch_size=24, epochs=3, verbose=0)
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", **(inputs if isinstance(inputs, dict) else {"x": x}))
        here[name] = measure(model, inputs)
    return folder, here


@pytest.fixture(scope="module", params=OTHERS)
def elsewhere(request, trained):
    """The folder after another backend, in a process of its own, measured the models."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: pip install 'keras-vae[{request.param}]'")
    folder, here = trained
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", SCRIPT, str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": request.param},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return request.param, folder, here, json.loads(process.stdout)


def test_a_model_measures_the_same_on_another_backend(elsewhere):
    backend, folder, here, _ = elsewhere
    for name, expected in here.items():
        with np.load(folder / f"{name}.{backend}.npz") as arrays:
            measured = dict(arrays)
        assert set(measured) == set(expected)
        for quantity, value in measured.items():
            # Relative to the largest entry. Measured over all pairs of backends: at most 5e-7.
            scale = np.abs(expected[quantity]).max()
            np.testing.assert_allclose(
                value / scale,
                expected[quantity] / scale,
                rtol=0,
                atol=0 if quantity == "optimizer" else 2e-6,
                err_msg=f"{name} {quantity}",
            )


def test_the_package_imports_no_tensorflow_on_another_backend(elsewhere):
    backend, _, _, modules = elsewhere
    assert "keras_vae.models.vae" in modules
    assert ("tensorflow" in modules) == (backend == "tensorflow")
    # Keras itself imports jax where it is installed.
    assert backend == "torch" or "torch" not in modules
