"""What TFLite costs with TensorFlow and without: bytes of an environment, and seconds of an export.

    KERAS_BACKEND=jax OMP_NUM_THREADS=1 python benchmarks/export_routes.py

Of what is installed beside it, it counts the files of each package that an extra needs.
"""

import importlib.metadata
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXTRAS = {"without TensorFlow": ("export-lite",), "with it": ("jax", "export")}
CONVERTERS = ("stablehlo", "tensorflow")


def main():
    sizes, missing = {}, set()
    for name, extras in EXTRAS.items():
        sizes[name], lacking = size_of(extras)
        missing |= lacking
        print(f"{name}: {sizes[name] / 1e6:,.0f} MB")
    print(f"ratio {sizes['without TensorFlow'] / sizes['with it']:.2f}")
    print(f"not installed here, and not counted: {', '.join(sorted(missing)) or 'none'}")

    import keras_vae

    networks = keras_vae.networks
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(20, hidden_units=(400,)),
        networks.DenseDecoder((28, 28, 1), hidden_units=(400,)),
        condition={"label": keras_vae.Categorical(10)},
    )
    model.build()
    import export

    with tempfile.TemporaryDirectory() as folder:
        for attempt in ("first", "second"):
            start = time.perf_counter()
            export.export(model, "tflite", out=folder, converter="stablehlo")
            print(f"{attempt} export in this process: {time.perf_counter() - start:.2f} s")
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        for converter in CONVERTERS:
            command = [sys.executable, "-m", "keras_vae", "export", "--format", "tflite"]
            command += ["--model", str(path), "--converter", converter]
            start, before = time.perf_counter(), _cpu()
            env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
            subprocess.run(command, check=True, capture_output=True, env=env)
            print(
                f"from the shell, {converter}: {time.perf_counter() - start:.1f} s, "
                f"{_cpu() - before:.1f} s of CPU"
            )


def size_of(extras):
    """Bytes of the packages that extras of this one need, and the names of those that lack."""
    seen, pending, missing, total = set(), [("keras-vae", extras)], set(), 0
    while pending:
        name, extras = pending.pop()
        key = re.sub(r"[-_.]+", "-", name).lower(), extras
        if key in seen:
            continue
        if name == "keras-vae":
            seen.add(key)
            own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            lines = [*own["dependencies"]]
            for extra in extras:
                lines += own["optional-dependencies"][extra]
        else:
            try:
                found = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                missing.add(key[0])
                continue
            if key[0] not in {other for other, _ in seen}:
                total += sum(file.size or 0 for file in found.files or ())
            seen.add(key)
            lines = found.requires or ()
        pending += filter(None, (_needed(line, extras) for line in lines))
    return total, missing


def _needed(line, extras):
    """The name and the extras of a requirement that applies here, or None."""
    from packaging.requirements import Requirement

    requirement = Requirement(line)
    marker = requirement.marker
    if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
        return None
    return requirement.name, tuple(sorted(requirement.extras))


def _cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
