"""Folders of images: which files are images of which class."""

import os
import re
import warnings
from pathlib import Path
from typing import NamedTuple

from keras_vae.data.errors import DataError, explained, shortened

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_NAMES_OF_FORMATS = "PNG, JPEG, BMP, GIF, TIFF or WebP"
# What systems put into folders besides what begins with a dot.
_HIDDEN = ("desktop.ini", "thumbs.db", "__macosx", "@eadir")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}


# Between the names of groups and of a class.
SEPARATOR = "/"
# The one class of images that have no labels.
UNLABELLED = "all"
# Folders beside those of classes, whose images are of one of these, nobody said of which.
UNKNOWN = ("unlabelled", "unlabeled")


class Found(NamedTuple):
    """The images of a folder: dicts from class name to paths, in order.

    Attributes:
        training: Dict of training images.
        test: Dict of test images, or None where the folder has no test set.
        has_labels: Whether they are in class folders; else `UNLABELLED` is their class.
    """

    training: dict
    test: dict | None
    has_labels: bool = True


def find(folder, class_names=None, groups=False):
    """Find the images of a folder and their classes. What is passed over is said in a warning.

    Images that are in the folder itself, beside no sub-folder that holds any, have no labels.

    Args:
        folder: `Path` of the folder. Links are followed inside it only, so it must be the place
            that it really is (`os.path.realpath`).
        class_names: Optional sequence of str, the classes in their order. Default: those found, in
            natural order: 2 before 10. A class in a group of classes has the path from the folder
            as its name, `animal/dog`.
        groups: Bool. Whether a folder may be a group of classes. Of given classes the names say it.

    Returns:
        A `Found`.

    Raises:
        DataError: If there are no class folders, one without images, or one of no class.
    """
    passed_over = {}
    if _is_flat(folder):
        there = _files_below(folder, folder)
        images = [path for path in there if _is_image(path)]
        passed_over[f"that are not {_NAMES_OF_FORMATS}"] = [p for p in there if not _is_image(p)]
        _warn_of(passed_over, folder)
        return Found({UNLABELLED: images}, None, has_labels=False)
    training, test = _splits(folder)
    for path in _listing(folder, folder):
        if training is not None and path not in (training, test):
            names = " and ".join(split.name for split in (training, test) if split)
            passed_over.setdefault(f"beside {names}", []).extend(_all_files(path))
    found = []
    for split in filter(None, (training or folder, test)):
        # A group has the same classes in both.
        known = class_names or (found and [*found[0]]) or None
        found.append(_files_by_class(split, folder, passed_over, known, groups))
    if training is None and len({name.split(SEPARATOR)[0] for name in found[0]}) == 1:
        _check_not_wrapped(folder, found[0])
    _warn_of(passed_over, folder)
    if class_names is None:
        class_names = sorted(set(found[0]) - set(UNKNOWN), key=_natural)
    elif unknown := sorted(found[0].keys() - {*class_names, *UNKNOWN}):
        raise DataError(
            f"{str(folder)!r} must have the classes {shortened(repr(list(class_names)))}. "
            f"Received: another, {unknown[0]!r}. Remove that folder, or train a new model."
        )
    if test and (unknown := sorted(found[1].keys() - found[0].keys())):
        raise DataError(
            f"Every class of {str(test)!r} must also be in {str(training)!r}. Received: "
            f"{unknown[0]!r} in the test set only. Add or remove that folder."
        )
    order = [*class_names, *UNKNOWN]
    in_order = [{name: files[name] for name in order if name in files} for files in found]
    return Found(in_order[0], in_order[1] if test else None)


def _is_flat(folder):
    """Whether images are in a folder itself and in none of its sub-folders."""
    paths = _listing(folder, folder)
    inner = (path for path in paths if path.is_dir())
    return any(map(_is_image, paths)) and not any(
        _is_image(file) for path in inner for file in _files_below(path, folder)
    )


def _warn_of(passed_over, folder):
    """Count what is passed over, a dict from the reason to the files."""
    counts = [
        f"{len(paths)} file{'s' if len(paths) > 1 else ''} {why}, such as "
        f"{str(paths[0].relative_to(folder))!r}"
        for why, paths in passed_over.items()
        if paths
    ]
    if counts:
        text = f"Passed over in {str(folder)!r}: {'; '.join(counts)}."
        warnings.warn(" ".join(text.split()), stacklevel=5)


def _natural(name):
    """A key by which numbers in names are in order of size; equal ones, 1 and 01, by their text."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _splits(folder):
    """The folders of a training and a test set; the second or both are None if there are none.

    A validation set becomes the test set where there is no other.
    """
    found = {}
    for path in _sub_folders(folder, folder):
        kind = _SPLITS.get(path.name.lower())
        if kind and _sub_folders(path, folder):
            found.setdefault(kind, []).append(path)
    for kind, paths in found.items():
        if "training" in found and len(paths) > 1:
            raise DataError(
                f"{str(folder)!r} must have one {kind} set. Received: "
                f"{' and '.join(repr(path.name) for path in paths)}. Move one of them elsewhere."
            )
    if "training" in found:
        [training] = found["training"]
        [test] = found.get("test") or found.get("validation") or [None]
        return training, test
    for path in [path for paths in found.values() for path in paths]:
        if not any(map(_is_image, _listing(path, folder))):
            raise DataError(
                f"{str(folder)!r} must have a folder 'train' of class folders beside {path.name!r}."
                " Received: none. Add or rename it."
            )
    return None, None


def _check_not_wrapped(folder, files):
    name = next(iter(files)).split(SEPARATOR)[0]
    if not any(path.parent == folder / name for paths in files.values() for path in paths):
        raise DataError(
            "A folder of images must have one sub-folder per class. Received: "
            f"{str(folder)!r} with a single one, {name!r}, whose images are in sub-folders of its "
            "own. Load that folder instead."
        )


def _listing(folder, root):
    """Return what is in a folder, by name, without hidden entries."""
    with explained(f"{str(folder)!r} must be readable. Received: ", "Check its permissions."):
        names = sorted(name for name in os.listdir(folder) if not _is_hidden(name))
    paths = [folder / name for name in names]
    for path in paths:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise DataError(
                f"Everything in {str(root)!r} must be stored in that folder. Received: a link to "
                f"somewhere else, {str(path)!r}. Copy what it points to, or remove the link."
            )
    return paths


def _is_hidden(name):
    return name.startswith(".") or name.lower() in _HIDDEN


def _is_image(path):
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _sub_folders(folder, root):
    return [path for path in _listing(folder, root) if path.is_dir()]


def _all_files(path):
    """Every file of a folder that is not used, or a file itself."""
    if not path.is_dir():
        return [path]
    found = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sorted(file for file in found if not _is_hidden(file.name))


def _is_group(path, name, root, class_names, groups):
    """Whether a folder is none of a class, but of several, each in a folder of its own.

    It holds no images itself, as folders within it do; or, where classes are given, the name of one
    begins with its own.
    """
    if class_names is not None:
        within = any(other.startswith(name + SEPARATOR) for other in class_names)
        return within and name not in class_names
    if not groups:
        return False
    there = _listing(path, root)
    if any(map(_is_image, there)):
        return False
    folders = [inner for inner in there if inner.is_dir()]
    holds_images = [any(map(_is_image, _files_below(inner, root))) for inner in folders]
    return sum(holds_images) > 1


def _class_folders(folder, root, passed_over, class_names, groups, prefix=""):
    """Yield names of classes and their folders."""
    for path in _listing(folder, root):
        name = prefix + path.name
        if not path.is_dir():
            passed_over.setdefault("in no class folder", []).append(path)
        elif _is_group(path, name, root, class_names, groups):
            known = passed_over, class_names, groups
            yield from _class_folders(path, root, *known, name + SEPARATOR)
        else:
            yield name, path


def _files_by_class(folder, root, passed_over, class_names, groups):
    """Return a dict from class name to image files, both in order of name."""
    files = {}
    for name, path in _class_folders(folder, root, passed_over, class_names, groups):
        there = _files_below(path, root)
        files[name] = [file for file in there if _is_image(file)]
        if not files[name]:
            raise DataError(
                f"Each class folder must hold images ({_NAMES_OF_FORMATS}). Received: none in "
                f"{str(path)!r}. Add images or remove the folder."
            )
        if len(files[name]) < len(there):
            others = [file for file in there if not _is_image(file)]
            passed_over.setdefault(f"that are not {_NAMES_OF_FORMATS}", []).extend(others)
    if not files:
        raise DataError(
            "A folder of images must hold images, or one sub-folder per class. Received: "
            f"{str(folder)!r} without any. Put images into it ({_NAMES_OF_FORMATS})."
        )
    return files


def _files_below(folder, root):
    """All files in a folder and its sub-folders, of each folder before those of its sub-folders."""
    files, pending, seen = [], [folder], set()
    while pending:
        current = pending.pop()
        place = os.path.realpath(current)
        if current != folder and Path(os.path.realpath(folder)).is_relative_to(place):
            raise DataError(
                "A class folder must not hold itself. Received: a link to a folder above it, "
                f"{str(current)!r}. Remove the link."
            )
        if place in seen:
            continue
        seen.add(place)
        below = []
        for path in _listing(current, root):
            (below if path.is_dir() else files).append(path)
        pending += reversed(below)
    return files
