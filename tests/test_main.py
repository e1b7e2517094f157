"""The command line on a small data set, as a user would run it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

import keras_vae
from export import examples
from keras_vae import callbacks, data
from keras_vae.__main__ import main
from keras_vae.commands.main import make_parser, with_arguments_of_run
from keras_vae.commands.train_arguments import LIKELIHOODS
from keras_vae.commands.train_defaults import (
    CLASS_LOSS_WEIGHT,
    DEFAULTS,
    EPOCHS_OF_COLOUR,
    FEW,
    FITTED_LATENTS,
    GAN_DEFAULTS,
    IMAGES_SEEN,
    fill_defaults,
)
from keras_vae.storage import files
from tests.conftest import BACKEND, SMALL, fails, ordinary_on
from tests.test_data import write_images


def test_train_leaves_a_run_folder_that_says_how_it_was_made(run, archive):
    names = {path.name for path in run.iterdir()}
    assert names == {"model.keras", "config.json", "history.csv", "evaluation.json"}
    config = json.loads((run / "config.json").read_text())
    assert config["arguments"]["data"] == str(archive)
    assert config["arguments"]["epochs"] == 2
    assert config["arguments"]["seed"] == 0
    assert config["backend"] == BACKEND
    assert config["class_names"] == ["one", "two", "three"]
    assert config["versions"]["keras"] == keras.__version__
    assert config["finished"] >= config["started"]
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["loss"] == pytest.approx(
        evaluation["reconstruction_loss"] + evaluation["kl_loss"], rel=1e-6
    )
    assert evaluation["elbo"] == pytest.approx(-evaluation["loss"], rel=1e-6)
    assert isinstance(keras_vae.load_model(run), keras_vae.ConditionalVAE)


def test_the_same_seed_trains_the_same_model(run, archive, tmp_path):
    assert main(["train", "--data", str(archive), "--out", str(tmp_path / "again"), *SMALL]) == 0
    first, second = (keras_vae.load_model(path) for path in (run, tmp_path / "again"))
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))


def test_evaluate_prints_and_writes_the_terms(run, capsys):
    assert main(["evaluate", str(run), "--num-samples", "20", "--examples", "8"]) == 0
    said = capsys.readouterr().out
    for word in ("kl_loss", "log_likelihood", "Next: python -m keras_vae figures"):
        assert word in said
    results = json.loads((run / "evaluation.json").read_text())
    assert results["num_samples"] == 20
    assert results["examples"] == 8
    assert main(["evaluate", str(run)]) == 0
    # As the training measured its last epoch: one seed, one number.
    results = json.loads((run / "evaluation.json").read_text())
    last = (run / "history.csv").read_text().splitlines()
    last = dict(zip(*(line.split(",") for line in (last[0], last[-1])), strict=True))
    for name in ("loss", "reconstruction_loss", "kl_loss"):
        assert results[name] == pytest.approx(float(last[f"val_{name}"]), rel=1e-5)
    assert "log_likelihood" not in json.loads((run / "evaluation.json").read_text())


@ordinary_on("torch")
def test_evaluate_takes_several_k_and_judges_the_samples(run, capsys):
    asked = ["--k", "1,4,20", "--examples", "100", "--scorecard", "--doctor"]
    assert main(["evaluate", str(run), *asked]) == 0
    said = capsys.readouterr().out
    for word in (
        "Measuring 12 test images",
        "20 importance samples: about 1 s",
        "fewer than",
        "ssim",
        "mutual_information",
        "std. error",
        "Doctor",
    ):
        assert word in said
    assert "sample_accuracy" in said
    assert "left out: the bernoulli likelihood of these data is no probability" in said
    assert said.splitlines()[-1].startswith("Next: python -m keras_vae")
    results = json.loads((run / "evaluation.json").read_text())
    assert [row["num_samples"] for row in results["log_likelihoods"]] == [1, 4, 20]
    assert set(results["findings"]) == {"found", "left_out"}
    assert results["examples"] == 12
    assert (run / "classifier.keras").is_file()
    (run / "classifier.keras").unlink()


@ordinary_on("torch")
def test_one_class_and_a_latent_of_one_dimension_are_measured(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (30, 6, 5)).astype("uint8")
    arrays = {"x_train": x[:24], "x_test": x[24:]}
    path, folder = tmp_path / "one.npz", str(tmp_path / "run")
    np.savez(path, y_train=np.zeros(24, "int32"), y_test=np.zeros(6, "int32"), **arrays)
    small = ["--hidden-units", "4", "--latent-dim", "1", "--epochs", "1", "--batch-size", "8"]
    likelihood = ["--likelihood", "categorical"]
    assert main(["train", "--data", str(path), "--out", folder, *small, *likelihood]) == 0
    assert main(["evaluate", folder, "--k", "2", "--scorecard", "--doctor"]) == 0
    said = capsys.readouterr().out
    assert "scorecard left out: the data are of one class" in said
    assert "ignored_labels, not looked for" in said
    results = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert 4 < results["bits_per_dimension"] < 12
    assert len(results["latents"]["kl_per_latent"]) == 1


def test_train_takes_likelihoods_that_are_there():
    for name in LIKELIHOODS:
        assert isinstance(keras_vae.likelihoods.get(name), keras_vae.likelihoods.Likelihood)


@ordinary_on("torch")
@pytest.mark.parametrize("likelihood", ["gaussian", "discretized_logistic_mixture"])
def test_a_run_with_another_likelihood_is_trained_measured_and_drawn(
    archive, tmp_path, capsys, likelihood
):
    folder = tmp_path / "run"
    arguments = ["--model", "vae", "--likelihood", likelihood, "--out", str(folder)]
    assert main(["train", "--data", str(archive), *arguments, *SMALL]) == 0
    assert keras_vae.load_model(folder).likelihood.name == likelihood
    assert main(["evaluate", str(folder), "--num-samples", "5"]) == 0
    assert main(["figures", str(folder)]) == 0
    assert main(["sample", str(folder), "--out", str(tmp_path / "x.png")]) == 0


def test_sample_repeats_with_the_seed_and_takes_names(run, tmp_path, capsys):
    from PIL import Image

    arrays = []
    for label in ("two", "1"):
        out = tmp_path / f"{label}.npy"
        arguments = ["--label", label, "--count", "5", "--seed", "42", "--out", str(out)]
        assert main(["sample", str(run), *arguments]) == 0
        arrays.append(np.load(out))
    np.testing.assert_array_equal(*arrays)
    model = keras_vae.load_model(run)
    np.testing.assert_array_equal(arrays[0], model.sample({"label": [1] * 5}, seed=42))
    out = tmp_path / "all.png"
    assert main(["sample", str(run), "--count", "4", "--out", str(out)]) == 0
    factor = 11  # 6 pixels become at least 64
    with Image.open(out) as picture:
        assert picture.size == (4 * (5 * factor + 2) + 2, 3 * (6 * factor + 2) + 2)
    assert "Next: python -m keras_vae export" in capsys.readouterr().out


def drawn(run):
    """Names of the pictures that `figures` draws of a run."""
    assert main(["figures", str(run)]) == 0
    return {path.name for path in (run / "figures").iterdir()}


OF_TWO_DIMENSIONS = {
    *("learning_curves.png", "samples.png", "manifold.png", "traversals.png"),
    "nearest_training_images.png",
    *("interpolation.png", "interpolation.gif"),
}
OF_CLASSES = {"samples_by_class.png", "style_transfer.png"}
OF_CODES = {"reconstructions.png", "latent.png", "kl_by_dimension.png"}


@ordinary_on("torch")
def test_figures_draws_whatever_the_model_allows(run, capsys):
    from PIL import Image

    names = drawn(run)
    assert names == OF_TWO_DIMENSIONS | OF_CLASSES | OF_CODES
    said = capsys.readouterr().out
    assert "Left out latent_projections: the latent has only 2 dimensions" in said
    assert "Left out codebook_usage: a ConditionalVAE has no codebook." in said
    for name in names:
        with Image.open(run / "figures" / name) as image:
            picture = np.asarray(image.convert("L"))
        assert picture.std() > 5  # it shows something
        assert min(picture.shape) > 100


@ordinary_on("torch")
@pytest.mark.parametrize("model", ["vae", "autoencoder"])
def test_the_other_models_train_and_draw(archive, tmp_path, capsys, model):
    folder = str(tmp_path / model)
    arguments = ["--model", model, "--network", "conv", "--data", str(archive), "--out", folder]
    assert main(["train", *arguments, *SMALL]) == 0
    assert main(["figures", folder]) == 0
    capsys.readouterr()
    if model == "vae":
        assert main(["sample", folder, "--seed", "1", "--out", str(tmp_path / "v.png")]) == 0
        fails(capsys, ["sample", folder, "--label", "one"], "takes no --label")
    else:
        fails(capsys, ["sample", folder], "needs a model with a prior")


@ordinary_on("torch")
def test_train_takes_an_objective_and_a_warm_up(archive, tmp_path):
    folder = tmp_path / "iwae"
    asked = ["--objective", "iwae", "--num-samples", "3", "--kl-warmup", "2"]
    assert main(["train", "--data", str(archive), "--out", str(folder), *SMALL, *asked]) == 0
    model = keras_vae.load_model(folder)
    assert isinstance(model.objective, keras_vae.objectives.IWAE)
    assert model.num_samples == 3
    assert [model.kl_schedule(epoch) for epoch in range(3)] == [0.5, 1.0, 1.0]
    evaluation = json.loads((folder / "evaluation.json").read_text())
    # The bound is of three draws, the KL is exact: they differ by what the draws are worth.
    assert evaluation["loss"] < evaluation["reconstruction_loss"] + evaluation["kl_loss"] + 0.1


@ordinary_on("torch")
def test_train_takes_a_full_covariance(archive, tmp_path):
    folder = tmp_path / "run"
    asked = ["--posterior", "full_covariance", "--objective", "iwae", "--num-samples", "2"]
    assert main(["train", "--data", str(archive), "--out", str(folder), *SMALL, *asked]) == 0
    model = keras_vae.load_model(folder)
    assert isinstance(model.posterior, keras_vae.posteriors.FullCovarianceNormal)
    assert model.objective.gradient == "reparameterized"


@ordinary_on("torch")
def test_a_ladder_is_trained_measured_drawn_and_sampled(archive, tmp_path, capsys):
    folder = tmp_path / "ladder"
    arguments = ["--data", str(archive), "--model", "ladder_vae", "--kl-warmup", "1"]
    arguments += ["--hidden-units", "8,6", "--latent-dims", "3,2", "--epochs", "2"]
    assert main(["train", *arguments, "--prior", "fitted_mixture", "--out", str(folder)]) == 0
    model = keras_vae.load_model(folder)
    assert isinstance(model.posterior, keras_vae.posteriors.Ladder)
    assert list(model.decoder.latent_dims) == [3, 2]
    assert isinstance(model.prior, keras_vae.priors.FittedMixture)
    assert main(["evaluate", str(folder), "--num-samples", "5"]) == 0
    assert main(["figures", str(folder)]) == 0
    assert main(["sample", str(folder), "--seed", "1", "--out", str(tmp_path / "x.png")]) == 0
    capsys.readouterr()
    fails(capsys, ["train", *arguments, "--latent-dim", "3"], "--latent-dim needs --model")
    fails(capsys, ["train", "--latent-dims", "3"], "--latent-dims needs --model ladder_vae")
    fails(capsys, ["train", *arguments, "--latent-dims", "3"], "one entry for each level")


@ordinary_on("torch")
def test_a_ladder_of_convolutions_is_trained_and_sampled(archive, tmp_path, capsys):
    folder = tmp_path / "ladder"
    arguments = ["--data", str(archive), "--model", "ladder_vae", "--network", "conv"]
    assert main(["train", *arguments, "--epochs", "1", "--out", str(folder)]) == 0
    # By the data: images of 6x5 are halved to 3x3 and 2x2.
    said = capsys.readouterr().out
    assert "--hidden-units 24,40 " in said
    assert "--latent-dims 1,4\n" in said
    assert keras_vae.load_model(folder).decoder.latent_dims == [9, 16]
    assert main(["sample", str(folder), "--seed", "1", "--out", str(tmp_path / "x.png")]) == 0


@ordinary_on("torch")
@pytest.mark.parametrize("model", ["gan", "conditional_gan"])
def test_gans_train_evaluate_draw_and_sample(archive, tmp_path, capsys, model):
    folder = tmp_path / model
    network = "conv" if model == "gan" else "dense"
    arguments = ["--model", model, "--network", network, "--data", str(archive)]
    arguments += ["--spectral-normalization", "--label-smoothing", "0.1"]
    assert main(["train", *arguments, "--out", str(folder), *SMALL]) == 0
    loaded = keras_vae.load_model(folder)
    assert loaded.label_smoothing == 0.1
    assert getattr(loaded, "class_loss_weight", CLASS_LOSS_WEIGHT) == CLASS_LOSS_WEIGHT
    results = json.loads((folder / "evaluation.json").read_text())
    assert {"discriminator_loss", "generator_loss"} <= set(results)
    assert main(["evaluate", str(folder), "--examples", "8"]) == 0
    classes = OF_CLASSES if model == "conditional_gan" else set()
    assert drawn(folder) == OF_TWO_DIMENSIONS | classes
    label = ["--label", "two"] if model == "conditional_gan" else []
    out = str(tmp_path / "x.npy")
    assert main(["sample", str(folder), *label, "--count", "3", "--seed", "1", "--out", out]) == 0
    assert np.load(out).shape == (3, 6, 5, 1)
    capsys.readouterr()
    fails(capsys, ["evaluate", folder, "--num-samples", "5"], "needs a VAE, which has a likelihood")
    assert main(["evaluate", str(folder), "--k", "5", "--ais", "--scorecard", "--doctor"]) == 0
    said = capsys.readouterr().out
    for word in ("reconstructions", "latents", "log_likelihoods", "annealed", "encoder"):
        assert f"{word} left out" in said or f"has no {word}" in said
    what = "label_leakage" if model == "conditional_gan" else "scorecard"
    assert f"{what} left out: " in said


def test_an_interrupted_run_keeps_its_model_and_resumes_bit_identical(
    run, archive, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "interrupted"
    arguments = ["train", "--data", str(archive), "--out", str(folder), *SMALL]

    class Interrupt(callbacks.Checkpoint):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if self.epoch == 1 and batch >= 1:  # JAX and TensorFlow take all steps at once
                raise KeyboardInterrupt

    arguments += ["--save-every", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "Checkpoint", Interrupt)
        assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.err == "error: interrupted\n"
    again = ["train", "--resume", "--out", str(folder)]
    assert f"\n  python -m keras_vae {shlex.join(again)}\n" in said.out
    keras_vae.load_model(folder)
    fails(capsys, arguments, "--overwrite")
    words = "Received: --epochs 3, for 2 in the run; --seed 7, for 0 in the run. Leave them out"
    fails(capsys, [*again, "--epochs", "3", "--seed", "7"], words)
    fails(capsys, [*again, "--data", "digits"], "must")
    # Those given again are those of the run.
    assert main([*again, "--epochs", "2", "--data", str(archive), "--save-every", "3"]) == 0
    whole, resumed = (keras_vae.load_model(path) for path in (run, folder))
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    assert len((folder / "history.csv").read_text().splitlines()) == 3
    assert not (folder / "checkpoints").exists()
    assert (folder / "history.csv").read_text() == (run / "history.csv").read_text()
    fails(capsys, again, "interrupted run")


@ordinary_on("torch")
def test_a_run_keeps_the_order_of_classes_in_which_it_began(tmp_path, capsys, monkeypatch):
    data, folder = write_images(tmp_path / "set", {"2": 20, "10": 10}), tmp_path / "run"
    (data / "notes.txt").write_text("?")
    arguments = ["train", "--data", str(data), "--out", str(folder), *SMALL]

    class Interrupt(callbacks.Checkpoint):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            if epoch == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "Checkpoint", Interrupt)
        patch.setattr(
            "keras_vae.data.image_folders._natural", str
        )  # as runs of older versions have it
        warnings.filterwarnings("default", "Passed over")
        assert main(arguments) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("warning: Passed over in ")
    assert said[-1] == "error: interrupted"
    (data / "notes.txt").unlink()
    assert main([*arguments, "--resume"]) == 0
    evaluation = (folder / "evaluation.json").read_text()
    assert keras_vae.load_model(folder).condition["label"].names == ("10", "2")
    assert main(["evaluate", str(folder)]) == 0
    again = json.loads((folder / "evaluation.json").read_text())
    for name, value in json.loads(evaluation).items():
        assert again[name] == pytest.approx(value, rel=1e-5), name
    held_out = examples.held_out(keras_vae.load_model(folder), folder, print)
    assert np.bincount(held_out["label"]).tolist() == [2, 4]
    config = json.loads((folder / "config.json").read_text())
    for names, words in ((["2"], "another, '10'"), (7, "class_names must be a list of text")):
        (folder / "config.json").write_text(json.dumps({**config, "class_names": names}))
        fails(capsys, ["evaluate", folder], words)


def test_a_resumed_run_goes_on_with_its_backend_and_arguments(run, monkeypatch):
    argv = ["train", "--resume", "--out", str(run)]
    given = make_parser().parse_args(argv)
    assert with_arguments_of_run(given, argv).backend is None  # Keras has been imported
    monkeypatch.delitem(sys.modules, "keras")
    args = with_arguments_of_run(given, argv)
    assert args.backend == BACKEND
    assert (args.epochs, args.hidden_units, args.latent_dim) == (2, (8,), 2)
    other = [*argv, "--backend", "jax"]
    assert with_arguments_of_run(make_parser().parse_args(other), other).backend == "jax"


@ordinary_on("torch")
def test_ctrl_c_in_a_real_process_leaves_a_model(archive, tmp_path):
    folder = tmp_path / "run"
    arguments = ["train", "--data", archive, "--out", folder, *SMALL, "--epochs", "100000"]
    # What a shell starts in the background ignores the signal, and so would its children.
    code = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('keras_vae', run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KERAS_BACKEND": BACKEND},
    )
    while "Epoch 3/" not in (process.stdout.readline() or "Epoch 3/"):
        pass
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in err
    assert "--resume" in out
    keras_vae.load_model(folder)


def test_two_processes_never_write_one_run(archive, tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["train", "--data", archive, "--out", folder, *SMALL]
    with files.locked(folder):
        fails(capsys, arguments, "One process at a time may write into", status=1)
        assert [path.name for path in folder.iterdir()] == [files.LOCK]


@ordinary_on("torch")
def test_the_backend_is_chosen_before_keras_is_imported(run):
    other = "torch" if BACKEND != "torch" else "jax"
    command = [sys.executable, "-m", "keras_vae", "env", "--backend", other]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"backend {other}" in done.stdout
    assert done.stderr == ""


def test_bad_arguments_are_one_line(run, archive, tmp_path, capsys):
    data = ["--data", archive, "--out", tmp_path / "new"]
    fails(capsys, ["train", "--data", "nowhere"], "nowhere")
    fails(capsys, ["train", *data, "--learning-rate", "0"], "--learning-rate")
    fails(capsys, ["train", *data, "--kl-weight", "-1", *SMALL], "`--kl-weight`")
    fails(capsys, ["train", *data, "--kl-warmup", "3", *SMALL], "at most --epochs, 2. Received: 3")
    fails(capsys, ["train", *data, "--free-bits", "-1", *SMALL], "`--free-bits`")
    autoencoder = ["train", *data, "--model", "autoencoder", *SMALL]
    fails(
        capsys,
        [*autoencoder, "--objective", "iwae"],
        "--objective needs --model vae or conditional_vae",
    )
    fails(capsys, ["train", "--data", archive, "--out", run, *SMALL], "holds a run already")
    fails(
        capsys,
        ["train", "--data", archive, "--out", archive, *SMALL],
        "must be a folder. Received: ",
    )
    fails(
        capsys,
        ["train", "--data", archive, "--out", archive / "x", *SMALL],
        "shapes.npz, which is a file",
    )
    fails(capsys, ["train", *data, "--resume", *SMALL], "interrupted run")
    fails(capsys, ["train", "--resume", "--out", tmp_path / "nowhere"], "nowhere holds none")
    (tmp_path / "config.json").write_text('{"arguments": []}')
    fails(capsys, ["train", "--resume", "--out", tmp_path], "config.json is damaged")
    fails(capsys, ["sample", run, "--label", "four"], "'four'. The classes are: one, two, three")
    fails(capsys, ["sample", run, "--label", "3", "--label", "9"], "from 0 to 2")
    fails(capsys, ["sample", run, "--temperature", "-1"], "`--temperature`")
    fails(capsys, ["sample", run, "--out", "picture.jpg"], ".png or .npy")
    fails(capsys, ["sample", tmp_path], "model.keras")
    fails(capsys, ["sample", tmp_path / "nothing"], "run folder")
    fails(capsys, ["evaluate", tmp_path], "model.keras")
    other = "torch" if BACKEND != "torch" else "jax"
    fails(capsys, ["evaluate", run, "--backend", other], "KERAS_BACKEND")
    assert not (tmp_path / "new" / "model.keras").exists()


def test_wrong_usage_exits_with_2(capsys):
    for arguments in ([], ["paint"], ["train", "--epochs", "0"], ["sample", "x", "--seed", "-1"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2


def test_a_full_disk_leaves_no_half_written_file(run, capsys, monkeypatch):
    evaluation = (run / "evaluation.json").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    fails(capsys, ["evaluate", run], "No space left on device", status=1)
    assert (run / "evaluation.json").read_bytes() == evaluation
    assert not list(run.glob("*part*"))


@ordinary_on("torch")
@pytest.mark.filterwarnings("default:Passed over")
def test_a_folder_of_photographs_is_trained_on_and_measured_as_it_is(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for size in range(8, 18):
        Image.new("RGB", (size, 12), (20 * size % 256, 9, 9)).save(photos / f"{size}.png")
    (photos / "torn.png").write_bytes(b"no image")
    train = ["train", "--data", str(photos), "--model", "vae", "--out", str(tmp_path / "run")]
    fails(capsys, [*train, *SMALL], "must be a complete image")
    (photos / "torn.png").unlink()
    fails(capsys, [*train, *SMALL], "--image-size 32")
    (photos / "torn.png").write_bytes(b"no image")
    options = ["--image-size", "10x8", "--skip-broken", "--network", "dense"]
    assert main([*train, *options, *SMALL]) == 0
    said = capsys.readouterr()
    assert "warning: Passed over 1 of 11 images that cannot be read: 'torn.png'.\n" in said.err
    assert "8 training and 2 test images" in said.out
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert keras_vae.load_model(tmp_path / "run").data_shape == (8, 10, 3)


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_the_defaults_name_every_setting(name):
    assert set(DEFAULTS[name]) == set(DEFAULTS["grey"])
    assert set(GAN_DEFAULTS[name]) <= set(DEFAULTS[name])


def test_few_greys_get_fewer_latents_and_more_epochs():
    for count, expected in (
        (FEW - 1, (4, 60, "standard_normal")),
        (FEW, (FITTED_LATENTS, 20, "auto")),
    ):
        args, said = chosen_for((28, 28, 1), count)
        assert (args.latent_dim, args.epochs, args.prior) == expected
        assert ("--prior auto" in said) == (args.prior == "auto")


def test_many_greys_get_the_prior_that_can_be_fitted(monkeypatch):
    for options in (["--objective", "iwae"], ["--model", "vq_vae"], ["--model", "ladder_vae"]):
        assert chosen_for((28, 28, 1), FEW, *options)[0].prior == "standard_normal"
    args, _ = chosen_for((28, 28, 1), FEW, "--prior", "standard_normal")
    assert (args.latent_dim, args.prior) == (DEFAULTS["grey"]["latent_dim"], "standard_normal")
    monkeypatch.setattr("keras_vae.backends.is_installed", lambda name: name != "sklearn")
    assert chosen_for((28, 28, 1), FEW)[0].prior == "standard_normal"


def chosen_for(shape, count=1700, *options):
    args = make_parser().parse_args(["train", "--model", "conditional_vae", *options])
    x = np.broadcast_to(np.zeros((), "uint8"), (count, *shape))
    return args, fill_defaults(args, data.Dataset("many", x, None, x, None, ("a", "b")))


@pytest.mark.parametrize(
    ("side", "widths", "latent_dim"),
    [
        (16, (32, 64), 64),
        (32, (32, 64, 128), 64),
        (48, (32, 64, 128), 64),
        (64, (32, 64, 128, 128), 96),
        (96, (16, 32, 64, 128), 128),
        (128, (16, 32, 64, 128, 128), 128),
    ],
)
def test_colour_gets_a_network_by_its_size(side, widths, latent_dim):
    args, said = chosen_for((side, side, 3))
    assert (args.network, args.hidden_units, args.latent_dim) == ("conv", widths, latent_dim)
    assert 4 <= -(-side // 2 ** len(widths)) <= 7
    assert (args.likelihood, args.prior, args.residual_blocks) == ("gaussian_optimal", "auto", 1)
    assert said.startswith(
        f"For 1,700 images of {side}x{side} colour: --network conv --hidden-units"
    )


def test_what_is_asked_for_is_never_changed():
    args, said = chosen_for((32, 32, 3), 1700, "--prior", "standard_normal", "--epochs", "3")
    assert (args.prior, args.epochs) == ("standard_normal", 3)
    assert "--prior" not in said
    args, _ = chosen_for((32, 32, 3), 1700, "--dynamic-binarization")
    assert args.likelihood == "bernoulli"
    args, _ = chosen_for((32, 32, 3), 1700, "--network", "dense")
    assert (args.hidden_units, args.residual_blocks) == ((512, 512), None)
    args, _ = chosen_for((28, 28, 1))
    assert (args.likelihood, args.prior) == ("bernoulli", "standard_normal")
    with pytest.raises(ValueError, match="--residual-blocks needs --network conv"):
        chosen_for((28, 28, 1), 1700, "--residual-blocks", "1")


def test_a_gan_that_was_begun_with_another_weight_of_its_classes_keeps_it():
    for options, weight in (([], CLASS_LOSS_WEIGHT), (["--class-loss-weight", "2"], 2.0)):
        args, said = chosen_for((28, 28, 1), 1700, "--model", "conditional_gan", *options)
        assert args.class_loss_weight == weight
        assert ("--class-loss-weight 3.0" in said) == (not options)
    # Its config does not say any.
    args, _ = chosen_for((28, 28, 1), 1700, "--model", "conditional_gan", "--resume")
    assert args.class_loss_weight == 1.0
    assert chosen_for((28, 28, 1))[0].class_loss_weight is None


def test_many_colour_images_get_fewer_epochs():
    epochs = [chosen_for((32, 32, 3), count)[0].epochs for count in (500, 4000, 50_000)]
    assert epochs == [EPOCHS_OF_COLOUR[1], IMAGES_SEEN // 4000, EPOCHS_OF_COLOUR[0]]
    # An image of 64x64 takes four times as long.
    assert chosen_for((64, 64, 3), 1000)[0].epochs in (98, 99, 100)


@ordinary_on("torch")
def test_colour_is_trained_and_given_the_best_prior(tmp_path, capsys):
    y = np.arange(48) % 2
    x = np.random.default_rng(0).integers(0, 60, (48, 8, 8, 3)).astype("uint8")
    x[np.arange(48), :, 4 * y] += 180
    arrays = {"x_train": x[:36], "y_train": y[:36], "x_test": x[36:], "y_test": y[36:]}
    np.savez(tmp_path / "colours.npz", **arrays)
    run = tmp_path / "run"
    options = ["--hidden-units", "4", "--latent-dim", "2", "--epochs", "2", "--out", str(run)]
    assert main(["train", "--data", str(tmp_path / "colours.npz"), *options]) == 0
    said = capsys.readouterr().out
    assert "For 36 images of 8x8 colour: --network conv --batch-size" in said
    assert "Choosing the prior by 12 held-out images" in said
    choice = json.loads((run / "config.json").read_text())["prior_choice"]
    assert choice["kept"] in choice["priors"]
    model = keras_vae.load_model(run)
    is_fitted = isinstance(model.prior, keras_vae.priors.FittedMixture)
    assert is_fitted == (choice["kept"] != "as trained")
    assert model.likelihood.scale == "optimal"


VQ_VAE = ["--model", "vq_vae", "--hidden-units", "4", "--epochs", "2", "--batch-size", "16"]


@ordinary_on("torch")
def test_a_vq_vae_is_trained_with_its_prior_and_sampled(archive, tmp_path, capsys):
    folder = tmp_path / "vq"
    options = ["--latent-dim", "3", "--num-codes", "6", "--prior-epochs", "1", "--out", str(folder)]
    assert main(["train", "--data", str(archive), *VQ_VAE, *options, "--gif"]) == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.keras", "config.json", "history.csv", "evaluation.json", "figures"}
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert {"commitment_loss", "perplexity", "codes_used", "prior_loss"} < set(evaluation)
    assert "Next: python -m keras_vae sample" in (said := capsys.readouterr().out)
    assert "--label one" in said
    assert f"export --format tflite,onnx --graph sampler --model {folder}" in said
    out = tmp_path / "two.npy"
    arguments = ["--label", "two", "--count", "3", "--seed", "4", "--out", str(out)]
    assert main(["sample", str(folder), *arguments]) == 0
    expected = keras_vae.load_model(folder).sample({"label": [1] * 3}, seed=4)
    np.testing.assert_array_equal(np.load(out), expected)
    names = ("learning_curves", "reconstructions", "samples", "samples_by_class", "codebook_usage")
    names += ("nearest_training_images",)
    assert drawn(folder) == {f"{name}.png" for name in names} | {"training.gif"}


@ordinary_on("torch")
def test_a_vq_vae_needs_codes_and_convolutions(archive, tmp_path, capsys):
    train = ["train", "--data", archive, "--out", tmp_path / "out", *VQ_VAE]
    fails(
        capsys, [*train, "--num-codes", "1"], "`--num-codes` must be a whole number of at least 2"
    )
    fails(capsys, [*train, "--levels", "3,1"], "`--levels` must be whole numbers of at least 2")
    fails(capsys, [*train, "--levels", "3,2", "--latent-dim", "3"], "must be the number of --lev")
    fails(capsys, [*train, "--network", "dense"], "--model vq_vae needs --network conv")


@ordinary_on("torch")
def test_folders_in_folders_are_classes_in_groups(tmp_path, capsys):
    counts = {"animal/cat": 5, "animal/dog": 5, "car": 5}
    write_images(tmp_path / "pictures", counts, size=(6, 5))
    folder, arguments = tmp_path / "run", ["train", "--data", str(tmp_path / "pictures")]
    assert main([*arguments, "--out", str(folder), *SMALL]) == 0
    assert "--unknown-rate 0.2" in capsys.readouterr().out
    kind = keras_vae.load_model(folder / "model.keras").condition["label"]
    assert isinstance(kind, keras_vae.Hierarchical)
    assert kind.names == ("animal/cat", "animal/dog", "car", "animal")
    out = str(tmp_path / "x.npy")
    sample = ["sample", str(folder), "--out", out, "--count", "3"]
    assert main([*sample, "--label", "animal,car"]) == 0
    assert np.load(out).shape == (6, 6, 5, 1)
    assert main(sample) == 0  # of every class, and of no group
    assert np.load(out).shape == (9, 6, 5, 1)
    capsys.readouterr()
    fails(capsys, [*sample, "--label", "fox"], "The classes are: animal/cat, animal/dog, car.")
    assert main([*arguments, "--out", str(tmp_path / "flat"), "--flat", *SMALL]) == 0
    kind = keras_vae.load_model(tmp_path / "flat" / "model.keras").condition["label"]
    assert (type(kind), kind.names) == (keras_vae.Categorical, ("animal", "car"))
