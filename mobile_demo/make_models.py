"""Make the models that the demo ships: train, measure, export.

    python mobile_demo/make_models.py                  # about ten minutes on one free core
    python mobile_demo/make_models.py --export-only    # from the run that is there already

The configuration is at the top of this file. The run, with the Keras model, goes to `runs/mobile`;
`mobile_demo/models` gets the 16 files (four graphs, fp32 and int8, TFLite and ONNX) and
`figures.json`, what they are like:

- `accuracy`, `diversity`, `classifier_accuracy`: as `benchmarks/conditional_quality.py` has them;
- `elbo`, `kl_loss`, ...: nats per test image; `latent_variances`: of each latent's posterior mean
  over the test images, 0 for a latent that says nothing and near 1 for one that is used;
- `files`, `total_bytes`, `one_runtime_bytes` (the largest sum of four files of one runtime at one
  precision), `seconds` of training, `config`, `versions`.

It exits with status 1 where the files are over their budget of bytes.
"""

import argparse
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

CONFIG = {
    "data": "mnist",
    "latent_dim": 5,
    # Channels of the encoder's halvings, and the dense layers after them, which see the label.
    "encoder_channels": (16, 32, 32),
    "encoder_units": (32, 32),
    # Channels of the decoder's 7x7 image, of its convolutions there and of those at 14x14.
    "decoder_channels_7": (24, 32, 32),
    "decoder_channels_14": (24,),
    "epochs": 16,
    "batch_size": 256,
    "learning_rate": 4e-3,
    "kl_weight": 1.0,
    "seed": 0,
}
VARIANTS = [("tflite", "none"), ("tflite", "int8"), ("onnx", "none"), ("onnx", "int8")]
MAX_BYTES = 3_000_000
MAX_BYTES_OF_ONE_RUNTIME = 1_000_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", default=ROOT / "runs" / "mobile", type=pathlib.Path)
    parser.add_argument("--out", default=ROOT / "mobile_demo" / "models", type=pathlib.Path)
    parser.add_argument("--export-only", action="store_true", help="export the run that is there")
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    args = parser.parse_args()
    if not args.export_only:
        train(args.run, args.overwrite)
        measure(args.run)
    return export_run(args.run, args.out)


def train(folder, overwrite=False):
    """Train the model of `CONFIG` and write a run folder, as `python -m keras_vae train` does."""
    import keras
    import numpy as np

    from keras_vae import data
    from keras_vae.evaluation import evaluate
    from keras_vae.storage.runs import Run, now, versions

    run = Run(folder)
    if not overwrite:
        run.check_is_free()
    run.folder.mkdir(parents=True, exist_ok=True)
    dataset = data.load(CONFIG["data"])
    random.seed(CONFIG["seed"])  # Keras' initializers take their seeds from here
    np.random.seed(CONFIG["seed"])
    model = make_model(len(dataset.class_names), dataset.class_names)
    steps = CONFIG["epochs"] * math.ceil(len(dataset.x_train) / CONFIG["batch_size"])
    schedule = keras.optimizers.schedules.CosineDecay(CONFIG["learning_rate"], steps)
    model.compile(keras.optimizers.Adam(schedule), jit_compile=False)
    model.build((None, *dataset.x_train.shape[1:]))
    config = {
        "arguments": {"model": "conditional_vae", **CONFIG},
        "started": now(),
        "backend": keras.backend.backend(),
        "data_shape": list(dataset.x_train.shape[1:]),
        "class_names": list(dataset.class_names),
        "parameters": model.count_params(),
        "parameters_of_encoder": model.encoder.count_params(),
        "parameters_of_decoder": model.decoder.count_params(),
        "versions": versions(),
    }
    run.write_json(run.config_path, config)
    held_out = {"x": dataset.x_test, "label": dataset.y_test}
    start, cpu = time.perf_counter(), time.process_time()
    model.fit(
        {"x": dataset.x_train, "label": dataset.y_train},
        validation_data=(held_out,),
        batch_size=CONFIG["batch_size"],
        epochs=CONFIG["epochs"],
        verbose=2,
        callbacks=[keras.callbacks.CSVLogger(run.history_path)],
    )
    seconds = {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }
    run.save_model(model)
    run.write_json(run.config_path, {**config, "finished": now(), **seconds})
    run.write_json(run.evaluation_path, evaluate(model, held_out))


def make_model(num_classes, names):
    """Build the networks from Keras' own layers, so that the model loads without this file."""
    import keras

    import keras_vae

    layers = keras.layers

    def finish(h):
        return layers.LeakyReLU(0.2)(layers.BatchNormalization(momentum=0.9)(h))

    def dense(h, units):
        return finish(layers.Dense(units, use_bias=False)(h))

    def convolve(h, channels, strides=1):
        convolution = layers.Conv2D(
            channels, 3, strides, padding="same", use_bias=False, data_format="channels_last"
        )
        return finish(convolution(h))

    x = keras.Input((28, 28, 1), name="x")
    label = keras.Input((num_classes,), name="condition")
    h = x
    for channels in CONFIG["encoder_channels"]:
        h = convolve(h, channels, strides=2)
    h = layers.Concatenate()([layers.Flatten(data_format="channels_last")(h), label])
    for units in CONFIG["encoder_units"]:
        h = dense(h, units)
    code = [layers.Dense(CONFIG["latent_dim"], name=name)(h) for name in ("z_mean", "z_log_var")]
    encoder = keras.Model([x, label], code, name="encoder")

    z = keras.Input((CONFIG["latent_dim"],), name="z")
    first, *others = CONFIG["decoder_channels_7"]
    h = layers.Concatenate()([z, label])
    h = layers.Reshape((7, 7, first))(dense(h, 7 * 7 * first))
    for channels in others:
        h = convolve(h, channels)
    h = layers.UpSampling2D(data_format="channels_last")(h)
    for channels in CONFIG["decoder_channels_14"]:
        h = convolve(h, channels)
    # Each pixel of 28x28 sees 3x3 of 14x14: the kernel is a multiple of the stride, without which
    # a transposed convolution leaves chequerboards.
    h = layers.Conv2DTranspose(
        1, 6, 2, padding="same", data_format="channels_last", name="parameters"
    )(h)
    decoder = keras.Model([z, label], h, name="decoder")

    return keras_vae.ConditionalVAE(
        encoder,
        decoder,
        condition={"label": keras_vae.Categorical(num_classes, names)},
        kl_weight=CONFIG["kl_weight"],
        seed=CONFIG["seed"],
    )


def measure(folder):
    """Write `quality.json`, of the prior samples and the latents, into the run folder."""
    from keras_vae import data
    from keras_vae.storage.runs import Run

    run = Run(folder)
    command = [sys.executable, ROOT / "benchmarks" / "conditional_quality.py", run.folder]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    ).stdout
    quality = json.loads(told[told.index("{\n") :])
    dataset = data.load(CONFIG["data"])
    mean, _ = run.load_model().encode({"x": dataset.x_test, "label": dataset.y_test})
    quality["latent_variances"] = [round(float(value), 3) for value in mean.var(axis=0)]
    run.write_json(run.folder / "quality.json", quality)


def export_run(folder, out):
    """Export every file, write `figures.json`, and return the exit status."""
    import export
    from keras_vae.storage.runs import Run

    run = Run(folder)
    made = export.export_files(
        run.folder, VARIANTS, export.GRAPHS, out, say=lambda line, done=False: print(line)
    )
    sizes = {path.name: path.stat().st_size for path, _ in made}
    sums = {}
    for path, _ in made:
        variant = "".join(path.suffixes)
        sums[variant] = sums.get(variant, 0) + sizes[path.name]
    config = run.config()
    figures = {
        **json.loads((run.folder / "quality.json").read_text(encoding="utf-8")),
        **json.loads(run.evaluation_path.read_text(encoding="utf-8")),
        "files": sizes,
        "total_bytes": sum(sizes.values()),
        "one_runtime_bytes": max(sums.values()),
        **{
            key: config[key]
            for key in (
                "parameters_of_encoder",
                "parameters_of_decoder",
                "seconds",
                "cpu_seconds",
                "backend",
                "versions",
            )
        },
        "config": config["arguments"],
    }
    run.write_json(out / "figures.json", figures)
    print(json.dumps(figures, indent=2))
    over = figures["total_bytes"] > MAX_BYTES
    over = over or figures["one_runtime_bytes"] > MAX_BYTES_OF_ONE_RUNTIME
    if over:
        print("error: the files are over their budget of bytes", file=sys.stderr)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
