"""A prior over grids of codes that is drawn in a few steps, many places at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments, portable_random, seeds
from keras_vae.models.code_prior import CodePrior
from keras_vae.networks import arithmetic
from keras_vae.training.batched import CompiledFunctions, in_batches
from keras_vae.type_aliases import Conditions, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class MaskGIT(CodePrior):
    """Masked prediction: a few steps, in each of which many codes are drawn at once.

    The places of the grid are taken in an order that spreads them, Halton's, and in `num_steps`
    groups that grow along a cosine. The codes of a group are drawn at once, each given those of the
    groups before it and the conditions, so that

        log p(codes|c) = sum over the groups g, and the places i of g, of
                         log p(code_i | codes of the groups before g, c)

    is the exact density of what `sample` draws. Chang et al. choose the places by how sure the
    network is, which has no density; Besnier et al. found the fixed order better.

    `fit(codes)` or `fit({"codes": codes, "label": y})` minimises `-log p(codes | label)` in nats
    per example. In training a step is drawn for each example, what it and later ones draw is
    hidden, and all that is hidden is predicted, so that the loss of training is an estimate from
    above. As prior of a `VQVAE` it is trained by `VQVAE.fit_prior`, and exported in its `sampler`.

    Args:
        grid_shape: Tuple `(height, width)` of the codes.
        num_codes: Int, at least 2.
        condition: Optional dict from name to `Categorical` or `Continuous`.
        hidden_units: Int, channels.
        num_layers: Int, at least 1, of blocks that mix places, then channels.
        num_steps: Int, at least 1. Small grids take fewer, one for each place at most.
        seed: Optional int, for the steps drawn in training and the order of the batches.

    Call arguments:
        inputs: Codes, int `(batch, height, width)`; or a dict of `"codes"` and one tensor per
            condition, int `(batch,)` or float `(batch, dim)`.
        training: Bool. Whether to take one step drawn for each example, in place of all; and
            whether labels become *unknown* at their `unknown_rate`.

    Returns:
        `-log p` of each code, float32 nats `(batch, height, width)`; in training each weighted
        such that its mean over the steps is that of one prediction, 0 where nothing is hidden.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> prior = keras_vae.MaskGIT((2, 2), num_codes=8, hidden_units=8, num_layers=1, num_steps=2)
    >>> prior.sample(count=3, seed=0).shape
    (3, 2, 2)

    See also:
        `VQVAE.fit_prior`, which trains one; `PixelCNN`.

    References:
        - Chang et al., 2022. https://arxiv.org/abs/2202.04200
        - Besnier et al., 2025, for the order. https://arxiv.org/abs/2503.17076
        - Tolstikhin et al., 2021, for the network. https://arxiv.org/abs/2105.01601
    """

    def __init__(
        self,
        grid_shape: Sequence[int],
        num_codes: int,
        condition: Mapping[str, Any] | None = None,
        hidden_units: int = 128,
        num_layers: int = 4,
        num_steps: int = 8,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_shape, num_codes, condition, seed, **kwargs)
        self.options = {
            "hidden_units": arguments.whole(hidden_units, "hidden_units"),
            "num_layers": arguments.whole(num_layers, "num_layers"),
            "num_steps": arguments.whole(num_steps, "num_steps"),
        }
        self.places = math.prod(self.grid_shape)
        if self.places >= portable_random.MOST_DIMENSIONS:
            raise ValueError(
                f"`grid_shape` must have less than {portable_random.MOST_DIMENSIONS} places. "
                f"Received: {self.grid_shape}."
            )
        self.order = halton_order(self.grid_shape)
        self.bounds = cosine_bounds(self.places, num_steps)
        self.seed_generator = seeds.stream(seed, "steps")
        self.compiled_functions = CompiledFunctions()
        self.blocks = [
            MixerBlock(self.places, hidden_units, bool(self.condition)) for _ in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization()
        self.head = keras.layers.Dense(num_codes, dtype=self.variable_dtype, name="logits")

    @property
    def num_steps(self) -> int:
        """How many steps `sample` takes."""
        return len(self.bounds) - 1

    def build(self, input_shape: Any = None) -> None:
        """Create all weights."""
        units = self.options["hidden_units"]

        def table(rows, name):
            # The last code is that of a hidden place.
            normal = keras.initializers.RandomNormal(stddev=0.1)
            return self.add_weight(shape=(rows, units), initializer=normal, name=name)

        self.embedding = table(self.num_codes + 1, "embedding")
        self.place = table(self.places, "place")
        if self.condition:
            self.conditioning.build()
        for block in self.blocks:
            block.build((None, self.places, units), self.conditioning and self.conditioning.size)
        self.norm.build((None, self.places, units))
        self.head.build((None, None, units))
        self.built = True

    # The network. In it places are in the order in which they are drawn: what is hidden is at the
    # end.

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        codes, conditions = self.named_inputs(inputs)
        condition = self.condition_vector(conditions, training)
        ordered = self._ordered(codes)
        if training:
            shape = (ops.shape(ordered)[0], 1)
            step = keras.random.randint(shape, 0, self.num_steps, seed=self.seed_generator)
            first = ops.take(ops.convert_to_tensor(self.bounds[:-1]), step, axis=0)
            is_hidden = ops.arange(self.places, dtype="int32") >= first
            logits = self.head(
                self._features(ops.where(is_hidden, self.num_codes, ordered), condition)
            )
            nats = self._nats(ordered, logits)
            weights = ops.convert_to_tensor(self.num_steps / (1.0 + self._steps_of_places()))
            nats = ops.where(is_hidden, nats * ops.cast(weights, "float32"), 0.0)
        else:
            nats = self._nats(ordered, self._logits_of_steps(ordered, condition))
        return self._as_grid(nats)

    def logits(self, inputs: Any) -> Tensor:
        """The logits by which each code is drawn, given the codes of the steps before.

        Args:
            inputs: As of a call.

        Returns:
            Float tensor `(batch, height, width, num_codes)`.
        """
        codes, conditions = self.named_inputs(inputs)
        logits = self._logits_of_steps(self._ordered(codes), self.condition_vector(conditions))
        return self._as_grid(logits)

    def generate(
        self,
        uniform: Tensor,
        temperature: Tensor,
        conditions: Conditions | None = None,
        guidance: Tensor | None = None,
    ) -> Tensor:
        """Draw codes step by step, as tensors: what a device computes.

        Args:
            uniform: Float tensor `(batch, places)`, in (0, 1), as `uniforms` gives.
            temperature: Float tensor `(1,)`, at least 0. Divides the logits; 0 takes the likeliest
                code.
            conditions: Dict of tensors by name.
            guidance: Optional float tensor `(1,)`, as of `sample`. It takes two passes a step.

        Returns:
            int32 tensor `(batch, height, width)`.
        """
        condition = self.condition_vector(conditions or {})
        hidden = ops.cast(ops.zeros_like(uniform), "int32") + self.num_codes
        drawn = hidden[:, :0]
        for first, end in self._steps():
            known = ops.concatenate([drawn, hidden[:, first:]], axis=1)
            logits = self.head(self._features(known, condition)[:, first:end])
            if guidance is not None:
                nothing = ops.zeros_like(condition)  # of unknown conditions
                free = self.head(self._features(known, nothing)[:, first:end])
                logits = free + guidance * (logits - free)
            logits = ops.reshape(logits, (-1, self.num_codes))
            numbers = ops.reshape(uniform[:, first:end], (-1,))
            codes, _ = arithmetic.draw(ops.cast(logits, "float32"), numbers, temperature)
            drawn = ops.concatenate([drawn, ops.reshape(codes, (-1, end - first))], axis=1)
        return self._as_grid(drawn)

    def uniforms(self, seed: Tensor, index: Tensor, ops: Any = np) -> Tensor:
        """The numbers that codes are drawn with, in the order of drawing: the same bits everywhere.

        Args:
            seed: Integer array or tensor `(1,)`.
            index: Integer array or tensor `(n,)`. Which examples of the seed.
            ops: `numpy` for arrays, `keras.ops` for tensors.

        Returns:
            float32 `(n, places)`.
        """
        return portable_random.uniforms(seed, index, 0, self.places, ops)

    def _features(self, known, condition):
        """Features `(batch, places, units)` of codes, of which those of hidden places are known."""
        h = arithmetic.look_up(ops.convert_to_tensor(self.embedding), known)
        h = ops.cast(h, self.compute_dtype) + ops.cast(self.place, self.compute_dtype)
        for block in self.blocks:
            h = block(h, condition)
        return self.norm(h)

    def _logits_of_steps(self, ordered, condition):
        """Logits `(batch, places, num_codes)`, of each step given what came before it."""
        place, parts = ops.arange(self.places, dtype="int32"), []
        for first, end in self._steps():
            known = ops.where(place < first, ordered, self.num_codes)
            parts.append(self.head(self._features(known, condition)[:, first:end]))
        return ops.concatenate(parts, axis=1)

    def _nats(self, ordered, logits):
        logits = ops.cast(logits, "float32")
        return ops.sparse_categorical_crossentropy(ordered, logits, from_logits=True)

    def _steps(self):
        """The first place of each step, and that of the next one."""
        return list(itertools.pairwise(self.bounds.tolist()))

    def _steps_of_places(self):
        """In which step each place is drawn, int array `(places,)`."""
        return np.searchsorted(self.bounds, np.arange(self.places), side="right") - 1

    def _ordered(self, codes):
        codes = ops.cast(ops.reshape(codes, (-1, self.places)), "int32")
        return ops.take(codes, ops.convert_to_tensor(self.order), axis=1)

    def _as_grid(self, ordered):
        back = ops.convert_to_tensor(np.argsort(self.order).astype("int32"))
        grid = arithmetic.look_up(ordered, back, axis=1)
        return ops.reshape(grid, (-1, *self.grid_shape, *ordered.shape[2:]))

    def negative_log_likelihood(self, inputs: Any, outputs: Tensor) -> Tensor:
        return ops.sum(outputs, axis=(1, 2))

    # NumPy in, NumPy out

    def draw(
        self,
        conditions: Conditions,
        seed: int,
        count: int,
        temperature: float,
        batch_size: int,
        guidance: float = 1.0,
    ) -> NDArray[np.int32]:
        """As `sample`, step by step, all examples at once."""

        def generate(batch):
            return [self.generate(batch["uniform"], batch["temperature"][:1], batch["conditions"])]

        def guided(batch):
            asked = batch["uniform"], batch["temperature"][:1], batch["conditions"]
            return [self.generate(*asked, guidance=batch["guidance"][:1])]

        arrays = {
            "uniform": self.uniforms(np.array([seed], "int32"), np.arange(count, dtype="int32")),
            "temperature": np.full(count, temperature, "float32"),
            "conditions": conditions,
        }
        if guidance != 1:
            generate, arrays["guidance"] = guided, np.full(count, guidance, "float32")
        compiled = self.compiled_functions.of(generate, self.without_gradients)
        return in_batches(compiled, arrays, batch_size)[0]

    def forget_compiled(self) -> None:
        super().forget_compiled()
        self.compiled_functions.clear()

    def manifest(self) -> dict[str, Any]:
        """What a device must know: the `sampler` draws from this prior, in so many steps."""
        found = {"kind": "mask_git", "steps": self.num_steps}
        return found if self.guidance == 1 else {**found, "guidance": self.guidance}


class MixerBlock(keras.layers.Layer):
    """A layer that mixes places, then one that mixes channels, each beside the identity.

    Args:
        places: Int.
        hidden_units: Int, channels.
        is_conditional: Bool. Whether there is a condition, which enters before both.

    Call arguments:
        h: Float tensor `(batch, places, hidden_units)`.
        condition: Optional float tensor `(batch, size)`.
    """

    def __init__(self, places: int, hidden_units: int, is_conditional: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.from_condition = None
        if is_conditional:
            # TFLite's converter would make a look-up of a product with a one-hot label alone, which
            # refuses *unknown*; so there is a bias that is not 0.
            begin = keras.initializers.RandomNormal(stddev=0.02)
            self.from_condition = keras.layers.Dense(hidden_units, bias_initializer=begin)
        self.norms = [keras.layers.LayerNormalization() for _ in range(2)]
        self.of_places = [keras.layers.Dense(2 * places, "relu"), keras.layers.Dense(places)]
        self.of_channels = [
            keras.layers.Dense(2 * hidden_units, "relu"),
            keras.layers.Dense(hidden_units),
        ]

    def build(self, h_shape, condition_size=None):
        _, places, units = h_shape
        if condition_size:
            self.from_condition.build((None, condition_size))
        for norm in self.norms:
            norm.build(h_shape)
        self.of_places[0].build((None, units, places))
        self.of_places[1].build((None, units, 2 * places))
        self.of_channels[0].build((None, places, units))
        self.of_channels[1].build((None, places, 2 * units))

    def call(self, h: Tensor, condition: Tensor | None = None) -> Tensor:
        if condition is not None:
            h = h + self.from_condition(condition)[:, None]
        first, second = self.of_places
        mixed = second(first(ops.swapaxes(self.norms[0](h), 1, 2)))
        h = h + ops.swapaxes(mixed, 1, 2)
        first, second = self.of_channels
        return h + second(first(self.norms[1](h)))


def halton_order(grid_shape):
    """The places of a grid in the order of Halton's sequence, which spreads every first few.

    Args:
        grid_shape: Tuple `(height, width)`.

    Returns:
        int32 array `(height * width,)`: indices in raster order, each once.
    """
    height, width = grid_shape
    order, n = {}, 0
    while len(order) < height * width:
        n += 1
        row, column = (_scaled(n, base, size) for base, size in ((2, height), (3, width)))
        order[row * width + column] = None
    return np.array(list(order), "int32")


def _scaled(n, base, size):
    """The whole part of `size` times the radical inverse of n: the digits of n after a point."""
    mirrored, scale = 0, 1
    while n:
        n, digit = divmod(n, base)
        mirrored, scale = mirrored * base + digit, scale * base
    return size * mirrored // scale


def cosine_bounds(places, num_steps):
    """The first place of each step, and the number of places: int32 `(num_steps + 1,)` or fewer.

    After step t of T, `cos(pi / 2 * t / T)` of the places are hidden, as Chang et al. have it.
    """
    hidden = [places * math.cos(math.pi / 2 * t / num_steps) for t in range(num_steps + 1)]
    # The little keeps a cosine of 1/2 on one side on every machine.
    return np.unique([places - math.floor(number + 1e-9) for number in hidden]).astype("int32")
