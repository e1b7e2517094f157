"""The draws of a sampler's latent code with Keras: KERAS_BACKEND=jax python keras_draws.py FOLDER

Writes `z` of every request in one file of float32.
"""

import json
import pathlib
import sys

from keras import config, ops

from keras_vae import portable_random


def main():
    folder = pathlib.Path(sys.argv[1])
    given = json.loads((folder / "requests.json").read_text())
    columns = {"seed": [], "index": [], "temperature": []}
    for request in given["requests"]:
        index = request["index"] if "index" in request else range(len(request["label"]))
        columns["index"].extend(index)
        # One for each row: all requests in one call, for eager Keras is slow to start an operation.
        for name in ("seed", "temperature"):
            columns[name].extend(request[name] * len(index))
    seed, index = (ops.convert_to_tensor(columns[name], "int32") for name in ("seed", "index"))
    temperature = ops.convert_to_tensor(columns["temperature"], "float32")
    noise = portable_random.normal(seed, index, given["latent_dim"], ops)
    z = ops.convert_to_numpy(temperature[:, None] * noise)
    assert z.dtype == "float32"
    z.tofile(folder / f"keras-{config.backend()}.z")


if __name__ == "__main__":
    main()
