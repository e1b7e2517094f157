"""Networks as users write them leave in every format and precision, or are refused in one line.

The oracle is the model itself, called by the names of its inputs, and not what the export holds its
files to.
"""

import re

import keras
import numpy as np
import pytest

import export
from export import quantization
from tests.conftest import ordinary_on
from tests.export.own_networks import NETWORKS, varied
from tests.export.test_parity import converts_here

pytestmark = [
    converts_here,
    ordinary_on("tensorflow"),
    pytest.mark.usefixtures("one_signature", "every_weight"),
]
VARIANTS = [
    (format, quantize)
    for format in ("tflite", "onnx")
    for quantize in export.module_of(format).QUANTIZATIONS
    if quantize != "exact"
]
# Of a batch size that the export's own check does not take.
ROWS = 5
# Largest error for values up to 1, larger ones scale it.
BOUNDS = {"none": 1e-5, "float16": 5e-3, "int8": 0.1, "int8-full": 0.3}
TOO_FEW_BITS = r"int8-full\.tflite, .* disagrees with the model, largest error"
# In every run, by one format each.
CHEAP = {
    ("Conv2DTranspose 1", "onnx"),
    ("int64 words", "onnx"),
    ("a draw inside", "onnx"),
}


@pytest.fixture
def every_weight(monkeypatch):
    """Fewer bits also for the weights of small layers, which files keep by default."""
    monkeypatch.setattr(quantization, "SMALLEST_WEIGHT", 16)


def expected(network, model, inputs):
    """What a model gives, as a user calls it."""
    if network.is_called_by_name:
        made = model(**inputs, training=False)
    elif len(inputs) > 1:
        made = model(inputs, training=False)
    else:
        made = model(*inputs.values(), training=False)
    if not isinstance(made, dict):
        made = made if isinstance(made, list) else [made]
        made = dict(zip(network.outputs, made, strict=True))
    return {name: keras.ops.convert_to_numpy(y) for name, y in made.items()}


def check(network, model, path, quantize):
    inputs = network.drawn(ROWS, seed=11)
    made = export.module_of(path.suffix[1:]).load(path)(inputs)
    target = expected(network, model, inputs)
    assert set(made) == set(target) == set(network.outputs)
    for name, y in target.items():
        assert np.std(y) > 1e-3  # it says something
        atol = BOUNDS[quantize] * max(1.0, np.abs(y).max())
        np.testing.assert_allclose(made[name], y, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        pytest.param(name, format, marks=() if (name, format) in CHEAP else pytest.mark.slow)
        for name in NETWORKS
        for format in ("tflite", "onnx")
    ],
)
def test_a_network_of_a_user_is_exact_or_refused(name, format, tmp_path):
    network = NETWORKS[name]
    model = varied(network.make())
    calibration = None if set(network.inputs) == {"z"} else network.drawn(64, seed=7)
    given = {"out": tmp_path, "inputs": network.inputs, "calibration_data": calibration}
    made = 0
    for pair in (pair for pair in VARIANTS if pair[0] == format):
        words, said, path = network.refusal(*pair), None, None
        try:
            [(path, _)] = export.export_files(model, [pair], **given)
        except (export.ExportError, ValueError) as err:
            said = str(err)
        if said is None:
            assert words is None
            check(network, model, path, pair[1])
            made += 1
            continue
        # Of weights that nobody trained, values may spread more than 256 steps can tell.
        words = words or (TOO_FEW_BITS if pair[1] == "int8-full" else "nothing")
        assert re.search(words, said)
        assert "\n" not in said
    assert len(list(tmp_path.iterdir())) == made


def test_the_list_is_long():
    assert len(NETWORKS) >= 40
