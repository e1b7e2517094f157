"""GRU, LSTM and other recurrent layers leave in every format, whatever wraps them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import export
import keras_vae
from tests.conftest import ordinary_on
from tests.export.exported import VARIANTS
from tests.export.test_parity import converts_here

FEW = [
    lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
    lambda: layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)]),
]
ALL = [
    lambda: layers.SimpleRNN(4, return_sequences=True, go_backwards=True),
    lambda: layers.TimeDistributed(layers.Dense(3)),
    lambda: layers.Bidirectional(layers.RNN(layers.SimpleRNNCell(3), return_sequences=True)),
    *FEW[:1],
    lambda: layers.GRU(2, reset_after=False, return_sequences=True),
    lambda: layers.Reshape((3, 2, 1, 1)),
    lambda: layers.ConvLSTM2D(2, 1),
]


@ordinary_on("tensorflow")
@pytest.mark.parametrize(
    ("kinds", "count"), [(FEW, 3), pytest.param(ALL, 7, marks=pytest.mark.slow)]
)
def test_recurrent_layers_leave_in_both_formats_and_the_model_stays(kinds, count, tmp_path):
    model = keras.Sequential(
        [keras.Input((5,)), layers.RepeatVector(3), *(kind() for kind in kinds)]
    )
    config = model.get_config()
    files = export.export_files(model, VARIANTS, out=tmp_path, inputs={"z": (5,)})
    assert model.get_config() == config
    loops = [layer for layer in model._flatten_layers() if isinstance(layer, layers.RNN)]
    assert len(loops) == count
    assert not any(layer.unroll or "call" in vars(layer) for layer in loops)
    z = np.random.default_rng(0).normal(size=(3, 5)).astype("f4")
    expected = ops.convert_to_numpy(model(z))
    assert expected.std() > 1e-3  # it says something; measured: at least 3e-3
    for (format, _), (path, _) in zip(VARIANTS, files, strict=True):
        made = export.module_of(format).load(path)({"z": z})["x"]
        # Measured: at most 2e-7 on each backend.
        np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6)


@converts_here
@pytest.mark.usefixtures("one_signature")
def test_a_model_of_ours_with_recurrent_parts_leaves_as_integers(tmp_path):
    x = keras.Input((3, 2))
    h = layers.LSTM(4)(layers.Masking()(x))
    encoder = keras.Model(x, [layers.Dense(3)(h), layers.Dense(3)(h)])
    z = keras.Input((3,))
    h = layers.GRU(4, return_sequences=True)(layers.RepeatVector(3)(z))
    decoder = keras.Model(z, layers.TimeDistributed(layers.Dense(2))(h))
    model = keras_vae.VAE(encoder, decoder)
    model.build((None, 3, 2))
    # Raises where a file and its model differ.
    export.export(model, "tflite", "encoder", out=tmp_path)
    path = export.export(model, "tflite", "decoder", "int8-full", tmp_path)
    operators = export.module_of("tflite").describe(path)["operators"]
    assert "WHILE" not in operators


@keras.saving.register_keras_serializable("tests")
class OfUnknownLength(keras.Model):
    """A model that hides how long its sequence is."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.steps = layers.GRU(2, name="steps")

    def call(self, z):
        return self.steps(ops.reshape(z, (ops.shape(z)[0], -1, ops.shape(z)[1] // 2)))


@converts_here
def test_a_sequence_of_unknown_length_is_refused_in_a_line(tmp_path):
    model = OfUnknownLength()
    with pytest.raises(export.ExportError, match=r"known length\. Received: .* in steps") as caught:
        export.export(model, "tflite", out=tmp_path, inputs={"z": (6,)})
    assert "\n" not in str(caught.value)
    assert not model.steps.unroll
    assert list(tmp_path.iterdir()) == []
