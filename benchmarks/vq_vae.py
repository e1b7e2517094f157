"""How well a VQ-VAE reconstructs MNIST, and how much of its codebook it uses.

    python benchmarks/vq_vae.py
    python benchmarks/vq_vae.py --levels 8,6,5

A grid of 7x7 codes, 128 of them. Prints, as JSON:

- `codes_used`: share of the codebook that occurs on the 10,000 test images. Bound: above 0.8.
- `mean_squared_error`: of the reconstruction of test images in [0, 1], the mean over all pixels.
  Bound: at most 0.005.
- `prior_loss`, with `--prior-epochs`: of a PixelCNN, `-log p(codes | label)` in nats per image.
"""

import argparse
import random
import time

import keras
import receipts

import keras_vae
from keras_vae import data
from keras_vae.evaluation import evaluate


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num-codes", type=int, default=128)
    parser.add_argument("--levels", help="such as 8,6,5: finite scalar quantization instead")
    parser.add_argument("--hidden-units", default="16,32", help="default: 16,32")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--prior-epochs", type=int, default=0)
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
    start = time.perf_counter()
    model.fit(x, batch_size=128, epochs=args.epochs, verbose=2)
    result = {"seconds": round(time.perf_counter() - start, 1)}
    result.update(evaluate(model, dataset.x_test))
    if args.prior_epochs:
        model.fit_prior({"x": x, "label": label}, epochs=args.prior_epochs, verbose=2)
        codes = {"codes": model.encode(dataset.x_test), "label": dataset.y_test}
        result["prior_loss"] = -float(model.prior.log_likelihood(codes).mean())
        result["seconds_with_prior"] = round(time.perf_counter() - start, 1)
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
