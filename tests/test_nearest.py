"""The training images that are nearest to samples, and what tells a model that copies."""

import dataclasses

import numpy as np
import pytest

from keras_vae import data, doctor
from keras_vae.evaluation import nearest
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

RNG = np.random.default_rng(0)


def test_the_nearest_images_are_those_of_all_distances(monkeypatch):
    monkeypatch.setattr(nearest, "_TRAINING_AT_ONCE", 7)
    images = RNG.uniform(size=(9, 4, 3, 1)).astype("float32")
    among = RNG.integers(0, 256, (30, 4, 3, 1)).astype("uint8")
    among[20] = among[3]  # of two the first
    images[5] = among[3] / np.float32(255)
    apart = images.astype("float64")[:, None] - among[None] / 255.0
    distances = np.sqrt((apart**2).sum(axis=(2, 3, 4)))
    index, found = nearest.nearest_images(images, among)
    np.testing.assert_array_equal(index, distances.argmin(axis=1))
    assert index[5] == 3
    np.testing.assert_allclose(found, distances.min(axis=1), atol=1e-6)


@pytest.fixture(scope="module")
def noise():
    """Images of noise, of which none is like another."""
    x = RNG.uniform(size=(500, 4, 4, 1)).astype("float32")
    y = np.zeros(500, "int64")
    return data.Dataset("noise", x[:300], y[:300], x[300:], y[300:], ("noise",))


def test_images_of_the_same_kind_are_as_close_as_held_out_ones(noise):
    samples = RNG.uniform(size=(400, 4, 4, 1)).astype("float32")
    found = nearest.closeness(samples, noise)
    assert found["close_held_out"] == pytest.approx(0.01, abs=0.006)
    assert found["close_samples"] <= 0.04
    assert found["copied_samples"] == 0
    assert doctor.copied_images(found["copied_samples"]) is None
    # Smooth images are close to all, and copies of none.
    smooth = nearest.closeness(0.5 + 0.2 * (samples - 0.5), noise)
    assert smooth["close_samples"] > 0.5
    assert smooth["copied_samples"] == 0
    assert found["nearest_distance"] == pytest.approx(
        found["nearest_distance_of_held_out"], rel=0.05
    )


def test_copies_are_close(noise):
    copied = noise.x_train[:200] + RNG.normal(size=(200, 4, 4, 1)).astype("float32") * 0.01
    others = RNG.uniform(size=(200, 4, 4, 1)).astype("float32")
    found = nearest.closeness(np.concatenate([copied, others]), noise)
    assert 0.5 <= found["close_samples"] <= 0.54
    assert found["copied_samples"] == 0.5
    finding = doctor.copied_images(found["copied_samples"], "Do.")
    assert (finding.name, finding.number) == ("copied_images", 0.5)
    uint8 = dataclasses.replace(
        noise,
        x_train=np.round(noise.x_train * 255).astype("uint8"),
        x_test=np.round(noise.x_test * 255).astype("uint8"),
    )
    assert nearest.closeness(np.concatenate([copied, others]), uint8)["close_samples"] >= 0.5
