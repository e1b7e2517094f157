"""Files of models with labels of other kinds than one-hot ones give what their models give."""

import functools
import json
import tempfile
import types

import numpy as np
import pytest

import export
import keras_vae
from tests.export.exported import FORMATS
from tests.export.test_parity import converts_here
from tests.test_edge import edge, run  # noqa: F401 - fixtures

pytestmark = [converts_here, pytest.mark.usefixtures("one_signature")]

CONDITION = {
    "label": keras_vae.Ordinal(["low", "middle", "high"]),
    "species": keras_vae.Categorical(4, ["ant", "bee", "fly", "gnat"], embedding_dim=2),
    "breed": keras_vae.Hierarchical(["animal/dog/husky", "animal/cat", "car"]),
    "tags": keras_vae.MultiLabel(["red", "round", "big"]),
}
# All values of each, *unknown* the last.
VALUES = {
    "label": np.array([0, 1, 2, 3, 2, 0], "int32"),
    "species": np.array([4, 0, 3, 1, 2, 3], "int32"),
    "breed": np.array([0, 5, 3, 4, 2, 1], "int32"),
    "tags": np.array([[2, 2, 2], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 2, 1], [0, 1, 2]], "int32"),
}
ASKED = {"label": ("--label", "high"), "species": ("--condition", "species=gnat")}
ASKED["breed"] = ("--condition", "breed=animal/dog")
ASKED["tags"] = ("--condition", "tags=red+big")


def make(latent_dim=3, shape=(6, 5, 1)):
    """An untrained model whose weights are large enough to make varied pictures."""
    networks = keras_vae.networks
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(latent_dim, (8,)), networks.DenseDecoder(shape, (12,)), CONDITION
    )
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


@functools.cache
def made():
    """The model and the folder of its files."""
    model, folder = make(), tempfile.TemporaryDirectory()
    variants = [(format, "none") for format in FORMATS] + [("tflite", "int8-full")]
    export.export_files(model, variants[:2], ["sampler"], folder.name)
    export.export_files(model, variants, ["decoder"], folder.name)
    return model, folder


def load(graph, format):
    name = f"{graph}.int8-full.tflite" if format == "int8-full" else f"{graph}.{format}"
    return export.module_of(name.split(".")[-1]).load(f"{made()[1].name}/{name}")


@pytest.mark.parametrize("format", FORMATS)
def test_the_sampler_makes_the_sample_of_the_seed(format):
    model, _ = made()
    draw = {"seed": np.array([9], "int32"), "temperature": np.array([0.7], "f4")}
    found = load("sampler", format)({**VALUES, **draw})
    expected = model.sample(VALUES, temperature=0.7, seed=9)
    assert expected.std(axis=0).max() > 0.05
    # Measured: 2e-7.
    np.testing.assert_allclose(found["x"], expected, rtol=0, atol=2e-6)


def test_an_all_integer_decoder_sees_the_labels():
    model, _ = made()
    z = np.zeros((6, 3), "float32")
    found = load("decoder", "int8-full")({"z": z, **VALUES})["x"]
    expected = model.decode(z, VALUES)
    assert expected.std(axis=0).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("format", FORMATS)
def test_the_edge_program_makes_the_sample_of_the_seed(format, run):  # noqa: F811
    model, folder = made()
    asked = [word for name in CONDITION for word in ASKED[name]]
    path = f"{folder.name}/decoder.{format}"
    options = ("--count", 5, "--seed", 4, "--out", "x.npy")
    status, _, errors = run("--model", path, *asked, *options)
    assert (status, errors) == (0, "")
    expected = model.sample({name: VALUES[name][2] for name in CONDITION}, count=5, seed=4)
    np.testing.assert_allclose(np.load("x.npy"), expected, rtol=0, atol=1e-6)
    assert run("--model", path, "--self-test")[0] == 0


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("red+big", [1, 0, 1]),
        ("round", [0, 1, 0]),
        (" red + round ", [1, 1, 0]),
        ("", [0, 0, 0]),
        ("unknown", [2, 2, 2]),
    ],
)
def test_the_edge_program_reads_tags_and_tells_them(text, tags, edge):  # noqa: F811
    condition = {"name": "tags", "kind": "multi_label", "size": 3, "names": ["red", "round", "big"]}
    assert edge.parse_tags(text, condition) == tags
    said = edge.tags_of(tags, condition)
    assert said == (text.replace(" ", "") or "none")


def test_a_tag_that_training_did_not_know_is_refused_in_one_line(run):  # noqa: F811
    path = f"{made()[1].name}/decoder.onnx"
    status, _, errors = run("--model", path, "--condition", "tags=red+bleu", "--out", "x.png")
    assert status == 2
    assert "tags must be tags of red, round, big, as in --condition tags=red+round" in errors
    assert "not 'bleu'" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("names", [["red"], ["red", 3, "big"], None])
def test_damaged_names_of_tags_are_refused(names, edge):  # noqa: F811
    found = export.module_of("onnx").read_manifest(f"{made()[1].name}/decoder.onnx")
    found["conditions"][3]["names"] = names
    with pytest.raises(edge.InputError, match="is damaged: names"):
        edge.check_manifest(json.dumps(found).encode(), "x")


def test_without_a_label_the_edge_program_makes_a_row_of_each_class_and_of_no_group(edge):  # noqa: F811
    names = ["animal/cat", "car", "animal"]
    described = {"name": "label", "kind": "categorical", "size": 3, "names": names}
    manifest = {"conditions": [{**described, "unknown": True, "num_leaves": 2}]}
    options = types.SimpleNamespace(condition=[], label=[], melody=None)
    assert edge.rows_of_conditions(options, manifest) == [{"label": 0}, {"label": 1}]
    options.label = ["animal"]
    assert edge.rows_of_conditions(options, manifest) == [{"label": 2}]
