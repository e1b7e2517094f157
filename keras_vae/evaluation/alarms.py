"""How good alarms are: on windows without anomalies, and where known anomalies lie in time."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_vae.data.series import Series
from keras_vae.detector import AnomalyDetector
from keras_vae.type_aliases import PathLike


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of a series in time, and what a detector says of them.

    Args:
        starts, ends: Arrays `(n,)` of datetimes, seconds or rows: the first and the last step.
        scores, p_values: Float arrays `(n,)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> windows = keras_vae.evaluation.Windows(
    ...     starts=np.arange(3), ends=np.arange(3) + 15, scores=np.zeros(3), p_values=np.ones(3)
    ... )
    >>> keras_vae.evaluation.evaluate_alarms(windows, false_alarms=0.05)["in_alarm"]
    0.0

    See also:
        `windows_of`, which makes it.
    """

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray
    p_values: np.ndarray


def windows_of(
    detector: AnomalyDetector, series: Series, parts: Sequence[str] = ("test",)
) -> Windows:
    """What a detector says of the windows of some parts of a series, one after the other.

    Args:
        detector: `AnomalyDetector`, calibrated.
        series: `data.Series`.
        parts: Names of parts: `"train"`, `"calibration"`, `"test"`.

    Returns:
        `Windows`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> made = keras_vae.data.series(np.sin(np.arange(800) / 5)[:, None], window=16, stride=4)
    >>> model = keras_vae.series_vae(made.schema, latent_dim=2, hidden_units=(8,))
    >>> model.build()
    >>> detector = keras_vae.AnomalyDetector(model).calibrate(made.calibration, false_alarms=0.1)
    >>> keras_vae.evaluation.windows_of(detector, made).p_values.shape
    (37,)

    See also:
        `evaluate_alarms`, which measures them.
    """
    columns = []
    for part in parts:
        if not len(series.windows(part)):
            continue
        x, name = getattr(series, part), detector.calibration.condition
        scores = detector.score(x)
        p_values = detector.calibration.p_values(
            scores.astype("float64"), x[name] if name else None
        )
        columns.append((series.starts(part), series.ends(part), scores, p_values))
    return Windows(*(np.concatenate(each) for each in zip(*columns, strict=True)))


def read_anomalies(path: PathLike) -> list[tuple[Any, Any]]:
    """Pairs of times from a JSON file: a list of pairs, or a dict of one such list.

    Args:
        path: Path of the file.

    Returns:
        List of pairs, for `evaluate_alarms`.

    Raises:
        ValueError: If it holds no pairs.
        OSError: If it cannot be read.

    Example:

    >>> import keras_vae
    >>> import json
    >>> with open("anomalies.json", "w") as file:
    ...     json.dump([[100, 140], [300, 310]], file)
    ...
    >>> keras_vae.evaluation.read_anomalies("anomalies.json")
    [[100, 140], [300, 310]]

    See also:
        `evaluate_alarms`, which takes them.
    """
    try:
        found = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{path} must be a JSON file. It raised: {err}") from err
    if isinstance(found, dict) and len(found) == 1:
        [found] = found.values()
    if not isinstance(found, list) or not all(isinstance(p, list) and len(p) == 2 for p in found):
        raise ValueError(
            "Anomalies must be a JSON file of pairs of times, the first and the last of each. "
            f"Received: {path}, of something else."
        )
    return found


def evaluate_alarms(
    windows: Windows, false_alarms: float, anomalies: Sequence[tuple[Any, Any]] | None = None
) -> dict[str, Any]:
    """Measure alarms.

    Args:
        windows: `Windows`.
        false_alarms: Float, the p-value up to which a window is in alarm.
        anomalies: Optional sequence of pairs of times, the first and the last of each known
            anomaly: a window is anomalous if it ends within one. Default: there is none.

    Returns:
        Dict of `windows`, how many there are, and `in_alarm`, the share of them in alarm. Where
        anomalies are known also `auroc`, `auprc` and, at the alarm, `precision`, `recall`, `f1` and
        `false_alarms`, of normal windows; `false_alarms_a_day`, runs of alarms outside anomalies,
        with datetimes alone; `found`, how many of the `anomalies` have an alarm; and `delays`, from
        the start of each to the end of its first window in alarm, in seconds or rows, None where
        there is none.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> rows = np.arange(4)
    >>> windows = keras_vae.evaluation.Windows(rows, rows, scores=rows, p_values=1 / (1 + rows))
    >>> keras_vae.evaluation.evaluate_alarms(windows, 0.3, anomalies=[(3, 3)])["recall"]
    1.0

    See also:
        `windows_of`, `read_anomalies`.
    """
    in_alarm = windows.p_values <= false_alarms
    found = {"windows": len(in_alarm), "in_alarm": float(in_alarm.mean())}
    if anomalies is None:
        return found
    from sklearn.metrics import average_precision_score, roc_auc_score

    pairs = [tuple(_as_time(end, windows.ends) for end in pair) for pair in anomalies]
    inside = np.zeros(len(in_alarm), bool)
    delays = []
    for first, last in pairs:
        own = (windows.ends >= first) & (windows.ends <= last)
        inside |= own
        hits = np.flatnonzero(own & in_alarm)
        delays.append(_seconds(windows.ends[hits[0]] - first) if len(hits) else None)
    if inside.any() and not inside.all():
        found["auroc"] = float(roc_auc_score(inside, windows.scores))
        found["auprc"] = float(average_precision_score(inside, windows.scores))
    right = int((in_alarm & inside).sum())
    found["precision"] = right / max(int(in_alarm.sum()), 1)
    found["recall"] = right / max(int(inside.sum()), 1)
    total = found["precision"] + found["recall"]
    found["f1"] = 2 * found["precision"] * found["recall"] / total if total else 0.0
    found["false_alarms"] = float(in_alarm[~inside].mean()) if (~inside).any() else 0.0
    if windows.ends.dtype.kind == "M":
        wrong = (in_alarm & ~inside).astype(int)
        runs = int((np.diff(np.concatenate([[0], wrong])) == 1).sum())
        days = _seconds(windows.ends[-1] - windows.starts[0]) / 86_400
        found["false_alarms_a_day"] = runs / days
    found |= {"found": sum(d is not None for d in delays), "anomalies": len(pairs)}
    return {**found, "delays": delays}


def _as_time(value, like):
    if like.dtype.kind == "M":
        return np.datetime64(str(value).strip().removesuffix("Z"), "us")
    return float(value)


def _seconds(difference):
    if isinstance(difference, np.timedelta64):
        return float(difference / np.timedelta64(1, "us")) / 1e6
    return float(difference)
