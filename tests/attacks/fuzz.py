"""`python -m tests.attacks.fuzz --per-reader 2000`: damaged files for every reader that is ours.

Real files are cut, altered, shuffled and put together again, archives also from inside, with a
check sum that is right. Each must be read or refused in one line within 10 s and 2 GB; a traceback,
a crash or a hang is a fault. File number i of a reader is always the same.
"""

import argparse
import collections
import copy
import functools
import io
import json
import pathlib
import sys
import time
import zipfile

import numpy as np

SECONDS = 10
MEGABYTES = 2000


def mutated(content, rng):
    """A damaged copy: cut off, bytes changed, a piece moved, repeated or set to one value."""
    content = bytearray(content)
    kind = rng.integers(5)
    a, b = sorted(rng.integers(0, len(content), 2))
    if kind == 0:
        return content[:a]
    if kind == 1:
        for place in rng.integers(0, len(content), rng.integers(1, 40)):
            content[place] = rng.integers(256)
    elif kind == 2:
        # Where the structure is: near the ends.
        for place in rng.integers(0, min(400, len(content)), 5):
            content[place if rng.integers(2) else -1 - place] = rng.integers(256)
    elif kind == 3:
        content[a:b] = bytes([rng.choice([0, 127, 255])]) * (b - a)
    else:
        content[a:b] = content[a:b][::-1] if rng.integers(2) else content[a:b] * 2
    return content


def slightly_mutated(content, rng):
    """A copy in which a few bytes or one short piece differ."""
    content = bytearray(content)
    place, size = rng.integers(0, len(content)), rng.integers(1, 9)
    if rng.integers(2):
        for at in rng.integers(0, len(content), size):
            content[at] = rng.choice([0, 1, 255, rng.integers(256), content[at] ^ 1])
    else:
        content[place : place + size] = rng.bytes(size)
    return content


_VALUES = (None, True, 0, -1, 1.5, 10**9, 2**63, 1e308, "", "relu", "../x", [], [1, 2], {}, [[]])


def mutated_json(content, rng):
    """JSON in which a few values are others, or are gone, or change places."""
    value = json.loads(content)
    for _ in range(rng.integers(1, 4)):
        places = []

        def collect(item, places=places):
            keys = item if isinstance(item, dict) else range(len(item))
            for key in keys:
                places.append((item, key))
                if isinstance(item[key], dict | list):
                    collect(item[key])

        collect(value)
        if not places:
            break
        holder, key = places[rng.integers(len(places))]
        other, from_key = places[rng.integers(len(places))]
        kind = rng.integers(4)
        if kind == 0 and isinstance(holder, dict):
            del holder[key]
        elif kind == 1:
            holder[key] = json.loads(json.dumps(other[from_key]))
        elif kind == 2 and isinstance(holder[key], int | float):
            holder[key] = holder[key] * int(rng.choice([-1, 2, 1000, 10**6])) + 1
        else:
            holder[key] = copy.deepcopy(_VALUES[rng.integers(len(_VALUES))])
    return json.dumps(value).encode()


def rezipped(members, name, content):
    """An archive whose check sums are right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, sound in members.items():
            archive.writestr(member, bytes(content) if member == name else sound)
    return buffer.getvalue()


def members_of(path):
    """The members of an archive, as a dict of bytes."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# One function for each reader: the damaged file of a number, opened


def model(rng, folder):
    """`keras_vae.load_model`."""
    from tests.attacks import files, readers

    members = files.sound_model()
    kind = rng.integers(4)
    if kind == 0:
        content = mutated(rezipped(members, None, b""), rng)
    else:
        name = "config.json" if kind == 1 else "model.weights.h5"
        damage = mutated_json if kind == 1 else mutated if kind == 2 else slightly_mutated
        content = rezipped(members, name, damage(members[name], rng))
    (folder / "model.keras").write_bytes(content)
    return readers.READERS["model"](folder / "model.keras")


def weights(rng, folder):
    """The reader of HDF5, alone."""
    from keras_vae.storage import hdf5
    from tests.attacks import files

    damage = (mutated, slightly_mutated)[rng.integers(2)]
    try:
        hdf5.read(bytes(damage(files.sound_model()["model.weights.h5"], rng)))
    except hdf5.DamagedError as err:
        return str(err)


def weights_by_h5py(rng, folder):
    """The HDF5 library, on what a file may hold that Keras does not write: not ours, to compare."""
    import h5py

    buffer, values = io.BytesIO(), np.random.default_rng(0).normal(size=(20, 20))
    with h5py.File(buffer, "w", libver=("earliest", "latest")[rng.integers(2)]) as file:
        packed = {"chunks": (5, 5), "compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset("a/b/packed", data=values, **packed)
        file.create_dataset("rounded", data=values, chunks=(5, 5), scaleoffset=2)
        file.create_dataset("text", data=np.array(["a", "bcd"], object), dtype=h5py.string_dtype())
        file["a"].attrs["names"] = ["x", "yy"]
        file["soft"] = h5py.SoftLink("/rounded")
    content = bytes((mutated, slightly_mutated)[rng.integers(2)](buffer.getvalue(), rng))

    def read(name, item):
        list(item.attrs.values())
        if isinstance(item, h5py.Dataset) and item.nbytes < 10 * len(content):
            item[...]

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(read)
    except Exception as err:  # it raises almost any type
        return str(err)


def npz(rng, folder):
    """`keras_vae.data.load` of an `.npz`."""
    from tests.attacks import files, readers

    path = files.npz(folder)
    members = members_of(path)
    if rng.integers(2):
        path.write_bytes(mutated(path.read_bytes(), rng))
    else:
        name = list(members)[rng.integers(len(members))]
        damage = (mutated, slightly_mutated)[rng.integers(2)]
        path.write_bytes(rezipped(members, name, damage(members[name], rng)))
    return readers.READERS["data"](path)


@functools.cache
def pictures():
    """One small image of each format, as bytes by ending."""
    from PIL import Image

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (12, 12, 3), np.uint8))
    found = {}
    for kind in ("png", "jpeg", "bmp", "gif", "webp"):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        found[kind] = buffer.getvalue()
    return found


def images(rng, folder):
    """`keras_vae.data.load` of a folder of images."""
    from tests.attacks import readers

    kind = list(pictures())[rng.integers(len(pictures()))]
    damage = (mutated, slightly_mutated)[rng.integers(2)]
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(2):
            (folder / "images" / name / f"{i}.{kind}").write_bytes(pictures()[kind])
    (folder / "images" / "cat" / f"0.{kind}").write_bytes(damage(pictures()[kind], rng))
    return readers.READERS["data"](folder / "images")


def run_folder(rng, folder):
    """What is read of a run folder besides the model: its JSON and its history."""
    from export import manifest
    from keras_vae.storage.runs import Run

    files = {
        "config.json": b'{"arguments": {"data": "digits", "epochs": 3}, "seed": 1}',
        "evaluation.json": b'{"elbo": -12.5, "reconstruction_loss": 10.0}',
        "history.csv": b"epoch,loss,kl_loss\n1,2.5,3.5\n2,2.25,3.25\n",
    }
    name = list(files)[rng.integers(3)]
    damage = mutated_json if name != "history.csv" and rng.integers(2) else mutated
    for other, content in files.items():
        (folder / other).write_bytes(damage(content, rng) if other == name else content)
    try:
        Run(folder).config()
        Run(folder).history()
        manifest.training_of(folder)
    except (ValueError, FileNotFoundError) as err:
        return str(err)


def exported(format, option):
    """`python -m export --inspect` or `--verify` of a format."""

    def read(rng, folder):
        from tests.attacks import files, readers

        graph = ("decoder", "encoder", "sampler", "scorer")[rng.integers(4)]
        content = (files.MODELS / f"{graph}.{format}").read_bytes()
        damage = (mutated, slightly_mutated)[rng.integers(2)]
        path = folder / f"damaged.{format}"
        path.write_bytes(damage(content, rng))
        if option == "inspect":
            return readers.READERS["inspect"](path)
        return golden(path, format)

    return read


def golden(path, format):
    """What `--verify` does in a process of its own, here."""
    import export
    from export import verification

    try:
        verification.check_golden(path, export.module_of(format))
    except (ValueError, MemoryError) as err:
        return " ".join(str(err).split()) or "MemoryError"


def manifest_of(rng, folder):
    """The reader of manifests, their golden sample included."""
    from export import manifest, tflite
    from tests.attacks import files

    path = files.MODELS / "decoder.tflite"
    content = tflite._open(path).metadata("keras_vae")
    damage = (mutated_json, mutated, slightly_mutated)[rng.integers(3)]
    try:
        found = manifest.loads(bytes(damage(bytes(content), rng)), "damaged.tflite")
        for side in ("inputs", "outputs"):
            manifest.golden(found, tflite.describe(path)["signatures"][0][side], "damaged.tflite")
    except ValueError as err:
        return str(err)


def edge(rng, folder):
    """`mobile_demo/edge/sample.py`, which runs the file in its own process."""
    import contextlib
    import runpy

    from tests.attacks import files

    format = ("tflite", "onnx")[rng.integers(2)]
    content = (files.MODELS / f"decoder.{format}").read_bytes()
    damage = (mutated, slightly_mutated)[rng.integers(2)]
    path = folder / f"damaged.{format}"
    path.write_bytes(damage(content, rng))
    program = runpy.run_path(str(pathlib.Path(files.MODELS).parent / "edge" / "sample.py"))
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = program["main"](["--model", str(path), "--self-test"])
    return errors.getvalue().strip() or "failed" if status else None


READERS = {
    "model": model,
    "weights": weights,
    "npz": npz,
    "images": images,
    "run folder": run_folder,
    "manifest": manifest_of,
    "inspect tflite": exported("tflite", "inspect"),
    "inspect onnx": exported("onnx", "inspect"),
    "verify tflite": exported("tflite", "verify"),
    "verify onnx": exported("onnx", "verify"),
    "edge": edge,
}
OTHERS = {"h5py": weights_by_h5py}


def read_damaged(name, i, folder):
    """Make file number `i` of a reader, and open it.

    Returns:
        Str, the refusal; or None where it was read.
    """
    from tests.attacks.files import clean

    clean(folder)
    return {**READERS, **OTHERS}[name](np.random.default_rng(i), folder)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.fuzz", description=__doc__)
    parser.add_argument("--per-reader", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of each reader's first file")
    parser.add_argument("--readers", default=",".join(READERS), help="by commas")
    options = parser.parse_args()

    from tests.attacks import apart, files
    from tests.attacks import readers as _  # noqa: F401 - imported before processes are forked

    files.SOUND.update(apart.computed(files.sound_model))
    total = collections.Counter()
    for name in options.readers.split(","):
        counts, begin, slowest, largest = collections.Counter(), time.monotonic(), 0.0, 0.0

        def prepare(i, folder, name=name):
            return functools.partial(read_damaged, name, options.first + i, folder)

        results = apart.try_each(options.per_reader, prepare, SECONDS, MEGABYTES)
        for i, result in enumerate(results, options.first):
            outcome = "faults" if result.fault else "refused" if result.refusal else "read"
            counts[outcome] += 1
            slowest, largest = max(slowest, result.seconds), max(largest, result.megabytes)
            if result.fault:
                print(f"  {name} {i}: {result.fault}", flush=True)
        total += counts
        print(
            f"{name}: {sum(counts.values())} files, {counts['refused']} refused, "
            f"{counts['read']} read, {counts['faults']} faults, {time.monotonic() - begin:.0f} s; "
            f"at most {slowest:.1f} s and {largest:.0f} MB",
            flush=True,
        )
    print(f"{sum(total.values())} damaged files, {total['faults']} faults")
    return 1 if total["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
