"""The private names of Keras: each is there and does what we need, and none is used elsewhere."""

import ast
import inspect

import keras
import numpy as np
import pytest

from keras_vae import keras_internals
from tests.conftest import BACKEND
from tests.test_layers import sources

HERE = "keras_vae/keras_internals.py"
# Of PyTorch and of TensorFlow; all others that are not ours are Keras'.
OTHERS = {"_fused_adam_", "_linear_pointwise", "_create_op_internal"}


def functional():
    x = keras.Input((2,), name="x")
    inner = keras.Sequential([keras.layers.Dense(3, name="dense")], name="inner")
    model = keras.Model({"x": x}, inner(x))
    model.compile(keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    return model


def test_layers_at_every_depth_are_found():
    model = functional()
    names = [layer.name for layer in keras_internals.flatten_layers(model)]
    assert names[0] == model.name
    assert {"inner", "dense"} <= set(names)
    assert names[1:] == [
        layer.name for layer in keras_internals.flatten_layers(model, include_self=False)
    ]


def test_variables_are_known_to_their_layer_and_optimizer():
    model = functional()
    dense = model.get_layer("inner").get_layer("dense")
    dense.trainable = False
    assert keras_internals.own_trainable_variables(dense) == [dense.kernel, dense.bias]
    assert keras_internals.known_variables(model.optimizer) == [dense.kernel, dense.bias]
    for [slot] in keras_internals.adam_slots(model.optimizer, [dense.kernel]):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(slot), np.zeros((2, 3)))


def test_a_built_model_takes_another_part():
    model = functional()
    model.part = first = keras.layers.Dense(1)
    first.build((None, 3))
    with keras_internals.unlocked(model):
        keras_internals.untrack(model, first)
        model.part = keras.layers.Dense(2)
    assert first not in keras_internals.flatten_layers(model)
    assert model.part in keras_internals.flatten_layers(model)


def test_symbolic_tensors_know_where_they_come_from():
    model = functional()
    assert set(keras_internals.nested_inputs(model)) == {"x"}
    assert keras_internals.nested_inputs(keras.Sequential()) is None
    operation, given = keras_internals.history(model.outputs[0])
    assert operation is model.get_layer("inner")
    assert given == model.inputs


def test_losses_that_were_added_can_be_put_back():
    class Adds(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.sum(x))
            return x

    layer = Adds()
    layer(keras.ops.ones((2,)))
    kept = list(keras_internals.added_losses(layer))
    layer(keras.ops.ones((3,)))
    keras_internals.added_losses(layer)[:] = kept
    assert [float(loss) for loss in layer.losses] == [2.0]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="`tf.distribute` is TensorFlow's")
def test_what_is_made_without_a_strategy_has_none_or_the_default():
    import tensorflow as tf

    model = functional()
    assert keras_internals.strategy_of(model) is None
    assert keras_internals.strategy_of_optimizer(model.optimizer) is tf.distribute.get_strategy()


@pytest.mark.skipif(BACKEND != "torch", reason="the module is that of PyTorch")
def test_the_generators_of_pytorch_are_asked_for_by_name(monkeypatch):
    module, seeds = keras_internals.torch_random(), []
    own = module.torch_seed_generator
    monkeypatch.setattr(module, "torch_seed_generator", lambda s: [seeds.append(s), own(s)][1])
    keras.random.normal((2,), seed=3)
    assert seeds == [3]


def test_keras_has_what_is_overridden():
    optimizer = type(keras.optimizers.Adam())
    owners = {
        "_symbolic_build": keras.Model,
        "_flatten_metrics_in_order": keras.Model,
        **({"_get_jax_state": keras.Model, "_jax_state": keras.Model} if BACKEND == "jax" else {}),
        **({"_parallel_update_step": optimizer} if BACKEND == "torch" else {}),
        **({"_all_reduce_sum_gradients": optimizer} if BACKEND == "tensorflow" else {}),
    }
    for name, owner in owners.items():
        source = "".join(inspect.getsource(cls) for cls in owner.__mro__[:-1])
        assert name in source, f"Keras has no {name} any more: {keras_internals.OVERRIDDEN[name]}"


def test_private_names_stand_in_one_place():
    trees = dict(sources())
    ours = set(OTHERS)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                ours.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                ours.add(node.id)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
                ours |= {node.attr} if isinstance(node.ctx, ast.Store) else set()
    ours -= {*keras_internals.OVERRIDDEN}
    found = set()
    for path, tree in trees.items():
        for node in ast.walk(tree):
            name = node.name if isinstance(node, ast.FunctionDef) else getattr(node, "attr", "")
            is_private = name.startswith("_") and not name.startswith("__") and name not in ours
            if is_private:
                found.add((path, name))
            assert not str(getattr(node, "module", "")).startswith("keras.src"), path
    found = {(path, name) for path, name in found if path != HERE}
    assert found == {(path, name) for name, path in keras_internals.OVERRIDDEN.items()}
