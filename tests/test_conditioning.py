"""Conditions: what they become, and what they may be."""

import tracemalloc

import numpy as np
import pytest
from keras import ops

from keras_vae import Categorical, Continuous


def test_a_label_becomes_its_unit_vector_and_unknown_becomes_zero():
    encoded = ops.convert_to_numpy(Categorical(3).encode(np.array([2, 0, 3, 1], "int32")))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]])


def test_many_classes_cost_no_table_of_all_of_them():
    kind = Categorical(2000)
    kind.encode(np.array([0], "int32"))  # what is imported and kept by the first call
    tracemalloc.start()
    encoded = kind.encode(np.array([1999, 2000], "int32"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ops.convert_to_numpy(encoded).sum() == 1
    assert peak < 1e6  # a table takes 16e6


@pytest.mark.parametrize("values", [["north"], [[1.0, "east"]], [[1.0], [2.0, 3.0]], [[{}, 1.0]]])
def test_numbers_that_are_none_are_refused_with_an_example(values):
    with pytest.raises(
        ValueError, match=r"`angle` must be numbers, 2 for .*\[\[0.0, 0.0\]\]"
    ) as err:
        Continuous(2).as_array(values, "angle")
    assert str(err.value).endswith(f"Received: {values!r}")
    with pytest.raises(ValueError, match=r"such as \[\[0.0, 0.0\]\]. Received: \(3,\)"):
        Continuous(2).as_array([1.0, 2.0, 3.0], "angle")
