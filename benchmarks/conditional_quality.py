"""How good the conditional model is that `train --data mnist` makes by default.

    python -m keras_vae train --model conditional_vae --data mnist --out runs/mnist
    python benchmarks/conditional_quality.py runs/mnist

Prints, as JSON:

- `accuracy`: share of prior samples (temperature 1, 1,000 per class) that an independent
  classifier, trained here on real images only, gives the asked label. Bound: 0.97.
- `classifier_accuracy`: the classifier's accuracy on the real test images. Bound: 0.98.
- `diversity`: mean pairwise Euclidean distance of samples of one class over that of real test
  images, averaged over the classes. Bound: 0.75.
"""

import argparse
import random

import numpy as np
import receipts

import keras_vae
from keras_vae import data
from keras_vae.evaluation import diversity, train_classifier

PER_CLASS = 1000


def make_classifier(dataset):
    """The classifier of real images, the same one every time."""
    random.seed(0)
    np.random.seed(0)
    return train_classifier(dataset, verbose=2)


def measure(model, dataset, classifier=None, **settings):
    """Judge a conditional model's samples by a classifier of real images.

    Args:
        model: Model with the condition `label`.
        dataset: `data.Dataset`, with whose test images samples are compared.
        classifier: Optional, of `make_classifier`; left out, it is made here.
        **settings: Of `sample`, such as the temperature.

    Returns:
        Dict of `accuracy`, `accuracy_per_class`, `classifier_accuracy` and `diversity`.
    """
    classifier = classifier or make_classifier(dataset)
    x_test = data.as_float(dataset.x_test)
    real = classifier.evaluate(x_test, dataset.y_test, verbose=0)[1]
    classes = range(len(dataset.class_names))
    labels = np.repeat(np.arange(len(classes)), PER_CLASS)
    samples = model.sample({"label": labels}, seed=0, **settings)
    given = classifier.predict(samples, batch_size=1000, verbose=0).argmax(axis=1)
    ratios = diversity(samples, labels, dataset)
    return {
        "accuracy": float(np.mean(given == labels)),
        "accuracy_per_class": {
            dataset.class_names[c]: float(np.mean(given[labels == c] == c)) for c in classes
        },
        "classifier_accuracy": float(real),
        "diversity": float(np.mean(list(ratios.values()))),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", nargs="?", default="runs/mnist", help="default: runs/mnist")
    parser.add_argument("--data", default="mnist")
    receipts.add_option(parser)
    args = parser.parse_args()
    model = keras_vae.load_model(args.run)
    receipts.finish(args, measure(model, data.load(args.data)))


if __name__ == "__main__":
    main()
