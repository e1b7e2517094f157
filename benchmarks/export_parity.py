"""The largest error of every float32 graph in every format, for the backend that Keras runs on.

    KERAS_BACKEND=jax python benchmarks/export_parity.py

Makes an autoencoder, a VAE and a conditional VAE of 28x28 images, dense and convolutional, exports
all graphs that each has to TFLite and ONNX and prints, as JSON, the largest error of each against
Keras in the real runtime, over all outputs, classes and batch sizes: in units of the output, or of
its largest value where that exceeds 1. Bound: 1e-5. The weights are at their initial values.
"""

import argparse
import sys
import tempfile

import receipts

import export
import keras_vae

networks = keras_vae.networks
SHAPE = (28, 28, 1)
VARIANTS = [("tflite", "none"), ("onnx", "none")]
NETWORKS = {
    "dense": lambda: (networks.DenseEncoder(20, (400,)), networks.DenseDecoder(SHAPE, (400,))),
    "convolutional": lambda: (
        networks.ConvEncoder(20, (16, 32)),
        networks.ConvDecoder(SHAPE, (32, 16)),
    ),
}
MODELS = {
    "Autoencoder": lambda pair: keras_vae.Autoencoder(*pair),
    "VAE": lambda pair: keras_vae.VAE(*pair),
    "ConditionalVAE": lambda pair: keras_vae.ConditionalVAE(
        *pair,
        condition={"label": keras_vae.Categorical(10), "angle": keras_vae.Continuous(2)},
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    receipts.add_option(parser)
    args = parser.parse_args()
    errors = {}
    for name, make in MODELS.items():
        for kind, pair in NETWORKS.items():
            model = make(pair())
            model.build()
            graphs = [g for g in export.GRAPHS if g != "sampler" or hasattr(model.prior, "draw")]
            with tempfile.TemporaryDirectory() as folder:
                files = export.export_files(model, VARIANTS, graphs, folder)
            print(f"{kind} {name}", file=sys.stderr, flush=True)
            for path, report in files:
                errors[f"{kind} {name}, {path.name}"] = report.largest_error
    receipts.finish(args, {"worst": max(errors.values()), "errors": errors})


if __name__ == "__main__":
    main()
