"""The train, test and predict steps: the only place that imports a backend.

Each backend's `Trainer` lets the model's `players` move one after the other: it differentiates the
loss of each by its own variables and updates them. The mathematics is in `loss_and_terms`, which
all three share.
"""

import keras

if keras.backend.backend() == "tensorflow":
    from keras_vae.trainers.tensorflow import Trainer, devices, is_out_of_memory
elif keras.backend.backend() == "jax":
    from keras_vae.trainers.jax import Trainer, devices, is_out_of_memory
elif keras.backend.backend() == "torch":
    from keras_vae.trainers.torch import Trainer, devices, is_out_of_memory
else:
    raise ImportError(
        "keras-vae needs the backend tensorflow, jax or torch. Received: "
        f"{keras.backend.backend()}. Set the environment variable KERAS_BACKEND."
    )

__all__ = ["Trainer", "devices", "is_out_of_memory"]
