"""Weights are rounded by files of typical examples; `all` is every graph that a model has."""

import pathlib
import shutil

import numpy as np
import pytest

import export
import keras_vae
from export import examples, graphs
from export.__main__ import main
from keras_vae import networks
from tests.conftest import ordinary_on
from tests.export.exported import exported

pytestmark = ordinary_on("torch", "tensorflow")
MODEL = pathlib.Path(__file__).parents[1] / "golden" / "0.1.0" / "models" / "vae.keras"
LABEL = {"label": keras_vae.Categorical(10)}


def make_model():
    encoder, decoder = networks.DenseEncoder(2, (4,)), networks.DenseDecoder((8, 8, 1), (4,))
    model = keras_vae.ConditionalVAE(encoder, decoder, LABEL)
    model.build()
    return model


def arrays(rows=6):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (rows, 8, 8, 1), dtype=np.uint8)
    return {"x": x, "label": np.arange(rows) % 10}


def test_arrays_by_the_names_of_the_inputs_are_taken_as_they_are(tmp_path):
    path, given = tmp_path / "examples.npz", arrays()
    np.savez(path, **given, note=np.zeros(2))
    model = make_model()
    found = examples.calibration_of(graphs.encoder(model), path, None)
    assert set(found) == {"x", "label"}
    np.testing.assert_array_equal(found["x"], given["x"])
    assert found["label"].dtype == np.int32
    # Of codes and draws the file says nothing.
    for graph in (graphs.decoder(model), graphs.sampler(model)):
        assert examples.calibration_of(graph, str(path), None) is None


def test_a_set_of_images_is_taken_by_its_training_part(tmp_path):
    path, given = tmp_path / "set.npz", arrays(10)
    np.savez(path, x_train=given["x"], y_train=given["label"], x_test=given["x"][:2], y_test=[1, 2])
    found = examples.calibration_of(graphs.encoder(make_model()), path, None)
    assert found["x"].shape == (10, 8, 8, 1)
    np.testing.assert_array_equal(found["label"], given["label"])


def test_a_folder_of_images_is_taken(tmp_path):
    images = pytest.importorskip("PIL.Image")
    for label in range(10):
        folder = tmp_path / "images" / str(label)
        folder.mkdir(parents=True)
        for k in range(3):
            pixels = np.full((8, 8), 20 * label + k, np.uint8)
            images.fromarray(pixels).save(folder / f"{k}.png")
    found = examples.calibration_of(graphs.encoder(make_model()), tmp_path / "images", None)
    assert found["x"].shape[1:] == (8, 8, 1)
    assert set(found["label"]) <= set(range(10))


def test_a_table_is_taken_by_its_columns(tmp_path):
    rng = np.random.default_rng(0)
    columns = {"age": rng.normal(40, 9, 60), "sex": np.array(["f", "m"], object)[np.arange(60) % 2]}
    table = keras_vae.data.table(columns)
    model = keras_vae.table_vae(table.schema, latent_dim=2, hidden_units=(4,))
    model.build()
    lines = [f"{age:.2f},{sex}" for age, sex in zip(*columns.values(), strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["age,sex", *lines]))
    found = examples.calibration_of(graphs.encoder(model), tmp_path / "rows.csv", None)
    assert set(found) == {"age", "sex"}
    assert 30 < np.nanmean(found["age"]) < 50


def test_without_examples_a_model_of_ours_makes_them_and_others_ask_for_some():
    graph = graphs.encoder(make_model())
    assert examples.calibration_of(graph, None, None) is None
    with pytest.raises(ValueError, match=r"needs typical examples.*\(--calibration\)"):
        examples.calibration_of(graph, None, None, quantize="int8-full")
    with pytest.raises(ValueError, match=r"for \['x', 'label'\]\. Received: \['x'\]"):
        examples.calibration_of(graph, {"x": arrays()["x"]}, None)


def test_what_is_no_file_of_examples_is_said_before_keras_is_started(tmp_path, capsys):
    shutil.copy(MODEL, tmp_path / "model.keras")
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4")
    for name, words in (
        ("nothing.npz", "no examples at"),
        ("broken.npz", "must be a complete .npz file"),
    ):
        words_of_command = ["--quantize", "int8", "--calibration", str(tmp_path / name)]
        assert main([*words_of_command, "--model", str(tmp_path)]) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert errors.startswith("error: ")
        assert errors.count("\n") == 1
        assert words in errors


def test_all_is_every_graph_that_a_model_has():
    assert export.graphs_of(make_model()) == list(export.GRAPHS[:5])
    assert export.graphs_of(MODEL) == list(export.GRAPHS[:5])
    autoencoder = keras_vae.Autoencoder(
        networks.DenseEncoder(2, ()), networks.DenseDecoder((4,), ())
    )
    assert export.graphs_of(autoencoder) == ["decoder", "encoder", "scorer", "reconstructor"]


@pytest.mark.slow
def test_a_file_that_python_made_is_exported_whole(tmp_path, capsys):
    exported("dense").model.save(tmp_path / "mine.keras")
    words = ["--format", "tflite,onnx,c", "--graph", "all", "--quantize", "int8"]
    assert main([*words, "--model", str(tmp_path / "mine.keras"), "--out", str(tmp_path)]) == 0
    made = sorted(path.name for path in tmp_path.glob("*.int8.*") if path.suffix != ".h")
    names = (f"{graph}.int8.{format}" for graph in export.GRAPHS[:5] for format in export.FORMATS)
    assert made == sorted(names)
