"""Functions of a model that are compiled: each for itself, and not for every number of rows."""

import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.doctor import samples
from keras_vae.training.batched import in_batches
from tests.conftest import BACKEND

LABELS = {"one": keras_vae.Categorical(3), "other": keras_vae.Categorical(2)}


def test_functions_of_one_name_that_close_over_other_things_are_two(make):
    model = make("VAE")
    model.build((None, 6, 5, 1))

    def times(factor):
        return model.as_compiled(lambda x: x * factor)

    for factor in (2.0, 3.0, 2.0):
        np.testing.assert_allclose(ops.convert_to_numpy(times(factor)(ops.ones(2))), factor)
    assert len(model.compiled_functions) == 2


def test_the_doctor_answers_for_the_label_that_it_is_asked_for(make, images):
    x, _ = images
    both, none = np.arange(48) % 2, np.zeros(48, "int64")
    model = make(condition=LABELS)
    asked = [{"x": x, "one": both, "other": none}, {"x": x, "one": none, "other": both}]
    found = []
    for inputs, name in zip(asked, LABELS, strict=True):
        found.append(samples.worth_of(model, name, inputs))
    for inputs, name, nats in zip(asked, LABELS, found, strict=True):
        model.forget_compiled()
        assert samples.worth_of(model, name, inputs) == pytest.approx(nats, abs=1e-6)
    assert found[0] != pytest.approx(found[1], abs=1e-4)


def test_few_functions_are_compiled_for_many_numbers_of_rows(make, images):
    x, labels = images
    model = make()
    inputs = {"x": x, "label": labels}
    calls = {
        "sample": lambda n: model.sample({"label": labels[:n]}, seed=5),
        "decode": lambda n: model.decode(np.eye(48, 3)[:n], {"label": labels[:n]}),
        "encode": lambda n: model.encode(_first(inputs, n))[0],
        "reconstruct": lambda n: model.reconstruct(_first(inputs, n)),
        "log_likelihood": lambda n: model.log_likelihood(_first(inputs, n), 3, seed=5),
    }
    counts = [*range(1, 8), 16, 15, 9]
    for name, call in calls.items():
        all_rows = call(48)
        seen = _count_calls(model)
        for n in counts:
            made = call(n)
            assert len(made) == n
            # 6e-7 at most: products of other numbers of rows are rounded otherwise.
            np.testing.assert_allclose(made, all_rows[:n], atol=5e-6, rtol=0, err_msg=name)
        if BACKEND != "torch":  # which compiles none
            # On JAX for 1, 2, 4, 8 and 16 rows; TensorFlow relaxes what it knows of a shape.
            assert len(seen) <= 5, name


def test_a_prior_over_codes_is_compiled_for_few_numbers_of_rows():
    prior = keras_vae.PixelCNN((2, 2), 4, seed=3)
    all_codes = prior.sample(9, seed=5)
    for n in range(1, 9):
        np.testing.assert_array_equal(prior.sample(n, seed=5), all_codes[:n])


def test_what_measures_a_batch_is_given_no_row_twice():
    def mean(rows):
        return [rows * 0 + ops.mean(rows)]

    (means,) = in_batches(mean, np.array([0.0, 0.0, 3.0], "float32"), 8, by_row=False)
    np.testing.assert_allclose(means, 1.0)


def _first(inputs, count):
    return {name: values[:count] for name, values in inputs.items()}


def _count_calls(model):
    """A list that grows with every pass through the network in Python: where it is traced."""
    seen = []
    for part in (model.encoder, model.decoder):
        call = type(part).call

        def counted(*args, part=part, call=call, **kwargs):
            seen.append(part.name)
            return call(part, *args, **kwargs)

        part.call = counted
    return _ByPart(seen)


class _ByPart:
    """How often the network was passed that was passed most."""

    def __init__(self, seen):
        self.seen = seen

    def __len__(self):
        return max((self.seen.count(name) for name in set(self.seen)), default=0)
