"""How well a VQ-VAE reconstructs MNIST, and how much of its codebook it uses.

    python benchmarks/vq_vae.py
    python benchmarks/vq_vae.py --levels 8,6,5
    python benchmarks/vq_vae.py --prior-epochs 9
    python benchmarks/vq_vae.py --prior-epochs 9 --guidance 1.5,2

A grid of 7x7 codes, 128 of them. Prints, as JSON:

- `codes_used`: share of the codebook that occurs on the 10,000 test images. Bound: above 0.8.
- `mean_squared_error`: of the reconstruction of test images in [0, 1], the mean over all pixels.
  Bound: at most 0.005.

With `--prior-epochs`, of a `MaskGIT` over the codes:

- `prior_loss`: `-log p(codes | label)` in nats per test image.
- `temperatures`: of samples at temperature 1 and lower ones, 1,000 of each class, `accuracy`: the
  share that an independent classifier of real images gives the asked label (bound at one of them:
  0.97), and `diversity`: as in `conditional_quality`.
- `files`: of the `sampler` in LiteRT and ONNX Runtime, one thread: bytes, milliseconds of an image
  alone (bound in LiteRT: 50), codes that differ from Keras' among those of 256 images of a seed,
  and in how many images (bound: none but ties).

With `--guidance`, the prior is trained with a label in ten *unknown*, and in the place of
`temperatures` and `files` there is `guided`: accuracy and diversity at temperature 1 without
guidance and with each.
"""

import argparse
import pathlib
import random
import statistics
import tempfile
import time

import conditional_quality
import deployment
import keras
import numpy as np
import receipts

import export
import keras_vae
from keras_vae import data
from keras_vae.evaluation import evaluate

STEPS = 16
TEMPERATURES = (1.0, 0.7)
UNKNOWN_RATE = 0.1
SEEN = 256
CALLS = 51


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num-codes", type=int, default=128)
    parser.add_argument("--levels", help="such as 8,6,5: finite scalar quantization instead")
    parser.add_argument("--hidden-units", default="16,32", help="default: 16,32")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--prior-epochs", type=int, default=0)
    parser.add_argument("--guidance", type=floats, default=(), help="such as 1.5,2")
    parser.add_argument("--examples", type=int, help="train on the first so many images")
    parser.add_argument("--seed", type=int, default=0)
    receipts.add_option(parser)
    args = parser.parse_args()
    random.seed(args.seed)  # Keras' initializers take their seeds from here
    dataset = data.load("mnist")
    x, label = dataset.x_train[: args.examples], dataset.y_train[: args.examples]
    if args.levels:
        levels = tuple(map(int, args.levels.split(",")))
        quantizer = keras_vae.layers.FiniteScalarQuantizer(levels)
    else:
        quantizer = keras_vae.layers.VectorQuantizer(args.num_codes, 16, seed=args.seed)
    widths = tuple(map(int, args.hidden_units.split(",")))
    model = keras_vae.VQVAE(
        keras_vae.networks.ConvGridEncoder(quantizer.dim, widths),
        keras_vae.networks.ConvGridDecoder((28, 28, 1), widths[::-1]),
        quantizer,
        seed=args.seed,
    )
    steps = args.epochs * -(-len(x) // 128)
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps, alpha=0.01)
    model.compile(keras.optimizers.Adam(schedule))
    start, cpu_start = time.perf_counter(), time.process_time()
    model.fit(x, batch_size=128, epochs=args.epochs, verbose=2)
    result = {"seconds": round(time.perf_counter() - start, 1)}
    result.update(evaluate(model, dataset.x_test))
    if args.prior_epochs:
        fit_prior(model, x, label, args)
        result["seconds_with_prior"] = round(time.perf_counter() - start, 1)
        result["cpu_seconds_with_prior"] = round(time.process_time() - cpu_start, 1)
        codes = {"codes": model.encode(dataset.x_test), "label": dataset.y_test}
        result["prior_loss"] = -float(model.prior.log_likelihood(codes).mean())
        if args.guidance:
            guided = [{"guidance": guidance} for guidance in (1.0, *args.guidance)]
            result["guided"] = judge(model, dataset, guided)
        else:
            result["files"] = measure_files(model)
            temperatures = [{"temperature": temperature} for temperature in TEMPERATURES]
            result["temperatures"] = judge(model, dataset, temperatures)
    receipts.finish(args, result)


def fit_prior(model, x, label, args):
    """Train a `MaskGIT` over the codes, with a learning rate that falls to 0."""
    unknown_rate = UNKNOWN_RATE if args.guidance else 0.0
    kinds = {"label": keras_vae.Categorical(10, unknown_rate=unknown_rate)}
    prior = keras_vae.MaskGIT(
        model.grid_shape, model.quantizer.num_codes, kinds, num_steps=STEPS, seed=args.seed
    )
    steps = args.prior_epochs * -(-len(x) // 128)
    prior.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)))
    model.fit_prior({"x": x, "label": label}, prior, epochs=args.prior_epochs, verbose=2)


def floats(text):
    return tuple(float(word) for word in text.split(","))


def judge(model, dataset, settings):
    """Right class and diversity of samples drawn by each of some dicts of settings."""
    classifier = conditional_quality.make_classifier(dataset)
    found = []
    for given in settings:
        found.append({**given, **conditional_quality.measure(model, dataset, classifier, **given)})
        print(found[-1], flush=True)
    return found


def measure_files(model):
    """Bytes, milliseconds and codes of the sampler in its runtimes."""
    label = np.arange(SEEN, dtype="int32") % 10
    expected = model.prior.sample({"label": label}, seed=0)
    settings = {"seed": np.array([0], "int32"), "temperature": np.ones(1, "float32")}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        variants = [(format, "none") for format in ("tflite", "onnx")]
        for path, _ in export.export_files(model, variants, ("sampler",), pathlib.Path(folder)):
            module = export.module_of(path.suffix[1:])
            differs = module.load(path)({"label": label, **settings})["codes"] != expected
            run = {".tflite": deployment.litert, ".onnx": deployment.onnxruntime}[path.suffix]
            call, seconds = run(path, {"label": label[:1], **settings}), []
            for _ in range(CALLS):
                begin = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - begin)
            found[path.suffix[1:]] = {
                "bytes": path.stat().st_size,
                "milliseconds": round(1000 * statistics.median(seconds), 2),
                "other_codes": int(differs.sum()),
                "other_images": int(differs.any(axis=(1, 2)).sum()),
            }
    return found


if __name__ == "__main__":
    main()
