"""The notes of a `SequenceVAE` with Keras: KERAS_BACKEND=jax python keras_notes.py FOLDER

Writes `x` of every request in one file of float32, of the model in FOLDER/model.keras.
"""

import json
import pathlib
import sys

import numpy as np
from keras import config

import keras_vae
from keras_vae import portable_random
from keras_vae.training.batched import in_batches

TOGETHER = 500


def main():
    folder = pathlib.Path(sys.argv[1])
    given = json.loads((folder / "requests.json").read_text())
    model = keras_vae.load_model(folder / "model.keras")
    rows = given["rows"]
    seeds = np.repeat([request["seed"][0] for request in given["requests"]], rows).astype("int32")
    index = np.tile(np.arange(rows, dtype="int32"), len(given["requests"]))
    # All requests in few calls: a row's draws depend on its seed and its place alone.
    z = portable_random.normal(seeds, index, model.latent_dim)
    size = int(np.prod(model.data_shape))
    uniform = portable_random.uniforms(seeds, index, model.latent_dim, size)
    conditions = {}
    for name in model.condition:
        values = np.concatenate([request[name] for request in given["requests"]])
        side = given["sides"].get(name)
        conditions[name] = values if side is None else values.reshape(-1, side)
    temperature = given["requests"][0]["token_temperature"][0]

    def generate(batch):
        of_batch = {name: batch[name] for name in model.condition}
        return model.generate(batch["z"], batch["uniform"], batch["temperature"][:1], of_batch)

    arrays = {
        "z": z,
        "uniform": uniform.reshape(-1, *model.data_shape),
        "temperature": np.full(len(z), temperature, "float32"),
        **{name: values.astype("int32") for name, values in conditions.items()},
    }
    x = in_batches(model.as_compiled(generate), arrays, TOGETHER)[0]
    x.astype("float32").tofile(folder / f"keras-{config.backend()}.x")


if __name__ == "__main__":
    main()
