"""The walk of one training step: which files of this package it passes, and how often it changes.

    KERAS_BACKEND=torch python benchmarks/walk.py [--calls]

One `train_step` of a dense `ConditionalVAE` runs under `sys.setprofile`, after one that has built
everything. A call counts where the called function stands in a file of this package; a move is a
change of file from one of our calls or returns to the next.
"""

import argparse
import itertools
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

import keras_vae

ROOT = Path(keras_vae.__file__).parent


def walk(model, data):
    """The files of a step in their order, one entry a call or a return, and the calls."""
    places, calls, stack = [], [], []

    def note(frame, event, argument):
        if event not in ("call", "return"):
            return
        path = frame.f_code.co_filename
        if not path.startswith(str(ROOT)):
            return
        file = str(Path(path).relative_to(ROOT))
        if event == "call":
            stack.append(file)
            calls.append((len(stack), file, frame.f_code.co_qualname))
            places.append(file)
        elif stack:
            stack.pop()
            if stack:
                places.append(stack[-1])

    sys.setprofile(note)
    try:
        model.train_step(data)
    finally:
        sys.setprofile(None)
    return places, calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", action="store_true", help="print every call, indented")
    args = parser.parse_args()
    networks = keras_vae.networks
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(latent_dim=20, hidden_units=(400,)),
        networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,)),
        condition={"label": keras_vae.Categorical(10)},
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    rng = np.random.default_rng(0)
    data = {"x": rng.random((128, 28, 28, 1), "float32"), "label": np.arange(128) % 10}
    model.fit(data, batch_size=128, verbose=0)
    tensors = {name: keras.ops.convert_to_tensor(value) for name, value in data.items()}
    model.train_step(tensors)
    places, calls = walk(model, tensors)
    if args.calls:
        for depth, file, name in calls:
            print("  " * depth + f"{name}  ({file})")
    moves = sum(one != other for one, other in itertools.pairwise(places))
    print(f"{len(set(places))} files, {len(calls)} calls, {moves} moves between files")
    for file in sorted(set(places)):
        print(f"  {file}: {sum(place == file for _, place, _ in calls)} calls")


if __name__ == "__main__":
    main()
