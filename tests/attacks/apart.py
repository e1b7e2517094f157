"""Run a reader on many files in a process of its own, and see what becomes of it."""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import resource
import signal
import tempfile
import time

PATIENCE = 6


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one file.

    Attributes:
        refusal: Str, the one line of the refusal; or None where the file was read.
        fault: Str, what went wrong: a crash, a hang, another exception; or None.
        seconds: Float, of the processor, those of processes that it started included.
        megabytes: Float, the largest resident memory of the process or of one that it started.
    """

    refusal: str | None
    fault: str | None
    seconds: float
    megabytes: float


def try_each(count, prepare, seconds, megabytes=None):
    """Read files one after the other, in a process that is replaced when it dies or hangs.

    Args:
        count: Int. How many files.
        prepare: Function of the file's number and of a folder that makes the file there, and
            returns a function that opens it and returns the refusal or None. What that raises is
            a fault, and what it takes is measured.
        seconds: Float. How many of the processor one file may take; a file that has not ended
            after `PATIENCE` times as many of the clock hangs.
        megabytes: Optional int. How much memory one file may take.

    Yields:
        A `Result` for each file.
    """
    # The libraries are imported once; a process that is forked has them.
    context = multiprocessing.get_context("fork")
    done = 0
    while done < count:
        here, there = context.Pipe()
        worker = context.Process(target=_work, args=(there, done, count, prepare))
        worker.start()
        there.close()
        while done < count:
            begin = time.monotonic()
            try:
                answered = here.poll(PATIENCE * seconds)
                result = Result(*here.recv()) if answered else None
            except EOFError:
                worker.join()
                result = Result(None, f"ended with {worker.exitcode}", time.monotonic() - begin, 0)
            if result is None:
                os.kill(worker.pid, signal.SIGKILL)
                result = Result(None, "hung", time.monotonic() - begin, 0)
            if result.fault is None:
                result = dataclasses.replace(result, fault=_limits(result, seconds, megabytes))
            yield result
            done += 1
            if not worker.is_alive() or result.fault == "hung":
                break
            if result.megabytes > (megabytes or 1500) / 2:
                # A new process, for the largest memory does not fall again.
                os.kill(worker.pid, signal.SIGKILL)
                break
        worker.join()
        here.close()


def computed(function):
    """What a function gives in a process of its own.

    A process that has computed something by a backend has threads, and cannot be forked any more.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    worker = context.Process(target=lambda: there.send(function()))
    worker.start()
    result = here.recv()
    worker.join()
    return result


def _limits(result, seconds, megabytes):
    if result.refusal is not None and "\n" in result.refusal:
        return "more than one line"
    if result.seconds > seconds:
        return f"took {result.seconds:.1f} s"
    if megabytes is not None and result.megabytes > megabytes:
        return f"took {result.megabytes:.0f} MB"
    return None


def _work(pipe, start, count, prepare):
    """The other process: answer for each file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What libraries print is no answer.
    with open(os.devnull, "w") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for i in range(start, count):
            open_file = prepare(i, pathlib.Path(folder) / "files")
            refusal, fault, begin = None, None, _processor_seconds()
            try:
                refusal = open_file()
            except BaseException as err:
                fault = f"{type(err).__name__}: {err}"[:300]
            own, children = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
            peak = max(resource.getrusage(who).ru_maxrss for who in (own, children)) / 1024
            with contextlib.suppress(BrokenPipeError):
                pipe.send((refusal, fault, _processor_seconds() - begin, peak))
    os._exit(0)


def _processor_seconds():
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system
