"""Arguments of a wrong kind: each is refused in one line that names it and says what came."""

import keras
import pytest

import keras_vae
from keras_vae import callbacks, layers, networks, priors, schedules
from tests.conftest import make_model, ordinary_on

pytestmark = ordinary_on("torch")


def encoder():
    return networks.DenseEncoder(2, (4,))


def decoder():
    return networks.DenseDecoder((3, 2, 1), (4,))


def discriminator(**options):
    return networks.DenseDiscriminator((4,), **options)


LABEL = {"label": keras_vae.Categorical(3)}
SHAPE = {"output_shape": (4, 4, 1)}
STAGES = {"latent_channels": (2, 2), "hidden_units": (4, 4)}
LEVELS = {"latent_dims": (2, 2), "hidden_units": (4, 4)}
# What makes each class, and which of its arguments are whole numbers, sequences of these, numbers.
CLASSES = [
    (networks.DenseEncoder, {"latent_dim": 2}, "latent_dim", "hidden_units", ""),
    (networks.DenseDecoder, SHAPE, "", "output_shape hidden_units", ""),
    *(
        (kind, {"latent_dim": 2}, "latent_dim kernel_size", "hidden_units", "negative_slope")
        for kind in (networks.ConvEncoder, networks.ConvGridEncoder)
    ),
    *(
        (kind, SHAPE, "kernel_size", "output_shape hidden_units", "negative_slope")
        for kind in (networks.ConvDecoder, networks.ConvGridDecoder)
    ),
    (networks.LadderEncoder, LEVELS, "depth", "latent_dims hidden_units", ""),
    (networks.LadderDecoder, {**SHAPE, **LEVELS}, "depth", "latent_dims hidden_units", ""),
    *(
        (
            kind,
            {shape: (4, 4, 1), **STAGES},
            "levels kernel_size",
            f"latent_channels hidden_units {shape}",
            "negative_slope",
        )
        for kind, shape in (
            (networks.ConvLadderEncoder, "input_shape"),
            (networks.ConvLadderDecoder, "output_shape"),
        )
    ),
    (networks.DenseDiscriminator, {}, "", "hidden_units", "negative_slope"),
    (networks.ConvDiscriminator, {}, "kernel_size", "hidden_units", ""),
    (keras_vae.Categorical, {"num_classes": 3}, "num_classes", "", "unknown_rate"),
    (keras_vae.Continuous, {"dim": 2}, "dim", "", "unknown_rate"),
    (
        layers.VectorQuantizer,
        {"num_codes": 4, "dim": 2},
        "num_codes dim",
        "",
        "commitment_weight decay restart_below",
    ),
    (layers.FiniteScalarQuantizer, {}, "", "levels", ""),
    (priors.ConditionalNormal, {}, "", "hidden_units", ""),
    (priors.RealNVP, {}, "num_layers", "hidden_units", ""),
    (schedules.Cyclical, {"epochs": 2}, "epochs", "", "start end ratio"),
    (callbacks.StopOnSkippedUpdates, {}, "limit interval", "", ""),
    (
        keras_vae.GAN,
        {"generator": decoder(), "discriminator": discriminator(), "latent_dim": 2},
        "latent_dim",
        "",
        "label_smoothing",
    ),
    (
        keras_vae.ConditionalGAN,
        {
            "generator": decoder(),
            "discriminator": discriminator(num_classes=3),
            "latent_dim": 2,
            "condition": LABEL,
        },
        "",
        "",
        "class_loss_weight",
    ),
    (keras_vae.VAE, {"encoder": encoder(), "decoder": decoder()}, "", "", "kl_weight free_bits"),
]
WRONG = {
    "wholes": ["words", None, ["a"], {}, 2.5, -1],
    "sequences": ["words", 42, True, ["a"], (0,), {"a": 1}],
    "numbers": ["words", None, ["a"], {}, -1],
}
CASES = [
    (kind, {**good, name: value}, name)
    for kind, good, *names in CLASSES
    for group, listed in zip(WRONG, names, strict=True)
    for name in listed.split()
    for value in WRONG[group]
]


def refused(function, name):
    with pytest.raises(ValueError, match=f"`{name}`.*Received: ") as error:
        function()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "arguments", "name"),
    [pytest.param(*case, id=f"{case[0].__name__}-{case[1][case[2]]!r}") for case in CASES],
)
def test_an_argument_of_a_wrong_kind_is_refused(kind, arguments, name):
    refused(lambda: kind(**arguments), name)


@pytest.mark.parametrize("value", [42, "words", ["a"], {}])
def test_an_activation_that_is_none_is_refused(value):
    refused(lambda: networks.DenseDecoder((2, 2, 1), activation=value), "activation")
    refused(lambda: priors.RealNVP(activation=value), "activation")


@pytest.mark.parametrize("value", [42, None, "words", networks.DenseEncoder])
def test_parts_must_be_models(value):
    refused(lambda: keras_vae.VAE(encoder(), value), "decoder")
    refused(lambda: keras_vae.VAE(value, decoder()), "encoder")
    refused(lambda: keras_vae.Autoencoder(value, decoder()), "encoder")
    refused(lambda: keras_vae.GAN(value, discriminator(), 2), "generator")
    if value is not None:
        refused(lambda: keras_vae.VAE(encoder(), decoder(), prior=value), "prior")


def test_compile_names_what_it_does_not_take():
    model = make_model("VAE", compile_model=False)
    with pytest.raises(ValueError, match=r"takes no `loss`: VAE has its own loss.*Received: 'mse'"):
        model.compile("adam", "mse")
    refused(lambda: model.compile("adamant"), "optimizer")
    refused(lambda: model.compile(42), "optimizer")
    refused(lambda: model.compile("adam", steps_per_execution="many"), "steps_per_execution")
    gan = keras_vae.GAN(decoder(), discriminator(), latent_dim=2)
    refused(lambda: gan.compile("adam", "mse"), "discriminator_optimizer")
    model.compile(keras.optimizers.Adam(1e-3), steps_per_execution="auto")
