"""Receipts: what each published figure was measured with, and the tables that are made of them.

    python benchmarks/reference.py --receipt reference-jax  # measure and write a receipt
    python -m benchmarks.receipts                           # fill the tables from the receipts
    python -m benchmarks.receipts --check                   # show where they disagree, and fail

`benchmarks/receipts/NAME.json` is one receipt:

- `command`: what to type in the root of the repository; with `--receipt NAME` it renews the figure.
- `date`: ISO 8601, UTC. `versions`: of Python and the packages.
- `backend`: Keras' own, or null of a command that runs on none or on all.
- `machine`: `processor`, `architecture`, `cores` it has and `cores_used`.
- `seed`: null of a command that takes none. `configuration`: all other arguments.
- `result`: what was measured.
- `wall_seconds`, `cpu_seconds`: of the whole command, child processes included.

What nobody wrote down when a figure was measured says "not recorded". The date of one without
`wall_seconds` is that of the commit which published it. Of a command that is no benchmark, such as
`npm run figures`, the receipt is written by hand from what it prints.

`benchmarks/tables.md` holds the tables of README.md and docs/, each between
`<!-- receipts: NAME -->` and `<!-- /receipts -->` as there, with slots for figures. The slot
`{vq_vae.result.seconds:.1f min}` is an entry of the receipt `vq_vae`, how to show it in Python's
notation and, where wanted, the unit to turn it into, one of `UNITS`.
"""

import argparse
import difflib
import json
import os
import pathlib
import platform
import re
import shlex
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/benchmarks.md", "docs/deployment.md", "docs/doctor.md")
# From the unit of a receipt: 1, bytes or seconds.
UNITS = {"%": 100, "kB": 1e-3, "MB": 1e-6, "ms": 1e3, "min": 1 / 60}
FIELDS = (
    *("command", "date", "versions", "backend", "machine", "seed", "configuration"),
    *("wall_seconds", "cpu_seconds", "result"),
)
NOT_RECORDED = "not recorded"
BLOCK = re.compile(r"<!-- receipts: (.+?) -->.*?<!-- /receipts -->", re.DOTALL)
SLOT = re.compile(r"\{([\w-]+)\.([^:{}]+)(?::([^{} ]*)(?: ([^{}]+))?)?\}")
ENVIRONMENT = ("KERAS_BACKEND", "OMP_NUM_THREADS")


def cpu_seconds():
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def cores_used():
    """The number of cores that this process may run on."""
    # Not on macOS.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


# When a benchmark imports this module.
START, CPU_START, PINNED = time.perf_counter(), cpu_seconds(), cores_used() == 1


def add_option(parser):
    """Give a benchmark's command line the option `--receipt`."""
    parser.add_argument(
        "--receipt", metavar="NAME", help="also write benchmarks/receipts/NAME.json"
    )


def finish(args, result):
    """Print what a benchmark measured as JSON, and write its receipt if `--receipt` asks for one.

    Args:
        args: The parsed arguments; `args.seed` is the seed, if there is one.
        result: Dict that JSON can hold.
    """
    print(json.dumps(result, indent=2))
    if args.receipt:
        keras = sys.modules.get("keras")
        from keras_vae.storage.runs import now, versions

        given = {name: value for name, value in vars(args).items() if name != "receipt"}
        write(
            args.receipt,
            {
                "command": command(),
                "date": now(),
                "versions": versions(),
                "backend": keras.config.backend() if keras else None,
                "machine": machine(),
                "seed": given.pop("seed", None),
                "configuration": given,
                "wall_seconds": round(time.perf_counter() - START, 1),
                "cpu_seconds": round(cpu_seconds() - CPU_START, 1),
                "result": result,
            },
        )


def write(name, receipt):
    """Write a receipt under its name.

    Raises:
        ValueError: If its fields are not those of a receipt.
    """
    from keras_vae.storage.runs import write_atomically

    if tuple(receipt) != FIELDS:
        raise ValueError(f"A receipt has the fields {FIELDS}. Received: {tuple(receipt)}.")
    path = ROOT / "benchmarks" / "receipts" / f"{name}.json"
    text = json.dumps(receipt, indent=2, default=str, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8"))
    print(f"{path} is written. Next: python -m benchmarks.receipts", file=sys.stderr)


def command():
    """What was typed to start this process, but for `--receipt`."""
    words = list(sys.argv[1:])
    at = next(i for i, word in enumerate(words) if word.startswith("--receipt"))
    del words[at : at + (1 if "=" in words[at] else 2)]
    given = [f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ]
    given += ["taskset -c 0"] if PINNED else []
    script = f"benchmarks/{pathlib.Path(sys.argv[0]).name}"
    return " ".join([*given, "python", script, *map(shlex.quote, words)])


def machine():
    """The processor and its cores; no name of the host."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = re.search(r"model name\s*: (.*)", text)[1]
    except (OSError, TypeError):
        processor = platform.processor() or NOT_RECORDED
    return {
        "processor": processor,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cores_used": cores_used(),
    }


def load(root=ROOT):
    """Return all receipts, by name."""
    paths = sorted((root / "benchmarks" / "receipts").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def fill(text, receipts):
    """Return a text with its slots filled.

    Raises:
        ValueError: If there is no such receipt, or nothing known under that entry.
    """

    def value(slot):
        name, path, form, unit = slot.groups()
        try:
            found = receipts[name]
            for key in path.split("."):
                found = found[int(key) if isinstance(found, list) else key]
        except (KeyError, IndexError, ValueError) as err:
            raise ValueError(f"No receipt has what the slot {slot[0]} asks for.") from err
        if found in (None, NOT_RECORDED):
            raise ValueError(f"The slot {slot[0]} asks for what its receipt does not know.")
        shown = format(found * UNITS.get(unit, 1) if unit else found, form or "")
        shown = re.sub(r"e(-?)\+?0", r"e\1", shown)  # 1e-7, not 1e-07
        return f"{shown} {unit}" if unit else shown

    return SLOT.sub(value, text)


def update(root=ROOT):
    """Return the documents as the receipts have them: a dict from path to (old, new) text.

    Raises:
        ValueError: If a table is in `benchmarks/tables.md` or in a document only.
    """
    receipts = load(root)
    text = (root / "benchmarks" / "tables.md").read_text(encoding="utf-8")
    templates = {block[1]: block[0] for block in BLOCK.finditer(text)}
    found, documents = set(), {}

    def table(block):
        found.add(block[1])
        return fill(templates.get(block[1], ""), receipts)

    for name in DOCUMENTS:
        old = (root / name).read_text(encoding="utf-8")
        documents[name] = (old, BLOCK.sub(table, old))
    if found != set(templates):
        odd = ", ".join(sorted(found ^ set(templates)))
        raise ValueError(f"A table must be in benchmarks/tables.md and in one document. Not: {odd}")
    return documents


def differences(root=ROOT):
    """Return a diff from the documents to what the receipts say, "" where they agree."""
    lines = []
    for name, (old, new) in update(root).items():
        lines += difflib.unified_diff(
            old.splitlines(), new.splitlines(), name, f"{name}, by the receipts", "", "", 0, ""
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail on a difference")
    args = parser.parse_args()
    found = differences()
    if args.check:
        if found:
            sys.exit(f"{found}\nerror: tables and receipts disagree: python -m benchmarks.receipts")
        return
    from keras_vae.storage.runs import write_atomically

    for name, (old, new) in update().items():
        if old != new:
            write_atomically(ROOT / name, new.encode("utf-8"))
    print(found or "The tables agree with the receipts.")


if __name__ == "__main__":
    main()
