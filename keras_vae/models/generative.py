"""What every generative model shares: inputs, decoding, steps, metrics, saving."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_vae import arguments, keras_internals, likelihoods, seeds
from keras_vae.exceptions import is_out_of_memory
from keras_vae.layers.conditioning import Conditioning
from keras_vae.metrics import Average, Count
from keras_vae.storage.stored import StoredModel
from keras_vae.training import (
    Trainer,
    compiles_each_shape,
    datasets,
    occurrence,
    resuming,
    share,
)
from keras_vae.training import inputs as model_inputs
from keras_vae.training.bar import with_bar
from keras_vae.training.callbacks import StopOnSkippedUpdates, looks_at_batches
from keras_vae.training.checkpoint import Checkpoint
from keras_vae.training.compiled import CompiledFunctions
from keras_vae.version import __version__

STEPS_AT_ONCE = 16


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
    def variables(self):
        """The trainable variables of the part."""
        return self.part.trainable_variables

    @property
    def skips_updates(self):
        """Whether the optimizer itself skips a non-finite gradient, which it then must see."""
        return isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)


class GenerativeModel(Trainer, StoredModel):
    """Networks, of which one decodes a latent code, and a likelihood, trained by plain `fit`.

    A subclass writes `build` and `loss_and_terms`. Everything else is here, but for the gradient
    steps, which are in `keras_vae.training`, one file per backend.

    Args:
        parts: Dict from the name of an argument and attribute to the Keras model that it is. The
            `decoder` maps `z`, or `[z, condition]`, to the likelihood's parameters.
        likelihood: Name or object of `keras_vae.likelihoods`.
        condition: Optional dict from name to `Categorical` or `Continuous`.
        seed: Optional int, for all draws of the model and for the order of the batches. The same
            seed (and the same initial weights) on the same backend gives the same weights.
    """

    loss_terms = ()
    conditional = False
    conditional_class = "ConditionalVAE"
    has_target = True
    input_name = "x"
    latent_dim = None
    makes_data = True

    def __init__(self, parts, likelihood="bernoulli", condition=None, seed=None, **kwargs):
        if condition and not self.conditional:
            raise ValueError(
                f"`{type(self).__name__}` takes no `condition`. Use `{self.conditional_class}`."
            )
        # Without autocast, data and sample weights keep their precision under mixed policies; the
        # layers inside cast for themselves.
        super().__init__(autocast=False, **kwargs)
        self.part_names = tuple(parts)
        for name, part in parts.items():
            setattr(self, name, arguments.layer(part, name))
        self.likelihood = likelihoods.get(likelihood)
        # Not on the class: on PyTorch that would hide a layer of this name.
        self.prior = None
        self.condition = dict(condition or {})
        self.conditioning = Conditioning(self.condition, seed) if self.condition else None
        self.seed = seed
        self.seed_generator = seeds.stream(seed, "model")
        self.data_shape = getattr(self.decoder, "data_shape", None)
        self.trackers = {name: Average(name=name) for name in self.reported}
        self.gradient_norm_tracker = Average(name="gradient_norm")
        self.skipped_updates_tracker = Count(name="skipped_updates")
        self.occurrences = {
            name: occurrence.Occurrence(kind.num_classes + 1, f"{name}_occurrence")
            for name, kind in self.condition.items()
            if kind.kind == "categorical"
        }
        self.compiled_functions = CompiledFunctions()
        self.knows_terms = False
        self.ignores_labels = False

    # Building

    def get_build_config(self):
        if not self.built:
            return None
        sizes = {"data_shape": list(self.data_shape), "keras_vae": __version__}
        return {**sizes, **self.frozen()}

    def build_from_config(self, config):
        if config:
            self.build((None, *config["data_shape"]))
            self.freeze(config)

    def _ensure_built(self):
        if not self.built:
            self.build_for()

    build_for_weights = _ensure_built

    def build_for(self, input_shape=None):
        """As `build`, on all devices that the model is to train on."""
        if input_shape is not None:
            model_inputs.check_layout(self, input_shape)
        with self.building():
            self.build(input_shape)

    def _symbolic_build(self, iterator=None, data_batch=None):
        """As Keras does; what is wrong with the first batch is said before, in one line."""
        if not self.built:
            if data_batch is None:
                _, _, first = next(iter(iterator))
                data_batch = first[0] if isinstance(first, list | tuple) else next(first)
            data_batch = datasets.unpack(self, data_batch)
        super()._symbolic_build(iterator, data_batch)

    # The model as a function of tensors

    def split_inputs(self, inputs):
        """Return `x` and the dict of conditions, or raise a ValueError that names what is missing.

        Args:
            inputs: `x`, or a dict with `"x"` and every condition's name. What is no float becomes
                float32 here, by its dtype alone: uint8 is an 8-bit picture, 0 to 255 for 0 to 1.
        """
        x, conditions = self.named_inputs(inputs)
        return model_inputs.as_float(x), conditions

    def named_inputs(self, inputs):
        """As `split_inputs`, with `x` as it came."""
        if not isinstance(inputs, dict):
            if self.condition:
                raise ValueError(
                    f"`{type(self).__name__}` needs a dict with the keys {self._keys()}. "
                    f"Received: {type(inputs).__name__}. Pass conditions in the input: "
                    'fit({"x": x, "label": y}).'
                )
            return inputs, {}
        if set(inputs) != {"x", *self.condition}:
            raise ValueError(
                f"The input dict must have the keys {self._keys()}. Received: {sorted(inputs)}."
            )
        return inputs["x"], {name: inputs[name] for name in self.condition}

    def _keys(self):
        return ["x", *self.condition]

    def encode_condition(self, conditions, training=None):
        """Return the conditions' joint vector `(batch, size)`, or None without conditions."""
        return self.conditioning(conditions, training=training) if self.condition else None

    def condition_vectors(self, conditions):
        """As `encode_condition`, from arrays to a float32 array `(n, size)`."""
        if not self.condition:
            return None

        def encode(batch):
            return [self.encode_condition(batch, training=False)]

        return in_batches(encode, conditions, batch_size=1024)[0]

    def decode_mean(self, z, conditions=None):
        """Decode to the likelihood's mean, as tensors: what a device computes.

        Args:
            z: Float tensor `(batch, latent)`.
            conditions: Dict of tensors, int `(batch,)` or float `(batch, dim)` by kind.

        Returns:
            float32 tensor `(batch, *data_shape)` in the data's range.
        """
        return self.likelihood.mean(self.decode_parameters(z, conditions))

    def decode_parameters(self, z, conditions=None):
        """As `decode_mean`, the likelihood's parameters."""
        condition = self.encode_condition(conditions or {}, training=False)
        return self.decoder(join(z, condition), training=False)

    @property
    def example_shape(self):
        """Shape of one example, or None before it is known."""
        return self.data_shape

    def check_batch(self, data):
        """Check a batch of a dataset, given as tensors that may be symbolic; build the model."""
        datasets.unpack(self, data)

    def check_dtype(self, dtype):
        """Check that examples of a dtype, given by its name, have a meaning for the model."""
        model_inputs.check_dtype(self, dtype)

    # The loss, shared by the three backends' steps

    @property
    def reported(self):
        """Names of the scalars that are averaged over an epoch."""
        return ("loss", *self.loss_terms)

    def find_terms(self):
        """Report also what a class of one's own adds to the terms, before a step is compiled.

        A compiled step can make no tracker. So the loss is computed once, as shapes alone.

        Raises:
            ValueError: If a term is no scalar.
        """
        if self.knows_terms or not self.built:
            return
        if all(_is_ours(part) for part in (self, getattr(self, "objective", None))):
            return  # they say in `loss_terms` what they report
        batch = {"x": keras.KerasTensor((2, *self.data_shape))}
        for name, kind in self.condition.items():
            dtype = "int32" if kind.kind == "categorical" else "float32"
            batch[name] = keras.KerasTensor((2, *kind.value_shape), dtype)
        terms = _Terms(self).compute_output_spec(batch if self.condition else batch["x"])
        found = {name: term for name, term in terms.items() if name not in self.trackers}
        for name, term in sorted(found.items()):
            if tuple(term.shape):
                raise ValueError(
                    f"`{type(self).__name__}` must report scalars. Received: {name}, of shape "
                    f"{tuple(term.shape)}. Average it over the batch."
                )
        self.knows_terms = True
        self.loss_terms = (*self.loss_terms, *sorted(found))
        with keras_internals.unlocked(self), self.building():
            self.trackers.update({name: Average(name=name) for name in sorted(found)})

    def make_train_function(self, force=False):
        self.find_terms()
        return super().make_train_function(force)

    def make_test_function(self, force=False):
        self.find_terms()
        return super().make_test_function(force)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
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
    def players(self):
        """Who moves in a training step, in this order."""
        return (Player(self.loss_and_terms, self, self.optimizer),)

    def _validity(self, target, conditions):
        """Bool tensors `(batch,)`: False for an example that likelihood or a condition excludes.

        Arrays are checked before training; batches of a dataset only here. The loss of such an
        example is NaN, which makes the step skip its update, and a run of those stops training.
        """
        checks = [kind.valid(conditions[name]) for name, kind in self.condition.items()]
        # 8-bit images cannot be out of range.
        is_8_bit = keras.backend.standardize_dtype(target.dtype) == "uint8"
        if is_8_bit:
            return checks
        return [self.likelihood.valid(model_inputs.as_float(target)), *checks]

    def gradient_norm(self, player, gradients, earlier=()):
        """Return the gradients' joint norm, without loss scale, and whether all is well.

        Args:
            player: The `Player` whose gradients they are.
            gradients: List of tensors.
            earlier: What the players before it measured in this step. After one whose gradient
                was not finite nobody moves, but for an optimizer that decides for itself.

        Returns:
            Tuple of a float32 scalar and a bool scalar.
        """
        norm = self.global_norm(gradients)
        if player.skips_updates:
            norm = norm / ops.cast(player.optimizer.scale_loss(ops.ones(())), "float32")
        finite = ops.isfinite(norm)
        return norm, ops.logical_and(earlier[-1][-1], finite) if earlier else finite

    @property
    def optimizer_skips_updates(self):
        """Whether an optimizer itself skips a non-finite gradient, as in mixed precision."""
        return any(player.skips_updates for player in self.players)

    def joined(self, measured):
        """What the players of one step measured, as `track` takes it.

        Args:
            measured: List with the loss, terms, norm and finiteness of every player.
        """
        if len(measured) == 1:
            return measured[0]
        _, terms, norms, finite = zip(*measured, strict=True)
        together = {name: value for own in terms for name, value in own.items()}
        return None, together, ops.sqrt(sum(ops.square(norm) for norm in norms)), finite[-1]

    @property
    def buffers(self):
        """Float state that a forward pass changes, such as the averages of batch normalisation."""
        return [v for v in self.non_trainable_variables if "float" in v.dtype]

    def track(self, data, loss, terms, norm=None, finite=None):
        """Update the metrics with one step and return their values by name.

        A step whose update was skipped counts in `skipped_updates` and nowhere else.
        """
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        weight = ops.cast(share().weight(ops.shape(keras.tree.flatten(x)[0])[0]), "float32")
        trackers = dict(self.trackers)
        values = terms if loss is None else {"loss": loss, **terms}
        if norm is not None:
            values = {name: ops.where(finite, value, 0.0) for name, value in values.items()}
            weight = ops.where(finite, weight, 0.0)
            kept = ops.cast(finite, "float32")
            self.gradient_norm_tracker.update_state(ops.where(finite, norm, 0.0), kept)
            self.skipped_updates_tracker.update_state(1.0 - kept)
            trackers["gradient_norm"] = self.gradient_norm_tracker
            trackers["skipped_updates"] = self.skipped_updates_tracker
            _, conditions = self.named_inputs(datasets.unpack(self, data)[0])
            for name, tracker in self.occurrences.items():
                tracker.update_state(self.condition[name].occurrence(conditions[name]))
        if unknown := sorted(set(values).difference(trackers)):
            # On TensorFlow, from a dataset, where the first step builds the model.
            raise ValueError(
                f"`{type(self).__name__}` reports {', '.join(unknown)}, for which it must be built "
                "before its first step. Received: one that is not. Call model.build((None, 28, 28, "
                "1)), with the shape of the data."
            )
        for name, value in values.items():
            trackers[name].update_state(value, weight)
        return {name: tracker.result() for name, tracker in trackers.items()}

    @property
    def metrics(self):
        return [
            *self.trackers.values(),
            self.gradient_norm_tracker,
            self.skipped_updates_tracker,
            *self.occurrences.values(),
        ]

    # Plain Keras, with the edges checked

    def compile(
        self,
        optimizer="adam",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        *,
        steps_per_execution="auto",
        **kwargs,
    ):
        """Configure training, as in Keras.

        The model's loss is its own, so `loss` and `metrics` are refused, not ignored.

        Args:
            optimizer: Keras optimizer.
            loss, loss_weights, metrics, weighted_metrics: None.
            steps_per_execution: Int, steps between two looks of callbacks; or "auto", for 16 where
                that is faster (TensorFlow, and JAX but for convolutions on a CPU) and no callback
                of a `fit` looks at batches, else 1. PyTorch has 1 only.
            **kwargs: `run_eagerly`, `auto_scale_loss` and `jit_compile`: "auto" is True on JAX,
                and on TensorFlow with a GPU (XLA is slower on a CPU). On PyTorch True traces a
                step once for every shape of a batch and replays it, with the same results in less
                time; a model that decides by a tensor's value goes on without, with a warning.
        """
        refused = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        for name, value in refused.items():
            if value is not None:
                raise ValueError(
                    f"`compile` takes no `{name}`: {type(self).__name__} has its own loss, set by "
                    f"`likelihood`, and reports its terms. Received: {value!r}"
                )
        if type(self).compute_loss is not GenerativeModel.compute_loss:
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

    def get_compile_config(self):
        config = super().get_compile_config()
        if not config:
            return config
        steps = "auto" if self.chooses_steps else self.steps_per_execution
        return {**config, "steps_per_execution": steps, "backend": keras.backend.backend()}

    def compile_from_config(self, config):
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
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        steps_per_epoch=None,
        validation_batch_size=None,
        **kwargs,
    ):
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
                Where a label is *unknown*, every class must occur somewhere: arrays are looked at
                before, a dataset is through the first epoch of a `fit`, which may be a part of it.
            y: Optional array like `x`'s images: the target, where it is not `x` itself.
            sample_weight: Optional array `(n,)`. Weights an example's whole loss, KL included.
            callbacks: As in Keras. `callbacks.StopOnSkippedUpdates` is added unless passed.
            **kwargs: The other arguments of Keras' `fit`, with Keras' meaning. Arrays are checked
                first and shuffled by the model's seed and the epoch.

        Returns:
            Keras' `History`: per epoch what `reported` names, such as `loss`,
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
                (x, y, sample_weight), validation_data = _split(
                    (x, y, sample_weight), validation_split
                )
        if validation_data is not None:
            validation_data = self._check_validation_data(
                validation_data, validation_batch_size or batch_size or 32
            )
        self.check_logits()
        callbacks = self._add_callbacks(callbacks)
        checkpoint = next((c for c in callbacks if isinstance(c, Checkpoint)), None)
        batches = None
        if model_inputs.is_array(x):
            arrays = (x, y, sample_weight)
            is_repeatable = steps_per_epoch is None and (shuffle is True or checkpoint is not None)
            is_ours = is_repeatable or self.divides_batches
            if is_ours or model_inputs.is_in_files(arrays):
                batches = model_inputs.Batches(arrays, batch_size or 32, self._shuffle_seed)
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
            if self.occurrences:
                callbacks.append(occurrence.CheckOccurrence())
            if not isinstance(x, keras.utils.PyDataset):
                shuffle = False  # has no meaning there, and Keras warns of its own default
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
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        callbacks=None,
        **kwargs,
    ):
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
    def same_draws(self):
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
    def learns(self):
        """Whether there is anything that training changes."""
        return bool(self.trainable_variables)

    def fault(self):
        try:
            self.check_logits(by_values=False)
        except ValueError as err:
            return f"squashes what it makes twice. {err}"

    def check_logits(self, by_values=True):
        """Refuse networks that end in a sigmoid where the loss takes logits.

        Args:
            by_values: Whether to run those whose layers do not tell.

        Raises:
            ValueError: As `logits.check`.
        """

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

    # NumPy in, NumPy out

    def decode(self, z, conditions=None, batch_size=256):
        """Decode latent codes to the likelihood's mean.

        Args:
            z: Array `(n, latent)`.
            conditions: Dict of arrays `(n, ...)` for a conditional model.
            batch_size: Int. Examples computed at once.

        Returns:
            float32 array `(n, *data_shape)` in the data's range.

        Raises:
            ValueError: If a shape or a condition does not fit.
        """
        self._ensure_built()
        z = np.asarray(model_inputs.to_numpy(z), "float32")
        if z.ndim != 2 or z.shape[1] != self.latent_dim or len(z) == 0:
            raise ValueError(
                f"`z` must have the shape (n, {self.latent_dim}), n at least 1. "
                f"Received: {z.shape}."
            )
        conditions = {} if conditions is None else conditions
        conditions = model_inputs.check_conditions(self, conditions, len(z))

        def decode(batch):
            return [self.decode_mean(batch["z"], {n: batch[n] for n in self.condition})]

        arrays = {"z": z, **conditions}
        return in_batches(self.as_compiled(decode), arrays, batch_size)[0]

    def as_compiled(self, function):
        """A function, compiled where the backend does: once for its code and what it refers to.

        Args:
            function: Function of tensors that reads the model's variables. Another one of the same
                code that closes over other objects is another function, and compiled anew: what
                changes from call to call belongs into the arguments.
        """
        return self.compiled_functions.of(function, self.without_gradients)

    def forget_compiled(self):
        """Drop what was compiled, after a change that is no change of a variable."""
        self.train_function = self.test_function = self.predict_function = None
        self.compiled_functions.clear()
        getattr(self, "graphs", {}).clear()  # of PyTorch's traced steps

    # Saving

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        config = super().get_config()
        config.pop("autocast", None)
        if self.condition:
            config["condition"] = {name: serialize(k) for name, k in self.condition.items()}
        return {
            **config,
            **{name: serialize(getattr(self, name)) for name in self.part_names},
            "likelihood": serialize(self.likelihood),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        config = copy.deepcopy(config)  # Keras empties that of a functional model
        return cls(**{name: _deserialize(value) for name, value in config.items()})


def as_optimizer(value, name):
    """A Keras optimizer, from one or its name, or a ValueError of one line."""
    try:
        return keras.optimizers.get(value)
    except (ValueError, TypeError) as err:
        raise ValueError(
            f"`{name}` must be a Keras optimizer or the name of one. Received: {value!r}"
        ) from err


class _Terms(keras.Operation):
    """The terms of a model's loss, as a function of which Keras finds the shapes."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, data):
        _, terms = self.model.loss_and_terms(data, training=True)
        return terms


def _is_ours(part):
    """Whether the class of an object is of this package."""
    return part is None or type(part).__module__.partition(".")[0] == "keras_vae"


def weighted_mean(values, sample_weight=None):
    """Mean of values `(batch,)`, or `(draws, batch)`, each times its example's weight."""
    if sample_weight is not None:
        values = values * ops.cast(ops.reshape(sample_weight, (-1,)), values.dtype)
    return ops.mean(values)


def mean_over_rows(values, sample_weight=None):
    """The weighted mean of values `(batch,)` over all rows of a batch, those of other devices too.

    For statistics that no gradient passes. It is 0 where all weights are 0.
    """
    weight = ops.ones_like(values)
    if sample_weight is not None:
        weight = ops.cast(ops.reshape(sample_weight, (-1,)), values.dtype)
    sums = [ops.sum(ops.stop_gradient(values * weight)), ops.sum(ops.stop_gradient(weight))]
    weighted, total = share().sum(sums)
    return ops.where(total > 0, weighted / ops.where(total > 0, total, 1.0), 0.0)


def has_length(data):
    """Whether arrays or a dataset know how many there are."""
    try:
        len(data)
    except TypeError:
        return False
    return True


def in_batches(function, arrays, batch_size, progress=None, by_row=True):
    """Apply a function of tensors to nested arrays, some rows at a time, and join its results.

    Where memory runs out it goes on with half as many rows: what the function has drawn or changed
    by then must not matter. On JAX the rows are padded, so that few functions are compiled.

    Args:
        function: Function of nested tensors that returns a list of tensors, both by rows.
        arrays: Nested arrays `(n, ...)`.
        batch_size: Int. Rows computed at once.
        progress: Optional function from an iterable of batch starts to the same iterable.
        by_row: Whether a row of the results depends on no other row. What does not is never padded.

    Returns:
        List of arrays `(n, ...)`.

    Raises:
        MemoryError: If it does not suffice for a single row.
    """
    results = []
    count = len(keras.tree.flatten(arrays)[0])
    size = batch_size
    starts = range(0, count, batch_size)
    for start in starts if progress is None else progress(starts):
        end = min(start + batch_size, count)
        while start < end:
            rows = slice(start, min(start + size, end))
            try:
                batch = _rows(arrays, rows)
                batch = padded(batch, size) if by_row else batch
                batch = keras.tree.map_structure(ops.convert_to_tensor, batch)
                made = [ops.convert_to_numpy(tensor) for tensor in function(batch)]
                results.append([array[: rows.stop - rows.start] for array in made])
                start = rows.stop
            except Exception as err:
                if not is_out_of_memory(err):
                    raise
                if size == 1:
                    raise MemoryError(
                        "Memory must suffice to compute one example. It ran out. Ask for fewer "
                        "samples at once, or use a machine with more."
                    ) from err
                size = -(-size // 2)
    return [np.concatenate(parts) for parts in zip(*results, strict=True)]


def padded(arrays, most):
    """Nested arrays, on JAX with the last row repeated up to the next power of two, or to `most`.

    So a function is compiled for some numbers of rows, not for every one.
    """
    if not compiles_each_shape:
        return arrays
    count = len(keras.tree.flatten(arrays)[0])
    wanted = max(count, min(1 << (count - 1).bit_length(), most))
    return keras.tree.map_structure(
        lambda array: np.concatenate([array, np.repeat(array[-1:], wanted - count, axis=0)]), arrays
    )


def join(tensor, condition):
    return tensor if condition is None else [tensor, condition]


def _split(arrays, fraction):
    """Set the last `fraction` of the arrays aside, as Keras' `validation_split` does."""
    count = len(keras.tree.flatten(arrays)[0])
    at = int(np.floor(count * (1 - fraction)))
    if not 0 < at < count:
        raise ValueError(
            f"`validation_split` must leave examples on both sides. Received: {fraction} of "
            f"{count} examples."
        )
    return _rows(arrays, slice(at)), _rows(arrays, slice(at, None))


def _rows(arrays, rows):
    return keras.tree.map_structure(lambda array: None if array is None else array[rows], arrays)


def _deserialize(value):
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _deserialize(item) for name, item in value.items()}
    return value
