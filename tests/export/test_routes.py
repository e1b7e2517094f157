"""Both ways to TFLite make files that compute the same: TensorFlow, and JAX by StableHLO."""

import keras
import numpy as np
import pytest

import export
from export import graphs, quantization, tflite
from tests.export.exported import GRAPHS, exported
from tests.export.test_classifier import make_model as make_classified
from tests.export.test_families import FAMILIES
from tests.export.test_label_kinds import make as make_labelled
from tests.export.test_tables import TABLE, make_table_vae
from tests.export.varieties import VARIETIES

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="one of the two runs on JAX, in this process"
)

MODELS = {
    **{f.of.__name__: (f.make, f.graphs) for f in FAMILIES if f.graphs},
    "classifier": (make_classified, ("classifier",)),
    "labels": (make_labelled, ("decoder", "sampler", "encoder", "scorer")),
    "table": (make_table_vae, GRAPHS),
}
CONVERTERS = ("stablehlo", "tensorflow")
QUANTIZATIONS = ("none", "float16", "int8")
# Of files that are not quantized 1e-5, which each of them keeps from its model, and of others as
# much as one may be off: each rounds for itself what no layer holds.
BOUNDS = {name: 2 * quantization.BOUNDS[name] for name in QUANTIZATIONS}


def compare(graph, paths, quantize="none"):
    """Compare what two files of a graph give for the same examples."""
    inputs = graph.draw(16, np.random.default_rng(7))
    one, other = (tflite.load(path)(inputs) for path in paths)
    assert set(one) == set(other)
    if "margin" in one:
        # What is drawn near a border between two tokens is drawn by rounding.
        clear = one["margin"] > {"none": 1e-4}.get(quantize, 0.2)
        one, other = ({n: values[clear] for n, values in made.items()} for made in (one, other))
    for spec in graph.outputs:
        a, b = one[spec.name], other[spec.name]
        assert a.dtype == b.dtype
        if spec.name in graph.in_units or a.dtype.kind == "i" or spec.name == "margin":
            # Rows and codes: each is right or wrong, and few are drawn on a border.
            near = np.isclose(a, b, rtol=1e-3 if quantize == "none" else 0.3, atol=1e-3)
            assert near.mean() > (0.98 if quantize == "none" else 0.8)
            continue
        scale = max(1.0, np.abs(a).max(initial=0))
        np.testing.assert_allclose(a, b, rtol=0, atol=BOUNDS[quantize] * scale)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_decoder_is_the_same(kind, tmp_path):
    made = exported(kind)
    path = export.export(made.model, out=tmp_path, converter="stablehlo")
    compare(graphs.decoder(made.model), (path, made.paths["tflite"]))
    converters = [
        tflite.read_manifest(p)["versions"]["converter"] for p in (path, made.paths["tflite"])
    ]
    assert [words.split()[0] for words in converters] == ["litert-converter", "tensorflow.lite"]
    # Neither is much larger.
    sizes = [p.stat().st_size for p in (path, made.paths["tflite"])]
    assert sizes[0] < 1.5 * sizes[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_graph_and_quantization_is_the_same(name, tmp_path):
    make, names = MODELS[name]
    model = make()
    variants = [("tflite", quantize) for quantize in QUANTIZATIONS]
    folders = {}
    for converter in CONVERTERS:
        folders[converter] = tmp_path / converter
        export.export_files(model, variants, names, folders[converter], converter=converter)
    for each in names:
        graph = export.build_graph(model, each)
        for quantize in QUANTIZATIONS:
            paths = [
                export.target_of(model, "tflite", each, quantize, folder)
                for folder in folders.values()
            ]
            compare(graph, paths, quantize)


@pytest.mark.slow
@pytest.mark.usefixtures("one_signature")
@pytest.mark.parametrize("name", VARIETIES)
def test_every_prior_likelihood_and_posterior_is_the_same(name, tmp_path):
    make, names = VARIETIES[name]
    model = make()
    for converter in CONVERTERS:
        folder = tmp_path / converter
        export.export_files(model, [("tflite", "none")], names, folder, converter=converter)
    for each in names:
        paths = [tmp_path / converter / f"{each}.tflite" for converter in CONVERTERS]
        compare(export.build_graph(model, each), paths)


@pytest.mark.slow
@pytest.mark.usefixtures("one_signature")
def test_exact_rows_are_the_same(tmp_path):
    model = make_table_vae(columns=[name for name in TABLE if name != "calls"])
    inputs = export.build_graph(model, "sampler").draw(64, np.random.default_rng(7))
    rows = []
    for converter in CONVERTERS:
        folder = tmp_path / converter
        path = export.export(model, "tflite", "sampler", "exact", folder, converter=converter)
        rows.append(tflite.load(path)(inputs))
    for name, values in rows[0].items():
        np.testing.assert_array_equal(values, rows[1][name], err_msg=name)
