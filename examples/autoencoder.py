"""What a VAE adds to an autoencoder: a latent space without holes.

    python examples/autoencoder.py

Both squeeze an image through two numbers. The autoencoder may put them anywhere, so the plane
between its clusters decodes to nothing in particular. The VAE pays for every nat by which a code
tells more than N(0, I): its codes fill the middle of the plane, and any point there is an image.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, networks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/autoencoder")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
shape = digits.x_train.shape[1:]


def trained(kind):
    """The same networks, trained as one kind of model or the other."""
    encoder = networks.DenseEncoder(latent_dim=2, hidden_units=(128, 128))
    decoder = networks.DenseDecoder(shape, hidden_units=(128, 128))
    model = kind(encoder, decoder, seed=0)
    model.compile(keras.optimizers.Adam(2e-3))
    model.fit(digits.x_train, batch_size=64, epochs=args.epochs, verbose=0)
    return model


autoencoder, vae = trained(keras_vae.Autoencoder), trained(keras_vae.VAE)
codes = {
    "Autoencoder": autoencoder.encode(digits.x_test),  # the code itself
    "VAE": vae.encode(digits.x_test)[0],  # the mean of the posterior, of (mean, log-variance)
}
for name, z in codes.items():
    print(
        f"{name:>12}: codes of mean {z.mean(axis=0).round(1)} and spread {z.std(axis=0).round(1)}"
    )
title = f"The same two numbers an image, {args.epochs} epochs"
figure = figures.latent_spaces(codes, digits.y_test, digits.class_names, title)
figure.savefig(args.out / "latent_spaces.png")

# Draw codes from N(0, I) and decode them. Only one of the two was trained for this.
z = np.random.default_rng(0).normal(size=(24, 2))
images = np.concatenate([autoencoder.decode(z), vae.decode(z)])
names = [*["Autoencoder"] * 2, *["VAE"] * 2]
title = "Codes drawn from N(0, I), decoded"
figures.samples(images, names, title).savefig(args.out / "decoded_noise.png")
print(args.out / "latent_spaces.png", args.out / "decoded_noise.png")
