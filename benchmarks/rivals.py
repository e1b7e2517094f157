"""The models of `training.py` as others write them, to be timed beside ours.

Each function takes images as uint8 `(n, height, width, channels)`, gets everything ready, and
returns a function that trains for one epoch and returns its mean loss in nats per image. Nothing is
imported that the one rival does not need.
"""

import os

import numpy as np

PIXELS, HIDDEN, LATENT, BATCH = 784, 400, 20, 128


def floor(x_train):
    """The matrix products of the training steps and nothing else, in jitted JAX."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    sizes = [(PIXELS, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, PIXELS)]
    weights = [jnp.asarray(rng.normal(0, 0.05, size), "float32") for size in sizes]
    batches = len(x_train) // BATCH
    x = jnp.asarray(x_train[: batches * BATCH].reshape(batches, BATCH, PIXELS), "float32") / 255

    def step(weights, x):
        w1, w2, w3, w4 = weights
        h = x @ w1
        code = h @ w2
        g = code[:, :LATENT] @ w3
        y = g @ w4
        d4, dg = g.T @ y, y @ w4.T
        d3, dz = code[:, :LATENT].T @ dg, dg @ w3.T
        dcode = jnp.concatenate([dz, dz], axis=1)
        d2, dh = h.T @ dcode, dcode @ w2.T
        d1 = x.T @ dh
        # Each product is used, so that none is left out; the weights stay what they are.
        return [w + 1e-20 * d for w, d in zip(weights, [d1, d2, d3, d4], strict=True)], y[0, 0]

    run = jax.jit(lambda weights: jax.lax.scan(step, weights, x))

    def epoch():
        jax.block_until_ready(run(weights))
        return float("nan")

    return epoch


def jax_scan(x_train):
    """Hand-written JAX, one `lax.scan` over the epoch."""
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(x_train.reshape(-1, PIXELS), "float32") / 255
    batches = len(x) // BATCH

    def dense(key, inputs, outputs):
        limit = np.sqrt(6 / (inputs + outputs))
        kernel = jax.random.uniform(key, (inputs, outputs), minval=-limit, maxval=limit)
        return {"kernel": kernel, "bias": jnp.zeros(outputs)}

    def apply(layer, x):
        return x @ layer["kernel"] + layer["bias"]

    def loss(parameters, x, key):
        h = jax.nn.relu(apply(parameters["hidden"], x))
        mean, log_var = apply(parameters["mean"], h), apply(parameters["log_var"], h)
        z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
        logits = apply(parameters["logits"], jax.nn.relu(apply(parameters["decoder"], z)))
        reconstruction = jnp.sum(jnp.logaddexp(0, logits) - logits * x)
        kl = jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var) / 2
        return (reconstruction + kl) / len(x)

    def step(carry, rows):
        parameters, m, v, t, key = carry
        key, noise = jax.random.split(key)
        value, gradients = jax.value_and_grad(loss)(parameters, x[rows], noise)
        t = t + 1
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, gradients)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, gradients)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), parameters, m, v
        )
        return (parameters, m, v, t, key), value

    keys = jax.random.split(jax.random.key(0), 6)
    sizes = {
        "hidden": (PIXELS, HIDDEN),
        "mean": (HIDDEN, LATENT),
        "log_var": (HIDDEN, LATENT),
        "decoder": (LATENT, HIDDEN),
        "logits": (HIDDEN, PIXELS),
    }
    parameters = {n: dense(key, *size) for key, (n, size) in zip(keys, sizes.items(), strict=False)}
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    carry = (parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(()), keys[-1])
    order = np.random.default_rng(0)
    run = jax.jit(lambda carry, rows: jax.lax.scan(step, carry, rows), donate_argnums=0)

    def epoch():
        nonlocal carry
        rows = order.permutation(len(x))[: batches * BATCH].reshape(batches, BATCH)
        carry, losses = run(carry, rows)
        return float(losses.mean())

    return epoch


def pytorch(x_train):
    """PyTorch as its own VAE example has it, with the data in one tensor beforehand."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(PIXELS, HIDDEN)
            self.mean = nn.Linear(HIDDEN, LATENT)
            self.log_var = nn.Linear(HIDDEN, LATENT)
            self.decoder = nn.Linear(LATENT, HIDDEN)
            self.out = nn.Linear(HIDDEN, PIXELS)

        def forward(self, x):
            h = functional.relu(self.hidden(x))
            mean, log_var = self.mean(h), self.log_var(h)
            std = torch.exp(0.5 * log_var)
            z = mean + torch.randn_like(std) * std
            return torch.sigmoid(self.out(functional.relu(self.decoder(z)))), mean, log_var

    x = torch.from_numpy(x_train.reshape(-1, PIXELS)).float().div_(255)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch():
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(BATCH):
            batch = x[rows]
            optimizer.zero_grad()
            made, mean, log_var = model(batch)
            bce = functional.binary_cross_entropy(made, batch, reduction="sum")
            kl = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
            loss = bce + kl
            loss.backward()
            total += loss.item()
            optimizer.step()
        return total / len(x)

    return epoch


def pytorch_conv(x_train, all_units, latent, batch_size):
    """A convolutional VAE in plain PyTorch, channels last, with the data in one tensor.

    Args:
        x_train: The images.
        all_units: Tuple of ints, the channels of the encoder's stages.
        latent: Int, the size of the code.
        batch_size: Int.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    height, width, channels = x_train.shape[1:]
    grid = (all_units[-1], height >> len(all_units), width >> len(all_units))
    flat = grid[0] * grid[1] * grid[2]

    def finish(units):
        return [nn.BatchNorm2d(units), nn.LeakyReLU(0.2)]

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            down, before = [], channels
            for units in all_units:
                down += [nn.Conv2d(before, units, 3, 2, 1, bias=False), *finish(units)]
                before = units
            up = []
            for units in all_units[::-1]:
                up += [nn.Upsample(scale_factor=2), nn.Conv2d(before, units, 3, 1, 1, bias=False)]
                up += finish(units)
                before = units
            self.encoder = nn.Sequential(*down, nn.Flatten())
            self.mean, self.log_var = nn.Linear(flat, latent), nn.Linear(flat, latent)
            self.project = nn.Sequential(nn.Linear(latent, flat), nn.Unflatten(1, grid))
            self.decoder = nn.Sequential(*up, nn.Conv2d(before, channels, 3, 1, 1))

        def forward(self, x):
            h = self.encoder(x)
            mean, log_var = self.mean(h), self.log_var(h)
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            h = self.project(z).contiguous(memory_format=torch.channels_last)
            return self.decoder(h), mean, log_var

    x = torch.from_numpy(x_train).permute(0, 3, 1, 2)
    model = VAE().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch():
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch_size):
            batch = x[rows].float().div_(255).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            logits, mean, log_var = model(batch)
            bce = functional.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
            loss = (bce - 0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())) / len(batch)
            loss.backward()
            total += loss.item() * len(batch)
            optimizer.step()
        return total / len(x)

    return epoch


def keras_io(x_train):
    """TensorFlow as the example of keras.io has it: a custom `train_step` under `fit`."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf
    from keras import layers, ops

    keras.utils.set_random_seed(0)
    hidden = layers.Dense(HIDDEN, activation="relu")(inputs := keras.Input((PIXELS,)))
    encoder = keras.Model(inputs, [layers.Dense(LATENT)(hidden), layers.Dense(LATENT)(hidden)])
    decoder = keras.Sequential(
        [
            keras.Input((LATENT,)),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dense(PIXELS, activation="sigmoid"),
        ]
    )

    class VAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder
            self.noise = keras.random.SeedGenerator(0)
            names = ("loss", "reconstruction_loss", "kl_loss")
            self.trackers = [keras.metrics.Mean(name=name) for name in names]

        @property
        def metrics(self):
            return self.trackers

        def train_step(self, x):
            with tf.GradientTape() as tape:
                mean, log_var = self.encoder(x)
                noise = keras.random.normal(ops.shape(mean), seed=self.noise)
                made = self.decoder(mean + ops.exp(0.5 * log_var) * noise)
                bce = keras.losses.binary_crossentropy(x, made) * PIXELS
                kl = -0.5 * ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=1)
                losses = [ops.mean(bce + kl), ops.mean(bce), ops.mean(kl)]
            gradients = tape.gradient(losses[0], self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            for tracker, value in zip(self.trackers, losses, strict=True):
                tracker.update_state(value)
            return {tracker.name: tracker.result() for tracker in self.trackers}

    model = VAE()
    # Faster than the default on a CPU, where Keras would choose XLA.
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    x = x_train.reshape(-1, PIXELS).astype("float32") / 255

    def epoch():
        return model.fit(x, batch_size=BATCH, epochs=1, verbose=0).history["loss"][-1]

    return epoch


def pythae(x_train):
    """Pythae, with networks of the same sizes: its trainer, an epoch at a time."""
    import logging
    import tempfile

    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from torch import nn

    logging.disable(logging.CRITICAL)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(PIXELS, HIDDEN)
            self.mean, self.log_var = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

        def forward(self, x):
            h = torch.relu(self.hidden(x.reshape(len(x), -1)))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, PIXELS)

        def forward(self, z):
            made = torch.sigmoid(self.out(torch.relu(self.hidden(z))))
            return ModelOutput(reconstruction=made.reshape(-1, 1, 28, 28))

    x = torch.from_numpy(x_train.transpose(0, 3, 1, 2)).float().div_(255)
    config = VAEConfig((1, 28, 28), LATENT, reconstruction_loss="bce")
    folder = tempfile.TemporaryDirectory()
    training = BaseTrainerConfig(
        folder.name,
        num_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        optimizer_cls="Adam",
        no_cuda=True,
        seed=0,
    )
    trainer = BaseTrainer(
        VAE(config, Encoder(), Decoder()),
        train_dataset=BaseDataset(x, torch.zeros(len(x))),
        training_config=training,
    )
    trainer.prepare_training()

    def epoch():
        return float(folder and trainer.train_step(epoch=1))

    return epoch
