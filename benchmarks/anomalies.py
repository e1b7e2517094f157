"""How good are scores and p-values: against PyOD and scikit-learn, and against what is asked.

    KERAS_BACKEND=torch python benchmarks/anomalies.py rivals [--skab FOLDER] [--sets skab]
    KERAS_BACKEND=torch python benchmarks/anomalies.py one_class [--digits 0123456789]
    KERAS_BACKEND=torch python benchmarks/anomalies.py calibration
    KERAS_BACKEND=tensorflow python benchmarks/anomalies.py rounded
    KERAS_BACKEND=torch python benchmarks/anomalies.py tails
    KERAS_BACKEND=torch python benchmarks/anomalies.py simple [--pictures cifar10 other.npz]

It prints JSON:

- `rivals`: AUROC of our detector, of PyOD's isolation forest, LOF, AutoEncoder and VAE at their
  defaults (`pip install pyod`), and of scikit-learn's PCA by its reconstruction error with 90 % of
  the variance, on public sets, means over `--seeds`, three. Training data are normal alone,
  standardised. `breast_cancer`, scikit-learn's (UCI): benign tumours are normal, half of them to
  train with. `digits`, scikit-learn's (UCI): each digit in turn is normal, two thirds to train
  with. With `--skab`, a clone of github.com/waico/SKAB: windows of 16 steps of its eight sensors,
  trained on the first 400 steps of each of its valve experiments, as its authors do.
- `one_class`: MNIST, of `KERAS_VAE_DATA`: trained on one digit's training images with noise, AUROC
  over all test images, of each digit and their mean, by score; and a default VAE's bare ELBO.
- `calibration`: a `ConditionalVAE` of MNIST, over 20 splits of 30,000 images that it has not seen:
  the share in alarm at 1 % and 5 %, overall and the least and the largest of a class; and the
  Kolmogorov-Smirnov distance of 10,000 p-values from uniform.
- `rounded`: windows of 64 steps of eight sensors that are made, a VAE of dense layers and one of
  convolutions, and their scorers as float32 and int8, calibrated by 2,000 windows: of 20,000 others
  how far their p-values are from uniform by Kolmogorov and Smirnov, the shares in alarm at 1 % and
  5 %, the largest difference of a score from the model's over the spread of scores, and the mean
  and the largest difference of a p-value.
- `tails`: what the doctor's `contaminated_calibration` asks: how far the highest hundredth of the
  scores lies above the median, over how far the highest quarter does, of held-out examples and with
  1 % and 5 % of anomalies among them. Digits upside down, MNIST with noise, and sensors of which
  one is stuck.
- `simple`: AUROC of anomalies that are simpler than the data, which a likelihood finds likely. A
  VAE of up to 10,000 colours of 32 x 32, 2,000 steps, against MNIST in three channels, pictures of
  one colour, smooth gradients, noise, and the other sets: of the negative ELBO; less that of a
  background model (Ren et al., 2019), trained on pictures of which a fifth of the pixels is anew at
  random; less the nats of a PNG (Serrà et al., 2020) or of zlib; and by the PNG alone.
"""

import argparse
import csv
import json
import pathlib

import keras
import numpy as np

import keras_vae
from keras_vae import data, likelihoods, networks
from keras_vae.calibration import Calibration

SEEDS = 3
# Of what ours is trained on: so many rows at least, with so much noise, in standard deviations.
ROWS, NOISE = 3000, 0.3
SIMPLE_STEPS = 2000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=tuple(BENCHMARKS))
    parser.add_argument("--skab", type=pathlib.Path)
    parser.add_argument("--sets", nargs="+", default=["breast_cancer", "digits", "skab"])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--pictures", nargs="+", default=["cifar10"])
    parser.add_argument("--digits", default="0123456789")
    args = parser.parse_args()
    found = BENCHMARKS[args.what](args)
    print(json.dumps(found, indent=2))


def auroc(is_anomaly, scores):
    from sklearn.metrics import roc_auc_score

    return round(float(roc_auc_score(is_anomaly, scores)), 4)


# Rivals


def rivals(skab, names, seeds):
    sets = {"breast_cancer": breast_cancer(), "digits": digits()}
    if skab:
        sets["skab"] = skab_windows(skab)
    sets, found = {name: tasks for name, tasks in sets.items() if name in names}, {}
    for name, tasks in sets.items():
        scores = {method: [] for method in METHODS}
        for train, test, is_anomaly in tasks:
            mean, std = train.mean(axis=0), train.std(axis=0)
            std = np.where(std > 1e-6, std, 1.0)
            train, test = ((x - mean) / std for x in (train, test))
            for method, fit in METHODS.items():
                try:
                    made = [auroc(is_anomaly, fit(train, test, seed)) for seed in range(seeds)]
                except ImportError:
                    continue
                scores[method].append(np.mean(made))
        found[name] = {m: round(float(np.mean(s)), 4) for m, s in scores.items() if s}
        print(json.dumps({name: found[name]}), flush=True)
    return found


def breast_cancer():
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    benign, rng = np.flatnonzero(y == 1), np.random.RandomState(0)
    rng.shuffle(benign)
    train, rest = np.split(benign, 2) if len(benign) % 2 == 0 else np.split(benign, [178])
    test = np.concatenate([rest, np.flatnonzero(y == 0)])
    return [(x[train], x[test], y[test] == 0)]


def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    tasks, rng = [], np.random.RandomState(0)
    for digit in range(10):
        own = np.flatnonzero(y == digit)
        rng.shuffle(own)
        train, rest = np.split(own, [2 * len(own) // 3])
        test = np.concatenate([rest, np.flatnonzero(y != digit)])
        tasks.append((x[train], x[test], y[test] != digit))
    return tasks


def skab_windows(folder, window=16, training=400):
    tasks = []
    for path in sorted(folder.glob("data/valve*/*.csv")):
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        names = [n for n in rows[0] if n not in ("datetime", "anomaly", "changepoint")]
        values = np.array([[float(row[n]) for n in names] for row in rows])
        labels = np.array([float(row["anomaly"]) for row in rows]) > 0
        mean, std = values[:training].mean(axis=0), values[:training].std(axis=0)
        values = (values - mean) / np.where(std > 1e-6, std, 1.0)
        views = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
        views = views.reshape(len(views), -1)
        ends = np.arange(window - 1, len(values))
        train, test = views[: training - window + 1], views[training:]
        if labels[ends[training:]].any():
            tasks.append((train, test, labels[ends[training:]]))
    return tasks


def ours(train, test, seed):
    """A small VAE of noisy copies of the rows, as few of them are soon learnt by heart."""
    keras.utils.set_random_seed(seed)
    size, rng = train.shape[1], np.random.default_rng(seed)
    model = keras_vae.VAE(
        networks.DenseEncoder(min(8, size // 2), (128,)),
        networks.DenseDecoder((size,), (128,)),
        likelihood=likelihoods.Gaussian("optimal"),
        seed=seed,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    copies = max(1, ROWS // len(train))
    noisy = np.concatenate([train + rng.normal(0, NOISE, train.shape) for _ in range(copies)])
    model.fit(noisy.astype("float32"), batch_size=32, epochs=10, verbose=0)
    return keras_vae.AnomalyDetector(model).score(test.astype("float32"))


def principal_components(train, test, seed):
    from sklearn.decomposition import PCA

    made = PCA(0.9, random_state=seed).fit(train)
    return ((made.inverse_transform(made.transform(test)) - test) ** 2).sum(axis=1)


def _of_pyod(name, module):
    def score(train, test, seed):
        import importlib

        kind = getattr(importlib.import_module(f"pyod.models.{module}"), name)
        seeded = {"random_state": seed} if name != "LOF" else {}
        options = {} if name not in ("AutoEncoder", "VAE") else {"verbose": 0}
        return kind(**seeded, **options).fit(train).decision_function(test)

    return score


METHODS = {
    "keras_vae": ours,
    "pca": principal_components,
    "isolation_forest": _of_pyod("IForest", "iforest"),
    "lof": _of_pyod("LOF", "lof"),
    "pyod_autoencoder": _of_pyod("AutoEncoder", "auto_encoder"),
    "pyod_vae": _of_pyod("VAE", "vae"),
}


# One class of MNIST


def one_class(digits):
    mnist, rng = data.load("mnist"), np.random.default_rng(0)
    x, test = data.as_float(mnist.x_train), data.as_float(mnist.x_test)
    found = {"reconstruction": {}, "negative_elbo": {}, "bare_elbo": {}}
    for digit in digits:
        own, is_other = x[mnist.y_train == digit], mnist.y_test != digit
        noisy = [own + rng.normal(0, 0.3, own.shape) for _ in range(2)]
        noisy = np.concatenate(noisy).astype("float32")
        model = _vae(likelihoods.Gaussian("optimal"), digit, kl_weight=2.0)
        model.fit(noisy, batch_size=128, epochs=20, verbose=0)
        for score in ("reconstruction", "negative_elbo"):
            scores = keras_vae.AnomalyDetector(model, score).score(test)
            found[score][digit] = auroc(is_other, scores)
        bare = _vae("bernoulli", digit)
        bare.fit(own, batch_size=128, epochs=20, verbose=0)
        found["bare_elbo"][digit] = auroc(is_other, keras_vae.AnomalyDetector(bare).score(test))
        print(json.dumps({score: by[digit] for score, by in found.items()}), flush=True)
    means = {score: round(float(np.mean([*by.values()])), 4) for score, by in found.items()}
    return {**found, "means": means}


def _vae(likelihood, seed, **options):
    keras.utils.set_random_seed(seed)
    model = keras_vae.VAE(
        networks.DenseEncoder(20, (400,)),
        networks.DenseDecoder((28, 28, 1), (400,)),
        likelihood=likelihood,
        seed=seed,
        **options,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    return model


# Calibration


def calibration():
    mnist = data.load("mnist")
    x, y = data.as_float(mnist.x_train), mnist.y_train
    keras.utils.set_random_seed(0)
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(8, (200,)),
        networks.DenseDecoder((28, 28, 1), (200,)),
        {"label": keras_vae.Categorical(10)},
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit({"x": x[:30_000], "label": y[:30_000]}, batch_size=128, epochs=3, verbose=0)
    # Of 30,000 images that it has not seen, and the test images besides.
    rest = {"x": x[30_000:], "label": y[30_000:]}
    detector = keras_vae.AnomalyDetector(model)
    scores, labels = detector.score(rest), rest["label"]
    rng, names = np.random.RandomState(0), [str(k) for k in range(10)]
    shares = {rate: [] for rate in (0.01, 0.05)}
    by_class = {rate: [] for rate in shares}
    for _ in range(20):
        order = rng.permutation(len(scores))
        own, other = order[:15_000], order[15_000:]
        for rate in shares:
            made = Calibration.fit(scores[own], rate, 0.0, labels[own], "label", names)
            alarms = made.p_values(scores[other].astype("f8"), labels[other]) <= rate
            shares[rate].append(alarms.mean())
            by_class[rate].append([alarms[labels[other] == k].mean() for k in range(10)])
    made = Calibration.fit(scores[:20_000])
    distance = from_uniform(made.p_values(scores[20_000:].astype("f8")))
    return {
        "alarms": {str(rate): round(float(np.mean(s)), 5) for rate, s in shares.items()},
        "least_and_most_by_class": {
            str(rate): [round(float(f(np.mean(s, axis=0))), 5) for f in (np.min, np.max)]
            for rate, s in by_class.items()
        },
        "kolmogorov_smirnov_of_10000": round(float(distance), 4),
    }


def from_uniform(p_values):
    """The Kolmogorov-Smirnov distance of p-values from uniform."""
    p = np.sort(p_values)
    return np.abs(p - np.arange(1, len(p) + 1) / len(p)).max()


# Files with rounded weights


def rounded():
    train, held_out, other = (windows_of_sensors(n, k) for k, n in enumerate((8000, 2000, 20_000)))
    found = {}
    for name, (encoder, decoder, likelihood) in {
        "dense": (
            networks.DenseEncoder(8, (64,)),
            networks.DenseDecoder((64, 8), (64,)),
            likelihoods.Gaussian("optimal"),
        ),
        "convolutions": (
            networks.Conv1DEncoder(8, (32, 64)),
            networks.Conv1DDecoder((64, 8), (64, 32)),
            likelihoods.Gaussian("optimal", channels=8),
        ),
    }.items():
        keras.utils.set_random_seed(0)
        model = keras_vae.VAE(encoder, decoder, likelihood=likelihood, seed=0)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(train, batch_size=64, epochs=10, verbose=0)
        detector = keras_vae.AnomalyDetector(model).calibrate(held_out)
        found[name] = _of_files(detector, train, other)
        print(json.dumps({name: found[name]}), flush=True)
    return found


def _of_files(detector, train, other):
    import tempfile

    import export

    scores, p = detector.score(other), detector.p_value(other)
    found = {"model": _alarms(p)}
    variants = [(f, q) for f in ("tflite", "onnx") for q in ("none", "int8")] + [("c", "int8")]
    with tempfile.TemporaryDirectory() as folder:
        given = {"calibration_data": {"x": train}}
        for path, _ in export.export_files(detector, variants, ["scorer"], folder, **given):
            made = export.module_of(path.suffix[1:]).load(path)({"x": other})
            off = np.abs(made["p_value"].astype("f8") - p)
            score_off = np.abs(made["score"] - scores).max() / np.ptp(scores)
            found[path.name] = {
                **_alarms(made["p_value"]),
                "score_off_most_of_spread": round(float(score_off), 4),
                "off_mean": round(float(off.mean()), 4),
                "off_most": round(float(off.max()), 4),
            }
    return found


def _alarms(p):
    shares = {f"alarms_{rate:.0%}": round(float(np.mean(p <= rate)), 4) for rate in (0.01, 0.05)}
    return {"from_uniform": round(float(from_uniform(p)), 4), **shares}


def windows_of_sensors(count, seed, steps=64, channels=8):
    """Waves of one speed and phase a window, which each sensor sees with a lag, and noise."""
    rng = np.random.default_rng(seed)
    speed, phase = rng.uniform(0.15, 0.25, (count, 1, 1)), rng.uniform(0, 2 * np.pi, (count, 1, 1))
    angle = speed * np.arange(steps)[:, None] + phase + 0.4 * np.arange(channels)
    return (np.sin(angle) + rng.normal(0, 0.1, (count, steps, channels))).astype("float32")


# Tails of scores


def tails():
    digits, mnist, rng = data.load("digits"), data.load("mnist"), np.random.default_rng(0)
    x = data.as_float(mnist.x_train[:20_000])
    test = data.as_float(mnist.x_test[:4000])
    noise = rng.random(test.shape).astype("float32")
    stuck = windows_of_sensors(3000, 2)
    stuck[:, 30:, 3] = stuck[:, 30:31, 3]
    gaussian = likelihoods.Gaussian("optimal")
    sensors = windows_of_sensors(6000, 0), windows_of_sensors(3000, 1), stuck
    upside_down = digits.x_test[:, ::-1]
    return {
        "digits": _tails(digits.x_train, digits.x_test, upside_down, "bernoulli", 30),
        "mnist": _tails(x, test, noise, "bernoulli", 5),
        "sensors": _tails(*sensors, gaussian, 8),
    }


def _tails(train, held_out, odd, likelihood, epochs):
    from keras_vae.doctor import calibrations

    keras.utils.set_random_seed(0)
    shape = train.shape[1:]
    model = keras_vae.VAE(
        networks.DenseEncoder(8, (128,)),
        networks.DenseDecoder(shape, (128,)),
        likelihood=likelihood,
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(train, batch_size=128, epochs=epochs, verbose=0)
    found, detector = {}, keras_vae.AnomalyDetector(model)
    usual, unusual = detector.score(held_out), detector.score(odd)
    for share in (0.0, 0.01, 0.05):
        count = int(share * len(usual))
        scores = np.concatenate([usual[count:], unusual[:count]])
        tail = calibrations.tail_of(Calibration.fit(scores).groups[0])
        found[f"{share:.0%}"] = round(tail["reach"], 2)
    return found


# Anomalies that are simpler than the data


def simple(names):
    mnist = data.load("mnist").x_test[:1000]
    padded = np.repeat(np.pad(mnist, ((0, 0), (2, 2), (2, 2), (0, 0))), 3, axis=3)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (1000, 1, 1, 3)) + np.zeros((1, 32, 32, 1), int)
    down, across = rng.uniform(-4, 4, (2, 1000, 1, 1, 3))
    steps = np.arange(32) - 16
    gradients = 128 + down * steps[:, None, None] + across * steps[:, None]
    sources = {pathlib.Path(name).stem: data.load(name) for name in names}
    odd = {
        "mnist": padded,
        "one colour": colours.astype("uint8"),
        "gradient": np.clip(gradients, 0, 255).astype("uint8"),
        "noise": rng.integers(0, 256, (1000, 32, 32, 3)).astype("uint8"),
        **{name: source.x_test[:1000] for name, source in sources.items()},
    }
    found = {}
    for name, source in sources.items():
        scorers = _scorers(source.x_train)
        usual = {method: score(source.x_test[:1000]) for method, score in scorers.items()}
        found[name] = {}
        for kind, pictures in odd.items():
            if kind == name:
                continue
            labels = np.repeat([False, True], [len(source.x_test[:1000]), len(pictures)])
            found[name][kind] = {
                method: auroc(labels, np.concatenate([usual[method], score(pictures)]))
                for method, score in scorers.items()
            }
            print(json.dumps({name: {kind: found[name][kind]}}), flush=True)
    return found


def _scorers(train):
    """Dict of functions from uint8 pictures to scores, of models trained on such."""
    train = train[:10_000]
    rng = np.random.default_rng(0)
    is_new = rng.random((*train.shape[:3], 1)) < 0.2
    perturbed = np.where(is_new, rng.integers(0, 256, train.shape), train).astype("uint8")
    model, background = map(_of_pictures, (train, perturbed))
    elbo = keras_vae.AnomalyDetector(model)

    def score(pictures):
        return elbo.score(data.as_float(pictures))

    ratio = keras_vae.AnomalyDetector(model, background=background)
    return {
        "negative_elbo": score,
        "likelihood_ratio": lambda pictures: ratio.score(data.as_float(pictures)),
        "less_png": lambda pictures: score(pictures) - _nats(pictures, _png),
        "less_zlib": lambda pictures: score(pictures) - _nats(pictures, _zlib),
        "png": lambda pictures: -_nats(pictures, _png),
    }


def _of_pictures(train):
    keras.utils.set_random_seed(0)
    model = keras_vae.VAE(
        networks.DenseEncoder(32, (400,)),
        networks.DenseDecoder((32, 32, 3), (400,)),
        likelihood=likelihoods.Gaussian("optimal"),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    epochs = round(SIMPLE_STEPS / (len(train) / 128))
    model.fit(data.as_float(train), batch_size=128, epochs=epochs, verbose=0)
    return model


def _nats(pictures, compress):
    return np.array([8 * np.log(2) * compress(picture) for picture in pictures])


def _png(picture):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return len(file.getvalue())


def _zlib(picture):
    import zlib

    return len(zlib.compress(picture.tobytes(), 9))


BENCHMARKS = {
    "rivals": lambda args: rivals(args.skab, args.sets, args.seeds),
    "one_class": lambda args: one_class(map(int, args.digits)),
    "calibration": lambda args: calibration(),
    "rounded": lambda args: rounded(),
    "tails": lambda args: tails(),
    "simple": lambda args: simple(args.pictures),
}

if __name__ == "__main__":
    main()
