"""What a command costs that Keras is not needed for: CPU seconds of helps and of mistakes.

python benchmarks/command_line.py
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import receipts

GOLDEN = receipts.ROOT / "tests" / "golden" / "0.1.0"
EDGE = str(receipts.ROOT / "mobile_demo" / "edge" / "sample.py")
OURS, EXPORT = ["-m", "keras_vae"], ["-m", "export"]
# In a folder with the golden run as `run` and a scorer.onnx: the words behind `python`.
COMMANDS = {
    "help": [
        [*OURS, "--help"],
        *([*OURS, name, "--help"] for name in ("train", "evaluate", "sample", "figures", "env")),
        [*OURS, "export", "--help"],
        [*EXPORT, "--help"],
        [EDGE, "--help"],
    ],
    "usage_error": [
        [*OURS, "paint"],
        [*OURS, "train", "--epochs", "0"],
        [*OURS, "train", "--learning-rate", "0"],
        [*OURS, "train", "--model", "gan", "--objective", "iwae"],
        [*OURS, "sample", "run", "--label", "12"],
        [*OURS, "figures", "run", "--only", "hat"],
        [*EXPORT, "--graph", "hat"],
        [EDGE, "--model", "x", "--count", "0"],
    ],
    "wrong_path": [
        [*OURS, "train", "--data", "nosuch.npz"],
        [*OURS, "train", "--data", "text.npz"],
        [*OURS, "train", "--out", "run"],
        [*OURS, "train", "--out", "text.npz"],
        *([*OURS, name, "nosuch"] for name in ("evaluate", "sample", "figures")),
        [*EXPORT, "--model", "nosuch"],
        [*EXPORT, "--model", "run", "--data", "nosuch"],
        [EDGE, "--model", "nosuch.onnx"],
    ],
    "inspect": [[*EXPORT, "--inspect", "scorer.onnx"]],
    "verify": [[*EXPORT, "--verify", "scorer.onnx"]],
}


def cpu_seconds(words, folder):
    """CPU seconds of a process and its children, and its exit status."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(receipts.ROOT)},
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, process.returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="processes of each (default: 3)")
    receipts.add_option(parser)
    args = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copytree(GOLDEN / "run", folder / "run")
        shutil.copy(GOLDEN / "exported" / "vae_mixture" / "scorer.onnx", folder)
        (folder / "text.npz").write_text("no archive")
        for kind, commands in COMMANDS.items():
            wanted = 2 if kind in ("usage_error", "wrong_path") else 0
            medians = {}
            for words in commands:
                runs = [cpu_seconds(words, folder) for _ in range(args.runs)]
                if {status for _, status in runs} != {wanted}:
                    raise RuntimeError(f"{words} must end with {wanted}. Received: {runs}")
                name = " ".join(word.replace(EDGE, "sample.py") for word in words)
                medians[name] = round(statistics.median(seconds for seconds, _ in runs), 2)
            result[kind] = {"most": max(medians.values()), "commands": medians}
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
