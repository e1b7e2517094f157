"""What 10,000 samples in one call cost, over the decoder's matrix products in NumPy.

    KERAS_BACKEND=jax OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/sampling.py

The decoder is 20-400-784. `model.sample(10_000, seed=...)` draws the codes and decodes them, 256 at
a time so that memory does not grow with the number; its floor are the two matrix products over all
codes at once. Both in turn, CPU seconds, medians; the codes alone are timed too, as their generator
is NumPy.
"""

import argparse
import statistics
import time

import keras
import numpy as np
import receipts

import keras_vae

COUNT, ROUNDS = 10_000, 7


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    receipts.add_option(parser)
    args = parser.parse_args()
    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(latent_dim=20, hidden_units=(400,)),
        keras_vae.networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,)),
        seed=0,
    )
    model.build()
    first, last = (
        keras.ops.convert_to_numpy(layer.kernel)
        for layer in (model.decoder.hidden[0], model.decoder.outputs_dense)
    )
    z = np.random.default_rng(0).standard_normal((COUNT, 20), dtype=np.float32)
    calls = {
        "numpy": lambda: (z @ first) @ last,
        "sample": lambda: model.sample(COUNT, seed=0),
        "codes": lambda: model.prior.sample(COUNT, 20, seed=0),
    }
    seconds = {name: [] for name in calls}
    for _ in range(1 + ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    result = {
        **{f"{name}_s": round(value, 3) for name, value in medians.items()},
        "over_numpy": round(medians["sample"] / medians["numpy"], 2),
        "without_codes_over_numpy": round(
            (medians["sample"] - medians["codes"]) / medians["numpy"], 2
        ),
    }
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
