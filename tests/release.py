"""What a maintainer checks before a tag: `make release-check`, some minutes.

    python -m tests.release --tag v0.1.0

Builds the source archive and the wheel twice, which must give the same bytes, looks at what they
hold, installs each of them with JAX in an empty environment, and runs the README's script there. It
prints the CPU seconds of both, and leaves the two files in `dist/`.
"""

import argparse
import gzip
import io
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

from keras_vae.version import __version__

ROOT = pathlib.Path(__file__).resolve().parents[1]
NEEDED = {
    "keras_vae/__init__.py",
    "keras_vae/__init__.pyi",
    "keras_vae/py.typed",
    "keras_vae/excerpts/mnist_small.npz",
    "export/__main__.py",
    "export/py.typed",
}
# Of a wheel beside its metadata.
PACKAGES = {"keras_vae", "export"}
MOST_BYTES = 4_000_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tag", help="v and the version, as in git")
    args = parser.parse_args()
    if args.tag and args.tag != f"v{__version__}":
        sys.exit(f"error: the tag must be v{__version__}, as in version.py. Received: {args.tag}")
    with tempfile.TemporaryDirectory() as folder:
        first, second = (build(pathlib.Path(folder, name)) for name in ("first", "second"))
        for one, other in zip(first, second, strict=True):
            if one.read_bytes() != other.read_bytes():
                sys.exit(f"error: {one.name} must have the same bytes when it is built again")
            say(f"{one.name}: {one.stat().st_size / 1000:.0f} kB, the same bytes twice")
        archive, wheel = first
        check_names(names_in(archive), archive.name, whole=False)
        check_names(names_in(wheel), wheel.name, whole=True)
        for path in first:
            run_quickstart(path, pathlib.Path(folder, f"empty-{path.suffix[1:]}"))
        (ROOT / "dist").mkdir(exist_ok=True)
        for path in first:
            print(shutil.copy(path, ROOT / "dist"))


def build(out):
    """Build from what git knows, at the time of its last commit: source archive and wheel."""
    source = out / "source"
    source.mkdir(parents=True)
    files = _output("git", "ls-files", "-z").split("\0")[:-1]
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    when = _output("git", "log", "-1", "--format=%ct").strip()
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source],
        env={**os.environ, "SOURCE_DATE_EPOCH": when},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    [archive], [wheel] = out.glob("*.tar.gz"), out.glob("*.whl")
    archive.write_bytes(without_times(archive.read_bytes(), int(when)))
    return archive, wheel


def without_times(archive, when):
    """The same `.tar.gz` in order, with one time for all files, and of no user."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as old,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            content = old.extractfile(member) if member.isfile() else None
            member.mtime, member.pax_headers = when, {}
            member.mode = 0o755 if member.isdir() else 0o644
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            new.addfile(member, content)
    return gzip.compress(packed.getvalue(), mtime=when)


def names_in(path):
    """Names and sizes of files in an archive; of a source archive without their first folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as file:
            return {entry.filename: entry.file_size for entry in file.infolist()}
    with tarfile.open(path) as file:
        found = {member.name: member.size for member in file if member.isfile()}
    return {name.split("/", 1)[1]: size for name, size in found.items()}


def check_names(found, name, whole):
    """See that an archive holds what it must, and nothing that it must not."""
    if missing := NEEDED - set(found):
        sys.exit(f"error: {name} must hold {', '.join(sorted(missing))}")
    wrong = [
        file for file in found if re.search(r"(^|/)(runs|\.venv|node_modules|__pycache__)/", file)
    ]
    if whole:
        tops = PACKAGES | {f"keras_vae-{__version__}.dist-info"}
        wrong += [file for file in found if file.split("/")[0] not in tops]
    wrong += [file for file, size in found.items() if size > MOST_BYTES]
    if wrong:
        sys.exit(f"error: {name} must not hold {', '.join(sorted(wrong)[:5])}")
    say(f"{name}: {len(found)} files")


def run_quickstart(path, folder):
    """Install an archive with JAX in an empty environment, and run the README's script there."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "KERAS"))}

    def run(*words):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        options = {"cwd": folder, "env": environment, "stdout": subprocess.DEVNULL}
        subprocess.run([python, *words], check=True, **options)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    constraints = ROOT / "constraints.txt"
    installed = run("-m", "pip", "install", "-qq", "-c", constraints, f"{path}[jax]")
    shutil.copy(ROOT / "examples" / "quickstart.py", folder)
    made = run("quickstart.py")
    if not (folder / "sevens.png").stat().st_size:
        sys.exit(f"error: the README's script must draw sevens.png with {path.name}")
    say(f"{path.name}: {installed:.0f} CPU s to install it with JAX, {made:.0f} for the sevens")


def say(line):
    print(line, file=sys.stderr, flush=True)


def _output(*words):
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
