"""The card of a run: what a stranger must know of its model, and the hashes of its files."""

import hashlib
import json
import pathlib
import re

from keras_vae.storage.files import write_atomically

NAME = "card.md"
MAX_CARD_BYTES = 2**20
# What a reader of the card cannot use, or what tells of the machine.
NOT_SHOWN = ("backend", "data", "out", "resume", "overwrite", "gif", "save_every")
HASHED_FILE = re.compile(r"^\| `([^`]+)` \| [\d,]+ \| `([0-9a-f]{64})` \|$", re.MULTILINE)


def write(run, licence=None):
    """Write `card.md` into a run folder, from what is in it; needs no Keras.

    Args:
        run: `storage.runs.Run`.
        licence: Optional str, that of the data.

    Returns:
        `pathlib.Path` of the card.

    Raises:
        FileNotFoundError: If the folder has no model or no `config.json`.
        ValueError: If one of its files is damaged.
    """
    path = run.folder / NAME
    write_atomically(path, text(run, licence).encode("utf-8"))
    return path


def text(run, licence=None):
    """The card as Markdown, after the block of metadata that hubs read."""
    kind, config = run.model_class(), run.config()
    arguments = config["arguments"]
    source = pathlib.PurePath(str(arguments["data"])).stem
    parts = [
        f"---\nlibrary_name: keras-vae\ntags:\n- keras\n- {json.dumps(kind)}\n---",
        f"# {kind} of {source}",
        f"Makes examples of shape {config.get('data_shape')}, has {config.get('parameters')} "
        f"parameters. Classes: {config.get('class_names') or 'none'}.",
        f"## Data\n\n{source}. Licence: {licence or 'not stated'}.",
        "## Training\n\n" + _table(("argument", "value"), _arguments(arguments)),
        _table(("with", "version"), config.get("versions", {})),
        "## Evaluation\n\nLosses are nats per example.\n\n"
        + _table(("measure", "value"), dict(_numbers(_evaluation(run)))),
        *(f"![{path.stem}](figures/{path.name})" for path in sorted(run.figures.glob("*.png"))),
        '## Use\n\n    model = keras_vae.load_model("model.keras")',
        "## Files\n\nCompare with `python -m keras_vae card --verify FOLDER`.\n\n" + _files(run),
    ]
    return "\n\n".join(parts) + "\n"


def verify(folder):
    """Compare the files of a folder with the hashes in its card.

    Nothing of the files is loaded. That a hash agrees says that a file is the one that the card
    was written of, not that either is of whom you think.

    Args:
        folder: Path of a folder with `card.md`.

    Returns:
        Dict from the name of each file to None, or to a str that says what is wrong with it.

    Raises:
        FileNotFoundError: If there is no card.
        ValueError: If it is too large, or names no files.
    """
    folder = pathlib.Path(folder).resolve()
    with open(folder / NAME, "rb") as file:
        content = file.read(MAX_CARD_BYTES + 1)
    if len(content) > MAX_CARD_BYTES:
        raise ValueError(
            f"A card must have at most {MAX_CARD_BYTES} bytes. {folder / NAME} has more."
        )
    found = HASHED_FILE.findall(content.decode("utf-8", errors="replace"))
    if not found:
        raise ValueError(f"A card must hold hashes of files. Received: {folder / NAME}, without.")
    return {name: _fault(folder, name, expected) for name, expected in found}


def _fault(folder, name, expected):
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        return "is outside the folder"
    if not path.is_file():
        return "is missing"
    return None if _sha256(path) == expected else "has another hash"


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(run):
    exported = run.folder / "export"
    paths = [run.model_path, *sorted(path for path in exported.rglob("*") if path.is_file())]
    rows = ["| file | bytes | SHA-256 |", "|---|---|---|"]
    for path in paths:
        name = path.relative_to(run.folder).as_posix()
        rows.append(f"| `{name}` | {path.stat().st_size:,} | `{_sha256(path)}` |")
    return "\n".join(rows)


def _arguments(arguments):
    return {
        name: value
        for name, value in arguments.items()
        if name not in NOT_SHOWN and not (value is None or value is False or value == [])
    }


def _evaluation(run):
    try:
        return json.loads(run.evaluation_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as err:
        raise ValueError(f"{run.evaluation_path} is damaged: {err}") from err


def _numbers(measures, prefix=""):
    """Yield name and value of each single number of nested dicts."""
    for name, value in measures.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", f"{value:.4g}" if isinstance(value, float) else value


def _table(head, rows):
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items())])
