"""How `import keras_vae` costs nothing, and Keras still knows our classes and gets a backend.

The package imports its modules when a name is asked for, so that a command sees without Keras what
is wrong with a path or an argument. But `keras.saving.load_model` finds in a file only the classes
of modules that are imported, and it imports none but Keras' own. And `import keras` after ours is
to take a backend that is installed. So whoever imports Keras, after this package or before it,
imports the rest of this package, too.
"""

import contextlib
import importlib
import sys

from keras_vae import backends


def import_with_keras(modules):
    """Import modules now if Keras is imported already, else right after it.

    Args:
        modules: Collection of names.
    """
    if sys.modules.get("keras"):
        _import_all(modules)
    else:
        sys.meta_path.insert(0, _Finder(modules))


def _import_all(modules):
    for name in sorted(modules):
        importlib.import_module(name)


class _Finder:
    """Finds Keras and our modules as others do, and learns when one has been imported.

    As long as one of ours is being imported, the others cannot be, which may need it. So it waits
    for the outermost.
    """

    def __init__(self, modules):
        self.modules = modules
        self.depth = 0

    def find_spec(self, name, path=None, target=None):
        if name != "keras" and not name.startswith("keras_vae."):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader, self)
                return spec
        return None

    def import_rest(self):
        if self.depth or not sys.modules.get("keras"):
            return
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
        modules, self.modules = self.modules, ()
        _import_all(modules)


class _Loader:
    """Does what the loader does that a module has by itself, which it then leaves in its place."""

    def __init__(self, loader, finder):
        self.loader, self.finder = loader, finder

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        if spec.name == "keras":
            backends.choose()
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.loader
        self.finder.depth += 1
        try:
            self.loader.exec_module(module)
        finally:
            self.finder.depth -= 1
        self.finder.import_rest()
