"""Diagnoses of the losses of the epochs, and of training and test data."""

import math

import keras
import numpy as np

from keras_vae.doctor import changes, thresholds
from keras_vae.doctor.finding import Finding
from keras_vae.models.capabilities import Bounds, Encodes

# Parts of a long training whose mean losses are compared where those of epochs are noise.
STAGES = 20


def unstable_training(losses, skipped_updates=0, gradient_norms=(), learning_rate=None):
    """Whether steps are too large to settle.

    Args:
        losses: Sequence of floats, nats: the training loss of every epoch.
        skipped_updates: Float. Updates that were not finite.
        gradient_norms: Sequence of floats, the gradient's norm of every epoch.
        learning_rate: Optional float, that of Adam at the start.
    """
    rise, spike = rise_of(losses), spike_of(gradient_norms)
    if skipped_updates:
        number, what = skipped_updates, f"{skipped_updates:.0f} updates were not finite"
    elif spike is not None and spike > thresholds.MOST_SPIKE:
        number, what = spike, f"The gradient's norm of one epoch was {spike:.2g} times the usual"
    elif rise is not None and rise > thresholds.MOST_RISE:
        number = rise
        what = f"The training loss rose again by {100 * rise:.0f} % of what it fell"
    elif learning_rate is not None and learning_rate > thresholds.MOST_LEARNING_RATE:
        number, what = learning_rate, f"Adam's learning rate is {learning_rate:g}"
    else:
        return None
    return Finding(
        "unstable_training",
        float(number),
        f"{what}: steps are too large to settle, and may have thrown the model to where it learns "
        "no more.",
        "Divide the learning rate by 10.",
    )


def unconverged(losses):
    """Whether training ended while the loss still fell.

    Args:
        losses: Sequence of floats, nats: the loss of every epoch, of held-out data if there are.
    """
    number = gain_of(losses)
    if number is None or number <= thresholds.MOST_GAIN:
        return None
    count = len(losses)
    return Finding(
        "unconverged",
        number,
        f"The loss still falls: of all that it fell from the first of {count} epochs to the last, "
        f"{100 * number:.0f} % was in their second half ({losses[count // 2 - 1]:.2f} to "
        f"{losses[-1]:.2f} nats). As many again would bring more.",
        f"Train {2 * count} epochs.",
    )


def overfitting(train_elbo, test_elbo, best_epoch=None):
    """Whether the test data are much less likely than the training data.

    Args:
        train_elbo: Float array `(n,)`, the bound of training examples, nats.
        test_elbo: Float array `(m,)`, that of test examples.
        best_epoch: Optional int, the number of epochs after which the loss of held-out data was
            lowest, where that was not the last one.
    """
    train_elbo, test_elbo = np.asarray(train_elbo, "float64"), np.asarray(test_elbo, "float64")
    gap, parts = float(train_elbo.mean() - test_elbo.mean()), gap_of(train_elbo, test_elbo)
    error = math.sqrt(train_elbo.var() / len(train_elbo) + test_elbo.var() / len(test_elbo))
    if parts <= thresholds.MOST_GAP or gap <= 3 * error:
        return None
    change = "Halve the networks' hidden_units."
    if best_epoch:
        change = f"Train {best_epoch} epochs: then the loss of held-out data was lowest."
    return Finding(
        "overfitting",
        gap,
        f"The ELBO is {train_elbo.mean():.2f} nats on training and {test_elbo.mean():.2f} on test "
        f"data, a gap of {gap:.2f}, {parts:.1f} times the spread between test "
        "examples: the model knows its training data by heart.",
        change,
    )


def rise_of(losses):
    """How far a loss rose, from epoch to epoch, as a part of how far it fell; None if unknown."""
    losses = np.asarray(losses, "float64")
    if len(losses) < 3 or not np.isfinite(losses).all():
        return None
    fall = losses[0] - losses.min()
    return float(np.maximum(np.diff(losses), 0).sum() / max(fall, 1e-9))


def spike_of(gradient_norms):
    """The largest of the epochs' gradient norms over their median; None if unknown."""
    norms = np.asarray(gradient_norms, "float64")
    if len(norms) < 3 or not np.isfinite(norms).all():
        return None
    return float(norms.max() / max(np.median(norms), 1e-9))


def gain_of(losses):
    """The part of a loss' fall that its second half of epochs brought; None if unknown."""
    losses = np.asarray(losses, "float64")
    if len(losses) < 2 or not np.isfinite(losses).all():
        return None
    fall = losses[0] - losses[-1]
    if fall <= 0:
        return 0.0
    return float(max(losses[len(losses) // 2 - 1] - losses[-1], 0) / fall)


def gap_of(train_elbo, test_elbo):
    """How much more likely training examples are, in standard deviations of test examples."""
    train_elbo, test_elbo = np.asarray(train_elbo, "float64"), np.asarray(test_elbo, "float64")
    return float((train_elbo.mean() - test_elbo.mean()) / max(test_elbo.std(), 1e-12))


def of_curves(model, history, left_out):
    """What the losses of the epochs say."""
    losses, held_out = (_curve(model, history or {}, prefix) for prefix in ("", "val_"))
    if not isinstance(model, Encodes):
        left_out["unconverged"] = "the losses of two players do not fall"
    elif rise_of(losses) is None:
        left_out["unconverged"] = "it needs the losses of three epochs"
    else:
        return {
            "unconverged": {"losses": losses if gain_of(held_out) is None else held_out},
            "unstable_training": {
                # An epoch of a small table has few steps, and the noise of many adds up to a rise.
                "losses": _stages(losses) if model.likelihood.takes_missing else losses,
                "skipped_updates": sum(history.get("skipped_updates", ())),
                "gradient_norms": history.get("gradient_norm", ()),
                "learning_rate": _learning_rate(model),
            },
        }
    return {}


def of_splits(model, train, test, seed, history, left_out):
    """The bounds of training and of test data."""
    if train is None or test is None:
        left_out["overfitting"] = "it needs training and test data"
        return {}
    train_elbo, test_elbo = (
        model.log_likelihood(inputs, num_samples=1, seed=seed) for inputs in (train, test)
    )
    best_epoch = _best_epoch(_curve(model, history or {}, "val_"))
    numbers = {"train_elbo": train_elbo, "test_elbo": test_elbo, "best_epoch": best_epoch}
    return {"overfitting": numbers}


def _stages(losses):
    """The means of a curve's parts, or the curve where it is no longer."""
    parts = np.array_split(np.asarray(losses), min(STAGES, len(losses)))
    return [float(part.mean()) for part in parts]


def _curve(model, history, prefix):
    """The loss of every epoch: with a warm-up, what it would have been with the last weight."""
    terms = [history.get(f"{prefix}{name}", ()) for name in ("reconstruction_loss", "kl_loss")]
    if not isinstance(model, Bounds) or model.kl_schedule is None or not all(map(len, terms)):
        return history.get(f"{prefix}loss", ())
    end = changes.end_of_kl_weight(model)
    return [nats + end * kl for nats, kl in zip(*terms, strict=True)]


def _best_epoch(losses):
    """After how many epochs the loss of held-out data was lowest, None if near the end."""
    best = int(np.argmin(losses)) + 1 if len(losses) else 0
    return best if best < 0.8 * len(losses) else None


def _learning_rate(model):
    """Where Adam's learning rate began, None of another optimizer or of none."""
    optimizer = model.optimizer if model.compiled else None
    if not isinstance(optimizer, keras.optimizers.Adam):
        return None
    rate = optimizer.get_config()["learning_rate"]
    rate = rate["config"].get("initial_learning_rate") if isinstance(rate, dict) else rate
    return None if rate is None else float(rate)
