"""The shape of the source: who may import whom, and what is asked of a model, never guessed."""

import ast
import functools
import inspect
import pathlib

import keras
import numpy as np
import pytest

import keras_vae
from export import graphs, oracle
from keras_vae import doctor
from keras_vae.evaluation import report
from keras_vae.models import Autoencoder, capabilities

REPOSITORY = pathlib.Path(__file__).parents[1]
# From the bottom up: each imports only from its own room and from those before it.
ROOMS = {
    "foundations": (
        *("_lazy", "arguments", "backends", "distributions", "divergences", "exceptions"),
        "exporting",
        *("calibration", "column_distributions", "exact_columns"),
        *(
            "keras_internals",
            "portable_random",
            "processes",
            "progress",
            "replica",
            "seeds",
            "type_aliases",
            "version",
        ),
    ),
    "storage": ("storage",),
    "parts": (
        *(
            "conditions",
            "layers",
            "likelihoods",
            "metrics",
            "networks",
            "objectives",
            "posteriors",
            "priors",
        ),
        "schedules",
    ),
    "data": ("data", "excerpts", "storage.runs"),
    "training": ("training",),
    "models": ("models",),
    "examination": ("callbacks", "detector", "doctor", "evaluation", "event_files", "figures"),
    "export": ("export",),
    "command line": ("__main__", "commands", "export.__main__"),
}
# What may be looked at for attributes: places, each with how often.
MAY_GUESS = {
    "keras_vae/keras_internals.py": 1,  # the inputs of a functional model, which only Keras knows
}
GUESSED = {"model", "likelihood", "prior", "posterior"}
FAMILIES = {
    "Autoencoder": {"Encodes", "Scores"},
    "VAE": {"Encodes", "Samples", "Bounds", "Scores", "DrawsExactly"},
    "ConditionalVAE": {
        *("Encodes", "Samples", "Bounds", "Scores", "DrawsExactly", "Classifies"),
    },
    "VQVAE": {"Encodes", "Samples", "DiscreteCodes"},
    "GAN": {"Samples", "Adversarial"},
    "ConditionalGAN": {"Samples", "Adversarial"},
    "MaskGIT": set(),
    "PixelCNN": set(),
}
EVERY_FAMILY = [
    name
    for name, kind in vars(keras_vae.models).items()
    if inspect.isclass(kind) and keras.saving.get_registered_name(kind) != name
]


def sources():
    """Every source file, as pairs of its path from the repository and its syntax tree."""
    for package in ("keras_vae", "export"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield path.relative_to(REPOSITORY).as_posix(), ast.parse(path.read_text("utf-8"))


# Rooms


@functools.cache
def imports():
    """Of every module, without `keras_vae.` before its name, those of ours that it imports.

    Also inside functions. The package `keras_vae` itself, a list of names, is left out.
    """
    trees = {path.removesuffix(".py").replace("/", "."): tree for path, tree in sources()}
    trees = {path.removesuffix(".__init__"): tree for path, tree in trees.items()}
    found = {}
    for module, tree in trees.items():
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"a relative import in {module}"
                within = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {name if name in trees else node.module for name in within}
        found[module] = names & trees.keys() - {"keras_vae"}
    del found["keras_vae"]
    return {short(module): {short(name) for name in names} for module, names in found.items()}


def short(module):
    return module.removeprefix("keras_vae.")


def room_of(module):
    """The number of a module's room: that of the longest name that is its own or a folder's."""
    names = {name: index for index, room in enumerate(ROOMS.values()) for name in room}
    own = [name for name in names if f"{module}.".startswith(f"{name}.")]
    assert own, f"{module} has no room: name it in ROOMS"
    return names[max(own, key=len)]


def circles(graph):
    """Modules that import themselves through others."""

    def reached(module, seen):
        for name in graph[module] - seen:
            seen.add(name)
            reached(name, seen)
        return seen

    return {module for module in graph if module in reached(module, set())}


def test_a_circle_is_seen():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == {"b", "c"}


def test_no_module_imports_itself_through_others():
    assert not circles(imports())


def test_every_room_imports_from_those_before_it():
    found = {
        (module, name)
        for module, names in imports().items()
        for name in names
        if room_of(name) > room_of(module)
    }
    assert not found


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
    more = {path: count for path, count in found.items() if count > MAY_GUESS.get(path, 0)}
    assert not more


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_a_family_has_what_its_capabilities_declare(family):
    assert set(FAMILIES) <= set(EVERY_FAMILY)
    kind = getattr(keras_vae.models, family)
    declared = {
        name: thing
        for name, thing in vars(capabilities).items()
        if isinstance(thing, type) and issubclass(kind, thing)
    }
    assert set(declared) == FAMILIES.get(family, set(declared))
    for capability in declared.values():
        methods = {name for name in vars(capability) if not name.startswith("_")}
        for name in methods - {"sample_conditions", "encode_means"}:
            assert getattr(kind, name) is not getattr(capability, name), name


def test_a_model_without_a_capability_is_refused_in_one_line():
    class Own(capabilities.Encodes):
        """A stranger's model."""

    capabilities.require(Own(), capabilities.Encodes, "A map")
    with pytest.raises(ValueError, match=r"a codebook\. Received: an Own, which"):
        capabilities.require(Own(), capabilities.DiscreteCodes, "A map")


class Deterministic(Autoencoder, capabilities.Samples):
    """A family of a user's own: an autoencoder whose codes a prior draws, with no posterior."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prior = keras_vae.priors.StandardNormal()

    def sample(self, conditions=None, temperature=1.0, seed=None):
        return self.decode(self.prior.sample(conditions, self.latent_dim, temperature, seed))


class Stochastic(Deterministic):
    """As above, and the encoder gives a log-variance besides."""

    code_names = ("z_mean", "z_log_var")

    def call(self, inputs, sample_weight=None, draw=None, training=None):
        z, _ = self.code(inputs, training=training)
        return {"parameters": self.decoder(z, training=training), "z": z}

    def code(self, x, condition=None, training=None):
        return self.encoder(x, training=training)


@pytest.mark.parametrize("family", [Deterministic, Stochastic])
def test_a_family_of_ones_own_is_served_as_far_as_it_goes(family):
    networks = keras_vae.networks
    model = family(networks.DenseEncoder(2, ()), networks.DenseDecoder((6, 5, 1), ()))
    model.build()
    x = np.random.default_rng(0).uniform(size=(64, 6, 5, 1)).astype("float32")
    found = report.measure_all(model, x, num_samples=[1], annealed=True)
    bound = f"a {family.__name__} has no bound of the log-likelihood"
    assert found["left_out"] == dict.fromkeys(("latents", "log_likelihoods", "annealed"), bound)
    assert {"loss", "reconstructions"} < set(found)
    _, left_out = doctor.examine(model, x[:32], x[32:])
    assert set(left_out) == {"unconverged"}
    rng = np.random.default_rng(0)
    for name, build in graphs.BUILDERS.items():
        if name == "classifier":
            continue
        graph = build(model)
        inputs = graph.draw(3, rng)
        for key, made in graph.evaluate(inputs).items():
            expected = oracle.outputs(graph, inputs)[key]
            np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5, err_msg=name)
