"""Our `export`, whatever module of that name a process has: by its place, not by its name.

A folder may hold an `export.py` of its user's, which Python then finds first. `keras_vae.export` is
the function all the same, and while it runs `export` is ours; afterwards the user's module has its
name again. `python -m export` runs the user's file, and nothing of ours: `python -m keras_vae
export` is the command everywhere.
"""

import contextlib
import functools
import importlib
import pathlib
import sys

_PLACE = pathlib.Path(__file__).resolve().parents[1]
# Our modules, while another one has the name.
_aside = {}
# Of our command, by which to tell that it was meant.
_OPTIONS = frozenset(
    f"--{name}"
    for name in (
        *("calibration", "converter", "format", "graph", "inspect", "quantize", "report"),
        "verify",
    )
)


@contextlib.contextmanager
def ours():
    """Let `export` be our package in the block, which gives it."""
    others = {name: module for name, module in sys.modules.items() if _is_of_export(name)}
    if "export" not in others or _is_ours(others["export"]):
        yield _imported()
        return
    for name in others:
        del sys.modules[name]
    sys.modules.update(_aside)
    try:
        yield _imported()
    finally:
        _aside.update(
            {name: sys.modules.pop(name) for name in list(sys.modules) if _is_of_export(name)}
        )
        sys.modules.update(others)


def function():
    """`export.export`, as `keras_vae.export`, with the package's public names as attributes."""
    with ours() as package:
        public = {name: getattr(package, name) for name in package.__all__}
    made = {name: _held(name, value) for name, value in public.items()}
    vars(made["export"]).update(made)
    return made["export"]


def say_if_shadowed():
    """Say which file runs where `python -m export`, with options of ours, runs a user's one."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or spec.name.removesuffix(".__main__") != "export" or spec.origin is None:
        return
    is_ours = pathlib.Path(spec.origin).resolve().parent == _PLACE / "export"
    if not is_ours and _OPTIONS & {word.partition("=")[0] for word in sys.argv[1:]}:
        print(
            f"note: python -m export runs {spec.origin}, not that of keras-vae, which "
            "python -m keras_vae export is everywhere.",
            file=sys.stderr,
        )


def _held(name, value):
    """A public name; of a function one that runs while `export` is ours."""
    if not callable(value) or isinstance(value, type):
        return value

    @functools.wraps(value)
    def held(*args, **kwargs):
        with ours() as package:
            return getattr(package, name)(*args, **kwargs)

    return held


def _imported():
    sys.path.insert(0, str(_PLACE))
    try:
        return importlib.import_module("export")
    finally:
        sys.path.remove(str(_PLACE))


def _is_of_export(name):
    return name == "export" or name.startswith("export.")


def _is_ours(module):
    file = getattr(module, "__file__", None)
    return file is not None and pathlib.Path(file).resolve().parent == _PLACE / "export"
