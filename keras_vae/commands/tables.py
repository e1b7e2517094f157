"""The commands on a `table_vae`: a model of a table trained, measured, and asked for rows."""

import math
import pathlib

from keras_vae import arguments, progress
from keras_vae.commands import fitting
from keras_vae.commands.output import print_next, print_next_export
from keras_vae.commands.reporting import examine, name_asked, report_evaluation
from keras_vae.commands.start import start_keras
from keras_vae.commands.train_arguments import KINDS, check_prior, flag, run_folder

# What `train` uses where an argument is left out, whatever the rows.
DEFAULTS = {
    "hidden_units": (128, 128),
    "latent_dim": 8,
    "learning_rate": 4e-3,
    "prior": "fitted_mixture",
}
# Steps of a training, and what it may take of batches and epochs to get there.
STEPS = 10_000
BATCH_SIZES, EPOCHS = (32, 500), (5, 150)
# Gaussians of the prior, for so many rows each.
COMPONENTS, ROWS_OF_COMPONENT = 20, 10
# Rows that are shown, and characters of a line.
COUNT, WIDEST = 10, 100
# Training rows among which conditions that were not asked for are drawn, where others are numbers.
NEAREST = 100


# train


def train(args):
    """Train a `table_vae`, once its arguments and its table are checked."""
    run, table = prepare(args)
    start_keras(args.backend, purpose=f"{args.model} on {table.name}")
    model = train_in(run, args, table)
    report_evaluation(run, measure(model, table, args.batch_size))
    print_next("evaluate", run.folder, "--scorecard")
    print_next("figures", run.folder)
    print_next("sample", run.folder, *condition_asked(table), "--count", 1000, "--out", "rows.csv")
    print_next_export(run.folder)


def prepare(args):
    """Check all that can be checked without Keras: the run folder and the table of a training."""
    from keras_vae import data

    run = fitting.run_of(args, run_folder(args))
    table = data.table(args.data, args.condition, kinds_of(args.kinds), args.drop)
    check_is_same(run, args, table)
    chosen = fill_defaults(args, len(table.columns("train")[table.schema.names[0]]))
    fitting.check_is_unlocked(run)
    table.summary()
    print(chosen, flush=True)
    return run, table


def check_is_same(run, args, table):
    """See that a training goes on with the rows that it began with, as far as they are told."""
    if args.resume and (told := run.config().get("columns")) != columns_of(table):
        raise ValueError(
            f"--resume needs the table that the run began with. Received: {table.name}, whose "
            f"columns were {told}. Train into another --out."
        )


def columns_of(table):
    """What `config.json` says of a table's columns."""
    return {
        name: f"{type(kind).__name__.lower()}: {kind.describe()}"
        for name, kind in table.schema.columns.items()
    }


def kinds_of(texts):
    """The kinds that `--kinds` says, by the columns' names."""
    from keras_vae.data.table_schema import KINDS as OF_NAME

    found = {}
    for text in texts:
        name, _, kind = text.rpartition("=")
        if not name or kind not in KINDS:
            raise ValueError(
                f"--kinds must be NAME=KIND, of {', '.join(KINDS)}. Received: {text!r}."
            )
        found[name] = OF_NAME[kind.capitalize()]()
    return found


def fill_defaults(args, rows):
    """Set what was left out by the number of training rows.

    Returns:
        Str, a line that says what was chosen, and why.
    """
    least, most = BATCH_SIZES
    batch_size = args.batch_size or min(most, max(least, rows // 50))
    fewest, many = EPOCHS
    epochs = min(many, max(fewest, round(STEPS * batch_size / rows)))
    chosen = []
    for name, value in {**DEFAULTS, "batch_size": batch_size, "epochs": epochs}.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
            text = ",".join(map(str, value)) if isinstance(value, tuple) else value
            chosen.append(f"{flag(name)} {text}")
    check_prior(args)
    if args.kl_warmup > args.epochs:
        raise ValueError(
            f"--kl-warmup must be at most --epochs, {args.epochs}. Received: {args.kl_warmup}"
        )
    steps = args.epochs * math.ceil(rows / args.batch_size)
    return f"For {rows:,} rows, {steps:,} steps: {' '.join(chosen) or 'all as asked'}"


def train_in(run, args, table):
    """Train, or go on training, in a run folder, and return the model."""
    import keras

    fitting.seed_all(args.seed)
    model, rows = make_model(args, table), rows_of(table.train)
    # On PyTorch our networks can be traced, with the same results.
    jit_compile = True if keras.backend.backend() == "torch" else "auto"
    steps = args.epochs * math.ceil(rows / args.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
    model.compile(keras.optimizers.Adam(schedule), jit_compile=jit_compile)
    model.build()
    described = {"data_shape": list(model.data_shape), "columns": columns_of(table)}
    with fitting.claimed(run, args, model, described):
        print(
            f"{type(model).__name__} with {model.count_params():,} parameters, "
            f"{keras.backend.backend()} backend",
            flush=True,
        )
        fitting.fit(run, args, model, table.train, table.test)
        fit_prior(model, args, table, rows)
    return model


def make_model(args, table):
    """Build the model that the arguments describe."""
    import keras_vae
    from keras_vae.commands.build import make_prior

    kl_weight = args.kl_weight
    if args.kl_warmup:
        kl_weight = keras_vae.schedules.LinearWarmup(args.kl_warmup, end=kl_weight)
    return keras_vae.table_vae(
        table.schema,
        args.latent_dim,
        args.hidden_units,
        prior=make_prior(args),
        posterior=args.posterior,
        kl_weight=kl_weight,
        free_bits=args.free_bits,
        objective=args.objective,
        num_samples=args.num_samples,
        seed=args.seed,
    )


def fit_prior(model, args, table, rows):
    """Fit the prior to the trained model's codes, if the arguments ask for it."""
    kind = args.prior.removeprefix("fitted_")
    if kind == args.prior != "auto":
        return
    print("Fitting the prior to the codes", flush=True)
    most = min(COMPONENTS, max(2, rows // ROWS_OF_COMPONENT))
    count = most if kind == "mixture" else None
    # One for all: the code of a row is to say what its conditions do not.
    model.fit_prior(table.train, kind, per_class=False, num_components=count, seed=args.seed)


def rows_of(inputs):
    """How many rows there are of what `fit` takes."""
    return len(inputs["x"] if isinstance(inputs, dict) else inputs)


def condition_asked(table):
    """The arguments that ask for one value of the first condition, the last that it has."""
    for name in table.schema.conditions[:1]:
        kind = table.schema.columns[name]
        value = kind.names[-1] if hasattr(kind, "names") else f"{kind.bounds[1]:g}"
        return "--condition", f"{name}={value}"
    return ()


# evaluate


def evaluate(args, run, schema):
    """Measure a run's model on its test rows."""
    if args.target is not None and (not args.scorecard or args.target not in schema.columns):
        columns = ", ".join(schema.columns)
        raise ValueError(
            f"--target must be a column that --scorecard learns, of {columns}. Received: "
            f"{args.target}{'' if args.scorecard else ', without --scorecard'}."
        )
    table = run.dataset()
    start_keras(args.backend, purpose=f"{run.model_class()} of {run.folder}")
    from keras_vae.evaluation import evaluate_rows, judge_rows, report

    model = run.load_model()
    test = report.first_of(table.test, args.examples)
    batch_size = run.config()["arguments"].get("batch_size") or 256
    print(f"Measuring {rows_of(test):,} test rows", flush=True)
    counts = (*args.k, args.num_samples) if args.num_samples else args.k
    results = report.measure_all(model, test, counts, args.ais, progress.bar, batch_size)
    name_asked(results, args.num_samples)
    results["examples"] = rows_of(test)
    results["rows"] = evaluate_rows(model, test)
    if args.scorecard:
        results["scorecard"] = judge_rows(model, table.train, test, args.target, say=print)
    if args.doctor:
        findings = examine(run, model, table.train, test, results.get("scorecard"))
        results["findings"] = findings
    report_evaluation(run, results)
    print_next("figures", run.folder)


def measure(model, table, batch_size):
    """What `train` reports."""
    from keras_vae.evaluation import evaluate, evaluate_rows

    results = evaluate(model, table.test, batch_size, progress.bar("Evaluating"))
    return {**results, "rows": evaluate_rows(model, table.test)}


# sample


def sample(args, run, schema):
    """Draw rows from a run's model, in units."""
    import numpy as np

    from keras_vae import seeds
    from keras_vae.data import table_sources
    from keras_vae.storage.files import check_folder_can_be, write_atomically

    out = None if args.out is None else pathlib.Path(args.out)
    if out is not None and out.suffix != ".csv":
        raise ValueError(f"--out must end with .csv for rows of a table. Received: {out}")
    if args.label:
        raise ValueError("A model of a table takes no --label. Ask with --condition NAME=VALUE.")
    arguments.not_negative(args.temperature, "--temperature")
    if out is not None:
        check_folder_can_be(out.parent)
    count, seed = args.count or COUNT, seeds.given_or_drawn(args.seed)
    conditions = conditions_of(asked(args.condition, schema), run, schema, count, seed)
    encoded = schema.encode_conditions(conditions)
    start_keras(args.backend)
    given = (encoded,) if encoded else ()
    drawn = run.load_model().sample(*given, count=count, temperature=args.temperature, seed=seed)
    columns = {**schema.decode(drawn), **conditions}
    columns = {name: np.asarray(columns[name]) for name in schema.columns}
    if out is None:
        print(*shown(columns), sep="\n")
        return
    write_atomically(out, table_sources.as_csv(columns))
    print(f"{count:,} rows of {len(columns)} columns")
    print(out)
    print_next_export(args.run)


def asked(texts, schema):
    """The values that `--condition` asks for: a name, or a number in units, by condition."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or name not in schema.conditions:
            known = ", ".join(f"{name}=..." for name in schema.conditions)
            raise ValueError(
                "--condition must be a condition of the model and its value: "
                f"{known or 'this model has none'}. Received: {text!r}."
            )
        if name in found:
            raise ValueError(f"--condition must say one value of {name}. Received: two.")
        found[name] = value_of(value, schema.columns[name], name)
    return found


def value_of(text, kind, name):
    """A value of a kind of column as decoded rows have it: a name, or a number within its bounds.

    Raises:
        ValueError: If it is none.
    """
    from keras_vae.data.columns import numbers
    from keras_vae.data.errors import shortened

    if hasattr(kind, "names"):
        if text not in kind.names and not getattr(kind, "other", False):
            known = shortened(", ".join(kind.names))
            raise ValueError(f"--condition {name} must be one of {known}. Received: {text!r}.")
        return kind.decode(kind.encode([text]))[0]
    [number] = numbers([text], name).tolist()
    low, high = getattr(kind, "bounds", None) or (0, kind.most)
    if not low <= number <= high or (getattr(kind, "integer", True) and number % 1):
        raise ValueError(f"--condition {name} must be {kind.describe()}. Received: {text!r}.")
    return number


def conditions_of(found, run, schema, count, seed):
    """The conditions of so many rows: those asked for, and the others as training rows have them.

    Args:
        found: Dict as of `asked`.
        run: `Run`, whose data are read where something is left to draw.
        schema: `data.TableSchema`.
        count: Int.
        seed: Int.

    Returns:
        Dict of every condition's values in units, `(count,)`; {} without conditions.
    """
    import numpy as np

    from keras_vae import data, seeds

    rest = [name for name in schema.conditions if name not in found]
    drawn = {}
    if rest:
        try:
            table = run.dataset()
        except data.DataError as err:
            raise data.DataError(
                "Without the data every condition must be asked for: add --condition "
                f"{' --condition '.join(f'{name}=...' for name in rest)}. {err}"
            ) from err
        rows = alike(table, found, schema)
        rows = rows[seeds.generator(seed, "conditions").integers(len(rows), size=count)]
        drawn = {name: table.columns("train")[name][rows] for name in rest}
    same = {n: np.full(count, v, object if isinstance(v, str) else float) for n, v in found.items()}
    return {name: {**drawn, **same}[name] for name in schema.conditions}


def alike(table, found, schema):
    """Indices of training rows that have the names asked for, and are near to the numbers."""
    import numpy as np

    rows = np.arange(rows_of(table.train))
    kinds = sorted(found, key=lambda name: not hasattr(schema.columns[name], "names"))
    for name in kinds:
        values = table.train[name][rows].reshape(-1)
        distances = np.abs(values - schema.columns[name].encode([found[name]], name)[0])
        # All that have the name; where there are none, the names are drawn as if it were not asked.
        nearest = np.sort(distances)[:NEAREST][-1]
        is_label = hasattr(schema.columns[name], "names")
        near = distances == 0 if is_label else distances <= nearest
        rows = rows[near] if near.any() else rows
    return rows


def shown(columns):
    """Lines of a table of the first rows, and of as many columns as have room."""
    from keras_vae.data.table_sources import as_texts

    cells = [[name, *as_texts(values[:COUNT])] for name, values in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    room = 0
    while room < len(cells) and sum(widths[: room + 1]) + 2 * room <= WIDEST:
        room += 1
    room = max(room, 1)
    for row in zip(*cells[:room], strict=True):
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=False))
    left = {"columns": len(cells) - room, "rows": len(next(iter(columns.values()))) - COUNT}
    if more := [f"{count:,} more {what}" for what, count in left.items() if count > 0]:
        yield f"and {' and '.join(more)}; --out rows.csv writes all"
