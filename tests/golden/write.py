"""`python -m tests.golden.write`: keep files of this version, for every later one to read.

They go into a folder named by the version. What is there already stays as it is: a file that a
change makes unreadable is not to be written anew. Three processes, one for each backend, write the
models; the one of TensorFlow exports them, too. About two minutes.
"""

import os
import pathlib
import subprocess
import sys
import zipfile

from keras_vae.version import __version__
from tests.golden import files

# Graphs and the formats and quantizations in which they are kept.
EVERY_VARIANT = (
    *(("tflite", quantize) for quantize in ("none", "float16", "int8", "int8-full")),
    *(("onnx", quantize) for quantize in ("none", "float16", "int8")),
    ("c", "int8"),
)
PLAIN = (("tflite", "none"), ("onnx", "none"))
INT8 = (*PLAIN, ("tflite", "int8"), ("onnx", "int8"))
OF_RUN = {
    "decoder": EVERY_VARIANT,
    "encoder": INT8,
    "sampler": (*PLAIN, ("c", "int8")),  # of 50 to 130 kB, for they hold a table of quantiles
    "scorer": INT8,
}
OF_MODELS = {
    "conditional_vae_conv": {"decoder": PLAIN},
    "vae_mixture": {"scorer": PLAIN},
    "vq_vae": {"decoder": PLAIN, "encoder": PLAIN},
}


def main(arguments):
    folder = files.FOLDER / __version__
    if not arguments:
        for backend in ("torch", "jax", "tensorflow"):
            command = [sys.executable, "-m", "tests.golden.write", backend]
            subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, check=True)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{size} bytes in {folder}")
        return
    [backend] = arguments
    write_models(folder / "models", backend)
    if backend == "tensorflow":
        write_run(folder / "run")
        write_exported(folder / "run" / "export", folder / "run", OF_RUN)
        for name, graphs in OF_MODELS.items():
            write_exported(folder / "exported" / name, folder / "models" / f"{name}.keras", graphs)


def write_models(folder, backend):
    """Write the models of a backend, each with what it was given and gave."""
    from tests.golden import models

    folder.mkdir(parents=True, exist_ok=True)
    for make in models.MODELS[backend]:
        path = folder / f"{make.__name__}.keras"
        if path.exists():
            continue
        model, inputs = models.train(make)
        files.write(
            path.with_suffix(".npz"), {"inputs": inputs, "expected": files.measure(model, inputs)}
        )
        model.save(path)
        pack(path)
        print(path)


def pack(path):
    """Deflate a `.keras` file, of which most is the padding of HDF5: its members stay the same."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_run(folder):
    """Write a run folder by the commands that users type, but for `figures`."""
    from keras_vae.__main__ import main as keras_vae

    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    before = pathlib.Path.cwd()
    os.chdir(folder.parent)
    try:
        for command in (
            "train --data digits --network dense --hidden-units 16 --latent-dim 3 --epochs 2"
            f" --unknown-rate 0.1 --out {folder.name}",
            f"evaluate {folder.name}",
            f"sample {folder.name} --count 2 --seed 42 --out {folder.name}/samples.npy",
        ):
            assert keras_vae(command.split()) == 0
    finally:
        os.chdir(before)
    pack(folder / "model.keras")


def write_exported(folder, model, graphs):
    """Export some graphs of a model, and write what each file gives in its runtime."""
    import numpy as np

    import export

    if folder.exists():
        return
    loaded = export.load_model(model)
    parts = {}
    for graph, variants in graphs.items():
        inputs = export.build_graph(loaded, graph).draw(4, np.random.default_rng(0))
        parts[graph] = inputs
        for path, _ in export.export_files(model, variants, [graph], folder):
            parts[path.name] = export.module_of(path.suffix[1:]).load(path)(inputs)
            print(path)
    files.write(folder / "expected.npz", parts)


if __name__ == "__main__":
    main(sys.argv[1:])
