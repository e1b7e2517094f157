"""Labels of many classes, each with a learned vector."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import Categorical, layers
from tests.conftest import make_model, ordinary_on

LABELS = np.array([2, 0, 4, 3, 2, 1], "int32")  # 4 is unknown


def small(**options):
    return make_model(condition={"label": Categorical(4, embedding_dim=3)}, **options)


def test_a_label_is_its_row_of_the_table_and_unknown_is_zero():
    model = small(compile_model=False)
    model.build()
    [table] = model.conditioning.weights
    assert tuple(table.shape) == (4, 3)
    expected = np.concatenate([ops.convert_to_numpy(table), np.zeros((1, 3))])[LABELS]
    np.testing.assert_array_equal(model.condition_vectors({"label": LABELS}), expected)
    # Neither -1 nor 5 is a class; a batch of a dataset may hold them.
    kind, outside = model.condition["label"], np.array([-1, 5], "int32")
    assert not ops.convert_to_numpy(kind.encode(ops.convert_to_tensor(outside), table)).any()


def test_many_classes_have_vectors_of_32_and_files_of_earlier_versions_one_hot_ones():
    assert [Categorical(256).size, Categorical(257).size, Categorical(9).size] == [256, 32, 9]
    assert Categorical(10_000, embedding_dim=0).size == 10_000
    kind = Categorical(300)
    assert kind.get_config()["embedding_dim"] == 32
    assert Categorical.from_config(kind.get_config()).size == 32
    earlier = {"num_classes": 300, "names": list(map(str, range(300))), "unknown_rate": 0.0}
    assert Categorical.from_config(earlier).size == 300
    # Left out of what earlier versions read.
    assert "embedding_dim" not in Categorical(300, embedding_dim=0).get_config()
    assert kind.manifest() == Categorical(300, embedding_dim=0).manifest()
    for wrong in (-1, 2.5, True):
        with pytest.raises(ValueError, match="`embedding_dim` must be a whole number"):
            Categorical(4, embedding_dim=wrong)


def test_training_moves_the_rows_of_the_labels_that_came_alone(tmp_path):
    model = small()
    x = np.random.default_rng(0).uniform(size=(16, 6, 5, 1)).astype("float32")
    model.compile(keras.optimizers.SGD(0.1))
    model.build((None, 6, 5, 1))
    [table] = model.conditioning.weights
    before = ops.convert_to_numpy(table).copy()
    model.fit({"x": x, "label": np.arange(16) % 2 * 2}, verbose=0)
    moved = np.any(ops.convert_to_numpy(table) != before, axis=1)
    assert moved.tolist() == [True, False, True, False]
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    again = loaded.sample({"label": LABELS}, seed=1)
    np.testing.assert_array_equal(again, model.sample({"label": LABELS}, seed=1))


def test_rows_that_several_examples_look_up_move_by_the_sum_of_their_gradients():
    model = small()
    x = np.random.default_rng(0).uniform(size=(16, 6, 5, 1)).astype("float32")
    model.build((None, 6, 5, 1))
    [table] = model.conditioning.weights
    before = ops.convert_to_numpy(table).copy()
    model.fit({"x": x, "label": np.arange(16) % 3}, batch_size=16, verbose=0)
    moved = np.abs(ops.convert_to_numpy(table) - before)
    # The first step of Adam is the learning rate, whatever the gradient. Measured: 3.3e-4 from it,
    # where one is as small as epsilon.
    np.testing.assert_allclose(moved[:3], 1e-2, rtol=0, atol=1e-3)
    assert not moved[3].any()


def test_encoder_and_decoder_and_prior_share_a_table():
    model = small(prior=keras_vae.priors.ConditionalNormal((4,)), compile_model=False)
    model.build()
    assert len(model.conditioning.weights) == 1
    assert model.prior.fixed() is model.prior  # no table of each label
    assert model.prior.manifest() == {"kind": "conditional_normal"}


@ordinary_on("torch")
def test_a_fitted_prior_is_one_for_all_labels():
    model = small()
    x = np.random.default_rng(0).uniform(size=(64, 6, 5, 1)).astype("float32")
    inputs = {"x": x, "label": (np.arange(64) % 4).astype("int32")}
    model.fit(inputs, verbose=0)
    assert model.fit_prior(inputs, kind="gaussian").classes == ()
    with pytest.raises(ValueError, match=r"for a model with the labels \[\]"):
        model.fit_prior(inputs, kind="gaussian", per_class="label")


def test_what_needs_one_hot_labels_says_how_to_have_them():
    networks = keras_vae.networks
    with pytest.raises(ValueError, match=r"labels with embedding_dim=0, .* for: label"):
        keras_vae.ConditionalGAN(
            networks.DenseDecoder((6, 5, 1), (4,)),
            networks.DenseDiscriminator((4,), num_classes=300),
            latent_dim=2,
            condition={"label": Categorical(300)},
        )
    model = keras_vae.SequenceVAE(
        networks.SequenceEncoder(3, 4, 4, 1, 8),
        networks.CausalDecoder((6, 2), 4, 4, dilations=(1, 2)),
        condition={"label": Categorical(4, embedding_dim=3)},
    )
    model.build()
    with pytest.raises(ValueError, match=r"learned vectors.* of label. Train .* embedding_dim=0"):
        model.as_exact()


def test_which_labels_occur_costs_no_vector_for_each():
    kind = Categorical(100_000)
    labels = ops.convert_to_tensor(np.array([99_999, 0, 100_000], "int32"))
    occurs = ops.convert_to_numpy(kind.occurrence(labels))
    assert np.flatnonzero(occurs).tolist() == [0, 99_999, 100_000]


def test_a_layer_without_learned_vectors_has_no_weights():
    assert layers.Conditioning({"label": Categorical(3)}).weights == []
    made = layers.Conditioning({"label": Categorical(3, embedding_dim=2)})
    made.build()
    assert [tuple(weight.shape) for weight in made.weights] == [(3, 2)]
