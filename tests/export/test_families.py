"""Every family has the files of the graphs that it claims, and refuses the others by name."""

import dataclasses
import inspect
from collections.abc import Callable

import keras
import pytest

import export
import keras_vae
from export import graphs, verification
from keras_vae import models
from keras_vae.models import capabilities
from keras_vae.priors import Prior
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, GRAPHS, exported, make_model
from tests.export.test_gan import exported_gan, make_gan
from tests.export.test_graphs import exported_autoencoder, make_autoencoder
from tests.export.test_parity import converts_here
from tests.export.test_sequences import (
    DRAW,
    exported_sequence_vae,
    exported_with_other_graphs,
    make_sequence_vae,
)
from tests.export.test_vq_vae import exported_vq_vae
from tests.export.test_vq_vae import make_model_with_prior as make_vq_vae_with_prior

pytestmark = ordinary_on("tensorflow", "torch")


@dataclasses.dataclass(frozen=True)
class Family:
    """A family, and the graphs that it has.

    Args:
        of: The class.
        graphs: Tuple of names.
        make: Function that returns a model.
        exported: Function that returns a model and the folder of its files.
        slower: Dict of graphs to such a function, of those whose files are left to `test-slow`.
    """

    of: type
    graphs: tuple
    make: Callable
    exported: Callable | None = None
    slower: dict = dataclasses.field(default_factory=dict)


def of_kind(kind):
    def files():
        return exported(kind).model, exported(kind).run / "export"

    return files


def make_pixel_cnn():
    return keras_vae.PixelCNN((3, 2), 7, None, 4, 1, 3)


def make_mask_git():
    return keras_vae.MaskGIT((3, 2), 7, None, 4, 1, 2)


FAMILIES = [
    Family(
        models.Autoencoder,
        ("decoder", "encoder", "scorer", "reconstructor"),
        make_autoencoder,
        exported_autoencoder,
    ),
    Family(models.VAE, GRAPHS, lambda: make_model("dense"), of_kind("dense")),
    Family(models.ConditionalVAE, GRAPHS, lambda: make_model("conv"), of_kind("conv")),
    Family(
        models.VQVAE,
        ("decoder", "encoder", "sampler", "reconstructor"),
        lambda: make_vq_vae_with_prior("codebook"),
        lambda: exported_vq_vae("codebook"),
    ),
    Family(
        models.GAN, ("decoder", "sampler"), lambda: make_gan(False), lambda: exported_gan(False)
    ),
    Family(
        models.ConditionalGAN,
        ("decoder", "sampler"),
        lambda: make_gan(True),
        lambda: exported_gan(True),
    ),
    Family(models.PixelCNN, (), make_pixel_cnn),
    Family(models.MaskGIT, (), make_mask_git),
    Family(
        models.SequenceVAE,
        GRAPHS,
        make_sequence_vae,
        exported_sequence_vae,
        {
            graph: exported_sequence_vae if graph in DRAW else exported_with_other_graphs
            for graph in GRAPHS
        },
    ),
]
HAVE = [
    pytest.param(
        family,
        graph,
        id=f"{family.of.__name__}-{graph}",
        marks=pytest.mark.slow if graph in family.slower else (),
    )
    for family in FAMILIES
    for graph in family.graphs
]
LACK = [(family, g) for family in FAMILIES for g in export.GRAPHS if g not in family.graphs]


def ids(pairs):
    return [f"{family.of.__name__}-{graph}" for family, graph in pairs]


@converts_here
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("family", "graph"), HAVE)
def test_a_graph_that_a_family_has_is_exported_and_verified(family, graph, format):
    # Made only after it computed what its model computes.
    model, folder = family.slower.get(graph, family.exported)()
    assert type(model) is family.of
    path, module = folder / f"{graph}.{format}", export.module_of(format)
    assert module.read_manifest(path)["model"] == family.of.__name__
    assert module.read_manifest(path)["graph"] == graph
    assert module.forbidden_operators(path) == []
    # Of a computed shape LiteRT may read old memory from the second run on.
    assert format == "onnx" or "SHAPE" not in module.describe(path)["operators"]
    assert verification.check_golden(path, module)[0] < 1e-5


@pytest.mark.parametrize(("family", "graph"), LACK, ids=ids(LACK))
def test_a_graph_that_a_family_lacks_is_refused_by_name_in_one_line(family, graph):
    with pytest.raises(ValueError, match=f"^The `{graph}` graph needs a model") as error:
        graphs.BUILDERS[graph](family.make())
    assert family.of.__name__ in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("family", FAMILIES, ids=[f.of.__name__ for f in FAMILIES])
def test_the_graphs_of_a_family_are_those_of_its_capabilities(family):
    model = family.make()
    claims = {
        "decoder": isinstance(model, models.GenerativeModel),
        "encoder": isinstance(model, capabilities.Encodes),
        # A device draws from a prior in a few passes, not code by code.
        "sampler": isinstance(model, capabilities.Samples)
        and isinstance(model.prior, Prior | models.MaskGIT),
        "scorer": isinstance(model, capabilities.Scores),
        "reconstructor": isinstance(model, capabilities.Encodes),
        "classifier": isinstance(model, capabilities.Classifies) and model.infers_labels,
    }
    assert set(family.graphs) == {graph for graph, claimed in claims.items() if claimed}
    for graph in family.graphs:
        assert graphs.BUILDERS[graph](model).name == graph


def test_a_prior_that_is_drawn_code_by_code_has_no_sampler():
    model = make_vq_vae_with_prior("codebook")
    model.set_prior(make_pixel_cnn())
    with pytest.raises(ValueError, match=r"^The `sampler` graph needs.*VQVAE with PixelCNN"):
        graphs.sampler(model)


def test_every_family_has_a_row():
    public = map(vars(models).get, models.__all__)
    families = {cls for cls in public if inspect.isclass(cls) and issubclass(cls, keras.Model)}
    families -= {models.GenerativeModel, models.LatentVariableModel}  # to be subclassed
    assert {family.of for family in FAMILIES} == families


def test_a_family_without_a_row_is_found(monkeypatch):
    class Forgotten(models.VAE):
        """Public, and not in the list above."""

    monkeypatch.setattr(models, "Forgotten", Forgotten, raising=False)
    monkeypatch.setattr(models, "__all__", [*models.__all__, "Forgotten"])
    with pytest.raises(AssertionError, match="Forgotten"):
        test_every_family_has_a_row()
