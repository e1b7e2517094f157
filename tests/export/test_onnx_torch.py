"""ONNX without TensorFlow: by PyTorch's own exporter."""

import functools

import keras
import numpy as np
import pytest

import export
from export import onnx
from tests.conftest import ordinary_on
from tests.export.exported import NAMES, make_model, new_folder
from tests.export.own_networks import NETWORKS, varied
from tests.export.test_families import FAMILIES, HAVE
from tests.export.test_tables import TABLE, make_table_vae
from tests.export.varieties import VARIETIES
from tests.export.without_tensorflow import export_sampler

on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="on other backends it runs in a process of its own"
)
by_torch = functools.partial(export.export, format="onnx", converter="torch")


@ordinary_on("jax")
def test_no_tensorflow_is_needed(tmp_path):
    export_sampler(tmp_path, "torch", "onnx")
    versions = onnx.read_manifest(tmp_path / "sampler.onnx")["versions"]
    assert versions["converter"].startswith("torch.onnx ")
    assert "tensorflow" not in versions
    # The exporter notes lines of code, with the folders of whoever runs it.
    content = (tmp_path / "sampler.onnx").read_bytes()
    assert b".py" not in content
    assert b"pkg.torch" not in content


@on_torch
def test_files_have_the_ports_of_the_other_route_and_leave_the_model_as_it_was(tmp_path):
    model = make_model("conv")
    order = list(model.condition)
    path = by_torch(model, out=tmp_path)
    assert list(model.condition) == order
    assert not [layer for layer in model._flatten_layers() if "call" in vars(layer)]
    described = onnx.describe(path)
    [signature] = described["signatures"]
    assert signature == {
        "name": "decoder",
        "inputs": [
            {"name": "z", "dtype": "float32", "shape": ["batch", 3]},
            {"name": "label", "dtype": "int32", "shape": ["batch"]},
            {"name": "angle", "dtype": "float32", "shape": ["batch", 2]},
        ],
        "outputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 9, 7, 3]}],
    }
    assert "Resize" in described["operators"]
    rng = np.random.default_rng(0)
    inputs = {
        "z": rng.standard_normal((5, 3), dtype="f4"),
        "label": np.arange(5, dtype="i4") % (len(NAMES) + 1),
        "angle": rng.standard_normal((5, 2), dtype="f4"),
    }
    conditions = {name: inputs[name] for name in order}
    # Measured: 4e-7.
    made = onnx.load(path)(inputs)["x"]
    np.testing.assert_allclose(made, model.decode(inputs["z"], conditions), rtol=0, atol=2e-6)


@on_torch
@pytest.mark.parametrize("name", ["a matrix's inverse", "hashed labels", "a draw inside"])
def test_what_it_cannot_express_is_refused_by_operator_and_layer(name, tmp_path):
    network = NETWORKS[name]
    where = f"in the layer {network.refused['onnx']}"
    with pytest.raises(export.ExportError, match=where) as error:
        by_torch(varied(network.make()), inputs=network.inputs, out=tmp_path)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [17, 99, "18", True])
def test_an_opset_that_there_is_not_is_refused(opset):
    with pytest.raises(ValueError, match=r"`opset` must be a whole number from 18 to \d+, "):
        export.export("nothing.keras", "onnx", opset=opset)


def test_an_opset_is_of_onnx_files_alone():
    with pytest.raises(ValueError, match="`opset` is of ONNX files"):
        export.export("nothing.keras", "tflite", opset=18)


@ordinary_on("torch", "tensorflow")
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="ONNX is made on none of its own")
@pytest.mark.parametrize("opset", [19, pytest.param(21, marks=pytest.mark.slow)])
def test_files_of_a_later_opset_compute_the_same(opset, tmp_path):
    model = make_model("dense")
    route = keras.backend.backend()
    path = export.export(model, "onnx", "sampler", out=tmp_path, opset=opset, converter=route)
    import onnx as package

    assert [entry.version for entry in package.load(path).opset_import] == [opset]
    settings = {"seed": np.array([3], "i4"), "temperature": np.ones(1, "f4")}
    made = onnx.load(path)({"index": np.arange(4, dtype="i4"), **settings})
    np.testing.assert_allclose(made["x"], model.sample(count=4, seed=3), rtol=0, atol=1e-6)


ROUTES = ("tensorflow", "torch")
# The two routes check each other: every family and graph, which each made of the same model


@functools.cache
def by_both(of):
    """The folders of the files of a family's graphs, by route."""
    [family] = [family for family in FAMILIES if family.of is of]
    model, folders = family.make(), {}
    for route in ROUTES:
        folders[route] = new_folder()
        for quantize in ("none", "int8"):
            export.export(
                model, "onnx", list(family.graphs), quantize, folders[route], converter=route
            )
    return folders


def compare(paths, drawn, bound, same=()):
    """Compare what the files of both routes give. Integers are equal, and the outputs `same`."""
    assert ports(paths["tensorflow"]) == ports(paths["torch"])
    made = {route: onnx.load(path)(drawn) for route, path in paths.items()}
    for output, expected in made["tensorflow"].items():
        found = made["torch"][output]
        is_same = expected.dtype == np.int32 or output in same
        scale = 0 if is_same else max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound * scale, err_msg=output)


def ports(path):
    """Inputs and outputs of a file by name, for the routes order them as they like."""
    [signature] = onnx.describe(path)["signatures"]
    sides = (signature[side] for side in ("inputs", "outputs"))
    return [sorted(side, key=lambda port: port["name"]) for side in sides]


@pytest.mark.slow
@on_torch
@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize(("family", "graph"), HAVE)
def test_both_routes_make_files_that_compute_the_same(family, graph, quantize):
    name = f"{graph}.onnx" if quantize == "none" else f"{graph}.{quantize}.onnx"
    paths = {route: folder / name for route, folder in by_both(family.of).items()}
    drawn = export.build_graph(family.make(), graph).draw(7, np.random.default_rng(6))
    # The portable generator's codes are equal, too.
    compare(paths, drawn, 1e-5 if quantize == "none" else 1e-2, same=("z",))


@pytest.mark.slow
@on_torch
# Some of them, for each takes a minute.
@pytest.mark.parametrize("name", ["normal of greys", "conv1d", "ladder"])
def test_every_prior_likelihood_and_posterior_is_the_same_by_both(name, tmp_path):
    make, names = VARIETIES[name]
    model = make()
    for route in ROUTES:
        export.export(model, "onnx", list(names), out=tmp_path / route, converter=route)
    for each in names:
        paths = {route: tmp_path / route / f"{each}.onnx" for route in ROUTES}
        drawn = export.build_graph(model, each).draw(7, np.random.default_rng(6))
        compare(paths, drawn, 1e-5)


@pytest.mark.slow
@on_torch
def test_exact_rows_are_the_same_by_both(tmp_path):
    model = make_table_vae(columns=[name for name in TABLE if name != "calls"])
    drawn = export.build_graph(model, "sampler").draw(64, np.random.default_rng(7))
    paths = {
        route: export.export(model, "onnx", "sampler", "exact", tmp_path / route, converter=route)
        for route in ROUTES
    }
    compare(paths, drawn, 0)
