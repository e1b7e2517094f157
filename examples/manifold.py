"""A latent space that fits on paper: two dimensions, and what the decoder makes of each point.

    python examples/manifold.py
    python examples/manifold.py --data mnist --epochs 10

One picture shows where the encoder puts the test images, the other what the decoder makes of the
same plane. Its points lie at the prior's quantiles, so that equal areas are equally probable.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, networks
from keras_vae.figures import walks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=100)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/manifold")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
model = keras_vae.VAE(
    networks.DenseEncoder(latent_dim=2, hidden_units=(256, 256)),
    networks.DenseDecoder(digits.x_train.shape[1:], hidden_units=(256, 256)),
    seed=0,
)
model.compile(keras.optimizers.Adam(1e-3))
history = model.fit(digits.x_train, batch_size=64, epochs=args.epochs, verbose=0).history
print(f"Of {history['loss'][-1]:.1f} nats an image, the code has {history['kl_loss'][-1]:.1f}")

title = f"VAE on {digits.name}, {args.epochs} epochs"
z_mean, z_log_var = model.encode(digits.x_test)
figure = figures.latent_scatter(z_mean, digits.y_test, digits.class_names, f"Codes\n{title}")
figure.savefig(args.out / "latent.png")

probabilities = np.linspace(0.02, 0.98, 15)
first, second = walks.prior_quantiles(model, probabilities).T  # of each dimension
images = model.decode(walks.plane(first, second))
figure = figures.manifold([images], [""], f"The decoder's plane\n{title}", probabilities)
figure.savefig(args.out / "manifold.png")
print(args.out / "latent.png", args.out / "manifold.png")
