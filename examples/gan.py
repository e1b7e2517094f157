"""A GAN, and a conditional GAN: sharp samples, no likelihood, and two losses that never fall.

    python examples/gan.py

The generator makes images of noise, the discriminator tells them from real ones, and each trains
against the other. Look at the samples, not at the losses: at equilibrium they are 2 log 2 and
log 2, whatever the images look like.
"""

import argparse
import functools
import math
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import callbacks, data, figures, networks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/gan")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
names, shape, latent_dim = digits.class_names, digits.x_train.shape[1:], 16
generator = functools.partial(networks.DenseDecoder, shape, (256, 256))
discriminator = functools.partial(networks.DenseDiscriminator, (256, 256))

plain = keras_vae.GAN(generator(), discriminator(), latent_dim, seed=0)
# The conditional one's discriminator also names the class, and its generator is told which to make.
conditional = keras_vae.ConditionalGAN(
    generator(),
    discriminator(num_classes=len(names)),
    condition={"label": keras_vae.Categorical(len(names), names)},
    latent_dim=latent_dim,
    seed=0,
)
inputs = {"GAN": digits.x_train, "ConditionalGAN": {"x": digits.x_train, "label": digits.y_train}}
labels = np.repeat(np.arange(len(names)), 8)
asked = {"GAN": 80, "ConditionalGAN": {"label": labels}}
for model in (plain, conditional):
    name = type(model).__name__
    # A small beta_1 keeps the two from swinging around each other.
    model.compile(keras.optimizers.Adam(1e-3, beta_1=0.5))
    watch = callbacks.SampleGif(args.out / f"{name}.gif", asked[name], columns=8)
    fit = model.fit(inputs[name], batch_size=64, epochs=args.epochs, verbose=0, callbacks=[watch])
    losses = [fit.history[term][-1] for term in ("discriminator_loss", "generator_loss")]
    print(f"{name:>15}: discriminator {losses[0]:.2f}, generator {losses[1]:.2f} nats")
    rows = names if model.condition else [""] * 10
    title = f"Samples of a {name}, {args.epochs} epochs"
    figure = figures.samples(model.sample(asked[name], seed=0), rows, title)
    figure.savefig(args.out / f"{name}.png")
    print(args.out / f"{name}.png", args.out / f"{name}.gif")
print(f"At equilibrium: {2 * math.log(2):.2f} and {math.log(2):.2f}")
