"""How close drawn rows are to real ones, what can be learnt of them, and who copies."""

import numpy as np
import pytest
from scipy import stats

import keras_vae
from keras_vae import data, doctor
from keras_vae.evaluation import evaluate_rows, judge_rows, table_scorecard, tables
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

ROWS = 300


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    sex = rng.integers(0, 2, ROWS)
    height = np.round(
        np.where(rng.random(ROWS) < 0.2, np.nan, 165 + 15 * sex + rng.normal(0, 4, ROWS)), 2
    )
    rows = {
        "height": height,
        "weight": np.round(np.nan_to_num(height, nan=170.0) - 100 + rng.normal(0, 5, ROWS), 2),
        "sex": np.array(["f", "m"])[sex],
        "job": np.array(["nurse", "smith", "cook", None])[rng.integers(0, 4, ROWS)],
        "age": rng.integers(20, 60, ROWS),
    }
    return data.table(rows, conditions=["sex", "age"])


class Copying:
    """A model that gives its training rows again, or others."""

    def __init__(self, table, rows):
        self.schema, self.rows = table.schema, rows

    def named_inputs(self, inputs):
        return inputs["x"], {name: inputs[name] for name in self.schema.conditions}

    def sample(self, conditions, count, seed):
        return np.resize(self.rows, (count, self.rows.shape[1]))


def test_columns_are_in_units_in_the_order_of_the_table(table):
    rows = tables.matrix(table.schema, table.test)
    raw = table.columns("test")
    assert list(table.schema.columns) == list(raw)
    np.testing.assert_allclose(rows[:, 0], raw["height"], atol=1e-4)
    np.testing.assert_array_equal(rows[:, 4], raw["age"])
    np.testing.assert_array_equal(rows[:, 2], raw["sex"] == "m")
    np.testing.assert_array_equal(np.isnan(rows[:, 3]), [job is None for job in raw["job"]])


def test_distances_of_columns_are_those_of_the_books(table):
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=50).round(1), rng.normal(0.3, 1, 70).round(1)
    number, names = table.schema.columns["height"], table.schema.columns["job"]
    gaps = np.concatenate([second, [np.nan] * 9])
    assert tables.column_distance(number, first, gaps) == pytest.approx(
        stats.ks_2samp(first, second).statistic
    )
    assert tables.column_distance(names, np.array([0, 0, 1, np.nan]), np.array([0.0, 2])) == (
        pytest.approx((abs(2 / 3 - 1 / 2) + 1 / 3 + 1 / 2) / 2)
    )
    assert tables.column_distance(number, first, np.array([np.nan])) is None


def test_associations_are_those_of_the_books(table):
    rows = tables.matrix(table.schema, table.train)
    found = tables.associations(table.schema, rows)
    np.testing.assert_array_equal(found, found.T)
    known = ~np.isnan(rows[:, 0])
    height, weight, sex = rows[known, 0], rows[known, 1], rows[known, 2]
    assert found[0, 1] == pytest.approx(stats.spearmanr(height, weight).statistic)
    # Of two names the correlation ratio is the point-biserial correlation.
    ranks = stats.rankdata(height)
    assert found[0, 2] == pytest.approx(abs(np.corrcoef(ranks, sex)[0, 1]))
    jobs = ~np.isnan(rows[:, 3])
    cells = np.zeros((2, 3), int)
    np.add.at(cells, (rows[jobs, 2].astype(int), rows[jobs, 3].astype(int)), 1)
    assert found[2, 3] == pytest.approx(stats.contingency.association(cells, "cramer"))


def test_the_nearest_row_is_the_nearest_of_all(table, monkeypatch):
    monkeypatch.setattr(table_scorecard, "_PAIRS_AT_ONCE", 1000)  # some rows at a time
    train, test = (tables.matrix(table.schema, part) for part in (table.train, table.test))
    found = table_scorecard.nearest_distances(table.schema, test, train)
    is_name = [hasattr(kind, "names") for kind in table.schema.columns.values()]
    for row, distance in zip(test[:20], found, strict=False):
        expected = np.zeros(len(train))
        for at, values in enumerate(train.T):
            known = values[~np.isnan(values)]
            if is_name[at]:
                differs = (values != row[at]) & ~(np.isnan(values) & np.isnan(row[at]))
                expected += differs
                continue
            rank = lambda v, known=known: np.mean(known < v) + np.mean(known == v) / 2  # noqa: E731
            for n, value in enumerate(values):
                gaps = np.isnan([value, row[at]])
                expected[n] += gaps.any() and not gaps.all()
                expected[n] += 0 if gaps.any() else abs(rank(value) - rank(row[at]))
        assert distance == pytest.approx(expected.min() / len(is_name), abs=1e-6)


def test_a_model_that_copies_is_named_and_others_are_not(table):
    found = judge_rows(Copying(table, table.train["x"]), table.train, table.test)
    assert found["samples"] == len(table.train["x"]) == 240
    assert found["exact_copies"] > 0.5  # others have a gap, which equals nothing
    assert found["close_samples"] == 1
    assert found["nearest_distance"] == 0
    assert found["exact_copies_of_held_out"] == 0
    assert found["synthetic_training_auroc"] == found["real_training_auroc"] > 0.9
    assert found["synthetic_of_real"] == 1
    finding = doctor.copied_rows(found["close_samples"], found["close_held_out"], "Do.")
    assert finding.text.startswith("100 % of the drawn rows are as near to a training row as the n")
    rows = [tables.matrix(table.schema, part) for part in (table.test, table.train, table.test)]
    other = table_scorecard.copies(table.schema, *rows)
    assert other["close_samples"] == other["close_held_out"] < 0.05
    assert doctor.copied_rows(other["close_samples"], other["close_held_out"]) is None


def test_real_rows_are_no_distance_away(table):
    found = evaluate_rows(Copying(table, table.test["x"]), table.test)
    assert found["numeric_distance"] == found["name_distance"] == 0
    assert found["association_distance"] == 0
    assert list(found["column_distances"]) == ["height", "weight", "job"]
    shifted = {**table.test, "x": np.roll(table.test["x"], 1, axis=0)}
    assert evaluate_rows(Copying(table, shifted["x"]), table.test)["association_distance"] > 0.05


@pytest.mark.parametrize("target", ["weight", "job", "sex"])
def test_any_column_may_be_what_is_learnt(table, target):
    rows = [tables.matrix(table.schema, part) for part in (table.train, table.train, table.test)]
    found = table_scorecard.learnt_from(table.schema, *rows, target)
    measure = "r2" if target == "weight" else "auroc"
    assert found["target"] == target
    assert found[f"synthetic_training_{measure}"] == found[f"real_training_{measure}"]
    # What follows from other columns is learnt, and a job, of which nothing tells, is not.
    assert (found[f"real_training_{measure}"] > 0.7) == (target != "job")
    with pytest.raises(ValueError, match="`target` must be one of height, weight"):
        table_scorecard.learnt_from(table.schema, *rows, "hat")


def test_the_doctor_looks_at_rows_of_a_table(table):
    model = keras_vae.table_vae(table.schema, 2, (4,), seed=0)
    model.build()
    found, left_out = doctor.examine(model, table.train, table.test)
    assert "posterior_collapse" in {finding.name for finding in found}
    assert "unfit_data" not in {finding.name for finding in found}
    assert left_out["alike_samples"] == "the data are no images"
    assert "copied_rows" not in left_out
