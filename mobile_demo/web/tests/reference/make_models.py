"""Write two tiny exported decoders for the manifest's tests: python make_models.py

They have random weights: only what they say about themselves is looked at.
"""

import pathlib

import keras
import numpy as np

import keras_vae
from export import export


def main():
    keras.utils.set_random_seed(0)
    model = keras_vae.ConditionalVAE(
        keras_vae.networks.DenseEncoder(latent_dim=2, hidden_units=(4,)),
        keras_vae.networks.DenseDecoder(output_shape=(4, 4, 1), hidden_units=(4,)),
        condition={"label": keras_vae.Categorical(3, names=("naïve", "<b>bold</b>", "三"))},
    )
    model.build()
    np.testing.assert_equal(model.latent_dim, 2)
    folder = pathlib.Path(__file__).parent.parent / "fixtures"
    for kind in ("tflite", "onnx"):
        export(model, format=kind, out=folder)


if __name__ == "__main__":
    main()
