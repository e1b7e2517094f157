"""What a doubling and the convolution after it cost in either form, in training and in ONNX files.

    KERAS_BACKEND=torch OMP_NUM_THREADS=1 python benchmarks/doubling.py

Prints, as JSON, CPU milliseconds of a training step of one such layer at a batch of 128 on the
backend that is named, computed as `fit` does, for each size as a doubled image and as a transposed
convolution; on TensorFlow, which exports, also of one picture of 28 x 28 and of 64 x 64 by a
decoder's file in ONNX Runtime, one thread, with the bytes of the file. Medians, the forms in turn.
"""

import argparse
import contextlib
import pathlib
import tempfile
import time

import keras
import numpy as np
import receipts

import export
import export.onnx_doubling
import keras_vae
from keras_vae.networks import doubling

BATCH_SIZE, ROUNDS = 128, 15
LAYERS = ((128, 128, 4), (128, 64, 8), (64, 32, 16), (64, 32, 32))
DECODERS = {
    "28x28": ((28, 28, 1), (64, 32), 16),
    "64x64": ((64, 64, 3), (128, 128, 64, 32), 96),
}


class Doubling(keras.layers.Layer):
    """A doubling and a convolution, in one form."""

    def __init__(self, filters, transposed):
        super().__init__()
        self.transposed = transposed
        self.upsampling = keras.layers.UpSampling2D(data_format="channels_last")
        self.convolution = keras.layers.Conv2D(
            filters, 3, padding="same", data_format="channels_last"
        )

    def build(self, shape):
        self.convolution.build((None, 2 * shape[1], 2 * shape[2], shape[3]))

    def call(self, h):
        with doubling.transposed(self.transposed):
            return doubling.double_and_convolve(h, self.upsampling, self.convolution)


def milliseconds(functions, seconds=0.0):
    """Median CPU milliseconds of each function, called in turn."""
    times = [[] for _ in functions]
    start = time.perf_counter()
    for function in functions:
        function()
    while len(times[0]) < ROUNDS or time.perf_counter() - start < seconds:
        for function, found in zip(functions, times, strict=True):
            begin = time.process_time()
            function()
            found.append(time.process_time() - begin)
    return [round(1000 * float(np.median(found)), 3) for found in times]


def training_step(channels, filters, size):
    """Milliseconds of a step, as a doubled image and as a transposed convolution."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH_SIZE, size, size, channels)).astype("float32")
    y = rng.normal(size=(BATCH_SIZE, 2 * size, 2 * size, filters)).astype("float32")
    steps = []
    for transposed in (False, True):
        inputs = keras.Input(x.shape[1:])
        # So that the gradient goes through to the images as well.
        h = keras.layers.DepthwiseConv2D(1)(inputs)
        model = keras.Model(inputs, Doubling(filters, transposed)(h))
        model.compile("sgd", "mse")
        steps.append(lambda model=model: model.train_on_batch(x, y))
    with fast_layers():
        return milliseconds(steps)


def fast_layers():
    """A context in which Keras' layers are those of our `fit`."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    from keras_vae.training import torch_layers

    return torch_layers.fast()


def decoder_file(shape, hidden_units, latent_dim):
    """Milliseconds of a picture and bytes of the file, in both forms."""
    import onnxruntime

    model = keras_vae.ConditionalVAE(
        keras_vae.networks.ConvEncoder(latent_dim, hidden_units=hidden_units[::-1]),
        keras_vae.networks.ConvDecoder(shape, hidden_units=hidden_units),
        condition={"label": keras_vae.Categorical(8)},
    )
    model.compile("adam")
    model({"x": np.zeros((2, *shape), "float32"), "label": np.zeros(2, "int32")})
    rewrite, runs, sizes = export.onnx_doubling.transpose_doublings, [], []
    z = np.random.default_rng(0).normal(size=(1, latent_dim)).astype("float32")
    for form in (lambda model, shapes: None, rewrite):
        export.onnx_doubling.transpose_doublings = form
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(export.export(model, "onnx", "decoder", out=folder))
            content = path.read_bytes()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options)
        feed = {"z": z, "label": np.zeros(1, "int32")}
        runs.append(lambda session=session, feed=feed: session.run(None, feed))
        sizes.append(len(content))
    export.onnx_doubling.transpose_doublings = rewrite
    doubled, transposed = milliseconds(runs, seconds=2.0)
    return {"doubled": doubled, "transposed": transposed, "bytes": sizes}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    receipts.add_option(parser)
    args = parser.parse_args()
    steps = {}
    for channels, filters, size in LAYERS:
        doubled, transposed = training_step(channels, filters, size)
        name = f"{channels} to {filters} of {size}x{size}"
        steps[name] = {"doubled": doubled, "transposed": transposed}
    result = {"training_step": steps}
    if keras.backend.backend() == "tensorflow":
        result["onnx_file"] = {name: decoder_file(*sizes) for name, sizes in DECODERS.items()}
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
