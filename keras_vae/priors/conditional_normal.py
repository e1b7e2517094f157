"""A normal prior whose mean and variance depend on the condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import arguments, portable_random
from keras_vae.distributions import Normal
from keras_vae.networks.dense import dense_stack
from keras_vae.priors.base import Prior, build_layer, condition_size
from keras_vae.priors.fitted import MOST_ROWS, FittedMixture, classes_of, row_vectors
from keras_vae.type_aliases import Shape, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class ConditionalNormal(Prior, keras.layers.Layer):
    """p(z | condition): a diagonal Gaussian, its mean and log-variance learned with the model.

    They are a dense network of the condition's vector. Without hidden layers they are linear in
    it, which for one label is a mean and a variance of its own for every class. Training begins
    at N(0, I), or near it. The KL has a closed form.

    Args:
        hidden_units: Tuple of ints, widths of hidden layers, for what is not linear in the
            condition: continuous ones, or several at once.
        activation: Activation of the hidden layers.

    Call arguments:
        condition: Float tensor `(batch, size)`.

    Returns:
        `distributions.Normal`.

    Example:

    >>> import keras_vae
    >>> model = keras_vae.ConditionalVAE(
    ...     keras_vae.networks.DenseEncoder(2, hidden_units=(8,)),
    ...     keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,)),
    ...     condition={"label": keras_vae.Categorical(3)},
    ...     prior=keras_vae.priors.ConditionalNormal(),
    ... )
    >>> model.sample({"label": [0, 1, 2]}, seed=0).shape
    (3, 4, 4, 1)

    See also:
        `StandardNormal`; `FittedMixture`, fitted after training.

    References:
        - Sohn et al., 2015, the conditional prior p(z|x) of section 4.1.
          https://papers.nips.cc/paper/5775
    """

    kl_adds_up = True
    draws_in_training = True

    def __init__(
        self,
        hidden_units: Sequence[int] = (),
        activation: str | Callable[..., Any] = "tanh",
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.activation = arguments.activation(activation)
        self.hidden = dense_stack(self.hidden_units, activation, dtype=self.variable_dtype)
        self.heads = None
        self.classes = self.condition = None

    def build_for(self, model: Any) -> None:
        if not model.condition:
            raise ValueError(
                "`ConditionalNormal` needs a model with conditions. Received: "
                f"{type(model).__name__}. Use ConditionalVAE, or another prior."
            )
        build_layer(self, (None, model.latent_dim), (None, condition_size(model)))
        classes = classes_of(model)
        sizes = [num_classes + 1 for _, _, num_classes in classes]
        if len(classes) == len(model.condition) and math.prod(sizes) <= MOST_ROWS:
            self.classes, self.condition = classes, model.condition

    def build(self, z_shape: Shape, condition_shape: Shape) -> None:
        # Through a kernel of 0 no gradient would reach the hidden layers.
        small = keras.initializers.RandomNormal(stddev=0.01)
        initializer = small if self.hidden else "zeros"
        self.heads = [
            keras.layers.Dense(
                z_shape[-1], kernel_initializer=initializer, dtype=self.variable_dtype, name=name
            )
            for name in ("mean", "log_var")
        ]
        shape = tuple(condition_shape)
        for layer in self.hidden:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        for head in self.heads:
            head.build(shape)
        self.built = True

    def mean_and_log_var(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each `(batch, latent)`, of conditions `(batch, size)`."""
        h = ops.cast(condition, self.variable_dtype)
        for layer in self.hidden:
            h = layer(h)
        mean, log_var = (head(h) for head in self.heads)
        return mean, log_var

    def __call__(self, condition: Tensor | None = None) -> Normal:
        return Normal(*self.mean_and_log_var(condition))

    def fixed(self) -> Prior:
        """A table with one row for every combination of labels; with a continuous one, itself."""
        if self.classes is None:
            return self
        vectors = row_vectors(self.condition.values())
        mean, log_var = map(ops.convert_to_numpy, self.mean_and_log_var(vectors))
        ones = np.ones((len(mean), 1))
        made = FittedMixture.of(mean[:, None], np.exp(log_var / 2)[:, None], ones, self.classes)
        made.read_labels(self.condition)
        return made

    def draw(
        self,
        seed: Tensor,
        index: Tensor,
        temperature: Tensor,
        latent_dim: int,
        condition: Tensor | None = None,
        ops: Any = ops,
    ) -> Tensor:
        noise = portable_random.normal(seed, index, latent_dim, ops) * temperature
        mean, log_var = self.mean_and_log_var(condition)
        return mean + keras.ops.exp(log_var / 2) * keras.ops.convert_to_tensor(noise)

    def manifest(self) -> dict[str, Any]:
        return {"kind": "conditional_normal"} if self.classes is None else self.fixed().manifest()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "activation": self.activation,
        }
