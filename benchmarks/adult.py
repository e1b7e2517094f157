"""How close are drawn rows to real ones? Census rows, of ours and of ctgan's models.

    KERAS_BACKEND=torch python benchmarks/adult.py
    KERAS_BACKEND=torch python benchmarks/adult.py --missing 0.2
    KERAS_BACKEND=torch python benchmarks/adult.py --model tvae --cpu-seconds 80
    KERAS_BACKEND=torch python benchmarks/adult.py --model tvae --epochs 300

It reads `adult.csv` in the folder that `KERAS_VAE_DATA` names (48,842 rows; the last 16,281 are for
tests), trains on the others, draws as many rows, ours with their incomes and sexes, and prints, as
JSON:

- `synthetic_training_auroc`: on the test rows, of gradient boosting that learnt the income from
  drawn rows; `real_training_auroc`, from real ones; `synthetic_of_real`. Bound: above 0.975.
- `numeric_distance`, `name_distance`: between drawn rows and test rows, the mean Kolmogorov-Smirnov
  distance of the numeric columns, and the mean total variation of the others but income and sex,
  missing values aside. Bounds: at most 0.03. `association_distance`: of pairs of columns.
- `copies`: whether drawn rows are training rows.
- `fit_and_draw_cpu_seconds`, of fitting the model, and its prior, and of drawing from it.
- `imputation`, with `--missing`, the share of cells that are removed before training: of a
  fifth of the test rows' cells, the errors over those of the mean and of the most frequent name;
  and `boosted`, those of gradient boosting that learns one column of numbers from all others:
  about what the others tell of it.

ctgan's models (`pip install ctgan`) have their own defaults; with `--cpu-seconds` they stop after
the epoch in which they have had so many.
"""

import argparse
import os
import time

import keras
import numpy as np
import receipts

import keras_vae
from keras_vae import data
from keras_vae.evaluation import table_scorecard, tables

TEST_ROWS = 16_281
CONDITIONS = ("income", "sex")
BATCH_SIZE, EPOCHS = 500, 150
RIVAL_EPOCHS = 300
# Share of the test rows' cells that are filled in.
GAPS = 0.2


def read():
    """The table, with the usual test rows."""
    path = os.path.join(os.environ.get("KERAS_VAE_DATA", ""), "adult.csv")
    _, rows = data.table_sources.read(path)
    train, test = (
        {name: values[part] for name, values in rows.items()}
        for part in (slice(None, -TEST_ROWS), slice(-TEST_ROWS, None))
    )
    return data.table(train, CONDITIONS, test=test)


def with_gaps(rows, share, seed):
    """Rows as `fit` takes them, of which a share of the cells of `x` is missing."""
    gaps = np.random.default_rng(seed).random(rows["x"].shape) < share
    return {**rows, "x": np.where(gaps, np.nan, rows["x"]).astype("float32")}


def fit(schema, rows, epochs, seed):
    """A model, trained, with a prior fitted to its codes, as `train` does it."""
    keras.utils.set_random_seed(seed)
    model = keras_vae.table_vae(schema, seed=seed)
    steps = epochs * -(-len(rows["x"]) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(4e-3, steps)
    jit_compile = True if keras.backend.backend() == "torch" else "auto"
    model.compile(keras.optimizers.Adam(rate), jit_compile=jit_compile)
    model.fit(rows, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    model.fit_prior(rows, per_class=False, num_components=20, seed=seed)
    return model


def drawn_by_rival(kind, table, epochs, cpu_seconds, seed):
    """Rows that one of ctgan's models draws, in units, and the epochs that it had."""
    import ctgan
    import pandas as pd
    import torch
    from ctgan.synthesizers import ctgan as ctgan_module
    from ctgan.synthesizers import tvae as tvae_module

    started, had = time.process_time(), []

    def epochs_in_time(numbers, **kwargs):
        for number in numbers:
            if cpu_seconds and time.process_time() - started > cpu_seconds:
                return
            had.append(number)
            yield number

    ctgan_module.tqdm = tvae_module.tqdm = epochs_in_time
    torch.manual_seed(seed)
    np.random.seed(seed)
    frame = pd.DataFrame(table.columns("train"))
    names = [n for n, column in table.schema.columns.items() if hasattr(column, "names")]
    frame[names] = frame[names].fillna("?")
    # ctgan rounds what is drawn of whole numbers.
    whole = [n for n, column in table.schema.columns.items() if getattr(column, "integer", False)]
    frame = frame.astype(dict.fromkeys(whole, int))
    model = {"tvae": ctgan.TVAE, "ctgan": ctgan.CTGAN}[kind](epochs=epochs)
    model.fit(frame, names)
    rows = model.sample(len(frame))
    return {n: rows[n].replace("?", None).to_numpy() for n in table.schema.columns}, len(had)


def boosted(train, gappy, at):
    """A column of rows with gaps, by gradient boosting from all other columns."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    def others(rows):
        given = [rows[name].reshape(-1, 1) for name in CONDITIONS]
        return np.concatenate([np.delete(rows["x"], at, axis=1), *given], axis=1)

    known = ~np.isnan(train["x"][:, at])
    learner = HistGradientBoostingRegressor(max_iter=150, learning_rate=0.08, random_state=0)
    learner.fit(others(train)[known], train["x"][known, at])
    return learner.predict(others(gappy))


def imputation(model, train, rows, seed):
    """Errors of what `impute` fills in, over those of the mean and the most frequent name."""
    gappy = with_gaps(rows, GAPS, seed + 1)
    filled, known = model.impute(gappy), ~np.isnan(rows["x"])
    removed = known & np.isnan(gappy["x"])
    ratios = {"numbers": {}, "names": {}, "boosted": {}}
    for at, name in enumerate(model.schema.names):
        real, made = rows["x"][removed[:, at], at], filled[removed[:, at], at]
        rest = gappy["x"][~np.isnan(gappy["x"][:, at]), at]
        if hasattr(model.schema.columns[name], "names"):
            most = np.bincount(rest.astype(int)).argmax()
            ratios["names"][name] = float(np.mean(made != real) / np.mean(most != real))
        else:
            learnt = boosted(train, gappy, at)[removed[:, at]]
            for kind, found in (("numbers", made), ("boosted", learnt)):
                error = np.mean((found - real) ** 2) / np.mean((rest.mean() - real) ** 2)
                ratios[kind][name] = float(np.sqrt(error))
    means = {f"mean_of_{kind}": float(np.mean(list(of.values()))) for kind, of in ratios.items()}
    return {**means, **ratios}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=("table_vae", "tvae", "ctgan"), default="table_vae")
    parser.add_argument("--epochs", type=int, help="default: 150, of ctgan's 300")
    parser.add_argument("--cpu-seconds", type=float, help="of ctgan's models (default: no end)")
    parser.add_argument("--missing", type=float, default=0.0, help="share of cells (default: 0)")
    parser.add_argument("--seed", type=int, default=0)
    receipts.add_option(parser)
    args = parser.parse_args()
    table = read()
    schema, result = table.schema, {}
    rows = with_gaps(table.train, args.missing, args.seed) if args.missing else table.train
    start = time.process_time()
    if args.model == "table_vae":
        model = fit(schema, rows, args.epochs or EPOCHS, args.seed)
        drawn = tables.draw_rows(model, table.train, seed=1)
    else:
        epochs = args.epochs or RIVAL_EPOCHS
        units, had = drawn_by_rival(args.model, table, epochs, args.cpu_seconds, args.seed)
        drawn, result["epochs"] = schema.encode(units), had
    result["fit_and_draw_cpu_seconds"] = round(time.process_time() - start, 1)
    parts = [tables.matrix(schema, part) for part in (drawn, table.train, table.test)]
    result |= table_scorecard.learnt_from(schema, *parts, "income")
    result |= tables.compare(schema, parts[0], parts[2])
    result["copies"] = table_scorecard.copies(schema, *parts)
    if args.missing:
        result["imputation"] = imputation(model, rows, table.test, args.seed)
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
