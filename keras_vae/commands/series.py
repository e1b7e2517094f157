"""The commands on a `series_vae`: a model of a series trained, calibrated, measured and drawn."""

import itertools
import math
import pathlib

from keras_vae import arguments, progress
from keras_vae.commands import fitting
from keras_vae.commands.output import print_next, print_next_export
from keras_vae.commands.reporting import examine, report_evaluation
from keras_vae.commands.start import start_keras
from keras_vae.commands.train_arguments import flag, run_folder

# What `train` uses where an argument is left out, whatever the series.
DEFAULTS = {
    "hidden_units": (32, 64),
    "latent_dim": 8,
    "learning_rate": 2e-3,
    "batch_size": 64,
    "window": 64,
    "stride": 8,
}
# Steps of a training, and what it may take of epochs to get there.
STEPS = 2000
EPOCHS = (5, 100)
# The p-value of alarms, which a device may change.
FALSE_ALARMS = 0.01
COUNT = 16
PICTURES = ("learning_curves", "alarms", "scores", "reliability", "contributions", "samples")


def train(args):
    """Train a `series_vae`, calibrate it, and say how many alarms it gives."""
    run, series = prepare(args)
    start_keras(args.backend, purpose=f"{args.model} on {series.name}")
    model = train_in(run, args, series)
    report_evaluation(run, measure(model, series, args.batch_size))
    print_next("figures", run.folder)
    print_next("evaluate", run.folder, "--anomalies", "windows.json")
    print_next_export(run.folder)


def prepare(args):
    """Check all that can be checked without Keras: the run folder and the series of a training."""
    from keras_vae import data

    run = fitting.run_of(args, run_folder(args))
    told = fill_defaults(args)
    series = data.series(
        args.data,
        args.window,
        args.stride,
        args.channels or None,
        args.time,
        tuple(args.condition or ()),
    )
    if args.resume and run.config().get("series") != series.schema.get_config():
        raise ValueError(
            f"--resume needs the series that the run began with. Received: {series.name}, whose "
            "channels were others. Train into another --out."
        )
    windows = len(series.windows("train"))
    if args.epochs is None:
        fewest, many = EPOCHS
        args.epochs = min(many, max(fewest, round(STEPS * args.batch_size / windows)))
        told.append(f"--epochs {args.epochs}")
    if args.kl_warmup > args.epochs:
        raise ValueError(
            f"--kl-warmup must be at most --epochs, {args.epochs}. Received: {args.kl_warmup}"
        )
    fitting.check_is_unlocked(run)
    series.summary()
    steps = args.epochs * math.ceil(windows / args.batch_size)
    print(
        f"For {windows:,} windows, {steps:,} steps: {' '.join(told) or 'all as asked'}", flush=True
    )
    return run, series


def fill_defaults(args):
    """Set what was left out, and return what was chosen, as arguments."""
    chosen = []
    for name, value in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
            text = ",".join(map(str, value)) if isinstance(value, tuple) else value
            chosen.append(f"{flag(name)} {text}")
    if args.prior is None:
        args.prior = "standard_normal"
    return chosen


def train_in(run, args, series):
    """Train, or go on training, in a run folder, and return the calibrated model."""
    import keras

    import keras_vae

    fitting.seed_all(args.seed)
    kl_weight = args.kl_weight
    if args.kl_warmup:
        kl_weight = keras_vae.schedules.LinearWarmup(args.kl_warmup, end=kl_weight)
    model = keras_vae.series_vae(
        series.schema, args.latent_dim, args.hidden_units, kl_weight=kl_weight, seed=args.seed
    )
    steps = args.epochs * math.ceil(len(series.windows("train")) / args.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
    jit_compile = True if keras.backend.backend() == "torch" else "auto"
    model.compile(keras.optimizers.Adam(schedule), jit_compile=jit_compile)
    model.build()
    described = {"data_shape": list(model.data_shape), "series": series.schema.get_config()}
    with fitting.claimed(run, args, model, described):
        print(
            f"{type(model).__name__} with {model.count_params():,} parameters, "
            f"{keras.backend.backend()} backend",
            flush=True,
        )
        validation = series.test if len(series.windows("test")) else series.train
        fitting.fit(run, args, model, series.train, validation)
        calibrate(model, series)
    return model


def calibrate(model, series):
    """Give a model p-values by the calibration part, if that is long enough."""
    import keras_vae
    from keras_vae.calibration import least_examples

    rate = FALSE_ALARMS
    count, least = len(series.windows("calibration")), least_examples(rate)
    if count < least:
        print(
            f"No p-values: alarms at {rate:.0%} take {least} windows to calibrate by, and there "
            f"are {count}. Take a smaller --stride, or more data.",
            flush=True,
        )
        return
    detector = keras_vae.AnomalyDetector(model).calibrate(series.calibration, rate)
    thresholds = ", ".join(f"{t:.1f}" for t in detector.calibration.thresholds())
    print(
        f"Calibrated by {count:,} windows: alarms at {rate:.0%}, above {thresholds} nats",
        flush=True,
    )


def measure(model, series, batch_size):
    """What `train` reports: the loss and the alarms on the test part."""
    import keras_vae
    from keras_vae.evaluation import evaluate, evaluate_alarms, windows_of

    if not len(series.windows("test")):
        return {"left_out": {"evaluation": "the series has no test part"}}
    results = evaluate(model, series.test, batch_size, progress.bar("Evaluating"))
    if model.scoring.calibration is None:
        return results
    calibration = model.scoring.calibration
    windows = windows_of(keras_vae.AnomalyDetector(model), series)
    found = evaluate_alarms(windows, calibration.false_alarms)
    return {**results, "alarms": found}


# evaluate


def evaluate(args, run):
    """Measure a run's model on its test part, or its alarms over all of a series."""
    for name in ("scorecard", "target"):
        if getattr(args, name):
            raise ValueError(
                f"{flag(name)} needs a model of pictures, rows or music. Received: one of a "
                "series, whose alarms --anomalies measures."
            )
    if args.anomalies and not pathlib.Path(args.anomalies).is_file():
        raise FileNotFoundError(f"There must be a file of anomalies at {args.anomalies}.")
    series = run.dataset()
    start_keras(args.backend, purpose=f"{run.model_class()} of {run.folder}")
    import keras_vae
    from keras_vae.evaluation import evaluate_alarms, read_anomalies, report, windows_of

    anomalies = read_anomalies(args.anomalies) if args.anomalies else None
    model = run.load_model()
    test = report.first_of(series.test, args.examples)
    batch_size = run.config()["arguments"].get("batch_size") or 256
    print(f"Measuring {len(series.windows('test')):,} test windows", flush=True)
    counts = (*args.k, args.num_samples) if args.num_samples else args.k
    results = report.measure_all(model, test, counts, args.ais, progress.bar, batch_size)
    if model.scoring.calibration is not None:
        rate = model.scoring.calibration.false_alarms
        parts = ["train", "calibration", "test"] if anomalies else ["test"]
        detector = keras_vae.AnomalyDetector(model)
        results["alarms"] = evaluate_alarms(windows_of(detector, series, parts), rate, anomalies)
    if args.doctor:
        results["findings"] = examine(run, model, series.train, test)
    report_evaluation(run, results)
    print_next("figures", run.folder)


# sample


def sample(args, run, schema):
    """Draw windows from a run's model, in units."""
    import numpy as np

    from keras_vae import seeds
    from keras_vae.data import table_sources
    from keras_vae.storage.files import check_folder_can_be, write_atomically

    out = pathlib.Path(args.out or "windows.csv")
    if out.suffix not in (".csv", ".npy"):
        raise ValueError(
            f"--out must end with .csv or .npy for windows of a series. Received: {out}"
        )
    if args.label:
        raise ValueError("A model of a series takes no --label. Ask with --condition NAME=VALUE.")
    arguments.not_negative(args.temperature, "--temperature")
    check_folder_can_be(out.parent)
    count, seed = args.count or COUNT, seeds.given_or_drawn(args.seed)
    asked = dict(text.split("=", 1) for text in args.condition or () if "=" in text)
    if set(asked) != set(schema.conditions) or len(asked) != len(args.condition or ()):
        wanted = " ".join(f"--condition {name}=..." for name in schema.conditions) or "no condition"
        raise ValueError(f"Each condition must be asked for once: {wanted}.")
    start_keras(args.backend)
    model = run.load_model()
    given = (schema.encode_conditions(asked, count),) if asked else (count,)
    drawn = schema.decode(model.sample(*given, temperature=args.temperature, seed=seed))
    if out.suffix == ".npy":
        import io

        buffer = io.BytesIO()
        np.save(buffer, drawn)
        write_atomically(out, buffer.getvalue())
    else:
        window = np.repeat(np.arange(count), schema.window)
        step = np.tile(np.arange(schema.window), count)
        columns = dict(zip(schema.names, drawn.reshape(-1, len(schema.names)).T, strict=True))
        write_atomically(out, table_sources.as_csv({"window": window, "step": step, **columns}))
    print(f"{count:,} windows of {schema.window} steps and {len(schema.names)} channels")
    print(out)
    print_next_export(args.run)


# figures


def figures(args, run):
    """Draw a run's series, alarms, scores and samples."""
    if args.label is not None:
        raise ValueError("--label needs a model of pictures. Received: one of a series.")
    names = args.only.split(",") if args.only else list(PICTURES)
    if unknown := [name for name in names if name not in PICTURES]:
        raise ValueError(
            f"--only must name pictures, of {', '.join(PICTURES)}. Received: {unknown[0]}"
        )
    series = run.dataset()
    start_keras(args.backend)
    from keras_vae.figures import plots

    model, history = run.load_model(), run.history()
    drawn = {
        "learning_curves": lambda: plots.learning_curves(history, f"Training, {run.folder.name}")
    }
    drawn |= pictures_of(model, series)
    for name in names:
        if name in drawn:
            print(run.save_figure(name, drawn[name](), args.format), flush=True)
        else:
            print(f"Left out {name}: the model is not calibrated.")
    print_next_export(run.folder, model)


def pictures_of(model, series):
    """Dict from a picture's name to a function that draws it; without a calibration some lack."""
    import numpy as np

    import keras_vae
    from keras_vae.evaluation import windows_of
    from keras_vae.figures import series as draw

    schema, name = series.schema, pathlib.Path(series.name.strip("'")).name
    found = {}

    def draw_samples():
        rng = np.random.default_rng(0)
        real = series.windows("train")
        rows = rng.integers(len(real), size=30)
        given = (30,)
        if schema.conditions:
            given = ({k: series.train[k][rows] for k in schema.conditions},)
        drawn = schema.decode(model.sample(*given, seed=42))
        return draw.samples(schema, real[rows], drawn, f"Windows, {name}")

    found["samples"] = draw_samples
    if model.scoring.calibration is None:
        return found
    calibration = model.scoring.calibration
    parts = [p for p in ("train", "calibration", "test") if len(series.windows(p))]
    everything = windows_of(keras_vae.AnomalyDetector(model), series, parts)
    windows = np.concatenate([series.windows(part) for part in parts])
    sizes = np.cumsum([0, *(len(series.windows(part)) for part in parts)])
    spans = {p: slice(*ends) for p, ends in zip(parts, itertools.pairwise(sizes), strict=True)}

    def draw_contributions():
        worst = np.argsort(everything.p_values, kind="stable")
        chosen = np.sort(worst[:: max(1, len(worst) // 200)][:6])
        given = windows[chosen]
        inputs = schema.encode(given) if not schema.conditions else rows_of(series, parts, chosen)
        detector = keras_vae.AnomalyDetector(model)
        added = detector.contributions(inputs)
        reconstructed = schema.decode(model.reconstruct(inputs))
        titles = [f"p = {p:.3g}" for p in everything.p_values[chosen]]
        return draw.contributions(
            schema, given, reconstructed, added, titles, "What adds to the score (red)"
        )

    found["alarms"] = lambda: draw.alarms(
        schema,
        windows,
        everything,
        calibration.false_alarms,
        f"Alarms at {calibration.false_alarms:.0%}, {name}",
    )
    found["scores"] = lambda: draw.distribution(
        {part: everything.scores[spans[part]] for part in parts if part != "train"},
        calibration.thresholds(),
        f"Scores, {name}",
    )
    found["reliability"] = lambda: draw.reliability(
        {part: everything.p_values[spans[part]] for part in parts if part != "train"},
        f"p-values, {name}",
    )
    found["contributions"] = draw_contributions
    return found


def rows_of(series, parts, chosen):
    """What `fit` takes of some windows of all parts, one after the other."""
    import numpy as np

    names = ("x", *series.schema.conditions)
    joined = {n: np.concatenate([getattr(series, part)[n] for part in parts]) for n in names}
    return {name: values[chosen] for name, values in joined.items()}
