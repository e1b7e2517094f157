"""The range of conditions that are numbers: learned from data, and kept beside the weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

_PREFIX = "range_"


class LearnsRanges:
    """A model whose numbers without a range take that of what it is trained on.

    A model has the attributes `condition` and `conditioning`, of the same kinds. The ranges are in
    files of weights, too, for the weights mean nothing without them.
    """

    def learn_ranges(self, inputs: Any) -> None:
        """Let numbers that have no range take that of arrays to train on, by their names."""
        for name, kind in _numbers(self):
            self._take(name, kind, kind.fit(inputs[name], name))

    def learn_ranges_of_batches(self, dataset: Any) -> None:
        """As `learn_ranges`, by one pass over a dataset; none where every number has its range.

        Args:
            dataset: As `datasets.as_keras_takes_it` returns it.

        Raises:
            ValueError: If there is a number without a range, and the dataset has no known end.
        """
        wanted = [(name, kind) for name, kind in _numbers(self) if kind.learns]
        if not wanted:
            return
        try:
            count = len(dataset)
        except TypeError as err:
            name, kind = wanted[0]
            raise ValueError(
                f"`{name}` learns its range of arrays, or of a dataset of known length. Received: "
                f"a {type(dataset).__name__} of unknown length. Pass "
                f"Continuous({kind.dim}, low=..., high=...)."
            ) from err
        is_indexed = isinstance(dataset, keras.utils.PyDataset)
        ends = {name: [np.empty((0, kind.dim), "float32")] for name, kind in wanted}
        for batch in map(dataset.__getitem__, range(count)) if is_indexed else dataset:
            inputs = batch[0] if isinstance(batch, list | tuple) else batch
            if not isinstance(inputs, dict) or not ends.keys() <= inputs.keys():
                return  # the first step says what a batch must hold
            for name, kind in wanted:
                values = np.asarray(inputs[name], "float32").reshape(-1, kind.dim)
                known = values[~np.isnan(values).any(axis=1)]
                if len(known):
                    ends[name] += known.min(axis=0)[None], known.max(axis=0)[None]
        for name, kind in wanted:
            self._take(name, kind, kind.fit(np.concatenate(ends[name]), name))

    def _take(self, name, kind, fitted):
        if fitted is not kind:
            self.condition[name] = self.conditioning.condition[name] = fitted
            self.forget_compiled()

    def forget_compiled(self) -> None:
        """Drop what was compiled, after a change that is no change of a variable."""
        self.train_function = self.test_function = self.predict_function = None

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for name, kind in _numbers(self):
            if kind.standardized and kind.low is not None:
                store[_PREFIX + name] = np.array([kind.low, kind.high])

    def load_own_variables(self, store: Any) -> None:
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118 - it is no dict
        ranges = {n: np.asarray(own.pop(n)) for n in list(own) if n.startswith(_PREFIX)}
        super().load_own_variables(own)
        for name, kind in _numbers(self):
            if _PREFIX + name not in ranges:
                continue
            fitted = kind.of_range(*ranges[_PREFIX + name])
            if kind.low is not None and fitted.get_config() != kind.get_config():
                raise ValueError(
                    f"`{name}` must have the range that the weights were trained with, "
                    f"{fitted.described_range()}. Received: {kind.described_range()}."
                )
            self._take(name, kind, kind if kind.low is not None else fitted)


def _numbers(model):
    return [(name, kind) for name, kind in model.condition.items() if kind.kind == "continuous"]
