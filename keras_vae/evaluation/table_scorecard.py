"""What can be learnt of drawn rows of a table, and whether they are copies of training rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_vae import seeds
from keras_vae.data.columns import Category, Numeric
from keras_vae.evaluation.tables import draw_rows, matrix
from keras_vae.type_aliases import Examples

# Rows of which the nearest training row is looked for, and training rows to look among.
COMPARED, AMONG = 1000, 100_000
# The share of held-out rows that are called close to a training row.
CLOSE = 0.01
# So many names a column may have for gradient boosting to take them as such.
_MOST_NAMES = 255
_PAIRS_AT_ONCE = 2**22


def judge_rows(
    model: Any,
    train: Examples,
    test: Examples,
    target: str | None = None,
    seed: int = 0,
    say: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """Judge drawn rows by what can be learnt of them, and by whether they are training rows.

    Args:
        model: As for `evaluate_rows`.
        train, test: Rows as `fit` takes them: those that the model has learnt from, and others.
        target: As for `learnt_from`.
        seed: Int.
        say: Optional function of a line, called before what takes long.

    Returns:
        Dict of what `learnt_from` and `copies` give, and `samples`, how many rows were drawn: one
        for each training row. What needs scikit-learn, and it is not there, is in `left_out`.

    Example:

    >>> import keras_vae
    >>> rows = {"age": [39, 50, 38, 53, 28] * 8, "sex": ["m", "m", "f", "f", "f"] * 8}
    >>> made = keras_vae.data.table(rows)
    >>> model = keras_vae.table_vae(made.schema, latent_dim=2, hidden_units=(8,))
    >>> model.build()
    >>> keras_vae.evaluation.judge_rows(model, made.train, made.test)["samples"]
    32

    See also:
        `evaluate_rows`.
    """
    say = say or (lambda line: None)
    say("drawing as many rows as there are to train with")
    drawn = draw_rows(model, train, seed)
    rows = [matrix(model.schema, part) for part in (drawn, train, test)]
    say("training gradient boosting on drawn rows, and on real ones")
    try:
        results, left_out = learnt_from(model.schema, *rows, target, seed), {}
    except ImportError as err:
        results, left_out = {}, {"synthetic_training": str(err)}
    say("looking for the training row that is nearest to each")
    results |= copies(model.schema, *rows, seed)
    return {**results, "samples": len(rows[0]), "left_out": left_out}


def learnt_from(schema, drawn, train, test, target=None, seed=0):
    """Train on drawn rows and test on real ones, beside a training on real rows.

    Gradient boosting, scikit-learn's, learns a column from all others.

    Args:
        schema: `data.TableSchema`.
        drawn, train, test: Rows as of `matrix`.
        target: Optional str, the column. Default: the first condition, without any the last column.
        seed: Int.

    Returns:
        Dict of `target`; `synthetic_training_auroc` and `real_training_auroc`, on the test rows,
        of names: of several the mean of each against all others, by their shares; of numbers
        `..._r2`; and `synthetic_of_real`, the former over the latter.

    Raises:
        ValueError: If the table has no such column.
        ImportError: Without scikit-learn.
    """
    names = list(schema.columns)
    target = target or [*schema.conditions, names[-1]][0]
    if target not in names:
        raise ValueError(f"`target` must be one of {', '.join(names)}. Received: {target!r}.")
    try:
        import sklearn  # noqa: F401
    except ImportError as err:
        raise ImportError(
            'Learning from rows needs scikit-learn. Install it with: pip install "keras-vae[cli]"'
        ) from err
    is_name = hasattr(schema.columns[target], "names")
    score, measure = (_auroc, "auroc") if is_name else (_r2, "r2")
    found = {
        f"{what}_training_{measure}": score(schema, names.index(target), rows, test, seed)
        for what, rows in (("synthetic", drawn), ("real", train))
    }
    synthetic, real = found.values()
    ratio = synthetic / real if None not in found.values() and real > 0 else None
    return {"target": target, **found, "synthetic_of_real": ratio}


def _auroc(schema, at, rows, test, seed):
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    judge, x, y = _fitted(HistGradientBoostingClassifier, schema, at, rows, test, seed)
    if judge is None:
        return None
    scores = dict(zip(judge.classes_, judge.predict_proba(x).T, strict=True))
    found = {c: float(np.mean(y == c)) for c in np.unique(y)}
    if len(found) < 2:
        return None
    found = found if len(found) > 2 else {max(found): 1.0}
    zeros = np.zeros(len(y))
    return sum(share * roc_auc_score(y == c, scores.get(c, zeros)) for c, share in found.items())


def _r2(schema, at, rows, test, seed):
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    judge, x, y = _fitted(HistGradientBoostingRegressor, schema, at, rows, test, seed)
    return None if judge is None or len(y) < 2 else float(r2_score(y, judge.predict(x)))


def _fitted(kind, schema, at, rows, test, seed):
    """A fitted judge, what it sees of the test rows, and what it is to say of them."""
    (x, y), (x_test, y_test) = (
        (np.delete(part, at, axis=1), part[:, at])
        for part in (part[~np.isnan(part[:, at])] for part in (rows, test))
    )
    if len(np.unique(y)) < 2 or not len(y_test):
        return None, x_test, y_test
    others = [c for index, c in enumerate(schema.columns.values()) if index != at]
    categories = [
        isinstance(other, Category) and len(other.names) <= _MOST_NAMES for other in others
    ]
    judge = kind(categorical_features=np.array(categories), random_state=seed)
    return judge.fit(x, y), x_test, y_test


def copies(schema, drawn, train, test, seed=0):
    """How near rows come to training rows, drawn ones and those that the model has never seen.

    The distance of two rows is the mean over all columns of, for numbers, the share of the training
    rows between both, and for names 0 or 1 (Gower's, of ranks).

    Args:
        schema: `data.TableSchema`.
        drawn, train, test: Rows as of `matrix`.
        seed: Int, of which rows are compared where there are many.

    Returns:
        Dict: `nearest_distance` and `nearest_distance_of_held_out`, the median distance from a row
        to the nearest training row; `close_samples` and `close_held_out`, the shares that are as
        close as the closest 1 % of held-out rows; `exact_copies` and `exact_copies_of_held_out`,
        the shares that are equal to a training row in all columns; and `equal_numbers` and
        `equal_numbers_of_held_out`, in all columns of numbers, None where there are not two.

    References:
        - Gower, 1971, for the distance. https://doi.org/10.2307/2528823
    """
    rng = seeds.generator(seed, "nearest")
    among = train[rng.permutation(len(train))[:AMONG]]
    some = [rows[rng.permutation(len(rows))[:COMPARED]] for rows in (drawn, test)]
    nearest = [nearest_distances(schema, rows, among) for rows in some]
    # The last digits of float32 sums are no distance.
    limit = np.quantile(nearest[1], CLOSE, method="higher") + 1e-6
    numbers = np.array([isinstance(kind, Numeric) for kind in schema.columns.values()])
    equal = [_equal(rows, train, slice(None)) for rows in (drawn, test)]
    has_numbers = numbers.sum() > 1
    same = [_equal(rows, train, numbers) if has_numbers else None for rows in (drawn, test)]
    return {
        "nearest_distance": float(np.median(nearest[0])),
        "nearest_distance_of_held_out": float(np.median(nearest[1])),
        "close_samples": float(np.mean(nearest[0] <= limit)),
        "close_held_out": float(np.mean(nearest[1] <= limit)),
        "exact_copies": equal[0],
        "exact_copies_of_held_out": equal[1],
        "equal_numbers": same[0],
        "equal_numbers_of_held_out": same[1],
    }


def nearest_distances(schema, rows, train):
    """The distance from each row to the nearest training row, as `copies` says, `(n,)`."""
    parts = []
    for at, kind in enumerate(schema.columns.values()):
        values = rows[:, at], train[:, at]
        if hasattr(kind, "names"):  # each of which is far from any other
            places = [2 * v for v in values]
        else:
            order = np.sort(values[1][~np.isnan(values[1])])
            both = [[np.searchsorted(order, v, side) for side in ("left", "right")] for v in values]
            places = [
                np.where(np.isnan(v), np.nan, np.mean(b, axis=0) / max(len(order), 1))
                for v, b in zip(values, both, strict=True)
            ]
        parts.append([np.nan_to_num(place, nan=-1.0).astype("float32") for place in places])
    nearest = []
    step = max(1, _PAIRS_AT_ONCE // len(train))
    for start in range(0, len(rows), step):
        total = np.zeros((len(rows[start : start + step]), len(train)), "float32")
        for of_rows, of_train in parts:
            difference = of_rows[start : start + step, None] - of_train
            np.abs(difference, out=difference)
            total += np.minimum(difference, 1, out=difference)
        nearest.append(total.min(axis=1) / len(parts))
    return np.concatenate(nearest)


def _equal(rows, train, columns):
    """The share of rows that are equal to a training row in some columns."""
    known = set(map(tuple, train[:, columns].tolist()))
    return float(np.mean([row in known for row in map(tuple, rows[:, columns].tolist())]))
