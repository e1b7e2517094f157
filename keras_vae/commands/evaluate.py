"""Measure a run's model on its test data."""

import sys

from keras_vae import backends, progress
from keras_vae.commands import sequences, series, tables
from keras_vae.commands.argument_types import ints, non_negative_int, positive_int
from keras_vae.commands.output import print_next
from keras_vae.commands.reporting import examine, name_asked, report_evaluation
from keras_vae.commands.sample import sample_conditions
from keras_vae.commands.start import start_keras
from keras_vae.progress import about

# What models lack, by their classes' names.
WITHOUT_LIKELIHOOD = ("Autoencoder", "VQVAE", "GAN", "ConditionalGAN")
AIS_PACKAGES = ("tensorflow", "tensorflow_probability", "tf_keras")


def add_arguments(parser):
    parser.add_argument("run", help="run folder")
    parser.add_argument(
        "--num-samples",
        type=non_negative_int,
        default=0,
        help="also estimate the log-likelihood with this many importance samples",
    )
    parser.add_argument(
        "--k",
        type=ints,
        default=(),
        metavar="K,K,...",
        help="also estimate it with each of these numbers of importance samples, in one pass",
    )
    parser.add_argument(
        "--ais",
        action="store_true",
        help="also bound it by annealed importance sampling, on the first 100 test examples; "
        'minutes, needs "keras-vae[tfp]"',
    )
    parser.add_argument(
        "--scorecard",
        action="store_true",
        help="also judge samples by a classifier of real images, minutes; rows of a table by what "
        "can be learnt of them and by how near they are to training rows, seconds",
    )
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="column that --scorecard learns of a table (default: the first condition, else the "
        "last column)",
    )
    parser.add_argument(
        "--doctor", action="store_true", help="also say in plain words what went wrong in training"
    )
    parser.add_argument(
        "--anomalies",
        metavar="FILE",
        help="JSON file of pairs of times, the known anomalies of a series: alarms are measured by "
        "them, over all parts",
    )
    parser.add_argument("--examples", type=positive_int, help="use the first so many test examples")


def main(args):
    from keras_vae import data
    from keras_vae.storage.runs import Run

    run = Run(args.run)
    kind = run.model_class()
    if args.num_samples and kind in WITHOUT_LIKELIHOOD:
        raise ValueError(
            f"--num-samples needs a VAE, which has a likelihood of the data. Received: a {kind}."
        )
    if args.ais and (missing := [p for p in AIS_PACKAGES if not backends.is_installed(p)]):
        raise ImportError(
            f"--ais needs TensorFlow Probability on TensorFlow. Received: no {', '.join(missing)}. "
            f"Install it with: {backends.install('tfp')}"
        )
    if kind == "SequenceVAE":
        return sequences.evaluate(args, run)
    if run.series_schema() is not None:
        return series.evaluate(args, run)
    if args.anomalies:
        raise ValueError(f"--anomalies needs a model of a series. Received: {kind}.")
    if (schema := run.table_schema()) is not None:
        return tables.evaluate(args, run, schema)
    if args.target:
        raise ValueError(f"--target needs a model of a table. Received: {kind}. Leave it out.")
    if data.needs_keras(source := run.config()["arguments"]["data"]):
        start_keras(args.backend, purpose=f"{source} by keras.datasets")
    dataset = run.dataset()
    start_keras(args.backend, purpose=f"{kind} of {run.folder}")
    from keras_vae.evaluation import report

    model = run.load_model()
    x, y = dataset.x_test[: args.examples], dataset.y_test[: args.examples]
    if args.examples and args.examples > len(x):
        print(f"All {len(x):,} test images, fewer than the {args.examples:,} asked for")
    counts = (*args.k, args.num_samples) if args.num_samples else args.k
    inputs = dataset.inputs("test", model.condition, slice(0, args.examples))
    for line in plan(args, model, dataset, inputs, counts):
        print(line, flush=True)
    # In batches as in training, whose last line then has the same numbers.
    batch_size = run.config()["arguments"].get("batch_size") or 256
    results = report.measure_all(model, inputs, counts, args.ais, progress.bar, batch_size)
    results |= measure_prior(model, x, y)
    name_asked(results, args.num_samples)
    results["examples"] = len(x)
    if args.scorecard:
        results["scorecard"] = judge(run, model, dataset)
    if args.doctor:
        splits = [dataset.inputs(part, model.condition) for part in ("train", "test")]
        results["findings"] = examine(run, model, *splits, results.get("scorecard"))
    report_evaluation(run, results)
    print_next("figures", run.folder)


def plan(args, model, dataset, inputs, counts):
    """Yield lines that say what `evaluate` will do, and about how long its long parts take."""
    from keras_vae.evaluation import report
    from keras_vae.evaluation.scorecard import samples_per_class, seconds_of_classifiers
    from keras_vae.models.capabilities import Bounds

    images = len(inputs["x"] if isinstance(inputs, dict) else inputs)
    yield f"Measuring {images:,} test images"
    if (counts or args.ais) and isinstance(model, Bounds):
        seconds = report.seconds_of_code(model, inputs)
        if counts:
            of_all = seconds * max(counts) * images
            yield f"  log p(x) by up to {max(counts):,} importance samples: {about(of_all)}"
        if args.ais:
            annealed = min(images, report.ANNEALED_EXAMPLES)
            of_all = seconds * report.CODES_OF_ANNEALED * annealed
            yield f"  the same of {annealed} images by annealing: {about(of_all)}"
    if args.scorecard and set(sample_conditions(model)) == {"label"}:
        samples = samples_per_class(model) * len(dataset.class_names)
        of_all = seconds_of_classifiers(dataset, samples)
        yield f"  samples judged by classifiers of images and of samples: {about(of_all)}"


def measure(model, dataset, batch_size):
    """Evaluate on the test images with a progress bar."""
    from keras_vae.evaluation import evaluate

    inputs = dataset.inputs("test", model.condition)
    results = evaluate(model, inputs, batch_size, progress.bar("Evaluating"))
    return {**results, **measure_prior(model, dataset.x_test, dataset.y_test)}


def measure_prior(model, x, y):
    """The loss of a VQ-VAE's prior over the codes, where there is one."""
    from keras_vae.models.capabilities import DiscreteCodes

    if not isinstance(model, DiscreteCodes) or model.prior is None:
        return {}
    codes = {"codes": model.encode(model.as_observed(x, seed=0)), "label": y}
    return {"prior_loss": -float(model.prior.log_likelihood(codes).mean())}


def judge(run, model, dataset):
    """The scorecard, by the classifier that the run keeps."""
    from keras_vae.evaluation import classifier, report

    if len(dataset.class_names) < 2:
        return {"left_out": {"scorecard": "the data are of one class"}}
    if set(sample_conditions(model)) != {"label"}:
        if dataset.conditions and set(sample_conditions(model)) == set(model.condition):
            return {"obedience": obeyed(model, dataset)}
        why = "no label alone to ask for" if model.condition else "no label to ask for"
        return {"left_out": {"scorecard": f"{type(model).__name__} has {why}"}}
    verbose = 1 if sys.stdout.isatty() else 2
    kept = classifier.kept_classifier(run, dataset, print, verbose)
    return report.judge(model, dataset, classifier=kept, say=print, verbose=verbose)


def obeyed(model, dataset):
    """How far samples obey each condition of a model of several; prints a line for each."""
    from keras_vae.evaluation import obedience

    found = obedience(model, dataset, say=print, verbose=1 if sys.stdout.isatty() else 2)
    for name, told in found.items():
        print(f"{name}: {of_condition(told, model.condition[name])}", flush=True)
    return found


def of_condition(told, kind):
    """Words for what `evaluation.obedience` says of a condition."""
    moves = f"it explains {told['variance_explained']:.0%} of the variance of samples"
    if "leakage" in told:
        read = f"{told['leakage']:.0%} of {'its variance' if 'error' in told else 'it'}"
        moves += f"; a linear model reads {read} from codes"
        moves += f" ({told['leakage_by_chance']:.0%} by chance)"
    if "accuracy" in told:
        return (
            f"{told['accuracy']:.1%} of samples are of the asked class (real images: "
            f"{told['real_accuracy']:.1%}); {moves}"
        )
    if "error" in told:
        unit = f" {kind.unit}" if kind.unit else ""
        return (
            f"{told['error']:.3g}{unit} from what was asked (read of real images: "
            f"{told['real_error']:.3g}), correlation {told['correlation']:.2f}; {moves}"
        )
    shares = ", ".join(f"{tag} {share:.0%}" for tag, share in told["precision"].items())
    return f"seen where asked for: {shares}; {moves}"
