"""The commands on a series: trained, calibrated, measured by known anomalies, drawn, sampled."""

import json

import numpy as np
import pytest

import keras_vae
from keras_vae.commands.main import main
from keras_vae.evaluation import Windows, evaluate_alarms
from tests.conftest import ordinary_on

SMALL = ("--window", "16", "--stride", "4", "--epochs", "2", "--latent-dim", "2")
SMALL += ("--hidden-units", "4")


def machine(path, steps=3000):
    """A CSV of two channels, with a fault in the last part."""
    time = np.arange(steps)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, steps))
    flow, heat = 5 + np.sin(time / 5) + noise[0], 70 + 4 * np.cos(time / 9) + noise[1]
    heat[2700:2740] += 30
    stamps = np.datetime64("2024-05-31T00:00:00") + time * np.timedelta64(60, "s")
    rows = (f"{s},{f:.5f},{h:.5f}" for s, f, h in zip(stamps, flow, heat, strict=True))
    path.write_text("timestamp,flow,heat\n" + "\n".join(rows) + "\n")
    fault = [str(stamps[2700]), str(stamps[2760])]
    (path.parent / "faults.json").write_text(json.dumps({"machine.csv": [fault]}))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    data = machine(folder / "machine.csv")
    out = folder / "run"
    assert main(["train", "--data", str(data), *SMALL, "--out", str(out)]) == 0
    return out


@ordinary_on("torch")
def test_a_csv_with_a_window_is_trained_and_calibrated(run):
    config = json.loads((run / "config.json").read_text())
    assert config["arguments"]["model"] == "series_vae"
    assert list(config["series"]["channels"]) == ["flow", "heat"]
    model = keras_vae.load_model(run / "model.keras")
    assert model.scoring.calibration.groups[0]["count"] == 147
    assert model.schema.step == 60
    alarms = json.loads((run / "evaluation.json").read_text())["alarms"]
    assert alarms["windows"] == 147


@ordinary_on("torch")
def test_alarms_are_measured_by_known_anomalies(run, capsys):
    asked = ["--anomalies", str(run.parent / "faults.json"), "--doctor"]
    assert main(["evaluate", str(run), *asked]) == 0
    evaluation = json.loads((run / "evaluation.json").read_text())
    found = evaluation["alarms"]
    assert not {"other_units", "contaminated_calibration"} & {
        finding["name"] for finding in evaluation["findings"]["found"]
    }
    assert (found["found"], found["anomalies"]) == (1, 1)
    assert 0 <= found["delays"][0] <= 20 * 60
    assert found["auroc"] > 0.9
    assert "Alarms, of windows" in capsys.readouterr().out


@ordinary_on("torch")
def test_pictures_and_windows_are_made(run, tmp_path, capsys):
    assert main(["figures", str(run)]) == 0
    names = ("learning_curves", "alarms", "scores", "reliability", "contributions", "samples")
    assert {path.stem for path in (run / "figures").iterdir()} == set(names)
    for name in ("w.csv", "w.npy"):
        asked = ["--count", "3", "--seed", "5", "--out", str(tmp_path / name)]
        assert main(["sample", str(run), *asked]) == 0
    array = np.load(tmp_path / "w.npy")
    assert array.shape == (3, 16, 2)
    rows = np.loadtxt(tmp_path / "w.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(rows[:, 2:].reshape(array.shape), array, rtol=1e-5)
    assert (tmp_path / "w.csv").read_text().startswith("window,step,flow,heat\n")


@ordinary_on("torch")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --data machine.csv --window 1", "`window` must be a whole number of at least 2"),
        ("train --data machine.csv --window 16 --channels speed", "`channels` must be columns"),
        ("train --data digits --window 16", "--model series_vae needs a .csv"),
        ("train --data digits --stride 4", "--stride needs --model series_vae"),
        ("train --data machine.csv --window 16 --objective iwae", "--objective needs --model"),
        ("evaluate run --anomalies config.json", "Anomalies must be a JSON file of pairs"),
        ("evaluate run --scorecard", "--scorecard needs a model of pictures, rows or music"),
        ("evaluate run --anomalies nowhere.json", "There must be a file of anomalies"),
        ("figures run --label 3", "--label needs a model of pictures"),
        ("sample run --condition mode=idle", "Each condition must be asked for once"),
        ("sample run --out w.png", "--out must end with .csv or .npy"),
        ("figures run --only manifold", "--only must name pictures, of learning_curves, alarms"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(run, arguments, words, monkeypatch, capsys):
    monkeypatch.chdir(run.parent)
    (run.parent / "config.json").write_text('{"a": 1, "b": 2}')
    assert main(arguments.split()) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_alarms_are_counted_as_said():
    ends = np.arange(10.0)
    scores = np.array([0, 0, 5, 0, 3, 4, 0, 0, 2, 0.0])
    p_values = np.where(scores >= 3, 0.01, 0.5)
    windows = Windows(ends - 3, ends, scores, p_values)
    found = evaluate_alarms(windows, 0.01, [(4, 6), (8, 9)])
    # In alarm: 2, 4 and 5; anomalous: 4, 5, 6, 8 and 9.
    assert found["in_alarm"] == 0.3
    assert (found["precision"], found["recall"]) == (2 / 3, 2 / 5)
    assert found["f1"] == pytest.approx(0.5)
    assert found["false_alarms"] == 1 / 5
    assert (found["found"], found["delays"]) == (1, [0.0, None])
    # Of 25 pairs of an anomalous and a normal window 3, 4 and 2 win four each, two 0 half of four.
    assert found["auroc"] == pytest.approx((4 + 4 + 4 + 2 + 2) / 25)
    assert evaluate_alarms(windows, 0.01) == {"windows": 10, "in_alarm": 0.3}


def test_runs_of_false_alarms_are_counted_by_the_day():
    ends = np.datetime64("2024-05-31T00:00", "us") + np.arange(48) * np.timedelta64(3600, "s")
    p_values = np.ones(48)
    p_values[[3, 4, 10, 30]] = 0.001
    windows = Windows(ends - np.timedelta64(1, "h"), ends, 1 - p_values, p_values)
    found = evaluate_alarms(windows, 0.01, [("2024-06-01T05:00", "2024-06-01T08:00:00Z")])
    assert found["false_alarms_a_day"] == pytest.approx(2 / 2)
    assert found["delays"] == [3600.0]
