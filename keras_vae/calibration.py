"""Conformal p-values of anomaly scores: how often what is normal scores as high.

A score in nats says nothing by itself. Held-out normal examples say how such score: of n of them,
one that is as normal as they are scores at least as high as the k-th highest with a probability of
at most (k + 1) / (n + 1), whatever the model is (Vovk et al., 2005, section 2.2; split conformal
p-values, Bates et al., 2023). That needs examples that are exchangeable: of the same source, and
none that the model was trained on.

A `Calibration` keeps some of the sorted scores, which is what a device can hold: straight lines
between these are its p-values, on every backend and in every exported file.

References:
    - Vovk, Gammerman & Shafer, 2005, Algorithmic Learning in a Random World.
    - Bates, Candès, Lei, Romano & Sesia, 2023. https://arxiv.org/abs/2104.08279
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

# Scores that are kept, of all groups together: less than 4 kB in a file.
MOST_KNOTS = 200
# Of one group: what they cost beyond it buys nothing.
MOST_OF_GROUP, LEAST_OF_GROUP = 120, 12
# The part of them that is for the upper half of the scores, where alarms are.
TAIL_SHARE = 2 / 3


class Calibration:
    """The p-values of scores, made from those of held-out normal examples by `fit`.

    Args:
        groups: List of dicts, one for all examples and one for each class that has its own:
            `count`, how many examples; `scores`, ascending, and `p_values`, descending.
        false_alarms: Float, the p-value up to which an example is in alarm.
        condition: Optional str, the label by which there are groups.
        group_of_class: Optional sequence of ints, the group of each of its classes and of
            *unknown*.
        contamination: Float, the share of the highest scores that were taken for anomalies.
        date: Str, the day of the calibration.
    """

    def __init__(
        self,
        groups: Any,
        false_alarms: float = 0.01,
        condition: str | None = None,
        group_of_class: Sequence[int] | None = None,
        contamination: float = 0.0,
        date: str | None = None,
    ) -> None:
        self.groups = [
            {
                "count": int(group["count"]),
                "scores": [float(score) for score in group["scores"]],
                "p_values": [float(p) for p in group["p_values"]],
            }
            for group in groups
        ]
        self.false_alarms = float(false_alarms)
        self.condition = condition
        self.group_of_class = None if condition is None else [int(k) for k in group_of_class]
        self.contamination = float(contamination)
        self.date = date
        self._check()
        self.floors, self.tops, self.widths, self.slopes = self._segments()

    @classmethod
    def fit(
        cls,
        scores: ArrayLike,
        false_alarms: float = 0.01,
        contamination: float = 0.0,
        labels: ArrayLike | None = None,
        condition: str | None = None,
        names: Sequence[str] = (),
    ) -> Self:
        """Make it from the scores of held-out normal examples.

        Args:
            scores: Float array `(n,)`, the higher the more unusual.
            false_alarms: Float between 0 and 1: the share of normal examples in alarm.
            contamination: Float from 0 to below 0.5: the share of the examples that are anomalies
                nevertheless. So many of the highest scores are left out.
            labels: Optional int array `(n,)`, of the classes of `condition`: each class with
                enough examples gets p-values of its own, all others those of all examples.
            condition: Optional str, the label's name.
            names: Sequence of str, the names of its classes.

        Raises:
            ValueError: If a number is out of range, or there are fewer examples than the rate
                of false alarms can be told from.
        """
        scores = np.asarray(scores, "float64").reshape(-1)
        if not 0 < false_alarms < 1:
            raise ValueError(
                f"`false_alarms` must be above 0 and below 1. Received: {false_alarms!r}"
            )
        if not 0 <= contamination < 0.5:
            raise ValueError(
                f"`contamination` must be from 0 to below 0.5. Received: {contamination!r}"
            )
        if not np.isfinite(scores).all():
            raise ValueError(
                "Scores to calibrate by must be finite. Received: "
                f"{int((~np.isfinite(scores)).sum())} that are not, of {len(scores)}. Train the "
                "model again, or leave these examples out."
            )
        least = least_examples(false_alarms)
        kept = _without(scores, contamination)
        if kept.sum() < least:
            raise ValueError(
                f"`false_alarms={false_alarms:g}` needs at least {least} held-out examples"
                f"{' besides the contamination' if contamination else ''}. Received: "
                f"{int(kept.sum())}. Pass more, or allow more false alarms."
            )
        members, group_of_class = [kept], None
        if labels is not None:
            labels = np.asarray(labels).reshape(-1)
            group_of_class = [0] * (len(names) + 1)
            for k in range(len(names)):
                own = np.zeros(len(scores), bool)
                of_class = np.flatnonzero(labels == k)
                own[of_class] = _without(scores[of_class], contamination)
                if own.sum() >= least:
                    group_of_class[k] = len(members)
                    members.append(own)
            if len(members) * LEAST_OF_GROUP > MOST_KNOTS:  # more than a file can hold
                members, group_of_class = members[:1], [0] * len(group_of_class)
        knots = min(MOST_OF_GROUP, MOST_KNOTS // len(members))
        groups = [_group(np.sort(scores[own]), false_alarms, knots) for own in members]
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        return cls(groups, false_alarms, condition, group_of_class, contamination, today)

    def p_values(self, scores: Any, labels: Any = None, ops: Any = np) -> Any:
        """What share of normal examples score as high.

        Args:
            scores: Float array or tensor `(n,)`.
            labels: Int array or tensor `(n,)`, where there are groups by a label.
            ops: `numpy` for arrays, `keras.ops` for tensors; then it can be part of a graph.

        Returns:
            Array or tensor `(n,)`, above 0 and at most 1.
        """
        tables = (self.floors, self.tops, self.widths, self.slopes)
        if len(self.groups) > 1:
            at = ops.take(np.array(self.group_of_class, "int32"), labels, axis=0)
            floor, top, width, slope = (ops.take(table, at, axis=0) for table in tables)
        else:
            floor, top, width, slope = (table[0] for table in tables)
        # No operator between an array and a tensor: PyTorch has none.
        below = ops.minimum(ops.maximum(ops.subtract(top, scores[:, None]), 0.0), width)
        return ops.add(floor, ops.sum(ops.multiply(slope, below), axis=1))

    def thresholds(self) -> list[float]:
        """The score of each group above which an example is in alarm, a list of floats."""
        return [
            float(np.interp(-self.false_alarms, [-p for p in g["p_values"]], g["scores"]))
            for g in self.groups
        ]

    def own_groups(self) -> list[bool]:
        """Of each class whether its p-values are its own, a list of bools."""
        return [group > 0 for group in (self.group_of_class or [])[:-1]]

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data, at most 4 kB."""
        return {**self.get_config(), "thresholds": [_round(t) for t in self.thresholds()]}

    def get_config(self) -> dict[str, Any]:
        return {
            "groups": self.groups,
            "false_alarms": self.false_alarms,
            "condition": self.condition,
            "group_of_class": self.group_of_class,
            "contamination": self.contamination,
            "date": self.date,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def _check(self):
        """Refuse what no `fit` makes: it may come from a file."""
        for group in self.groups or [{"scores": (), "p_values": ()}]:
            scores, p = (np.array(group[name]) for name in ("scores", "p_values"))
            fits = len(scores) == len(p) and len(scores) >= 2
            fits = fits and bool((np.diff(scores) > 0).all() and (np.diff(p) <= 0).all())
            if not (fits and np.isfinite(scores).all() and 0 < p[-1] <= p[0] <= 1):
                raise ValueError(
                    "A calibration must have ascending scores with descending p-values in each "
                    "group. Received: others. Calibrate again."
                )
        if self.condition is not None and not all(
            0 <= k < len(self.groups) for k in self.group_of_class
        ):
            raise ValueError(
                "A calibration must name a group for each class. Received: one that is not there. "
                "Calibrate again."
            )

    def _segments(self):
        """Tables `(groups, knots)` of the lines between two scores, padded by empty ones."""
        most = max(len(group["scores"]) for group in self.groups) - 1
        tops, widths, slopes = np.zeros((3, len(self.groups), most), "float32")
        floors = np.array([group["p_values"][-1] for group in self.groups], "float32")
        for k, group in enumerate(self.groups):
            scores = np.array(group["scores"], "float32").astype("float64")
            count = len(scores) - 1
            tops[k, :count], widths[k, :count] = scores[1:], np.diff(scores)
            falls = -np.diff(group["p_values"])
            steps = np.diff(scores)
            slopes[k, :count] = np.divide(falls, steps, out=np.zeros(count), where=steps > 0)
        return floors, tops, widths, slopes


def least_examples(false_alarms):
    """How many examples it takes to tell a rate of false alarms: 100 for 1 %."""
    return math.ceil(round(1 / false_alarms, 6))


def _without(scores, contamination):
    """Bool array: all but that share of the highest scores."""
    kept = np.ones(len(scores), bool)
    kept[np.argsort(scores, kind="stable")[len(scores) - int(contamination * len(scores)) :]] = (
        False
    )
    return kept


def _group(scores, false_alarms, knots):
    """What is kept of ascending scores: some of them, and the p-value at each."""
    count = len(scores)
    at_alarm = int(false_alarms * (count + 1))
    half = max(count // 2, 1)
    ranks = {1, count, max(at_alarm, 1), max(at_alarm - 1, 1)}
    knots -= len(ranks)
    tail = int(knots * TAIL_SHARE)
    ranks |= set(np.unique(np.geomspace(1, half, tail).round().astype(int)).tolist())
    ranks |= set(np.linspace(half, count, knots - tail).round().astype(int).tolist())
    ranks = sorted(rank for rank in ranks if rank <= count)  # 1 is the highest score
    kept, p_values = [], []
    for rank in reversed(ranks):
        score = _round(scores[count - rank])
        if kept and score <= kept[-1]:
            continue  # a tie: the larger p-value stays
        kept.append(score)
        p_values.append(min(1.0, (rank + 1) / (count + 1)))
    # Above all of them the p-value is the least there is, a step further.
    step = max(kept[-1] - kept[-2] if len(kept) > 1 else 0.0, abs(kept[-1]) * 1e-5, 1e-5)
    kept.append(_round(kept[-1] + step))
    p_values.append(1 / (count + 1))
    return {"count": count, "scores": kept, "p_values": [float(f"{p:.6g}") for p in p_values]}


def _round(score):
    return float(f"{score:.7g}")
