"""Several processes that run one command together, as `--devices` needs them on PyTorch.

`torch.distributed.run` starts them, too, but ends with status 1 whatever theirs is, and says of a
path that is not there 42 lines for one.
"""

import atexit
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# How long the first process may take to fail after another has.
SECONDS_TO_FAIL = 10


def is_one_of_several():
    """Whether `run` here, or `torchrun`, started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def run(count, argv):
    """Run `python -m keras_vae` so many times at once, and end all when one fails.

    The environment tells each process its number, as `torchrun` does. Only the first is heard,
    unless another fails before it.

    Args:
        count: Int.
        argv: List of the command's arguments.

    Returns:
        Exit status: 0, or that of the first process to fail.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Else each would have as many threads as there are cores.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)),
    }
    command = [sys.executable, "-m", "keras_vae", *argv]
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without the others
    with tempfile.TemporaryFile("w+") as other_errors:
        processes = []
        for rank in range(count):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            streams = {"stdout": subprocess.DEVNULL, "stderr": other_errors} if rank else {}
            env = {**shared, **os.environ, **own}
            processes.append(subprocess.Popen(command, env=env, **streams))
        try:
            status = _first_failure(processes)
            if status:
                # The others often fail of the same, and the first one says so itself.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    processes[0].wait(SECONDS_TO_FAIL)
            is_reported = not status or processes[0].returncode
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
            signal.signal(signal.SIGTERM, before)
        if not is_reported:
            other_errors.seek(0)
            sys.stderr.write(other_errors.read())
        return status


def _first_failure(processes):
    """Wait for all, or for one that fails: its exit status."""
    while True:
        done = [process.poll() for process in processes]
        for status in done:
            if status:
                return status if status > 0 else 1
        if None not in done:
            return 0
        time.sleep(0.05)


def writable_folder(folder):
    """The folder that a process may write to: of several, only the first has the one asked for.

    The others have a copy, to see what the first one sees, that is removed when they end.
    """
    if not is_one_of_several() or os.environ["RANK"] == "0":
        return folder
    copy = pathlib.Path(tempfile.mkdtemp(prefix="keras_vae_"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    if pathlib.Path(folder).is_dir():
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    return str(copy)
