"""Two ways to the encoder's gradient: through the draw, or from the draw's loss alone.

    python examples/score_function.py            # a minute; writes score_function.png

Both estimate the same gradient of the ELBO without bias (Kingma & Welling, 2014, section 2.2). The
reparameterised one knows how the loss changes with the code. The score function (REINFORCE) only
knows the loss of the codes it drew: it would take a decoder that cannot be differentiated, and pays
with variance. A baseline gives some of it back.
"""

import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, networks
from keras_vae.objectives import ELBO
from matplotlib.figure import Figure

ESTIMATORS = {
    "reparameterised": ELBO(),
    "score function, 8 draws, others as baseline": ELBO(8, "score_function"),
    "score function, the batch as baseline": ELBO(1, "score_function"),
    "score function, no baseline": ELBO(1, "score_function", baseline=None),
}
EPOCHS, REPEATS = 10, 50


def make_model(objective):
    random.seed(0)  # the same initial weights for all
    encoder = networks.DenseEncoder(latent_dim=4, hidden_units=(128,))
    decoder = networks.DenseDecoder(output_shape=(8, 8, 1), hidden_units=(128,))
    return keras_vae.VAE(encoder, decoder, objective=objective, seed=0)


def encoder_gradients(objective, weights, batch):
    """The encoder's gradient `(REPEATS, parameters)` on one batch, with new draws each time."""
    model = make_model(objective)
    # A step of plain gradient descent with rate 1 moves every weight by its gradient.
    model.compile(keras.optimizers.SGD(1.0))
    model.build()
    gradients = []
    for _ in range(REPEATS):
        model.set_weights(weights)
        before = model.encoder.get_weights()
        model.train_on_batch(batch)
        after = model.encoder.get_weights()
        moved = [(old - new).ravel() for old, new in zip(before, after, strict=True)]
        gradients.append(np.concatenate(moved))
    return np.array(gradients)


digits = data.load("digits")
curves, trained = {}, None
for name, objective in ESTIMATORS.items():
    model = make_model(objective)
    model.compile(keras.optimizers.Adam(1e-3))
    history = model.fit(digits.x_train, batch_size=64, epochs=EPOCHS, verbose=0).history
    curves[name] = history["loss"]
    trained = model.get_weights() if trained is None else trained

print(f"Training loss after {EPOCHS} epochs (nats per image), and the encoder's gradient on one")
print("batch of the first model: its standard deviation over its length.")
noise = {}
for name, objective in ESTIMATORS.items():
    gradients = encoder_gradients(objective, trained, digits.x_train[:64])
    noise[name] = np.sqrt(gradients.var(axis=0, ddof=1).sum())
    if objective.gradient == "reparameterized":
        length = np.linalg.norm(gradients.mean(axis=0))
    ratio = (noise[name] / noise["reparameterised"]) ** 2
    print(f"{name:>45} {curves[name][-1]:8.2f} {noise[name] / length:8.2f}   variance x{ratio:.0f}")

figure = Figure(figsize=(11, 3.6), layout="constrained", dpi=120)
left, right = figure.subplots(1, 2)
for name, losses in curves.items():
    left.plot(range(1, EPOCHS + 1), losses, label=name)
left.set(xlabel="epoch", ylabel="training loss, nats per image")
left.legend(frameon=False, fontsize=8)
for row, value in enumerate(noise.values()):
    right.barh(row, value**2, color=f"C{row}")
right.set(xscale="log", xlabel="variance of the encoder's gradient", yticks=[])
right.invert_yaxis()
figure.savefig("score_function.png")
print("score_function.png")
