"""Runs a command: its exit status, and one line for what a user can mend."""

import sys
import warnings

from keras_vae import _lazy, backends
from keras_vae.commands import env, evaluate, figures, sample, train
from keras_vae.commands.output import exit_status, print_error
from keras_vae.commands.parser import make_parser
from keras_vae.commands.train_arguments import with_arguments_of_run
from keras_vae.exceptions import one_line

COMMANDS = {
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "sample": sample.sample,
    "figures": figures.figures,
    "env": env.env,
}


def main(argv=None):
    """Run a command and return its exit status: 0, 2 for bad input, 1 for anything else."""
    argv = sys.argv[1:] if argv is None else list(argv)
    with warnings.catch_warnings():
        warnings.showwarning = print_warning
        if argv[:1] == ["export"]:
            return export(argv[1:])
        args = make_parser().parse_args(argv)
        return exit_status(lambda: run(args, argv), args.traceback)


def print_warning(message, *_, **__):
    """Print a warning as one line, without the place in the code that it comes from."""
    print(f"warning: {one_line(message, limit=1000)}", file=sys.stderr)


def run(args, argv):
    if getattr(args, "resume", False):
        args = with_arguments_of_run(args, argv)
    args.argv = argv
    if "keras" not in sys.modules:
        backends.find(args.backend)
    return COMMANDS[args.command](args)


def export(argv):
    """The same as `python -m export`."""
    try:
        _lazy.export_package()
    except ImportError as err:
        return print_error(err, 2)
    from export.__main__ import main as export_main

    return export_main(argv, "python -m keras_vae export")
