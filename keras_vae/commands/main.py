"""Runs a command: its exit status, and one line for what a user can mend."""

import argparse
import sys
import warnings

from keras_vae import backends, exporting
from keras_vae.backends import BACKENDS
from keras_vae.commands import card, env, evaluate, figures, impute, sample, train
from keras_vae.commands.output import exit_status
from keras_vae.commands.train_arguments import flag, no_interrupted_run, run_folder
from keras_vae.exceptions import one_line

# Of each the first line of the module is the help.
COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "impute": impute,
    "figures": figures,
    "card": card,
    "env": env,
}

# What is of one start of a training alone, and what may be otherwise when it goes on: whether the
# data are the same is seen from the data.
OF_ONE_START = ("resume", "overwrite", "backend", "out")
MAY_CHANGE = ("backend", "data", "save_every")


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
    return COMMANDS[args.command].main(args)


def export(argv):
    """The same as `python -m export`."""
    with exporting.ours():
        from export.__main__ import main as export_main

        return export_main(argv, "python -m keras_vae export")


def make_parser(of_run=None):
    """Make the parser of the command line.

    Args:
        of_run: Optional dict of the arguments that `train` has where they are left out.
    """
    parser = argparse.ArgumentParser(
        prog="python -m keras_vae",
        description="Train, evaluate, sample and export conditional generative models.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--backend", choices=BACKENDS, help="default: KERAS_BACKEND, or Keras' own")
    common.add_argument("--traceback", action="store_true", help="show where an error came from")
    for name, module in COMMANDS.items():
        text = module.__doc__
        command = commands.add_parser(name, parents=[common], help=text, description=text)
        module.add_arguments(command)
        if name == "train":
            command.set_defaults(**(of_run or {}))
    commands.add_parser("export", help="the same as python -m export", add_help=False)
    return parser


def with_arguments_of_run(args, argv):
    """The arguments of a `train --resume`: those of the run that it goes on with, in its folder.

    Args:
        args: The command line's arguments, parsed.
        argv: The command line.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If an argument is given that the run has otherwise.
    """
    folder = run_folder(args)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(no_interrupted_run(folder))
    from keras_vae.storage.runs import read_config  # which imports NumPy

    config = read_config(folder / "config.json")
    saved = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config["arguments"].items()
        if name in vars(args) and name not in OF_ONE_START
    }
    backend = config.get("backend")
    if "keras" not in sys.modules and backend in BACKENDS:
        saved["backend"] = backend
    args = make_parser({**saved, "out": str(folder)}).parse_args(argv)
    changed = [
        f"{flag(name)} {getattr(args, name)}, for {value} in the run"
        for name, value in saved.items()
        if name not in MAY_CHANGE and getattr(args, name) != value
    ]
    if changed:
        raise ValueError(
            f"--resume goes on with the arguments of the run. Received: {'; '.join(changed)}. "
            "Leave them out, or train into another --out."
        )
    return args
