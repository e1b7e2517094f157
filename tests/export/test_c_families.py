"""Of every likelihood, prior and network that C files hold, each graph computes what Keras does."""

import functools
import pathlib
import re
import shutil
import subprocess
import types

import keras
import numpy as np
import pytest

import keras_vae
from export import c, c_program, graphs
from keras_vae import layers, likelihoods, networks, priors
from tests.conftest import ordinary_on
from tests.export.test_c import compile_in, needs_compiler, refused

# Written from the same weights on every backend.
pytestmark = [needs_compiler, ordinary_on("torch")]
SHAPE, WINDOW = (7, 6, 2), (9, 2)
LABEL = {"label": keras_vae.Categorical(3)}
BOTH = {**LABEL, "angle": keras_vae.Continuous(2)}
TAGS = {"tags": keras_vae.MultiLabel(["a", "b"]), "angle": keras_vae.Continuous(1)}
LEARNED = {"label": keras_vae.Categorical(5, embedding_dim=3)}


def dense(**options):
    return networks.DenseEncoder(4, (10,)), networks.DenseDecoder(SHAPE, (12,), **options)


def conv(**options):
    return networks.ConvEncoder(4, (5, 6), **options), networks.ConvDecoder(
        SHAPE, (6, 5), **options
    )


def conv1d():
    return networks.Conv1DEncoder(4, (5, 6)), networks.Conv1DDecoder(WINDOW, (6, 5))


def transposed():
    decoder = networks.ConvDecoder(SHAPE, (6, 5), transposed=True)
    return networks.ConvEncoder(4, (5,), kernel_size=4, batch_normalization=False), decoder


def vae(made, condition=None, **options):
    if condition:
        return keras_vae.ConditionalVAE(*made, condition, **options)
    return keras_vae.VAE(*made, **options)


def of_likelihood(make):
    return {
        "dense": lambda: vae(dense(), likelihood=make()),
        "conv": lambda: vae(conv(), LABEL, likelihood=make()),
    }


CASES = {
    "flow of logistics": lambda: vae(
        conv(residual_blocks=1),
        BOTH,
        likelihood=likelihoods.DiscretizedLogisticMixture(3),
        prior=priors.RealNVP(4, (8,)),
    ),
    "normal of greys": lambda: vae(
        dense(), BOTH, likelihood="continuous_bernoulli", prior=priors.ConditionalNormal((6,))
    ),
    "transposed": lambda: vae(transposed(), LABEL, likelihood=likelihoods.Gaussian("per_pixel")),
    **{
        f"{network}, {name}": case
        for name, make in {
            "bernoulli": likelihoods.Bernoulli,
            "greys": likelihoods.ContinuousBernoulli,
            "gaussian": lambda: likelihoods.Gaussian(0.5),
            "gaussian by channel": lambda: likelihoods.Gaussian("shared", channels=2),
            "optimal gaussian": lambda: likelihoods.Gaussian("optimal"),
            "gaussian per pixel": lambda: likelihoods.Gaussian("per_pixel"),
            "laplace": lambda: likelihoods.Laplace("shared"),
            "laplace per pixel": lambda: likelihoods.Laplace("per_pixel"),
            "levels": lambda: likelihoods.Categorical(8),
            "mixture of logistics": lambda: likelihoods.DiscretizedLogisticMixture(3),
        }.items()
        for network, case in of_likelihood(make).items()
    },
    "conv1d": lambda: vae(conv1d(), BOTH),
    "residual": lambda: vae(conv(residual_blocks=1), TAGS),
    "learned": lambda: vae(dense(), LEARNED),
    "gaussian mixture": lambda: vae(dense(), prior=priors.GaussianMixture(4)),
    "vamp": lambda: vae(conv(), LABEL, prior=priors.VampPrior(5)),
    "flow": lambda: vae(dense(), prior=priors.RealNVP(3, (8,))),
    "flow of learned": lambda: vae(dense(), LEARNED, prior=priors.RealNVP(2, (6,))),
    "a normal a class": lambda: vae(dense(), LABEL, prior=priors.ConditionalNormal()),
    "normal of learned": lambda: vae(dense(), LEARNED, prior=priors.ConditionalNormal()),
    "autoencoder": lambda: keras_vae.Autoencoder(*conv()),
    "gan": lambda: keras_vae.GAN(dense()[1], networks.DenseDiscriminator((8,)), 4),
}
GRAPHS = ("decoder", "encoder", "sampler", "scorer", "reconstructor")
# What an ordinary run compiles; the rest is slow.
OFTEN = ("flow of logistics", "normal of greys")
# Largest errors, of values up to 1 or of the largest one. Measured: 9.5e-7; 0.02; of what holds
# few weights as float32, 0.007.
BOUNDS = {"none": 3e-6, "int8": 0.05}


@functools.cache
def model_of(case):
    """An untrained model of varied weights."""
    return varied(CASES[case]())


def varied(model):
    if not model.built:
        model.build()
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "float" in weight.dtype:
            values = 0.3 * rng.standard_normal(weight.shape)
            is_variance = weight.path.endswith("moving_variance")
            weight.assign(0.5 + np.abs(values) if is_variance else values)
    return model


def graphs_of(case):
    without = {"autoencoder": ("sampler",), "gan": ("encoder", "scorer", "reconstructor")}
    return [name for name in GRAPHS if name not in without.get(case, ())]


def written(graph, quantize, folder):
    path = folder / f"{graph.name}.c"
    c.write(c.convert(graph, quantize), path)
    return path


def slow_but(*often):
    return [c if c in often else pytest.param(c, marks=pytest.mark.slow) for c in CASES]


@pytest.mark.parametrize("case", slow_but(*OFTEN))
@pytest.mark.parametrize("quantize", ["none", pytest.param("int8", marks=pytest.mark.slow)])
def test_every_graph_computes_what_keras_does(case, quantize, tmp_path):
    model = model_of(case)
    for name in graphs_of(case):
        graph = graphs.BUILDERS[name](model)
        given = graph.draw(24, np.random.default_rng(3))
        made = c.load(written(graph, quantize, tmp_path))(given)
        expected = graph.evaluate(given)
        assert set(made) == set(expected)
        for output, values in expected.items():
            scale = max(1.0, np.abs(values).max())
            error = np.abs(made[output] - values).max() / scale
            assert error <= BOUNDS[quantize], (name, output, error)
            assert values.std() > 1e-3


CODEBOOKS = {
    "vectors": lambda: layers.VectorQuantizer(9, 3, restart_below=0),
    "levels": lambda: layers.FiniteScalarQuantizer((5, 4, 3)),
}


@pytest.mark.parametrize("kind", CODEBOOKS)
def test_codes_are_decoded_and_found_as_keras_does(kind, tmp_path):
    encoder = networks.ConvGridEncoder(3, (4, 6))
    decoder = networks.ConvGridDecoder((9, 7, 2), (6, 4))
    model = varied(keras_vae.VQVAE(encoder, decoder, CODEBOOKS[kind]()))
    for name, bounds in (("decoder", {"none": 3e-6, "int8": 0.05}), ("encoder", {"none": 0})):
        graph = graphs.BUILDERS[name](model)
        given, rng = graph.draw(24, np.random.default_rng(3)), np.random.default_rng(4)
        if name == "encoder":
            given = {"x": 9 * rng.standard_normal(given["x"].shape, dtype=np.float32)}
        [expected] = graph.evaluate(given).values()
        for quantize, bound in bounds.items():
            path = written(graph, quantize, tmp_path)
            [made] = c.load(path)(given).values()
            assert made.dtype == expected.dtype
            np.testing.assert_allclose(made, expected, rtol=0, atol=bound)
        assert np.unique(expected).size > 5
        assert 0 <= stack_of(path, graph, tmp_path) <= c_program.STACK_BYTES
    decode = c.load(written(graphs.decoder(model), "none", tmp_path))
    for wrong in (-1, model.quantizer.num_codes):
        with pytest.raises(ValueError, match="refuses example 0"):
            decode({"codes": np.full((1, *model.grid_shape), wrong, np.int32)})
    with refused("draws from the priors", "NoneType"):
        model.prior = None
        c.convert(types.SimpleNamespace(name="sampler", model=model, inputs=(), outputs=()))


TREE = keras_vae.Hierarchical(["a/b", "a/c", "d"])
CLASSIFIERS = {
    "conv": (networks.ConvClassifier(7, (5, 6)), {"label": keras_vae.Categorical(4), "int": TREE}),
    "dense": (networks.DenseClassifier(3, (9, 6)), {**LABEL, "angle": keras_vae.Continuous(1)}),
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_gives_the_probabilities_of_each_label(kind, tmp_path):
    classifier, condition = CLASSIFIERS[kind]
    model = varied(keras_vae.ConditionalVAE(*dense(), condition, classifier=classifier))
    temperatures = np.linspace(-0.5, 0.7, len(model.label_kinds))
    model.classifier_log_temperature.assign(temperatures)
    graph = graphs.classifier(model)
    given = graph.draw(24, np.random.default_rng(3))
    for quantize, bound in (("none", 3e-6), ("int8", 0.01)):
        path = written(graph, quantize, tmp_path)
        made = c.load(path)(given)
        expected = graph.evaluate(given)
        assert list(made) == list(expected) == list(model.label_kinds)
        for name, values in expected.items():
            assert values.std() > 0.05
            np.testing.assert_allclose(made[name], values, rtol=0, atol=bound)
            np.testing.assert_allclose(made[name].sum(axis=1), 1, atol=1e-6)
    assert outside(path) - {"memset", "memcpy", "__stack_chk_fail"} <= LIBM
    with pytest.raises(ValueError, match="refuses example 1"):
        c.load(path)({"x": np.where(np.arange(2)[:, None, None, None], np.nan, given["x"][:2])})


def test_weights_of_float32_are_those_of_the_model(tmp_path):
    model = model_of("normal of greys")
    source = written(graphs.decoder(model), "none", tmp_path).read_text()
    assert "int8_t" not in source
    kernel = keras.ops.convert_to_numpy(model.decoder.hidden[0].kernel).T
    text = re.search(r"weights_0\[\d+\] = \{(.*?)\};", source, re.S)[1]
    values = [float(word.strip().rstrip("f")) for word in text.split(",")[:-1]]
    np.testing.assert_array_equal(np.array(values, "float32"), kernel.reshape(-1))


def test_every_likelihood_but_those_of_tokens_and_tables_has_a_c_form():
    from export import c_likelihoods

    assert set(c_likelihoods.names()) == set(likelihoods.LIKELIHOODS)
    assert set(priors.__all__) - {"Prior", "StandardNormal"} == {
        "ConditionalNormal",
        "FittedMixture",
        "GaussianMixture",
        "RealNVP",
        "VampPrior",
    }


# Runs a file on a stack that was painted before, with calls as in `arguments`.
PAINTED = """\
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "{name}.h"
enum {{ SIZE = 1 << 17 }};
static unsigned char stack[SIZE] __attribute__((aligned(4096)));
static float {arrays};
static float work[{macro}_WORK_SIZE];
static void *call(void *wanted)
{{
    return wanted != NULL && {name}_run({arguments}) ? wanted : NULL;
}}
static long used(void *wanted)
{{
    pthread_attr_t attributes;
    pthread_t thread;
    void *failed = NULL;
    memset(stack, 0xa5, SIZE);
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, SIZE);
    if (pthread_create(&thread, &attributes, call, wanted)) {{
        return -1;
    }}
    pthread_join(thread, &failed);
    long untouched = 0;
    while (untouched < SIZE && stack[untouched] == 0xa5) {{
        untouched++;
    }}
    return failed != NULL ? -1 : SIZE - untouched;
}}
int main(void)
{{
    const long without = used(NULL), with = used(work);
    printf("%ld", without < 0 || with < 0 ? -1 : with - without);
    return 0;
}}
"""
LIBM = {"erff", "expf", "expm1f", "fmaxf", "fminf", "log1pf", "logf", "rintf", "tanhf"}


@pytest.mark.parametrize("case", slow_but(OFTEN[0]))
def test_a_file_takes_no_heap_and_the_stack_that_it_says(case, tmp_path):
    for name in graphs_of(case):
        graph = graphs.BUILDERS[name](model_of(case))
        path = written(graph, "none", tmp_path)
        header = " ".join(path.with_suffix(".h").read_text().replace("\n *", " ").split())
        assert f"no heap; a stack of at most {c_program.STACK_BYTES} bytes" in header
        said = int(re.search(r"`work` has (\d+) bytes", header)[1])
        macro = re.search(r"_WORK_SIZE (\d+)", header)[1]
        assert said == 4 * int(macro)
        assert outside(path) - {"memset", "memcpy", "__stack_chk_fail"} <= LIBM
        # Measured: at most 612.
        assert 0 <= stack_of(path, graph, tmp_path) <= c_program.STACK_BYTES


def outside(path):
    """The functions that a file takes from elsewhere."""
    if shutil.which("nm") is None:
        return set()
    done = compile_in(path.parent, *c.FLAGS, "-c", path.name, "-o", "file.o")
    assert (done.returncode, done.stderr) == (0, "")
    listed = subprocess.run(["nm", "-u", "file.o"], cwd=path.parent, capture_output=True, text=True)
    return {line.split()[-1] for line in listed.stdout.splitlines()}


def stack_of(path, graph, folder):
    """Bytes of the stack that a call takes, unoptimized, beyond what an empty thread takes."""
    [declared] = re.findall(
        r"^int \w+_run\((.*?)\);", path.with_suffix(".h").read_text(), re.M | re.S
    )
    arguments, arrays = [], []
    for parameter in declared.split(","):
        kind, name = re.match(r"\s*(.*?)(\w+)$", parameter).groups()
        if name == "work":
            arguments.append("work")
        elif "*" in kind and "int32_t" in kind:
            arguments.append(f"(const int32_t *)given_{name}")
            arrays.append(f"given_{name}[512]")
        elif "*" in kind:
            arguments.append(f"given_{name}")
            arrays.append(f"given_{name}[512]")
        else:
            arguments.append("1")
    text = PAINTED.format(
        name=graph.name,
        macro=graph.name.upper(),
        arguments=", ".join(arguments),
        arrays=", ".join(arrays),
    )
    pathlib.Path(folder, "main.c").write_text(text)
    sources = ["main.c", path.name, "-o", "main", "-lm", "-pthread"]
    # Bound before it begins, for the first call of a function is looked up on the stack.
    done = compile_in(folder, "-std=c99", "-O0", "-Wl,-z,now", *sources)
    assert done.returncode == 0, done.stderr
    return int(subprocess.run([folder / "main"], capture_output=True, text=True, check=True).stdout)
