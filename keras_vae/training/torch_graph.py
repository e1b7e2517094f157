"""A step on PyTorch as a graph: traced once for each shape of its batches, then replayed."""

import contextlib

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from keras_vae import keras_internals


class TraceError(Exception):
    """A function cannot become a graph; the text says why."""


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
