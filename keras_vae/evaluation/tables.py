"""How close drawn rows of a table are to real ones, column by column and pair by pair.

Rows are drawn with the conditions of real rows, one for each, so that what differs is what the
model makes, not what it was asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_vae.type_aliases import Examples


def evaluate_rows(model: Any, inputs: Examples, seed: int = 0) -> dict[str, Any]:
    """Compare drawn rows with real ones, column by column and pair by pair.

    Args:
        model: A model with a `TableSchema`, such as of `table_vae`.
        inputs: Rows as `fit` takes them; as many are drawn, with their conditions.
        seed: Int, of the draws.

    Returns:
        As `compare`.

    Example:

    >>> import keras_vae
    >>> rows = {"age": [39, 50, 38, 53, 28] * 8, "sex": ["m", "m", "f", "f", "f"] * 8}
    >>> made = keras_vae.data.table(rows)
    >>> model = keras_vae.table_vae(made.schema, latent_dim=2, hidden_units=(8,))
    >>> model.build()
    >>> sorted(keras_vae.evaluation.evaluate_rows(model, made.test))[:2]
    ['association_distance', 'column_distances']

    See also:
        `judge_rows`.
    """
    drawn = draw_rows(model, inputs, seed)
    return compare(model.schema, *(matrix(model.schema, rows) for rows in (drawn, inputs)))


def compare(schema, drawn, real):
    """Compare two sets of rows.

    Args:
        schema: `data.TableSchema`.
        drawn, real: Rows as of `matrix`.

    Returns:
        Dict of floats from 0, alike, to 1: `numeric_distance`, the mean Kolmogorov-Smirnov distance
        of the columns of numbers; `name_distance`, the mean total variation of the others, in
        both missing values left out; None without such columns; `association_distance`, the mean
        difference of the `associations` of all pairs of columns; and `column_distances`, the first
        two by column, the furthest first. Conditions are the same in both, and left out.
    """
    by_column = {
        name: column_distance(schema.columns[name], drawn[:, at], real[:, at])
        for at, name in enumerate(schema.columns)
        if name in schema.names
    }
    is_name = {name: hasattr(schema.columns[name], "names") for name in by_column}
    furthest = sorted(by_column, key=lambda name: -(by_column[name] or 0))
    pairs = np.triu_indices(len(schema.columns), 1)
    found = [associations(schema, rows)[pairs] for rows in (drawn, real)]
    return {
        "numeric_distance": _mean([d for name, d in by_column.items() if not is_name[name]]),
        "name_distance": _mean([d for name, d in by_column.items() if is_name[name]]),
        "association_distance": _mean(np.abs(found[0] - found[1])),
        "column_distances": {name: by_column[name] for name in furthest},
    }


def draw_rows(model, inputs, seed=0):
    """Draw a row for each of `inputs`, with its conditions, as `fit` takes them."""
    x, conditions = model.named_inputs(inputs)
    given = (conditions,) if conditions else ()
    drawn = model.sample(*given, count=len(x), seed=seed)
    return {"x": drawn, **conditions} if conditions else drawn


def matrix(schema, inputs):
    """All columns of rows, conditions too, in the order of the table.

    Args:
        schema: `data.TableSchema`.
        inputs: Rows as `fit` takes them.

    Returns:
        float64 `(n, columns)`: numbers in units, indices of names, NaN for a missing value.
    """
    x = inputs["x"] if isinstance(inputs, dict) else inputs
    encoded = dict(zip(schema.names, np.asarray(x, "float64").T, strict=True))
    encoded |= {n: np.asarray(inputs[n], "float64").reshape(-1) for n in schema.conditions}
    columns = []
    for name, kind in schema.columns.items():
        names, values = getattr(kind, "names", None), encoded[name]
        if names is None:
            columns.append(kind.decode(values))
        else:  # the index after the last name is an unknown one
            columns.append(np.where(values == len(names), np.nan, values))
    return np.stack(columns, axis=1).astype("float64")


def column_distance(kind, drawn, real):
    """The distance of two columns, as `matrix` has them, from 0 to 1; None where one is empty.

    Of numbers it is the Kolmogorov-Smirnov distance, the largest difference of their
    cumulative distributions; of names the total variation, half the sum of the differences of
    their shares. Missing values are left out.
    """
    parts = [values[~np.isnan(values)] for values in (drawn, real)]
    if not all(map(len, parts)):
        return None
    if hasattr(kind, "names"):
        shares = [np.bincount(v.astype(int), minlength=len(kind.names)) / len(v) for v in parts]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)
    parts = [np.sort(values) for values in parts]
    places = np.concatenate(parts)
    below = [np.searchsorted(values, places, "right") / len(values) for values in parts]
    return float(np.abs(below[0] - below[1]).max())


def associations(schema, rows):
    """How much every two columns tell of each other.

    Args:
        schema: `data.TableSchema`.
        rows: As of `matrix`.

    Returns:
        float64 `(columns, columns)`: of two columns of numbers Spearman's correlation, from -1
        to 1; of names and numbers the correlation ratio, the root of the share of the ranks'
        variance that lies between the names, and of names and names Cramer's V, both from 0 to 1.
        Rows where one of the two is missing are left out.

    References:
        - Cramer, 1946, Mathematical Methods of Statistics, section 21.9.
    """
    is_name = [hasattr(kind, "names") for kind in schema.columns.values()]
    found = np.eye(rows.shape[1])
    for first in range(len(found)):
        for second in range(first):
            # Names come before numbers.
            a, b = (second, first) if is_name[second] else (first, second)
            known = ~np.isnan(rows[:, a] + rows[:, b])
            pair = [rows[known, at] if is_name[at] else _ranks(rows[known, at]) for at in (a, b)]
            measure = {2: _cramers_v, 1: _correlation_ratio, 0: _correlation}[
                is_name[a] + is_name[b]
            ]
            found[first, second] = found[second, first] = measure(*pair) if known.any() else 0.0
    return found


def _ranks(values):
    """Ranks, of equal values their mean."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - counts / 2)[index]


def _correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return (a * b).sum() / scale if scale else 0.0


def _correlation_ratio(names, numbers):
    _, names = np.unique(names, return_inverse=True)
    total = ((numbers - numbers.mean()) ** 2).sum()
    means = np.bincount(names, numbers) / np.bincount(names)
    return np.sqrt(((means[names] - numbers.mean()) ** 2).sum() / total) if total else 0.0


def _cramers_v(a, b):
    (kinds_a, a), (kinds_b, b) = (np.unique(values, return_inverse=True) for values in (a, b))
    least = min(len(kinds_a), len(kinds_b)) - 1
    shape = len(kinds_a), len(kinds_b)
    joint = np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).reshape(shape) / len(a)
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    return np.sqrt(((joint - apart) ** 2 / apart).sum() / least) if least else 0.0


def _mean(values):
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if len(values) else None
