"""Train a model and write a run folder."""

import sys

from keras_vae.commands import sequences, series, tables
from keras_vae.commands.build import make_model, make_optimizer
from keras_vae.commands.evaluate import measure
from keras_vae.commands.fitting import (
    check_is_unlocked,
    claimed,
    fit,
    progress_lines,
    run_of,
    seed_all,
)
from keras_vae.commands.output import print_next, print_next_export
from keras_vae.commands.reporting import report_evaluation
from keras_vae.commands.sample import sample_asked
from keras_vae.commands.start import start_keras
from keras_vae.commands.train_arguments import (
    add_arguments,
    check_labels,
    check_numbers,
    check_options,
    check_source,
    run_folder,
)
from keras_vae.commands.train_defaults import fill_defaults

__all__ = ["add_arguments", "main"]


def main(args):
    """Train on one device or several, and return the exit status."""
    from keras_vae.commands import launch

    check_options(args)
    check_source(args)
    if args.model == "sequence_vae":
        return sequences.train(args)
    if args.model == "table_vae":
        return tables.train(args)
    if args.model == "series_vae":
        return series.train(args)
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
    from keras_vae import data
    from keras_vae.commands import launch

    folder = run_folder(args)
    run = run_of(args, launch.writable_folder(folder) if args.devices > 1 else folder)
    if data.needs_keras(args.data):
        start_keras(args.backend, args.devices, f"{args.data} by keras.datasets")
    options = data.options_of(vars(args))
    others = [name for name in args.condition if name != "label"]
    if args.resume:
        dataset = run.dataset(args.data)
    else:
        groups = args.model in ("conditional_vae", "vq_vae") and not args.flat
        dataset = data.load(args.data, conditions=others, groups=groups, **options)
    check_labels(args, dataset)
    check_numbers(args, dataset)
    chosen = fill_defaults(args, dataset)
    check_is_unlocked(run)
    if not launch.is_one_of_several():
        print(chosen, flush=True)
    return run, dataset


def train_here(args, run, dataset):
    model = train_in(run, args, dataset)
    results = measure(model, dataset, args.batch_size)
    report_evaluation(run, results)
    print_next("figures", run.folder)
    words = sample_asked(model)
    count = () if "--condition" in words else ("--count", 16)
    print_next("sample", run.folder, *words, *count, "--seed", 42)
    print_next_export(run.folder, model)


def train_in(run, args, dataset):
    """Train, or go on training, in a run folder, and return the model."""
    import keras

    from keras_vae.callbacks import Checkpoint
    from keras_vae.models.capabilities import DiscreteCodes

    seed_all(args.seed)
    model = make_model(args, dataset)
    # On PyTorch our networks can be traced, with the same results.
    jit_compile = True if keras.backend.backend() == "torch" else "auto"
    model.compile(make_optimizer(args, dataset), jit_compile=jit_compile)
    model.build()
    described = {
        "data_shape": list(dataset.x_train.shape[1:]),
        "class_names": list(dataset.class_names),
    }
    if dataset.conditions:
        described["conditions"] = {
            name: given.names and list(given.names) for name, given in dataset.conditions.items()
        }
    with claimed(run, args, model, described):
        print(
            f"{type(model).__name__} with {model.count_params():,} parameters on {dataset.name}: "
            f"{len(dataset.x_train):,} training and {len(dataset.x_test):,} test images, "
            f"{keras.backend.backend()} backend",
            flush=True,
        )
        fit(
            run,
            args,
            model,
            dataset.inputs("train", model.condition),
            dataset.inputs("test", model.condition),
            [sample_gif(run, model, dataset)] if args.gif else [],
        )
        calibrate_classifier(model, dataset)
        if isinstance(model, DiscreteCodes):
            print("Training the prior over the codes", flush=True)
            verbose, lines = progress_lines()
            model.prior.compile(make_optimizer(args, dataset, args.prior_epochs))
            model.fit_prior(
                {"x": dataset.x_train, "label": dataset.y_train},
                batch_size=args.batch_size,
                epochs=args.prior_epochs or args.epochs,
                verbose=verbose,
                callbacks=[
                    Checkpoint(run.checkpoints / "prior", args.save_every, delete=False),
                    *lines,
                ],
            )
        described |= fit_prior(run, model, args, dataset)
    return model


def calibrate_classifier(model, dataset):
    """Calibrate the classifier of a model that has one by the test images, and say how it does."""
    import numpy as np

    from keras_vae.models.capabilities import Classifies

    if not (isinstance(model, Classifies) and model.infers_labels):
        return
    [found] = model.calibrate_classifier({"x": dataset.x_test, "label": dataset.y_test}).values()
    wrong = np.argmax(model.classify(dataset.x_test), axis=-1) != dataset.y_test
    print(
        f"The classifier names another class for {wrong.mean():.1%} of {len(wrong):,} test images; "
        f"its probabilities are calibrated by them, at a temperature of {found:.2f}",
        flush=True,
    )


def fit_prior(run, model, args, dataset):
    """Fit the prior to the trained model's codes, if the arguments ask for it.

    Returns:
        Dict of what `config.json` is to say of it.
    """
    if args.prior == "auto":
        return keep_best_prior(run, model, args, dataset)
    fitted, _, kind = args.prior.partition("fitted_")
    if kind and not fitted:
        print("Fitting the prior to the codes", flush=True)
        model.fit_prior(dataset.inputs("train", model.condition), kind, seed=args.seed)
    return {}


def keep_best_prior(run, model, args, dataset):
    """Give the model the prior that makes the best samples, and say by which figures."""
    from keras_vae.evaluation import choose_prior, classifier

    print(
        f"Choosing the prior by {len(dataset.x_test):,} held-out images (--prior standard_normal "
        "leaves it as trained)",
        flush=True,
    )
    verbose = 2 if sys.stdout.isatty() else 0

    def kept_classifier():
        return classifier.kept_classifier(run, dataset, print, verbose)

    return {"prior_choice": choose_prior(model, dataset, kept_classifier, args.seed, print)}


def sample_gif(run, model, dataset):
    """What draws a training: samples, of each class in turn, or else reconstructions."""
    import numpy as np

    from keras_vae.callbacks import SampleGif
    from keras_vae.models.capabilities import DiscreteCodes, Samples

    run.figures.mkdir(parents=True, exist_ok=True)
    path = run.figures / "training.gif"
    if isinstance(model, Samples) and not isinstance(model, DiscreteCodes):
        if not model.condition:
            return SampleGif(path, 50, columns=10)
        given = dataset.inputs("test", model.condition, np.arange(50) % len(dataset.x_test))
        given["label"] = [index % len(dataset.class_names) for index in range(50)]
        return SampleGif(path, {name: given[name] for name in model.condition}, columns=10)
    return SampleGif(path, inputs=dataset.x_test[:50], columns=10)
