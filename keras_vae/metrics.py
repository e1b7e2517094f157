"""Metrics that the models report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class Average(keras.metrics.Mean):
    """A weighted mean that is NaN, not 0, when nothing was counted.

    An epoch whose every update was skipped must not report a loss of 0.

    Example:

    >>> import keras_vae
    >>> metric = keras_vae.metrics.Average("kl")
    >>> metric.update_state(2.0)
    >>> metric.update_state(4.0, weight=3.0)
    >>> float(metric.result())
    3.5

    See also:
        `Averages`, of several terms in one variable.
    """

    def update_state(self, value: Tensor, weight: Tensor = 1.0) -> None:
        """Count a scalar with a weight.

        Args:
            value: float32 scalar.
            weight: float32 scalar.
        """
        self.total.assign_add(value * weight)
        self.count.assign_add(weight)

    def result(self) -> Tensor:
        return self.total / self.count


@keras.saving.register_keras_serializable("keras_vae")
class Averages(keras.metrics.Metric):
    """Weighted means of several scalars, by name: NaN of what was never counted.

    Args:
        names: Optional list of str. Defaults to those of the first update.

    Example:

    >>> import keras_vae
    >>> metric = keras_vae.metrics.Averages()
    >>> metric.update_state({"loss": 90.0, "kl_loss": 20.0})
    >>> {name: float(value) for name, value in metric.result().items()}
    {'loss': 90.0, 'kl_loss': 20.0}

    See also:
        `Average`.
    """

    def __init__(
        self, names: Sequence[str] | None = None, name: str = "averages", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.names = None
        if names:
            self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Make the variables, for these names."""
        self.names = tuple(names)
        size = (len(self.names),)
        self.total = self.add_variable(size, "zeros", name="total")
        self.count = self.add_variable(size, "zeros", name="count")

    def update_state(
        self,
        values: Mapping[str, Tensor],
        weight: Tensor = 1.0,
        other_weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Count scalars with a weight.

        Args:
            values: Dict of float32 scalars.
            weight: float32 scalar.
            other_weights: Optional dict of float32 scalars, for those that have a weight of their
                own.

        Raises:
            ValueError: If a name is new.
        """
        if self.names is None:
            self.add(values)
        if unknown := set(values).difference(self.names):
            raise ValueError(
                f"Every step must report the same terms, {', '.join(self.names)}. Received: "
                f"{', '.join(sorted(unknown))} besides."
            )
        zero = ops.zeros(())
        other_weights = other_weights or {}
        weights = ops.stack(
            [
                ops.cast(other_weights.get(name, weight), "float32") if name in values else zero
                for name in self.names
            ]
        )
        values = [ops.cast(values.get(name, zero), "float32") for name in self.names]
        self.total.assign_add(ops.stack(values) * weights)
        self.count.assign_add(weights)

    def result(self) -> dict[str, Tensor]:
        """Dict of float32 scalars."""
        if self.names is None:
            return {}
        means = ops.unstack(self.total / self.count)
        return dict(zip(self.names, means, strict=True))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "names": self.names}


@keras.saving.register_keras_serializable("keras_vae")
class Count(keras.metrics.Metric):
    """How often something happened that all replicas of a model see: each of them counts it.

    Example:

    >>> import keras_vae
    >>> metric = keras_vae.metrics.Count("skipped_updates")
    >>> metric.update_state(1.0)
    >>> float(metric.result())
    1.0
    """

    def __init__(self, name: str = "count", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", aggregation="only_first_replica", name="total")

    def update_state(self, value: Tensor, weight: Tensor = 1.0) -> None:
        """Count a float32 scalar, 1 where it happened, with a weight."""
        self.total.assign_add(value * weight)

    def result(self) -> Tensor:
        return ops.convert_to_tensor(self.total)


@keras.saving.register_keras_serializable("keras_vae")
class Perplexity(keras.metrics.Metric):
    """How many codes would carry as much if all were used equally: `exp` of the usage's entropy.

    The usage is that of all batches together: the entropy of a small batch alone is too low. NaN
    when nothing was counted.

    Args:
        num_codes: Int.
        name: String.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> metric = keras_vae.metrics.Perplexity(num_codes=4)
    >>> metric.update_state(ops.array([0.5, 0.5, 0.0, 0.0]))
    >>> round(float(metric.result()), 3)
    2.0

    See also:
        `VQVAE`, which reports it.
    """

    def __init__(self, num_codes: int, name: str = "perplexity", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.num_codes = num_codes
        self.total = self.add_variable((num_codes,), "zeros", name="total")

    def update_state(self, usage: Tensor, weight: Tensor = 1.0) -> None:
        """Count the usage of a batch with a weight.

        Args:
            usage: float32 `(num_codes,)`, each code's share.
            weight: float32 scalar.
        """
        self.total.assign_add(ops.broadcast_to(usage * weight, (self.num_codes,)))

    def result(self) -> Tensor:
        share = self.total / ops.sum(self.total)
        # A code that is never used adds nothing: the logarithm's argument is 1 there.
        return ops.exp(-ops.sum(share * ops.log(ops.where(share > 0, share, 1.0)), axis=-1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_codes": self.num_codes}
