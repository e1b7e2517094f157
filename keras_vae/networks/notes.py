"""Encoder and decoder of notes in voices: they hear intervals, motions and how far a voice leaps.

A network that sees which pitches sound must learn each interval at every pitch anew. These see the
relations themselves, as table look-ups, and may answer with an interval from a voice's last note:
chorales are learnt from fewer pieces, and fewer fifths move in parallel.

Tokens are those of `data.Notes`. A note that is struck again counts as its pitch. References are
those of `networks.sequences`; what is new are the features, in `networks.note_features`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import arguments, replica, seeds
from keras_vae.networks import arithmetic
from keras_vae.networks.dense import split_condition
from keras_vae.networks.note_features import (
    CROSSINGS,
    MOTIONS,
    PITCH_CLASSES,
    SPACINGS,
    GivenVoices,
    NoteFeatures,
    crossing,
    feature,
    interval,
    motion,
    side_by_side,
    spacing,
)
from keras_vae.networks.sequence_decoders import CausalDecoder
from keras_vae.networks.sequences import (
    DilatedBlock,
    Dropout,
    VoiceChain,
    one_hots,
    shapes_of,
    shifted,
    zeros,
)
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor

# Of the answers relative to a voice's last note.
REACH = 15
# Semitones by which training moves notes of the past.
SLIPS = (-2, -1, 1, 2)


@keras.saving.register_keras_serializable("keras_vae")
class NotesEncoder(StoredModel, NoteFeatures, GivenVoices, Dropout):
    """Convolutions from a piece to a code that has a part for every beat.

    Args:
        latent_dim: Int, a multiple of the beats of a piece.
        num_tokens, low, repeats: As of `data.Notes`.
        steps: Int, of a piece.
        width: Int, channels by step.
        beat_width: Int, channels by beat.
        given: Int, how many conditions of each step are voices above those of `x`.
        steps_per_beat: Int. It divides `steps`.
        dropout: Float in [0, 1). Share of the channels that training hides, of all steps together.
        seed: Optional int, for what is hidden.
        step_conditions: Where the vector of conditions holds sequences; the model sets it.

    Call arguments:
        inputs: Tokens `(batch, steps, voices)`, or a list `[tokens, condition]`. Conditions of a
            whole piece are not seen: the decoder sees them.

    Returns:
        Tuple `(z_mean, z_log_var)` of float32 tensors `(batch, latent_dim)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.NotesEncoder(4, num_tokens=13, low=60, steps=8, width=8)
    >>> z_mean, z_log_var = encoder(np.zeros((3, 8, 2), "int32"))
    >>> tuple(z_mean.shape)
    (3, 4)

    See also:
        `NotesDecoder`; `SequenceEncoder`, of any tokens.
    """

    def __init__(
        self,
        latent_dim: int,
        num_tokens: int,
        low: Sequence[int],
        steps: int = 32,
        width: int = 64,
        beat_width: int = 128,
        given: int = 0,
        steps_per_beat: int = 4,
        repeats: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        step_conditions: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.set_notes(num_tokens, low, repeats)
        self.steps = arguments.whole(steps, "steps")
        self.steps_per_beat = arguments.whole(steps_per_beat, "steps_per_beat")
        self.beats = _beats(self.steps, self.steps_per_beat)
        self.latent_dim = _local(latent_dim, self.beats)
        self.width = arguments.whole(width, "width")
        self.beat_width = arguments.whole(beat_width, "beat_width")
        self.given = arguments.whole(given, "given", 0)
        self.dropout = arguments.part_of_one(dropout, "dropout")
        self.seed = seed
        self.seed_generator = seeds.stream(seed, "encoder dropout") if self.dropout else None
        if step_conditions is not None:
            self.set_step_conditions(step_conditions)
        dense = keras.layers.Dense
        self.embedding = dense(self.width, use_bias=False, name="embedding")
        self.step_blocks = [DilatedBlock(self.width, d) for d in (1, 2)]
        self.by_beat = dense(self.beat_width, name="by_beat")
        self.beat_blocks = [DilatedBlock(self.beat_width, d) for d in (1, 2)]
        each = self.latent_dim // self.beats
        self.z_mean = dense(each, dtype=self.variable_dtype, name="z_mean")
        self.z_log_var = dense(
            each,
            bias_initializer=keras.initializers.Constant(-1.0),
            dtype=self.variable_dtype,
            name="z_log_var",
        )

    def build(self, input_shape: Any) -> None:
        (_, _, voices), _ = shapes_of(input_shape)
        self.embedding.build((None, self.step_size(voices + self.given)))
        for block in (*self.step_blocks, *self.beat_blocks):
            block.build()
        self.by_beat.build((None, self.steps_per_beat * self.width))
        for head in (self.z_mean, self.z_log_var):
            head.build((None, self.beat_width))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Tensor, ...]:
        drop = self.drop_in(training)
        tokens, condition = split_condition(inputs)
        tokens = ops.cast(tokens, "int32")
        if self.given:
            given, _ = self.given_notes(self.split(condition)[1])
            tokens = ops.concatenate([given, tokens], axis=-1)
        notes = self.sounding(tokens)
        h = self.embedding(drop(self.step_features(notes, self.sounding(shifted(tokens)))))
        for block in self.step_blocks:
            h = block(h, drop=drop)
        h = ops.reshape(ops.relu(h), (-1, self.beats, self.steps_per_beat * self.width))
        h = self.by_beat(h)
        for block in self.beat_blocks:
            h = block(h, drop=drop)
        h = ops.relu(h)
        heads = (self.z_mean(h), self.z_log_var(h))
        return tuple(ops.reshape(head, (-1, self.latent_dim)) for head in heads)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self.get_notes_config(),
            "latent_dim": self.latent_dim,
            "steps": self.steps,
            "width": self.width,
            "beat_width": self.beat_width,
            "given": self.given,
            "steps_per_beat": self.steps_per_beat,
            "dropout": self.dropout,
            "seed": self.seed,
            "step_conditions": self.step_conditions,
        }


class NoteChain(VoiceChain):
    """A `VoiceChain` that may answer with the distance from a voice's last note, too."""

    def __init__(self, voices, num_tokens, width, above_sizes, arithmetic, **kwargs):
        super().__init__(voices, num_tokens, width, above_sizes, arithmetic, **kwargs)
        self.moves = [
            arithmetic.dense(2 * REACH + 1, gives="logits", dtype=self.variable_dtype)
            for _ in range(voices)
        ]

    def build(self, state_shape):
        super().build(state_shape)
        for layer in self.moves:
            layer.build((None, self.width))

    def logits(self, state, above, voice, last, drop):
        """As `voice`, with logits of moves from the last note `(...)`, 0 where there is none."""
        h = self.hidden_of(state, above, voice, drop)
        moves, token = self.moves[voice](h), ops.arange(self.num_tokens, dtype="int32")
        if len(h.shape) == 2:
            return self.outs[voice](h) + _moved(moves, token, last)
        # For the gradient, for which XLA is slow where something is looked up.
        move = ops.arange(-REACH, REACH + 1, dtype="int32")
        reached = ops.logical_and(
            token[:, None] == last[..., None, None] + move, token[:, None] > 0
        )
        reached = ops.logical_and(reached, last[..., None, None] > 0)
        return self.outs[voice](h) + ops.sum(ops.where(reached, moves[..., None, :], 0.0), axis=-1)


def _moved(moves, token, last):
    """Logits of moves `(batch, 2 REACH + 1)` at the tokens where they lead from the last note, by
    look-up: devices are slow at comparing all of both."""
    nowhere = 2 * REACH + 1
    padded = ops.pad(moves, ((0, 0), (0, 1)))
    move = token - last[:, None] + REACH
    reached = ops.logical_and(move >= 0, move < nowhere)
    reached = ops.logical_and(reached, ops.logical_and(token > 0, last[:, None] > 0))
    first = (ops.cumsum(ops.ones_like(last), axis=0) - 1) * (nowhere + 1)
    index = first[:, None] + ops.where(reached, move, nowhere)
    return arithmetic.look_up(ops.reshape(padded, (-1,)), index, axis=0)


@keras.saving.register_keras_serializable("keras_vae")
class NotesDecoder(CausalDecoder, NoteFeatures, GivenVoices):
    """A causal decoder that hears what notes are to each other.

    Args:
        output_shape: Tuple `(steps, voices)`.
        num_tokens, low, repeats: As of `data.Notes`.
        width: Int, channels of the causal convolutions.
        plan_width: Int, channels of the plan that the code and what is given make.
        given_width: Int, channels of the convolutions over the given voices.
        given: Int, how many conditions of each step are voices above those of `x`, such as 1 for a
            melody to harmonise. They are heard at all steps, past and future.
        steps_per_beat: Int. It divides the steps; the code has a part for every beat.
        past_noise: Float in [0, 1). Share of the notes of the past that training moves by a
            semitone or two, drawn anew every time, in what later steps see and not in what they
            are to say: so the decoder learns to go on from slips of its own, of which a piece
            has none.
        voice_units, dilations, past_dropout, dropout, seed, step_conditions, exact: As of
            `CausalDecoder`.

    Call arguments:
        inputs: As of `SequenceDecoder`; the code has a multiple of the beats.

    Returns:
        Float tensor `(batch, steps, plan_width + 3 given)`: the plan, and the given notes of each
        step and of the two before it.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.NotesDecoder(
    ...     (8, 2), num_tokens=13, low=60, width=8, plan_width=8, voice_units=8
    ... )
    >>> tuple(decoder(np.zeros((3, 4), "float32")).shape)
    (3, 8, 8)

    See also:
        `NotesEncoder`; `CausalDecoder`, of any tokens.

    References:
        - Bengio et al., 2015, scheduled sampling, for why: there the wrong past is drawn from the
          model, which takes a pass for every step; `past_noise` takes none.
          https://arxiv.org/abs/1506.03099
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        num_tokens: int,
        low: Sequence[int],
        width: int = 88,
        plan_width: int = 64,
        given_width: int = 56,
        given: int = 0,
        steps_per_beat: int = 4,
        repeats: bool = False,
        voice_units: int = 88,
        past_noise: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self._notes = num_tokens, low, repeats
        self._plan_width = arguments.whole(plan_width, "plan_width")
        self._given_width = arguments.whole(given_width, "given_width")
        self._given = arguments.whole(given, "given", 0)
        self._steps_per_beat = arguments.whole(steps_per_beat, "steps_per_beat")
        super().__init__(output_shape, num_tokens, width, voice_units=voice_units, **kwargs)
        self.past_noise = arguments.part_of_one(past_noise, "past_noise")
        self.noise_generator = seeds.stream(self.seed, "past noise") if self.past_noise else None

    # Layers

    def make_voices(self) -> Any:
        self.set_notes(*self._notes)
        self.given = self._given
        self.all_voices = self.given + self.data_shape[1]
        pair = MOTIONS + SPACINGS + PITCH_CLASSES + CROSSINGS
        above = [self.given + voice for voice in range(self.data_shape[1])]
        sizes = [count and count * pair + PITCH_CLASSES for count in above]
        size = self.data_shape[1], self.num_tokens, self.voice_units
        return NoteChain(*size, sizes, self.arithmetic)

    def add_layers(self) -> None:
        self.beats = _beats(self.data_shape[0], self._steps_per_beat)
        dense, plan = self.dense, self._plan_width
        features = {"reads": "features", "use_bias": False}
        shares = {"reads": "share", "use_bias": False}
        self.by_example = dense(plan, reads="features", name="by_example")
        self.by_step = dense(plan, name="by_step", **features)
        self.given_blocks = [self.block(self._given_width, d) for d in (1, 2, 4, 8)]
        self.given_embedding = dense(self._given_width, name="given_embedding", **features)
        self.given_out = dense(plan, name="given_out")
        self.given_classes = dense(plan, name="given_classes", **shares)
        self.first = dense(plan, reads="code", signed=True)
        self.coarse_blocks = [self.block(plan, d) for d in (1, 2)]
        self.up = dense(self._steps_per_beat * plan)
        self.to_past = dense(self.width, signed=True)
        self.history = dense(self.width, name="history", **shares)
        self.past_blocks = [self.block(self.width, d, causal=True) for d in self._dilations]
        steps = np.arange(self.data_shape[0])
        self.parts_of_past = self.arithmetic.reciprocals(np.maximum(steps, 1) * self.all_voices)

    def build(self, input_shape: Any) -> None:
        (_, latent_dim), size = shapes_of(input_shape)
        rest, by_step = self.condition_sizes(size)
        each = _local(latent_dim, self.beats) // self.beats
        plan, others = self._plan_width, by_step - self.given * self.num_tokens
        if others < 0:
            raise ValueError(
                f"`given` must be at most the number of conditions of each step. Received: "
                f"{self.given}. Set it to how many of them are voices."
            )
        self.embedding.build((None, self.past_size))
        if rest:
            self.by_example.build((None, rest))
        if others:
            self.by_step.build((None, others))
        if self.given:
            notes = self.num_pitches + 1 + PITCH_CLASSES + 2 * MOTIONS
            self.given_embedding.build((None, self.given * notes))
            self.given_out.build((None, self._given_width))
            self.given_classes.build((None, self.given * PITCH_CLASSES))
            for block in self.given_blocks:
                block.build()
        self.first.build((None, each))
        self.up.build((None, plan))
        self.to_past.build((None, plan))
        self.history.build((None, PITCH_CLASSES - 1))
        for block in (*self.coarse_blocks, *self.past_blocks):
            block.build()
        self.place = self.add_weight(
            shape=(self.data_shape[0], plan),
            initializer=keras.initializers.RandomNormal(stddev=0.1),
            name="place",
        )
        self.voices.build((None, 2 * self.width + plan))
        self.built = True

    # The plan

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        drop = self.drop_in(training)
        z, condition = split_condition(inputs)
        rest, by_step = self.split(condition)
        plan = self.plan(self.arithmetic.code(z), drop)
        if rest is not None:
            plan = plan + self.by_example(rest)[:, None]
        if not self.given:
            return plan if by_step is None else plan + self.by_step(by_step)
        tokens, others = self.given_notes(by_step)
        if others is not None:
            plan = plan + self.by_step(others)
        plan = plan + self._hear_given(self.sounding(tokens), drop)
        before = shifted(tokens)
        known = (tokens, before, shifted(before))
        return ops.concatenate([plan, *(ops.cast(t, plan.dtype) for t in known)], axis=-1)

    def plan(self, z: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        h = self.first(ops.reshape(z, (-1, self.beats, z.shape[-1] // self.beats)))
        for block in self.coarse_blocks:
            h = block(h, drop=drop)
        h = ops.reshape(self.up(ops.relu(h)), (-1, self.data_shape[0], self._plan_width))
        return h + ops.cast(self.place, h.dtype)

    def _hear_given(self, notes, drop):
        before = ops.concatenate([ops.zeros_like(notes[:, :1]), notes[:, :-1]], axis=1)
        after = ops.concatenate([notes[:, 1:], ops.zeros_like(notes[:, :1])], axis=1)
        classes = one_hots(self.pitch_class(notes), PITCH_CLASSES)
        features = [
            one_hots(notes, self.num_pitches + 1),
            classes,
            one_hots(motion(before, notes), MOTIONS),
            one_hots(motion(notes, after), MOTIONS),
        ]
        h = self.given_embedding(ops.concatenate(features, axis=-1))
        for block in self.given_blocks:
            h = block(h, drop=drop)
        heard = self.given_out(ops.relu(h))
        share = self.arithmetic.share
        parts = share(ops.sum(classes, axis=1), self.arithmetic.reciprocals(self.data_shape[0]))
        return heard + self.given_classes(parts)[:, None]

    def _given_at(self, plan, steps_ago):
        """Tokens of the given voices `(..., given)`, out of the plan."""
        start = self._plan_width + steps_ago * self.given
        return ops.cast(plan[..., start : start + self.given], "int32")

    # What is heard of the past, and of the voices above

    @property
    def past_size(self) -> int:
        return self.step_size(self.all_voices)

    def past_features(self, plan: Tensor, past: Tensor, before: Tensor) -> Tensor:
        seen = ops.cast(past[..., :1] >= 0, "float32")
        if self.given:
            hidden = past[..., :1] < 0
            past, before = (
                ops.concatenate([self._given_at(plan, ago), tokens], axis=-1)
                for ago, tokens in ((1, past), (2, before))
            )
            past = ops.where(hidden, -1, past)
        return seen * self.step_features(self.sounding(past), self.sounding(before))

    def past_in_training(self, past: Tensor) -> Tensor:
        if self.past_noise:
            draw, shape = replica.current().draw, ops.shape(past)
            drawn = draw(keras.random.uniform, shape, seed=self.noise_generator)
            past = self.slipped(past, drawn / self.past_noise)
        return super().past_in_training(past)

    def slipped(self, tokens: Tensor, drawn: Tensor) -> Tensor:
        """Tokens of notes moved by one of `SLIPS`, where that is a pitch and a number is below 1.

        Args:
            tokens: Int32 `(batch, steps, voices)`. A note that is struck again stays so.
            drawn: Float tensor, same shape. Each quarter of [0, 1) stands for one of the four.
        """
        which = ops.cast(ops.floor(ops.minimum(drawn, 1.0) * len(SLIPS)), "int32")
        by = ops.take(ops.convert_to_tensor((*SLIPS, 0), "int32"), which)
        pitch = self.sounding(tokens)
        moved = pitch + by
        is_pitch = ops.logical_and(moved >= 1, moved <= self.num_pitches)
        return ops.where(ops.logical_and(is_pitch, pitch > 0), tokens + by, tokens)

    def voice_logits(
        self,
        state: Tensor,
        plan: Tensor,
        past: Tensor,
        above: Tensor,
        voice: int,
        drop: Callable[[Tensor], Tensor] = lambda h: h,
    ) -> Tensor:
        hidden, last = past[..., :1] < 0, past
        if self.given:
            given = self._given_at(plan, 0)
            above = ops.concatenate([given, above], axis=-1) if voice else given
            last = ops.concatenate([self._given_at(plan, 1), past], axis=-1)
        last = self.sounding(ops.where(hidden, -1, last))
        count = self.given + voice
        own = last[..., count]
        if not count:
            return self.voices.logits(state, None, voice, own, drop)
        now, before, under = self.sounding(above), last[..., :count], own[..., None]
        of_each = [
            feature(motion(before, now), MOTIONS),
            feature(spacing(now, under), SPACINGS),
            feature(interval(now, under), PITCH_CLASSES),
            feature(crossing(before, under, now), CROSSINGS),
        ]
        classes = feature(self.pitch_class(now), PITCH_CLASSES)
        features = side_by_side(ops.concatenate(of_each, axis=-1)), ops.sum(classes, axis=-2)
        return self.voices.logits(state, ops.concatenate(features, axis=-1), voice, own, drop)

    # The steps

    def states(self, plan: Tensor, features: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        heard = ops.cumsum(self._classes_of(features), axis=1)
        parts = self.arithmetic.share(heard, self.parts_of_past[:, None])
        past = self.embedding(features) + self.history(parts)
        h = self.to_past(plan[..., : self._plan_width]) + past
        for block in self.past_blocks:
            h = block(h, drop=drop)
        return self._seen(h, past, plan)

    def begin(self, plan: Tensor) -> Any:
        nothing = zeros(plan[:, 0], self.width)
        heard = zeros(plan[:, 0], PITCH_CLASSES - 1)
        return [heard, *(block.begin(nothing) for block in self.past_blocks)]

    def advance(
        self, memory: Any, plan: Tensor, features: Tensor, at: Tensor
    ) -> tuple[Tensor, Any]:
        heard, *memory = memory
        heard = heard + self._classes_of(features)
        part = arithmetic.look_up(ops.convert_to_tensor(self.parts_of_past), at, axis=0)
        past = self.embedding(features) + self.history(self.arithmetic.share(heard, part))
        h, after = self.to_past(plan[..., : self._plan_width]) + past, [heard]
        for block, before in zip(self.past_blocks, memory, strict=True):
            h, now = block.advance(h, before)
            after.append(now)
        return self._seen(h, past, plan), after

    def _classes_of(self, features):
        """How many voices sound each pitch class in a step."""
        start = (self.all_voices + 1) * (self.num_pitches + 1)
        return features[..., start : start + PITCH_CLASSES - 1]

    def _seen(self, h, past, plan):
        plan = ops.relu(plan[..., : self._plan_width])
        return ops.concatenate([ops.relu(h), past, plan], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self.get_notes_config(),
            "plan_width": self._plan_width,
            "given_width": self._given_width,
            "given": self.given,
            "steps_per_beat": self._steps_per_beat,
            "past_noise": self.past_noise,
        }


def _beats(steps, steps_per_beat):
    if steps % steps_per_beat:
        raise ValueError(
            f"`steps_per_beat` must divide the {steps} steps. Received: {steps_per_beat}."
        )
    return steps // steps_per_beat


def _local(latent_dim, beats):
    latent_dim = arguments.whole(latent_dim, "latent_dim")
    if latent_dim % beats:
        raise ValueError(
            f"`latent_dim` must be a multiple of the {beats} beats, of which each has a part of "
            f"the code. Received: {latent_dim}."
        )
    return latent_dim
