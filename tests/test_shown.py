"""Every command and every block of code that the documents show runs, or it is said why not."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

import export
import keras_vae
from keras_vae import figures
from tests.conftest import BACKEND, make_model, ordinary_on
from tests.export.test_parity import converts_here
from tests.shown import ROOT, shown

SHOWN = shown()
# Commands that are not run here, and who runs them or why nobody does.
NOT_HERE = {
    r"python -m keras_vae .*adult.*": "minutes; test_table_commands.py",
    r"python (-m export|(mobile_demo/edge/)?sample\.py) .*(runs/adult|rows\.csv).*": (
        "tests/export/test_tables.py"
    ),
    r"python -m (keras_vae|export) .*runs/bach.*": "minutes; test_sequence_commands.py",
    r"python -m (keras_vae|export) .*runs/machine.*": "tests/test_series_commands.py",
    r"python mobile_demo/edge/sample\.py .*((machine|normal|readings)\.csv|--header ).*": (
        "tests/export/test_monitor.py"
    ),
    r"pip install .*": "tests/test_install.py runs them in empty environments",
    r"python3 -m venv \.venv|(\.|source) \.venv/.*": "tests/test_install.py makes environments",
    r"make demo": "tests/test_packaging.py runs what it runs",
    r"make (test|test-oldest|test-slow|test-web|coverage)": "they run these tests, or the page's",
    r"make release-check .*": "minutes, and empty environments",
    r"make docs": "minutes; .ci/run builds the site",
    r"KERAS_BACKEND=torch \.venv/bin/python -m pytest .*": "it runs these tests",
    r"KERAS_BACKEND=jax python -m tests\.kills .*": "an hour; tests/test_faults.py kills, too",
    r"make mobile.*|npm .*|MODELS=\S+ npm run build.*|cd mobile_demo/web && npm .*": (
        "`make test-web` builds and opens the page"
    ),
    r"python -m keras_vae .*(path/to/photos|rotated).*": "the reader's own data",
    r"cc -std=c99 .*": "tests/export/test_c_families.py compiles so, with more warnings",
    r"python -m export --model runs/harmoniser .*": "needs a model of hours of training",
    r"TF_CONFIG=.* python train\.py": "needs two machines",
    r"node tools/serve\.mjs .*": "needs a certificate, and never ends",
    r"KERAS_BACKEND=\w+ python benchmarks/(adult|chorales|table_runtimes)\.py.*": (
        "needs data that are not in the repository"
    ),
}
# What is made shorter, so that a command takes seconds: other data, fewer epochs and samples.
SHORTER = [
    (r"(train .*)--data mnist\b", r"\1--data mnist_small --epochs 1 --overwrite"),
    (r"--k [\d,]+", "--k 1,10 --examples 50"),
]
# Blocks that are not run here, by their language and a word in them.
BLOCKS_ELSEWHERE = {
    ("python", "digits = data.load"): "tests/test_packaging.py",
    ("python", 'data.sequences("jsb"'): "tests/test_music.py",
    ("python", "sampler.tflite"): "tests/test_docs.py",
    ("python", "sampler.onnx"): "tests/test_docs.py",
    ("c", "sampler_run"): "tests/test_docs.py",
    ("python", "keras.distribution"): "tests/test_distribution.py",
    ("python", "tf.distribute"): "tests/test_distribution.py",
    ("python", "torch.distributed"): "tests/test_distribution.py",
    ("js", "onnxruntime-web"): "benchmarks/runtimes has these lines, for Node",
    ("kotlin", ""): "needs a phone; the page says that it is untested",
    ("swift", ""): "needs a phone; the page says that it is untested",
}


def is_elsewhere(block):
    return any(
        block.language == language and word in block.text for language, word in BLOCKS_ELSEWHERE
    )


COMMANDS = [
    piece
    for piece in SHOWN
    if piece.language == "sh" and not any(re.fullmatch(p, piece.text) for p in NOT_HERE)
]
BLOCKS = [piece for piece in SHOWN if piece.language != "sh" and not is_elsewhere(piece)]


def test_nothing_that_is_shown_is_overlooked():
    """A new kind of command or block is either run here, or has its reason above."""
    assert len(COMMANDS) > 20
    ours = r"(python (-m (keras_vae|export)|(mobile_demo/edge/)?sample\.py)|keras-vae) .*"
    assert [piece.text for piece in COMMANDS if not re.fullmatch(ours, piece.text)] == []
    assert {block.language for block in BLOCKS} == {"python"}


@pytest.mark.parametrize("patterns", [NOT_HERE, dict(SHORTER)], ids=["not here", "shorter"])
def test_every_exception_is_still_needed(patterns):
    texts = [piece.text for piece in SHOWN if piece.language == "sh"]
    if patterns is not NOT_HERE:
        assert all(any(re.search(pattern, text) for text in texts) for pattern in patterns)
    unused = [p for p in NOT_HERE if not any(re.fullmatch(p, text) for text in texts)]
    assert unused == []
    blocks = [(piece.language, piece.text) for piece in SHOWN]
    for language, word in BLOCKS_ELSEWHERE:
        assert any(language == other and word in text for other, text in blocks), (language, word)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A clone as a reader has it, with a picture and, once they are exported, the files."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "mobile_demo").symlink_to(ROOT / "mobile_demo")
    shutil.copy(ROOT / "mobile_demo" / "edge" / "sample.py", folder)
    picture = np.zeros((1, 28, 28, 1), "float32")
    picture[:, 4:24, 12:16] = 1
    (folder / "image.png").write_bytes(figures.png(figures.image_grid(picture, 1)))
    return folder


def as_run(command):
    for pattern, shorter in SHORTER:
        command = re.sub(pattern, shorter, command)
    words = shlex.split(command)
    return [sys.executable, *(["-m", "keras_vae"] if words[0] == "keras-vae" else []), *words[1:]]


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="most of them run on TensorFlow anyway")
@pytest.mark.parametrize("piece", COMMANDS, ids=[piece.name for piece in COMMANDS])
def test_a_command_runs_as_it_is_shown(piece, workspace):
    """In the order of the documents: what one makes, the next may take."""
    words = as_run(piece.text)
    exported = workspace / "runs" / "mnist" / "export"
    for word in words:
        if re.fullmatch(r"\w+\.(tflite|onnx)", word) and not (workspace / word).exists():
            shutil.copy(exported / word, workspace)
        if word == "runs/mine" and not (workspace / word).exists():
            shutil.copytree(workspace / "runs" / "mnist", workspace / word)
    done = subprocess.run(
        words,
        cwd=workspace,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": BACKEND},
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]


# What the text around a block has said before it.
BEFORE = {
    "docs/reliability.md": lambda: {
        "model": make_model("VAE"),
        "x": np.random.default_rng(0).random((32, 6, 5, 1), "float32"),
    },
    "docs/doctor.md": lambda: trained_model(),
    "docs/deployment.md": lambda: {"export": export, "my_keras_model": labelled_decoder()},
}
MINUTES = {"docs/deployment.md"}


def trained_model():
    train, test = (np.random.default_rng(seed).random((32, 6, 5, 1), "float32") for seed in (0, 1))
    model = make_model("VAE")
    model.fit(train, epochs=1, verbose=0)
    return {"model": model, "train": train, "test": test}


def labelled_decoder():
    import keras

    z, label = keras.Input((16,), name="z"), keras.Input((), dtype="int32", name="label")
    joined = keras.layers.Concatenate()([z, keras.layers.CategoryEncoding(10, "one_hot")(label)])
    return keras.Model([z, label], keras.layers.Dense(4, "sigmoid")(joined))


def marks(block):
    return (converts_here, pytest.mark.slow) if block.place in MINUTES else ordinary_on("torch")


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.name, marks=marks(block)) for block in BLOCKS]
)
def test_a_block_of_code_runs_as_it_is_shown(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"keras_vae": keras_vae, **BEFORE.get(block.place, dict)()}
    exec(compile(block.text, block.place, "exec"), names)
