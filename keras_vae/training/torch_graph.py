"""A step on PyTorch as a graph: traced once for each shape of its batches, then replayed."""

import contextlib

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from keras_vae import keras_internals


class TraceError(Exception):
    """A function cannot become a graph; the text says why."""


def is_known(model):
    """Whether all that a model's step calls is Keras' or this package's, which decides by tensors.

    Args:
        model: Model that is built.
    """
    layers = keras_internals.flatten_layers(model)
    names = ("likelihood", "posterior", "prior", "objective", "kl_weight")
    metrics = [*model.untracked.metrics, *model.untracked.weighted_metrics]
    others = [vars(model).get(name) for name in names]  # those that are no layers
    parts = [*layers, *others, *model.condition.values(), *metrics]
    modules = [type(part).__module__ for part in parts]
    functions = [getattr(layer, "activation", None) for layer in layers]
    modules += [f.__module__ for f in functions if hasattr(f, "__module__")]
    is_ours = {module.partition(".")[0] for module in modules} <= {"keras", "keras_vae", "builtins"}
    of_others = (keras.layers.Lambda, keras.layers.TorchModuleWrapper)
    return is_ours and not any(isinstance(layer, of_others) for layer in layers)


class Replay:
    """A function of tensors without its Python: the operations that one call made.

    It reads and writes the same variables as the function and draws the same random numbers. What
    a graph cannot hold raises `TraceError`: a decision by a tensor's value, above all.

    Args:
        function: Function of one nested structure of tensors, which returns another.
        data: Nested structure of tensors, as an example of shapes and dtypes.
    """

    def __init__(self, function, data):
        self.draws = []
        leaves = keras.tree.flatten(data)

        def flat(*leaves):
            made = function(keras.tree.pack_sequence_as(data, leaves))
            self.made = keras.tree.map_structure(lambda _: None, made)
            return keras.tree.flatten(made)

        try:
            with self._recorded_draws():
                trace = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)
                graph = trace(*leaves)
        except Exception as err:
            first_line = str(err).strip().partition("\n")[0]
            raise TraceError(f"{type(err).__name__}: {first_line}") from err
        graph.graph.eliminate_dead_code()
        graph.recompile()
        self.graph = graph

    def __call__(self, data):
        for seed, generator in self.draws:
            generator.set_state(self.seeded_generator(seed).get_state())
        with torch.no_grad():
            made = self.graph(*keras.tree.flatten(data))
        return keras.tree.pack_sequence_as(self.made, made)

    @contextlib.contextmanager
    def _recorded_draws(self):
        """Give every draw a generator that stays, to be seeded anew before each replay."""
        # Every random function of Keras takes its generator from here.
        keras_random = keras_internals.torch_random()
        self.seeded_generator = keras_random.torch_seed_generator

        def generator_of(seed):
            generator = torch.Generator(keras_random.get_device())
            self.draws.append((seed, generator))
            return generator

        keras_random.torch_seed_generator = generator_of
        try:
            yield
        finally:
            keras_random.torch_seed_generator = self.seeded_generator
