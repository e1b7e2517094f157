"""Few labels in batches: as many rows with a label as a classifier needs, weighted accordingly."""

import numpy as np

# Of a batch's rows, at least so many have all labels.
LEAST_SHARE = 0.2


def unknown_rows(kinds, x):
    """Which rows of arrays lack one of some labels, bool `(n,)`; None of what are no arrays."""
    if not isinstance(x, dict) or not hasattr(x.get("x"), "shape"):
        return None
    unknown = np.zeros(len(x["x"]), bool)
    for name, kind in kinds.items():
        unknown |= np.asarray(x[name]) == kind.unknown
    return unknown


def unknown_share(kinds, x):
    """Share of the rows that lack one of some labels; 0 of what are no arrays."""
    unknown = unknown_rows(kinds, x)
    return 0.0 if unknown is None else float(unknown.mean())


def of_labels(kinds, x):
    """`Strata` of arrays that lack most labels; None where nothing is to be done.

    Args:
        kinds: Dict from the names of labels to their kinds.
        x: Dict of arrays, as `fit` checks them.
    """
    unknown = unknown_rows(kinds, x)
    if unknown is None or unknown.all() or unknown.mean() <= 1 - LEAST_SHARE:
        return None
    return Strata(~unknown, LEAST_SHARE)


class Strata:
    """Rows of which some are drawn more often than others, with weights that make up for it.

    Of an epoch of n rows, `share` are of the few, again and again; of the others each occurs once
    at most. With the weights, a mean over the epoch's rows is expected to be that over all rows.

    Args:
        few: Bool array `(n,)`.
        share: Float in (0, 1), above that of the few.
    """

    def __init__(self, few, share):
        self.few, self.others = np.flatnonzero(few), np.flatnonzero(~few)
        self.count = len(few)
        self.drawn = round(share * self.count)
        part = self.drawn / self.count
        own = len(self.few) / self.count
        self.weight = np.where(few, own / part, (1 - own) / (1 - part)).astype("float32")

    def order(self, rng):
        """Rows of an epoch, int `(n,)`."""
        rounds = -(-self.drawn // len(self.few))
        few = np.concatenate([rng.permutation(self.few) for _ in range(rounds)])[: self.drawn]
        others = rng.permutation(self.others)[: self.count - self.drawn]
        return rng.permutation(np.concatenate([few, others]))
