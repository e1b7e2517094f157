"""Damaged files are read or refused in one line; `python -m tests.attacks.fuzz` tries many more."""

import pytest

from tests.attacks import fuzz
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

# The others run the file in a runtime, which may crash this process.
SAFE_HERE = ("weights", "npz", "images", "run folder", "manifest", "inspect tflite", "inspect onnx")


def statuses(name, count, folder):
    refusals = [fuzz.read_damaged(name, i, folder / "files") for i in range(count)]
    for refusal in refusals:
        assert refusal is None or "\n" not in refusal
    return refusals


@pytest.mark.parametrize("name", SAFE_HERE)
def test_a_reader_survives_40_damaged_files(name, tmp_path):
    refusals = statuses(name, 40, tmp_path)
    assert None in refusals
    assert sum(refusal is not None for refusal in refusals) > 10


@pytest.mark.slow
def test_load_model_survives_100_damaged_files(tmp_path):
    assert sum(refusal is not None for refusal in statuses("model", 100, tmp_path)) > 50
