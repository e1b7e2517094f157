"""Trainings to be run on one device and on two, and how to run them on two.

`python -m tests.several OUT CASE...` runs cases in this process on two devices and writes what they
measured to an `.npz`. On PyTorch, and with the kind `workers` on TensorFlow, the processes are told
by their environment who they are.
"""

import contextlib
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import random

import keras
import numpy as np
from keras import ops

import keras_vae
from keras_vae import objectives, training

BACKEND = keras.backend.backend()


def data(count):
    """Images `(count, 6, 5, 1)`, labels of three classes and weights."""
    rng = np.random.default_rng(0)
    labels = (np.arange(count) % 3).astype("int32")
    x = rng.uniform(size=(count, 6, 5, 1)) * 0.3
    x[np.arange(count), labels] += 0.6
    return x.astype("float32"), labels, np.linspace(0.5, 2, count).astype("float32")


def dense(name, **kwargs):
    networks = keras_vae.networks
    encoder = networks.DenseEncoder(3, hidden_units=(8,))
    decoder = networks.DenseDecoder((6, 5, 1), hidden_units=(8,))
    return getattr(keras_vae, name)(encoder, decoder, seed=3, **kwargs)


def conditional_vae():
    label = keras_vae.Categorical(3, unknown_rate=0.3)
    return dense(
        "ConditionalVAE", condition={"label": label}, free_bits=0.2, dynamic_binarization=True
    )


def learned_labels():
    """Whose gradient of a table is of few rows."""
    label = keras_vae.Categorical(3, unknown_rate=0.3, embedding_dim=2)
    return dense("ConditionalVAE", condition={"label": label})


def conv_vae():
    networks = keras_vae.networks
    encoder = networks.ConvEncoder(3, hidden_units=(4, 6), batch_normalization=False)
    decoder = networks.ConvDecoder((6, 5, 1), (6, 4), batch_normalization=False)
    return keras_vae.VAE(encoder, decoder, seed=3, kl_weight=0.7)


def vq_vae():
    networks = keras_vae.networks
    encoder = networks.ConvGridEncoder(3, hidden_units=(6,), batch_normalization=False)
    decoder = networks.ConvGridDecoder((8, 8, 1), hidden_units=(6,), batch_normalization=False)
    quantizer = keras_vae.layers.VectorQuantizer(8, 3, seed=3)
    return keras_vae.VQVAE(encoder, decoder, quantizer, seed=3)


def gan():
    networks = keras_vae.networks
    generator = networks.DenseDecoder((6, 5, 1), hidden_units=(8,))
    return keras_vae.GAN(generator, networks.DenseDiscriminator((8,)), latent_dim=3, seed=3)


CASES = {
    "conditional_vae": conditional_vae,
    "conv_vae": conv_vae,
    "vq_vae": vq_vae,
    "gan": gan,
    "learned_labels": learned_labels,
    "autoencoder": lambda: dense("Autoencoder"),
    "iwae": lambda: dense("VAE", objective="iwae", num_samples=3),
    "score_function": lambda: dense("VAE", objective=objectives.ELBO(1, "score_function")),
    "total_correlation": lambda: dense(
        "VAE", objective=objectives.TotalCorrelation(3.0, dataset_size=47)
    ),
    "mmd": lambda: dense("VAE", objective=objectives.MMD(10.0), num_samples=None),
    "optimal": lambda: dense("VAE", likelihood=keras_vae.likelihoods.Gaussian("optimal")),
    "skips": lambda: dense("VAE"),
}


def train(case, count=47, epochs=3):
    """Train a case for a few epochs and return all that it measured and learnt, as arrays."""
    random.seed(1)
    x, labels, weights = data(count)
    model = CASES[case]()
    model.compile(keras.optimizers.Adam(3e-3))
    if case == "vq_vae":
        x = np.pad(x, ((0, 0), (0, 2), (0, 3), (0, 0)))
    inputs = {"x": x, "label": labels} if model.condition else x
    kwargs = {} if case == "gan" else {"sample_weight": weights}
    if case == "skips":
        # A gradient that overflows on one replica only.
        kwargs["sample_weight"] = np.where(np.arange(count) == 5, 3e38, weights).astype("float32")
    # The last batch has an odd number of examples.
    model.fit(inputs, batch_size=20, epochs=epochs, verbose=0, shuffle=case != "skips", **kwargs)
    history = {name: np.array(values) for name, values in model.history.history.items()}
    kwargs.pop("sample_weight", None)
    measured = model.evaluate(inputs, batch_size=20, verbose=0, return_dict=True, **kwargs)
    learnt = [ops.convert_to_numpy(variable).ravel() for variable in model.weights]
    return {
        **history,
        **{f"evaluated_{name}": np.array(value) for name, value in measured.items()},
        "weights": np.concatenate([array.astype("float64") for array in learnt]),
    }


@contextlib.contextmanager
def two_devices():
    """Where a model trains on two devices, as README's reader would write it."""
    if "TF_CONFIG" in os.environ:
        import tensorflow as tf

        with tf.distribute.MultiWorkerMirroredStrategy().scope():
            yield
    else:
        training.prepare_devices(2)
        with training.on_devices(2):
            yield


def without_tensorflow():
    """Let a process of another backend run as where it is not installed.

    Where it is, Keras imports it to write a config or to load a model, which takes longer than a
    small training.
    """
    sys.modules.setdefault("tensorflow", None)


def main(out, *cases):
    without_tensorflow()
    with two_devices():
        measured = {case: train(case) for case in cases}
    if os.environ.get("RANK", "0") == "0":
        flat = {f"{case}/{k}": v for case, found in measured.items() for k, v in found.items()}
        np.savez(out, **flat)


if __name__ == "__main__":
    main(*sys.argv[1:])
