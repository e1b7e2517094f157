"""How good and how varied the samples of a conditional GAN are after 20 minutes on two CPU cores.

    KERAS_BACKEND=tensorflow python benchmarks/conditional_gan.py
    python benchmarks/conditional_gan.py --data digits --epochs 100    # a small run

Trains the `ConditionalGAN` that `train --model conditional_gan --data mnist` makes by default: 12
epochs, of 25 CPU-seconds each (TensorFlow). Judges 1,000 samples of each class as
`conditional_quality` does. Prints, as JSON:

- `accuracy`: share that an independent classifier gives the asked label. Bound: 0.97.
- `diversity`: mean pairwise distance within a class over that of real images. Bound: 0.75.
- `seconds`: wall time of the training. Bound: 1,200 on two cores.
"""

import argparse
import random
import time

import conditional_quality
import numpy as np
import receipts

from keras_vae import data
from keras_vae.commands.build import make_gan, make_optimizer
from keras_vae.commands.main import make_parser
from keras_vae.commands.train_arguments import flag
from keras_vae.commands.train_defaults import fill_defaults


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="default: those of the command line")
    parser.add_argument("--class-loss-weight", type=float, help="likewise")
    receipts.add_option(parser)
    options = parser.parse_args()

    dataset = data.load(options.data)
    words = ["train", "--model", "conditional_gan", "--data", options.data]
    for name in ("epochs", "class_loss_weight"):
        if (value := getattr(options, name)) is not None:
            words += [flag(name), str(value)]
    args = make_parser().parse_args([*words, "--seed", str(options.seed)])
    fill_defaults(args, dataset)
    random.seed(args.seed)
    np.random.seed(args.seed)
    model = make_gan(args, dataset)
    model.compile(make_optimizer(args, dataset))
    model.build()
    start, cpu_start = time.perf_counter(), time.process_time()
    history = model.fit(
        {"x": dataset.x_train, "label": dataset.y_train},
        batch_size=args.batch_size,
        epochs=args.epochs,
        verbose=2,
    ).history
    result = {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu_start, 1),
        **conditional_quality.measure(model, dataset),
        "last_epoch": {name: values[-1] for name, values in history.items()},
        "parameters": model.count_params(),
    }
    sizes = ("network", "hidden_units", "latent_dim", "epochs", "batch_size")
    for name in (*sizes, "learning_rate", "class_loss_weight"):
        setattr(options, name, getattr(args, name))
    receipts.finish(options, result)


if __name__ == "__main__":
    main()
