"""The train, test and predict steps: the only place that imports a backend.

Each backend's `Trainer` lets the model's `players` move one after the other: it differentiates the
loss of each by its own variables and updates them. The mathematics is in `loss_and_terms`, which
all three share.

Where a batch is divided among devices or processes, `keras_vae.replica.current()` is the part that
a step works on.
"""

import keras

from keras_vae import backends

if keras.backend.backend() == "tensorflow":
    from keras_vae.training import tensorflow as backend
elif keras.backend.backend() == "jax":
    from keras_vae.training import jax as backend
elif keras.backend.backend() == "torch":
    from keras_vae.training import torch as backend
else:
    raise ImportError(backends.unknown(keras.backend.backend()))

Trainer = backend.Trainer
# What of it a model needs that takes the steps of Keras.
Guard = backend.Guard
devices = backend.devices
find_devices = backend.find_devices
is_divided = backend.is_divided
on_devices = backend.on_devices
prepare_devices = backend.prepare_devices
# Whether a function is compiled anew for every number of rows.
compiles_each_shape = keras.backend.backend() == "jax"
# Whether several devices need a process each.
needs_processes = keras.backend.backend() == "torch"

__all__ = [
    "Guard",
    "Trainer",
    "compiles_each_shape",
    "devices",
    "find_devices",
    "is_divided",
    "needs_processes",
    "on_devices",
    "prepare_devices",
]
