"""What a family of models can do: classes that it inherits, and that others ask for.

A family inherits those whose names hold for it, and writes what they declare. Evaluation, figures,
doctor, export and the command line ask by `isinstance`, or by `require`, which says in one line
what a model lacks; they never look for attributes. What every `GenerativeModel` has is not here:
`decode`, `likelihood`, `condition`, `prior` (None without one), `latent_dim`, `data_shape`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_vae.distributions import Distribution
from keras_vae.type_aliases import Conditions, Examples, Tensor


class Encodes:
    """Turns examples into a latent code: parameters of a distribution, a vector or a grid.

    Attributes:
        code_names: Tuple of str, the names of the code's parts.
        dynamic_binarization: Whether data are drawn as 0 or 1 before they are seen.
    """

    def encode(self, inputs: Examples, batch_size: int = 256) -> Any:
        """The code's parts of every example, arrays `(n, ...)`; of several a tuple."""
        raise NotImplementedError

    def encode_means(self, inputs: Examples, batch_size: int = 256) -> NDArray[Any]:
        """The first of the code's parts, which is decoded where there is no noise."""
        code = self.encode(inputs, batch_size)
        return code[0] if isinstance(code, tuple) else code

    def reconstruct(self, inputs: Examples, batch_size: int = 256) -> NDArray[Any]:
        """Decode every example's code, without noise, to arrays `(n, *data_shape)`."""
        raise NotImplementedError


class Samples:
    """Makes new examples of codes drawn from its `prior`.

    The prior may be None until one is learnt; then `sample` says so.
    """

    @property
    def sample_conditions(self) -> dict[str, Any]:
        """The conditions that `sample` takes, a dict from name to kind; {} where it takes none."""
        return self.condition

    def sample(
        self, conditions: Any = None, temperature: float = 1.0, seed: int | None = None
    ) -> NDArray[Any]:
        """Draw examples, float32 `(n, *data_shape)`; how many, or the conditions of each."""
        raise NotImplementedError


class Bounds:
    """Bounds the log-likelihood of data from below: it has a posterior and the density of a prior.

    Attributes:
        posterior: Object of `keras_vae.posteriors`.
        kl_weight: Scalar variable, the weight of the KL now.
        kl_schedule: Object of `keras_vae.schedules`, or None where the weight is constant.
    """

    def infer(
        self, x: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> Distribution:
        """The posterior of a batch of tensors: a distribution of codes."""
        raise NotImplementedError

    def draw_codes(
        self, inputs: Examples, seed: int | np.random.Generator | None = None, batch_size: int = 256
    ) -> NDArray[np.float32]:
        """A code from the posterior of every example, float32 `(n, latent)`."""
        raise NotImplementedError

    def kl_by_dimension(
        self, inputs: Examples, batch_size: int = 256
    ) -> NDArray[np.float32] | None:
        """What each latent dimension costs, nats `(n, latent)`; None if the KL is no such sum."""
        raise NotImplementedError

    def log_likelihood(
        self,
        inputs: Examples,
        num_samples: Any = 5000,
        batch_size: int = 64,
        seed: int | None = None,
    ) -> Any:
        """Estimate `log p(x)`, nats `(n,)`, by importance sampling from the posterior."""
        raise NotImplementedError


class Scores:
    """Tells how unlikely an example is: the `scorer` graph is made of it.

    The score is the negative log-likelihood of the example given its code, and with `Bounds` the
    KL besides, in nats.
    """


class Classifies:
    """Can have a classifier, which says the classes of examples whose labels nobody said."""

    @property
    def infers_labels(self) -> bool:
        """Whether it has one."""
        raise NotImplementedError

    def classify(
        self, inputs: Examples, batch_size: int = 256
    ) -> NDArray[np.float32] | dict[str, NDArray[np.float32]]:
        """Probabilities `(n, num_classes)`; of several label conditions a dict of such by name."""
        raise NotImplementedError


class DrawsExactly:
    """Can have a decoder that computes with whole numbers, and draws the same everywhere."""

    @property
    def is_exact(self) -> bool:
        """Whether it has such a decoder."""
        raise NotImplementedError

    def as_exact(self) -> Any:
        """A model that has."""
        raise NotImplementedError


class DrawsTokens:
    """Makes data by drawing tokens one after the other, each given those before it.

    So decoding takes numbers to draw with and a temperature, and gives int32 tokens.
    """

    def generate(
        self,
        z: Tensor,
        uniform: Tensor,
        token_temperature: Tensor,
        conditions: Conditions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens of codes, as tensors, and how near the closest draw came to a border."""
        raise NotImplementedError

    def uniforms(self, seed: Tensor, index: Tensor, ops: Any = None) -> Tensor:
        """The numbers that the examples `index` of a seed are drawn with."""
        raise NotImplementedError


class DiscreteCodes:
    """Has a codebook: its code is a grid of indices, its prior a model of such grids.

    Attributes:
        quantizer: Layer with `num_codes`, `embed` and `commitment_weight`.
        grid_shape: Tuple `(height, width)` of a code.
    """


class Adversarial:
    """Learns from a `discriminator` instead of a likelihood of the data."""


_NOUNS = {
    Encodes: "encoder",
    Samples: "prior to sample from",
    Bounds: "bound of the log-likelihood",
    Scores: "score of examples",
    Classifies: "classifier",
    DrawsExactly: "decoder of whole numbers",
    DrawsTokens: "decoder that draws tokens",
    DiscreteCodes: "codebook",
    Adversarial: "discriminator",
}


def require(model: Any, capability: type[Any], what: str) -> None:
    """Raise a ValueError unless a model has a capability.

    Args:
        model: Any object.
        capability: Class of this module.
        what: Str, what needs it, such as "The `scorer` graph".
    """
    if not isinstance(model, capability):
        raise ValueError(
            f"{what} needs a model with {article(_NOUNS[capability])}. Received: "
            f"{article(type(model).__name__)}, which has none."
        )


def lack(model: Any, capability: type[Any]) -> str:
    """Words for a model that has not a capability: "a GAN has no encoder"."""
    return f"{article(type(model).__name__)} has no {_NOUNS[capability]}"


def article(noun: str) -> str:
    """A noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"
