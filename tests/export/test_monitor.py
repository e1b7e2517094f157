"""`mobile_demo/edge` watches a machine: from readings to alarms, without Keras."""

import csv
import importlib.util
import io
import json
import pathlib
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

import export
import keras_vae
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS
from tests.export.test_parity import converts_here
from tests.export.test_series import exported_series

pytestmark = [ordinary_on("tensorflow"), converts_here]
EDGE = pathlib.Path(__file__).parents[2] / "mobile_demo" / "edge"
IDLE = ("--condition", "mode=idle")


def program(name):
    spec = importlib.util.spec_from_file_location(f"edge_{name}", EDGE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def edge(tmp_path, monkeypatch, capsys):
    """Calls the program in a folder with the files of a scorer."""
    for format in FORMATS:
        shutil.copy(exported_series()[2] / f"scorer.{format}", tmp_path)
    monkeypatch.chdir(tmp_path)
    sample = program("sample")

    def call(*arguments, format="onnx"):
        status = sample.main(["--model", f"scorer.{format}", *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


def readings(steps=600, idle=True):
    """Normal readings of the machine, as a dict of columns."""
    time = np.arange(steps)
    noise = np.random.default_rng(3).normal(0, 0.1, (2, steps))
    flow = 20 + (1 if idle else 2) * np.sin(time / 5) + noise[0]
    return {"flow": flow, "bar": 2000 + 100 * (np.cos(time / 9) + noise[1])}


def write(path, columns, separator=","):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(zip(*(map(str, values) for values in columns.values()), strict=True))


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("format", FORMATS)
def test_readings_are_windowed_and_scored_as_the_detector_does(edge, format):
    detector, made, _ = exported_series()
    columns = readings()
    stamps = [f"t{k}" for k in range(600)]
    write("machine.csv", {"bar": columns["bar"], "timestamp": stamps, "flow": columns["flow"]})
    status, said, _ = edge("--score", "machine.csv", "--out", "a.csv", *IDLE, format=format)
    assert status == 0, said
    found = rows_of(pathlib.Path("a.csv").read_text())
    values = np.stack([columns["flow"], columns["bar"]], axis=1).astype("f4")
    windows = made.schema.windows(values)
    given = made.schema.encode(windows, {"mode": "idle"})
    assert [row["start"] for row in found] == stamps[: len(windows)]
    scores = np.array([row["score"] for row in found], float)
    np.testing.assert_allclose(scores, detector.score(given), rtol=1e-3, atol=1e-2)
    p_values = np.array([row["p_value"] for row in found], float)
    np.testing.assert_allclose(p_values, detector.p_value(given), atol=5e-3)
    alarms = np.array([row["alarm"] for row in found], int)
    np.testing.assert_array_equal(alarms, p_values <= 0.01)
    worst = detector.contributions(given).sum(axis=1).argmax(axis=1)
    same = [row["worst"] == made.schema.names[k] for row, k in zip(found, worst, strict=True)]
    assert np.mean(same) > 0.99
    assert f"{alarms.sum()} of {len(windows)} windows in alarm" in said


def test_a_stream_is_scored_as_a_file_is(edge, monkeypatch):
    write("machine.csv", readings(100))
    _, out, _ = edge("--score", "machine.csv", *IDLE)
    monkeypatch.setattr(sys, "stdin", io.StringIO(pathlib.Path("machine.csv").read_text()))
    status, streamed, errors = edge("--score", "-", *IDLE)
    assert (status, streamed) == (0, out)
    assert "windows in alarm" in errors
    monkeypatch.setattr(sys, "stdin", io.StringIO("flow,bar\n1,2\n"))
    assert "a window takes 12 steps, and 1 came" in edge("--score", "-", *IDLE)[2]


def test_arrays_other_rates_and_several_windows(edge):
    columns = readings(300)
    columns["flow"][100:150] += 8
    np.save("machine.npy", np.stack(list(columns.values()), axis=1))
    found = rows_of(edge("--score", "machine.npy", *IDLE)[1])
    assert {row["worst"] for row in found[105:135]} == {"flow"}
    assert {row["alarm"] for row in found[105:135]} == {"1"}
    alarms = np.array([row["alarm"] for row in found], int)
    asked = ("--score", "machine.npy", *IDLE, "--alarm-of", "3/5")
    slower = np.array([row["alarm"] for row in rows_of(edge(*asked)[1])], int)
    expected = [int(alarms[max(0, k - 4) : k + 1].sum() >= 3) for k in range(len(alarms))]
    np.testing.assert_array_equal(slower, expected)
    asked = ("--score", "machine.npy", *IDLE, "--false-alarms", "0.2")
    more = rows_of(edge(*asked)[1])
    assert [row["alarm"] for row in more] == [str(int(float(r["p_value"]) <= 0.2)) for r in more]
    strided = rows_of(edge("--score", "machine.npy", *IDLE, "--stride", 7)[1])
    assert [row["score"] for row in strided] == [row["score"] for row in found[::7]]


def test_what_cannot_be_right_is_said(edge):
    columns = readings(600)
    write("volts.csv", {name: values * 1000 for name, values in columns.items()})
    said = edge("--score", "volts.csv", "--out", "a.csv", *IDLE)[1]
    assert "every p-value is the least there is: are these the readings of flow, bar?" in said
    write("busy.csv", readings(600, idle=False))
    assert "no longer those of normal" in edge("--score", "busy.csv", "--out", "a.csv", *IDLE)[1]
    write("idle.csv", columns)
    assert "no longer" not in edge("--score", "idle.csv", "--out", "a.csv", *IDLE)[1]
    columns["bar"] = [*map(str, columns["bar"][:50]), "", *map(str, columns["bar"][51:])]
    write("gap.csv", columns)
    assert "12 windows were left out" in edge("--score", "gap.csv", "--out", "a.csv", *IDLE)[1]


def test_a_device_calibrates_itself_and_goes_back(edge):
    write("normal.csv", readings(900, idle=False))
    write("short.csv", readings(60))
    before = edge("--score", "normal.csv", *IDLE)[1]
    status, said, _ = edge("--refit-threshold", "normal.csv", *IDLE)
    assert status == 0, said
    made = json.loads(pathlib.Path("scorer.onnx.calibration.json").read_text())
    scores = np.sort([float(row["score"]) for row in rows_of(before)])
    p_values = np.interp(scores, made["groups"][0]["scores"], made["groups"][0]["p_values"])
    ranks = (1 + np.arange(len(scores), 0, -1)) / (len(scores) + 1)
    np.testing.assert_allclose(p_values, ranks, atol=0.01)
    _, after, errors = edge("--score", "normal.csv", *IDLE)
    assert np.mean([row["alarm"] == "1" for row in rows_of(after)]) <= 0.011
    assert "by a calibration of this device" in errors
    assert edge("--undo-refit", *IDLE)[0] == 0
    assert edge("--score", "normal.csv", *IDLE)[1] == before
    assert "there is no calibration" in edge("--undo-refit", *IDLE)[2]
    assert (
        "take 100 windows to calibrate by, and short.csv has 49"
        in edge("--refit-threshold", "short.csv", *IDLE)[2]
    )


def test_bad_input_is_refused_in_a_line(edge):
    good = readings(60)
    write("short.csv", readings(11))
    write("other.csv", {"flow": good["flow"]})
    write(
        "text.csv",
        {**good, "bar": [*map(str, good["bar"][:40]), "hot", *map(str, good["bar"][41:])]},
    )
    np.save("wide.npy", np.zeros((60, 3)))
    write("good.csv", good)
    for arguments, words in (
        (["--score", "short.csv"], "at least as long as a window, 12 steps, and has 11"),
        (["--score", "other.csv"], "lacks bar"),
        (["--score", "text.csv"], "bar must be numbers, and is 'hot' in line 42"),
        (["--score", "wide.npy"], "must be (steps, 2)"),
        (["--score", "nowhere.csv"], "No such file"),
        (["--score", "good.csv", "--false-alarms", "0.00001"], "examples can tell"),
        (["--score", "good.csv", "--alarm-of", "5/3"], "--alarm-of must be M/N"),
        (["--score", "good.csv", "--stride", "0"], "--stride must be at least 1"),
        ([], "this model scores a series"),
    ):
        status, _, errors = edge(*arguments, *IDLE)
        assert status == 2, arguments
        assert words in errors
        assert len(errors.strip().splitlines()) == 1
    assert "--condition mode=..." in edge("--score", "good.csv")[2]
    pathlib.Path("scorer.onnx.calibration.json").write_text('{"groups": []}')
    assert "the calibration is damaged" in edge("--score", "good.csv", *IDLE)[2]


def test_the_martingale_is_fair_and_sees_a_change():
    monitor, rng = program("monitor"), np.random.default_rng(0)
    won = 0
    for _ in range(200):
        jumper = monitor.Jumper()
        for k, p in enumerate(rng.uniform(size=300)):
            jumper.bet(p, k)
        won += jumper.since is not None
    assert won <= 6  # 2 are expected at most
    jumper = monitor.Jumper()
    for k, p in enumerate([*rng.uniform(size=300), *rng.uniform(0, 0.5, 200)]):
        jumper.bet(p, k)
    assert 300 < jumper.since < 400


MAIN = """
#include <stdio.h>
#include "score.h"
#include "scorer_data.h"
static float x[KV_STEPS * KV_CHANNELS], made[KV_STEPS * KV_CHANNELS];
static float added[KV_STEPS * KV_CHANNELS], label;
int main(void)
{
    const size_t size = KV_STEPS * KV_CHANNELS;
    kv_alarm alarm = {0};
    while (fread(&label, sizeof(float), 1, stdin) == 1 &&
           fread(x, sizeof(float), size, stdin) == size &&
           fread(made, sizeof(float), size, stdin) == size) {
        kv_standardise(&kv_data, x);
        const float score = kv_score(&kv_data, x, made, added);
        const float p = kv_p_value(&kv_data, score);
        const int raised = kv_raise(&alarm, p <= kv_data.false_alarms, 2, 3);
        const float of_class = kv_p_value_of(&kv_data, score, (int)label);
        printf("%.9g %.9g %.9g %d %d\\n", score, p, of_class, kv_worst(&kv_data, added), raised);
    }
    return KV_FIRST == 0 && KV_SECOND == 1 ? 0 : 1;
}
"""


def test_c_scores_beside_an_all_integer_reconstructor(tmp_path, monkeypatch, capsys):
    _, made, _ = exported_series()
    model = keras_vae.load_model(_saved(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the score is changed
        detector = keras_vae.AnomalyDetector(model, "reconstruction")
    detector.calibrate(made.calibration)
    rounding = {name: values[:400] for name, values in made.train.items()}
    path = export.export(
        detector, "tflite", "reconstructor", "int8-full", tmp_path, calibration_data=rounding
    )
    monkeypatch.chdir(tmp_path)
    assert program("sample").main(["--model", str(path), "--header", "scorer_data.h"]) == 0
    windows, mode = made.windows("test")[:300].copy(), made.test["mode"][:300]
    windows[100:104, 3:9, 0] += 2.0  # faults
    x = made.schema.encode(windows, {"mode": _names(made, mode)})
    back = export.module_of("tflite").load(path)(x)["x_reconstructed"]
    names = [name.upper() for name in made.schema.conditions["mode"].names]
    main = MAIN.replace("KV_FIRST", f"KV_{names[0]}").replace("KV_SECOND", f"KV_{names[1]}")
    (tmp_path / "main.c").write_text(main)
    flags = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2", f"-I{EDGE}"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "scorer", "-lm"], check=True)
    labels = np.where(np.arange(300) % 5, mode, 2 + np.arange(300) % 2)  # 2 is unknown, 3 none
    given = np.concatenate(
        [labels[:, None], *(w.reshape(300, -1) for w in (windows, back))], axis=1
    )
    given = given.astype("<f4").tobytes()
    said = subprocess.run(["./scorer"], input=given, check=True, capture_output=True).stdout
    scores, p_values, of_class, worst, raised = np.array(
        [line.split() for line in said.splitlines()], float
    ).T
    told = export.module_of("tflite").read_manifest(path)
    assert told["standardised"] is True
    error = (x["x"] - back) / told["likelihood_scale"]
    terms = 0.5 * error**2 + np.log(told["likelihood_scale"]) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(scores, terms.sum(axis=(1, 2)), rtol=1e-4, atol=1e-3)
    assert told["calibration"]["group_of_class"] == [1, 2, 0]
    by_group = [
        np.interp(scores, g["scores"], g["p_values"]) for g in told["calibration"]["groups"]
    ]
    np.testing.assert_allclose(p_values, by_group[0], atol=1e-4)
    expected = np.choose([(1, 2, 0, 0)[k] for k in labels], by_group)
    np.testing.assert_allclose(of_class, expected, atol=1e-4)
    assert np.abs(of_class - p_values).max() > 0.05
    np.testing.assert_array_equal(worst, terms.sum(axis=1).argmax(axis=1))
    alarms = p_values <= 0.01
    expected = [alarms[max(0, k - 2) : k + 1].sum() >= 2 for k in range(300)]
    np.testing.assert_array_equal(raised, expected)
    assert alarms[100:104].all()
    # What is rounded to 8 bits is off by this much: of the spread, and of the p-value.
    keras_scores = detector.score(x)
    usual = np.delete(np.arange(300), np.arange(100, 104))
    spread = np.ptp(keras_scores[usual])
    assert np.abs(scores - keras_scores)[usual].mean() < 0.05 * spread
    capsys.readouterr()


def _saved(folder):
    exported_series()[0].model.save(folder / "model.keras")
    return folder / "model.keras"


def _names(made, mode):
    return [made.schema.conditions["mode"].names[k] for k in mode]


def test_a_header_needs_a_calibrated_reconstructor(edge):
    assert "--header needs a reconstructor" in edge("--header", "a.h")[2]
