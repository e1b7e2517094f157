"""How close are drawn rows to real ones? Census rows, of income and sex on request.

`KERAS_BACKEND=torch python benchmarks/adult.py [EPOCHS]` reads `adult.csv` in the folder that
`KERAS_VAE_DATA` names (48,842 rows; the last 16,281 are for tests), trains on the others, draws as
many rows with their incomes and sexes, and prints

- the AUROC, on the test rows, of gradient boosting that learnt the income from drawn rows, and of
  one that learnt it from real ones;
- between drawn rows and test rows, the mean Kolmogorov-Smirnov distance of the numeric columns, and
  the mean total variation of the others, missing values aside;
- the seconds of CPU that fitting the model and drawing from it took.
"""

import collections
import os
import sys
import time

import keras
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import keras_vae
from keras_vae import data

TEST_ROWS = 16_281
CONDITIONS = ("income", "sex")
BATCH_SIZE = 500


def read():
    """The table, with the usual test rows."""
    path = os.path.join(os.environ.get("KERAS_VAE_DATA", ""), "adult.csv")
    _, rows = data.table_sources.read(path)
    train, test = (
        {name: values[part] for name, values in rows.items()}
        for part in (slice(None, -TEST_ROWS), slice(-TEST_ROWS, None))
    )
    return data.table(train, CONDITIONS, test=test)


def fit(table, epochs):
    """A model, trained, with a prior fitted to its codes."""
    keras.utils.set_random_seed(0)
    model = keras_vae.table_vae(table.schema, latent_dim=16, hidden_units=(256, 256), seed=0)
    steps = epochs * (len(table.train["x"]) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate))
    model.fit(table.train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    model.fit_prior(table.train, num_components=20, seed=0)
    return model


def auroc(table, x, labels):
    """Of gradient boosting that learnt `income` from rows, on the test rows."""
    kinds = [kind for kind, *_ in table.schema.blocks]
    categories = [n for n, kind in enumerate(kinds) if kind == "categorical"]

    def features(x, sex):
        return np.concatenate([x, np.asarray(sex)[:, None]], axis=1)

    judge = HistGradientBoostingClassifier(categorical_features=categories, random_state=0)
    judge.fit(features(x, labels["sex"]), labels["income"])
    scores = judge.predict_proba(features(table.test["x"], table.test["sex"]))[:, 1]
    return roc_auc_score(table.test["income"], scores)


def distances(drawn, real):
    """Mean distance of the numeric columns and of the others, of two dicts of columns."""
    numeric, named = [], []
    for name, values in real.items():
        if values.dtype == object:
            known = [[v for v in part if v is not None] for part in (drawn[name], values)]
            shares = [collections.Counter(part) for part in known]
            first, second = (
                np.array([share[value] / share.total() for value in shares[0] | shares[1]])
                for share in shares
            )
            named.append(np.abs(first - second).sum() / 2)
        else:
            known = [np.sort(part[~np.isnan(part)]) for part in (drawn[name], values)]
            places = np.concatenate(known)
            below = [np.searchsorted(part, places, "right") / len(part) for part in known]
            numeric.append(np.abs(below[0] - below[1]).max())
    return np.mean(numeric), np.mean(named)


def main(epochs=40):
    table = read()
    labels = {name: table.train[name] for name in CONDITIONS}
    start = time.process_time()
    model = fit(table, epochs)
    drawn = model.sample(labels, seed=1)
    seconds = time.process_time() - start
    ours, real = auroc(table, drawn, labels), auroc(table, table.train["x"], labels)
    ks, tv = distances(table.schema.decode(drawn), table.schema.decode(table.test["x"]))
    print(f"AUROC {ours:.4f}, of real rows {real:.4f}: {ours / real:.4f} of it")
    print(f"KS {ks:.4f}, TV {tv:.4f}; {seconds:.0f} s of CPU on {keras.backend.backend()}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
