"""What a training step and a decoder's file cost with 10,000 classes, against 10.

    KERAS_BACKEND=torch OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/many_classes.py

Prints, as JSON, CPU milliseconds of a training step of a dense model of 28 x 28 pictures (400
units, 20 latents, batch 128) with 10 classes, with 10,000 that have learned vectors, and with
10,000 one-hot ones: medians of epochs of 10 steps, the models in turn. The ratios are medians of
those of each turn. On TensorFlow, which exports, also the bytes of the decoder's files with 10 and
10,000 classes, and those of the learned vectors.
"""

import argparse
import tempfile
import time

import keras
import numpy as np
import receipts

import export
import keras_vae

BATCH_SIZE, STEPS, LATENT_DIM, UNITS, SHAPE = 128, 10, 20, 400, (28, 28, 1)
MODELS = {
    "10 classes": (10, None),
    "10,000 classes": (10_000, None),
    "10,000 one-hot classes": (10_000, 0),
}
FORMATS = [("tflite", "none"), ("onnx", "none"), ("tflite", "int8"), ("tflite", "int8-full")]


def make(num_classes, embedding_dim):
    model = keras_vae.ConditionalVAE(
        keras_vae.networks.DenseEncoder(LATENT_DIM, hidden_units=(UNITS,)),
        keras_vae.networks.DenseDecoder(SHAPE, hidden_units=(UNITS,)),
        condition={"label": keras_vae.Categorical(num_classes, embedding_dim=embedding_dim)},
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def training_steps(models, rounds):
    """CPU milliseconds of a step: array `(rounds, models)`, the models in turn."""
    rng = np.random.default_rng(0)
    count = BATCH_SIZE * STEPS
    x = rng.integers(0, 256, (count, *SHAPE)).astype("uint8")
    found = np.zeros((rounds + 1, len(models)))
    for turn in found:
        for at, model in enumerate(models):
            y = rng.integers(0, model.condition["label"].num_classes, count).astype("int32")
            begin = time.process_time()
            model.fit({"x": x, "label": y}, batch_size=BATCH_SIZE, epochs=1, verbose=0)
            turn[at] = 1000 * (time.process_time() - begin) / STEPS
    return found[1:]  # the first compiles


def file_sizes(model):
    """Bytes of the decoder's files, by format and quantization."""
    with tempfile.TemporaryDirectory() as folder:
        made = export.export_files(model, FORMATS, ["decoder"], folder)
        return {path.name: path.stat().st_size for path, _ in made}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    receipts.add_option(parser)
    args = parser.parse_args()
    models = {name: make(*options) for name, options in MODELS.items()}
    found = training_steps(list(models.values()), args.rounds)
    result = {
        "step_milliseconds": dict(zip(models, np.median(found, axis=0).round(2), strict=True)),
        "over_10_classes": dict(
            zip(models, np.median(found / found[:, :1], axis=0).round(3), strict=True)
        ),
    }
    if keras.backend.backend() == "tensorflow":
        few, many = (file_sizes(models[name]) for name in list(MODELS)[:2])
        vectors = models["10,000 classes"].conditioning.weights[0]
        result |= {"file_bytes": {"10 classes": few, "10,000 classes": many}}
        result["bytes_of_learned_vectors"] = 4 * int(np.prod(vectors.shape))
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
