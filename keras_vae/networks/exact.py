"""Decoders that compute with whole numbers, so that every device draws the same.

A sum of floats depends on its order, and each runtime has its own: now and then a draw falls on the
other side of a border between two tokens, or two names of a table, and all tokens after it differ.
Here every sum is one of whole numbers, held in float32, that stays below 2^24: exact in any order,
on any processor. So one seed gives the same tokens and rows everywhere, by construction.

- Weights are whole numbers from -127 to 127 times a power of two, one for each output of a layer.
- Hidden values are whole, in steps of 1/64; FLOOR brings the sums of a layer back to them. What a
  layer reads is cut off where its sums could reach 2^24, so far out that nothing comes there.
- Logits are whole, in steps of 1/64 nat. What a token weighs in a draw is looked up in a table, and
  a draw compares whole numbers. What a table's decoder gives is whole, in steps of 1/256
  (`keras_vae.exact_columns`).

References:
    - Jacob et al., 2018, for networks of whole numbers. https://arxiv.org/abs/1712.05877
    - Ballé et al., 2019, for the reason. https://openreview.net/forum?id=S1zz2i0cY7
"""

import keras
import numpy as np
from keras import ops

from keras_vae import keras_internals, portable_random
from keras_vae.exact_columns import weights
from keras_vae.networks import arithmetic
from keras_vae.priors.fitted import FittedMixture
from keras_vae.priors.standard_normal import StandardNormal

# What a value is: a whole number of 2^-bits. Features are 0, 1 or counts.
# A row is what a table's decoder reads, a code and conditions.
BITS = {"features": 0, "code": 5, "hidden": 6, "share": 8, "logits": 6, "row": 8, "parameters": 8}
# Below it, float32 holds every whole number.
LIMIT = 2.0**24
LARGEST_WEIGHT = 127
# The most that a layer reads, in whole numbers: 32 of hidden values, of which ten are rare.
LARGEST_INPUT = 2**11 - 1
# The most that a feature is: how many voices sound a pitch.
LARGEST_FEATURE = 64
# The smallest token temperature above 0, the largest, and the steps between.
TEMPERATURES, TEMPERATURE_STEPS = (1 / 32, 16.0), 1024
# The steps of a logit below the largest that a draw tells apart; how finely the temperature divides
# them, to parts of a nat by which a token's weight is looked up.
GAPS, INVERSE_STEPS, WEIGHTS_PER_NAT = 2048, 1024, 256
# What all tokens together weigh at the most, and the values of a word of a random number.
LARGEST_TOTAL, WORD = 2**18, 2**12


class MayBeExact:
    """What a decoder inherits that can compute with whole numbers.

    Attributes:
        can_be_exact: Bool. Whether one of its arguments can.
        exact: Bool. Whether it does.
    """

    can_be_exact = True
    exact = False


class Wholes(arithmetic.Floats):
    """The arithmetic of whole numbers, in the place of `Floats`."""

    is_exact = True

    def __init__(self, num_tokens=None):
        super().__init__(num_tokens)

    def dense(self, units, reads="hidden", gives="hidden", signed=False, **options):
        return ExactDense(units, reads, gives, signed, **{**options, "dtype": "float32"})

    def code(self, z, kind="code"):
        return ops.floor(z * 2.0 ** BITS[kind] + 0.5)

    def reciprocals(self, counts):
        # Of so few bits that products with counts are exact.
        bits = 13
        fine = np.round(2.0**bits / np.asarray(counts, "float64"))
        return (fine * 2.0 ** (BITS["share"] - bits)).astype("float32")

    def share(self, counts, reciprocals):
        return ops.floor(counts * ops.convert_to_tensor(reciprocals))

    def nats(self, logits):
        return logits * 2.0 ** -BITS["logits"]

    def begin_draws(self, uniform, temperature):
        """Two words of each number, and what a token weighs by how far its logit is from the top.

        The temperature is rounded to 1/1024, and from 1/32 to 16 where it is not 0.
        """
        first = ops.floor(uniform * float(WORD))
        second = ops.floor(uniform * float(WORD**2) - first * float(WORD))
        is_warm = ops.cast(temperature > 0, "float32")
        # At 0 the first of the likeliest tokens: all others weigh nothing, and the number is 0.
        words = ops.cast(ops.stack([first, second], axis=-1) * is_warm, "int32")
        temperature = ops.clip(temperature, *TEMPERATURES)
        steps = ops.cast(ops.floor(temperature * float(TEMPERATURE_STEPS) + 0.5), "int32")
        inverse = (INVERSE_STEPS * TEMPERATURE_STEPS + steps // 2) // steps
        gaps, divisor = ops.arange(GAPS, dtype="int32"), 2 ** BITS["logits"] * INVERSE_STEPS
        divisor //= WEIGHTS_PER_NAT
        below = weights_below(self.num_tokens)
        index = ops.minimum((gaps * inverse + divisor // 2) // divisor, len(below) - 1)
        table = arithmetic.look_up(ops.convert_to_tensor(below), index, axis=0)
        return words, ops.where(gaps > 0, table * is_warm, table)

    def draw(self, logits, numbers, setting):
        """Tokens as of `Floats.draw`; no draw is near a border, for nothing is rounded: 1."""
        gap = ops.minimum(ops.max(logits, axis=-1, keepdims=True) - logits, GAPS - 1.0)
        cumulated = ops.cumsum(arithmetic.look_up(setting, ops.cast(gap, "int32"), axis=0), axis=-1)
        total = ops.cast(cumulated[:, -1:], "int32")
        first, second = numbers[:, :1], numbers[:, 1:]
        # The whole part of the total times a number of two words: none of these reaches 2^31.
        wanted = (total * first + total * second // WORD) // WORD
        token = ops.sum(ops.cast(cumulated <= ops.cast(wanted, "float32"), "int32"), axis=-1)
        return ops.cast(token, "int32"), ops.ones_like(logits[:, 0])


def weights_below(num_tokens):
    """`exact_columns.weights` of tokens, in parts of 1/256 of a nat."""
    return weights(num_tokens, LARGEST_TOTAL, WEIGHTS_PER_NAT)


class ExactDense(keras.layers.Layer):
    """A dense layer of whole numbers: cut off, multiplied, summed, rounded down.

    It is not trained: `take` sets its weights from a trained layer. The bias holds a half besides,
    so that what is rounded down is rounded to the nearest.

    Args:
        units: Int.
        reads, gives: Names of `BITS`, what its inputs and outputs are.
        signed: Whether its inputs may be negative.
        activation: Optional name of an activation that keeps whole numbers whole, such as "relu".
        use_bias: Ignored: all have a bias.
        **options: As of `keras.layers.Layer`.

    Call arguments:
        x: float32 tensor `(..., inputs)` of whole numbers.

    Returns:
        float32 tensor `(..., units)` of whole numbers.
    """

    def __init__(
        self,
        units,
        reads="hidden",
        gives="hidden",
        signed=False,
        activation=None,
        use_bias=True,
        **options,
    ):
        super().__init__(trainable=False, **options)
        self.units, self.reads, self.gives, self.signed = units, reads, gives, signed
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        shapes = {"kernel": (input_shape[-1], self.units), "bias": (self.units,), "reach": ()}
        self.kernel, self.bias, self.reach = (
            self.add_weight(shape=shape, initializer="zeros", name=name)
            for name, shape in shapes.items()
        )
        self.built = True

    def call(self, x, training=None):
        if self.reads != "features":  # of which there are few
            x = ops.minimum(x, self.reach)
            x = ops.maximum(x, -self.reach) if self.signed else x
        y = ops.floor(ops.matmul(x, self.kernel) + self.bias)
        return self.activation(y)

    def of_arrays(self, x):
        """As a call, before the activation, of a float64 array."""
        kernel, bias, reach = (ops.convert_to_numpy(w).astype("float64") for w in self.weights)
        return np.floor(np.clip(x, -reach, reach) @ kernel + bias)

    def take(self, layer, shift=0.0):
        """Take the weights of a trained dense layer, rounded.

        Args:
            layer: `keras.layers.Dense`.
            shift: Float array `(units,)`, added to its bias.

        Returns:
            Float: no output can be larger.

        Raises:
            ValueError: If the weights are so large that sums could reach 2^24.
        """
        kernel = ops.convert_to_numpy(layer.kernel).astype("float64")
        bias = np.zeros(kernel.shape[1])
        if layer.bias is not None:
            bias = ops.convert_to_numpy(layer.bias).astype("float64")
        kernel, bias, reach = rounded(kernel, bias + shift, BITS[self.reads], BITS[self.gives])
        if self.reads == "features":
            reach = np.minimum(reach, LARGEST_FEATURE)
        if reach < 2.0 ** BITS[self.reads]:
            raise ValueError(
                f"An exact decoder needs weights of which sums stay small. Received: sums over "
                f"{reach / 2.0 ** BITS[self.reads]:.2g} times the inputs in {layer.path}. Train "
                "it with decay of the weights."
            )
        weights = self.kernel, self.bias, self.reach
        for weight, value in zip(weights, (kernel, bias, reach), strict=True):
            weight.assign(value.astype("float32"))
        return float(np.max(reach * np.abs(kernel).sum(axis=0) + np.abs(bias)))


def typical_rows(model, count=1024):
    """What a trained decoder of a table reads, codes of the prior and conditions in turn: float64.

    Without data, and the same everywhere.
    """
    given, every = {}, 1
    for at, (name, kind) in enumerate(model.condition.items()):
        if kind.kind == "continuous":  # of a table, near N(0, 1)
            index = np.arange(count)
            given[name] = portable_random.normal(np.array([1]), index, at + 1)[:, at:]
            continue
        if kind.kind == "multi_label":
            index = np.arange(count * kind.size).reshape(count, kind.size)
            given[name] = (index // every % (kind.unknown + 1)).astype("int32")
            continue
        given[name] = (np.arange(count) // every % kind.num_classes).astype("int32")
        every *= kind.num_classes
    condition = model.condition_vectors(given)
    z = model.prior.sample(count, model.latent_dim, seed=0, condition=condition)
    return np.concatenate([z, *([] if condition is None else [condition])], 1).astype("float64")


def centre(pairs, rows):
    """Make up in the biases of a stack of layers for what rounding moves on average.

    Hidden values are not negative: what rounding does to weights does not cancel in their sum.

    Args:
        pairs: List of tuples of a trained dense layer and its `ExactDense`, one after the other.
        rows: float64 array `(n, inputs)`, what the first trained one reads.
    """
    exact_rows = np.floor(rows * 2.0 ** BITS[pairs[0][1].reads] + 0.5)
    for layer, made in pairs:
        kernel, bias = (ops.convert_to_numpy(w).astype("float64") for w in layer.weights)
        rows = rows @ kernel + bias
        given = exact_rows
        exact_rows, scale = made.of_arrays(given), 2.0 ** BITS[made.gives]
        made.take(layer, (rows - exact_rows / scale).mean(axis=0))
        exact_rows = made.of_arrays(given)
        if made is not pairs[-1][1]:
            rows, exact_rows = (np.maximum(x, 0) for x in (rows, exact_rows))


def rounded(kernel, bias, reads, gives):
    """Weights of whole numbers, and how large inputs may be.

    Args:
        kernel: float64 array `(inputs, units)`.
        bias: float64 array `(units,)`.
        reads, gives: Ints, the bits after the point of inputs and outputs.

    Returns:
        Tuple of float64 arrays: the kernel and the bias in steps of the outputs, with a half in the
        bias, and the largest input `()` in its steps, of which no sum reaches 2^24.
    """
    # Bits after the point: as many as whole numbers up to 127 allow, and a bias up to 2^22, with
    # the half that it holds.
    largest = np.abs(kernel).max(axis=0)
    bits = np.floor(np.log2(LARGEST_WEIGHT / np.maximum(largest, 2.0**-16)))
    bits = np.minimum(bits, 22 - reads - np.ceil(np.log2(np.abs(bias) + 2.0 ** (-gives - 1))))
    step = 2.0 ** (gives - reads - bits)
    whole = np.round(kernel * 2.0**bits)
    half = np.where(step < 1, 0.5 / step, 0)
    whole_bias = np.round(bias * 2.0 ** (bits + reads)) + half
    # Where steps are larger than 1, sums are multiples of them.
    sums = np.maximum(np.abs(whole).sum(axis=0), 1)
    reach = np.floor((LIMIT / np.maximum(step, 1) - 1 - np.abs(whole_bias)) / sums)
    return whole * step, whole_bias * step, np.minimum(reach.min(), LARGEST_INPUT)


def check(model):
    """Raise a ValueError unless a `VAE` has a decoder that can be exact, and all it sees is."""
    if not (isinstance(model.decoder, MayBeExact) and model.decoder.can_be_exact):
        raise ValueError(refusal(model.decoder))
    is_table = model.likelihood.takes_missing and model.schema is not None
    told = model.schema.exact_numbers if is_table else ()
    real = [name for name, kind in model.condition.items() if kind.kind == "continuous"]
    if not set(real) <= set(told):
        raise ValueError(
            "An exact model must have conditions that are categories or sequences, or of a table "
            f"numbers without logarithms. Received: {', '.join(real)}, of real numbers. Train one "
            "without, or in categories."
        )
    learned = [n for n, kind in model.condition.items() if getattr(kind, "embedding_dim", 0)]
    if learned:
        raise ValueError(
            "An exact model must have one-hot labels. Received: learned vectors, which are real "
            f"numbers, of {', '.join(learned)}. Train one with embedding_dim=0."
        )
    if not isinstance(model.prior, StandardNormal | FittedMixture):
        raise ValueError(
            "An exact model must have the prior N(0, I), or one that fit_prior made, whose draws "
            f"are the same bits everywhere. Received: {type(model.prior).__name__}. Train one with "
            "such a prior."
        )


def refusal(decoder):
    """Why a decoder has no exact form."""
    return (
        "An exact decoder must be of causal convolutions, a CausalDecoder or a NotesDecoder, or of "
        f"a table, a TableDecoder with ReLU. Received: {type(decoder).__name__}."
    )


def config_of(decoder):
    """What Keras makes the exact decoder of the same arguments from."""
    described = keras.saving.serialize_keras_object(decoder)
    config = {**described["config"], "exact": True, "dtype": "float32"}
    return {**described, "config": config, "build_config": None}


def copy(model, exact):
    """Give an exact model the weights of a trained one, those of the decoder rounded.

    Args:
        model: A built `VAE`.
        exact: One whose decoder is made by `config_of`, built.

    Raises:
        ValueError: If weights are so large that sums could reach 2^24.
    """
    parts = [(m, {id(weight) for weight in m.decoder.weights}) for m in (model, exact)]
    others = [[w for w in m.weights if id(w) not in decoders] for m, decoders in parts]
    for source, target in zip(*others, strict=True):
        target.assign(ops.convert_to_numpy(source))  # a copy: JAX gives arrays away in training
    layers = (keras_internals.flatten_layers(m.decoder) for m in (model, exact))
    pairs = [
        (layer, made)
        for layer, made in zip(*layers, strict=True)
        if isinstance(made, ExactDense) and made.built
    ]
    largest = [made.take(layer) * (made.gives == "hidden") for layer, made in pairs]
    if not hasattr(exact.decoder, "place"):
        centre(pairs, typical_rows(model))
        return
    place = np.round(ops.convert_to_numpy(model.decoder.place) * 2.0 ** BITS["hidden"])
    exact.decoder.place.assign(place)
    if not sum(largest) + np.abs(place).max() < LIMIT:
        raise ValueError(
            f"An exact decoder needs weights of which sums stay below {LIMIT:g}. Received: sums up "
            f"to {sum(largest):.3g}. Train it with decay of the weights."
        )
