"""What the steps of all backends share: the players, whether all is well, and what is reported."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import replica
from keras_vae.metrics import Averages, Count
from keras_vae.training import Trainer, datasets, occurrence
from keras_vae.type_aliases import Tensor


@dataclasses.dataclass(frozen=True)
class Player:
    """A loss, the part of the model that it moves, and the optimizer that moves it.

    Most models have one player, themselves. Where there are several, every training step lets one
    after the other move, each against what those before it have become.

    Args:
        loss_and_terms: Function of a batch and of `training` that returns a scalar loss and a dict
            of the scalars that are reported.
        part: Keras model. Its trainable variables are differentiated and moved; all others stand.
        optimizer: Keras optimizer of these variables.
    """

    loss_and_terms: Callable
    part: keras.Model
    optimizer: keras.optimizers.Optimizer

    @property
    def variables(self) -> list[Any]:
        """The trainable variables of the part."""
        return self.part.trainable_variables

    @property
    def skips_updates(self) -> bool:
        """Whether the optimizer itself skips a non-finite gradient, which it then must see."""
        return isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)


class Steps(Trainer):
    """What a step does besides its gradients, which the backend's `Trainer` finds.

    A subclass writes `loss_and_terms`, calls `add_metrics` when its conditions are known, and has
    the attributes of a `GenerativeModel`.
    """

    has_one_loss = True  # not of a model whose players have a loss each

    def add_metrics(self) -> None:
        """Make what a step reports: the terms of the loss are added when they are known."""
        self.averages = Averages()
        self.skipped_updates = Count(name="skipped_updates")
        self.other_metrics = {}  # of terms that are no scalars to average
        # Nothing that Keras tracks, as it does until a model is built.
        self.untracked = types.SimpleNamespace(
            metrics=[],
            weighted_metrics=[],
            known_batches=set(),
            watches_labels=False,
            warned_of=set(),
        )
        self.occurrences = {
            name: occurrence.Occurrence(kind.num_classes + 1, f"{name}_occurrence")
            for name, kind in self.condition.items()
            if kind.kind == "categorical"
        }
        self.ignores_labels = False

    @property
    def loss_terms(self) -> tuple[str, ...]:
        """Names of the scalars that `loss_and_terms` reports, as far as they are known."""
        names = self.averages.names or ()
        return (*(n for n in names if n not in ("loss", "gradient_norm")), *self.other_metrics)

    def find_terms(self) -> None:
        """Make room for what the loss reports, by computing it once.

        A compiled step can make no variables. Where nothing is compiled, or the model is not built
        yet, the first step does it.

        Raises:
            ValueError: If a term is no scalar.
        """
        if self.averages.names is not None or not self.built:
            return
        batch = {"x": keras.KerasTensor((2, *self.data_shape), "float32")}
        for name, kind in self.condition.items():
            dtype = "float32" if kind.kind == "continuous" else "int32"
            batch[name] = keras.KerasTensor((2, *kind.value_shape), dtype)
        terms = self.terms_of(batch if self.condition else batch["x"])
        with self.building():
            self._name_terms(terms)

    def _name_terms(self, terms):
        for name, term in terms.items():
            if name not in self.other_metrics and tuple(term.shape):
                raise ValueError(
                    f"`{type(self).__name__}` must report scalars. Received: {name}, of shape "
                    f"{tuple(term.shape)}. Average it over the batch."
                )
        scalars = [name for name in terms if name not in self.other_metrics]
        self.averages.add(["loss"] * self.has_one_loss + scalars + ["gradient_norm"])

    def make_train_function(self, force: bool = False) -> Any:
        if self.needs_terms_first:
            self.find_terms()
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        if self.needs_terms_first:
            self.find_terms()
        return super().make_test_function(force)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The whole loss of a batch, as `fit` lowers it; a subclass changes `loss_and_terms`.

        Args:
            x: Batch, as in `fit`.
            y: Optional target, where it is not `x` itself.
            y_pred: None: the model is called with draws of its own.
            sample_weight: Optional float `(batch,)`.
            training: Bool.

        Returns:
            float32 scalar, nats per example.
        """
        if y_pred is not None:
            raise ValueError(
                "`compute_loss` takes no `y_pred`, because it calls the model itself. Received: "
                f"{type(y_pred).__name__}. Leave it out."
            )
        loss, terms = self.loss_and_terms((x, y, sample_weight), training)
        if loss is None:
            raise ValueError(
                f"`compute_loss` needs a model of one loss. Received: a {type(self).__name__}, "
                f"which has {', '.join(terms)}. Call `loss_and_terms`."
            )
        return loss

    @property
    def players(self) -> tuple[Player, ...]:
        """Who moves in a training step, in this order."""
        return (Player(self.loss_and_terms, self, self.optimizer),)

    def _validity(self, given, target, conditions):
        """1 for an example, NaN for one that likelihood or a condition excludes: `(batch,)`.

        Arrays are checked before training; batches of a dataset only here. The loss of such an
        example is NaN, which makes the step skip its update, and a run of those stops training.

        Args:
            given: The target as it came.
            target: The same as floats.
            conditions: Dict of tensors.
        """
        checks = [kind.valid(conditions[name]) for name, kind in self.condition.items()]
        # 8-bit images cannot be out of range.
        dtype = keras.backend.standardize_dtype(given.dtype)
        if dtype != "uint8" or self.likelihood.holds_tokens:
            checks.append(self.likelihood.valid(target))
        valid = functools.reduce(ops.logical_and, checks, ops.ones(ops.shape(target)[:1], "bool"))
        return ops.where(valid, 1.0, float("nan"))

    def gradient_norm(
        self, player: Player, norm: Tensor, earlier: Sequence[Any] = ()
    ) -> tuple[Tensor, Tensor]:
        """Return the norm of the gradients without loss scale, and whether all is well.

        Args:
            player: The `Player` whose gradients they are.
            norm: float32 scalar, the Euclidean norm of all its gradients joined.
            earlier: What the players before it measured in this step. After one whose gradient
                was not finite nobody moves, but for an optimizer that decides for itself.

        Returns:
            Tuple of a float32 scalar and a bool scalar.
        """
        if player.skips_updates:
            norm = norm / ops.cast(player.optimizer.scale_loss(ops.ones(())), "float32")
        finite = ops.isfinite(norm)
        return norm, ops.logical_and(earlier[-1][-1], finite) if earlier else finite

    @property
    def optimizer_skips_updates(self) -> bool:
        """Whether an optimizer itself skips a non-finite gradient, as in mixed precision."""
        return any(player.skips_updates for player in self.players)

    def track_players(self, data: Any, measured: Sequence[Any]) -> dict[str, Any]:
        """As `track`, of what the players of one training step measured.

        Args:
            data: The batch.
            measured: List with the loss, terms, norm and finiteness of every player.
        """
        if len(measured) == 1:
            return self.track(data, *measured[0])
        _, terms, norms, finite = zip(*measured, strict=True)
        together = {name: value for own in terms for name, value in own.items()}
        norm = ops.sqrt(sum(ops.square(norm) for norm in norms))
        return self.track(data, None, together, norm, finite[-1])

    @property
    def buffers(self) -> list[Any]:
        """Float state that a forward pass changes, such as the averages of batch normalisation."""
        return [v for v in self.non_trainable_variables if "float" in v.dtype]

    def track(
        self,
        data: Any,
        loss: Tensor | None,
        terms: Mapping[str, Tensor],
        norm: Tensor | None = None,
        finite: Tensor | None = None,
    ) -> dict[str, Any]:
        """Update the metrics with one step and return their values by name.

        A step whose update was skipped counts in `skipped_updates` and nowhere else.

        Args:
            data: The batch.
            loss: Scalar, or None of a model of several losses.
            terms: Dict of scalars.
            norm: Scalar, the gradient's, in training.
            finite: Bool scalar, whether the update was made, in training.
        """
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        rows = replica.current().weight(ops.shape(keras.tree.flatten(x)[0])[0])
        weight = ops.cast(rows, "float32")
        values = dict(terms) if loss is None else {"loss": loss, **terms}
        if self.averages.names is None:
            self._name_terms(terms)
        reported = {n: self.other_metrics[n] for n in values if n in self.other_metrics}
        if norm is not None:
            values = {name: ops.where(finite, value, 0.0) for name, value in values.items()}
            kept = ops.cast(finite, "float32")
            weight = weight * kept
            values["gradient_norm"] = ops.where(finite, norm, 0.0)
            self.skipped_updates.update_state(1.0 - kept)
            if self.untracked.watches_labels:
                self._see_labels(data)
        others = {name: values.pop(name) for name in reported}
        for name, metric in reported.items():
            metric.update_state(others[name], weight)
        # Of gradients every step counts the same, however many rows it has.
        self.averages.update_state(values, weight, {} if norm is None else {"gradient_norm": kept})
        logs = {name: value for name, value in self.averages.result().items() if name in values}
        logs |= {name: metric.result() for name, metric in reported.items()}
        if norm is not None:
            logs["skipped_updates"] = self.skipped_updates.result()
        if self.untracked.metrics or self.untracked.weighted_metrics:
            logs |= self._measure_reconstruction(data, finite)
        return logs

    def _measure_reconstruction(self, data, finite):
        """Update the metrics that `compile` was given; of a skipped step they count nothing."""
        inputs, target, sample_weight = datasets.unpack(self, data)
        target = self.split_inputs(inputs)[0] if target is None else self.as_values(target)
        made = ops.cast(self.reconstruction(data), target.dtype)
        counted = ops.ones(ops.shape(target)[:1])
        if finite is not None:
            target = ops.where(finite, target, made)
            counted = counted * ops.cast(finite, "float32")
        for metric in self.untracked.metrics:
            metric.update_state(target, made, counted)
        if sample_weight is not None:
            counted = counted * ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
        for metric in self.untracked.weighted_metrics:
            metric.update_state(target, made, counted)
        return {
            m.name: m.result() for m in (*self.untracked.metrics, *self.untracked.weighted_metrics)
        }

    def _see_labels(self, data):
        _, conditions = self.named_inputs(datasets.unpack(self, data).inputs)
        for name, tracker in self.occurrences.items():
            tracker.update_state(self.condition[name].occurrence(conditions[name]))

    def _watch_labels(self, watches):
        """Let the steps of this training see which labels occur, or not."""
        if watches != self.untracked.watches_labels:
            self.untracked.watches_labels = watches
            self.forget_compiled()

    @property
    def metrics(self) -> list[Any]:
        return [
            self.averages,
            *self.other_metrics.values(),
            self.skipped_updates,
            *self.occurrences.values(),
            *self.untracked.metrics,
            *self.untracked.weighted_metrics,
        ]

    def _flatten_metrics_in_order(self, logs):
        """As Keras does, in the order of the terms, which are the results of one metric."""
        names = [*(self.averages.names or ()), *(m.name for m in self.metrics)]
        values = [logs[name] for name in names if name in logs]
        return values[0] if len(values) == 1 else values
