"""Labels that are leaves of a tree."""

import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import Categorical, Hierarchical
from keras_vae.priors import fitted
from tests.conftest import make_model, ordinary_on

LEAVES = ("animal/dog/husky", "animal/dog/pug", "animal/cat", "car")
NODES = (*LEAVES, "animal/dog", "animal")
EVERY = np.arange(7, dtype="int32")  # the last is unknown


def paths(labels):
    """1 at every node that a label begins with, of names alone."""

    def is_on_the_way(node, label):
        return label < len(NODES) and f"{NODES[label]}/".startswith(f"{node}/")

    return np.array([[is_on_the_way(node, label) for node in NODES] for label in labels], "float32")


def test_a_label_is_the_way_to_it_and_unknown_is_zero():
    kind = Hierarchical(LEAVES)
    assert (kind.names, kind.leaf_names, kind.num_classes) == (NODES, LEAVES, 6)
    encoded = ops.convert_to_numpy(kind.encode(ops.convert_to_tensor(EVERY[::-1].copy())))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, paths(EVERY[::-1]))
    np.testing.assert_array_equal(kind.vectors(), paths(EVERY))
    outside = ops.convert_to_tensor(np.array([-1, 7], "int32"))
    assert not ops.convert_to_numpy(kind.encode(outside)).any()


def test_groups_are_labels_by_their_names():
    kind = Hierarchical(LEAVES, unknown_rate=0.2, allow_absent_classes=True)
    assert isinstance(kind, Categorical)
    assert kind.as_array(["animal/dog", "car", None, "animal"]).tolist() == [4, 3, 6, 5]
    assert kind.manifest() == {**Categorical(6, NODES).manifest(), "num_leaves": 4}
    again = Hierarchical.from_config(kind.get_config())
    assert again.get_config() == kind.get_config()
    assert again.names == NODES
    with pytest.raises(ValueError, match=r"Received: 'dog'. The classes are: animal/dog/husky, "):
        kind.as_array(["dog"])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (None, r"as in Hierarchical\(names=\["),
        ("car", r"as in Hierarchical\(names=\["),
        (["a//b"], "separated by single '/', such as 'animal/dog'. Received: 'a//b'"),
        (["/a"], "separated by single '/'"),
        (["a/ "], "separated by single '/'"),
        (["a/b", "a"], "Received: 'a' and 'a/b'. Name it 'a/other'."),
        (["a/b", "a/b"], "different strings"),
    ],
)
def test_what_is_no_tree_is_refused_in_one_line(names, words):
    with pytest.raises(ValueError, match=words) as error:
        Hierarchical(names)
    assert str(error.value).isprintable()


def test_training_replaces_a_label_with_what_is_above_it_each_alike():
    kind, count, rate = Hierarchical(LEAVES, unknown_rate=0.6), 30_000, 0.6
    drawn = np.random.default_rng(0).uniform(size=count).astype("float32")
    above = {0: (4, 5, 6), 1: (4, 5, 6), 2: (5, 6), 3: (6,), 4: (5, 6), 5: (6,), 6: (6,)}
    for label, nodes in above.items():
        labels = ops.convert_to_tensor(np.full(count, label, "int32"))
        made = ops.convert_to_numpy(kind.hide(labels, ops.convert_to_tensor(drawn)))
        shares = np.bincount(made, minlength=7) / count
        expected = (1 - rate) * (label == EVERY)
        for node in nodes:
            expected[node] += rate / len(nodes)
        # Five standard errors.
        assert np.all(np.abs(shares - expected) < 5 * np.sqrt(0.25 / count))
        assert np.array_equal(made[drawn >= rate], np.full(sum(drawn >= rate), label))


def test_samples_without_a_label_are_of_classes_and_no_group_must_occur():
    kind = Hierarchical(LEAVES)
    kind.check_occurrence(np.array([1, 1, 1, 1, 0, 0, 1], bool))
    with pytest.raises(ValueError, match=r"never 2 \(animal/cat\)"):
        kind.check_occurrence(np.array([1, 1, 0, 1, 1, 1, 1], bool))
    model = make_model(condition={"label": kind}, compile_model=False)
    model.build()
    every = model.sample({"label": EVERY[:4].tolist() * 2}, seed=3)
    made = model.sample(count=8, seed=3)
    assert made.shape == every.shape
    of_group = model.sample({"label": "animal/dog"}, count=2, seed=3)
    np.testing.assert_array_equal(of_group, model.sample({"label": [4, 4]}, seed=3))
    drawn = keras_vae.training.inputs.sampled_conditions(model, None, 400, 5)["label"]
    assert sorted(set(drawn.tolist())) == [0, 1, 2, 3]


@ordinary_on("torch")
def test_a_prior_of_a_group_is_fitted_to_all_that_is_in_it():
    model = make_model(condition={"label": Hierarchical(LEAVES)})
    x = np.random.default_rng(0).uniform(size=(80, 6, 5, 1)).astype("float32")
    labels = (np.arange(80) % 4).astype("int32")
    model.fit({"x": x, "label": labels}, verbose=0)
    prior = model.fit_prior({"x": x, "label": labels}, kind="gaussian", seed=1)
    assert prior.classes == (("label", 0, 6),)
    codes = model.draw_codes({"x": x, "label": labels}, keras_vae.seeds.generator(1, "fit_prior"))
    for row, leaves in enumerate(([0], [1], [2], [3], [0, 1], [0, 1, 2], [0, 1, 2, 3])):
        mean = codes[np.isin(labels, leaves)].mean(axis=0)
        np.testing.assert_allclose(prior.means[row, 0], mean, rtol=0, atol=1e-5)
        # And it is drawn from by the label of the row.
        vectors = model.condition_vectors({"label": np.array([row], "int32")})
        cold = prior.sample(1, 3, temperature=0.0, seed=1, condition=vectors)
        np.testing.assert_array_equal(cold[0], prior.means[row, 0])


def test_a_learned_prior_has_a_row_of_every_node():
    learned = keras_vae.priors.ConditionalNormal((4,))
    model = make_model(condition={"label": Hierarchical(LEAVES)}, prior=learned)
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.prior.weights:
        weight.assign(rng.normal(size=weight.shape))
    expected, _ = model.prior.mean_and_log_var(paths(EVERY))
    made = model.prior.sample(7, 3, temperature=0.0, seed=1, condition=paths(EVERY))
    np.testing.assert_allclose(made, ops.convert_to_numpy(expected), rtol=0, atol=1e-6)
    assert fitted.classes_of(model) == (("label", 0, 6),)
