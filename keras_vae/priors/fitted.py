"""Mixtures of Gaussians with fixed parameters: fitted after training, or taken from a prior."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_vae import arguments, portable_random
from keras_vae.distributions import Distribution, Mixture, Normal
from keras_vae.priors.base import Prior
from keras_vae.type_aliases import Tensor

KINDS = ("gaussian", "mixture", "kernel_density")
DEFAULT_COMPONENTS = {"gaussian": 1, "mixture": 10, "kernel_density": 500}
# More than these make a manifest too large, and a device needs the `sampler` graph.
_MOST_MANIFEST_NUMBERS = 2**14
MOST_ROWS = 2**12
_BANDWIDTHS = np.geomspace(0.05, 1.0, 14)
_FOLDS = 5


@keras.saving.register_keras_serializable("keras_vae")
class FittedMixture(Prior, keras.layers.Layer):
    """A mixture of diagonal Gaussians with fixed parameters, or one for every class.

    `model.fit_prior` makes it; `FittedMixture.of` makes it of arrays. Which component a sample
    comes from is drawn by whole numbers, and the rest is a product and a sum: every backend,
    runtime and device draws the same bits. The KL is the one-draw estimate, but for a single
    component, where it has a closed form.

    Args:
        classes: List of `(name, start, num_classes)`: the labels on which the mixture depends,
            and where each one's classes begin in the condition's vector. There is a row of
            components for every combination of labels, each with *unknown* as its last.

    Call arguments:
        condition: Float tensor `(batch, size)`, for one that depends on classes.

    Returns:
        `distributions.Mixture`; of a single component, `distributions.Normal`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> prior = keras_vae.priors.FittedMixture.of(
    ...     means=np.zeros((1, 2, 3)), scales=np.ones((1, 2, 3)), weights=[[0.25, 0.75]]
    ... )
    >>> prior.num_components, prior.sample(count=5, latent_dim=3, seed=0).shape
    (2, (5, 3))

    See also:
        `VAE.fit_prior`, which makes it of the codes of data.
    """

    draws_in_training = True

    def __init__(self, classes: Sequence[tuple[str, int, int]] = (), **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        try:
            self.classes = tuple((name, int(start), int(count)) for name, start, count in classes)
        except (TypeError, ValueError) as err:
            raise ValueError(
                "`classes` must be triples of a condition's name, its first row and their number. "
                f"Received: {classes!r}"
            ) from err
        if any(count < 1 for _, _, count in self.classes) or self.num_rows > MOST_ROWS:
            raise ValueError(
                f"A fitted prior has at most {MOST_ROWS} rows, one for every class and unknown. "
                f"Received: {self.num_rows} for {list(self.classes)}. Use per_class=False."
            )
        self.built = True
        self.latent_dim = None
        counts = (count for _, _, count in self.classes)
        self.places = tuple(np.arange(count, 0, -1, dtype="float32") for count in counts)
        self._set(*np.zeros((2, self.num_rows, 1, 1)), np.zeros((self.num_rows, 0)))

    @classmethod
    def of(
        cls,
        means: ArrayLike,
        scales: ArrayLike,
        weights: ArrayLike,
        classes: Sequence[tuple[str, int, int]] = (),
    ) -> Self:
        """Make one of its parameters.

        Args:
            means: Float array `(rows, components, latent)`.
            scales: Float array, same shape, above 0: standard deviations.
            weights: Float array `(rows, components)`; each row's sum is 1.
            classes: As for the class.

        Raises:
            ValueError: If an array does not fit the others.
        """
        prior = cls(classes)
        means, scales = np.asarray(means, "float32"), np.asarray(scales, "float32")
        weights = np.asarray(weights, "float64")
        if means.ndim != 3 or scales.shape != means.shape or weights.shape != means.shape[:2]:
            raise ValueError(
                "`FittedMixture` needs `means` and `scales` of one shape (rows, components, "
                "latent), and `weights` (rows, components). Received: "
                f"{means.shape}, {scales.shape} and {weights.shape}."
            )
        if not (np.all(weights >= 0) and np.allclose(weights.sum(axis=1), 1, atol=1e-4)):
            raise ValueError("`weights` must not be negative, and each row's sum must be 1.")
        below = np.cumsum(weights[:, :-1], axis=1) * portable_random.SEEDS
        prior._set(means, scales, np.minimum(np.round(below), portable_random.SEEDS - 1))
        prior.latent_dim = means.shape[-1]
        return prior

    def narrowed(self, factor: float) -> Self:
        """One whose components are so much narrower: its samples are those at that temperature.

        Args:
            factor: Float above 0, of the scales.
        """
        prior = type(self)(self.classes)
        prior._set(self.means, factor * self.scales, self.thresholds)
        prior.latent_dim = self.latent_dim
        return prior

    def _set(self, means, scales, thresholds):
        """Take the parameters, and check them: they may come from a file."""
        self.means, self.scales = np.asarray(means, "float32"), np.asarray(scales, "float32")
        self.thresholds = np.asarray(thresholds, "int32")
        shape = self.means.shape
        fits = len(shape) == 3 and shape[0] == self.num_rows and self.scales.shape == shape
        fits = (
            fits
            and self.latent_dim in (None, shape[2])
            and self.thresholds.shape == (shape[0], shape[1] - 1)
        )
        finite = np.isfinite(self.means).all() and np.isfinite(self.scales).all()
        if not (fits and finite and np.all(self.scales >= 0)):
            raise ValueError(
                "The mixture's parameters must be finite, scales not negative, and of the shape "
                f"({self.num_rows}, components, {self.latent_dim or 'latent'}). Received: "
                f"{shape}, {self.scales.shape} and thresholds {self.thresholds.shape}."
            )

    @property
    def num_rows(self) -> int:
        """Number of combinations of labels."""
        return math.prod(count + 1 for _, _, count in self.classes)

    @property
    def num_components(self) -> int:
        """Number of components of each row."""
        return self.means.shape[1]

    def build_for(self, model: Any) -> None:
        check_latent_dim(model.latent_dim)
        if not set(self.classes) <= set(classes_of(model)):
            raise ValueError(
                f"The fitted prior depends on {[name for name, _, _ in self.classes]}, which must "
                f"be labels of the model. Received: {sorted(model.condition)}. Fit it anew."
            )
        if self.latent_dim not in (None, model.latent_dim):
            raise ValueError(
                f"The fitted prior has {self.latent_dim} latent dimensions, the model "
                f"{model.latent_dim}. Fit it anew."
            )
        self.latent_dim = model.latent_dim
        self.read_labels(model.condition)

    def read_labels(self, condition: Mapping[str, Any]) -> None:
        """Tell labels by their vectors, which need not be one-hot ones.

        Args:
            condition: Dict from name to the kind of every label.
        """
        self.places = tuple(condition[name].places() for name, _, _ in self.classes)

    def save_own_variables(self, store: Any) -> None:
        for name in ("means", "scales", "thresholds"):
            store[name] = getattr(self, name)

    def load_own_variables(self, store: Any) -> None:
        self._set(*(np.asarray(store[name]) for name in ("means", "scales", "thresholds")))

    def __call__(self, condition: Tensor | None = None) -> Distribution:
        return gaussians(*self._of_batch(condition))

    def _of_batch(self, condition):
        """Means, log-variances and log-weights: `(components, ...)`, or those of a batch."""
        edges = np.pad(self.thresholds.astype("float64"), ((0, 0), (1, 1)))
        edges[:, -1] = portable_random.SEEDS
        # None is 0: a logarithm of 0 would make NaN of the others' gradients.
        log_weights = np.log(np.maximum(np.diff(edges), 0.5) / portable_random.SEEDS)
        log_vars = 2 * np.log(np.maximum(self.scales, 1e-15))
        tables = self.means, log_vars, log_weights.astype("float32")
        if not self.classes:
            return tuple(ops.convert_to_tensor(table[0]) for table in tables)
        row = self._row(ops.convert_to_tensor(condition), ops)
        return tuple(ops.take(ops.convert_to_tensor(table), row, axis=0) for table in tables)

    def _row(self, condition, ops):
        """Which row of the tables each vector `(n, size)` means, `(n,)`."""
        row = 0
        for (_, start, count), places in zip(self.classes, self.places, strict=True):
            # Of a label's vector, of whole numbers, all 0 for unknown: exact in float32.
            row = row * (count + 1) + count
            row = row - ops.sum(condition[:, start : start + count] * ops.array(places), axis=-1)
        return row.astype("int32") if ops is np else ops.cast(row, "int32")

    def draw(
        self,
        seed: Tensor,
        index: Tensor,
        temperature: Tensor,
        latent_dim: int,
        condition: Tensor | None = None,
        ops: Any = ops,
    ) -> Tensor:
        noise = portable_random.normal(seed, index, latent_dim, ops) * temperature
        at = self._row(condition, ops) if self.classes else 0 * index
        if self.num_components > 1:
            thresholds = ops.take(self.thresholds, at, axis=0)
            reached = portable_random.uniform(seed, index)[:, None] >= thresholds
            at = at * self.num_components + ops.sum(ops.where(reached, 1, 0), axis=1)
        means, scales = (t.reshape(-1, latent_dim) for t in (self.means, self.scales))
        return noise * ops.take(scales, at, axis=0) + ops.take(means, at, axis=0)

    def manifest(self) -> dict[str, Any]:
        described = {
            "kind": "gaussian_mixture",
            "conditions": [name for name, _, _ in self.classes],
            "components": self.num_components,
        }
        arrays = {name: getattr(self, name) for name in ("means", "scales", "thresholds")}
        if sum(array.size for array in arrays.values()) > _MOST_MANIFEST_NUMBERS:
            return described
        return {**described, **{name: _exact(array) for name, array in arrays.items()}}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": [list(entry) for entry in self.classes]}


def gaussians(locs: Tensor, log_vars: Tensor, log_weights: Tensor) -> Distribution:
    """The distribution of a mixture's parameters, as `distributions.Mixture` takes them."""
    if locs.shape[-2] == 1:
        return Normal(*(ops.convert_to_tensor(table)[..., 0, :] for table in (locs, log_vars)))
    return Mixture(locs, log_vars, log_weights)


# What is tried where nobody says which: a name, its kind and its components for each class.
CANDIDATES = {
    "gaussian": ("gaussian", None),
    "mixture of 3": ("mixture", 3),
    "mixture of 10": ("mixture", 10),
    "mixture of 30": ("mixture", 30),
    "kernel density": ("kernel_density", None),
}


def candidates(codes, labels, classes=(), names=(), rng=None, members=np.equal, only=None):
    """Fit all of `CANDIDATES` that there are codes enough for.

    Args:
        codes, labels, classes, names, rng, members: As for `fit`.
        only: Optional name of the one to fit.

    Returns:
        Dict from name to `FittedMixture`, at least one.

    Raises:
        ValueError: If there are too few codes for a Gaussian.
        ImportError: Without scikit-learn.
    """
    found = {}
    for name, (kind, count) in CANDIDATES.items():
        if only in (None, name):
            try:
                found[name] = fit(codes, labels, kind, count, classes, names, rng, members)
            except TooFewError:
                if name in ("gaussian", only):
                    raise
    return found


class TooFewError(ValueError):
    """There are too few codes of a class for so many components."""


def part(codes, labels, rows):
    """Some of the codes and their labels, which may be None."""
    return codes[rows], None if labels is None else labels[rows]


def mean_log_prob(prior, codes, labels=None):
    """Mean log-density of codes, nats.

    Args:
        prior: `FittedMixture` that depends on one label or on none.
        codes: Float array `(n, latent)`.
        labels: Int array `(n,)`, where the prior depends on a label.
    """
    condition = None
    if prior.classes:
        [(_, start, count)] = prior.classes
        condition = np.zeros((len(codes), start + count), "float32")
        condition[:, start:] = np.eye(count + 1, count, dtype="float32")[labels]
    return float(np.mean(ops.convert_to_numpy(prior.log_prob(codes, condition))))


def fit(
    codes,
    labels,
    kind,
    num_components=None,
    classes=(),
    names=(),
    rng=None,
    members=np.equal,
):
    """Fit a mixture to codes of the aggregated posterior, through scikit-learn.

    Args:
        codes: Float array `(n, latent)`.
        labels: Int array `(n,)`, rows of the mixture; None without classes. The last row,
            *unknown*, is fitted to all codes.
        kind: `"gaussian"`, `"mixture"` or `"kernel_density"`.
        num_components: Optional int.
        classes: As for `FittedMixture`.
        names: Names of the rows but the last, for the errors.
        rng: NumPy generator.
        members: Function from `labels` and a row to which of them the row is fitted to.

    Returns:
        A `FittedMixture`.

    Raises:
        ValueError: If there are too few codes.
        ImportError: Without scikit-learn.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: {kind!r}")
    try:
        import sklearn  # noqa: F401
    except ImportError as err:
        raise ImportError(
            'Fitting a prior needs scikit-learn. Install it with: pip install "keras-vae[cli]"'
        ) from err
    groups = [codes[members(labels, row)] for row in range(len(names))] if classes else []
    smallest = min(map(len, [*groups, codes]))
    if num_components is None:
        num_components = DEFAULT_COMPONENTS[kind]
        if kind == "kernel_density":
            num_components = max(_FOLDS, min(num_components, smallest))
    num_components = arguments.whole(num_components, "num_components")
    if kind == "gaussian" and num_components > 1:
        raise ValueError(
            "`kind='gaussian'` has one component. Received: "
            f"num_components={num_components}. Use kind='mixture'."
        )
    least = max(num_components, _FOLDS if kind == "kernel_density" else 2)
    for name, group in zip([*names, "all"], [*groups, codes], strict=True):
        if len(group) < least:
            raise TooFewError(
                f"Fitting a prior of {num_components} components needs at least {least} examples "
                f"of each class. Received: {len(group)} of {name}. Pass more, ask for fewer "
                "`num_components`, or use per_class=False."
            )
    fit_one = _kernels if kind == "kernel_density" else _components
    parts = [fit_one(group, num_components, rng) for group in [*groups, codes]]
    return FittedMixture.of(*(np.stack(part) for part in zip(*parts, strict=True)), classes)


def _components(codes, num_components, rng):
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        num_components, covariance_type="diag", random_state=int(rng.integers(2**31))
    ).fit(codes.astype("float64"))
    weights = mixture.weights_ / mixture.weights_.sum()
    return mixture.means_, np.sqrt(mixture.covariances_), weights


def _kernels(codes, num_components, rng):
    """Codes as the means of equal kernels, as wide as cross-validation finds best."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity

    means = rng.permutation(codes)[:num_components].astype("float64")
    spread = np.maximum(means.std(axis=0), 1e-6)
    search = GridSearchCV(KernelDensity(), {"bandwidth": _BANDWIDTHS}, cv=_FOLDS)
    bandwidth = search.fit(means / spread).best_params_["bandwidth"]
    return (
        means,
        np.broadcast_to(bandwidth * spread, means.shape),
        np.full(num_components, 1 / num_components),
    )


def label_of(model, per_class=None):
    """The name of the label by which to fit, or None.

    Args:
        model: A model with `condition`.
        per_class: As for `VAE.fit_prior`.

    Raises:
        ValueError: If it names no label, or does not say which.
    """
    labels = [name for name, _, _ in classes_of(model)]
    if per_class is None:
        return labels[0] if len(labels) == 1 else None
    if not per_class:
        return None
    if per_class in labels:
        return per_class
    if per_class is not True or len(labels) != 1:
        raise ValueError(
            "`per_class` must be False, or name a label; True does where there is just one. "
            f"Received: {per_class!r} for a model with the labels {labels}."
        )
    return labels[0]


def classes_of(model):
    """A model's labels, as `FittedMixture` takes them, but for those of learned vectors."""
    classes, start = [], 0
    for name, kind in model.condition.items():
        if kind.kind == "categorical" and not kind.embedding_dim:
            classes.append((name, start, kind.num_classes))
        start += kind.size
    return tuple(classes)


def row_vectors(kinds):
    """The vector of every row of a mixture, `(rows, size)`, by the kinds of its labels."""
    tables = [kind.vectors() for kind in kinds]
    index = np.indices([len(table) for table in tables]).reshape(len(tables), -1)
    return np.concatenate([table[i] for table, i in zip(tables, index, strict=True)], axis=1)


def check_latent_dim(latent_dim):
    """Return the latent size, or raise a ValueError if no component can be drawn beside it."""
    if latent_dim >= portable_random.MOST_DIMENSIONS:
        raise ValueError(
            f"A mixture needs at most {portable_random.MOST_DIMENSIONS - 1} latent dimensions. "
            f"Received: {latent_dim}."
        )
    return latent_dim


def _exact(array):
    """Ints, or float32 values as the shortest decimals that read back as the same."""
    flat = array.reshape(-1)
    return flat.tolist() if array.dtype == np.int32 else [float(str(value)) for value in flat]
