"""What can be refused without Keras is refused before Keras is imported."""

import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_vae
from keras_vae.commands.evaluate import WITHOUT_LIKELIHOOD
from keras_vae.commands.figures import PICTURES, PIECES, ROWS_OF_TABLES
from keras_vae.commands.sample import WITHOUT_LABELS
from keras_vae.figures import gallery

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "0.1.0"
# Every command line of a list, in one process that cannot import Keras.
PROGRAM = """
import contextlib, io, json, sys
sys.modules["keras"] = None
from keras_vae.__main__ import main
answers = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as stop:
            status = stop.code
    answers.append([status, out.getvalue(), err.getvalue()])
assert {"tensorflow", "jax", "torch"}.isdisjoint(sys.modules)
json.dump(answers, sys.stdout)
"""
EXPORTED = GOLDEN / "exported" / "vae_mixture"
HELP = [
    [*command, "--help"]
    for command in (
        [],
        ["train"],
        ["evaluate"],
        ["sample"],
        ["impute"],
        ["figures"],
        ["env"],
        ["export"],
    )
]
# Command lines in a folder that `folder` makes, and what the one line about each says.
REFUSED = {
    "train --data nosuch.npz": "'nosuch.npz', which is neither",
    "train --data text.npz": "must be a complete .npz file",
    "train --data keys.npz": "no y_test, only",
    "train --data flat.npz": "must be images (n, height, width)",
    "train --data labels.npz": "one label per image. Received: 3 labels, 4 images",
    "train --data floats.npz": "must be integer labels",
    "train --data channels.npz": "looks like channels first",
    "train --data empty": "one sub-folder per class",
    "train --data good.npz --image-size 32": "`image_size` needs a folder of images",
    "train --data good.npz --skip-broken": "`skip_broken` needs a folder of images",
    "train --data mixed --fit pad": "--fit needs --image-size",
    "train --data mixed --image-size 1": "`image_size` must be a whole number of at least 2",
    "train --data mixed --background blu --model vae": "must be the name of a colour",
    "train --data mixed --model vae": "train --data mixed --image-size 32.",
    "train --data mixed --image-size 8": "train without: --model vae",
    "train --data unlabelled.npz": "train without: --model vae",
    "train --data good.npz --out run": "holds a run already",
    "train --data good.npz --out good.npz": "good.npz, which is a file",
    "train --data good.npz --out good.npz/x --overwrite": "good.npz, which is a file",
    "train --data good.npz --resume": "--resume needs an interrupted run",
    "train --resume --out nosuch": "nosuch holds none",
    "train --epochs 0": "must be at least 1: 0",
    "train --learning-rate nan": "--learning-rate must be above 0",
    "train --kl-weight -1": "`--kl-weight` must be",
    "train --free-bits -1": "`--free-bits` must be",
    "train --unknown-rate 1": "`--unknown-rate` must be in [0, 1)",
    "train --model gan --class-loss-weight 2": "needs --model conditional_gan",
    "train --model conditional_gan --class-loss-weight -1": "`--class-loss-weight` must be",
    "train --model gan --label-smoothing 2": "`--label-smoothing` must be in [0, 1)",
    "train --model vq_vae --num-codes 1": "`--num-codes` must be",
    "train --model vq_vae --levels 3,1": "`--levels` must be",
    "train --model vq_vae --devices 2": "--devices must be 1",
    "train --model vae --prior conditional_normal": "needs --model conditional_vae",
    "train --model ladder_vae --latent-dims 3 --hidden-units 8,6": "one entry for each level",
    "train --model gan --objective iwae": "--objective needs --model",
    "train --data jsb": "--data jsb is music, for --model sequence_vae",
    "train --model sequence_vae": "--model sequence_vae needs music: --data jsb",
    "train --model sequence_vae --data jsb --gif": "--gif needs --model",
    "train --model sequence_vae --data jsb --condition tune": "must be one of 'melody', 'key'",
    "train --model sequence_vae --data nosuch.json": "Received: 'nosuch.json', none of these",
    "train --model vae --dropout 0.5": "--dropout needs --model sequence_vae",
    "train --data good.npz --kl-warmup 300": "--kl-warmup must be at most --epochs",
    "train --data nosuch.csv": "Received: 'nosuch.csv', no such file",
    "train --data empty.csv": "must have a header and rows. Received: an empty file",
    "train --data huge.csv": "must be at most 2 GiB, as it is read at once. Received: 10.0 GiB",
    "train --data twice.csv": "columns of different names. Received: 'a' twice",
    "train --data word.csv": "Column 'b' must be numbers. Received: 'many' in row 40000",
    "train --data ids.csv": "'who' is different in every row, an identifier",
    "train --data ids.csv --drop whom": "Received: 'whom'",
    "train --data ids.csv --drop who --condition whom": "`conditions` must be columns of 'ids.csv'",
    "train --data ids.csv --kinds a=hat": "--kinds must be NAME=KIND, of numeric, count, category",
    "train --data ids.csv --kinds x=count --drop who": "`kinds` must be columns of 'ids.csv'",
    "train --data ids.csv --drop who --prior conditional_normal": "needs --condition. Received: no",
    "train --data ids.csv --model vae": "ids.csv is a table, for --model table_vae. Received",
    "train --data ids.csv --network dense": "--network needs --model",
    "train --data ids.csv --drop who --kl-warmup 300": "--kl-warmup must be at most --epochs, 150",
    "train --model table_vae": "--model table_vae needs a table, a .csv or .parquet file",
    "train --drop a": "--drop needs --model table_vae. Received: --model conditional_vae",
    "evaluate nosuch": "There must be a run folder at nosuch",
    "evaluate empty": "must hold model.keras",
    "evaluate damaged": "must be a .keras file that is whole",
    "evaluate text": "must be a .keras file that is whole",
    "evaluate run": "'gone.npz', which is neither",
    "sample nosuch": "There must be a run folder at nosuch",
    "sample run --out x.jpg": "--out must end with .png or .npy",
    "sample run --out nosuch/x.png --label 9": "count them from 0 to 1. Received: '9'",
    "sample run --label four": "The classes are: ",
    "sample run --condition a=1": "must name a condition of the run, label. Received: a.",
    "sample run --melody own.mid": "--melody needs a SequenceVAE",
    "sample run --temperature -1": "`--temperature` must be",
    "sample run --seed -1": "not negative: -1",
    "sample run --out text/model.keras/x.png": "model.keras, which is a file",
    "impute nosuch ids.csv": "There must be a run folder at nosuch",
    "impute run ids.csv": "impute needs a model of a table. Received: ",
    "figures nosuch": "There must be a run folder at nosuch",
    "figures run --only hat": "--only must name pictures",
    "export --format coreml": "`format` must be one of",
    "export --graph hat": "`graph` must be one of",
    "export --model nosuch": "There is no model at nosuch",
    "export --model damaged": "must be a .keras file that is whole",
    "export --inspect nosuch.onnx": "nosuch.onnx: No such file",
    "export --inspect text.npz": "--inspect reads .tflite, .onnx and .c files",
    "export --verify nosuch.tflite": "nosuch.tflite: No such file",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the command lines name."""
    folder = tmp_path_factory.mktemp("fail_fast")
    (folder / "text.npz").write_text("no archive")
    x, y = np.zeros((4, 6, 5), "uint8"), np.arange(4) % 2
    good = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    for name, changed in {
        "good": {},
        "keys": {"y_test": None},
        "unlabelled": {"y_train": None, "y_test": None},
        "flat": {"x_train": x.reshape(4, -1)},
        "labels": {"y_train": y[:3]},
        "floats": {"y_train": y.astype("f4")},
        "channels": {"x_train": np.zeros((4, 3, 9, 9), "uint8")},
    }.items():
        arrays = {key: value for key, value in {**good, **changed}.items() if value is not None}
        np.savez(folder / f"{name}.npz", **arrays)
    (folder / "empty.csv").touch()
    with open(folder / "huge.csv", "wb") as file:
        file.truncate(10 * 2**30)
    (folder / "twice.csv").write_text("a,b,a\n1,2,3\n")
    rows = [f"{n % 7},{n % 11}" for n in range(41_000)]
    rows[39_999] = "3,many"
    (folder / "word.csv").write_text("\n".join(["a,b", *rows]))
    (folder / "ids.csv").write_text("\n".join(["a,who", *(f"{n % 7},p{n}" for n in range(50))]))
    (folder / "empty").mkdir()
    (folder / "mixed").mkdir()
    for size in range(4, 7):
        Image.new("RGB", (size, 8)).save(folder / "mixed" / f"{size}.png")
    shutil.copytree(GOLDEN / "run", folder / "run")
    config = json.loads((folder / "run" / "config.json").read_text())
    config["arguments"]["data"] = "gone.npz"
    config["class_names"] = ["one", "two"]
    (folder / "run" / "config.json").write_text(json.dumps(config))
    whole = (folder / "run" / "model.keras").read_bytes()
    for name, content in {"damaged": whole[: len(whole) // 2], "text": b"no archive"}.items():
        (folder / name).mkdir()
        (folder / name / "model.keras").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    lines = [*HELP, *(line.split() for line in REFUSED)]
    lines += [["export", option, str(EXPORTED / "scorer.onnx")] for option in ("--inspect",)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return {" ".join(line): answer for line, answer in zip(lines, said, strict=True)}


@pytest.mark.parametrize("line", REFUSED)
def test_bad_input_is_refused_in_one_line_without_keras(answers, line):
    status, out, err = answers[line]
    assert status == 2
    assert out == ""
    last = err.splitlines()[-1]  # argparse prints the usage first
    assert "error: " in last
    assert REFUSED[line] in last
    assert last == err.strip() or err.startswith("usage: ")


@pytest.mark.parametrize("line", [" ".join(words) for words in HELP])
def test_every_help_needs_no_keras(answers, line):
    status, out, err = answers[line]
    assert (status, err) == (0, "")
    assert out.startswith("usage: ")


def test_inspect_needs_no_keras(answers):
    [(status, out, err)] = [answers[line] for line in answers if "--inspect /" in line]
    assert (status, err) == (0, "")
    assert json.loads(out)["graph"] == "scorer"


def test_nothing_was_made_of_what_was_refused(answers, folder):
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        *("empty", "mixed", "run", "damaged", "text")
    }


def test_the_command_line_knows_the_pictures():
    assert tuple(gallery.PICTURES) == PICTURES
    assert tuple(gallery.PIECES) == PIECES
    assert tuple(gallery.ROWS_OF_TABLES) == ROWS_OF_TABLES


def test_the_command_line_knows_what_models_lack():
    """It refuses before it can ask the classes."""
    models = {
        name: cls
        for name, cls in vars(keras_vae.models).items()
        if isinstance(cls, type) and issubclass(cls, keras_vae.models.GenerativeModel)
    }
    for base in ("GenerativeModel", "LatentVariableModel"):
        del models[base]
    assert len(models) == 7
    for name, cls in models.items():
        assert hasattr(cls, "log_likelihood") == (name not in WITHOUT_LIKELIHOOD), name
        is_conditional = "condition" in inspect.signature(cls).parameters
        # A `VQVAE` has the labels of its prior.
        assert (is_conditional or name == "VQVAE") == (name not in WITHOUT_LABELS), name
