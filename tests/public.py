"""What is public: the names on the pages of the API, and the methods of their classes."""

import functools
import importlib
import inspect
import pathlib
from typing import Any, NamedTuple

PAGES = sorted((pathlib.Path(__file__).parents[1] / "docs" / "api").glob("*.md"))
MODULES = [path.stem for path in PAGES if path.stem != "index"]
# Classes of these are bases of every model, and say nothing to a user.
BACKENDS = tuple(f"keras_vae.training.{name}" for name in ("torch", "tensorflow", "jax"))


class Public(NamedTuple):
    """A public name.

    Attributes:
        name: Str, such as `keras_vae.priors.Prior`, of the page that it is on.
        thing: The class, function or constant.
    """

    name: str
    thing: Any

    @property
    def is_documented(self):
        """Whether it is one that has a docstring: a constant has none."""
        return inspect.isclass(self.thing) or inspect.isfunction(self.thing)


@functools.cache
def public():
    """Every public name once, but for those that are modules."""
    found = {}
    for page in MODULES:
        module = importlib.import_module(page)
        for name in names_of(module):
            thing = getattr(module, name)
            if not inspect.ismodule(thing):
                found.setdefault(id(thing), Public(f"{page}.{name}", thing))
    of_pages = list(found.values())
    # `keras_vae.export` is the function of the package of that name, wrapped.
    return [one for one in of_pages if one.name != "keras_vae.export"]


def names_of(module):
    """The names that the page of a module shows."""
    own = [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]
    return getattr(module, "__all__", own)


def functions_of(thing):
    """The functions of a public function or class, by their names, but those of Keras'."""
    if inspect.isfunction(thing):
        return {thing.__name__: thing}
    found = {}
    for kind in reversed(thing.__mro__):
        if (
            kind.__module__.startswith(("keras_vae.", "export."))
            and kind.__module__ not in BACKENDS
        ):
            found |= {f"{kind.__name__}.{n}": _function(v) for n, v in vars(kind).items()}
    return {
        name: function
        for name, function in found.items()
        if inspect.isfunction(function)
        and function.__module__.startswith(("keras_vae", "export"))
        and (not name.partition(".")[2].startswith("_") or name.endswith((".__init__", "__call__")))
    }


def _function(value):
    value = value.fget if isinstance(value, property) else value
    value = value.func if isinstance(value, functools.cached_property) else value
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value
