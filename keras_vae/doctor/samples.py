"""Diagnoses of the labels, and of samples as a classifier of real images judges them."""

import numpy as np
from keras import ops

from keras_vae import seeds
from keras_vae.data import Dataset, TableSchema, as_float
from keras_vae.data.datasets import Condition
from keras_vae.doctor import changes, thresholds
from keras_vae.doctor.finding import Finding
from keras_vae.evaluation.classifier import mean_distance, predicted, train_classifier
from keras_vae.evaluation.leakage import known_rows
from keras_vae.evaluation.obedience import obedience
from keras_vae.evaluation.report import first_of
from keras_vae.evaluation.scorecard import DISTANCES_PER_CLASS, label_of
from keras_vae.evaluation.scorecard import diversity as diversity_by_class
from keras_vae.evaluation.table_scorecard import copies
from keras_vae.evaluation.tables import draw_rows, matrix
from keras_vae.models.capabilities import DiscreteCodes, Samples, lack
from keras_vae.training.batched import in_batches
from keras_vae.training.inputs import check_examples

# Of which a classifier is made to judge samples by, and samples that it judges.
JUDGED_BY = 5000
SAMPLES = 1000


def meaningless_labels(real_accuracy, count, chance):
    """Whether nothing can tell the label of real test images.

    Args:
        real_accuracy: Float, the share whose label a classifier of training images names.
        count: Int. Test images.
        chance: Float, the share of the most frequent label.
    """
    if (
        skill_of(real_accuracy, chance) >= thresholds.LEAST_SKILL
        or count < thresholds.LEAST_COUNTED
    ):
        return None
    return Finding(
        "meaningless_labels",
        real_accuracy,
        f"A classifier of the training images gives {100 * real_accuracy:.0f} % of the test images "
        f"their label, where guessing gives {100 * chance:.0f} %: labels and images do not belong "
        "together.",
        "Load both in one order.",
    )


def ignored_labels(label_nats):
    """Whether the decoder makes the same of a code whatever the label.

    Args:
        label_nats: Float. By how many nats a wrong label worsens the reconstruction.
    """
    if label_nats >= thresholds.LEAST_LABEL_NATS:
        return None
    return Finding(
        "ignored_labels",
        label_nats,
        f"A wrong label makes reconstructions only {label_nats:.2f} nats worse: the decoder takes "
        "the class from the code, and samples will not follow the label.",
        "Halve latent_dim.",
    )


def ignored_conditions(nats):
    """Whether the decoder makes the same of a code whatever a number, the tags or another label.

    Args:
        nats: Dict from a condition's name to a float, by how many nats a wrong value of it worsens
            the reconstruction.
    """
    name = min(nats, key=nats.get)
    if nats[name] >= thresholds.LEAST_LABEL_NATS:
        return None
    return Finding(
        "ignored_conditions",
        nats[name],
        f"A wrong {name} makes reconstructions only {nats[name]:.2f} nats worse: the decoder takes "
        f"it from the code, and samples will not follow {name}.",
        "Halve latent_dim.",
    )


def missed_conditions(obedience, change=""):
    """Whether samples are not what was asked for, of the condition that they follow least.

    Args:
        obedience: Dict as of `evaluation.obedience`.
        change: Str. The change that makes them follow.
    """
    missed = {name: missed_by(told) for name, told in obedience.items()}
    name = max(missed, key=missed.get, default=None)
    if name is None or missed[name] <= thresholds.MOST_MISSED:
        return None
    told = obedience[name]
    if "accuracy" in told:
        seen = (
            f"A judge gives {100 * told['accuracy']:.0f} % of the samples the {name} that was "
            f"asked for, and {100 * told['real_accuracy']:.0f} % of real images theirs"
        )
    elif "error" in told:
        seen = (
            f"The {name} that a judge reads of samples is {told['error']:.3g} from what was asked, "
            f"with a correlation of {told['correlation']:.2f}; of real images it is "
            f"{told['real_error']:.3g} from theirs, with one of {told['real_correlation']:.2f}"
        )
    else:
        means = (100 * np.mean(list(told[key].values())) for key in ("precision", "real_precision"))
        seen = (
            "A judge sees a tag of {} in {:.0f} % of the samples that were asked for with it, and "
            "in {:.0f} % of such real images".format(name, *means)
        )
    share = 100 * told["variance_explained"]
    return Finding(
        "missed_conditions",
        missed[name],
        f"{seen}: {name} explains {share:.0f} % of the variance of samples.",
        change,
    )


def missed_by(told):
    """By how much samples follow a condition less than real images do, from 0 to 1.

    Of labels shares of right ones are compared, of numbers correlations, of tags mean precisions.
    """
    if "accuracy" in told:
        return told["real_accuracy"] - told["accuracy"]
    if "error" in told:
        return told["real_correlation"] - told["correlation"]
    tags = told["precision"].keys() & told["real_precision"].keys()
    gaps = [told["real_precision"][tag] - told["precision"][tag] for tag in tags]
    return float(np.mean(gaps)) if gaps else 0.0


def missed_labels(sample_accuracy, real_accuracy, change=""):
    """Whether samples are not of the class that was asked for.

    Args:
        sample_accuracy: Float, the share of samples that a classifier gives the asked label.
        real_accuracy: Float, the share of real test images that it gives theirs.
        change: Str. The change that makes them follow.
    """
    if real_accuracy - sample_accuracy <= thresholds.MOST_MISSED:
        return None
    return Finding(
        "missed_labels",
        sample_accuracy,
        f"A classifier gives {100 * sample_accuracy:.0f} % of the samples the label that was asked "
        f"for, and {100 * real_accuracy:.0f} % of real images theirs: one in "
        f"{1 / (1 - sample_accuracy):.0f} is of another class, or of none.",
        change,
    )


def alike_samples(diversity, possible=1.0, of="", change=""):
    """Whether samples, those of a class where there are classes, are too much alike.

    Args:
        diversity: Float: mean distance of two samples over that of two real examples.
        possible: Float: what it would be of examples without what no code of that size can tell,
            the root of the share that as many principal components explain.
        of: Str, " of a class" where that is meant.
        change: Str. The change that makes them vary.
    """
    if diversity >= thresholds.LEAST_DIVERSITY * possible:
        return None
    where = f", where a code of that size allows {possible:.2f}" if possible < 1 else ""
    return Finding(
        "alike_samples",
        diversity,
        f"Two samples{of} differ {diversity:.2f} times as much as two real examples{where}: they "
        "are nearly one picture, again and again.",
        change,
    )


def copied_rows(close_samples, close_held_out, change=""):
    """Whether drawn rows of a table are training rows, or next to them.

    Args:
        close_samples: Float, the share of drawn rows that are as near to a training row as the
            nearest of rows that the model has not seen.
        close_held_out: Float, the share of these.
        change: Str. The change that makes it forget them.
    """
    if close_samples - close_held_out <= thresholds.MOST_CLOSE:
        return None
    return Finding(
        "copied_rows",
        close_samples,
        f"{100 * close_samples:.0f} % of the drawn rows are as near to a training row as the "
        f"nearest {100 * close_held_out:.0f} % of rows that the model has not seen: it gives away "
        "rows that it has learnt by heart.",
        change,
    )


def copied_images(copied_samples, change=""):
    """Whether samples are training images, or next to them.

    Args:
        copied_samples: Float, the share of samples less than half as far from a training image as
            the closest 1 % of held-out images are.
        change: Str. The change that makes it forget them.
    """
    if copied_samples <= thresholds.MOST_COPIED:
        return None
    return Finding(
        "copied_images",
        copied_samples,
        f"{100 * copied_samples:.0f} % of the samples are not half as far from a training image as "
        "the closest of 100 held-out images is: they are copies of what was learnt by heart.",
        change,
    )


def skill_of(accuracy, chance):
    """A classifier's accuracy, from guessing, 0, to no mistake, 1."""
    return (accuracy - chance) / max(1 - chance, 1e-6)


def of_conditions(model, inputs, seed, left_out):
    """By how many nats wrong conditions worsen reconstructions, as the diagnoses take it."""
    _, conditions = model.named_inputs(inputs)
    worth = {name: worth_of(model, name, inputs, seed) for name in model.condition}
    nats = {name: value for name, value in worth.items() if value is not None}
    numbers = {}
    labels = [name for name, kind in model.condition.items() if kind.kind == "categorical"]
    if known := [name for name in labels if name in nats]:
        numbers["ignored_labels"] = {"label_nats": nats.pop(known[0])}
    elif labels:
        left_out["ignored_labels"] = "it needs a label of at least two classes in the data"
    if nats:
        numbers["ignored_conditions"] = {"nats": nats}
    elif conditions and not labels:
        left_out["ignored_conditions"] = "it needs two values of a condition in the data"
    return numbers


def worth_of(model, name, inputs, seed=0, batch_size=256):
    """By how many nats a wrong condition worsens the reconstruction of the posterior mean.

    None where the data have not two values of it.
    """
    kind = model.condition[name]
    inputs = check_examples(model, inputs)
    if kind.kind == "sequence":
        return None
    rows = np.flatnonzero(known_rows(kind, inputs[name]))
    right = inputs[name][rows]
    if len(np.unique(right, axis=0)) < 2:
        return None
    rng = seeds.generator(seed, "wrong labels")
    if kind.kind == "categorical":
        present = np.unique(right)
        shift = rng.integers(1, len(present), len(right))
        wrong = present[(np.searchsorted(present, right) + shift) % len(present)].astype("int32")
    else:
        wrong = right[rng.permutation(len(right))]
        differ = (wrong != right).any(axis=1)
        rows, wrong = rows[differ], wrong[differ]
    given = {key: np.asarray(values)[rows] for key, values in inputs.items()}
    given = model.as_observed(given, seed)

    def measure(batch):
        given, wrong = batch
        x, conditions = model.split_inputs(given)
        condition = model.encode_condition(conditions, training=False)
        z_mean, _ = model.code(x, condition, training=False)
        log_probs = [
            model.likelihood.log_prob(
                ops.cast(x, "float32"),
                ops.cast(model.decode_parameters(z_mean, {**conditions, name: values}), "float32"),
            )
            for values in (conditions[name], wrong)
        ]
        return [log_probs[0] - log_probs[1]]

    measure = model.as_compiled(measure)
    return float(np.mean(in_batches(measure, (given, wrong), batch_size)[0], dtype="float64"))


def judged(model, train, test, seed, left_out):
    """What a scorecard would say of samples of images, measured in seconds; None if it cannot."""

    def leave_out(reason):
        left_out["missed_labels"] = left_out["alike_samples"] = reason

    if not isinstance(model, Samples):
        return leave_out(lack(model, Samples))
    if isinstance(model, DiscreteCodes):
        return leave_out("a prior over codes takes long to draw from; a scorecard does it")
    if test is None:
        return leave_out("it needs test data")
    x_test, conditions = model.named_inputs(test)
    if isinstance(model.schema, TableSchema):
        leave_out("the data are no images")
        if train is None:
            left_out["copied_rows"] = "it needs training data"
            return None
        drawn = draw_rows(model, first_of(train, SAMPLES), seed)
        rows = [matrix(model.schema, part) for part in (drawn, train, test)]
        return copies(model.schema, *rows, seed)
    if len(x_test.shape) != 4:
        return leave_out("the data are no images")
    try:
        name, kind = label_of(model)
    except ValueError:
        if model.condition:
            leave_out(f"the {type(model).__name__} has more to ask for than one label")
            return _obeyed(model, train, test, seed, left_out)
        real = as_float(x_test[:DISTANCES_PER_CLASS])
        spread = mean_distance(real) if len(real) > 1 else 0.0
        if not spread:
            return leave_out("it needs test images that differ")
        made = model.sample(DISTANCES_PER_CLASS, seed=seed)
        return {"diversity": float(mean_distance(made) / spread)}
    if train is None or name not in conditions:
        return leave_out("it needs labelled training images")
    x_train, given = model.named_inputs(train)
    parts = []
    for x, y in ((x_train, given[name]), (x_test, conditions[name])):
        y = kind.as_array(y)[:JUDGED_BY]
        known = y < kind.num_leaves
        parts += np.asarray(x[:JUDGED_BY])[known], y[known]
    dataset = Dataset("images", *parts, kind.leaf_names)
    if kind.num_leaves < 2 or min(len(dataset.y_train), len(dataset.y_test)) < 2:
        return leave_out("it needs images of two classes")
    classifier = train_classifier(dataset)
    per_class = max(SAMPLES // kind.num_leaves, 2)
    labels = np.repeat(np.arange(kind.num_leaves, dtype="int32"), per_class)
    samples = model.sample({name: labels}, seed=seed)
    ratios = list(diversity_by_class(samples, labels, dataset).values())
    return {
        "sample_accuracy": float(np.mean(predicted(classifier, samples) == labels)),
        "real_accuracy": float(np.mean(predicted(classifier, dataset.x_test) == dataset.y_test)),
        "diversity": float(np.mean(ratios)) if ratios else None,
    }


def _obeyed(model, train, test, seed, left_out):
    """The `obedience` of samples under that name, by judges of the first training images."""
    if train is None:
        left_out["missed_conditions"] = "it needs training data"
        return None
    parts = []
    for inputs in (train, test):
        x, given = model.named_inputs(first_of(inputs, JUDGED_BY))
        values = {name: kind.as_array(given[name]) for name, kind in model.condition.items()}
        parts.append((x, values))
    (x_train, of_train), (x_test, of_test) = parts
    labels = (np.zeros(len(x), "int32") for x in (x_train, x_test))
    conditions = {name: Condition(of_train[name], of_test[name]) for name in model.condition}
    dataset = Dataset(
        "images", x_train, next(labels), x_test, next(labels), ("0",), conditions=conditions
    )
    return {"obedience": obedience(model, dataset, seed, SAMPLES)}


def of_samples(model, scorecard, test, x, epochs):
    """What a scorecard says, as the diagnoses take it."""
    numbers = {}
    _, conditions = model.named_inputs(test) if test is not None else (None, {})
    if "sample_accuracy" in scorecard:
        name, kind = label_of(model)
        chance, count = 1 / kind.num_leaves, thresholds.LEAST_COUNTED
        if name in conditions:
            chance = float(np.bincount(kind.as_array(conditions[name])).max() / len(x))
            count = len(x)
        numbers["meaningless_labels"] = {
            "real_accuracy": scorecard["real_accuracy"],
            "count": count,
            "chance": chance,
        }
        numbers["missed_labels"] = {
            "sample_accuracy": scorecard["sample_accuracy"],
            "real_accuracy": scorecard["real_accuracy"],
            "change": changes.mended_prior(model),
        }
    if "obedience" in scorecard:
        numbers["missed_conditions"] = {
            "obedience": scorecard["obedience"],
            "change": changes.mended_prior(model),
        }
    if "copied_samples" in scorecard:
        numbers["copied_images"] = {
            "copied_samples": scorecard["copied_samples"],
            "change": changes.forgotten_examples(model),
        }
    elif "close_samples" in scorecard:
        names = ("close_samples", "close_held_out")
        numbers["copied_rows"] = {name: scorecard[name] for name in names}
        numbers["copied_rows"]["change"] = changes.forgotten_examples(model)
    if scorecard.get("diversity") is not None:
        numbers["alike_samples"] = {
            "diversity": scorecard["diversity"],
            "of": " of a class" if "sample_accuracy" in scorecard else "",
            "change": changes.raised_kl(model, x, epochs),
        }
    return numbers
