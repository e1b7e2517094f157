"""What networks of sequences of tokens are made of, and the base of their decoders.

Tokens are whole numbers `(batch, steps, voices)`; -1 is no step at all, as beyond the end of a
shorter sequence: networks see zeros there. A decoder is autoregressive, over the steps and within a
step from the first voice to the last. It has two faces that compute the same:

- all steps at once, each given the true ones before it (teacher forcing): `logits`, for training;
- one step after the other: `begin` and `advance`, for drawing (`generate`). Their memory has one
  size at all steps, so that a device runs them in a loop.

References:
    - van den Oord et al., 2016, WaveNet, for the causal convolutions.
      https://arxiv.org/abs/1609.03499
    - Bowman et al., 2016, section 3.1, for the hidden past. https://arxiv.org/abs/1511.06349
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments, replica, seeds
from keras_vae.networks import arithmetic
from keras_vae.networks.dense import split_condition
from keras_vae.networks.exact import MayBeExact, Wholes, refusal
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


def one_hot(tokens, num_tokens):
    """Float vectors `(..., num_tokens)` of tokens `(...)`, zero for -1."""
    tokens = ops.cast(tokens, "int32")
    return ops.cast(tokens[..., None] == ops.arange(num_tokens, dtype="int32"), "float32")


class Dropout:
    """Hides channels of all steps of an example together; a network inherits it.

    References:
        - Tompson et al., 2015, section 3.2. https://arxiv.org/abs/1411.4280
    """

    def drop_in(self, training: bool | None) -> Callable[[Tensor], Tensor]:
        """A function that hides channels of a float tensor `(batch, steps, channels)`, or none."""
        return self._dropped if training and self.dropout else lambda h: h

    def _dropped(self, h):
        shape = (ops.shape(h)[0], 1, h.shape[-1])
        drawn = replica.current().draw(keras.random.uniform, shape, seed=self.seed_generator)
        kept = ops.cast(drawn >= self.dropout, h.dtype)
        return h * kept / (1 - self.dropout)


def one_hots(tokens, num_tokens):
    """Float vectors `(..., voices * num_tokens)` of tokens `(..., voices)`, side by side."""
    parts = [one_hot(tokens[..., voice], num_tokens) for voice in range(tokens.shape[-1])]
    return ops.concatenate(parts, axis=-1)


def shifted(tokens):
    """Tokens `(batch, steps, voices)` a step later, -1 at the first."""
    return ops.concatenate([ops.zeros_like(tokens[:, :1]) - 1, tokens[:, :-1]], axis=1)


class ConditionByStep:
    """Splits the vector of a model's conditions into what holds at all steps and at each.

    A network inherits it. `step_conditions` lists the conditions that are sequences, as
    `[first entry of the vector, steps, values]`; the model sets it.
    """

    step_conditions = None

    def set_step_conditions(self, places: Sequence[Sequence[int]]) -> None:
        """Tell where the vector of conditions holds sequences. Before the first call only."""
        self.step_conditions = [list(map(int, place)) for place in places]

    def split(self, condition: Tensor | None) -> Any:
        """Return float tensors `(batch, size)` and `(batch, steps, values)`, or None for none."""
        if condition is None:
            return None, None
        rest, by_step, at = [], [], 0
        for start, steps, values in self.step_conditions or ():
            rest.append(condition[:, at:start])
            at = start + steps * values
            by_step.append(ops.reshape(condition[:, start:at], (-1, steps, values)))
        rest = [part for part in (*rest, condition[:, at:]) if part.shape[-1]]
        return _joined(rest), _joined(by_step)

    def condition_sizes(self, size: int) -> tuple[int, int]:
        """How wide both parts are, of a vector of some size or of None."""
        by_step = self.step_conditions or () if size else ()
        taken = sum(steps * values for _, steps, values in by_step)
        return (size or 0) - taken, sum(values for _, _, values in by_step)


class DilatedBlock(keras.layers.Layer):
    """A residual block over time: ReLU, convolution of three steps, ReLU, dense, added.

    The convolution is a dense layer over three steps side by side, so that one step is computed by
    the same layer as all of them; XLA is slow at gradients of dilated convolutions, too.

    Args:
        width: Int, channels.
        dilation: Int. Steps between those that are seen together.
        causal: Whether it sees a step and those before it, rather than both sides.
        dense: Function from units to a dense layer.
    """

    def __init__(self, width, dilation, causal=False, dense=keras.layers.Dense, **kwargs):
        super().__init__(**kwargs)
        self.width, self.dilation, self.causal = width, dilation, causal
        self.convolution = dense(width)
        self.out = dense(width)

    def build(self, input_shape=None):
        self.convolution.build((None, 3 * self.width))
        self.out.build((None, self.width))
        self.built = True

    def call(self, h, drop=lambda h: h):
        before, after = (2, 0) if self.causal else (1, 1)
        steps, reach = h.shape[1], self.dilation
        padded = ops.pad(ops.relu(h), ((0, 0), (before * reach, after * reach), (0, 0)))
        seen = [padded[:, start : start + steps] for start in (0, reach, 2 * reach)]
        return h + self.out(drop(self._convolved(ops.concatenate(seen, axis=-1))))

    def begin(self, h):
        """The memory before the first step, float `(batch, 2 * dilation, width)`."""
        return zeros(h, 2 * self.dilation, self.width)

    def advance(self, h, memory):
        """Compute one step `(batch, width)`; return it and the memory after it."""
        a = ops.relu(h)
        # Without slices, which LiteRT copies value by value.
        before = ops.reshape(
            arithmetic.look_up(memory, [0, self.dilation], axis=1), (-1, 2 * self.width)
        )
        _, kept = ops.split(memory, [1], axis=1)
        seen = ops.concatenate([before, a], axis=-1)
        memory = ops.concatenate([kept, a[:, None]], axis=1)
        return h + self.out(self._convolved(seen)), memory

    def _convolved(self, seen):
        return ops.relu(self.convolution(seen))


class VoiceChain(keras.layers.Layer):
    """Logits of a step's voices, each given those above it.

    Args:
        voices: Int.
        num_tokens: Int.
        width: Int, hidden units of each voice.
        above_sizes: Tuple of ints, how many features of the voices above each voice sees.
        arithmetic: `Floats`, or what is in its place.

    References:
        - Larochelle & Murray, 2011, NADE. https://proceedings.mlr.press/v15/larochelle11a
    """

    def __init__(self, voices, num_tokens, width, above_sizes, arithmetic, **kwargs):
        super().__init__(**kwargs)
        self.voices, self.num_tokens, self.width = voices, num_tokens, width
        self.above_sizes = tuple(above_sizes)
        dense = arithmetic.dense
        self.from_state = dense(voices * width, signed=True)
        self.from_above = [
            dense(width, reads="features", use_bias=False) for size in self.above_sizes if size
        ]
        self.hidden = [dense(width, activation="relu") for _ in range(voices)]
        self.outs = [
            dense(num_tokens, gives="logits", dtype=self.variable_dtype) for _ in range(voices)
        ]

    def build(self, state_shape):
        self.from_state.build((None, state_shape[-1]))
        sizes = [size for size in self.above_sizes if size]
        for size, layer in zip(sizes, self.from_above, strict=True):
            layer.build((None, size))
        for layer in (*self.hidden, *self.outs):
            layer.build((None, self.width))
        self.built = True

    def voice(self, state, above, voice, drop=lambda h: h):
        """Logits of one voice.

        Args:
            state: Float tensor `(..., voices * width)`, from `from_state`.
            above: Float tensor `(..., features)`, of the voices above; or None.
            voice: Int.
            drop: Function of hidden units, for training.
        """
        return self.outs[voice](self.hidden_of(state, above, voice, drop))

    def hidden_of(self, state, above, voice, drop):
        """Hidden units of one voice, `(..., width)`, from what `voice` takes."""
        h = ops.split(state, self.voices, axis=-1)[voice]
        if above is not None:
            place = sum(size > 0 for size in self.above_sizes[:voice])
            h = h + self.from_above[place](above)
        return drop(self.hidden[voice](drop(ops.relu(h))))


class SequenceDecoder(StoredModel, ConditionByStep, Dropout, MayBeExact):
    """What autoregressive decoders share: the plan, the embedding of the past, and the voices.

    Called, it makes a plan of a code: what each step is to know of it. Training and drawing go on
    from the plan. A subclass makes its layers in `add_layers` and `build_layers`, and writes
    `plan`, `states`, `begin` and `advance`.

    Args:
        output_shape: Tuple `(steps, voices)`.
        num_tokens: Int. Tokens are from 0 to `num_tokens - 1`.
        width: Int, channels.
        voice_units: Int, hidden units of each voice.
        past_dropout: Float in [0, 1). Share of the past steps that training hides from those after
            them, drawn anew every time, so that the code must tell what the past does not.
        dropout: Float in [0, 1). Share of the channels that training hides, of all steps together.
        seed: Optional int, for what is hidden.
        step_conditions: Where the vector of conditions holds sequences; the model sets it.
        exact: Whether to compute with whole numbers, so that every device draws the same tokens
            (`networks.exact`). Such a decoder is not trained, but made by `VAE.as_exact`.

    Call arguments:
        inputs: `z`, float `(batch, latent)`, or a list `[z, condition]` with a float
            `(batch, size)`.

    Returns:
        Float tensor `(batch, steps, width)`, the plan.

    Example:

    >>> import keras_vae
    >>> decoder = keras_vae.networks.GRUDecoder((8, 2), num_tokens=5, width=8, units=8)
    >>> isinstance(decoder, keras_vae.networks.SequenceDecoder), decoder.data_shape
    (True, (8, 2))

    See also:
        `CausalDecoder`, `GRUDecoder`, `ConductorDecoder`, `NotesDecoder`.
    """

    can_be_exact = False

    def __init__(
        self,
        output_shape: Sequence[int],
        num_tokens: int,
        width: int = 96,
        voice_units: int = 64,
        past_dropout: float = 0.0,
        dropout: float = 0.0,
        seed: int | None = None,
        step_conditions: Sequence[Sequence[int]] | None = None,
        exact: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_shape = arguments.shape(output_shape, "output_shape")
        if len(self.data_shape) != 2:
            raise ValueError(
                f"`output_shape` must be (steps, voices). Received: {self.data_shape}."
            )
        self.num_tokens = arguments.whole(num_tokens, "num_tokens")
        self.width = arguments.whole(width, "width")
        self.voice_units = arguments.whole(voice_units, "voice_units")
        self.past_dropout = arguments.part_of_one(past_dropout, "past_dropout")
        self.dropout = arguments.part_of_one(dropout, "dropout")
        self.seed = seed
        hides = self.past_dropout or self.dropout
        self.seed_generator = seeds.stream(seed, "past") if hides else None
        if step_conditions is not None:
            self.set_step_conditions(step_conditions)
        if exact and not self.can_be_exact:
            raise ValueError(refusal(self))
        self.exact = bool(exact)
        self.arithmetic = (Wholes if exact else arithmetic.Floats)(self.num_tokens)
        of_features = {"reads": "features", "use_bias": False}
        self.embedding = self.dense(self.width, name="embedding", **of_features)
        self.voices = self.make_voices()
        self.by_example = self.dense(self.width, reads="features", name="by_example")
        self.by_step = self.dense(self.width, name="by_step", **of_features)
        self.given_blocks = [self.block(self.width, d) for d in (1, 2, 4)]
        self.add_layers()

    def dense(self, units: int, **options: Any) -> Any:
        """A dense layer of this decoder's arithmetic, as of `Floats.dense`."""
        return self.arithmetic.dense(units, **options)

    def block(self, width: int, dilation: int, causal: bool = False) -> Any:
        """A `DilatedBlock` of this decoder's arithmetic."""
        return DilatedBlock(width, dilation, causal, self.dense)

    def build(self, input_shape: Any) -> None:
        (_, latent_dim), size = shapes_of(input_shape)
        rest, by_step = self.condition_sizes(size)
        self.embedding.build((None, self.past_size))
        if rest:
            self.by_example.build((None, rest))
        if by_step:
            self.by_step.build((None, by_step))
            for block in self.given_blocks:
                block.build()
        self.build_layers(latent_dim)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        drop = self.drop_in(training)
        z, condition = split_condition(inputs)
        plan = self.plan(self.arithmetic.code(z), drop)
        rest, by_step = self.split(condition)
        if rest is not None:
            plan = plan + self.by_example(rest)[:, None]
        if by_step is not None:
            h = self.by_step(by_step)
            for block in self.given_blocks:
                h = block(h, drop=drop)
            plan = plan + h
        return plan

    # All steps at once

    def logits(self, plan: Tensor, tokens: Tensor, training: bool = False) -> Tensor:
        """Logits of every token, given the true ones before it.

        Args:
            plan: Float tensor `(batch, steps, width)`, of a call.
            tokens: Tokens `(batch, steps, voices)`.
            training: Whether to hide steps of the past.

        Returns:
            Float tensor `(batch, steps, voices, num_tokens)`.
        """
        drop = self.drop_in(training)
        tokens = ops.cast(tokens, "int32")
        past = shifted(tokens)
        if training:
            past = self.past_in_training(past)
        features = self.past_features(plan, past, shifted(past))
        state = self.voices.from_state(self.states(plan, features, drop))
        logits = [
            self.voice_logits(state, plan, past, tokens[..., :voice], voice, drop)
            for voice in range(self.data_shape[1])
        ]
        return self.arithmetic.nats(ops.stack(logits, axis=-2))

    def past_in_training(self, past: Tensor) -> Tensor:
        """What training sees of int32 tokens `(batch, steps, voices)`: some steps are hidden."""
        if not self.past_dropout:
            return past
        shape = (*ops.shape(past)[:2], 1)
        drawn = replica.current().draw(keras.random.uniform, shape, seed=self.seed_generator)
        return ops.where(drawn >= self.past_dropout, past, -1)

    # One step after the other

    def generate(self, plan: Tensor, uniform: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the tokens one after the other, by the inverse of the cumulated probabilities.

        Args:
            plan: Float tensor `(batch, steps, width)`, of a call.
            uniform: Float tensor `(batch, steps, voices)`, in (0, 1): a number for each token.
            temperature: Float tensor `(1,)`, at least 0. Divides the logits; 0 takes the likeliest
                token.

        Returns:
            Tuple of the tokens, int32 `(batch, steps, voices)`, and a float32 tensor `(batch,)`:
            how near the closest number came to a border between two tokens, as a part of 1. Where
            it is above what rounding makes, every device draws the same. It is 1 where `exact`.
        """
        steps, voices = self.data_shape
        place = ops.arange(steps, dtype="int32")[None, :, None]
        numbers, setting = self.arithmetic.begin_draws(uniform, temperature)
        first = uniform[:, 0]
        tokens = ops.cast(zeros(first, steps, voices), "int32")
        no_past = tokens[:, 0] - 1
        margin = zeros(first) + 1.0

        def step(at, state):
            past, before, tokens, margin, *memory = state
            plan_now, now = (
                arithmetic.look_up(plan, at, axis=1),
                arithmetic.look_up(numbers, at, axis=1),
            )
            features = self.past_features(plan_now, past, before)
            h, memory = self.advance(memory, plan_now, features, at)
            state = self.voices.from_state(h)
            drawn = []
            for voice in range(voices):
                above = ops.stack(drawn, axis=-1) if drawn else past[:, :0]
                logits = self.voice_logits(state, plan_now, past, above, voice)
                token, distance = self.arithmetic.draw(logits, now[:, voice], setting)
                margin = ops.minimum(margin, distance)
                drawn.append(token)
            drawn = ops.stack(drawn, axis=-1)
            tokens = ops.where(place == at, drawn[:, None], tokens)
            # Computed, because LiteRT's loop hands on what it has written over already.
            before = ops.maximum(past, -1)
            return [drawn, before, tokens, margin, *memory]

        state = [no_past, no_past - 1, tokens, margin, *self.begin(plan)]
        _, _, tokens, margin, *_ = ops.fori_loop(0, steps, step, state)
        return tokens, margin

    # What is seen of tokens

    @property
    def past_size(self) -> int:
        """How many features `past_features` gives."""
        return self.data_shape[1] * self.num_tokens

    def past_features(self, plan: Tensor, past: Tensor, before: Tensor) -> Tensor:
        """Features of the step before.

        Args:
            plan: Float tensor `(batch, steps, width)`, or of one step `(batch, width)`.
            past: Int32 tokens `(batch, steps, voices)` or `(batch, voices)` of the step before;
                -1 where there is none, or none is to be seen.
            before: The same of the step before that.

        Returns:
            Float tensor `(..., past_size)`.
        """
        return one_hots(past, self.num_tokens)

    def make_voices(self) -> Any:
        """The `VoiceChain`."""
        voices, size = self.data_shape[1], self.num_tokens
        above = [voice * size for voice in range(voices)]
        return VoiceChain(voices, size, self.voice_units, above, self.arithmetic)

    def voice_logits(
        self,
        state: Tensor,
        plan: Tensor,
        past: Tensor,
        above: Tensor,
        voice: int,
        drop: Callable[[Tensor], Tensor] = lambda h: h,
    ) -> Tensor:
        """Logits of one voice.

        Args:
            state: Float tensor `(..., voices * voice_units)`.
            plan, past: As of `past_features`.
            above: Int32 tokens `(..., voice)`, of the voices above.
            voice: Int.
            drop: Function of hidden units, for training.

        Returns:
            Float tensor `(..., num_tokens)`, where `exact` in steps of 1/64 nat.
        """
        above = one_hots(above, self.num_tokens) if voice else None
        return self.voices.voice(state, above, voice, drop)

    # What a subclass writes

    def add_layers(self) -> None:
        """Make the layers of a subclass."""
        raise NotImplementedError

    def build_layers(self, latent_dim: int) -> None:
        """Build them."""
        raise NotImplementedError

    def plan(self, z: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        """Float tensor `(batch, steps, width)` of codes `(batch, latent)`.

        Args:
            z: Float tensor `(batch, latent)`.
            drop: Function that hides channels of `(batch, steps, channels)` in training.
        """
        raise NotImplementedError

    def states(self, plan: Tensor, features: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        """What the voices of every step see, `(batch, steps, units)`.

        Args:
            plan: Float tensor `(batch, steps, width)`.
            features: Float tensor `(batch, steps, past_size)`, from `past_features`.
            drop: As of `plan`.
        """
        raise NotImplementedError

    def begin(self, plan: Tensor) -> Any:
        """The memory before the first step, a list of float tensors of fixed size."""
        raise NotImplementedError

    def advance(
        self, memory: Any, plan: Tensor, features: Tensor, at: Tensor
    ) -> tuple[Tensor, Any]:
        """Compute one step.

        Args:
            memory: List of tensors, as of `begin`.
            plan: Float tensor `(batch, width)`, of this step.
            features: Float tensor `(batch, past_size)`, from `past_features`.
            at: Int32 scalar, which step.

        Returns:
            Tuple of what `states` gives, `(batch, units)`, and the memory after it.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "output_shape": list(self.data_shape),
            "num_tokens": self.num_tokens,
            "width": self.width,
            "voice_units": self.voice_units,
            "past_dropout": self.past_dropout,
            "dropout": self.dropout,
            "seed": self.seed,
            "step_conditions": self.step_conditions,
            "exact": self.exact,
        }


def zeros(like, *sides):
    """Zeros `(batch, *sides)` of the batch and dtype of a tensor `(batch, size)`."""
    dtype = keras.backend.standardize_dtype(like.dtype)
    return ops.zeros((ops.shape(like)[0], *sides), dtype)


def shapes_of(input_shape):
    """The shape of a network's first input, and the size of a condition beside it or None."""
    if not isinstance(input_shape[0], tuple | list):
        return input_shape, None
    return input_shape[0], input_shape[1][-1]


def _joined(parts):
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
