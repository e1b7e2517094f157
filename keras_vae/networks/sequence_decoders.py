"""Decoders of sequences: causal convolutions, a GRU, and a conductor before a GRU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.networks.sequences import SequenceDecoder
from keras_vae.type_aliases import Tensor

# Steps that share one vector of the plan: those of a quarter note.
_PLANNED_TOGETHER = 4


@keras.saving.register_keras_serializable("keras_vae")
class CausalDecoder(SequenceDecoder):
    """Causal convolutions over the past, beside a plan that the code makes by the quarter.

    Args:
        output_shape, num_tokens, width, voice_units: As of `SequenceDecoder`.
        past_dropout, dropout, seed, step_conditions, exact: Likewise.
        dilations: Tuple of ints, of the blocks over the past. With (1, 2, 4, 8) a step sees the
            31 before it.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.CausalDecoder((8, 2), num_tokens=5, width=8)
    >>> plan = decoder(np.zeros((3, 4), "float32"))
    >>> tuple(decoder.logits(plan, np.zeros((3, 8, 2), "int32")).shape)
    (3, 8, 2, 5)

    See also:
        `GRUDecoder`, `ConductorDecoder`; `NotesDecoder`, which knows what notes are.

    References:
        - van den Oord et al., 2016. https://arxiv.org/abs/1609.03499
    """

    can_be_exact = True

    def __init__(
        self,
        output_shape: Sequence[int],
        num_tokens: int,
        width: int = 96,
        dilations: Sequence[int] = (1, 2, 4, 8),
        **kwargs: Any,
    ) -> None:
        self._dilations = arguments.wholes(dilations, "dilations")
        super().__init__(output_shape, num_tokens, width, **kwargs)

    def add_layers(self) -> None:
        self.planned = -(-self.data_shape[0] // _PLANNED_TOGETHER)
        self.first = self.dense(self.planned * self.width, reads="code", signed=True)
        self.coarse_blocks = [self.block(self.width, d) for d in (1, 2)]
        self.past_blocks = [self.block(self.width, d, causal=True) for d in self._dilations]

    def build_layers(self, latent_dim: int) -> None:
        self.first.build((None, latent_dim))
        for block in (*self.coarse_blocks, *self.past_blocks):
            block.build()
        self.place = self.add_weight(
            shape=(self.data_shape[0], self.width),
            initializer=keras.initializers.RandomNormal(stddev=0.1),
            name="place",
        )
        self.voices.build((None, 2 * self.width))

    def plan(self, z: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        h = ops.reshape(self.first(z), (-1, self.planned, self.width))
        for block in self.coarse_blocks:
            h = block(h, drop=drop)
        h = ops.repeat(h, _PLANNED_TOGETHER, axis=1)[:, : self.data_shape[0]]
        return h + ops.cast(self.place, h.dtype)

    def states(self, plan: Tensor, features: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        past = self.embedding(features)
        h = plan + past
        for block in self.past_blocks:
            h = block(h, drop=drop)
        return ops.concatenate([ops.relu(h), past], axis=-1)

    def begin(self, plan: Tensor) -> Any:
        return [block.begin(plan[:, 0]) for block in self.past_blocks]

    def advance(
        self, memory: Any, plan: Tensor, features: Tensor, at: Tensor
    ) -> tuple[Tensor, Any]:
        past, after = self.embedding(features), []
        h = plan + past
        for block, before in zip(self.past_blocks, memory, strict=True):
            h, now = block.advance(h, before)
            after.append(now)
        return ops.concatenate([ops.relu(h), past], axis=-1), after

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dilations": list(self._dilations)}


@keras.saving.register_keras_serializable("keras_vae")
class GRUDecoder(SequenceDecoder):
    """One GRU over all steps, which starts from the code and sees it at every step.

    Args:
        output_shape, num_tokens, width, voice_units: As of `SequenceDecoder`.
        past_dropout, dropout, seed, step_conditions: Likewise.
        units: Int, of the GRU.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.GRUDecoder((8, 2), num_tokens=5, width=8, units=8)
    >>> tuple(decoder(np.zeros((3, 4), "float32")).shape)
    (3, 8, 8)

    See also:
        `ConductorDecoder`, of two levels; `CausalDecoder`.

    References:
        - Roberts et al., 2018, the flat decoder. https://arxiv.org/abs/1803.05428
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        num_tokens: int,
        width: int = 96,
        units: int = 160,
        **kwargs: Any,
    ) -> None:
        self._units = arguments.whole(units, "units")
        super().__init__(output_shape, num_tokens, width, **kwargs)

    def add_layers(self) -> None:
        self.from_code = keras.layers.Dense(self.width)
        self.start = keras.layers.Dense(self._units, activation="tanh")
        self.gru = keras.layers.GRU(self._units, return_sequences=True)

    def build_layers(self, latent_dim: int) -> None:
        self.from_code.build((None, latent_dim))
        self.start.build((None, self.width))
        self.gru.build((None, None, self.width))
        self.place = self.add_weight(
            shape=(self.data_shape[0], self.width),
            initializer=keras.initializers.RandomNormal(stddev=0.1),
            name="place",
        )
        self.voices.build((None, self._units + self.width))

    def plan(self, z: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        h = self.from_code(z)[:, None]
        return h + ops.cast(self.place, h.dtype)[None]

    def states(self, plan: Tensor, features: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        past = self.embedding(features)
        h = drop(self.gru(plan + past, initial_state=self.start(plan[:, 0])))
        return ops.concatenate([h, past], axis=-1)

    def begin(self, plan: Tensor) -> Any:
        return [self.start(plan[:, 0])]

    def advance(
        self, memory: Any, plan: Tensor, features: Tensor, at: Tensor
    ) -> tuple[Tensor, Any]:
        past = self.embedding(features)
        h, [after] = self.gru.cell(plan + past, memory)
        return ops.concatenate([h, past], axis=-1), [after]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self._units}


@keras.saving.register_keras_serializable("keras_vae")
class ConductorDecoder(GRUDecoder):
    """Two levels: a conductor makes a vector for each segment, such as a bar, from which a GRU
    begins anew. For long sequences: the code reaches a late bar in few steps.

    Args:
        output_shape, num_tokens, width, units, voice_units: As of `GRUDecoder`.
        past_dropout, dropout, seed, step_conditions: Likewise.
        segment: Int, steps of a segment. It divides the steps of the sequence.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.ConductorDecoder((8, 2), 5, width=8, units=8, segment=4)
    >>> tuple(decoder(np.zeros((3, 4), "float32")).shape)
    (3, 8, 8)

    See also:
        `GRUDecoder`, of one level.

    References:
        - Roberts et al., 2018, section 3.2. https://arxiv.org/abs/1803.05428
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        num_tokens: int,
        width: int = 96,
        units: int = 160,
        segment: int = 16,
        **kwargs: Any,
    ) -> None:
        self._segment = arguments.whole(segment, "segment")
        super().__init__(output_shape, num_tokens, width, units, **kwargs)
        if self.data_shape[0] % self._segment:
            raise ValueError(
                f"`segment` must divide the {self.data_shape[0]} steps. Received: {segment}."
            )

    def add_layers(self) -> None:
        super().add_layers()
        self.conductor = keras.layers.GRU(self._units, return_sequences=True)
        self.conductor_start = keras.layers.Dense(self._units, activation="tanh")
        self.from_conductor = keras.layers.Dense(self.width)

    def build_layers(self, latent_dim: int) -> None:
        super().build_layers(latent_dim)
        self.conductor_start.build((None, latent_dim))
        self.conductor.build((None, None, self.width))
        self.from_conductor.build((None, self._units))

    def plan(self, z: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        segments = self.data_shape[0] // self._segment
        inputs = ops.repeat(self.from_code(z)[:, None], segments, axis=1)
        h = self.conductor(inputs, initial_state=self.conductor_start(z))
        h = ops.repeat(self.from_conductor(h), self._segment, axis=1)
        return h + ops.cast(self.place, h.dtype)

    def states(self, plan: Tensor, features: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        past = self.embedding(features)
        steps, segment = self.data_shape[0], self._segment
        by_segment = ops.reshape(plan + past, (-1, segment, self.width))
        starts = ops.reshape(plan[:, ::segment], (-1, self.width))
        h = self.gru(by_segment, initial_state=self.start(starts))
        h = drop(ops.reshape(h, (-1, steps, self._units)))
        return ops.concatenate([h, past], axis=-1)

    def advance(
        self, memory: Any, plan: Tensor, features: Tensor, at: Tensor
    ) -> tuple[Tensor, Any]:
        begins = ops.cast(at % self._segment == 0, plan.dtype)
        h = begins * self.start(plan) + (1 - begins) * memory[0]
        return super().advance([h], plan, features, at)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "segment": self._segment}
