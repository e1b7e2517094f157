"""The graphs that can be exported: their names, inputs, outputs and what they compute."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from export import ports, tracing
from export.errors import ExportError
from export.ports import TensorSpec, draw_inputs

OPSET = 18
BATCH_SIZES = (1, 3, 16)
STATIC_BATCH_SIZES = (1, 16)


@dataclasses.dataclass(frozen=True)
class Graph:
    """A function from named tensors to named tensors, as a format file exports it.

    Args:
        name: A name of `BUILDERS`.
        inputs: Tuple of `TensorSpec`.
        outputs: Tuple of `TensorSpec`.
        function: From a dict of the backend's tensors to a dict of the backend's tensors.
        model: The model that the function calls.
        draw: From a number of rows and a NumPy generator to a dict of typical inputs, in which
            every value of every integer input occurs if the rows are enough.
        row_by_row: Whether an output row depends on its own input rows alone; in the sampler it
            depends on its position as well.
        absolute_sums: Optional function, as `function`, to a dict from each output that is a sum
            of many terms to the sum of their absolute values, `(batch,)`.
        loops: Whether steps are repeated in a loop.
        draws_codes: Whether codes are drawn in it: what it gives jumps at the borders between two.
        in_units: Dict from the names of inputs and outputs that are columns of a table, in units,
            to how far numbers spread, or 1.
    """

    name: str
    inputs: tuple
    outputs: tuple
    function: Callable[[dict], dict]
    model: object
    draw: Callable[[int, np.random.Generator], dict]
    row_by_row: bool = True
    absolute_sums: Callable[[dict], dict] | None = None
    loops: bool = False
    draws_codes: bool = False
    in_units: dict = dataclasses.field(default_factory=dict)
    traces: dict = dataclasses.field(default_factory=dict, repr=False)

    def trace(self, batch_size=None, format="tflite", all_integer=False):
        """Trace the function on TensorFlow for one batch size, or for any.

        Args:
            batch_size: Optional int.
            format: `"tflite"`, `"tflite without GELU"` or `"onnx"`, whose operators it is made of.
            all_integer: Whether it becomes an all-integer file, which looks labels up in a table.

        Returns:
            A `tf.function` with its input signature, so that an integer label stays an integer.
        """
        key = batch_size, format, all_integer
        if key not in self.traces:
            self.traces[key] = self._trace(*key)
        return self.traces[key]

    def _trace(self, batch_size, format, all_integer):
        import tensorflow as tf

        from export import operators
        from keras_vae.exceptions import reason
        from keras_vae.networks import doubling

        names = [spec.name for spec in self.inputs]
        signature = [
            tf.TensorSpec(
                (batch_size if spec.batched else spec.shape[0], *spec.shape[1:]),
                spec.dtype,
                name=spec.name,
            )
            for spec in self.inputs
        ]

        labels = tracing.labels_from_table if all_integer else contextlib.nullcontext
        steps = contextlib.nullcontext if format == "onnx" else tracing.unrolled

        def traced(*tensors):
            try:
                with (
                    tracing.upsampling_as_resize(self.model),
                    doubling.transposed(False),  # LiteRT is slower with it, and rounds it worse
                    tracing.looked_up_plainly(),
                    operators.replaced(format),
                    labels(),
                    steps(self.model),
                ):
                    return self.function(dict(zip(names, tensors, strict=True)))
            except (ValueError, TypeError, NotImplementedError, tf.errors.OpError) as err:
                raise ExportError(
                    f"The `{self.name}` graph must be made of operators that TensorFlow has for "
                    f"any number of examples. It raised: {reason(err)}"
                ) from err

        return tf.function(traced, input_signature=signature, autograph=False)

    @functools.cached_property
    def variables(self):
        """The variables that the graph reads: TensorFlow's own, or on another backend Keras'."""
        import keras

        if keras.backend.backend() != "tensorflow":
            return tracing.variables_read(self)
        return list(self.trace().get_concrete_function().graph.variables)

    @property
    def num_parameters(self):
        """Number of weights that the graph reads."""
        return sum(math.prod(variable.shape) for variable in self.variables)

    @property
    def takes_data(self):
        """Whether it takes examples of the model's data."""
        takes = ("encoder", "scorer", "reconstructor", "classifier")
        return self.name in takes or any(s.name == "x" for s in self.inputs)

    def rows(self, inputs, index):
        """The rows of the inputs at some positions; what is one for all of them stays."""
        batched = {spec.name for spec in self.inputs if spec.batched}
        return {name: value[index] if name in batched else value for name, value in inputs.items()}

    def count(self, inputs):
        """Number of examples in the inputs."""
        return next(len(inputs[spec.name]) for spec in self.inputs if spec.batched)

    def evaluate(self, inputs, batch_size=64, function=None):
        """Compute from a dict of NumPy arrays to a dict of NumPy arrays, without tracing.

        Args:
            inputs: Dict of arrays.
            batch_size: Int. Rows computed at once.
            function: Optional function in the place of the graph's own.
        """
        import keras

        function = function or self.function

        count = self.count(inputs)
        batch_size = batch_size if self.row_by_row else count
        parts = []
        with tracing.on_cpu():
            for start in range(0, count, batch_size):
                batch = self.rows(inputs, slice(start, start + batch_size))
                outputs = function(
                    {name: keras.ops.convert_to_tensor(value) for name, value in batch.items()}
                )
                parts.append({k: keras.ops.convert_to_numpy(v) for k, v in outputs.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


# Which examples of a seed to draw: where no condition says how many there are, and of rows.
INDEX = TensorSpec("index", "int32", (None,), 16)
SEED = TensorSpec("seed", "int32", (1,))
TEMPERATURE = TensorSpec("temperature", "float32", (1,))
TOKEN_TEMPERATURE = TensorSpec("token_temperature", "float32", (1,))


def decoder(model):
    """The graph from a latent code and the conditions to the likelihood's mean.

    Args:
        model: A model of `keras_vae` with a latent code.

    Returns:
        A `Graph` with the inputs `z`, or `codes` where the code is one of a codebook's indices,
        and one for each condition, and the output `x`; of a table an output for each column, in
        units. Where tokens are drawn, with the inputs `seed` and `token_temperature` besides, and
        the output `margin`: how near the closest draw of an example came to a border between two
        tokens, as a part of 1.

    Raises:
        ValueError: If the model has no latent code.
    """
    from keras_vae.models.capabilities import DrawsTokens

    _check(model, "decoder")
    if isinstance(model, DrawsTokens):
        return _decoder_to_tokens(model)
    port = ports.of(model)
    [code] = _code_specs(model, ["z"])

    def function(tensors):
        return port.given(model.decode_mean(tensors[code.name], port.conditions(tensors)))

    def draw(rows, rng):
        drawn = {**draw_inputs([code], rows, rng), **port.draw_conditions(rows, rng)}
        if code.name == "z":
            drawn["z"] = as_prior(model, drawn["z"], drawn, rng)
        return drawn

    inputs = (code, *port.condition_specs)
    return Graph("decoder", inputs, port.outputs(), function, model, draw, in_units=port.in_units())


def _decoder_to_rows(model):
    """The decoder of a model whose data are drawn from its likelihood: of an example of a seed.

    The numbers to draw with come from the portable generator.
    """
    port = ports.of(model)
    batch = (*_code_specs(model, ["z"]), INDEX, *port.condition_specs)

    def function(tensors):
        from keras import ops

        parameters = model.decode_parameters(tensors["z"], port.conditions(tensors))
        size = math.prod(model.data_shape)
        asked = tensors["seed"], tensors["index"], model.latent_dim, ops
        noise = model.likelihood.noise(*asked, size=size)
        return port.given(model.likelihood.from_noise(parameters, *noise))

    def draw(rows, rng):
        drawn = {**draw_inputs(batch[:2], rows, rng), **port.draw_conditions(rows, rng)}
        drawn["z"] = as_prior(model, drawn["z"], drawn, rng)
        return {**drawn, "seed": _draw_settings(rng)["seed"]}

    inputs = (*batch, SEED)
    return Graph("decoder", inputs, port.outputs(), function, model, draw, in_units=port.in_units())


def _decoder_to_tokens(model):
    """The decoder of a model that draws tokens: a loop, with all that can be before it.

    The numbers to draw with come from the portable generator: no random operator is in the file.
    """
    port = ports.of(model)
    batch = (*_code_specs(model, ["z"]), *port.condition_specs)

    def function(tensors):
        from keras import ops

        index = tensors["index"] if "index" in tensors else positions(tensors["z"])
        uniform = model.uniforms(tensors["seed"], index, ops)
        conditions = port.conditions(tensors)
        temperature = tensors["token_temperature"]
        tokens, margin = model.generate(tensors["z"], uniform, temperature, conditions)
        return {"x": tokens, "margin": margin}

    def draw(rows, rng):
        drawn = draw_inputs(batch, rows, rng)
        drawn["z"] = as_prior(model, drawn["z"], drawn, rng)
        return {**drawn, **_draw_settings(rng)}

    inputs = (*batch, SEED, TOKEN_TEMPERATURE)
    outputs = (*port.outputs(), TensorSpec("margin", "float32", (None,)))
    return Graph("decoder", inputs, outputs, function, model, draw, row_by_row=False, loops=True)


def encoder(model):
    """The graph from data and the conditions to the latent code's parameters.

    Args:
        model: A model of `keras_vae` with an encoder.

    Returns:
        A `Graph` with the inputs `x`, or a table's columns in units, and one for each condition,
        and the outputs `z_mean` and `z_log_var`, or `z` where the code is no distribution, or
        `codes`, int32.

    Raises:
        ValueError: If the model has no encoder.
    """
    _check(model, "encoder")
    port = ports.of(model)
    outputs = _code_specs(model, model.code_names)

    def function(tensors):
        from keras import ops

        code = model.code(port.data(tensors), condition_vector(model, tensors), training=False)
        return {s.name: ops.cast(y, s.dtype) for s, y in zip(outputs, code, strict=True)}

    inputs = (*port.inputs, *port.condition_specs)
    draw = functools.partial(_draw_data, model)
    return Graph("encoder", inputs, tuple(outputs), function, model, draw, in_units=port.in_units())


def sampler(model):
    """The graph from the conditions, a seed and a temperature to samples of the prior.

    Without a condition the input `index` says which examples of the seed to draw; with one they
    are 0, 1, 2, ... in the order of the rows. Rows of a table and windows of a series always have
    an `index`, and are drawn from the likelihood, too, as `sample` draws them.

    Args:
        model: A model of `keras_vae` with a prior.

    Returns:
        A `Graph` with the inputs of the conditions, or `index`, and `seed` and `temperature`, and
        the outputs of the `decoder` and `z`, or `codes`.

    Raises:
        ValueError: If the model has no prior to draw from.
    """
    from keras_vae.models.mask_git import MaskGIT
    from keras_vae.priors.base import Prior

    _check(model, "sampler")
    if isinstance(model.prior, MaskGIT):
        return _sampler_of_codes(model)
    if not isinstance(model.prior, Prior):
        raise ValueError(
            "The `sampler` graph needs a model with a prior to draw from in few passes. Received: "
            f"{type(model).__name__} with {model.prior and type(model.prior).__name__}. Export its "
            "`decoder`."
        )
    made = _decoder_to_rows(model) if model.observes else decoder(model)
    return sampler_over(made, model.prior.fixed(), indexed=model.observes)


def sampler_over(decoder, prior, indexed=False):
    """Put the draw of `z` from a fixed prior before a decoder.

    Args:
        decoder: The `Graph`.
        prior: `priors.Prior`.
        indexed: Whether the decoder itself asks which examples of the seed to draw, by `INDEX`.
    """
    [latent_dim] = [spec.shape[1] for spec in decoder.inputs if spec.name == "z"]
    settings = tuple(spec for spec in decoder.inputs if not spec.batched)
    others = ("z", "index") if indexed else ("z",)
    conditions = tuple(s for s in decoder.inputs if s.batched and s.name not in others)
    indexed = indexed or not conditions
    batch = (INDEX, *conditions) if indexed else conditions
    inputs = (*batch, *dict.fromkeys((SEED, TEMPERATURE, *settings)))
    outputs = (*decoder.outputs, TensorSpec("z", "float32", (None, latent_dim)))

    def function(tensors):
        index = tensors["index"] if indexed else positions(tensors[batch[0].name])
        given = {spec.name: tensors[spec.name] for spec in conditions}
        condition = condition_vector(decoder.model, given)
        z = prior.draw(tensors["seed"], index, tensors["temperature"], latent_dim, condition)
        if settings:
            given |= {"index": index, **{spec.name: tensors[spec.name] for spec in settings}}
        return {**decoder.function({"z": z, **given}), "z": z}

    draw_conditions = functools.partial(draw_inputs, conditions)
    if tracing.own(decoder.model) is not None:
        draw_conditions = ports.of(decoder.model).draw_conditions

    def draw(rows, rng):
        drawn = {
            **draw_inputs((INDEX,) if indexed else (), rows, rng),
            **draw_conditions(rows, rng),
        }
        drawn |= {**_draw_settings(rng), "temperature": np.array([0.9], np.float32)}
        return {spec.name: drawn[spec.name] for spec in inputs}

    return Graph(
        "sampler",
        inputs,
        outputs,
        function,
        decoder.model,
        draw,
        row_by_row=indexed,
        loops=decoder.loops,
        in_units=decoder.in_units,
    )


def _sampler_of_codes(model):
    """The sampler of a model with a codebook: its prior's steps, written out, and the decoder."""
    port = ports.of(model)
    [codes] = _code_specs(model, ["z"])
    conditions = ports.specs_of(model.prior.condition)
    batch = conditions or (INDEX,)
    inputs = (*batch, SEED, TEMPERATURE)

    def function(tensors):
        from keras import ops

        index = tensors["index"] if not conditions else positions(tensors[batch[0].name])
        uniform = model.prior.uniforms(tensors["seed"], index, ops)
        given = {spec.name: tensors[spec.name] for spec in conditions}
        guidance = model.prior.guidance
        guided = {} if guidance == 1 else {"guidance": ops.convert_to_tensor([guidance], "float32")}
        drawn = model.prior.generate(uniform, tensors["temperature"], given, **guided)
        return {**port.given(model.decode_mean(drawn)), codes.name: drawn}

    def draw(rows, rng):
        settings = {**_draw_settings(rng), "temperature": np.array([0.9], np.float32)}
        drawn = {**draw_inputs(batch, rows, rng), **settings}
        return {spec.name: drawn[spec.name] for spec in inputs}

    return Graph(
        "sampler",
        inputs,
        (*port.outputs(), codes),
        function,
        model,
        draw,
        row_by_row=not conditions,
        draws_codes=True,
    )


def positions(tensor):
    """Int32 tensor `(batch,)`: 0, 1, 2, ... of the rows of a tensor."""
    import keras
    from keras import ops

    rows = tensor if len(tensor.shape) == 1 else tensor[:, 0]
    if "float" in keras.backend.standardize_dtype(rows.dtype):
        rows = ops.cast(rows < 0, "int32")  # in TFLite, ones like NaN are NaN
    ones = tracing.ones_like(rows)
    return ops.cast(ops.cumsum(ones), "int32") - 1


def scorer(model):
    """The graph from data and the conditions to an anomaly score.

    Args:
        model: A model of `keras_vae` that scores.

    Returns:
        A `Graph` with the inputs of the `encoder`, and the outputs `score`, in nats, which is by
        default the negative ELBO at the posterior mean (for an autoencoder, the negative
        log-likelihood; under a prior without a closed KL, with its estimate there, `Prior.kl`; an
        `AnomalyDetector` sets another one); `contribution`, what each value of the data adds to it;
        of a calibrated model `p_value`, the share of normal examples that score as high; and
        `x_reconstructed`, or for each of a table's columns `NAME_reconstructed`.

    Raises:
        ValueError: If the model has no score.
    """
    from keras_vae.models.capabilities import Bounds, DrawsTokens
    from keras_vae.models.scoring import p_values, scored

    _check(model, "scorer")
    port = ports.of(model)
    is_calibrated = model.scoring.calibration is not None
    outputs = (
        TensorSpec("score", "float32", (None,)),
        *((TensorSpec("p_value", "float32", (None,)),) if is_calibrated else ()),
        TensorSpec("contribution", "float32", (None, *model.data_shape)),
        *port.outputs(reconstructed=True),
    )
    prior = model.prior.fixed() if isinstance(model, Bounds) else None

    def explained(tensors):
        condition = condition_vector(model, tensors)
        return scored(model, port.data(tensors), condition, prior)

    def function(tensors):
        score, contribution, _, parameters = explained(tensors)
        made = {"score": ports.as_float32(score), "contribution": ports.as_float32(contribution)}
        if is_calibrated:
            made["p_value"] = p_values(model, made["score"], port.conditions(tensors))
        return {**made, **port.given(model.likelihood.mean(parameters), reconstructed=True)}

    def absolute_sums(tensors):
        magnitude = ports.as_float32(explained(tensors)[2])
        return {"score": magnitude, "contribution": magnitude}

    inputs = (*port.inputs, *port.condition_specs)
    draw = functools.partial(_draw_data, model)
    loops = isinstance(model, DrawsTokens)
    return Graph(
        "scorer",
        inputs,
        outputs,
        function,
        model,
        draw,
        absolute_sums=absolute_sums,
        loops=loops,
        in_units=port.in_units(),
    )


def reconstructor(model):
    """The graph from data and the conditions to what the model makes of their code.

    It is a scorer without its score, which fits into no 8 bits: all-integer files are made of it,
    and a device computes the score beside it. Windows of a series go in and come out standardised,
    for one step of 8 bits cannot be right for channels of other units.

    Args:
        model: A model of `keras_vae` with an encoder.

    Returns:
        A `Graph` with the inputs of the `encoder`, and the outputs `x_reconstructed`, or for each
        of a table's columns `NAME_reconstructed`.

    Raises:
        ValueError: If the model has no encoder.
    """
    from keras_vae.models.capabilities import DrawsTokens

    _check(model, "reconstructor")
    port = ports.of(model, standardised=True)

    def function(tensors):
        condition = condition_vector(model, tensors)
        code = model.code(port.data(tensors), condition, training=False)[0]
        mean = model.decode_mean(code, port.conditions(tensors))
        return port.given(mean, reconstructed=True)

    return Graph(
        "reconstructor",
        (*port.inputs, *port.condition_specs),
        port.outputs(reconstructed=True),
        function,
        model,
        functools.partial(_draw_data, model, port=port),
        loops=isinstance(model, DrawsTokens),
        in_units=port.in_units(),
    )


def classifier(model):
    """The graph from data to the probabilities of their classes.

    Args:
        model: A model of `keras_vae` with a classifier.

    Returns:
        A `Graph` with the input `x`, or a table's columns in units, and an output by the name of
        each label condition: probabilities, float32 `(batch, num_classes)`.

    Raises:
        ValueError: If the model has no classifier.
    """
    from keras_vae.models.capabilities import Classifies

    _check(model, "classifier")
    if not (isinstance(model, Classifies) and model.infers_labels):
        raise ValueError(
            "The `classifier` graph needs a model with a classifier, as one trained with unknown "
            f"labels has. Received: a {type(model).__name__} without."
        )
    port = ports.of(model)
    outputs = tuple(
        TensorSpec(name, "float32", (None, kind.num_leaves))
        for name, kind in model.label_kinds.items()
    )

    def function(tensors):
        from keras import ops

        found = model.label_log_probs(ports.as_float32(port.data(tensors)))
        return {name: ops.exp(log_q) for name, log_q in found.items()}

    def draw(rows, rng):
        drawn = _draw_data(model, rows, rng, port=port)
        return {spec.name: drawn[spec.name] for spec in port.inputs}

    return Graph(
        "classifier", port.inputs, outputs, function, model, draw, in_units=port.in_units()
    )


def unknown_operators(graph, where, found):
    """The error of a graph with operators that a format lacks.

    Args:
        graph: The `Graph`.
        where: Words for the operators that the format has.
        found: List of pairs of an operator and its place in the graph, `model/layer/Operator`.
    """
    names = {f"{operator} in {place.rpartition('/')[0] or place}" for operator, place in found}
    return ExportError(
        f"The `{graph.name}` graph must be made of {where}. Received: "
        f"{'; '.join(sorted(names)[:8])}. Write the layer with other operations of keras.ops."
    )


BUILDERS = {
    "decoder": decoder,
    "encoder": encoder,
    "sampler": sampler,
    "scorer": scorer,
    "reconstructor": reconstructor,
    "classifier": classifier,
}


def _check(model, graph):
    """Raise a ValueError unless a model can have a graph; build it."""
    from keras_vae.models.capabilities import Encodes, Samples, Scores, require

    if tracing.own(model) is None:
        raise ValueError(
            f"The `{graph}` graph needs a model of `keras_vae` that has it; for another Keras "
            f"model, name its `inputs`. Received: {type(model).__name__}."
        )
    if model.likelihood.takes_missing and model.schema is None:
        raise ValueError(
            "A model of a table must have a schema to be exported, for files take and give units. "
            f"Received: a {type(model).__name__} without. Make it with keras_vae.table_vae."
        )
    needed = {
        "encoder": Encodes,
        "reconstructor": Encodes,
        "sampler": Samples,
        "scorer": Scores,
    }
    if graph in needed:
        require(model, needed[graph], f"The `{graph}` graph")
    if not model.built:
        model.build()


def _code_specs(model, names):
    """The parts of a latent code; or the one grid of indices, where there is a codebook."""
    from keras_vae.models.capabilities import DiscreteCodes

    if isinstance(model, DiscreteCodes):
        grid = (None, *model.grid_shape)
        return (TensorSpec("codes", "int32", grid, model.quantizer.num_codes),)
    return tuple(TensorSpec(name, "float32", (None, model.latent_dim)) for name in names)


def condition_vector(model, tensors):
    """The vector of a model's conditions, or None for one that has no such thing."""
    if tracing.own(model) is None or not model.condition:
        return None
    return model.encode_condition(ports.of(model).conditions(tensors), training=False)


def draw_codes(model, seed, rows, conditions, temperature=1.0):
    """The codes `(rows, latent)` that a model's sampler draws for a seed, as an array."""
    condition = condition_vector(model, {k: _tensor(values) for k, values in conditions.items()})
    return model.prior.sample(rows, model.latent_dim, temperature, seed, condition)


def as_prior(model, noise, inputs, rng):
    """Codes of the model's prior; of N(0, I), and where there is no prior, the noise itself."""
    from keras_vae.priors import StandardNormal
    from keras_vae.priors.base import Prior

    if not isinstance(model.prior, Prior) or isinstance(model.prior, StandardNormal):
        return noise
    return draw_codes(model, int(rng.integers(2**31)), len(noise), inputs)


def _tensor(array):
    import keras

    return keras.ops.convert_to_tensor(array)


def _draw_settings(rng):
    return {
        "seed": rng.integers(0, 2**31, 1).astype(np.int32),
        "token_temperature": np.array([0.7], np.float32),
    }


def _draw_data(model, rows, rng, port=None):
    """Data that the model itself makes of its prior's codes; rows of a table by their kinds."""
    port = port or ports.of(model)
    conditions = port.draw_conditions(rows, rng)
    specs = _code_specs(model, ["z"])
    [code] = draw_inputs(specs, rows, rng).values()
    code = as_prior(model, code, conditions, rng) if specs[0].name == "z" else code
    return {**port.draw_data(code, conditions, rng), **conditions}
