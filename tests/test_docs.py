"""What docs/ shows runs, and what it names is there."""

import inspect
import pathlib
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest

import export
import keras_vae
from tests.export.test_parity import converts_here

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGE = DOCS / "deployment.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Samplers of a model that takes the labels 0 to 9, in every format."""
    model = keras_vae.ConditionalVAE(
        keras_vae.networks.DenseEncoder(3, hidden_units=(4,)),
        keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,)),
        condition={"label": keras_vae.Categorical(10)},
    )
    model.build()
    folder = tmp_path_factory.mktemp("samplers")
    variants = [("tflite", "none"), ("onnx", "none"), ("c", "int8")]
    export.export_files(model, variants, ["sampler"], folder)
    np.save(folder / "expected.npy", model.sample({"label": [7] * 16}, seed=42))
    return folder


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@converts_here
def test_python_snippets_sample_what_the_model_samples(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = [code for code in snippets("python") if "sevens" in code]
    assert len(found) == 2
    for code in found:
        names = {}
        exec(code, names)
        expected = np.load(folder / "expected.npy")
        np.testing.assert_allclose(names["sevens"], expected, rtol=0, atol=1e-6)


@converts_here
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_the_c_snippet_samples_what_the_model_samples(folder):
    [code] = snippets("c")
    include, body = code.split("\n\n")
    printing = 'for (int i = 0; i < SAMPLER_SIZE; i++) printf("%.9g\\n", x[i]);'
    (folder / "main.c").write_text(
        f"#include <stdio.h>\n{include}\nint main(void) {{\n{body}{printing}\nreturn status;\n}}\n"
    )
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "main.c"]
    subprocess.run([*command, "sampler.int8.c", "-lm", "-o", "main"], cwd=folder, check=True)
    made = subprocess.run([folder / "main"], capture_output=True, text=True, check=True).stdout
    expected = np.load(folder / "expected.npy")[0].reshape(-1)
    np.testing.assert_allclose(np.array(made.split(), "f4"), expected, rtol=0, atol=1e-2)


def test_every_test_that_the_page_on_reliability_names_is_there():
    page = (DOCS / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    paths = pathlib.Path(__file__).parent.rglob("test_*.py")
    code = "".join(path.read_text(encoding="utf-8") for path in paths)
    assert len(named) > 15
    assert named <= set(re.findall(r"def (test_\w+)\(", code))


ROOT = DOCS.parent
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "mobile_demo").glob("*/README.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings]
            assert anchor in slugs, target


def named_paths(page):
    """Paths that a page names, each with the folders that may be meant by its paragraph."""
    for paragraph in re.split(r"\n\n|\n- |\n\d\. ", page.read_text(encoding="utf-8")):
        names = re.findall(r"`([\w./-]+(?:/|\.(?:py|md|ts|toml|txt)))`", paragraph)
        folders = [ROOT / name for name in ("", "keras_vae", *names)]
        folders += [folder.parent for folder in folders]
        yield from ((name, folders) for name in names if "VERSION" not in name)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_path_that_a_page_names_is_there(name):
    named = list(named_paths(ROOT / name))
    assert len(named) > 30
    assert not [path for path, folders in named if not any((f / path).exists() for f in folders)]


def test_the_page_on_architecture_has_every_room():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for path in (ROOT / "keras_vae").iterdir():
        if (path / "__init__.py").exists() and path.name != "commands":
            assert path.name in page, path.name
    for name in keras_vae.models.__all__:
        kind = getattr(keras_vae.models, name, None)
        is_family = inspect.isclass(kind) and keras.saving.get_registered_name(kind) != name
        assert not is_family or re.search(rf"\b{name}\b", page), name


def test_the_readme_is_short_enough_to_be_read():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1200


def test_the_site_has_every_public_module():
    pages = {path.stem for path in (DOCS / "api").glob("*.md")} - {"index"}
    names = {"keras_vae", "export"}
    for name in keras_vae.__all__:
        if inspect.ismodule(getattr(keras_vae, name)):
            names.add(f"keras_vae.{name}")
    # Conditions and models are among the names of the package itself.
    assert pages == names - {"keras_vae.models"}
    for page in pages:
        assert f".. automodule:: {page}\n" in (DOCS / "api" / f"{page}.md").read_text()
