"""Runs a command: its exit status, and one line for what a user can mend."""

import contextlib
import sys
import warnings

from keras_vae import _lazy, backends
from keras_vae.commands import env, evaluate, figures, sample, train
from keras_vae.commands.output import print_error, report_error
from keras_vae.commands.parser import make_parser
from keras_vae.commands.train_arguments import with_arguments_of_run

COMMANDS = {
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "sample": sample.sample,
    "figures": figures.figures,
    "env": env.env,
}


@contextlib.contextmanager
def warnings_as_lines():
    """Let warnings be one line each, without the place in the code that they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print_error(f"warning: {message}")
        yield


@warnings_as_lines()
def main(argv=None):
    """Run a command and return its exit status: 0, 2 for bad input, 1 for anything else."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["export"]:
        return export(argv[1:])
    args = make_parser().parse_args(argv)
    try:
        if getattr(args, "resume", False):
            args = with_arguments_of_run(args, argv)
        args.argv = argv
        if "keras" not in sys.modules:
            backends.find(args.backend)
        return COMMANDS[args.command](args) or 0
    except KeyboardInterrupt:
        return report_error("interrupted", 1)
    except (
        ValueError,
        ImportError,
        FileNotFoundError,
        FileExistsError,
        NotADirectoryError,
        IsADirectoryError,
        PermissionError,
    ) as err:
        if args.traceback:
            raise
        return report_error(err, 2)
    except (OSError, FloatingPointError, MemoryError) as err:
        if args.traceback:
            raise
        return report_error(str(err) or "Memory ran out.", 1)
    except Exception as err:
        from keras_vae.exceptions import is_out_of_memory

        if args.traceback or not is_out_of_memory(err):
            raise
        return report_error("Memory must suffice for a batch. It ran out. Lower --batch-size.", 1)


def export(argv):
    """The same as `python -m export`."""
    try:
        _lazy.export_package()
    except ImportError as err:
        return report_error(err, 2)
    from export.__main__ import main as export_main

    return export_main(argv, "python -m keras_vae export")
