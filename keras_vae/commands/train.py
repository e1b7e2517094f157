"""Train a model and write a run folder."""

import random
import sys
import time

from keras_vae.commands.build import make_model, make_optimizer
from keras_vae.commands.evaluate import measure, model_inputs, report_evaluation
from keras_vae.commands.output import command_line, print_next, print_next_export
from keras_vae.commands.sample import sample_label
from keras_vae.commands.start import start_keras
from keras_vae.commands.train_arguments import (
    add_arguments,
    check_options,
    fill_defaults,
    no_interrupted_run,
    run_folder,
)

__all__ = ["add_arguments", "main"]

# What is in the parsed arguments and in no `config.json`.
NOT_ARGUMENTS = ("command", "argv", "traceback")


def main(args):
    """Train on one device or several, and return the exit status."""
    from keras_vae.commands import launch

    run, dataset = prepare(args)
    several = launch.is_one_of_several()
    start_keras(args.backend, args.devices, None if several else f"{args.model} on {dataset.name}")
    from keras_vae import training

    if args.devices == 1:
        return train_here(args, run, dataset)
    if not several:
        there = len(training.find_devices())
        if args.devices > there:
            raise ValueError(
                f"--devices must be at most {there}, as many as there are here. Received: "
                f"{args.devices}."
            )
        if training.needs_processes:
            del dataset  # they read it themselves
            return launch.run(args.devices, args.argv)
    with training.on_devices(args.devices):
        return train_here(args, run, dataset)


def prepare(args):
    """Check all that can be checked without Keras: the run folder and the data of a training."""
    check_options(args)
    from keras_vae import data
    from keras_vae.commands import launch
    from keras_vae.storage.files import check_folder_can_be, locked
    from keras_vae.storage.runs import Run

    args.out = str(run_folder(args))
    run = Run(launch.writable_folder(args.out) if args.devices > 1 else args.out)
    check_folder(run, args)
    check_folder_can_be(run.folder)
    if data.needs_keras(args.data):
        start_keras(args.backend, args.devices, f"{args.data} by keras.datasets")
    dataset = run.dataset(args.data) if args.resume else data.load(args.data)
    fill_defaults(args, dataset)
    with locked(run.folder):  # nobody else trains there
        pass
    return run, dataset


def train_here(args, run, dataset):
    from keras_vae.storage.files import locked

    with locked(run.folder):
        check_folder(run, args)
        if args.overwrite and not args.resume:
            run.delete_checkpoints()
        model = train_in(run, args, dataset)
    results = measure(model, dataset.x_test, dataset.y_test, args.batch_size)
    report_evaluation(run, results)
    print_next("figures", run.folder)
    print_next("sample", run.folder, *sample_label(model), "--count", 16, "--seed", 42)
    print_next_export(run.folder)


def train_in(run, args, dataset):
    """Train, or go on training, in a folder that is ours, and return the model."""
    import keras
    import numpy as np

    from keras_vae.callbacks import Checkpoint, ProgressLines
    from keras_vae.models.capabilities import DiscreteCodes
    from keras_vae.storage.runs import now, versions

    random.seed(args.seed)  # Keras' initializers take their seeds from here
    np.random.seed(args.seed)
    model = make_model(args, dataset)
    # On PyTorch our networks can be traced, with the same results.
    jit_compile = True if keras.backend.backend() == "torch" else "auto"
    model.compile(make_optimizer(args, dataset), jit_compile=jit_compile)
    model.build()
    config = {
        "arguments": {k: v for k, v in vars(args).items() if k not in NOT_ARGUMENTS},
        "started": now(),
        "backend": keras.backend.backend(),
        "data_shape": list(dataset.x_train.shape[1:]),
        "class_names": list(dataset.class_names),
        "parameters": model.count_params(),
        "versions": versions(),
    }
    run.write_json(run.config_path, config)
    print(
        f"{type(model).__name__} with {model.count_params():,} parameters on {dataset.name}: "
        f"{len(dataset.x_train):,} training and {len(dataset.x_test):,} test images, "
        f"{keras.backend.backend()} backend",
        flush=True,
    )
    start = time.perf_counter()
    checkpoint = Checkpoint(run.checkpoints, args.save_every, delete=False)

    def write_history(epoch, logs):
        run.write_history({n: [*checkpoint.history.get(n, []), v] for n, v in logs.items()})

    shows_bar = sys.stdout.isatty()  # Keras' bar
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=write_history)]
    if not shows_bar:
        callbacks.append(ProgressLines())
    if args.gif:
        callbacks.append(sample_gif(run, model, dataset))
    verbose = 1 if shows_bar else 2
    try:
        model.fit(
            model_inputs(model, dataset.x_train, dataset.y_train),
            validation_data=(model_inputs(model, dataset.x_test, dataset.y_test),),
            batch_size=args.batch_size,
            epochs=args.epochs,
            verbose=verbose,
            callbacks=[checkpoint, *callbacks],
        )
        if isinstance(model, DiscreteCodes):
            print("Training the prior over the codes", flush=True)
            model.fit_prior(
                {"x": dataset.x_train, "label": dataset.y_train},
                batch_size=args.batch_size,
                epochs=args.prior_epochs or args.epochs,
                verbose=verbose,
                callbacks=[
                    Checkpoint(run.checkpoints / "prior", args.save_every, delete=False),
                    *([] if shows_bar else [ProgressLines()]),
                ],
            )
    except KeyboardInterrupt:
        run.save_model(model)
        again = command_line("train", "--resume", "--out", args.out)
        print(f"\nStopped. The model so far is in {run.folder}. Go on with:\n  {again}")
        raise
    fit_prior(model, args, dataset)
    run.save_model(model)
    seconds = time.perf_counter() - start
    run.write_json(run.config_path, {**config, "finished": now(), "seconds": round(seconds, 1)})
    run.delete_checkpoints()
    return model


def check_folder(run, args):
    """See that nothing in a run folder is lost, and that what is resumed is there."""
    if args.resume:
        if not run.saved_states():
            raise FileNotFoundError(no_interrupted_run(run.folder))
    elif not args.overwrite:
        run.check_is_free()


def fit_prior(model, args, dataset):
    """Fit the prior to the trained model's codes, if the arguments ask for it."""
    fitted, _, kind = args.prior.partition("fitted_")
    if kind and not fitted:
        print("Fitting the prior to the codes", flush=True)
        inputs = model_inputs(model, dataset.x_train, dataset.y_train)
        model.fit_prior(inputs, kind, seed=args.seed)


def sample_gif(run, model, dataset):
    """What draws a training: samples, of each class in turn, or else reconstructions."""
    from keras_vae.callbacks import SampleGif
    from keras_vae.models.capabilities import DiscreteCodes, Samples

    run.figures.mkdir(parents=True, exist_ok=True)
    path = run.figures / "training.gif"
    if isinstance(model, Samples) and not isinstance(model, DiscreteCodes):
        labels = [index % len(dataset.class_names) for index in range(50)]
        return SampleGif(path, {"label": labels} if model.condition else 50, columns=10)
    return SampleGif(path, inputs=dataset.x_test[:50], columns=10)
