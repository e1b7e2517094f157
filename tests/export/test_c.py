"""A C file computes what its weights say, needs nothing, and cannot be led outside itself."""

import functools
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import types

import keras
import numpy as np
import pytest

import keras_vae
from export import c, c_program, graphs
from keras_vae import networks, portable_random, priors
from keras_vae.priors import fitted
from tests.export.exported import CustomDecoder, conditions_of
from tests.export.test_parity import converts_here

# Written from the same weights on every backend.
pytestmark = converts_here

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, c.COMPILERS)), reason="there is no C compiler to run the files with"
)

LABEL = {"label": keras_vae.Categorical(3)}
BOTH = {"label": keras_vae.Categorical(4), "angle": keras_vae.Continuous(2)}
ORDERED = {"size": keras_vae.Ordinal(["low", "middle", "high"])}
TAGS = {"tags": keras_vae.MultiLabel(["red", "*/ round", "big"])}
TREE = {"label": keras_vae.Hierarchical(["a/b/c", "a/d", "e"])}
LEARNED = {"label": keras_vae.Categorical(5, embedding_dim=3)}
TWO = {"shape": keras_vae.Categorical(2), "color": keras_vae.Categorical(3)}
# By what differs: the decoder, the options and the conditions.
KINDS = {
    "dense": (networks.DenseDecoder, (8, 8, 1), {"hidden_units": (16, 12)}, {}),
    "ordered": (networks.DenseDecoder, (7,), {"hidden_units": (9,)}, ORDERED),
    "tags": (networks.DenseDecoder, (7,), {"hidden_units": (9,)}, TAGS),
    "tree": (networks.DenseDecoder, (7,), {"hidden_units": (9,)}, TREE),
    "learned": (networks.DenseDecoder, (7,), {"hidden_units": (9,)}, LEARNED),
    "one layer": (networks.DenseDecoder, (5, 8, 2), {"hidden_units": ()}, BOTH),
    "vector": (networks.DenseDecoder, (7,), {"hidden_units": (9,)}, LABEL),
    "conv": (networks.ConvDecoder, (9, 7, 3), {"hidden_units": (6, 4)}, BOTH),
    "biased": (
        networks.ConvDecoder,
        (8, 8, 1),
        {"hidden_units": (6, 4, 5), "batch_normalization": False, "negative_slope": 0.3},
        TWO,
    ),
    "residual": (
        networks.ConvDecoder,
        (9, 8, 2),
        {"hidden_units": (6, 4), "residual_blocks": 2},
        LABEL,
    ),
    "residual biased": (
        networks.ConvDecoder,
        (5, 8, 1),
        {"hidden_units": (5,), "residual_blocks": 1, "batch_normalization": False},
        {},
    ),
    "even kernel": (
        networks.ConvDecoder,
        (5, 8, 2),
        {"hidden_units": (5, 4), "kernel_size": 4},
        {},
    ),
    "transposed": (
        networks.ConvDecoder,
        (9, 7, 3),
        {"hidden_units": (6, 4), "transposed": True},
        TWO,
    ),
    "transposed biased": (
        networks.ConvDecoder,
        (5, 8, 2),
        {
            "hidden_units": (5, 4),
            "transposed": True,
            "kernel_size": 5,
            "batch_normalization": False,
        },
        {},
    ),
    "transposed points": (
        networks.ConvDecoder,
        (5, 3, 1),
        {"hidden_units": (4,), "transposed": True, "kernel_size": 1},
        LABEL,
    ),
}


def make(decoder, condition, latent_dim=3, scale=0.4, on_grid=False):
    """An untrained model whose weights are large enough to make varied pictures.

    With `on_grid` they are whole multiples, -127 to 127, of one step for each output channel.
    """
    encoder = networks.DenseEncoder(latent_dim, hidden_units=())
    if condition:
        model = keras_vae.ConditionalVAE(encoder, decoder, condition)
    else:
        model = keras_vae.VAE(encoder, decoder)
    model.build()
    rng = np.random.default_rng(1)
    tables = model.conditioning.weights if condition else []
    for weight in (*decoder.weights, *tables):
        values = rng.standard_normal(weight.shape) * scale
        if weight.path.endswith("moving_variance"):
            values = 0.5 + np.abs(values)
        elif on_grid and values.ndim > 1:
            channel = 2 if "transpose" in weight.path else values.ndim - 1
            others = tuple(axis for axis in range(values.ndim) if axis != channel)
            step = np.abs(values).max(axis=others, keepdims=True) / 127
            values = np.round(values / step) * step
        weight.assign(values)
    return model


@functools.cache
def model_of(kind):
    decoder, shape, options, condition = KINDS[kind]
    return make(decoder(shape, **options), condition, on_grid=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A function that gives the file of a kind."""

    @functools.cache
    def write(kind, graph="decoder"):
        path = tmp_path_factory.mktemp("c") / f"{graph}.c"
        c.write(c.convert(graphs.BUILDERS[graph](model_of(kind))), path)
        return path

    return write


def inputs_of(model, rows=16):
    """Codes, and conditions with every class and *unknown*."""
    z = np.random.default_rng(0).standard_normal((rows, model.latent_dim), dtype=np.float32)
    return {"z": z, **conditions_of(model, rows)}


def decoded(model):
    """What the model gives for them."""
    inputs = inputs_of(model)
    return model.decode(inputs.pop("z"), inputs)


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_computes_what_its_int8_weights_say(kind, written):
    model, path = model_of(kind), written(kind)
    made = c.load(path)(inputs_of(model))
    assert list(made) == ["x"]
    assert made["x"].dtype == np.float32
    expected = oracle(model, path.read_text(), inputs_of(model))
    assert expected.std() > 0.01
    # Measured: at most 5e-7.
    np.testing.assert_allclose(made["x"], expected, rtol=0, atol=3e-6)
    # Weights that int8 holds without loss give what the model gives. At most 8e-7.
    expected = decoded(model)
    np.testing.assert_allclose(made["x"], expected, rtol=0, atol=5e-6)


@needs_compiler
@pytest.mark.parametrize(("kind", "bound"), [("dense", 0.01), ("conv", 0.05)])
def test_a_file_computes_nearly_what_the_model_computes(kind, bound, tmp_path):
    decoder, shape, options, condition = KINDS[kind]
    model = make(decoder(shape, **options), condition)
    c.write(c.convert(graphs.decoder(model)), tmp_path / "decoder.c")
    made = c.load(tmp_path / "decoder.c")(inputs_of(model))["x"]
    expected = decoded(model)
    # Measured: 0.0038 and 0.018, of weights in 8 bits.
    np.testing.assert_allclose(made, expected, rtol=0, atol=bound)
    assert np.abs(made - expected).max() > 1e-4


def test_weights_are_off_by_half_a_step_at_most():
    model = make(networks.DenseDecoder((8, 8, 1), hidden_units=(16, 12)), {})
    arrays = arrays_of(c.convert(graphs.decoder(model)).source("decoder", "decoder.h"))
    layers = [*model.decoder.hidden, model.decoder.outputs_dense]
    for index, layer in enumerate(layers):
        scales = arrays[f"scales_{index}"]
        weights = arrays[f"weights_{index}"].reshape(len(scales), -1) * scales[:, None]
        kernel = keras.ops.convert_to_numpy(layer.kernel).T
        assert (np.abs(weights - kernel) <= scales[:, None] * 0.5001).all()
        assert np.abs(arrays[f"weights_{index}"]).reshape(len(scales), -1).max(axis=1).min() == 127
        biases = keras.ops.convert_to_numpy(layer.bias)
        np.testing.assert_array_equal(arrays[f"biases_{index}"], biases)


@needs_compiler
@pytest.mark.parametrize("activation", c_program.ACTIVATIONS)
def test_activations_are_those_of_keras(activation, tmp_path):
    decoder = networks.DenseDecoder((6,), hidden_units=(40,), activation=activation)
    # Wide enough to pass every kink.
    model = make(decoder, {}, scale=2.0)
    decoder.outputs_dense.kernel.assign(decoder.outputs_dense.kernel * 0.02)
    path = tmp_path / "decoder.c"
    c.write(c.convert(graphs.decoder(model)), path)
    made = c.load(path)(inputs_of(model))["x"]
    expected = oracle(model, path.read_text(), inputs_of(model))
    # Measured: at most 1.1e-6, of the exponential; the others 9e-8.
    np.testing.assert_allclose(made, expected, rtol=0, atol=4e-6)


def test_an_activation_layer_is_taken_with_its_slope():
    decoder = networks.DenseDecoder((4,), (5,), activation=keras.layers.LeakyReLU(0.125))
    content = c.convert(graphs.decoder(make(decoder, {})))
    assert "0.125f * v" in content.source("decoder", "decoder.h")


@needs_compiler
def test_a_channel_of_zeros_is_zero(tmp_path):
    decoder = networks.DenseDecoder((4,), ())
    model = make(decoder, {})
    decoder.outputs_dense.kernel.assign(keras.ops.zeros((3, 4)))
    c.write(c.convert(graphs.decoder(model)), tmp_path / "decoder.c")
    made = c.load(tmp_path / "decoder.c")(inputs_of(model))["x"]
    bias = keras.ops.convert_to_numpy(decoder.outputs_dense.bias)
    np.testing.assert_allclose(made, np.tile(sigmoid(bias), (16, 1)), atol=1e-6)


# The sampler


@needs_compiler
@pytest.mark.parametrize("seed", [0, 42, 65536, 2**31 - 1])
def test_the_sampler_draws_the_same_bits(seed, written):
    index = np.array([0, 1, 2, 65535, 65536, 2**20 - 1], np.int32)
    made = c.load(written("dense", "sampler"))(
        {"index": index, **draw_of(seed, 0.7)},
    )
    z = portable_random.normal(np.array([seed]), index, 3) * np.float32(0.7)
    assert np.unique(z).size == z.size
    np.testing.assert_array_equal(made["z"].view(np.int32), z.view(np.int32))
    # The same code made the same compiler's way.
    decoded = c.load(written("dense"))({"z": z})["x"]
    np.testing.assert_allclose(made["x"], decoded, rtol=0, atol=1e-7)


@needs_compiler
@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize("condition", [{}, LABEL, BOTH, ORDERED, TREE])
def test_the_sampler_draws_the_same_bits_of_a_fitted_prior(components, condition, tmp_path):
    model = make(networks.DenseDecoder((4,), (5,)), condition)
    classes = fitted.classes_of(model)
    rows = math.prod(count + 1 for _, _, count in classes)
    rng = np.random.default_rng(0)
    means, scales = rng.normal(size=(2, rows, components, 3))
    weights = rng.dirichlet(np.ones(components), rows)
    prior = priors.FittedMixture.of(means, np.abs(scales) + 0.1, weights, classes)
    model.replace_prior(prior)
    c.write(c.convert(graphs.sampler(model)), tmp_path / "sampler.c")
    index, given = np.arange(16, dtype=np.int32), conditions_of(model, 16)
    inputs = {**given, **({} if condition else {"index": index})}
    made = c.load(tmp_path / "sampler.c")({**inputs, **draw_of(9, 0.7)})["z"]
    seed, temperature = (draw_of(9, 0.7)[name] for name in ("seed", "temperature"))
    vectors = model.condition_vectors(given)
    expected = prior.draw(seed, index, temperature, 3, vectors, np).astype("float32")
    np.testing.assert_array_equal(made.view(np.int32), expected.view(np.int32))


@needs_compiler
def test_a_gaussian_gives_its_mean_as_it_is(tmp_path):
    decoder = networks.DenseDecoder((4,), (5,))
    model = keras_vae.VAE(networks.DenseEncoder(3, ()), decoder, likelihood="gaussian_optimal")
    model.build()
    decoder.outputs_dense.bias.assign([-3.0, 0.0, 5.0, 2.0])
    c.write(c.convert(graphs.decoder(model)), tmp_path / "decoder.c")
    made = c.load(tmp_path / "decoder.c")(inputs_of(model))["x"]
    # Measured: 0.006, of weights in 8 bits.
    np.testing.assert_allclose(made, decoded(model), rtol=0, atol=0.03)


@needs_compiler
def test_all_latent_dimensions_are_drawn_apart(tmp_path):
    latent_dim = 300
    model = make(networks.DenseDecoder((2,), ()), {}, latent_dim)
    c.write(c.convert(graphs.sampler(model)), tmp_path / "sampler.c")
    index = np.arange(3, dtype=np.int32)
    made = c.load(tmp_path / "sampler.c")({"index": index, **draw_of(7, 1.0)})["z"]
    np.testing.assert_array_equal(made, portable_random.normal(np.array([7]), index, latent_dim))


@needs_compiler
def test_with_conditions_row_k_is_example_k(written):
    conditions = conditions_of(model_of("conv"), 5)
    made = c.load(written("conv", "sampler"))({**conditions, **draw_of(3, 1.0)})
    z = portable_random.normal(np.array([3]), np.arange(5, dtype=np.int32), 3)
    np.testing.assert_array_equal(made["z"], z)
    decoded = c.load(written("conv"))({"z": z, **conditions})["x"]
    np.testing.assert_allclose(made["x"], decoded, rtol=0, atol=1e-7)


@needs_compiler
@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"index": -1}, {"index": 2**20}, {"temperature": -0.5}]
    + [{"temperature": float(value)} for value in ("nan", "inf")],
)
def test_a_draw_out_of_range_is_refused(wrong, written):
    given = {"index": 0, "seed": 1, "temperature": 1.0, **wrong}
    arrays = draw_of(given["seed"], given["temperature"])
    with pytest.raises(ValueError, match=r"sampler\.c refuses example 0"):
        c.load(written("dense", "sampler"))(
            {"index": np.array([given["index"]], np.int32), **arrays}
        )


# In a program of one's own

MAIN = """\
#include <stdio.h>
#include "{prefix}.h"
{arrays}
int main(void)
{{
    static float work[{macro}_WORK_SIZE + 1], x[{macro}_SIZE + 1];
    double largest = 0.0;
    work[{macro}_WORK_SIZE] = x[{macro}_SIZE] = 123.0f;
    for (int n = 0; n < 5; n++) {{
        const int32_t label = n;
        if ({prefix}_run(z + n * {macro}_LATENT_DIM, label, angle + n * 2, x, work)) {{
            return 2;
        }}
        for (int i = 0; i < {macro}_SIZE; i++) {{
            const double error = (double)x[i] - (double)expected[n * {macro}_SIZE + i];
            largest = error > largest ? error : -error > largest ? -error : largest;
        }}
    }}
    for (int i = 0; i < {macro}_SIZE; i++) {{
        x[i] = 7.0f;
    }}
    work[0] = 5.0f;
    const int32_t outside[4] = {{-1, {macro}_LABEL_UNKNOWN + 1, INT32_MAX, INT32_MIN}};
    for (int n = 0; n < 4; n++) {{
        if (!{prefix}_run(z, outside[n], angle, x, work)) {{
            return 3;
        }}
    }}
    for (int i = 0; i < {macro}_SIZE; i++) {{
        if (!(x[i] > 6.0f && work[0] > 4.0f)) {{
            return 4;
        }}
    }}
    if (!(x[{macro}_SIZE] > 122.0f && work[{macro}_WORK_SIZE] > 122.0f)) {{
        return 5;
    }}
    printf("%.9g", largest);
    return 0;
}}
"""


@needs_compiler
def test_a_program_runs_the_file_and_refuses_labels_that_are_none(written, tmp_path):
    model, path = model_of("conv"), written("conv")
    shutil.copy(path, tmp_path)
    shutil.copy(path.with_suffix(".h"), tmp_path)
    inputs = {**inputs_of(model, 5), "label": np.arange(5, dtype=np.int32)}
    sample = {**inputs, "expected": oracle(model, path.read_text(), inputs)}
    arrays = [
        f"static const float {name}[] = {{{', '.join(f'{v:.9e}f' for v in sample[name].flat)}}};"
        for name in ("z", "angle", "expected")
    ]
    main = MAIN.format(prefix="decoder", macro="DECODER", arrays="\n".join(arrays))
    (tmp_path / "main.c").write_text(main)
    # Measured: 1.2e-7.
    assert sanitized(tmp_path, "decoder.c") < 1e-6


@needs_compiler
@pytest.mark.parametrize("graph", ["decoder", "sampler"])
def test_a_file_needs_nothing_but_libm(graph, written, tmp_path):
    if shutil.which("nm") is None:
        pytest.skip("there is no nm to list symbols with")
    path = written("conv", graph)
    shutil.copy(path.with_suffix(".h"), tmp_path)
    shutil.copy(path, tmp_path)
    assert compile_in(tmp_path, *c.FLAGS, "-c", path.name, "-o", "file.o").stderr == ""
    symbols = subprocess.run(
        ["nm", "file.o"], cwd=tmp_path, capture_output=True, text=True
    ).stdout.split("\n")
    kinds = {line.split()[-1]: line.split()[-2] for line in symbols if line}
    # A compiler may write these two for loops.
    outside = {name for name, kind in kinds.items() if kind == "U"}
    assert outside - {"memset", "memcpy", "__stack_chk_fail"} == {"expf"}
    assert [name for name, kind in kinds.items() if kind.isupper() and kind != "U"] == [
        f"{graph}_run"
    ]
    # All that is not code is constant: it stays in flash.
    assert not set(kinds.values()) & set("bBdDC")


@needs_compiler
@pytest.mark.parametrize("graph", ["decoder", "sampler"])
def test_the_header_is_a_cpp_header_too(graph, written, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    header = written("conv", graph).with_suffix(".h")
    (tmp_path / "main.cpp").write_text(f'#include "{header}"\nint main() {{ return 0; }}\n')
    command = ["g++", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "main.cpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# Names and comments

STRANGE = {
    "int": keras_vae.Categorical(2),
    "Int": keras_vae.Categorical(3),
    "class_": keras_vae.Continuous(1),
    "größe": keras_vae.Continuous(2),
    "grüße": keras_vae.Continuous(1),
    "数": keras_vae.Categorical(2),
    "_": keras_vae.Continuous(1),
    "_Bool": keras_vae.Categorical(2),
    "NAN": keras_vae.Continuous(1),
    "work": keras_vae.Continuous(1),
    "i": keras_vae.Categorical(2),
    "latent": keras_vae.Continuous(2),
    "index": keras_vae.Categorical(3),
    "decode": keras_vae.Categorical(3),
    "draw": keras_vae.Continuous(1),
    "weights_0": keras_vae.Categorical(2),
    "dense": keras_vae.Categorical(2),
    "a": keras_vae.Continuous(1),
    "int32_t": keras_vae.Continuous(1),
    "decoder_run": keras_vae.Continuous(1),
    "Couple_0": keras_vae.Continuous(1),
}


@needs_compiler
def test_conditions_of_any_name_become_parameters(tmp_path):
    model = make(networks.DenseDecoder((5,), (6,)), STRANGE)
    path = tmp_path / "decoder.c"
    c.write(c.convert(graphs.decoder(model)), path)
    made = c.load(path)(inputs_of(model))["x"]
    expected = oracle(model, path.read_text(), inputs_of(model))
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6)
    header = path.with_suffix(".h").read_text()
    parameters = re.search(r"^int decoder_run\((.*?)\);", header, re.MULTILINE | re.DOTALL)[1]
    names = re.findall(r"(\w+)(?:,|$)", parameters)
    assert len(set(names)) == len(names) == len(STRANGE) + 3
    assert "const float *gr__e" in parameters
    assert '(the condition "gr\\u00f6\\u00dfe")' in header
    macros = re.findall(r"#define (\w+)", header)
    assert len(set(macros)) == len(macros)
    assert "#define DECODER_LATENT_DIM 3" in header
    names = [port["name"] for port in c.describe(path)["signatures"][0]["inputs"]]
    assert names == ["z", *STRANGE]


@needs_compiler
def test_class_names_stay_in_comments(tmp_path):
    names = ("*/ int broken;", "/*", "??/", "\n#error", "\\", "é", 'quote"', " ".join("ab" * 99))
    condition = {"label": keras_vae.Categorical(len(names), names)}
    model = make(networks.DenseDecoder((4,), ()), condition)
    data = manifest_of("decoder", [{"name": "label", "kind": "categorical", "names": names}])
    path = tmp_path / "decoder.c"
    c.write(c.convert(graphs.decoder(model)), path, json.dumps(data).encode())
    c.load(path)(inputs_of(model))
    for text in (path.read_bytes(), path.with_suffix(".h").read_bytes()):
        assert text.isascii()
        assert b"??" not in text
    assert c.read_manifest(path)["conditions"][0]["names"] == list(names)


@pytest.mark.parametrize(
    ("name", "header", "function"),
    [
        ("decoder.c", "decoder.h", "decoder_run"),
        ("decoder.int8.c", "decoder.int8.h", "decoder_run"),
        ("sevens.c.keras_vae_part", "sevens.h.keras_vae_part", "sevens_run"),
        ("7 segments.c", "7 segments.h", "decoder_7_segments_run"),
        ("é.c", "é.h", "decoder_run"),
        ("d" * 110 + ".c", "d" * 110 + ".h", "d" * 110 + "_run"),
    ],
)
@needs_compiler
def test_the_file_names_the_functions_and_the_header(name, header, function, tmp_path):
    path = tmp_path / name
    c.write(c.convert(graphs.decoder(model_of("dense"))), path)
    assert c.companions(path) == [tmp_path / header]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([name, header])
    assert f"int {function}(" in (tmp_path / header).read_text()
    assert c.load(path)(inputs_of(model_of("dense")))["x"].shape == (16, 8, 8, 1)


def test_a_path_must_name_a_c_file(tmp_path):
    for name in ("decoder.txt", ".c", "decoder", 'de"coder.c', "de\\coder.c", "??/.c", "*.c"):
        with pytest.raises(ValueError, match=r"must end with \.c and hold letters.* Received: "):
            c.companions(tmp_path / name)


def test_the_same_model_gives_the_same_bytes(written, tmp_path):
    path = written("conv", "sampler")
    c.write(c.convert(graphs.sampler(model_of("conv"))), tmp_path / "sampler.c.keras_vae_part")
    assert (tmp_path / "sampler.c.keras_vae_part").read_bytes() == path.read_bytes()
    assert (tmp_path / "sampler.h.keras_vae_part").read_bytes() == path.with_suffix(
        ".h"
    ).read_bytes()


# What a file says of itself


def test_a_file_is_described_without_running_anything(written, tmp_path, monkeypatch):
    content = c.convert(graphs.sampler(model_of("conv")))
    data = {**manifest_of("sampler", []), "note": "*/ ??/ é"}
    c.write(content, tmp_path / "sampler.c", json.dumps(data, ensure_ascii=False).encode())
    monkeypatch.setattr(subprocess, "run", None)
    assert c.read_manifest(tmp_path / "sampler.c") == data
    [signature] = c.describe(tmp_path / "sampler.c")["signatures"]
    graph = graphs.sampler(model_of("conv"))
    assert signature["name"] == "sampler"
    for ports, specs in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        assert [(port["name"], port["dtype"]) for port in signature[ports]] == [
            (spec.name, spec.dtype) for spec in specs
        ]
        assert [port["shape"] for port in signature[ports]] == [
            ["batch" if size is None else size for size in spec.shape] for spec in specs
        ]
    assert c.describe(tmp_path / "sampler.c")["operators"] == []
    assert c.forbidden_operators(tmp_path / "sampler.c") == []
    with pytest.raises(ValueError, match=r"sampler\.c holds no `keras_vae` manifest"):
        c.read_manifest(written("conv", "sampler"))


@needs_compiler
def test_programs_take_every_batch_size(written):
    [(name, batch_sizes, run)] = c.programs(written("conv"))
    assert (name, batch_sizes) == ("decoder", graphs.BATCH_SIZES)
    for rows in batch_sizes:
        assert run(inputs_of(model_of("conv"), rows))["x"].shape == (rows, 9, 7, 3)


def test_a_damaged_file_is_named(written, tmp_path):
    whole = written("dense").read_bytes()
    for content, message in (
        (b"", "is no C file of keras-vae, or is cut off"),
        (whole[: len(whole) // 2], "is no C file of keras-vae, or is cut off"),
        (whole.replace(b'"decoder"', b"decoder"), "signature of file.c is damaged"),
        (whole.replace(b'["batch",3]', b'["batch",{}]'), "signature of file.c is damaged"),
        (b'/* signature: {"name":"decoder"} */\n', "signature of file.c is damaged"),
        (b"/* signature: [] */\n", "signature of file.c is damaged"),
        (b"/* signature: " + b"[" * 100000 + b" */\n", "signature of file.c is damaged"),
    ):
        (tmp_path / "file.c").write_bytes(content)
        for read in (c.describe, c.load):
            with pytest.raises(ValueError, match=message) as raised:
                read(tmp_path / "file.c")
            assert "\n" not in str(raised.value)
    (tmp_path / "file.c").write_bytes(b"/* keras_vae manifest: {\xff} */\n")
    with pytest.raises(ValueError, match=r"manifest of file\.c is damaged"):
        c.read_manifest(tmp_path / "file.c")


# Refusals


def test_other_decoders_are_refused():
    class Decoder(keras.Model):
        data_shape = (4,)

        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, inputs):
            return self.dense(inputs)

    for decoder in (Decoder(), CustomDecoder((4, 4, 1))):
        with refused("ConvDecoder and Conv1DDecoder as they are", type(decoder).__name__):
            c.convert(graphs.decoder(make(decoder, {})))


def test_other_graphs_models_and_options_are_refused():
    model = make(networks.DenseDecoder((4,), (3,)), LABEL)
    with refused("graphs decoder, encoder, sampler, scorer, reconstructor", "painter"):
        c.convert(types.SimpleNamespace(name="painter", model=model))
    for quantize in ("float16", "int8-full"):
        with refused("`quantize` must be 'int8' or 'none'", repr(quantize)):
            c.convert(graphs.decoder(model), quantize)
    layers = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    with refused("models of `keras_vae`", "Sequential"):
        c.convert(types.SimpleNamespace(name="decoder", model=layers))


def test_other_activations_likelihoods_conditions_and_priors_are_refused():
    def relu(x):
        return x

    for activation in (relu, "softmax"):
        decoder = networks.DenseDecoder((4,), (3,), activation=activation)
        with refused("activations linear, relu,", "relu" if callable(activation) else activation):
            c.convert(graphs.decoder(make(decoder, {})))

    class Angle(keras_vae.Continuous):
        def encode(self, value):
            return keras.ops.cos(value)

    with refused("Hierarchical, MultiLabel and Continuous", "Angle for `angle`"):
        c.convert(graphs.decoder(make(networks.DenseDecoder((4,), ()), {"angle": Angle(2)})))

    model = make(networks.DenseDecoder((4,), ()), {})

    class Wider(keras_vae.priors.StandardNormal):
        """A prior of the user's own."""

    model.prior = Wider()
    with refused("draws from the priors ConditionalNormal, FittedMixture,", "Wider"):
        c.convert(graphs.sampler(model))
    model.likelihood = types.SimpleNamespace(
        name="cauchy", data_range=(0.0, 1.0), holds_tokens=False, takes_missing=False
    )
    with refused("likelihoods bernoulli", "cauchy"):
        c.convert(graphs.decoder(model))


def test_weights_that_are_not_finite_are_refused():
    decoder = networks.DenseDecoder((4,), ())
    model = make(decoder, {})
    decoder.outputs_dense.bias.assign([0.0, math.nan, 0.0, 0.0])
    with refused("weights must be finite", "NaN or infinity"):
        c.convert(graphs.decoder(model))


@needs_compiler
def test_inputs_that_do_not_fit_are_refused(written):
    run, good = c.load(written("conv")), inputs_of(model_of("conv"), 4)
    for name, value in (
        ("label", None),
        ("label", good["label"].astype(np.int64)),
        ("label", good["label"][:3]),
        ("z", good["z"][:, :2]),
        ("z", np.float32(0)),
        ("angle", good["angle"].astype(np.float64)),
    ):
        with pytest.raises(ValueError, match=rf"decoder\.c .*`{name}`"):
            run({**good, name: value})
    with pytest.raises(ValueError, match="refuses example 2"):
        run({**good, "label": np.array([0, 4, 5, 1], np.int32)})


def test_without_a_compiler_one_is_asked_for(written, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -O3")
    with pytest.raises(ModuleNotFoundError, match=r"no C compiler: no-such-compiler \(by CC\)\."):
        c.load(written("dense"))
    monkeypatch.delenv("CC")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"no C compiler: cc, gcc, clang\. Install"):
        c.load(written("dense"))


@needs_compiler
def test_what_the_compiler_refuses_is_one_line(written, tmp_path):
    path = written("dense")
    shutil.copy(path.with_suffix(".h"), tmp_path)
    (tmp_path / "decoder.c").write_bytes(path.read_bytes().replace(b"static void", b"static vid"))
    with pytest.raises(ValueError, match=r"cannot compile decoder\.c: .*vid") as raised:
        c.load(tmp_path / "decoder.c")
    assert "\n" not in str(raised.value)


# Helpers


def oracle(model, source, inputs):
    """What a decoder makes with the int8 weights of a C file, in float64."""
    arrays, decoder = arrays_of(source), model.decoder
    vector = [inputs["z"]]
    for name, kind in model.condition.items():
        value = inputs[name]
        if kind.kind == "multi_label":
            value = np.array([-1, 1, 0])[value]
        if kind.kind == "categorical":
            table = np.eye(kind.num_classes)
            if isinstance(kind, keras_vae.Hierarchical):
                # a/b/c, a/d, e, a/b and a.
                rows = "10011", "01001", "00100", "00011", "00001"
                table = np.array([list(map(int, row)) for row in rows])
            if kind.manifest().get("ordered"):
                table = np.tri(kind.num_classes)
            elif f"vectors_of_{name}" in arrays:
                levels = arrays[f"vectors_of_{name}"].reshape(kind.num_classes, -1)
                table = levels * arrays[f"scales_of_{name}"]
            value = np.pad(table, ((0, 1), (0, 0)))[value]
        vector.append(value)
    h = np.concatenate(vector, axis=1).astype(np.float64)

    def kernel_and_bias(index, *shape):
        scales = arrays[f"scales_{index}"]
        weights = arrays[f"weights_{index}"].reshape(len(scales), *shape, -1)
        return weights * scales.reshape(-1, *[1] * (weights.ndim - 1)), arrays[f"biases_{index}"]

    if isinstance(decoder, networks.DenseDecoder):
        activation = keras.activations.get(decoder.activation)
        for index in range(len(decoder.hidden_units) + 1):
            kernel, bias = kernel_and_bias(index)
            h = h @ kernel.T + bias
            if index < len(decoder.hidden_units):
                h = keras.ops.convert_to_numpy(activation(h.astype("float32"))).astype("float64")
    else:
        sides = [model.data_shape[:2]]
        for _ in decoder.options["hidden_units"]:
            sides.insert(0, tuple(math.ceil(side / 2) for side in sides[0]))
        k, slope = decoder.options["kernel_size"], decoder.options["negative_slope"]
        kernel, bias = kernel_and_bias(0)
        h = (h @ kernel.T + bias).reshape(len(h), *sides[0], -1)
        double = spread if decoder.transposed else repeat
        numbers = itertools.count(1)
        for height, width in sides[1:]:
            for _ in range(decoder.options.get("residual_blocks", 0)):
                inner = convolve(h, *kernel_and_bias(next(numbers), k, k))
                inner = np.where(inner > 0, inner, slope * inner)
                h = h + convolve(inner, *kernel_and_bias(next(numbers), k, k))
                h = np.where(h > 0, h, slope * h)
            h = double(h, *kernel_and_bias(next(numbers), k, k), height, width)
            h = np.where(h > 0, h, slope * h)
        h = convolve(h, *kernel_and_bias(next(numbers), k, k))
    return sigmoid(h).reshape(len(h), *model.data_shape)


def repeat(x, kernel, bias, height, width):
    """Repeat pixels, crop and convolve."""
    return convolve(x.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width], kernel, bias)


def convolve(x, kernel, bias):
    """Convolve with zeros around."""
    k, (_, height, width, _) = kernel.shape[1], x.shape
    before = (k - 1) // 2
    x = np.pad(x, [(0, 0), (before, k - 1 - before), (before, k - 1 - before), (0, 0)])
    return bias + sum(
        x[:, i : i + height, j : j + width] @ kernel[:, i, j].T for i in range(k) for j in range(k)
    )


def spread(x, kernel, bias, height, width):
    """Add the kernel at every second place, once for each pixel, and crop."""
    k, (count, x_height, x_width, _) = kernel.shape[1], x.shape
    made = np.zeros((count, 2 * x_height + k, 2 * x_width + k, len(kernel)))
    for i in range(k):
        for j in range(k):
            made[:, i : i + 2 * x_height : 2, j : j + 2 * x_width : 2] += x @ kernel[:, i, j].T
    before = max(k - 2, 0) // 2
    return bias + made[:, before : before + height, before : before + width]


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.clip(logits, -500, 500)))


def arrays_of(source):
    """The constant arrays of a C file, by name."""
    found = re.findall(r"^static const \w+ (\w+)\[(\d+)\] = \{(.*?)\};", source, re.M | re.S)
    arrays = {}
    for name, size, values in found:
        arrays[name] = np.array([value.rstrip("f") for value in values.replace(",", " ").split()])
        arrays[name] = arrays[name].astype(np.float32).astype(np.float64)
        assert len(arrays[name]) == int(size)
    return arrays


def draw_of(seed, temperature):
    return {
        "seed": np.array([seed], np.int32),
        "temperature": np.array([temperature], np.float32),
    }


def manifest_of(graph, conditions):
    """As little as a manifest must hold."""
    return {
        "schema": 1,
        "graph": graph,
        "model": "VAE",
        "latent_dim": 3,
        "data_shape": [4],
        "quantization": "int8",
        "parameters": 1,
        "conditions": conditions,
        "versions": {},
        "golden": {},
    }


def sanitized(folder, source):
    """The number that `main.c` prints, compiled with a file, and sanitizers if there are any."""
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = ["main.c", source, "-o", "main", "-lm"]
    compiled = compile_in(folder, *c.FLAGS, *sanitize, *sources)
    if compiled.returncode and "cannot find" in compiled.stderr:
        compiled = compile_in(folder, *c.FLAGS, *sources)
    assert (compiled.returncode, compiled.stderr) == (0, "")
    done = subprocess.run([folder / "main"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return float(done.stdout)


def compile_in(folder, *arguments):
    compiler = os.environ.get("CC") or next(filter(shutil.which, c.COMPILERS))
    return subprocess.run(
        [*compiler.split(), *arguments], cwd=folder, capture_output=True, text=True
    )


def refused(held, received):
    """Expect one line that says what is held and what came."""
    return pytest.raises(ValueError, match=rf"^.*{re.escape(held)}.*{re.escape(received)}.*$")
