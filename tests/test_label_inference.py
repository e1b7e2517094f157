"""Few labels: the loss against NumPy, what batches hold, and that a classifier learns."""

import itertools

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

import keras_vae
from keras_vae import networks
from keras_vae.models import label_inference
from keras_vae.training import strata
from tests.conftest import ordinary_on

RNG = np.random.default_rng(0)
UNKNOWN = 3


def make(classes=(3,), x_size=5, classifier="own", **kwargs):
    names = ("label", "colour")[: len(classes)]
    if classifier == "own":
        classifier = networks.DenseClassifier(sum(classes), (8,), dropout=0.0, noise=0.0)
    keras.utils.set_random_seed(1)
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, (7,)),
        networks.DenseDecoder((x_size,), (7,)),
        {name: keras_vae.Categorical(count) for name, count in zip(names, classes, strict=True)},
        classifier=classifier,
        seed=1,
        **kwargs,
    )
    model.build((None, x_size))
    return model


def batch_of(model, rows=6, known=()):
    x = RNG.random((rows, *model.data_shape), "float32")
    labels = {}
    for name, kind in model.condition.items():
        labels[name] = np.full(rows, kind.unknown, "int32")
        labels[name][list(known)] = RNG.integers(0, kind.num_classes, len(known))
    return {"x": x, **labels}


def tensors(batch):
    return keras.tree.map_structure(keras.ops.convert_to_tensor, batch)


def float64_of(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def number(tensor):
    return float(float64_of(tensor))


def rows_with(model, batch, labels):
    """Loss of each example by itself with labels, drawn at the posterior mean: nats `(n,)`."""
    given = {**batch, **labels}
    mean, log_var = (np.asarray(part, "float64") for part in model.encode(given))
    logits = float64_of(model.decode_parameters(*_as_tensors(mean, labels)))
    x = batch["x"].astype("float64")
    log_px = -(x * np.logaddexp(0, -logits) + (1 - x) * np.logaddexp(0, logits)).sum(axis=1)
    kl = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1)
    return kl - log_px


def _as_tensors(z, labels):
    made = keras.ops.convert_to_tensor(z.astype("float32")), tensors(labels)
    return made


def expected_terms(model, batch):
    """The loss of a batch without draws, from the paper, in float64."""
    logits = float64_of(model.classifier(keras.ops.convert_to_tensor(batch["x"])))
    total = label_kl = 0.0
    q, start = {}, 0
    for name, kind in model.condition.items():
        log_q = log_softmax(logits[:, start : start + kind.num_classes], axis=1)
        start += kind.num_classes
        unknown = batch[name] == kind.unknown
        q[name] = np.where(
            unknown[:, None], np.exp(log_q), np.eye(kind.num_classes + 1)[batch[name], :-1]
        )
        kl = (np.exp(log_q) * (log_q + np.log(kind.num_classes))).sum(axis=1)
        label_kl = label_kl + np.where(unknown, kl, 0)
    for combination in itertools.product(*(range(k.num_classes) for k in model.condition.values())):
        labels = {
            name: np.full(len(batch["x"]), index, "int32")
            for name, index in zip(model.condition, combination, strict=True)
        }
        weight = np.prod(
            [q[name][:, index] for name, index in zip(q, combination, strict=True)], axis=0
        )
        total = total + weight * rows_with(model, batch, labels)
    return total, label_kl


def without_draws(model):
    """A model whose codes are the posterior means, so that its loss has no noise."""
    model.sampling.call = lambda z_mean, z_log_var: z_mean
    return model


@pytest.mark.parametrize(
    "classes", [(3,), pytest.param((3, 4), marks=ordinary_on("torch", "tensorflow"))]
)
def test_the_loss_is_that_of_the_paper(classes):
    model = without_draws(make(classes, classifier_weight=0.0))
    batch = batch_of(model, known=(0, 2))
    expected, label_kl = expected_terms(model, batch)
    loss, terms = model.loss_and_terms(tensors(batch), training=True)
    assert number(loss) == pytest.approx((expected + label_kl).mean(), rel=2e-5)
    assert number(terms["label_kl_loss"]) == pytest.approx(label_kl.mean(), abs=1e-5)


@ordinary_on("torch")
def test_weights_of_examples_multiply_their_whole_loss():
    model = without_draws(make(classifier_weight=0.0))
    batch, weight = batch_of(model, known=(1,)), RNG.random(6, "float32")
    data = tensors((batch, batch["x"], weight))
    expected, label_kl = expected_terms(model, batch)
    loss, _ = model.loss_and_terms(data, training=True)
    assert number(loss) == pytest.approx((weight * (expected + label_kl)).mean(), rel=2e-5)


@ordinary_on("torch")
def test_known_labels_make_the_loss_of_a_model_without_classifier():
    model, plain = (without_draws(make(classifier=c)) for c in ("own", None))
    for name in ("encoder", "decoder"):
        getattr(plain, name).set_weights(getattr(model, name).get_weights())
    batch = batch_of(model, known=range(6))
    terms = [m.loss_and_terms(tensors(batch), training=False).terms for m in (model, plain)]
    for name in terms[1]:
        assert number(terms[0][name]) == pytest.approx(number(terms[1][name]), rel=1e-5)
    assert number(terms[0]["label_kl_loss"]) == 0
    assert number(terms[0]["agreement_loss"]) == 0


@ordinary_on("torch")
def test_the_classifier_is_measured_at_known_labels_alone():
    model = make()
    batch = batch_of(model, known=(0, 3))
    _, terms = model.loss_and_terms(tensors(batch), training=False)
    logits = float64_of(model.classifier(keras.ops.convert_to_tensor(batch["x"])))
    log_q = log_softmax(logits, axis=1)
    said = -log_q[[0, 3], batch["label"][[0, 3]]].mean()
    sharp = np.exp(2 * log_q - logsumexp(2 * log_q, axis=1, keepdims=True))
    agreed = -(sharp * log_q).sum(axis=1)[[1, 2, 4, 5]].mean()
    assert number(terms["classifier_loss"]) == pytest.approx(said, rel=1e-5)
    assert number(terms["agreement_loss"]) == pytest.approx(agreed, rel=1e-5)


# Of each label the classes that it leaves: 4 leaves, two groups, unknown.
TREE = keras_vae.Hierarchical(["animal/dog/husky", "animal/dog/pug", "animal/cat", "car"])
LEFT = [[0], [1], [2], [3], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def of_a_tree():
    keras.utils.set_random_seed(1)
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, (7,)),
        networks.DenseDecoder((5,), (7,)),
        {"label": TREE},
        classifier=networks.DenseClassifier(4, (8,), dropout=0.0, noise=0.0),
        seed=1,
    )
    model.build((None, 5))
    batch = {"x": RNG.random((7, 5), "float32"), "label": np.arange(7, dtype="int32")}
    return without_draws(model), batch


@pytest.mark.parametrize("draws", [False, True])
@ordinary_on("tensorflow", "torch")
def test_an_example_of_a_group_is_summed_over_the_classes_in_it(draws, monkeypatch):
    model, batch = of_a_tree()
    logits = float64_of(model.classifier(keras.ops.convert_to_tensor(batch["x"])))
    total, label_kl, said, agreed = np.zeros(7), np.zeros(7), np.zeros(7), np.zeros(7)
    log_all = log_softmax(logits, axis=1)
    for row, left in enumerate(LEFT):
        log_q = log_softmax(logits[row, left])
        label_kl[row] = (np.exp(log_q) * (log_q + np.log(len(left)))).sum()
        said[row] = -logsumexp(log_all[row, left])
        agreed[row] = -(np.exp(log_softmax(2 * log_q)) * log_all[row, left]).sum()
        for leaf, weight in zip(left, np.exp(log_q), strict=True):
            labels = {"label": np.full(7, leaf, "int32")}
            total[row] += weight * rows_with(model, batch, labels)[row]
    terms = model.loss_and_terms(tensors(batch), training=False).terms
    assert number(terms["label_kl_loss"]) == pytest.approx(label_kl.mean(), rel=1e-5)
    assert number(terms["classifier_loss"]) == pytest.approx(said[:6].mean(), rel=1e-5)
    assert number(terms["agreement_loss"]) == pytest.approx(agreed[4:].mean(), rel=1e-5)
    if draws:
        monkeypatch.setattr(label_inference, "SUMMED_AT_MOST", 2)
        batch = keras.tree.map_structure(lambda a: np.tile(a, (300,) + (1,) * (a.ndim - 1)), batch)
    terms = model.loss_and_terms(tensors(batch), training=False).terms
    found = number(terms["reconstruction_loss"]) + number(terms["kl_loss"])
    assert found == pytest.approx(total.mean(), rel=0.01 if draws else 2e-5)


@ordinary_on("torch")
def test_classes_of_a_tree_are_its_leaves_and_groups_their_sums():
    model, batch = of_a_tree()
    found = model.classify(batch)
    assert found.shape == (7, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    nodes = TREE.of_nodes(found)
    expected = np.stack([found[:, left].sum(axis=1) for left in LEFT[:6]], axis=1)
    np.testing.assert_allclose(nodes, expected, atol=1e-6)
    filled = model.fill_labels(batch)["label"]
    for row, left in enumerate(LEFT):
        assert filled[row] == left[int(found[row, left].argmax())]


@ordinary_on("torch")
def test_draws_have_the_mean_of_the_sum(monkeypatch):
    model = without_draws(make((3, 4), classifier_weight=0.0))
    batch = tensors(
        keras.tree.map_structure(
            lambda a: np.tile(a[:2], (400,) + (1,) * (a.ndim - 1)), batch_of(model, known=(0,))
        )
    )
    summed = number(model.loss_and_terms(batch, training=True).total)
    monkeypatch.setattr(label_inference, "SUMMED_AT_MOST", 2)
    drawn = number(model.loss_and_terms(batch, training=True).total)
    assert drawn == pytest.approx(summed, rel=0.01)


@ordinary_on("torch")
def test_the_bound_leaves_the_classifier_alone():
    model = make(classifier_weight=0.0)
    before = [w.copy() for w in map(float64_of, model.classifier.trainable_variables)]
    model.compile()
    batch = batch_of(model, rows=12, known=range(6))
    batch["label"][:3] = [0, 1, 2]
    model.fit(batch, batch_size=4, verbose=0)
    for old, new in zip(before, model.classifier.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, float64_of(new))


def test_few_labelled_rows_come_again_with_weights_that_make_up_for_it():
    few = np.zeros(1000, bool)
    few[[3, 500, 900]] = True
    found = strata.Strata(few, 0.2)
    orders = [found.order(np.random.default_rng([7, epoch])) for epoch in range(300)]
    assert all(len(order) == 1000 and few[order].sum() == 200 for order in orders)
    assert all(np.bincount(order[~few[order]]).max() == 1 for order in orders[:5])
    values = np.random.default_rng(0).random(1000)
    seen = np.mean([(values * found.weight)[order].mean() for order in orders])
    assert seen == pytest.approx(values.mean(), rel=0.003)
    np.testing.assert_array_equal(orders[4], found.order(np.random.default_rng([7, 4])))


def blobs(rows, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, rows)
    centres = np.array([[0.1, 0.1, 0.9, 0.5], [0.9, 0.1, 0.1, 0.5], [0.1, 0.9, 0.1, 0.5]])
    return np.clip(centres[label] + 0.08 * rng.standard_normal((rows, 4)), 0, 1).astype(
        "float32"
    ), label


def trained(labels=9, classifier="auto", epochs=30):
    x, label = blobs(600)
    given = np.full(600, UNKNOWN)
    given[:labels] = label[:labels]
    model = make(x_size=4, classifier=classifier)
    model.compile(keras.optimizers.Adam(3e-3))
    with pytest.warns(UserWarning, match="98.5% of the examples have no label"):
        model.fit({"x": x, "label": given}, batch_size=60, epochs=epochs, verbose=0)
    return model


@ordinary_on("torch")
def test_a_classifier_comes_with_unknown_labels_and_learns(tmp_path):
    model = trained()
    x, label = blobs(300, seed=1)
    found = model.classify(x)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == label).mean() > 0.97
    made = model.sample({"label": [0, 1, 2]}, temperature=0.0, seed=0)
    assert (made[:, [2, 0, 1]].argmax(axis=1) == [0, 1, 2]).all()
    filled = model.fill_labels({"x": x, "label": np.where(np.arange(300) < 5, label, UNKNOWN)})
    assert (filled["label"] == label).mean() > 0.97
    temperature = model.calibrate_classifier({"x": x, "label": label})["label"]
    assert 0.05 <= temperature <= 20
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.classify(x), model.classify(x), atol=1e-6)
    loaded.fit({"x": x, "label": label}, verbose=0)
    np.testing.assert_allclose(loaded.classify(x), loaded.classify({"x": x, "label": label}))


@ordinary_on("torch")
def test_none_trains_unknown_labels_as_a_class():
    model = make(x_size=4, classifier=None)
    model.compile()
    x, label = blobs(60)
    model.fit(
        {"x": x, "label": [*np.where(label == 0, label, UNKNOWN)[:-2].tolist(), 1, 2]}, verbose=0
    )
    assert not model.infers_labels
    with pytest.raises(ValueError, match=r"needs a ConditionalVAE with a classifier"):
        model.classify(x)


@ordinary_on("torch")
def test_a_classifier_must_give_a_logit_a_class():
    with pytest.raises(ValueError, match=r"logits of the 3 classes of label, \(batch, 3\)"):
        make(classifier=networks.DenseClassifier(4))


def test_temperatures_are_those_of_the_least_cross_entropy():
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((4000, 5))
    p = np.exp(log_softmax(logits / 2.5, axis=1))
    label = np.array([rng.choice(5, p=row) for row in p])
    q = np.exp(log_softmax(logits, axis=1))
    found = label_inference._temperature(q, label)
    grid = np.exp(np.linspace(np.log(0.5), np.log(10), 400))
    losses = [-log_softmax(np.log(q) / t, axis=1)[np.arange(4000), label].mean() for t in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.02)
    assert found == pytest.approx(2.5, rel=0.1)
