"""Series: from what people have to windows, and the models of them."""

import keras
import numpy as np
import pytest

import keras_vae
from export import graphs
from keras_vae import data, likelihoods, networks
from keras_vae.data import DataError
from tests.conftest import ordinary_on


def waves(steps=600, seed=0):
    time = np.arange(steps)
    noise = np.random.default_rng(seed).normal(0, 0.1, (2, steps))
    return {
        "flow": 20 + 3 * np.sin(time / 5) + noise[0],
        "bar": 2 + 0.1 * np.cos(time / 9) + noise[1],
    }


def stamped(rows, step="5m"):
    start = np.datetime64("2024-05-31T00:00:00")
    return [
        str(t).replace("T", " ") for t in start + np.arange(rows) * np.timedelta64(*_step(step))
    ]


def _step(text):
    return int(text[:-1]), text[-1]


def write(path, columns):
    lines = [
        ",".join(columns),
        *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_parts_follow_each_other_and_share_no_step():
    steps = np.arange(1000.0)
    made = data.series({"n": steps}, window=20, stride=5, calibration=0.3, test=0.2)
    assert made.windows("train").max() == 499
    assert (made.windows("calibration").min(), made.windows("calibration").max()) == (500, 799)
    assert (made.windows("test").min(), made.windows("test").max()) == (800, 999)
    np.testing.assert_array_equal(made.starts("test")[:3], [800, 805, 810])
    np.testing.assert_array_equal(made.windows("test")[1, :, 0], np.arange(805, 825))


def test_windows_are_standardised_by_the_training_part_alone():
    made = data.series(waves(), window=16)
    flow = waves()["flow"][:360]
    channel = made.schema.manifest()["channels"][0]
    np.testing.assert_allclose([channel["mean"], channel["std"]], [flow.mean(), flow.std()], 1e-6)
    expected = (made.windows("test") - made.schema.mean) / made.schema.std
    np.testing.assert_allclose(made.test, expected, rtol=1e-6)
    np.testing.assert_allclose(made.schema.decode(made.test), made.windows("test"), rtol=1e-5)


def test_times_are_sorted_and_put_on_a_grid(tmp_path, capsys):
    columns = {"timestamp": stamped(600), **waves()}
    order = np.arange(600)
    order[[100, 101]] = [101, 100]
    order = np.concatenate([order, [7]])  # out of order, and twice
    mixed = {name: np.array(values, object)[order] for name, values in columns.items()}
    made = data.series(write(tmp_path / "a.csv", mixed), window=16)
    assert made.schema.step == 300
    np.testing.assert_allclose(
        made.windows("train"), data.series(waves(), window=16).windows("train"), rtol=1e-5
    )
    said = capsys.readouterr().out
    assert "2 steps came out of order" in said
    assert "1 steps came twice" in said
    assert made.starts("train")[1] == np.datetime64("2024-05-31T00:40:00")


def test_short_gaps_are_filled_and_long_ones_split(capsys):
    columns = waves()
    columns["flow"][50:52] = np.nan
    columns["bar"][200:210] = np.nan
    made = data.series(columns, window=16, stride=1)
    ends = columns["flow"][49], columns["flow"][52]
    np.testing.assert_allclose(
        made.windows("train")[40, 10:12, 0], np.linspace(*ends, 4)[1:3], rtol=1e-6
    )
    said = capsys.readouterr().out
    assert "2 missing values were filled" in said
    assert "1 longer gaps split" in said
    starts = made.starts("train")
    assert not ((starts > 200 - 16) & (starts < 210)).any()
    gone = {"a": np.where(np.arange(600) % 5, waves()["flow"], np.nan)}
    with pytest.raises(DataError, match="stretch to train with of at least a window"):
        data.series(gone, window=16, max_gap=0)


def test_a_window_begins_when_its_first_step_is_due():
    columns = {"time": np.delete(np.arange(600) * 60.0, [8, 9])}
    columns |= {name: np.delete(values, [8, 9]) for name, values in waves().items()}
    made = data.series(columns, window=16, stride=1)
    np.testing.assert_array_equal(made.starts("train")[:12], np.arange(12) * 60.0)
    np.testing.assert_array_equal(made.ends("train")[:12], np.arange(15, 27) * 60.0)


def test_series_of_other_steps_are_refused():
    machines = [{"time": np.arange(600) * step, **waves()} for step in (60.0, 300.0)]
    with pytest.raises(DataError, match=r"must have one step.*Received: 60 s and 300 s"):
        data.series(machines, window=16)
    with pytest.raises(DataError, match="60 s and without times"):
        data.series([machines[0], waves()], window=16)


def test_missing_steps_are_a_gap_too():
    columns = {"time": np.concatenate([np.arange(300), np.arange(1000, 1300)]) * 10.0}
    columns |= waves()
    made = data.series(columns, window=16, stride=1)
    assert made.schema.step == 10
    starts = made.starts("train")
    assert not ((starts > 2990 - 150) & (starts < 10_000)).any()


def test_no_window_is_of_two_machines_or_two_modes():
    first, second = waves(400, 1), waves(400, 2)
    mode = np.array(["idle", "busy"], object)[(np.arange(400) // 50) % 2]
    made = data.series(
        [{**first, "mode": mode}, {**second, "mode": mode}], window=16, conditions="mode"
    )
    names = made.schema.conditions["mode"].names
    assert set(names) == {"busy", "idle"}
    assert set(made.train) == {"x", "mode"}
    starts = made.starts("train")
    assert (starts // 50 == (starts + 15) // 50).all()
    expected = np.where((starts // 50) % 2, names.index("busy"), names.index("idle"))
    np.testing.assert_array_equal(made.train["mode"], expected)


def test_steps_without_a_condition_are_counted(capsys):
    mode = np.array(["idle"] * 300 + ["busy"] * 290 + [None] * 10, object)
    made = data.series({**waves(), "mode": mode}, window=16, conditions="mode", stride=1)
    assert "10 steps lack a condition" in capsys.readouterr().out
    assert made.starts("test").max() == 590 - 16


def test_an_array_and_a_file_of_it_are_series(tmp_path):
    array = np.stack(list(waves().values()), axis=1)
    np.save(tmp_path / "a.npy", array)
    for source in (array, tmp_path / "a.npy"):
        made = data.series(source, window=16)
        assert made.schema.names == ("channel_0", "channel_1")
        assert made.test.shape == (14, 16, 2)


@pytest.mark.parametrize(
    ("columns", "options", "match"),
    [
        ({"a": np.arange(30.0)}, {}, "stretch to train with of at least a window, 64 steps"),
        ({"a": np.ones(900)}, {}, "Channel 'a' of .* must change"),
        ({"a": ["x"] * 900}, {}, "Received: 'a', of text"),
        ({"a": [*map(str, range(899)), "oops"]}, {}, "'oops' in row 900"),
        (waves(900), {"channels": ["x"]}, "`channels` must be columns of .*: flow, bar"),
        (waves(900), {"conditions": ["flow"]}, "Received: 'flow', of numbers"),
        (waves(900), {"time": "when"}, "`time` must be a column"),
        ({**waves(900), "time": ["soon"] * 900}, {}, "must be times, such as"),
        (waves(900), {"window": 1}, "`window` must be a whole number of at least 2"),
        (waves(900), {"stride": 0}, "`stride` must be a whole number of at least 1"),
        (waves(900), {"test": 0.6, "calibration": 0.4}, "of a sum below 1"),
        (waves(200), {}, "The calibration part of .* must be at least as long as a window"),
        (waves(900), {"units": {"speed": "m/s"}}, "`units` must be of channels"),
    ],
)
def test_what_is_no_series_is_refused_in_a_line(columns, options, match):
    with pytest.raises(ValueError, match=match) as error:
        data.series(columns, **options)
    assert "\n" not in str(error.value)


@ordinary_on("tensorflow", "torch")
def test_a_model_of_series_learns_and_is_saved(tmp_path):
    made = data.series(waves(2000), window=24, stride=4)
    keras.utils.set_random_seed(0)
    model = keras_vae.series_vae(made.schema, latent_dim=3, hidden_units=(8, 8), seed=0)
    model.compile(keras.optimizers.Adam(5e-3))
    history = model.fit(made.train, batch_size=32, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0] - 10
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    assert loaded.schema == made.schema
    np.testing.assert_allclose(loaded.sample(3, seed=1), model.sample(3, seed=1), rtol=1e-6)


def test_windows_are_drawn_with_the_spread_of_each_channel():
    made = data.series(waves(), window=16)
    model = keras_vae.series_vae(made.schema, 3, (4,), seed=0)
    model.build()
    model.likelihood.position.assign(np.log([0.5, 2.0]) / 7)
    drawn, means = (model.sample(200, seed=3, observation=o) for o in (None, False))
    spread = (drawn - means).std(axis=(0, 1))
    np.testing.assert_allclose(spread, [0.5, 2.0], rtol=0.05)
    from keras_vae import portable_random

    noise = portable_random.normal(np.array([3], "int32"), np.arange(200), 3 + 32)[:, 3:]
    expected = means + noise.reshape(200, 16, 2) * [0.5, 2.0]
    np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-5)
    wide = data.series(np.random.default_rng(0).normal(size=(900, 70)), window=64)
    assert not keras_vae.series_vae(wide.schema).observes
    picture = keras_vae.VAE(
        networks.DenseEncoder(2, (4,)),
        networks.DenseDecoder((4, 4, 1), (4,)),
        likelihood="gaussian",
    )
    assert not picture.observes


def test_graphs_compute_in_units_on_every_backend():
    made = data.series(waves(3000), window=16, stride=1)
    model = keras_vae.series_vae(made.schema, 3, (4,), seed=0)
    model.build()
    detector = keras_vae.AnomalyDetector(model).calibrate(made.calibration)
    found = graphs.scorer(model).evaluate({"x": made.windows("test")[:5]})
    np.testing.assert_allclose(found["score"], detector.score(made.test[:5]), rtol=1e-4)
    np.testing.assert_allclose(found["p_value"], detector.p_value(made.test[:5]), atol=1e-3)
    settings = {"seed": np.array([4], "int32"), "temperature": np.ones(1, "float32")}
    drawn = graphs.sampler(model).evaluate({"index": np.arange(3, dtype="int32"), **settings})["x"]
    np.testing.assert_allclose(drawn, made.schema.decode(model.sample(3, seed=4)), rtol=1e-4)


@ordinary_on("tensorflow", "torch")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("steps", [7, 16, 45])
def test_networks_take_any_length(steps, causal):
    x = np.random.default_rng(0).normal(size=(3, steps, 2)).astype("float32")
    encoder = networks.Conv1DEncoder(4, (3, 5), 3, causal=causal)
    decoder = networks.Conv1DDecoder((steps, 2), (5, 3), 3, causal=causal)
    z_mean, _ = encoder(x)
    assert z_mean.shape == (3, 4)
    assert decoder(z_mean).shape == (3, steps, 2)


def test_what_is_causal_sees_nothing_later():
    encoder = networks.Conv1DEncoder(4, (3,), 3, causal=True, batch_normalization=False)
    x = np.random.default_rng(0).normal(size=(1, 8, 1)).astype("float32")
    moved = x.copy()
    moved[:, 5:] += 1
    [stage] = encoder.stages
    encoder(x)

    def features(values):
        for layer in stage:
            values = layer(values)
        return keras.ops.convert_to_numpy(values)

    before, after = features(x), features(moved)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert (before != after).any()


@pytest.mark.parametrize("scale", ["shared", "optimal"])
def test_each_channel_has_a_scale_of_its_own(scale):
    likelihood = likelihoods.Gaussian(scale, channels=2)
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(64, 10, 2)) * [0.1, 3.0]).astype("float32")
    mean = np.zeros_like(x)
    if scale == "optimal":
        for _ in range(60):
            likelihood.in_training(mean, x, keras.ops.mean)
    else:
        likelihood.position.assign(np.log([0.1, 3.0]) / 7)
    scales = np.exp(keras.ops.convert_to_numpy(likelihood.log_scale).astype("f8"))
    if scale == "optimal":
        np.testing.assert_allclose(scales, np.sqrt((x**2).mean(axis=(0, 1))), rtol=0.02)
    else:
        np.testing.assert_allclose(scales, np.exp(7 * np.tanh(np.log([0.1, 3.0]) / 7)), rtol=1e-5)
    found = keras.ops.convert_to_numpy(likelihood.log_prob(x, mean))
    expected = -0.5 * (x / scales) ** 2 - np.log(scales) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(found, expected.sum(axis=(1, 2)), rtol=1e-4)
    again = likelihoods.Gaussian.from_config(likelihood.get_config())
    assert again.get_config() == likelihood.get_config()
    with pytest.raises(ValueError, match="`channels` goes with the scale"):
        likelihoods.Gaussian(0.5, channels=2)
