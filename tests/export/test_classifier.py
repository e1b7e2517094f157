"""The `classifier` graph: probabilities of classes, in every format and of every kind of data."""

import json

import numpy as np
import pytest

import export
import keras_vae
from export import graphs, parity
from keras_vae import data, networks
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS
from tests.export.test_monitor import program
from tests.export.test_parity import converts_here

SHAPE = (12, 9, 1)
CONDITION = {
    "label": keras_vae.Categorical(names=["cat", "dog", "fox"]),
    "colour": keras_vae.Categorical(names=["red", "blue"]),
    "angle": keras_vae.Continuous(1, low=-90.0, high=90.0),
}


def make_model():
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, (4,)),
        networks.DenseDecoder(SHAPE, (4,)),
        CONDITION,
        classifier=networks.ConvClassifier(5, (4, 8)),
    )
    model.build()
    shaken = np.random.default_rng(0)
    for weight in model.classifier.weights:
        weight.assign(np.abs(weight.numpy()) + shaken.uniform(0, 0.3, weight.shape))
    model.classifier_log_temperature.assign([0.5, -0.3])
    return model


def make_table():
    rng = np.random.default_rng(0)
    rows = {
        "age": rng.normal(40, 9, 200),
        "job": rng.choice(["cook", "clerk"], 200).tolist(),
        "income": rng.choice(["low", "high"], 200).tolist(),
    }
    table = data.table(rows, conditions=["income"])
    classifier = networks.TableClassifier(table.schema.blocks, 2, hidden_units=(4,))
    model = keras_vae.table_vae(table.schema, 2, hidden_units=(4,), classifier=classifier)
    model.build()
    return model


@converts_here
@pytest.mark.parametrize("quantize", ["none", pytest.param("int8", marks=pytest.mark.slow)])
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_gives_the_probabilities_of_each_label(format, quantize, tmp_path, capsys):
    model = make_model()
    x = np.random.default_rng(1).random((64, *SHAPE), "float32")
    path = export.export(
        model, format, "classifier", quantize, out=tmp_path, calibration_data={"x": x}
    )
    module = export.module_of(format)
    manifest = module.read_manifest(path)
    assert manifest["conditions"] == []
    assert manifest["classes"] == {"label": ["cat", "dog", "fox"], "colour": ["red", "blue"]}
    made, expected = module.load(path)({"x": x}), model.classify(x)
    assert set(made) == {"label", "colour"}
    for name, probabilities in expected.items():
        assert probabilities.std() > 0.01
        bound = 1e-5 if quantize == "none" else 0.05
        np.testing.assert_allclose(made[name], probabilities, atol=bound)
    if quantize == "none":
        check_edge_program(path, x[0], {n: p[0] for n, p in expected.items()}, tmp_path, capsys)


def check_edge_program(path, image, expected, folder, capsys):
    np.save(folder / "image.npy", image)
    sample = program("sample")
    assert sample.main(["--model", str(path), "--self-test"]) == 0
    capsys.readouterr()
    assert sample.main(["--model", str(path), "--classify", str(folder / "image.npy")]) == 0
    found = json.loads(capsys.readouterr().out)
    for name, probabilities in expected.items():
        told = [found[f"{name}_probabilities"][each] for each in CONDITION[name].names]
        np.testing.assert_allclose(told, probabilities, atol=2e-5)
        assert found[name] == CONDITION[name].names[np.argmax(probabilities)]
    assert sample.main(["--model", str(path)]) == 2
    assert "use --classify image.png" in capsys.readouterr().err


@converts_here
@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_of_a_table_takes_columns_in_units(format, tmp_path):
    path = export.export(make_table(), format, "classifier", out=tmp_path)
    [signature, *_] = export.module_of(format).describe(path)["signatures"]
    assert [port["name"] for port in signature["inputs"]] == ["age", "job"]


@ordinary_on("torch")
@pytest.mark.parametrize("make", [make_model, make_table])
def test_what_is_expected_is_what_the_function_computes(make):
    built = graphs.classifier(make())
    for batches in parity.reference(built).values():
        for name, value in built.evaluate(batches[0].inputs).items():
            np.testing.assert_allclose(batches[0].outputs[name], value, atol=2e-6)


def test_a_model_without_a_classifier_has_no_such_graph():
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, (4,)),
        networks.DenseDecoder(SHAPE, (4,)),
        {"label": keras_vae.Categorical(3)},
    )
    with pytest.raises(ValueError, match=r"^The `classifier` graph needs a model with a cl"):
        graphs.classifier(model)
