"""A program of a user's, which `mypy --strict` must accept; it is read, not run."""

import pathlib
from typing import Any, assert_type

import keras
import numpy as np
from numpy.typing import NDArray

import export
import keras_vae

Floats = NDArray[np.float32]
assert_type(keras_vae.__version__, str)

# Train a model of pictures
digits = keras_vae.data.load("mnist_small")
assert_type(digits, keras_vae.data.Dataset)
assert_type(digits.class_names, tuple[str, ...])
cvae = keras_vae.ConditionalVAE(
    keras_vae.networks.DenseEncoder(latent_dim=20, hidden_units=(400,)),
    keras_vae.networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,)),
    condition={"label": keras_vae.Categorical(10, unknown_rate=0.1)},
    kl_weight=keras_vae.schedules.LinearWarmup(epochs=5),
    objective=keras_vae.objectives.ELBO(num_samples=2),
    likelihood=keras_vae.likelihoods.ContinuousBernoulli(),
)
cvae.compile(keras.optimizers.Adam(1e-3))
data = {"x": digits.x_train, "label": digits.y_train}
history = cvae.fit(data, epochs=2, callbacks=[keras_vae.callbacks.ProgressLines()])
print(history.history["loss"][-1])

# Sample, encode, measure
assert_type(cvae.sample({"label": ["7"] * 16}, temperature=0.9, seed=42), Floats)
assert_type(cvae.encode(digits.inputs("test", ["label"])), tuple[Floats, Floats])
assert_type(cvae.decode(np.zeros((2, 20)), {"label": [0, 1]}), Floats)
assert_type(cvae.reconstruct(digits.inputs("test", ["label"])), Floats)
print(cvae.log_likelihood(data, num_samples=100).mean())
estimate, error = cvae.log_likelihood(data, num_samples=[10, 100], with_error=True)
assert_type(cvae.fit_prior(data, kind="mixture").num_components, int)
assert_type(cvae.prior, keras_vae.priors.Prior)
assert_type(keras_vae.evaluation.evaluate(cvae, data), dict[str, Any])
findings, left_out = keras_vae.doctor.examine(cvae, train=data)
for finding in findings:
    print(f"{finding.name}: {finding.change}")

# Save, load, export
cvae.save(pathlib.Path("model.keras"))
loaded = keras_vae.load_model("model.keras")
path = export.export(loaded, format="tflite", graph=["decoder", "sampler"], out=pathlib.Path("out"))
keras_vae.export(cvae, quantize="int8")
assert_type(export.GRAPHS, tuple[str, str, str, str, str, str])

# Find what is unusual
series = keras_vae.data.series("machine.csv", window=32, units={"speed": "rpm"})
watched = keras_vae.series_vae(series.schema, hidden_units=(8, 16), causal=True)
detector = keras_vae.AnomalyDetector(watched, score="reconstruction")
assert_type(detector.calibrate(series.calibration, false_alarms=0.05).score(series.test), Floats)
assert_type(detector.p_value(series.test), NDArray[np.float64])
assert_type(detector.is_anomaly(series.test), NDArray[np.bool_])

# Rows of a table
table = keras_vae.data.table({"age": [39, 50, 38], "sex": ["m", "f", None]}, conditions=["sex"])
rows = keras_vae.table_vae(table.schema, latent_dim=4)
assert_type(table.schema.decode(rows.sample(3), {"sex": "f"})["age"], NDArray[Any])

# Codes, and two players
vqvae = keras_vae.VQVAE(
    keras_vae.networks.ConvGridEncoder(latent_dim=16, hidden_units=(32, 64)),
    keras_vae.networks.ConvGridDecoder((28, 28, 1), hidden_units=[64, 32]),
    keras_vae.layers.VectorQuantizer(num_codes=128, dim=16),
)
assert_type(vqvae.encode(digits.x_test), NDArray[np.int32])
vqvae.fit_prior({"x": digits.x_train, "label": digits.y_train}, epochs=1)
assert_type(vqvae.sample({"label": 7}, guidance=2.0), Floats)
gan = keras_vae.GAN(
    keras_vae.networks.DenseDecoder((28, 28, 1)), keras_vae.networks.DenseDiscriminator(), 32
)
gan.compile("adam", discriminator_optimizer=keras.optimizers.Adam(1e-4))
assert_type(gan.sample(3), Floats)

# Parts by themselves
codes = keras_vae.priors.StandardNormal().sample(count=3, latent_dim=2, seed=42)
assert_type(keras_vae.divergences.kl_standard_normal(codes, codes), Any)
assert_type(keras_vae.schedules.CosineWarmup(epochs=10)(3), float)
gaussian = keras_vae.likelihoods.Gaussian("optimal", channels=3)
assert_type(gaussian(codes), keras_vae.distributions.Distribution)
grid = keras_vae.figures.image_grid(digits.x_test[:16], columns=4)
pathlib.Path("grid.png").write_bytes(keras_vae.figures.png(grid))


class Own(keras_vae.likelihoods.Likelihood):
    """A part of a user's own."""

    name = "own"

    def distribution(self, parameters: Any) -> keras_vae.distributions.Distribution:
        return keras_vae.distributions.Normal(parameters, 0.0)
