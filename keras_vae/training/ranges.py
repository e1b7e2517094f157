"""The range of conditions that are numbers: learned from data, and kept beside the weights."""

import numpy as np

_PREFIX = "range_"


class LearnsRanges:
    """A model whose numbers without a range take that of what it is trained on.

    A model has the attributes `condition` and `conditioning`, of the same kinds. The ranges are in
    files of weights, too, for the weights mean nothing without them.
    """

    def learn_ranges(self, inputs):
        """Let numbers that have no range take that of arrays to train on, by their names."""
        for name, kind in _numbers(self):
            self._take(name, kind, kind.fit(inputs[name], name))

    def _take(self, name, kind, fitted):
        if fitted is not kind:
            self.condition[name] = self.conditioning.condition[name] = fitted
            self.forget_compiled()

    def forget_compiled(self):
        """Drop what was compiled, after a change that is no change of a variable."""
        self.train_function = self.test_function = self.predict_function = None

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name, kind in _numbers(self):
            if kind.standardized and kind.low is not None:
                store[_PREFIX + name] = np.array([kind.low, kind.high])

    def load_own_variables(self, store):
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
