"""The README's script: train a conditional VAE, sample from it, save it."""

import keras_vae
from keras_vae import data, figures, networks

digits = data.load("mnist_small")
train = {"x": digits.x_train, "label": digits.y_train}
test = {"x": digits.x_test, "label": digits.y_test}
model = keras_vae.ConditionalVAE(
    networks.DenseEncoder(latent_dim=4, hidden_units=(256, 256)),
    networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(256, 256)),
    condition={"label": keras_vae.Categorical(10)},
)
model.compile("adam")
model.fit(train, validation_data=test, batch_size=64, epochs=20)
model.fit_prior(train)  # draw codes where those of the training images lie
sevens = model.sample({"label": 7}, count=16, seed=42)  # numpy (16, 28, 28, 1) in [0, 1]
figures.samples(sevens, ["7", "7"], "Sixteen sevens").savefig("sevens.png")
model.save("model.keras")  # files for devices: python -m export --model model.keras
