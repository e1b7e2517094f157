"""The command line on tables, as a user would run it."""

import contextlib
import csv
import io
import json
import shutil

import numpy as np
import pytest

import keras_vae
from keras_vae import callbacks, data
from keras_vae.__main__ import main
from keras_vae.storage.runs import Run
from tests.conftest import fails, ordinary_on

pytestmark = ordinary_on("torch")

ROWS = 200
SMALL = ["--hidden-units", 8, "--latent-dim", 2, "--epochs", 2, "--batch-size", 32]


def write(path, rows=ROWS, **changed):
    """A table of people as a German spreadsheet writes it, of all kinds of columns."""
    rng = np.random.default_rng(0)
    age, sex = rng.integers(20, 60, rows), rng.integers(0, 2, rows)
    columns = {
        "id": [f"p{n}" for n in range(rows)],
        "age": age.tolist(),
        "height": [f"{h:.1f}".replace(".", ",") for h in 165 + 15 * sex + rng.normal(0, 3, rows)],
        "calls": rng.poisson(2, rows).tolist(),
        "sex": [("f", "m")[k] for k in sex],
        "job, now": [("nurse", "smith", "?")[k] for k in rng.integers(0, 3, rows)],
        **changed,
    }
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    write(path)
    return path


@pytest.fixture(scope="module")
def run(people, tmp_path_factory):
    """A run folder of a model that has seen next to nothing, with what was printed."""
    folder = tmp_path_factory.mktemp("runs") / "people"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(training(people, folder)) == 0
    (folder / "said.txt").write_text(said.getvalue())
    return folder


def training(table, folder, *more):
    words = ["train", "--data", table, "--condition", "sex,age", "--drop", "id", "--out", folder]
    return [*map(str, [*words, "--kinds", "calls=count", *SMALL, *more])]


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_train_says_what_the_columns_are_and_leaves_a_run_folder(run):
    said = (run / "said.txt").read_text().splitlines()
    assert said[0].endswith("people.csv': 160 rows to train with, 40 to test")
    assert said[2] == "age       numeric      0.0%  whole, 20 to 59, quantile (condition)"
    assert said[7] == ("For 160 rows, 10 steps: --learning-rate 0.004 --prior fitted_mixture")
    assert said[-2].endswith(f"sample {run} --condition sex=m --count 1000 --out rows.csv")
    assert {path.name for path in run.iterdir()} == {
        *("model.keras", "config.json", "history.csv", "evaluation.json", "said.txt"),
    }
    config, model = Run(run).config(), keras_vae.load_model(run)
    assert config["arguments"]["model"] == "table_vae"
    assert config["arguments"]["condition"] == ["sex", "age"]
    assert model.schema == Run(run).table_schema()
    assert model.schema.columns["calls"] == data.Count(16)
    assert type(model.prior).__name__ == "FittedMixture"
    assert len(Run(run).history()["loss"]) == 2
    assert np.isfinite(json.loads((run / "evaluation.json").read_text())["elbo"])


def test_an_interrupted_run_resumes_bit_identical_with_the_same_table_alone(
    run, people, tmp_path, capsys, monkeypatch
):
    class Interrupt(callbacks.Checkpoint):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            if epoch == 1:
                raise KeyboardInterrupt

    path, folder = tmp_path / "people.csv", tmp_path / "run"
    path.write_bytes(people.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "Checkpoint", Interrupt)
        assert main(training(path, folder)) == 1
    capsys.readouterr()
    write(path, age=[30, 40] * (ROWS // 2))
    fails(capsys, ["train", "--resume", "--out", folder], "needs the table that the run began with")
    path.write_bytes(people.read_bytes())
    assert main(["train", "--resume", "--out", str(folder)]) == 0
    whole, resumed = (keras_vae.load_model(path) for path in (run, folder))
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    fails(capsys, ["train", "--resume", "--out", folder], "--resume needs an interrupted run")


def test_all_rows_are_as_asked_and_in_units(run, tmp_path, capsys):
    paths = tmp_path / "rows.csv", tmp_path / "again.csv"
    for path in paths:
        words = ["sample", run, "--condition", "sex=f", "--condition", "age=37", "--count", 300]
        assert main([*map(str, [*words, "--seed", 42, "--out", path])]) == 0
    assert "300 rows of 5 columns" in capsys.readouterr().out
    assert paths[0].read_bytes() == paths[1].read_bytes()
    rows = rows_of(paths[0])
    assert list(rows[0]) == ["age", "height", "calls", "sex", "job, now"]
    assert len(rows) == 300
    assert {row["sex"] for row in rows} == {"f"}
    assert {row["age"] for row in rows} == {"37"}
    assert {row["job, now"] for row in rows} <= {"nurse", "smith"}
    assert all(row["calls"].isdecimal() for row in rows)
    assert all(150 < float(row["height"]) < 195 for row in rows)
    # It is a table that the model knows.
    drawn = data.table(paths[0], schema=Run(run).table_schema())
    assert drawn.train["x"].shape == (240, 3)
    assert [path.name for path in tmp_path.iterdir()].count("rows.csv") == 1


def test_what_is_not_asked_for_is_as_in_training_rows(run, people, tmp_path):
    """Of the rows with the sex asked for, whose ages are otherwise than those of the others."""
    path = tmp_path / "rows.csv"
    words = ["sample", run, "--condition", "sex=m", "--count", 200, "--seed", 1, "--out", path]
    assert main([*map(str, words)]) == 0
    known = data.table(people, "sex", drop="id").columns("train")
    ages = {str(int(age)) for age in known["age"][known["sex"] == "m"]}
    assert ages != {str(int(age)) for age in known["age"]}
    assert {row["age"] for row in rows_of(path)} <= ages
    words = ["sample", run, "--condition", "age=20", "--count", 200, "--seed", 1, "--out", path]
    assert main([*map(str, words)]) == 0
    rows = rows_of(path)
    assert {row["age"] for row in rows} == {"20"}
    assert {row["sex"] for row in rows} == {"f", "m"}


def test_evaluate_says_how_close_rows_are_and_whether_they_are_copies(run, capsys):
    assert main(["evaluate", str(run), "--scorecard", "--doctor", "--target", "height"]) == 0
    said = capsys.readouterr().out
    for words in ("numeric_distance", "Drawn rows judged", "synthetic_training_r2", "exact_copies"):
        assert words in said
    assert "Reconstructions of" not in said
    results = json.loads((run / "evaluation.json").read_text())
    assert set(results["rows"]["column_distances"]) == {"height", "calls", "job, now"}
    assert results["scorecard"]["target"] == "height"
    assert results["scorecard"]["samples"] == 160
    names = {finding["name"] for finding in results["findings"]["found"]}
    assert not {"copied_rows", "unfit_data", "unstable_training"} & names


def test_figures_show_columns_pairs_and_codes(run, capsys):
    assert main(["figures", str(run)]) == 0
    said = capsys.readouterr().out
    assert "Left out latent_projections" in said
    made = {path.stem for path in (run / "figures").iterdir()}
    assert made == {"learning_curves", "columns", "associations", "latent"}


def test_gaps_of_a_file_are_filled_and_nothing_else_is_changed(run, tmp_path, capsys):
    path, whole = tmp_path / "rows.csv", tmp_path / "whole.csv"
    write(path, rows=20, height=["", "170,5"] * 10)
    assert main(["impute", str(run), str(path), "--out", str(whole)]) == 0
    with open(path, newline="", encoding="utf-8-sig") as file:
        given = list(csv.DictReader(file, delimiter=";"))
    filled = rows_of(whole)
    gaps = sum(row["job, now"] == "?" for row in given)
    assert f"{10 + gaps} missing values of 20 rows" in capsys.readouterr().out
    assert list(filled[0]) == list(given[0])
    for before, after in zip(given, filled, strict=True):
        assert all(after.values())
        for name in ("id", "age", "calls", "sex"):
            assert after[name] == before[name]
        assert before["job, now"] in ("?", after["job, now"])
    assert {row["height"] for row in filled[1::2]} == {"170.5"}
    assert all(150 < float(row["height"]) < 195 for row in filled)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"sex": ["f", "x"] * 10},
            "'sex' must hold one of its 2 names, f, m. Received: 'x' in row 2",
        ),
        ({"weight": range(20)}, "Received: weight besides"),
        ({"age": ["40"] * 19 + ["old"]}, "'age' must be numbers. Received: 'old' in row 20"),
    ],
)
def test_rows_that_the_model_does_not_know_are_refused(run, changed, said, tmp_path, capsys):
    path = tmp_path / "rows.csv"
    write(path, rows=20, **changed)
    fails(capsys, ["impute", run, path, "--out", tmp_path / "whole.csv"], said)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(
    ("words", "said"),
    {
        "sample RUN --condition sex=x": "--condition sex must be one of f, m. Received: 'x'",
        "sample RUN --condition age=old": "Column 'age' must be numbers. Received: 'old'",
        "sample RUN --condition age=99": "age must be whole, 20 to 59, quantile. Received: '99'",
        "sample RUN --condition age=30.5": "--condition age must be whole",
        "sample RUN --condition age=nan": "--condition age must be whole",
        "sample RUN --condition height=170": "must be a condition of the model and its value: sex=",
        "sample RUN --condition sex": "a condition of the model and its value: sex=..., age=...",
        "sample RUN --condition sex=f --condition sex=m": "must say one value of sex. Rec",
        "sample RUN --label f": "takes no --label. Ask with --condition NAME=VALUE",
        "sample RUN --out x.png": "--out must end with .csv for rows of a table",
        "sample RUN --melody x.mid": "--melody needs a SequenceVAE",
        "sample RUN --temperature -1": "`--temperature` must be",
        "evaluate RUN --scorecard --target hat": "height, calls, sex, job, now. Received: hat",
        "figures RUN --only samples": "--only must name pictures, of learning_curves, columns, ass",
        "figures RUN --label f": "Rows of a table have no class to show. Received: f",
        "evaluate RUN --target sex": "Received: sex, without --scorecard",
        "train --data TABLE --out RUN": "holds a run already",
    }.items(),
)
def test_what_does_not_fit_is_refused_in_one_line(run, people, words, said, capsys, tmp_path):
    places = {"RUN": run, "TABLE": people}
    fails(capsys, [places.get(word, word) for word in words.split()], said)
    assert not list(tmp_path.iterdir())


def test_without_the_data_rows_are_drawn_where_all_is_asked_for(run, people, capsys, tmp_path):
    gone = tmp_path / "run"
    shutil.copytree(run, gone)
    config = Run(gone).config()
    config["arguments"]["data"] = str(tmp_path / "gone.csv")
    (gone / "config.json").write_text(json.dumps(config))
    words = ["sample", gone, "--condition", "sex=f"]
    fails(capsys, words, "Without the data every condition must be asked for: add --condition age")
    assert main([*map(str, words), "--condition", "age=37", "--count", "12"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 12
    assert said[0].split() == ["age", "height", "calls", "sex", "job,", "now"]
    assert said[-1] == "and 2 more rows; --out rows.csv writes all"
