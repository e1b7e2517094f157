"""Labels in an order."""

import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import Categorical, Ordinal
from keras_vae.priors import fitted
from tests.conftest import make_model

SIZES = ("small", "middle", "large", "huge")
LABELS = np.array([2, 0, 4, 3, 1], "int32")


def thermometer(labels, count):
    """One entry after the other, from the definition."""
    return [[float(k <= y < count) for k in range(count)] for y in labels]


def test_a_label_is_1_up_to_its_class_and_unknown_is_zero():
    kind = Ordinal(SIZES)
    encoded = ops.convert_to_numpy(kind.encode(ops.convert_to_tensor(LABELS)))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, thermometer(LABELS, 4))
    np.testing.assert_array_equal(kind.vectors(), thermometer(range(5), 4))


def test_it_is_a_categorical_with_names_whose_manifest_says_that_it_is_ordered():
    kind = Ordinal(SIZES, unknown_rate=0.2, allow_absent_classes=True)
    assert isinstance(kind, Categorical)
    assert kind.as_array(["large", None, "small"]).tolist() == [2, 4, 0]
    assert kind.manifest() == {**Categorical(4, SIZES).manifest(), "ordered": True}
    assert Ordinal.from_config(kind.get_config()).get_config() == kind.get_config()
    for wrong in (None, "small", 3):
        with pytest.raises(ValueError, match=r"as in Ordinal\(names=\['low', 'high'\]\)"):
            Ordinal(wrong)
    with pytest.raises(ValueError, match="2 different strings"):
        Ordinal(["small", "small"])


def test_which_labels_occur_is_told_of_labels_not_of_vectors():
    for kind in (Ordinal(SIZES), Categorical(4)):
        for labels, expected in (([2, 2], [0, 0, 1, 0, 0]), ([4, 0, -1, 9], [1, 0, 0, 0, 1])):
            occurs = kind.occurrence(ops.convert_to_tensor(np.array(labels, "int32")))
            assert (ops.convert_to_numpy(occurs) > 0).tolist() == list(map(bool, expected))


@pytest.mark.parametrize("kind", [Ordinal(SIZES), Categorical(4)])
def test_a_fitted_prior_finds_the_row_of_a_label(kind):
    condition = {"angle": keras_vae.Continuous(2), "size": kind}
    model = make_model(condition=condition, compile_model=False)
    model.build()
    classes = fitted.classes_of(model)
    means = np.arange(5, dtype="float32")[:, None, None] * np.ones((1, 1, 3), "float32")
    prior = keras_vae.priors.FittedMixture.of(means, means + 1, np.ones((5, 1)), classes)
    model.replace_prior(prior)
    given = {"angle": np.ones((5, 2), "float32"), "size": LABELS}
    vectors = model.condition_vectors(given)
    cold = prior.sample(5, 3, temperature=0.0, seed=1, condition=vectors)
    np.testing.assert_array_equal(cold, means[LABELS, 0])


def test_a_learned_prior_is_a_table_of_the_labels_in_order():
    model = make_model(
        condition={"size": Ordinal(SIZES)},
        prior=keras_vae.priors.ConditionalNormal((4,)),
        compile_model=False,
    )
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.prior.weights:
        weight.assign(rng.normal(size=weight.shape))
    vectors = np.array(thermometer(LABELS, 4), "float32")
    expected, _ = model.prior.mean_and_log_var(vectors)
    made = model.prior.sample(5, 3, temperature=0.0, seed=1, condition=vectors)
    np.testing.assert_allclose(made, ops.convert_to_numpy(expected), rtol=0, atol=1e-6)
