"""The README's script: train a conditional VAE, sample from it, save it."""

import keras_vae
from keras_vae import data, figures, networks

digits = data.load("digits")
model = keras_vae.ConditionalVAE(
    networks.DenseEncoder(latent_dim=4, hidden_units=(256, 256)),
    networks.DenseDecoder(output_shape=(8, 8, 1), hidden_units=(256, 256)),
    condition={"label": keras_vae.Categorical(10)},
)
model.compile("adam")
model.fit(
    {"x": digits.x_train, "label": digits.y_train},
    validation_data=({"x": digits.x_test, "label": digits.y_test},),
    batch_size=64,
    epochs=20,
)
sevens = model.sample({"label": [7] * 16}, seed=42)  # numpy (16, 8, 8, 1) in [0, 1]
figures.samples(sevens, ["7", "7"], "Sixteen sevens").savefig("sevens.png")
model.save("model.keras")  # files for devices: python -m export --model model.keras
