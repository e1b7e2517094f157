"""What a conditional VAE makes of few labels: ten of each digit, and the rest without.

    KERAS_BACKEND=torch OMP_NUM_THREADS=1 python benchmarks/few_labels.py
    python benchmarks/few_labels.py --labels 20 --epochs 10

The model that `train --data` makes of 28x28 greys, with 5 latents and N(0, I), of all
training images of MNIST and of so many labels of each class. Prints, as JSON:

- `error`: share of the 10,000 test images for which `classify` names another class. Bound: 0.05.
- `calibration`: mean distance between how sure it is and how often it is right, of the second half
  of them, over ten bins of equally many, calibrated by the first half.
- `accuracy`, `diversity`: of 1,000 samples of each class, as `conditional_quality` measures them by
  a classifier of all labels, with a mixture of ten Gaussians as the prior of each class, fitted to
  the codes with the labels that `classify` fills in. Bound of the accuracy: 0.93.
  `accuracy_before_prior`: with N(0, I), as the model was trained.
- `seconds`, `cpu_seconds`: of the training. Bound: 1,800.
"""

import argparse
import dataclasses
import random
import time

import conditional_quality
import keras
import numpy as np
import receipts

from keras_vae import data
from keras_vae.commands.build import make_model, make_optimizer
from keras_vae.commands.main import make_parser
from keras_vae.commands.train_defaults import fill_defaults


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--labels", type=int, default=10, help="of each class; default: 10")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    receipts.add_option(parser)
    options = parser.parse_args()
    dataset = data.load("mnist")
    few = with_labels(dataset, options.labels, options.seed)
    words = [
        "train",
        "--model",
        "conditional_vae",
        "--data",
        "mnist",
        "--epochs",
        str(options.epochs),
        "--latent-dim",
        "5",
        "--prior",
        "standard_normal",
    ]
    args = make_parser().parse_args([*words, "--seed", str(options.seed)])
    fill_defaults(args, few)
    random.seed(args.seed)
    np.random.seed(args.seed)
    model = make_model(args, few)
    jit_compile = True if keras.backend.backend() == "torch" else "auto"
    model.compile(make_optimizer(args, few), jit_compile=jit_compile)
    start, cpu_start = time.perf_counter(), time.process_time()
    model.fit(
        {"x": few.x_train, "label": few.y_train},
        batch_size=args.batch_size,
        epochs=args.epochs,
        verbose=2,
        callbacks=[Progress(dataset)],
    )
    judge = conditional_quality.make_classifier(dataset)
    result = {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu_start, 1),
        "error": error(model, dataset),
        "accuracy_before_prior": conditional_quality.measure(model, dataset, judge)["accuracy"],
        "calibration": calibration(model, dataset),
    }
    model.fit_prior({"x": few.x_train, "label": few.y_train}, seed=args.seed)
    result |= conditional_quality.measure(model, dataset, judge)
    receipts.finish(options, result)


class Progress(keras.callbacks.Callback):
    """Print the error after every epoch. It decides nothing."""

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def on_epoch_end(self, epoch, logs=None):
        print(f"error after epoch {epoch + 1}: {error(self.model, self.dataset):.4f}", flush=True)


def with_labels(dataset, count, seed):
    """The set with so many labels of each class; the other ones are unknown."""
    rng, y = np.random.default_rng(seed), dataset.y_train
    classes = range(len(dataset.class_names))
    known = [rng.permutation(np.flatnonzero(y == label))[:count] for label in classes]
    few = np.full(len(y), len(classes), "int32")
    for rows in known:
        few[rows] = y[rows]
    return dataclasses.replace(dataset, y_train=few)


def error(model, dataset):
    return float(np.mean(model.classify(dataset.x_test).argmax(axis=1) != dataset.y_test))


def calibration(model, dataset):
    half = len(dataset.y_test) // 2
    model.calibrate_classifier({"x": dataset.x_test[:half], "label": dataset.y_test[:half]})
    found, label = model.classify(dataset.x_test[half:]), dataset.y_test[half:]
    sure, right = found.max(axis=1), found.argmax(axis=1) == label
    bins = np.array_split(np.argsort(sure), 10)
    return float(np.mean([abs(sure[rows].mean() - right[rows].mean()) for rows in bins]))


if __name__ == "__main__":
    main()
