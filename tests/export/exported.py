"""Two small models of the current backend, exported once for all tests."""

import atexit
import contextlib
import dataclasses
import functools
import io
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest.mock

import keras
import numpy as np

import export
import export.__main__
import keras_vae

KINDS = ("dense", "conv")
# Those of models without a classifier.
GRAPHS = tuple(name for name in export.GRAPHS if name != "classifier")
FORMATS = ("tflite", "onnx")
VARIANTS = [(format, "none") for format in FORMATS]
NAMES = ("ant", "bee", "red fox", "crow")


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model, its run folder, its files by format, and what the command line printed."""

    model: keras.Model
    run: pathlib.Path
    paths: dict
    output: str = ""

    def path(self, graph, format):
        """The file of a graph."""
        return self.run / "export" / f"{graph}.{format}"

    def copy_to(self, folder, format):
        """A copy of a file, for a test that damages it."""
        return pathlib.Path(shutil.copy(self.paths[format], folder))


def exported(kind):
    """The model of a kind, exported to both formats."""
    return _export_all()[kind]


@functools.cache
def _export_all():
    """Export `conv` by a call and `dense` by the command line.

    Where Keras runs on another backend, the command line runs in the process that the call
    starts: importing TensorFlow a second time would take longer than all tests here.
    """
    models = {kind: make_model(kind) for kind in KINDS}
    runs = {kind: new_folder() for kind in KINDS}
    models["dense"].save(runs["dense"] / "model.keras")
    (runs["dense"] / "config.json").write_text(
        json.dumps({"arguments": {"data": "digits", "epochs": 3}})
    )
    (runs["dense"] / "evaluation.json").write_text(json.dumps({"elbo": -12.5}))
    arguments = ["--format", "tflite,onnx", "--graph", ",".join(GRAPHS)]
    arguments += ["--model", str(runs["dense"])]
    out = runs["conv"] / "export"
    if keras.backend.backend() == "tensorflow":
        made = export.export(models["conv"], FORMATS, GRAPHS, out=out)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            assert export.__main__.main(arguments) == 0
        output = output.getvalue()
    else:
        child, output = subprocess.run, ""

        def run_both(command, **options):
            nonlocal output
            code = f"{command[-1]}; import export.__main__; export.__main__.main({arguments})"
            done = child([*command[:-1], code], **options)
            output = done.stdout
            return done

        with unittest.mock.patch("subprocess.run", run_both):
            made = export.export(models["conv"], FORMATS, GRAPHS, out=out)
    assert [p.name for p in made] == [f"{g}.{f}" for g in GRAPHS for f in FORMATS]
    return {
        kind: Exported(
            models[kind],
            runs[kind],
            {format: runs[kind] / "export" / f"decoder.{format}" for format in FORMATS},
            output if kind == "dense" else "",
        )
        for kind in KINDS
    }


def new_folder():
    """A folder that is removed when the tests end."""
    folder = pathlib.Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@keras.saving.register_keras_serializable("tests")
class CustomDecoder(keras_vae.networks.ConvDecoder):
    """A decoder of a user's own, which the process that converts has to import."""

    def call(self, inputs, training=None):
        return 1.0 - super().call(inputs, training=training)


def make_model(kind, **decoder_options):
    """An untrained model whose weights are large enough to make varied pictures."""
    networks = keras_vae.networks
    if kind == "dense":
        model = keras_vae.VAE(
            networks.DenseEncoder(4, hidden_units=(8,)),
            networks.DenseDecoder((8, 8, 1), hidden_units=(16,)),
        )
    else:
        model = keras_vae.ConditionalVAE(
            networks.ConvEncoder(3, hidden_units=(4, 6)),
            CustomDecoder((9, 7, 3), hidden_units=(6, 4), **decoder_options),
            condition={
                "label": keras_vae.Categorical(len(NAMES), NAMES),
                "angle": keras_vae.Continuous(2),
            },
        )
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.decoder.weights:
        # Averages of batch normalisation too: variances must be positive.
        values = rng.standard_normal(weight.shape) * 0.4
        is_variance = weight.path.endswith("moving_variance")
        weight.assign(0.5 + np.abs(values) if is_variance else values)
    return model


def conditions_of(model, rows):
    """Conditions for some rows in which every class and *unknown* occurs."""
    rng = np.random.default_rng(2)
    values = {}
    for name, kind in model.condition.items():
        if kind.kind == "categorical":
            values[name] = (np.arange(rows) % (kind.num_classes + 1)).astype(np.int32)
        elif kind.kind == "multi_label":
            values[name] = rng.integers(0, 3, (rows, kind.size), dtype=np.int32)
        else:
            values[name] = rng.standard_normal((rows, kind.dim), dtype=np.float32)
    return values
