"""Detection of anomalies: scores, p-values and alarms of any model that scores."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, Literal, Self

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments
from keras_vae.calibration import Calibration
from keras_vae.models import scoring
from keras_vae.models.capabilities import Scores, require
from keras_vae.training import fingerprints
from keras_vae.training import inputs as model_inputs
from keras_vae.training.batched import in_batches
from keras_vae.type_aliases import Examples, PathLike


class AnomalyDetector:
    """A trained model, a score and what normal examples score: tells what is unusual.

    Three lines make one and ship it:

        detector = keras_vae.AnomalyDetector(model)
        detector.calibrate(x_calibration, false_alarms=0.01)
        keras_vae.export(detector, graph="scorer")

    What it is set to, and the calibration, belong to the model: they are saved with it, and a
    detector of a loaded model goes on from them.

    A likelihood is no measure of oddness in itself. It fails where what is normal is spread over
    many typical examples, none of them likeliest (typical sets: Nalisnick et al., 2019); where most
    of it is background that anomalies share; and where anomalies are simpler than the data, such as
    a flat signal or an empty picture, which a model finds likely. Against the second there is
    `background`, and the score `"reconstruction"`; against the third nothing helps always:
    docs/benchmarks.md has what was measured.

    Args:
        model: `VAE`, `ConditionalVAE`, `Autoencoder` or another model that scores, trained.
        score: Optional name: `"negative_elbo"`, the default; `"negative_log_likelihood"`, by
            importance sampling with draws that are the same for every example; `"reconstruction"`,
            the negative log-likelihood given the code alone. Default: what the model is set to.
        num_samples: Optional int, the draws of `"negative_log_likelihood"`. Default: 16.
        background: Optional other model that scores and takes the same inputs, trained on data in
            which only the background is right, such as noisy copies; its score is subtracted: a
            likelihood ratio (Ren et al., 2019). Not saved, and not exported.

    Attributes:
        calibrated_by: The examples that `calibrate` was given, or None: a file with rounded weights
            scores them itself. They are not saved.

    Raises:
        ValueError: If the model does not score or is not trained, or an argument is wrong.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> x = np.random.default_rng(0).random((200, 4, 4, 1), "float32")
    >>> detector = keras_vae.AnomalyDetector(vae).calibrate(x, false_alarms=0.05)
    >>> detector.is_anomaly(x[:3]).dtype, detector.contributions(x[:3]).shape
    (dtype('bool'), (3, 4, 4, 1))

    See also:
        `evaluation.evaluate_alarms`, of series; `calibration.Calibration`.

    References:
        - Nalisnick et al., 2019. https://arxiv.org/abs/1906.02994
        - Ren et al., 2019. https://arxiv.org/abs/1906.02845
    """

    def __init__(
        self,
        model: Any,
        score: Literal["negative_elbo", "negative_log_likelihood", "reconstruction"] | None = None,
        num_samples: int | None = None,
        background: Any = None,
    ) -> None:
        for name, each in (("model", model), ("background", background)):
            if each is not None or name == "model":
                require(each, Scores, f"`{name}` of an AnomalyDetector")
                _check_built(each, name)
        self.model, self.background = model, background
        asked = {"score": score, "num_samples": num_samples}
        asked = {name: value for name, value in asked.items() if value is not None}
        chosen = dataclasses.replace(model.scoring, **asked)
        if chosen != model.scoring:
            model.forget_calibration("score")
            model.scoring = dataclasses.replace(chosen, calibration=None)
        self._with_background = None
        self.calibrated_by = None

    @property
    def calibration(self) -> Calibration | None:
        """The `Calibration`, or None before `calibrate`."""
        return self._with_background if self.background else self.model.scoring.calibration

    def calibrate(
        self,
        x: Examples,
        false_alarms: float = 0.01,
        contamination: float = 0.0,
        batch_size: int = 256,
    ) -> Self:
        """Learn from held-out normal examples how often what is normal scores as high.

        The p-values that follow hold for whatever model, if these examples are like those to come
        and the model was not trained on them: of normal examples, a share of `false_alarms` is in
        alarm. Where the model has one label as its condition, each class with enough examples gets
        p-values of its own.

        Args:
            x: As `fit` takes it: at least `1 / false_alarms` examples.
            false_alarms: Float, the share of normal examples that may be in alarm.
            contamination: Float, the share of the examples that are anomalies nevertheless.
            batch_size: Int. Examples computed at once.

        Returns:
            The detector.

        Raises:
            ValueError: If there are too few examples, or an argument is out of range.
        """
        share = fingerprints.share_of(self.model.trained_on, x)
        if share >= fingerprints.FOUND_SHARE:
            warnings.warn(
                "`calibrate` needs held-out examples, for those of the training score too low. "
                f"Received: about {share:.0%} of them are what the model was trained on. Alarms "
                "will be too many.",
                stacklevel=2,
            )
        scores, _ = self._explained(x, batch_size)
        name = scoring.label_of(self.model)
        inputs = model_inputs.check_examples(self.model, x)
        labels = np.asarray(model_inputs.to_numpy(inputs[name])) if name else None
        names = scoring.names_of(self.model, name)
        made = Calibration.fit(scores, false_alarms, contamination, labels, name, names)
        if self.background:
            self._with_background = made
        else:
            self.model.scoring = dataclasses.replace(self.model.scoring, calibration=made)
            self.calibrated_by = inputs
        pooled = [n for n, own in zip(names, made.own_groups(), strict=True) if not own]
        if pooled and len(names) > 1:
            listed = ", ".join(pooled[:5]) + (", ..." if len(pooled) > 5 else "")
            print(
                f"{len(pooled)} of {len(names)} classes of `{name}` have too few examples for "
                "p-values of their own, or are too many for a file, and take those of all: "
                f"{listed}"
            )
        return self

    def score(self, x: Examples, batch_size: int = 256) -> NDArray[np.float32]:
        """How unusual examples are, float32 `(n,)`, nats: the higher, the more unusual.

        Args:
            x: As `fit` takes it.
            batch_size: Int. Examples computed at once.
        """
        return self._explained(x, batch_size)[0]

    def p_value(self, x: Examples, batch_size: int = 256) -> NDArray[np.float64]:
        """What share of normal examples scores as high, float64 `(n,)`, above 0 and at most 1.

        Raises:
            ValueError: If the detector is not calibrated.
        """
        self._check_calibrated()
        scores = self.score(x, batch_size).astype("float64")
        name = self.calibration.condition
        labels = None
        if name:
            labels = np.asarray(model_inputs.check_examples(self.model, x)[name])
        return self.calibration.p_values(scores, labels)

    def is_anomaly(self, x: Examples, batch_size: int = 256) -> NDArray[np.bool_]:
        """Which examples are in alarm, bool `(n,)`: those of a p-value up to `false_alarms`.

        Raises:
            ValueError: If the detector is not calibrated.
        """
        return self.p_value(x, batch_size) <= self.calibration.false_alarms

    def contributions(self, x: Examples, batch_size: int = 256) -> NDArray[np.float32]:
        """What each value of an example adds to its score, float32 `(n, *data_shape)`, nats.

        They add up to the score. A value's own part is its term of the reconstruction; what the
        code itself costs is shared out equally.

        Raises:
            ValueError: If there is a background, whose values are others.
        """
        if self.background:
            raise ValueError(
                "`contributions` needs a score of one model. Received: a `background`. Make a "
                "detector without."
            )
        return self._explained(x, batch_size)[1]

    def save(self, filepath: PathLike, overwrite: bool = True) -> None:
        """Save the model with its calibration: `AnomalyDetector(load_model(path))` goes on."""
        self._check_no_background("save")
        self.model.save(filepath, overwrite=overwrite)

    def exported(self) -> Any:
        """The model whose `scorer` is this detector, for `export`.

        Raises:
            ValueError: If there is a background, which no file holds.
        """
        self._check_no_background("export")
        return self.model

    def _explained(self, x, batch_size):
        scores, contributions = explained(self.model, x, batch_size)
        if self.background:
            scores = scores - explained(self.background, x, batch_size)[0]
        return scores, contributions

    def _check_calibrated(self):
        if self.calibration is None:
            raise ValueError(
                "p-values need a calibrated detector. Received: one that is not. Call calibrate "
                "with held-out normal examples."
            )

    def _check_no_background(self, what):
        if self.background:
            raise ValueError(
                f"{what} needs a detector of one model. Received: one with a `background`, which "
                "no file holds. Make one without."
            )


def explained(
    model: Any, x: Examples, batch_size: int = 256
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The scores `(n,)` and contributions `(n, *data_shape)` of examples, as `model.scoring` says.

    Args:
        model: A model that `Scores`, built.
        x: As `fit` takes it.
        batch_size: Int. Examples computed at once.
    """
    inputs = model_inputs.check_examples(model, x)

    def explain(batch, scoring_of_model=model.scoring):  # another one is compiled anew
        values, condition = model.network_inputs(batch, training=False)
        values = ops.cast(values, "float32")
        score, contributions, *_ = scoring.scored(model, values, condition)
        return [score, contributions]

    batch_size = arguments.whole(batch_size, "batch_size")
    if model.scoring.score == "negative_log_likelihood":
        batch_size = max(1, batch_size // model.scoring.num_samples)
    return tuple(in_batches(model.as_compiled(explain), inputs, batch_size))


def _check_built(model, name):
    if not model.built:
        raise ValueError(
            f"`{name}` of an AnomalyDetector must be trained. Received: a {type(model).__name__} "
            "that is not built. Call fit first."
        )
