"""Every file that was made to do harm is refused in one line."""

import pytest

from tests.attacks import files
from tests.attacks.readers import READERS
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

# Each starts a process in which a runtime loads the file.
_IN_ITS_OWN_PROCESS = [name for name, attack in files.ATTACKS.items() if attack.words == "FAILED"]


def check(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    attack = files.ATTACKS[name]
    message = READERS[attack.reader](attack.make(folder))
    assert message is not None, "it was read"
    assert attack.words in message
    assert "\n" not in message
    assert len(message) < 1000
    assert not (folder / files.CANARY).exists()


@pytest.mark.parametrize("name", sorted(set(files.ATTACKS) - set(_IN_ITS_OWN_PROCESS)))
def test_an_attack_is_refused_in_one_line(name, tmp_path, monkeypatch):
    check(name, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(_IN_ITS_OWN_PROCESS))
def test_an_attack_on_a_runtime_fails_in_one_line(name, tmp_path, monkeypatch):
    check(name, tmp_path, monkeypatch)


def test_the_sound_files_that_attacks_are_made_of_are_read(tmp_path):
    model = files.with_members(tmp_path)
    data = files.npz(tmp_path)
    images = files.image_folder(tmp_path, files.png(4, 4, bytes(20)))
    for reader, path in (
        ("model", model),
        ("data", data),
        ("data", images),
        ("inspect", files.onnx_model(tmp_path, lambda model: None)),
        ("inspect", files.with_manifest(tmp_path, "tflite", files.manifest_with())),
    ):
        assert READERS[reader](path) is None
