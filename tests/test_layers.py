"""The shape of the source: what a model can do is asked, never guessed."""

import ast
import pathlib

import pytest

import keras_vae
from keras_vae.models import capabilities

REPOSITORY = pathlib.Path(__file__).parents[1]
# What may be looked at for attributes: places, each with how often.
MAY_GUESS = {
    "export/graphs.py": 2,  # a Keras model's private inputs; a likelihood of the user's own
    "keras_vae/models/base.py": 3,
    "keras_vae/models/gan.py": 1,
    "keras_vae/models/vae.py": 4,
    "keras_vae/models/vq_vae.py": 2,
    "keras_vae/storage/own_objects.py": 1,
}
GUESSED = {"model", "likelihood", "prior", "posterior"}
FAMILIES = {
    "Autoencoder": {"Encodes", "Scores"},
    "VAE": {"Encodes", "Samples", "Bounds", "Scores"},
    "ConditionalVAE": {"Encodes", "Samples", "Bounds", "Scores"},
    "VQVAE": {"Encodes", "Samples", "DiscreteCodes"},
    "GAN": {"Samples", "Adversarial"},
    "ConditionalGAN": {"Samples", "Adversarial"},
    "PixelCNN": set(),
}


def sources():
    """Every source file, as pairs of its path from the repository and its syntax tree."""
    for package in ("keras_vae", "export"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield path.relative_to(REPOSITORY).as_posix(), ast.parse(path.read_text("utf-8"))


# Capabilities


def guesses(tree):
    """Lines where `hasattr` or `getattr` looks at a model, likelihood, prior or posterior."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            looks = node.func.id in ("hasattr", "getattr")
            names = {
                part.id if isinstance(part, ast.Name) else part.attr
                for part in ast.walk(node.args[0])
                if isinstance(part, ast.Name | ast.Attribute)
            }
            if looks and names & GUESSED:
                yield node.lineno


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("hasattr(model, 'encode')", 1),
        ("def f(self):\n    return getattr(self.model, 'prior', None)", 1),
        ("getattr(type(model), 'decode', None)", 1),
        ("getattr(getattr(graph.model, 'prior', None), 'fixed', None)", 2),
        ("isinstance(model, Encodes) and hasattr(layer, 'units')", 0),
    ],
)
def test_a_guess_is_seen(source, count):
    assert len(list(guesses(ast.parse(source)))) == count


def test_what_a_model_can_do_is_not_guessed():
    found = {path: len(list(guesses(tree))) for path, tree in sources()}
    assert {path: count for path, count in found.items() if count} == MAY_GUESS


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_what_its_capabilities_declare(family):
    kind = getattr(keras_vae, family)
    assert set(FAMILIES) == set(keras_vae.models.__all__) - {"load_model"}
    declared = {
        name: thing
        for name, thing in vars(capabilities).items()
        if isinstance(thing, type) and issubclass(kind, thing)
    }
    assert set(declared) == FAMILIES[family]
    for capability in declared.values():
        methods = {name for name in vars(capability) if not name.startswith("_")}
        for name in methods - {"sample_conditions"}:
            assert getattr(kind, name) is not getattr(capability, name), name


def test_a_model_without_a_capability_is_refused_in_one_line():
    class Own(capabilities.Encodes):
        """A stranger's model."""

    capabilities.require(Own(), capabilities.Encodes, "A map")
    with pytest.raises(ValueError, match=r"a codebook\. Received: an Own, which"):
        capabilities.require(Own(), capabilities.DiscreteCodes, "A map")
