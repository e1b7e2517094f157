"""A sampler that is exported where no import of TensorFlow succeeds."""

from export import converters
from keras_vae import processes

PROGRAM = """
import sys
sys.modules["tensorflow"] = sys.modules["tf2onnx"] = None  # no import of them succeeds
import numpy, keras_vae
from keras_vae import networks
model = keras_vae.VAE(networks.DenseEncoder(2, (4,)), networks.DenseDecoder((3, 3, 1), (4,)))
path = export.export(model, sys.argv[2], "sampler", out=sys.argv[1])
run = export.module_of(sys.argv[2]).load(path)
made = run({
    "index": numpy.arange(5, dtype="i4"), "seed": numpy.array([7], "i4"),
    "temperature": numpy.ones(1, "f4"),
})
numpy.testing.assert_allclose(made["x"], model.sample(count=5, seed=7), atol=1e-6)
z = model.prior.sample(5, 2, 1.0, 7)
numpy.testing.assert_array_equal(made["z"], z)
assert not [name for name in sys.modules if name.startswith("tensorflow.")]
"""


def export_sampler(folder, backend, format):
    """Export a sampler in a process on a backend, and compare its draws there with the model's."""
    done = processes.run(
        PROGRAM,
        str(folder),
        format,
        environment=converters.ENVIRONMENTS[backend],
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
