"""Schedules of the KL's weight over the epochs of a training."""

from __future__ import annotations

import math
import numbers
from typing import Any, Self

import keras

from keras_vae import arguments


class Schedule:
    """A weight for each epoch: the ramp from `start` to `end`, whose shape a subclass gives.

    A ramp of `epochs` epochs trains epoch number e, from 0, with its value at that epoch's end:
    the first is one part of `epochs` up, the last is at `end`, where the weight stays. The epochs
    are those that the model has been trained for, in one `fit` or several.

    Args:
        epochs: Int, at least 1. Length of the ramp.
        start: Float, at least 0. Where the ramp begins, as if before the first epoch.
        end: Float, at least 0. Where it ends.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> class Squared(keras_vae.schedules.Schedule):
    ...     def shape(self, part):
    ...         return part**2
    ...
    >>> Squared(epochs=2)(0)
    0.25

    See also:
        `LinearWarmup`, `CosineWarmup`, `Cyclical`.
    """

    def __init__(self, epochs: int, start: float = 0.0, end: float = 1.0) -> None:
        self.epochs = arguments.whole(epochs, "epochs")
        self.start = arguments.not_negative(start, "start")
        self.end = arguments.not_negative(end, "end")

    def __call__(self, epoch: float) -> float:
        """The weight of an epoch.

        Args:
            epoch: Int, counted from 0.

        Returns:
            Float.
        """
        return self.start + (self.end - self.start) * self.shape(self.part(epoch))

    def part(self, epoch: float) -> float:
        """How much of the ramp is behind at the end of an epoch, in (0, 1]."""
        return min((epoch + 1) / self.epochs, 1.0)

    def shape(self, part: float) -> float:
        """How high the ramp is, in [0, 1], after a part of it."""
        return part

    def get_config(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "start": self.start, "end": self.end}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


@keras.saving.register_keras_serializable("keras_vae")
class Constant(Schedule):
    """The same weight in every epoch: what the bare number means, as a schedule.

    Args:
        value: Float, at least 0.

    Example:

    >>> import keras_vae
    >>> keras_vae.schedules.Constant(0.5)(epoch=7)
    0.5

    See also:
        `LinearWarmup`.
    """

    def __init__(self, value: float) -> None:
        value = arguments.not_negative(value, "value")
        super().__init__(1, value, value)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.end}


@keras.saving.register_keras_serializable("keras_vae")
class LinearWarmup(Schedule):
    """A straight ramp: `start + (end - start) * (e + 1) / epochs` in epoch e, counted from 0.

    Args:
        epochs: Int, at least 1. The last of so many epochs is the first at `end`.
        start: Float, at least 0. The weight before the first epoch; never trained with.
        end: Float, at least 0. The weight from then on.

    Example:

    >>> import keras_vae
    >>> warm_up = keras_vae.schedules.LinearWarmup(epochs=4)
    >>> [warm_up(epoch) for epoch in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]

    See also:
        `CosineWarmup`, `Cyclical`; `VAE` takes it as `kl_weight`.

    References:
        - Bowman et al., 2016. https://arxiv.org/abs/1511.06349
        - Sønderby et al., 2016. https://arxiv.org/abs/1602.02282
    """


@keras.saving.register_keras_serializable("keras_vae")
class CosineWarmup(Schedule):
    """A ramp along half a cosine, level at both ends: `(1 - cos(pi * part)) / 2` of the way.

    Args:
        epochs, start, end: As for `LinearWarmup`.

    Example:

    >>> import keras_vae
    >>> warm_up = keras_vae.schedules.CosineWarmup(epochs=4)
    >>> [round(warm_up(epoch), 2) for epoch in range(6)]
    [0.15, 0.5, 0.85, 1.0, 1.0, 1.0]

    See also:
        `LinearWarmup`.
    """

    def shape(self, part: float) -> float:
        return (1 - math.cos(math.pi * part)) / 2


@keras.saving.register_keras_serializable("keras_vae")
class Cyclical(Schedule):
    """A straight ramp and a rest at `end`, again and again.

    Args:
        epochs: Int, at least 1. Length of a cycle; a training may end within a later one.
        ratio: Float in (0, 1]. The ramp's share of a cycle.
        start, end: As for `LinearWarmup`.

    Example:

    >>> import keras_vae
    >>> cyclical = keras_vae.schedules.Cyclical(epochs=4, ratio=0.5)
    >>> [cyclical(epoch) for epoch in range(6)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 1.0]

    See also:
        `LinearWarmup`, once.

    References:
        - Fu et al., 2019, by epochs rather than by steps. https://arxiv.org/abs/1903.10145
    """

    def __init__(
        self, epochs: int, ratio: float = 0.5, start: float = 0.0, end: float = 1.0
    ) -> None:
        super().__init__(epochs, start, end)
        if not (isinstance(ratio, numbers.Real) and 0 < ratio <= 1):
            raise ValueError(f"`ratio` must be above 0 and at most 1. Received: {ratio!r}")
        self.ratio = float(ratio)

    def part(self, epoch: float) -> float:
        return min((epoch % self.epochs + 1) / (self.ratio * self.epochs), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio}
