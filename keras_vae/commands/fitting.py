"""How a training keeps its run folder: claimed, described, interrupted, finished."""

import contextlib
import random
import sys
import time

from keras_vae.commands.output import command_line
from keras_vae.commands.train_arguments import no_interrupted_run

# What is in the parsed arguments and in no `config.json`.
NOT_ARGUMENTS = ("command", "argv", "traceback")


def run_of(args, folder):
    """The `Run` of a training in a folder, seen to be free, or to be there to go on with."""
    from keras_vae.storage.files import check_folder_can_be
    from keras_vae.storage.runs import Run

    args.out = str(folder)
    run = Run(folder)
    check_folder(run, args)
    check_folder_can_be(run.folder)
    return run


def check_is_unlocked(run):
    """See that nobody else trains in a run folder, which is made if need be."""
    from keras_vae.storage.files import locked

    with locked(run.folder):
        pass


def check_folder(run, args):
    """See that nothing in a run folder is lost, and that what is resumed is there."""
    if args.resume:
        if not run.saved_states():
            raise FileNotFoundError(no_interrupted_run(run.folder))
    elif not args.overwrite:
        run.check_is_free()


def seed_all(seed):
    """Seed what Keras' initializers draw their seeds from."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)


@contextlib.contextmanager
def claimed(run, args, model, described):
    """A run folder that is ours while a model trains within the block, and then holds it.

    Args:
        run: `Run`.
        args: The arguments of `train`.
        model: The model, compiled and built.
        described: Dict of what `config.json` is to say of the data; what is added to it within the
            block is said, too.
    """
    import keras

    from keras_vae.storage.files import locked
    from keras_vae.storage.runs import now, versions

    with locked(run.folder):
        check_folder(run, args)
        if args.overwrite and not args.resume:
            run.delete_checkpoints()
        config = {
            "arguments": {k: v for k, v in vars(args).items() if k not in NOT_ARGUMENTS},
            "started": now(),
            "backend": keras.backend.backend(),
            **described,
            "parameters": model.count_params(),
            "versions": versions(),
        }
        run.write_json(run.config_path, config)
        start = time.perf_counter()
        try:
            yield
        except KeyboardInterrupt:
            run.save_model(model)
            again = command_line("train", "--resume", "--out", args.out)
            print(f"\nStopped. The model so far is in {run.folder}. Go on with:\n  {again}")
            raise
        run.save_model(model)
        seconds = round(time.perf_counter() - start, 1)
        ended = {**described, "finished": now(), "seconds": seconds}
        run.write_json(run.config_path, {**config, **ended})
        run.delete_checkpoints()


def fit(run, args, model, inputs, validation, callbacks=()):
    """Fit a model to inputs, with its history and what `--resume` needs in the run folder."""
    import keras

    from keras_vae.callbacks import Checkpoint

    checkpoint = Checkpoint(run.checkpoints, args.save_every, delete=False)

    def write_history(epoch, logs):
        run.write_history({n: [*checkpoint.history.get(n, []), v] for n, v in logs.items()})

    verbose, lines = progress_lines()
    history = keras.callbacks.LambdaCallback(on_epoch_end=write_history)
    model.fit(
        inputs,
        validation_data=(validation,),
        batch_size=args.batch_size,
        epochs=args.epochs,
        verbose=verbose,
        callbacks=[checkpoint, history, *lines, *callbacks],
    )


def progress_lines():
    """How `fit` shows what it does: its `verbose` and callbacks; on a terminal by Keras' bar."""
    from keras_vae.callbacks import ProgressLines

    return (1, []) if sys.stdout.isatty() else (2, [ProgressLines()])
