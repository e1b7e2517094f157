"""A file is judged by what its outputs are sums of: terms that cancel leave their rounding."""

import math
import runpy
import types

import numpy as np
import pytest
from keras import ops

import export
import keras_vae
from export import graphs, parity, verification
from keras_vae.networks import DenseDecoder, DenseEncoder
from tests.export.exported import FORMATS, exported, make_model
from tests.export.test_parity import converts_here
from tests.test_edge import SCRIPT, with_manifest

VALUES = 700
# With errors of this size in units of the scale, z^2 / 2 makes up for the other terms on average.
SCALE = 0.1


def scorer_that_cancels():
    """A scorer of 700 values, whose terms of about 1 nat nearly cancel, and its rows near 0."""
    rng = np.random.default_rng(0)
    model = keras_vae.VAE(
        DenseEncoder(2, (8,)),
        DenseDecoder((VALUES,), (8,)),
        likelihood=keras_vae.likelihoods.Gaussian(SCALE),
    )
    model.build()
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape).astype("f4") * 0.1)
    graph = graphs.scorer(model)
    noise = rng.normal(size=VALUES) * np.linspace(0.1, 0.2, 4096)[:, None]
    x = (0.1 * rng.normal(size=VALUES) + noise).astype("f4")
    scores = graph.evaluate({"x": x})["score"]
    near = np.argsort(np.abs(scores))[:4]
    assert np.abs(scores[near]).max() < 0.5
    return model, graph, x[near]


def oracle(model, x, change=0.0):
    """The scorer in float64; one bias of the decoder may be another."""

    def dense(layer, h):
        kernel, bias = (ops.convert_to_numpy(weight).astype("f8") for weight in layer.weights)
        return h @ kernel + bias

    h = np.maximum(dense(model.encoder.hidden[0], x.astype("f8")), 0)
    z, z_log_var = dense(model.encoder.z_mean, h), dense(model.encoder.z_log_var, h)
    h = np.maximum(dense(model.decoder.hidden[0], z), 0)
    mean = dense(model.decoder.outputs_dense, h)
    mean[:, 3] += change
    terms = ((x - mean) / SCALE) ** 2 / 2 + math.log(SCALE) + math.log(2 * math.pi) / 2
    kl = np.sum(z**2 + np.exp(z_log_var) - 1 - z_log_var, axis=1) / 2
    contribution = terms + (kl / terms.shape[1])[:, None]
    made = {"score": terms.sum(axis=1) + kl, "contribution": contribution, "x_reconstructed": mean}
    return {k: v.astype("f4") for k, v in made.items()}, np.abs(terms).sum(axis=1) + kl


def judged(graph, inputs, made):
    """What the check says of a file that gives some outputs, at a batch size of its own."""
    sizes = (parity.magnitudes(graph, inputs, quantize) for quantize in ("none", "int8"))
    batch = parity.Batch(inputs, graph.evaluate(inputs), *sizes)
    return parity._compare(lambda _: made, [batch], "none", 4, "file")


def test_terms_that_cancel_do_not_refuse_a_right_scorer():
    model, graph, x = scorer_that_cancels()
    right, sums = oracle(model, x)
    expected = graph.evaluate({"x": x})
    # More than the bound of an output up to 1; measured: 2e-5 to 4e-5.
    assert np.abs(right["score"] - expected["score"]).max() > 1e-5
    np.testing.assert_allclose(parity.magnitudes(graph, {"x": x})["score"], sums, rtol=1e-5)
    assert judged(graph, {"x": x}, right) < 1e-6


def test_terms_that_cancel_do_not_hide_a_wrong_scorer():
    model, graph, x = scorer_that_cancels()
    right, _ = oracle(model, x)
    wrong, _ = oracle(model, x, change=0.01)
    assert np.abs(wrong["score"] - right["score"]).max() < 1
    with pytest.raises(parity.ParityError, match=r"`score` .*disagrees with the model"):
        judged(graph, {"x": x}, {**right, "score": wrong["score"]})
    with pytest.raises(parity.ParityError, match=r"`contribution` .*disagrees with the model"):
        judged(graph, {"x": x}, {**right, "contribution": wrong["contribution"]})
    with pytest.raises(parity.ParityError, match=r"`x_reconstructed` .*disagrees with the model"):
        judged(graph, {"x": x}, {**right, "x_reconstructed": wrong["x_reconstructed"]})


def test_large_inputs_that_cancel_do_not_refuse_a_right_encoder():
    # As pressures in hPa, which nobody has standardised: the layer takes 1013 away again.
    rng = np.random.default_rng(0)
    model = keras_vae.Autoencoder(DenseEncoder(2, (8,)), DenseDecoder((VALUES,), (8,)))
    model.build()
    [kernel, bias] = model.encoder.hidden[0].weights
    values = rng.normal(size=kernel.shape).astype("f4") * 0.1
    kernel.assign(values)
    bias.assign(1 - 1013 * values.sum(axis=0))
    graph = graphs.encoder(model)
    x = (1013 + rng.normal(size=(4, VALUES))).astype("f4")

    def code(change=0.0):
        h = x.astype("f8")
        layers = (model.encoder.hidden[0], model.encoder.z_mean)
        for layer in layers:
            kernel, bias = (ops.convert_to_numpy(w).astype("f8") for w in layer.weights)
            h = h @ (kernel + (change if layer is layers[0] else 0)) + bias
            h = np.maximum(h, 0) if layer is layers[0] else h
        return {"z": h.astype("f4")}

    expected = graph.evaluate({"x": x})["z"]
    assert np.abs(expected).max() < 10
    error = np.abs(code()["z"] - expected).max() / max(1, np.abs(expected).max())
    # 1e-3 of the code at most was measured, 4e-6 of what it is a sum of; the bound is 1e-5.
    assert error > 1e-4
    assert judged(graph, {"x": x}, code()) < 1e-5
    with pytest.raises(parity.ParityError, match=r"`z` .*disagrees with the model"):
        judged(graph, {"x": x}, code(change=1e-4))


def test_usual_networks_are_judged_as_ever():
    for kind in ("dense", "conv"):
        for name in ("decoder", "encoder"):
            graph = graphs.BUILDERS[name](make_model(kind))
            inputs = parity.examples(graph)
            for output, most in parity.magnitudes(graph, inputs).items():
                assert most.max() < 1, (kind, name, output)


def test_the_weights_are_as_before():
    model = make_model("dense")
    before = [ops.convert_to_numpy(weight) for weight in model.weights]
    graph = graphs.decoder(model)
    parity.magnitudes(graph, parity.examples(graph))
    for weight, values in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), values)


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_files_say_what_their_golden_sample_is_judged_by(format, capsys, tmp_path):
    """By `--verify` and by a device: what was written, and of an older file the outputs alone."""
    self_test = runpy.run_path(str(SCRIPT))["main"]
    module = export.module_of(format)
    scorer = types.SimpleNamespace(paths={format: exported("dense").path("scorer", format)})
    golden = module.read_manifest(scorer.paths[format])["golden"]
    sums = max(np.abs(golden["score"]))
    assert 0.999 * sums < golden["magnitudes"]["score"] < 2 * sums
    older = {name: value for name, value in golden.items() if name != "magnitudes"}
    moved = [golden["score"][0] + 1e-4 * sums, *golden["score"][1:]]
    for changed, passes in (
        ({**older}, True),
        ({**older, "score": moved}, False),
        ({**golden, "score": moved, "magnitudes": {"score": 20 * sums}}, True),
        (
            {**golden, "score": [2 * moved[0], *moved[1:]], "magnitudes": {"score": 20 * sums}},
            False,
        ),
    ):
        path = with_manifest(scorer, format, tmp_path, golden=changed)
        assert self_test(["--model", str(path), "--self-test"]) == (0 if passes else 1)
        if passes:
            verification.check_golden(path, module)
        else:
            with pytest.raises(ValueError, match="differs from its golden sample"):
                verification.check_golden(path, module)
    capsys.readouterr()
    for damaged in (3, {"score": "much"}, {"score": -1}):
        path = with_manifest(scorer, format, tmp_path, golden={**golden, "magnitudes": damaged})
        with pytest.raises(ValueError, match=r"golden sample of .* is damaged"):
            verification.check_golden(path, module)
        assert self_test(["--model", str(path), "--self-test"]) == 2
        assert "damaged" in capsys.readouterr().err
