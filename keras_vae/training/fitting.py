"""Plain Keras `compile`, `fit` and `evaluate`, with the edges checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_vae import arguments, keras_internals, seeds
from keras_vae.training import datasets, occurrence, resuming
from keras_vae.training import inputs as model_inputs
from keras_vae.training.bar import with_bar
from keras_vae.training.batched import rows_of
from keras_vae.training.callbacks import StopOnSkippedUpdates, looks_at_batches
from keras_vae.training.checkpoint import Checkpoint
from keras_vae.training.players import as_optimizer
from keras_vae.training.ranges import LearnsRanges
from keras_vae.training.steps import Steps

STEPS_AT_ONCE = 16


class Fitting(LearnsRanges, Steps):
    """What a model needs to be trained and measured, as `Steps` says it, by plain Keras."""

    has_target = True
    reconstructs = False  # whether `reconstruction` makes what came in, for metrics
    input_name = "x"

    def _symbolic_build(self, iterator=None, data_batch=None):
        """As Keras does; what is wrong with the first batch is said before, in one line."""
        if not self.built:
            if data_batch is None:
                _, _, first = next(iter(iterator))
                data_batch = first[0] if isinstance(first, list | tuple) else next(first)
            data_batch = datasets.unpack(self, data_batch)
        super()._symbolic_build(iterator, data_batch)

    def before_fit(self, x: Any) -> None:
        """What a family does before it is trained on data, as `fit` takes them."""

    def strata_of(self, x: Any) -> Any:
        """`strata.Strata` by which an epoch draws the rows of arrays, or None for each once."""
        return None

    def check_batch(self, data: Any) -> None:
        """Check a batch of a dataset, given as tensors that may be symbolic; build the model."""
        datasets.unpack(self, data)

    def check_dtype(self, dtype: str) -> None:
        """Check that examples of a dtype, given by its name, have a meaning for the model."""
        model_inputs.check_dtype(self, dtype)

    # Plain Keras, with the edges checked

    def compile(
        self,
        optimizer: Any = "adam",
        loss: None = None,
        loss_weights: None = None,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        *,
        steps_per_execution: int | Literal["auto"] = "auto",
        **kwargs: Any,
    ) -> None:
        """Configure training, as in Keras.

        The model's loss is its own, so `loss` is refused, not ignored.

        Args:
            optimizer: Keras optimizer.
            loss, loss_weights: None.
            metrics: Optional list of Keras metrics, their names, or functions, of the target and
                its reconstruction, the likelihood's mean at the code without noise.
            weighted_metrics: As `metrics`, weighted by the sample weights.
            steps_per_execution: Int, steps between two looks of callbacks; or "auto", for 16 where
                that is faster (TensorFlow, and JAX but for convolutions on a CPU) and no callback
                of a `fit` looks at batches, else 1. PyTorch has 1 only.
            **kwargs: `run_eagerly`, `auto_scale_loss` and `jit_compile`: "auto" is True on JAX,
                and on TensorFlow with a GPU (XLA is slower on a CPU). On PyTorch True traces a
                step once for every shape of a batch and replays it, with the same results in less
                time; a model that decides by a tensor's value goes on without, with a warning.
                There "auto" does so from the 32nd batch of a shape on, of a model whose class,
                layers, activations and other parts are all Keras' or this package's.
        """
        for name, value in {"loss": loss, "loss_weights": loss_weights}.items():
            if value is not None:
                raise ValueError(
                    f"`compile` takes no `{name}`: {type(self).__name__} has its own loss, set by "
                    f"`likelihood`, and reports its terms. Received: {value!r}"
                )
        self.untracked.metrics = [self._metric(given) for given in metrics or ()]
        self.untracked.weighted_metrics = [self._metric(given) for given in weighted_metrics or ()]
        if type(self).compute_loss is not Fitting.compute_loss:
            raise ValueError(
                f"`{type(self).__name__}` must change its loss by `loss_and_terms`, which `fit` "
                "calls. Received: one that overrides `compute_loss`."
            )
        if steps_per_execution != "auto":
            arguments.whole(steps_per_execution, "steps_per_execution")
        optimizer = as_optimizer(optimizer, "optimizer")
        self.chooses_steps = steps_per_execution == "auto"
        steps = 1 if self.chooses_steps else steps_per_execution
        super().compile(optimizer=optimizer, steps_per_execution=steps, **kwargs)

    def _metric(self, given):
        """A Keras metric of data and their reconstructions, from what `compile` takes."""
        if not self.reconstructs:
            raise ValueError(
                f"`metrics` need a model that reconstructs. Received: {given!r} for a "
                f"{type(self).__name__}."
            )
        if isinstance(given, dict):
            given = keras.saving.deserialize_keras_object(given)
        metric = keras.metrics.get(given)
        if not isinstance(metric, keras.metrics.Metric):
            metric = keras.metrics.MeanMetricWrapper(metric, name=metric.__name__)
        if isinstance(given, str):  # as Keras reports it
            metric = type(metric).from_config({**metric.get_config(), "name": given})
        return metric

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        if not config:
            return config
        steps = "auto" if self.chooses_steps else self.steps_per_execution
        given = {
            "metrics": self.untracked.metrics or None,
            "weighted_metrics": self.untracked.weighted_metrics or None,
        }
        given = {name: keras.saving.serialize_keras_object(v) for name, v in given.items() if v}
        return {**config, **given, "steps_per_execution": steps, "backend": keras.backend.backend()}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = keras.saving.deserialize_keras_object(config)
        if config.pop("backend", None) != keras.backend.backend():
            # How steps are run was resolved for one backend: jit_compile is True on JAX, which
            # costs a minute of compilation on torch, where steps_per_execution is refused.
            config = {**config, "jit_compile": "auto", "steps_per_execution": "auto"}
        self.compile(**config)
        if self.built:
            self.build_optimizer()

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Any] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: None = None,
        sample_weight: ArrayLike | None = None,
        steps_per_epoch: int | None = None,
        validation_batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Train, as in Keras.

        Args:
            x: Array `(n, *data_shape)`; a dict of arrays for a conditional model; or a
                `tf.data.Dataset`, `PyDataset`, `DataLoader` or generator of batches of these,
                each batch alone or in a tuple such as `(x,)` or `(x, y, sample_weight)`. In pairs
                of images and labels, a model whose one condition is a label takes it, and one
                without conditions ignores it and says so. Batches are checked for shapes and
                dtypes before the first step, and for values in every step. A pandas or polars
                frame of numbers is an array `(n, columns)`. The dtype alone says
                what values mean: uint8 is an 8-bit picture, 0 to 255 for 0 to 1, and becomes
                floats batch by batch; bools are 0 and 1; all other numbers are what they are.
                A `Continuous` without a range takes that of the data, in the first `fit` alone; of
                a dataset by one pass over it, which needs a known length.
                Where a label is *unknown*, every class must occur somewhere: arrays are looked at
                before, a dataset is through the first epoch of a `fit`, which may be a part of it.
            y: Optional array like `x`'s images: the target, where it is not `x` itself.
            sample_weight: Optional array `(n,)`. Weights an example's whole loss, KL included.
            callbacks: As in Keras. `callbacks.StopOnSkippedUpdates` is added unless passed.
            **kwargs: The other arguments of Keras' `fit`, with Keras' meaning. Arrays are checked
                first and shuffled by the model's seed and the epoch.

        Returns:
            Keras' `History`: per epoch the terms of the loss, such as `loss`,
            `reconstruction_loss` and `kl_loss` (nats per example), `gradient_norm` and
            `skipped_updates`.
        """
        if class_weight is not None:
            raise ValueError("`fit` takes no `class_weight`. Pass `sample_weight` instead.")
        if model_inputs.is_array(x):
            given = x
            x, y, sample_weight = model_inputs.check_fit_data(self, x, y, sample_weight)
            model_inputs.check_layout(self, (None, *self.data_shape))
            model_inputs.warn_of_darkness(x)
            occurrence.check_occurrence(self, given)
            if validation_split and validation_data is None:
                (x, y, sample_weight), validation_data = split_off(
                    (x, y, sample_weight), validation_split
                )
            self.learn_ranges(x)
        if validation_data is not None:
            validation_data = self._check_validation_data(
                validation_data, validation_batch_size or batch_size or 32
            )
        self.check_logits()
        self.before_fit(x)
        callbacks = self._add_callbacks(callbacks)
        checkpoint = next((c for c in callbacks if isinstance(c, Checkpoint)), None)
        batches, watches_labels = None, False
        if model_inputs.is_array(x):
            strata = self.strata_of(x) if shuffle is True and steps_per_epoch is None else None
            if strata is not None and y is None:
                y = x["x"] if isinstance(x, dict) else x  # Keras drops weights without a target
            arrays = (x, y, sample_weight)
            is_repeatable = steps_per_epoch is None and (shuffle is True or checkpoint is not None)
            is_ours = is_repeatable or self.divides_batches
            if is_ours or model_inputs.is_in_files(arrays):
                seed = self._shuffle_seed
                batches = model_inputs.Batches(arrays, batch_size or 32, seed, strata)
                validation_batch_size = validation_batch_size or batch_size
                if shuffle:
                    callbacks.append(model_inputs.ShuffleEachEpoch(batches))
                x, y, sample_weight, batch_size = self.as_dataset(batches), None, None, None
                shuffle = False
        else:
            x = self._check_dataset(x)
            if validation_split and validation_data is None:
                raise ValueError(
                    "`validation_split` needs arrays, as a dataset is not split. Received: "
                    f"{validation_split} and a {type(x).__name__}. Pass validation_data instead."
                )
            if self.built:
                model_inputs.check_layout(self, (None, *self.data_shape))
            self.learn_ranges_of_batches(x)
            if self.occurrences:
                callbacks.append(occurrence.CheckOccurrence())
                watches_labels = True
            if not isinstance(x, keras.utils.PyDataset):
                shuffle = False  # has no meaning there, and Keras warns of its own default
        self._watch_labels(watches_labels)
        if checkpoint is not None:
            self.find_terms()  # it restores the averages of an epoch, too
        if self.compiled:
            self._choose_steps(callbacks, steps_per_epoch is None and has_length(x))
        if self.built and self.compiled:
            self._check_trainable()
            if not self.optimizer.built:
                # TensorFlow traces a step that creates variables twice.
                with self.building():
                    self.optimizer.build(self.trainable_variables)
        settings = {
            "y": y,
            "batch_size": batch_size,
            "epochs": epochs,
            "verbose": verbose,
            "callbacks": callbacks,
            "validation_data": validation_data,
            "shuffle": shuffle,
            "sample_weight": sample_weight,
            "steps_per_epoch": steps_per_epoch,
            "validation_batch_size": validation_batch_size,
            **kwargs,
        }
        own_errors = batches.own_errors() if batches else contextlib.nullcontext()
        repeatable = batches if steps_per_epoch is None else None
        with own_errors, datasets.names_explained(self):
            return resuming.fit(self, super().fit, x, settings, repeatable, self.as_dataset)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: ArrayLike | None = None,
        callbacks: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Measure the loss and its terms with drawn codes, as in Keras.

        The draws are the same in every call, those of the seed and the batches, and training goes
        on as if there had been none.

        Args:
            x: As in `fit`.
            y: As in `fit`.
            sample_weight: As in `fit`.
            callbacks: As in Keras.
            **kwargs: The other arguments of Keras' `evaluate`.

        Returns:
            `[loss, reconstruction_loss, kl_loss]` in nats per example, or a dict of them with
            `return_dict=True`.
        """
        if model_inputs.is_array(x):
            x, y, sample_weight = model_inputs.check_fit_data(self, x, y, sample_weight)
            x, y, sample_weight = self._in_order((x, y, sample_weight), batch_size or 32)
            batch_size = batch_size if model_inputs.is_array(x) else None
            are_checked = True
        else:
            are_checked = isinstance(x, model_inputs.Batches)
            x = self._check_dataset(x)
        with datasets.names_explained(self), self.same_draws():
            measured = super().evaluate(
                x,
                y,
                batch_size=batch_size,
                verbose=verbose,
                sample_weight=sample_weight,
                callbacks=with_bar(callbacks),
                **kwargs,
            )
        if not are_checked and np.isnan([float(v) for v in keras.tree.flatten(measured)]).any():
            low, high = self.likelihood.data_range
            raise ValueError(
                "Batches must give a loss. Received: NaN. Look for NaN in the data, for values "
                f"outside of the {self.likelihood.name} likelihood's [{low:g}, {high:g}], and for "
                "labels that are no class."
            )
        return measured

    @contextlib.contextmanager
    def same_draws(self) -> Iterator[None]:
        """Within the block draw what every such block draws, and leave the generators alone."""
        states = [(state, ops.convert_to_numpy(state)) for state in self._random_states()]
        for state, (seed, _) in states:
            state.assign(np.array([seeds.fold(int(seed), "evaluate"), 0], "uint32"))
        try:
            yield
        finally:
            for state, value in states:
                state.assign(value)

    def _check_dataset(self, dataset):
        """A dataset as Keras takes it, and the model built where its shape is known."""
        dataset = datasets.as_keras_takes_it(dataset)
        if self.data_shape is not None:
            self._ensure_built()
        return dataset

    def _check_trainable(self):
        """Refuse to train nothing, and other weights than the optimizers were made for."""
        if not self.learns:
            raise ValueError(
                f"`fit` needs weights to train. Received: {type(self).__name__} with all parts "
                f"frozen. Set trainable=True of one: {', '.join(self.part_names)}."
            )
        for player in self.players:
            if not player.optimizer.built:
                continue
            known = {id(variable) for variable in keras_internals.known_variables(player.optimizer)}
            if changed := known ^ {id(variable) for variable in player.variables}:
                raise ValueError(
                    "`fit` trains the weights that were trainable when the model was compiled. "
                    f"Received: {len(changed)} whose `trainable` has changed since. Call compile "
                    "again."
                )

    @property
    def learns(self) -> bool:
        """Whether there is anything that training changes."""
        return bool(self.trainable_variables)

    def check_logits(self, by_values: bool = True) -> None:
        """Refuse networks that end in a sigmoid where the loss takes logits.

        Args:
            by_values: Whether to run those whose layers do not tell.

        Raises:
            ValueError: As `logits.check`.
        """

    def fault(self) -> str | None:
        try:
            self.check_logits(by_values=False)
        except ValueError as err:
            return f"squashes what it makes twice. {err}"

    def _check_validation_data(self, validation_data, batch_size):
        x, y, sample_weight = datasets.unpack_validation(validation_data)
        if not model_inputs.is_array(x):
            return datasets.as_keras_takes_it(validation_data, "validation_data")
        arrays = self._in_order(model_inputs.check_fit_data(self, x, y, sample_weight), batch_size)
        return arrays if model_inputs.is_array(arrays[0]) else arrays[0]

    def _in_order(self, arrays, batch_size):
        """Arrays `(x, y, sample_weight)`, or batches of them where Keras' own do not serve."""
        if not self.divides_batches and not model_inputs.is_in_files(arrays):
            return arrays
        return self.divided(model_inputs.Batches(arrays, batch_size)), None, None

    def _add_callbacks(self, callbacks):
        """A list of callbacks, in the order that ours need."""
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = callbacks.callbacks
        callbacks = with_bar(callbacks)
        if not any(isinstance(callback, StopOnSkippedUpdates) for callback in callbacks):
            callbacks.append(StopOnSkippedUpdates())
        # A checkpoint holds what others change at the end of an epoch, and brings back the count
        # of skipped updates before anything looks at it.
        is_last = [StopOnSkippedUpdates, Checkpoint]
        return sorted(callbacks, key=lambda c: [isinstance(c, kind) for kind in is_last])

    def _choose_steps(self, callbacks, knows_end):
        """Take several steps at once where that is faster and nobody looks at each."""
        if not self.chooses_steps:
            return
        alone = any(looks_at_batches(callback) for callback in callbacks)
        # Where an epoch ends early, Keras would take some of the next one's batches.
        alone = alone or self.run_eagerly or not knows_end
        steps = STEPS_AT_ONCE if self.groups_steps and not alone else 1
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = self.predict_function = None

    def _shuffle_seed(self):
        return int(ops.convert_to_numpy(self.seed_generator.state)[0])


def has_length(data):
    """Whether arrays or a dataset know how many there are."""
    try:
        len(data)
    except TypeError:
        return False
    return True


def split_off(arrays, fraction):
    """Set the last `fraction` of the arrays aside, as Keras' `validation_split` does."""
    count = len(keras.tree.flatten(arrays)[0])
    at = int(np.floor(count * (1 - fraction)))
    if not 0 < at < count:
        raise ValueError(
            f"`validation_split` must leave examples on both sides. Received: {fraction} of "
            f"{count} examples."
        )
    return rows_of(arrays, slice(at)), rows_of(arrays, slice(at, None))
