"""Inputs are bound by name, and what is checked is not what checks it."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import export
import keras_vae
from export import graphs, keras_models, parity
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, GRAPHS, conditions_of, make_model
from tests.export.test_parity import converts_here

SHAPES = {"style": (3,), "content": (3,)}


def mixed(content, style):
    """What every model here computes: no two inputs may be exchanged."""
    return content - 2.0 * style


class ByArgument(keras.Model):
    """Takes its inputs as arguments."""

    def call(self, content, style):
        return mixed(content, style)


class ByKey(keras.Model):
    """Takes its inputs in a dict."""

    def call(self, inputs):
        return mixed(inputs["content"], inputs["style"])


def functional(structure):
    """A functional model whose inputs come in a structure, `content` first."""
    content, style = keras.Input((3,), name="content"), keras.Input((3,), name="style")
    return keras.Model(structure(content, style), layers.Identity()(mixed(content, style)))


MODELS = {
    "arguments": ByArgument,
    "keys": ByKey,
    "list": lambda: functional(lambda content, style: [content, style]),
    "tuple": lambda: functional(lambda content, style: (content, style)),
    "dict": lambda: functional(lambda content, style: {"content": content, "style": style}),
    "unsorted dict": lambda: functional(
        lambda content, style: {"style": style, "content": content}
    ),
}


def arrays(rows=4):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((rows, 3), dtype="float32") for name in SHAPES}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("order", [1, -1])
def test_a_graph_binds_by_name_in_whatever_order_they_are_named(name, order):
    inputs = dict(list(SHAPES.items())[::order])
    graph = keras_models.of_keras_model(MODELS[name](), inputs)
    given = arrays()
    made = graph.evaluate(given)["x"]
    np.testing.assert_array_equal(made, mixed(given["content"], given["style"]))


@converts_here
@pytest.mark.parametrize("name", ["list", "dict", "arguments"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_binds_by_name(name, format, tmp_path):
    path = export.export(MODELS[name](), format, inputs=SHAPES, out=tmp_path)
    given = arrays()
    made = export.module_of(format).load(path)(given)["x"]
    # Of values up to 6.
    np.testing.assert_allclose(made, mixed(given["content"], given["style"]), atol=1e-6)


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_a_wrong_binding_is_refused(format, tmp_path, monkeypatch):
    def by_order(model, names):
        return lambda tensors: model([tensors[name] for name in names], training=False)

    monkeypatch.setattr(keras_models, "_how_to_call", by_order)
    with pytest.raises(parity.ParityError, match="`x` at batch size 1: disagrees"):
        export.export(MODELS["list"](), format, inputs=SHAPES, out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["list", "dict"])
@pytest.mark.parametrize("inputs", [{"style": (3,), "z": (3,)}, {"style": (3,)}])
def test_names_that_a_functional_model_lacks_are_refused(name, inputs):
    words = r"must name the model's inputs content, style\. Received: style.*\.$"
    with pytest.raises(ValueError, match=words):
        keras_models.of_keras_model(MODELS[name](), inputs)


def test_inputs_without_names_of_their_own_are_named_in_their_order():
    first, second = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([first, second], layers.Identity()(mixed(first, second)))
    graph = keras_models.of_keras_model(model, SHAPES)
    given = arrays()
    made, expected = graph.evaluate(given), parity.reference(graph)
    np.testing.assert_array_equal(made["x"], mixed(given["style"], given["content"]))
    [batch] = expected[16]
    sides = batch.inputs["style"], batch.inputs["content"]
    np.testing.assert_array_equal(batch.outputs["x"], mixed(*sides))


def wrong_functions():
    """Graphs of our own models, each with a fault in the function that is exported."""
    model = make_model("conv")
    for name in GRAPHS:
        graph = graphs.BUILDERS[name](model)

        def wrong(tensors, function=graph.function):
            # Another class than the one that was asked for.
            return function({**tensors, "label": 4 - tensors["label"]})

        yield name, graph, wrong


@ordinary_on("tensorflow", "torch")
def test_what_is_expected_of_a_file_does_not_come_from_the_function_that_is_exported():
    for name, graph, wrong in wrong_functions():
        expected = parity.reference(graph)[16]
        made = parity.reference(dataclasses.replace(graph, function=wrong))[16]
        for batch, other in zip(expected, made, strict=True):
            for key, value in batch.outputs.items():
                np.testing.assert_array_equal(other.outputs[key], value, err_msg=f"{name} {key}")


@pytest.mark.parametrize("graph", GRAPHS)
def test_what_is_expected_is_what_the_function_computes(graph):
    built = graphs.BUILDERS[graph](make_model("conv"))
    for size, batches in parity.reference(built).items():
        for batch in batches[:2]:
            assert list(batch.outputs) == [spec.name for spec in built.outputs]
            for name, value in built.evaluate(batch.inputs).items():
                assert batch.outputs[name].shape == (size, *value.shape[1:])
                # Of a score, the sum of 189 terms.
                np.testing.assert_allclose(batch.outputs[name], value, rtol=2e-6, atol=2e-6)


def test_a_sampler_is_expected_to_draw_what_the_model_samples():
    model = make_model("conv")
    conditions = conditions_of(model, 16)
    graph = graphs.sampler(model)
    [batch] = parity.reference(graph)[16]
    conditions = {name: batch.inputs[name] for name in conditions}
    expected = model.sample(conditions, 0.9, int(batch.inputs["seed"][0]))
    np.testing.assert_allclose(batch.outputs["x"], expected, rtol=0, atol=1e-6)
    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(2, (4,)), keras_vae.networks.DenseDecoder((3,), (4,))
    )
    [batch] = parity.reference(graphs.sampler(model))[16]
    expected = model.sample(16, 0.9, int(batch.inputs["seed"][0]))[batch.inputs["index"]]
    np.testing.assert_allclose(batch.outputs["x"], expected, rtol=0, atol=1e-6)
