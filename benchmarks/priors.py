"""What a fitted prior does to the samples of a trained conditional model.

    python -m keras_vae train --data mnist --latent-dim 5 --prior standard_normal --out runs/mnist
    python benchmarks/priors.py runs/mnist

Takes a run folder, whose model is loaded and not changed on disk, and for its own prior and each
fitted one measures:

- `accuracy`: share of prior samples (temperature 1, 1,000 per class) that an independent
  classifier, trained here on real images only, gives the asked label. Bound of the fitted mixture:
  no lower than with the model's own prior.
- `diversity`: mean pairwise Euclidean distance of samples of one class over that of real test
  images, averaged over the classes. Bound of the fitted mixture: 0.8 to 1.1.
- `elbo`: on the test images, nats per example.
- `seconds`: to encode the training data and fit the prior.
"""

import argparse
import random
import time

import numpy as np
import receipts
from conditional_quality import PER_CLASS

import keras_vae
from keras_vae import data
from keras_vae.evaluation import diversity, evaluate, train_classifier

FITTED = {
    "fitted gaussian": {"kind": "gaussian"},
    "fitted mixture": {"kind": "mixture"},
    "fitted kernel density": {"kind": "kernel_density"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", nargs="?", default="runs/mnist", help="default: runs/mnist")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seed", type=int, default=0)
    receipts.add_option(parser)
    args = parser.parse_args()
    random.seed(args.seed)
    np.random.seed(args.seed)
    model = keras_vae.load_model(args.run)
    dataset = data.load(args.data)
    train = {"x": dataset.x_train, "label": dataset.y_train}
    test = {"x": dataset.x_test, "label": dataset.y_test}
    classifier = train_classifier(dataset, verbose=2)
    classes = range(len(dataset.class_names))
    labels = np.repeat(np.arange(len(classes)), PER_CLASS)

    def measure(seconds=None):
        samples = model.sample({"label": labels}, seed=args.seed)
        given = classifier.predict(samples, batch_size=1000, verbose=0).argmax(axis=1)
        return {
            "accuracy": float(np.mean(given == labels)),
            "diversity": float(np.mean(list(diversity(samples, labels, dataset).values()))),
            "elbo": evaluate(model, test)["elbo"],
            "seconds": seconds,
        }

    results = {type(model.prior).__name__: measure()}
    for name, options in FITTED.items():
        start = time.perf_counter()
        model.fit_prior(train, **options, seed=args.seed)
        results[name] = measure(round(time.perf_counter() - start, 1))
    found = {
        "classifier_accuracy": classifier.evaluate(dataset.x_test, dataset.y_test, verbose=0)[1],
        "priors": results,
    }
    receipts.finish(args, found)


if __name__ == "__main__":
    main()
