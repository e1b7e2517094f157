"""From vectors to codes of a finite codebook, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments, replica, seeds
from keras_vae.type_aliases import Shape, Tensor

# Codes are counted in float32, and the codebook is a table.
MOST_CODES = 2**20


class Quantizer(keras.layers.Layer):
    """What a `VQVAE` puts between its encoder and its decoder.

    A subclass sets `num_codes`, `dim` and `codebook`, float32 `(num_codes, dim)`, and writes
    `call`: from vectors `(batch, ..., dim)` to those of their codes, the codes, int32
    `(batch, ...)`, and the squared distance between the two, `(batch,)`.

    Attributes:
        commitment_weight: Float, of this distance in the loss.

    Example:

    >>> import keras_vae
    >>> quantizer = keras_vae.layers.VectorQuantizer(num_codes=8, dim=4)
    >>> isinstance(quantizer, keras_vae.layers.Quantizer), quantizer.num_codes
    (True, 8)

    See also:
        `VectorQuantizer`, `FiniteScalarQuantizer`.
    """

    commitment_weight = 0.0

    def build(self, z_shape: Shape) -> None:
        if z_shape[-1] != self.dim:
            raise ValueError(
                f"`{type(self).__name__}` needs vectors of length {self.dim}. Received: shape "
                f"{tuple(z_shape)}. Set the encoder's latent_dim to {self.dim}."
            )

    def embed(self, codes: Tensor) -> Tensor:
        """The vectors of codes: float32 `(..., dim)` from int `(...)`."""
        return ops.take(ops.convert_to_tensor(self.codebook), codes, axis=0)

    def compute_output_spec(self, z: Tensor, training: bool | None = False) -> Any:
        codes = keras.KerasTensor(z.shape[:-1], "int32")
        distance = keras.KerasTensor(z.shape[:1], "float32")
        return keras.KerasTensor(z.shape, "float32"), codes, distance


@keras.saving.register_keras_serializable("keras_vae")
class VectorQuantizer(Quantizer):
    """Replace each vector by the nearest one of a codebook that follows them.

    In training the codebook is a running k-means, no gradient reaches it: a code is the
    exponential moving average of the vectors that it stood for. A code that hardly stands for any
    is dead, and is restarted at a vector of the batch, drawn with a probability proportional to
    its squared distance from its code, as k-means++ seeds. All are dead at first, so the first
    batch fills the codebook. The gradient passes straight through, from the code to the vector.

    Args:
        num_codes: Int, at least 2.
        dim: Int, length of the vectors.
        commitment_weight: Float, at least 0: beta of the paper, for the loss of the model.
        decay: Float in [0, 1), of the moving averages.
        restart_below: Float, at least 0. A code is dead when its average use per step falls below
            this part of an equal share. 0 restarts none: then the codebook starts at N(0, 1).
        seed: Optional int, for restarts. Repeats them on one backend, not across them.

    Call arguments:
        z: Float tensor `(batch, ..., dim)`.
        training: Bool. Whether the codebook follows.

    Returns:
        Tuple of the codes' vectors, float32 of the shape of `z`; the codes, int32 `(batch, ...)`
        from 0 to `num_codes - 1`; and the squared distance of `z` from its codes, float32
        `(batch,)`, summed over all but the batch, whose gradient reaches `z` only.

    Raises:
        ValueError: If an argument is out of range, or the vectors have another length.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> quantizer = keras_vae.layers.VectorQuantizer(num_codes=8, dim=4, seed=0)
    >>> z, codes, distance = quantizer(np.zeros((2, 7, 7, 4), "float32"), training=False)
    >>> tuple(z.shape), tuple(codes.shape)
    ((2, 7, 7, 4), (2, 7, 7))

    See also:
        `FiniteScalarQuantizer`, without a codebook to learn; `VQVAE`.

    References:
        - van den Oord et al., 2017, eq. 1 and 3, appendix A.1. https://arxiv.org/abs/1711.00937
        - Arthur & Vassilvitskii, 2007, for the draws. https://dl.acm.org/doi/10.5555/1283383.1283494
    """

    def __init__(
        self,
        num_codes: int,
        dim: int,
        commitment_weight: float = 0.25,
        decay: float = 0.99,
        restart_below: float = 0.02,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Distances have too few digits in half precision.
        super().__init__(autocast=False, **kwargs)
        self.num_codes = arguments.whole(num_codes, "num_codes", 2)
        self.dim = arguments.whole(dim, "dim")
        self.commitment_weight = arguments.not_negative(commitment_weight, "commitment_weight")
        self.decay = arguments.part_of_one(decay, "decay")
        self.restart_below = arguments.not_negative(restart_below, "restart_below")
        self.seed = seed
        self.seed_generator = seeds.stream(seed, "restarts")

    def build(self, z_shape: Shape) -> None:
        super().build(z_shape)
        self.codebook = self.add_weight(
            name="codebook",
            shape=(self.num_codes, self.dim),
            initializer=keras.initializers.RandomNormal(
                stddev=1.0, seed=seeds.fold(self.seed, "codebook")
            ),
            dtype="float32",
            trainable=False,
        )
        # How many vectors a step each code stands for, on average.
        self.usage = self.add_weight(
            name="usage",
            shape=(self.num_codes,),
            initializer="zeros",
            dtype="float32",
            trainable=False,
        )

    def call(self, z: Tensor, training: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        z = ops.cast(z, "float32")
        vectors = ops.reshape(ops.stop_gradient(z), (-1, self.dim))
        codes = self._nearest(vectors)
        nearest = self.embed(codes)
        if training and self.trainable:
            self._follow(vectors, codes, nearest)
        nearest = ops.reshape(nearest, ops.shape(z))
        distance = _squares(z - nearest)
        return straight_through(z, nearest), ops.reshape(codes, ops.shape(z)[:-1]), distance

    def _nearest(self, vectors):
        """The code `(n,)` of each vector `(n, dim)`; of several at one distance, the first."""
        squares = ops.sum(ops.square(self.codebook), axis=-1)
        nearness = 2 * ops.matmul(vectors, ops.transpose(self.codebook)) - squares
        return ops.cast(ops.argmax(nearness, axis=-1), "int32")

    def _follow(self, vectors, codes, nearest):
        """Move the codebook towards the vectors that it stands for, and restart dead codes."""
        vectors, codes, nearest = map(replica.current().gather, (vectors, codes, nearest))
        differences = vectors - nearest
        ones = ops.ones_like(vectors[:, 0])
        used = ops.segment_sum(ones, codes, num_segments=self.num_codes)
        pull = ops.segment_sum(differences, codes, num_segments=self.num_codes)
        usage = self.decay * self.usage + (1 - self.decay) * used
        # The average of all vectors, written so that a code that stands for none stays.
        step = (1 - self.decay) / ops.maximum(usage, keras.config.epsilon())
        moved = self.codebook + step[:, None] * pull
        equal_share = ops.sum(ones) / self.num_codes
        dead = usage < self.restart_below * equal_share
        restarted = ops.take(vectors, self._draw(differences), axis=0)
        self.codebook.assign(ops.where(dead[:, None], restarted, moved))
        self.usage.assign(ops.where(dead, equal_share, usage))

    def _draw(self, differences):
        """Draw rows, one for each code, by their squares."""
        summed = ops.cumsum(ops.sum(ops.square(differences), axis=-1))
        points = keras.random.uniform((self.num_codes,), seed=self.seed_generator) * summed[-1]
        rows = ops.cast(ops.searchsorted(summed, points, side="right"), "int32")
        return ops.minimum(rows, ops.shape(summed)[0] - 1)

    def get_config(self) -> dict[str, Any]:
        names = ("num_codes", "dim", "commitment_weight", "decay", "restart_below", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("keras_vae")
class FiniteScalarQuantizer(Quantizer):
    """Round each entry of a vector to one of a few levels between -1 and 1; nothing is learnt.

    Entry i becomes `tanh(z_i)`, then the nearest of `levels[i]` equidistant values from -1 to 1;
    the gradient passes the rounding straight through. The codebook is the product of all levels.
    Where the paper shifts even numbers of levels to have one at 0, ours lie symmetrically, so that
    none is easier to reach; odd numbers are the paper's.

    Args:
        levels: Sequence of ints of at least 2, one for each entry of the vectors. The paper
            recommends `(8, 6, 5)` for 240 codes, `(8, 5, 5, 5)` for 1000.

    Call arguments:
        z: Float tensor `(batch, ..., len(levels))`.
        training: Unused; there for what all quantizers share.

    Returns:
        Tuple of the codes' vectors, float32 of the shape of `z`, in [-1, 1]; the codes, int32
        `(batch, ...)`, the first entry's level counting fastest; and the squared distance of
        `tanh(z)` from its codes, float32 `(batch,)`, summed over all but the batch.

    Raises:
        ValueError: If a level is below 2, or the vectors have another length.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> quantizer = keras_vae.layers.FiniteScalarQuantizer(levels=(5, 5, 3))
    >>> z, codes, distance = quantizer(np.zeros((2, 7, 7, 3), "float32"))
    >>> quantizer.num_codes, tuple(codes.shape)
    (75, (2, 7, 7))

    See also:
        `VectorQuantizer`, whose codebook is learnt.

    References:
        - Mentzer et al., 2023, section 3.1. https://arxiv.org/abs/2309.15505
    """

    def __init__(self, levels: Sequence[int], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if not isinstance(levels, list | tuple) or not levels:
            raise ValueError(
                f"`levels` must be one number of at least 2 per entry. Received: {levels!r}"
            )
        self.levels = arguments.wholes(levels, "levels", 2, "(8, 6, 5)")
        self.dim = len(self.levels)
        self.num_codes = math.prod(self.levels)
        if self.num_codes > MOST_CODES:
            raise ValueError(
                f"The product of `levels` must be at most {MOST_CODES}. Received: {self.num_codes}"
            )

    def call(self, z: Tensor, training: bool | None = False) -> tuple[Tensor, Tensor, Tensor]:
        bounded = ops.tanh(ops.cast(z, "float32"))
        steps = ops.convert_to_tensor(np.array(self.levels, "float32") - 1)
        levels = ops.round((bounded + 1) / 2 * steps)
        rounded = 2 * levels / steps - 1
        bases = np.cumprod([1, *self.levels[:-1]]).astype("float32")
        codes = ops.cast(ops.sum(levels * ops.convert_to_tensor(bases), axis=-1), "int32")
        distance = _squares(bounded - ops.stop_gradient(rounded))
        return straight_through(bounded, rounded), codes, distance

    @property
    def codebook(self) -> NDArray[np.float32]:
        """All vectors, float32 array `(num_codes, dim)`, in the order of the codes."""
        index = np.stack(np.unravel_index(np.arange(self.num_codes), self.levels[::-1]), axis=-1)
        steps = np.array(self.levels, "float32") - 1
        return (2 * index[:, ::-1].astype("float32") / steps - 1).astype("float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": list(self.levels)}


def straight_through(z, value):
    """`value`, to the last bit, with the gradient of `z`; NaN where `z` is not finite."""
    return ops.stop_gradient(value) + (z - ops.stop_gradient(z))


def usage(codes, num_codes):
    """Share of each code among all: float32 `(num_codes,)` from ints of any shape."""
    codes = ops.reshape(codes, (-1,))
    ones = ops.ones_like(codes, dtype="float32")
    return ops.segment_sum(ones, codes, num_segments=num_codes) / ops.sum(ones)


def _squares(differences):
    """The sum of squares `(batch,)` over all but the batch."""
    return ops.sum(ops.square(differences), axis=tuple(range(1, len(differences.shape))))
