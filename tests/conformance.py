"""What every public class must stand: build, call, train a step, save, reload, compare."""

import json
import math

import keras
import numpy as np
import scipy.stats
from keras import ops

import keras_vae


def check_config(thing):
    """Check that an object comes back from its config, through JSON, as what it was.

    Args:
        thing: Instance of a registered class with `get_config`.

    Returns:
        The copy.
    """
    assert keras.saving.get_registered_name(type(thing)).startswith("keras_vae>")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    copy = keras.saving.deserialize_keras_object(config)
    own = thing.get_config()
    for each in (copy, type(thing).from_config(own), type(thing).from_config(own)):
        assert type(each) is type(thing)
        assert _config_of(each)["config"] == _config_of(thing)["config"]
    # What `from_config` makes is not built.
    assert _config_of(copy) == _config_of(thing)
    return copy


def check_layer(layer, inputs, folder, spread=False):
    """Check a layer, alone and inside a model that is trained, saved and loaded.

    Args:
        layer: Layer, not built yet.
        inputs: Array, list or dict of arrays, as the layer is called.
        folder: Path to write to.
        spread: Whether the entries of a list are separate arguments.
    """
    check_config(layer)
    probe = Probe(layer, spread)
    outputs = ops.convert_to_numpy(probe(inputs))
    assert np.isfinite(outputs).all()
    symbolic = keras.tree.map_structure(_symbolic, inputs)
    for real, spec in zip(
        _outputs(layer, inputs, spread), _outputs(layer, symbolic, spread), strict=True
    ):
        assert (None, *real.shape[1:]) == tuple(spec.shape)
        assert keras.backend.standardize_dtype(real.dtype) == spec.dtype

    probe.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    target = np.random.default_rng(0).normal(size=outputs.shape).astype("float32")
    before = _arrays(probe.trainable_variables)
    assert np.isfinite(probe.train_on_batch(inputs, target))
    # The first of them is the gain, which moves if gradients pass through the layer.
    _assert_all_moved(before, probe.trainable_variables)

    probe.save(folder / "layer.keras")
    loaded = keras.saving.load_model(folder / "layer.keras")
    assert _config_of(loaded.layer) == _config_of(layer)
    _assert_equal(loaded.weights, probe.weights)
    # A `.keras` file has no states of random generators, but for those of this package's models.
    for state, other in zip(_random_states(loaded), _random_states(probe), strict=True):
        state.assign(ops.convert_to_numpy(other))
    np.testing.assert_array_equal(loaded.predict_on_batch(inputs), probe.predict_on_batch(inputs))
    assert loaded.train_on_batch(inputs, target) == probe.train_on_batch(inputs, target)
    _assert_equal(loaded.weights, probe.weights)


def check_model(make, inputs, folder, unused=0):
    """Check a model: train, save, reload, compare, and train on.

    Args:
        make: Function that returns a new compiled model.
        inputs: As for `fit`, at most 16 examples.
        folder: Path to write to.
        unused: Int. How many trainable weights the loss does not reach, by design.
    """
    model = make()
    own = model.get_config()
    for _ in range(2):
        assert _strip(type(model).from_config(own).get_config()) == _strip(own)
    x = inputs["x"] if isinstance(inputs, dict) else inputs
    model.build((None, *x.shape[1:]))
    before = _arrays(model.trainable_variables)
    logs = _fit(model, inputs)
    assert set(logs) == {*model.averages.names, *model.other_metrics, "skipped_updates"}
    assert np.isfinite(list(logs.values())).all()
    _assert_all_moved(before, model.trainable_variables, unused)

    model.save(folder / "model.keras")
    loaded = keras_vae.load_model(folder / "model.keras")
    assert type(loaded) is type(model)
    assert _config_of(loaded) == _config_of(model)
    assert loaded.get_build_config() == model.get_build_config()
    assert _config_of(loaded.optimizer) == _config_of(model.optimizer)
    for part in (lambda m: m.weights, lambda m: m.optimizer.variables, _random_states):
        _assert_equal(part(loaded), part(model))
    for one, other in zip(_made_by(model, inputs), _made_by(loaded, inputs), strict=True):
        assert one.dtype in (np.float32, np.int32)
        np.testing.assert_array_equal(one, other)

    assert _fit(loaded, inputs) == _fit(model, inputs)
    _assert_equal(loaded.weights, model.weights)


def check_metric(metric):
    """Check that a metric comes back from its config and starts anew after a reset."""
    copy = check_config(metric)
    results = []
    for each in (metric, metric, copy):
        each.reset_state()
        several = isinstance(each, keras_vae.metrics.Averages)
        for value, weight in ((3.0, 2.0), (6.0, 1.0)):
            each.update_state(dict.fromkeys(each.names, value) if several else value, weight)
        result = each.result()
        results.append(float(result[each.names[0]] if several else result))
    assert np.isfinite(results).all()
    assert len(set(results)) == 1


def check_callback(make_callback, make_model, inputs):
    """Check that nothing is left in a callback from one run of `fit` to the next."""
    used, fresh = make_callback(), make_callback()
    runs = []
    for callback in (used, used, fresh):
        model = make_model()
        history = model.fit(inputs, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
        runs.append((model, history.history))
    assert runs[1][1] == runs[2][1]
    _assert_equal(runs[1][0].weights, runs[2][0].weights)


@keras.saving.register_keras_serializable("keras_vae_tests")
class Probe(keras.Model):
    """A gain on the inputs, then a layer, then its outputs side by side.

    Args:
        layer: Layer.
        spread: Whether a list of inputs becomes separate arguments.
    """

    def __init__(self, layer, spread=False, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer
        self.spread = spread
        self.gain = self.add_weight(name="gain", shape=(), initializer="ones")

    def call(self, inputs):
        outputs = _outputs(self.layer, keras.tree.map_structure(self._amplify, inputs), self.spread)
        flat = [ops.reshape(o, (-1, math.prod(o.shape[1:]))) for o in outputs]
        return ops.concatenate(flat, axis=-1)

    def _amplify(self, tensor):
        return tensor * self.gain if keras.backend.is_float_dtype(tensor.dtype) else tensor

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "spread": self.spread}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)


def _outputs(layer, inputs, spread):
    return keras.tree.flatten(layer(*inputs) if spread else layer(inputs))


def _fit(model, inputs):
    history = model.fit(inputs, batch_size=16, epochs=1, verbose=0).history
    return {name: values[-1] for name, values in history.items()}


def _made_by(model, inputs):
    """What a user may ask of a model, as float arrays."""
    made = []
    if hasattr(model, "encode"):
        made = [model.reconstruct(inputs), *keras.tree.flatten(model.encode(inputs))]
    if hasattr(model, "sample"):
        what = len(keras.tree.flatten(inputs)[0])
        if isinstance(inputs, dict):
            what = {name: values for name, values in inputs.items() if name != "x"}
        made.append(model.sample(what, seed=0))
    return made


def _assert_all_moved(before, variables, unused=0):
    still = [
        variable.path
        for old, variable in zip(before, variables, strict=True)
        if np.array_equal(old, ops.convert_to_numpy(variable))
    ]
    assert len(still) == unused, f"No gradient reached {still}"


def _assert_equal(variables, others):
    for one, other in zip(_arrays(variables), _arrays(others), strict=True):
        np.testing.assert_array_equal(one, other)


def _arrays(variables):
    return [ops.convert_to_numpy(variable) for variable in variables]


def _random_states(model):
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _symbolic(array):
    return keras.KerasTensor((None, *array.shape[1:]), dtype=array.dtype.name)


def _config_of(thing):
    """The config as plain data."""
    return _strip(json.loads(json.dumps(keras.saving.serialize_keras_object(thing))))


def _strip(value):
    """A config without the numbers by which it refers to itself."""
    if isinstance(value, dict):
        return {k: _strip(v) for k, v in value.items() if k != "shared_object_id"}
    return [_strip(item) for item in value] if isinstance(value, list | tuple) else value


# Of distributions: draws, and whether they have a density


def draws(distribution, count, seed=1):
    """Draws of a distribution, float64 `(count, ...)`, as finite as they must be."""
    drawn = ops.convert_to_numpy(distribution.sample(seed, (count,)))
    assert drawn.dtype == np.float32
    assert len(drawn) == count
    assert np.isfinite(drawn).all()
    return drawn.astype("f8")


def p_value(drawn, x, probabilities):
    """How likely draws are to differ so much from probabilities of points.

    By a chi-square test where the points are all that there are, at most 256; else by that of
    Kolmogorov and Smirnov.

    Args:
        drawn: Float array `(n,)`.
        x: Float array `(points,)`, ascending.
        probabilities: Float array `(points,)`, which add up to 1.
    """
    if len(x) > 256:
        below = np.cumsum(probabilities) - probabilities / 2
        return scipy.stats.kstest(
            np.interp(drawn, x, below / probabilities.sum()), "uniform"
        ).pvalue
    level = np.abs(drawn[:, None] - x).argmin(axis=1)
    np.testing.assert_allclose(drawn, x[level], atol=1e-6)
    expected = len(drawn) * probabilities / probabilities.sum()
    is_rare = expected < 5
    counts = np.bincount(level, minlength=len(x))

    def joined(values):
        return np.append(values[~is_rare], values[is_rare].sum())[: None if is_rare.any() else -1]

    return scipy.stats.chisquare(joined(counts), joined(expected)).pvalue


def around(pilot, count, seed=3):
    """Draws about others, with wider tails: Student's t of 5 degrees of freedom.

    Args:
        pilot: Float array `(n, batch, size)`.
        count: Int.

    Returns:
        Tuple of float64 arrays: draws `(count, batch, size)`, as float32 sees them, and their
        log-densities `(count, batch)`.
    """
    z, log_prob = [], []
    for k, rows in enumerate(np.moveaxis(pilot, 1, 0)):
        t = scipy.stats.multivariate_t(rows.mean(axis=0), 1.2 * np.cov(rows.T), df=5)
        z.append(t.rvs(count, random_state=seed + k).astype("f4").astype("f8"))
        log_prob.append(t.logpdf(z[-1]))
    return np.stack(z, axis=1), np.stack(log_prob, axis=1)
