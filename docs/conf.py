"""Sphinx settings of the documentation site; `make docs` builds it.

The pages are those of this folder. What they link to elsewhere in the repository comes along: other
pages and the notebooks are copied beside them before a build, other files are downloads.
"""

import inspect
import pathlib
import re
import shutil
import sys

DOCS = pathlib.Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from sphinx import addnodes  # noqa: E402

import keras_vae  # noqa: E402

project = html_title = "keras-vae"
author = "The keras-vae developers"
release = version = keras_vae.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["upstream", "_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # what TensorFlow says of the machine
autodoc_default_options = {"exclude-members": "from_config, get_config, build_from_config"}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Call arguments", "params_style")]
# Names of attributes that several classes have.
suppress_warnings = ["ref.python"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_toc_level": 2, "navbar_end": ["theme-switcher"]}
html_sidebars = {"index": []}
html_show_sourcelink = False
html_static_path = ["static"]
html_js_files = ["accessible.js"]

# Pages of the repository that are none of this folder, by their paths; what links name is theirs.
ELSEWHERE = {
    "CHANGELOG.md": "repository/changelog",
    "CONTRIBUTING.md": "repository/contributing",
    "SECURITY.md": "repository/security",
    "mobile_demo/web/README.md": "repository/web",
    "keras_vae/excerpts/README.md": "repository/excerpts",
    "benchmarks/receipts": "repository/receipts",
    "examples/notebooks": "tutorials/index",
}
LINK = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(\w)?")


def copy_pages(app):
    """Put pages of the repository and notebooks beside those of this folder."""
    for folder in ("repository", "tutorials"):
        (DOCS / folder).mkdir(exist_ok=True)
    for source, page in ELSEWHERE.items():
        if source.endswith(".md"):
            shutil.copy(ROOT / source, DOCS / f"{page}.md")
    receipts = sorted((ROOT / "benchmarks" / "receipts").glob("*.json"))
    lines = [f"- [{path.stem}](../../benchmarks/receipts/{path.name})" for path in receipts]
    text = "# Receipts\n\nWhat each published figure was measured with.\n\n" + "\n".join(lines)
    (DOCS / "repository" / "receipts.md").write_text(text + "\n", encoding="utf-8")
    for path in (ROOT / "examples" / "notebooks").glob("*.ipynb"):
        shutil.copy(path, DOCS / "tutorials")
    write_contents("repository", "Project", "How it came to be as it is, and what holds for files.")
    write_contents("tutorials", "Tutorials", "Notebooks, executed when this site was built.")


def write_contents(folder, title, line):
    """Write the page that leads to those of a folder."""
    names = "\n".join(sorted({path.stem for path in (DOCS / folder).iterdir()} - {"index"}))
    text = f"# {title}\n\n{line}\n\n```{{toctree}}\n:maxdepth: 1\n{names}\n```\n"
    (DOCS / folder / "index.md").write_text(text, encoding="utf-8")


def follow_links(app, docname, content):
    """Let links between pages of the repository lead to their copies; a folder has none."""
    page = DOCS / docname
    origin = {name: source for source, name in ELSEWHERE.items()}.get(docname)
    if page.parent.name == "tutorials":
        origin = f"examples/notebooks/{page.name}.ipynb"
    if docname.startswith("api/") or origin in ("benchmarks/receipts", "examples/notebooks"):
        return
    folder = (ROOT / origin).parent if origin else page.parent

    def moved(match):
        text, path, anchor = match[1], match[2], match[3] or ""
        target = (folder / path).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            return match[0]
        where = target.relative_to(ROOT).as_posix()
        if where in ELSEWHERE:
            target = DOCS / f"{ELSEWHERE[where]}.md"
        elif target.parent == ROOT / "examples" / "notebooks" and page.parent.name == "tutorials":
            target = page.with_name(target.name)
        elif target.is_dir():
            return text
        return f"[{text}]({_relative(target, page.parent)}{anchor})"

    content[0] = LINK.sub(moved, content[0])


def as_restructured_text(app, what, name, obj, options, lines):
    """Turn the Markdown of docstrings, which people read in a shell, into what Sphinx reads."""
    made, is_fenced, is_table = [], False, False
    text = CODE.sub(_literal, "\n".join(lines)).replace(", **", ", \\*\\*")
    for line in text.split("\n"):
        text = line.lstrip()
        indent = line[: len(line) - len(text)]
        if text.startswith("```"):
            is_fenced = not is_fenced
            made += [f"{indent}.. code-block:: python", ""] if is_fenced else [""]
            continue
        if text.startswith("|") and not is_table:
            made += [f"{indent}::", ""]
        is_table = text.startswith("|")
        made.append(f"    {line}" if is_fenced or is_table else line)
    lines[:] = made


class _Written(str):
    """Text that a signature shows as it is."""

    __repr__ = str.__str__


def signature(app, what, name, obj, options, given, returns):
    """Arguments and types as the source has them, short: `ArrayLike`, not what it stands for.

    Those of a class of Keras' are its constructor's, which Keras wraps.
    """
    function = vars(obj).get("__init__") if what == "class" else obj
    if what not in ("class", "function", "method") or function is None:
        return given, returns
    found = inspect.signature(function)
    parameters = list(found.parameters.values())
    if what == "class" or (what == "method" and parameters[0].name in ("self", "cls")):
        parameters = parameters[1:]
    parameters = [
        parameter.replace(
            annotation=_as_written(parameter.annotation),
            default=_Written(parameter.default.__name__)
            if inspect.ismodule(parameter.default)
            else parameter.default,
        )
        for parameter in parameters
    ]
    returns = None if what == "class" else found.return_annotation
    shown = returns if isinstance(returns, str) else None
    return str(inspect.Signature(parameters)), shown


def _as_written(annotation):
    return _Written(annotation) if isinstance(annotation, str) else annotation


def unlink_sequences(app, doctree):
    """In a signature `Sequence` is Python's, no condition of that name."""
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node["reftarget"] == "Sequence" and node["reftype"] == "class":
            node.replace_self(node.children)


def _literal(match):
    return f"``{' '.join(match[1].split())}``" + (f"\\ {match[2]}" if match[2] else "")


def _relative(path, folder):
    ups = 0
    while not path.is_relative_to(folder):
        folder, ups = folder.parent, ups + 1
    return "../" * ups + path.relative_to(folder).as_posix()


def write_llms_txt(app, exception):
    """Write `llms.txt`: the pages by their titles, for programs that read this site."""
    if exception is None and app.builder.name == "html":
        titles = {name: node.astext() for name, node in sorted(app.env.titles.items())}
        lines = [f"- [{title}]({name}.html)" for name, title in titles.items()]
        head = f"# {project} {release}\n\n> {keras_vae.__doc__.splitlines()[0]}\n\n"
        path = pathlib.Path(app.outdir) / "llms.txt"
        path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


def setup(app):
    app.connect("builder-inited", copy_pages)
    app.connect("source-read", follow_links)
    app.connect("autodoc-process-signature", signature)
    app.connect("doctree-read", unlink_sequences)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
    app.connect("build-finished", write_llms_txt)
