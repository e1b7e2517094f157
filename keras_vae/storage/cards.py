"""The card of a run: what a stranger must know of its model, and the hashes of its files."""

import hashlib
import json
import pathlib
import re
import shlex

from keras_vae.storage.files import write_atomically

NAME = "card.md"
MAX_CARD_BYTES, MAX_WORDS = 2**20, 300
WITHOUT_SAMPLES = {"Autoencoder"}
# What a reader of the card cannot use, or what tells of the machine.
NOT_SHOWN = ("backend", "data", "out", "resume", "overwrite", "gif", "save_every")
LIMITS = (
    "What it draws is like the data it was trained on, with their gaps and prejudices, and may be "
    "close to one of them. A score tells how unlike these data something is, not what is wrong "
    "with it. The figures above are of held-out data of the same origin."
)
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
    source = _plain(pathlib.PurePath(str(arguments["data"])).stem)
    shape, parameters = _plain(config.get("data_shape")), _plain(config.get("parameters"))
    classes = ", ".join(map(_plain, config.get("class_names") or [])) or "none"
    parts = [
        _metadata(kind, licence),
        f"# {_plain(kind)} of {source}",
        f"Makes examples of shape {shape}, has {parameters} parameters. Classes: {classes}.",
        f"## Data\n\n{source}. Licence: {_plain(licence or 'not stated')}.",
        "## Training\n\n" + _table(("argument", "value"), _arguments(arguments)),
        _table(("with", "version"), config.get("versions", {})),
        "## Evaluation\n\nLosses are nats per example.\n\n"
        + _table(("measure", "value"), dict(_numbers(_json(run.evaluation_path)))),
        *(f"![{path.stem}](figures/{path.name})" for path in sorted(run.figures.glob("*.png"))),
        *_quantized(run),
        "## Limits\n\n" + LIMITS,
        "## Use\n\n" + "\n\n".join(_uses(run, config.get("class_names"))),
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


def _json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as err:
        raise ValueError(f"{path} is damaged: {err}") from err


def _metadata(kind, licence):
    """The block that hubs read."""
    lines = ["library_name: keras-vae", "tags:", "- keras", f"- {json.dumps(kind)}"]
    if licence:
        lines += ["license: other", f"license_name: {json.dumps(licence)}"]
    return "\n".join(["---", *lines, "---"])


def _quantized(run):
    """What files lose, by the reports that `export` left beside them: a section, or nothing."""
    rows = []
    for path in sorted((run.folder / "export").glob("*.report.json")):
        for row in _json(path).get("files", []):
            measures = (row.get(name) for name in ("largest_error", "elbo_change", "accuracy"))
            shown = ("" if m is None else f"{m:.3g}" for m in measures)
            rows.append(f"| {_plain(row.get('file'))} | {' | '.join(shown)} |")
    if not rows:
        return []
    head = ["| file | largest error | ELBO lost, nats | right class |", "|---|---|---|---|"]
    return ["## Quantization\n\n" + "\n".join([*head, *rows])]


def _uses(run, class_names):
    """How to sample it in Python and, as far as its files go, on a device, in a page and in C."""
    asked = f'{{"label": {json.dumps(class_names[0])}}}, ' if class_names else ""
    yield _block(
        "python",
        "import keras_vae\n\n"
        'model = keras_vae.load_model("model.keras")\n'
        f"samples = model.sample({asked}count=16, seed=42)"
        if run.model_class() not in WITHOUT_SAMPLES
        else 'import keras_vae\n\nmodel = keras_vae.load_model("model.keras")',
    )
    folder = run.folder / "export"
    device = next((n for n in ("sampler", "decoder") if (folder / f"{n}.tflite").exists()), None)
    if device:
        label = (
            f" --label {shlex.quote(' '.join(str(class_names[0]).split()))}" if class_names else ""
        )
        yield _block(
            "sh",
            f"python sample.py --model export/{device}.tflite{label} --count 16 --seed 42 "
            "--out samples.png",
        )
    if (folder / "sampler.onnx").exists():
        yield _block(
            "js",
            'const session = await ort.InferenceSession.create("export/sampler.onnx");\n'
            "// Its inputs by name: session.inputNames, as in the manifest inside the file.",
        )
    for path in sorted(folder.glob("sampler*.c")):
        yield _block("c", f'#include "export/{path.stem}.h" /* which says how to call it */')


def _block(language, text):
    return f"```{language}\n{text.replace('```', '')}\n```"


def _plain(value):
    """A value as text that Markdown takes for nothing but text, of one line."""
    words = " ".join(str(value).split())
    words = words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]} ..."
    return re.sub(r"([\\`*|<>\[\]])", r"\\\1", words)


def _numbers(measures, prefix=""):
    """Yield name and value of each single number of nested dicts."""
    for name, value in measures.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", f"{value:.4g}" if isinstance(value, float) else value


def _table(head, rows):
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    shown = (f"| {_plain(name)} | {_plain(value)} |" for name, value in rows.items())
    return "\n".join([*lines, *shown])
