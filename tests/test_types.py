"""What a type checker sees of the package; `make lint` runs mypy on tests/typing."""

import ast
import inspect
import pathlib

import pytest

import keras_vae
from tests.public import MODULES, functions_of, public

ROOT = pathlib.Path(__file__).parents[1]


def test_type_checkers_see_the_names_that_the_package_has():
    tree = ast.parse((ROOT / "keras_vae" / "__init__.pyi").read_text(encoding="utf-8"))
    stub = {}
    for node in tree.body[1:]:
        for alias in node.names:
            assert alias.name == alias.asname, "without `as` a name is not handed on"
            is_module = node.module == "keras_vae"
            stub[alias.name] = f"keras_vae.{alias.name}" if is_module else node.module
    assert stub.pop("__version__") == "keras_vae.version"
    assert stub == keras_vae._MODULES


@pytest.mark.parametrize("package", ["keras_vae", "export"])
def test_a_package_says_that_it_has_types(package):
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("page", MODULES)
def test_every_public_function_has_types(page):
    missing = []
    for one in public():
        if one.name.rpartition(".")[0] != page or not one.is_documented:
            continue
        for name, function in functions_of(one.thing).items():
            signature = inspect.signature(function)
            lacking = [
                parameter.name
                for index, parameter in enumerate(signature.parameters.values())
                if parameter.annotation is inspect.Parameter.empty
                and not (index == 0 and parameter.name in ("self", "cls"))
            ]
            lacking += ["return"] * (signature.return_annotation is inspect.Signature.empty)
            missing += [f"{one.name}: {name}: {', '.join(lacking)}"] * bool(lacking)
    assert missing == []
