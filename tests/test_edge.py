"""`mobile_demo/edge/sample.py` samples without Keras, and says each mistake in one line."""

import errno
import functools
import importlib.util
import io
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import pytest

import export
from export import manifest
from export.__main__ import _next_command
from keras_vae import figures
from tests.export.exported import FORMATS, NAMES, exported
from tests.export.test_parity import converts_here
from tests.export.test_vq_vae import exported_vq_vae

# What a device does is the same whatever backend made the file.
pytestmark = converts_here

SCRIPT = pathlib.Path(__file__).parents[1] / "mobile_demo" / "edge" / "sample.py"

# Runs a script in a process that has numpy and the runtimes, and nothing of ours.
BLOCKED = """
import runpy, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(name + " is not on this device")
sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
NOT_ON_A_DEVICE = ("keras", "tensorflow", "jax", "torch", "PIL", "keras_vae", "export", "onnx")


@pytest.fixture(scope="module")
def edge():
    spec = importlib.util.spec_from_file_location("edge_sample", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=FORMATS)
def format(request):
    return request.param


@pytest.fixture
def run(edge, capsys, tmp_path, monkeypatch):
    """Calls the program in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = edge.main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        assert not list(tmp_path.glob("*part"))
        return status, output, errors

    return call


def on_device(*arguments, cwd, blocked=NOT_ON_A_DEVICE):
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=blocked), SCRIPT, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


def pixels(path):
    with PIL.Image.open(path) as picture:
        return np.asarray(picture)


def tiles(picture, rows, columns, shape, by, gap=2):
    """The images of a picture, uint8, as many as it has places."""
    height, width = shape[0] * by, shape[1] * by
    assert picture.shape[:2] == (gap + rows * (height + gap), gap + columns * (width + gap))
    return np.stack(
        [
            picture[top : top + height, left : left + width][by // 2 :: by, by // 2 :: by]
            for top in range(gap, picture.shape[0], height + gap)
            for left in range(gap, picture.shape[1], width + gap)
        ]
    )


def test_it_samples_with_numpy_and_one_runtime(format, tmp_path):
    found = exported("conv")
    other = "onnxruntime" if format == "tflite" else "ai_edge_litert"
    done = on_device(
        *("--model", found.paths[format], "--label", "red fox", "--condition", "angle=0.6,-0.8"),
        *("--count", 16, "--seed", 42, "--out", "foxes.png"),
        cwd=tmp_path,
        blocked=(*NOT_ON_A_DEVICE, other),
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("16 images of label red fox and angle [0.6, -0.8], seed 42, temp")
    assert " ms an image in " in lines[1]
    assert lines[2] == "foxes.png"
    expected = found.model.sample({"label": ["red fox"] * 16, "angle": [[0.6, -0.8]] * 16}, seed=42)
    made = tiles(pixels(tmp_path / "foxes.png"), 4, 4, (9, 7), by=10)
    np.testing.assert_allclose(made, 255 * expected, rtol=0, atol=0.51)


def test_values_are_those_of_the_model(format, run):
    found = exported("dense")
    path = found.paths[format]
    assert run("--model", path, "--count", 70, "--seed", 5, "--out", "x.npy")[0] == 0
    # Measured: 2e-7 on each backend.
    np.testing.assert_allclose(np.load("x.npy"), found.model.sample(70, seed=5), rtol=0, atol=1e-6)


def test_the_same_seed_gives_the_same_picture_in_both_formats(run):
    found = exported("dense")
    for format, path in found.paths.items():
        assert run("--model", path, "--count", 5, "--seed", 7, "--out", f"{format}.png")[0] == 0
    np.testing.assert_array_equal(pixels("tflite.png"), pixels("onnx.png"))
    assert pixels("onnx.png").ndim == 2
    assert run("--model", path, "--count", 5, "--seed", 8, "--out", "other.png")[0] == 0
    assert (pixels("other.png") != pixels("onnx.png")).any()


def test_temperature_zero_gives_one_image(run):
    status, _, _ = run(
        "--model", exported("dense").paths["onnx"], "--temperature", 0, "--out", "x.npy"
    )
    assert status == 0
    assert np.ptp(np.load("x.npy"), axis=0).max() < 1e-6


def test_without_a_label_every_class_has_a_row(format, run):
    found = exported("conv")
    status, output, _ = run(
        *("--model", found.paths[format], "--condition", "angle=0,1"),
        *("--count", 3, "--seed", 1, "--temperature", 0.5),
    )
    assert status == 0
    assert "12 images of label ant, bee, red fox, crow and angle [0.0, 1.0]" in output
    made = tiles(pixels("samples.png"), 4, 3, (9, 7), by=10)
    labels = np.repeat(np.arange(4), 3)
    expected = found.model.sample(
        {"label": labels, "angle": np.tile([[0.0, 1.0]], (12, 1))}, temperature=0.5, seed=1
    )
    np.testing.assert_allclose(made, 255 * expected, rtol=0, atol=0.51)


@pytest.mark.parametrize(
    ("arguments", "classes"),
    [
        (["--label", "2"], "red fox"),
        (["--label", "bee,3"], "bee, crow"),
        (["--label", "bee", "--label", "ant"], "bee, ant"),
        (["--label", "unknown"], "unknown"),
        (["--condition", "label=red fox"], "red fox"),
    ],
)
def test_labels_go_by_index_and_by_name(arguments, classes, run):
    path = exported("conv").paths["onnx"]
    status, output, _ = run("--model", path, *arguments, "--condition", "angle=0,0", "--count", 2)
    assert status == 0
    assert f"images of label {classes} and angle" in output


@pytest.mark.parametrize("black_and_white", [None, [0.0, 1.0], [-1.0, 0.8]])
def test_colours_do_not_depend_on_how_many_are_drawn(black_and_white, format, run, tmp_path):
    # Older files say nothing.
    path = with_manifest(
        exported("dense"), format, tmp_path, data_range=None, range=black_and_white
    )
    first = []
    for count in (1, 4):
        assert run("--model", path, "--seed", "3", "--count", count, "--out", "x.png")[0] == 0
        side = {1: 1, 4: 2}[count]
        first.append(tiles(pixels(tmp_path / "x.png"), side, side, (8, 8, 1), 8)[0])
    np.testing.assert_array_equal(*first)
    assert run("--model", path, "--seed", "3", "--count", "1", "--out", "x.npy")[0] == 0
    low, high = black_and_white or (0.0, 1.0)
    expected = 255 * np.clip((np.load(tmp_path / "x.npy")[0, ..., 0] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(first[0], expected, rtol=0, atol=0.51)


def test_a_drawn_seed_is_said_and_repeats_the_images(run):
    path = exported("dense").paths["onnx"]
    _, output, _ = run("--model", path, "--out", "a.npy")
    seed = output.partition("seed ")[2].partition(",")[0]
    run("--model", path, "--seed", seed, "--out", "b.npy")
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))
    run("--model", path, "--out", "c.npy")
    assert (np.load("a.npy") != np.load("c.npy")).any()


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_self_test_passes(kind, format, run):
    status, output, errors = run("--model", exported(kind).paths[format], "--self-test")
    assert (status, errors) == (0, "")
    assert "largest error" in output
    assert output.endswith("latent code of seed 42 equal: ok\n")


@pytest.mark.parametrize("part", ["x", "seed"])
def test_self_test_fails_where_the_device_computes_or_draws_otherwise(part, format, run, tmp_path):
    golden = export.module_of(format).read_manifest(exported("dense").paths[format])["golden"]
    if part == "x":
        golden["x"][1][5] += 2e-5
    else:
        golden["seed"] += 1
    path = with_manifest(exported("dense"), format, tmp_path, golden=golden)
    status, output, _ = run("--model", path, "--self-test")
    assert status == 1
    assert output.endswith(": failed\n")
    assert ("DIFFERENT" in output) == (part == "seed")


def with_manifest(found, format, folder, **changes):
    """A copy of a file in which the manifest says something else."""
    content = {**export.module_of(format).read_manifest(found.paths[format]), **changes}
    path = folder / f"changed.{format}"
    if format == "onnx":
        import onnx

        model = onnx.load(found.paths[format])
        del model.metadata_props[:]
        model.metadata_props.add(key="keras_vae", value=manifest.dumps(content).decode())
        onnx.save(model, path)
    else:
        data = found.paths[format].read_bytes()
        data = data.replace(b"keras_vae", b"older_vae")
        path.write_bytes(
            export.module_of(format).add_metadata(data, {"keras_vae": manifest.dumps(content)})
        )
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--label", "4"], "label must be one of ant, bee, red fox, crow (or an index from 0 to 3"),
        (["--label", "-1"], "label must be one of ant, bee, red fox, crow"),
        (["--label", "wolf"], "not 'wolf'"),
        (["--label", "ant,"], "label must be one of ant"),
        (["--label", "9" * 5000], "label must be one of ant"),
        (["--condition", "age=3"], "--condition must be NAME=VALUE with a name of label, angle"),
        (
            ["--condition", "angle=1"],
            "angle must be 2 numbers, as in --condition angle=0.0,0.0, not '1'",
        ),
        (["--condition", "angle=1,nan"], "angle must be 2 numbers"),
        (
            ["--condition", "angle=1,two"],
            "angle must be 2 numbers, as in --condition angle=0.0,0.0, not '1,two'",
        ),
        ([], "angle must be 2 numbers, as in --condition angle=0.0,0.0, and none came"),
        (["--count", "-1"], "--count must be at least 1, not -1"),
        (["--count", "0"], "--count must be at least 1, not 0"),
        (["--count", "many"], "argument --count: invalid int value: 'many'"),
        (["--count", "999999999999"], "too many at once; ask for fewer with --count"),
        (["--temperature", "-0.1"], "--temperature must be at least 0, not -0.1"),
        (["--temperature", "nan"], "--temperature must be at least 0, not nan"),
        (["--seed", "-1"], "--seed must be from 0 to 2147483647, not -1"),
        (["--out", "samples.jpg"], "--out must end with .png or .npy, not samples.jpg"),
        (["--loud"], "unrecognized arguments: --loud"),
    ],
)
def test_mistakes_are_one_line(arguments, words, run):
    path = exported("conv").paths["onnx"]
    extra = [] if words.startswith("angle") else ["--condition", "angle=0,0"]
    status, output, errors = run("--model", path, *extra, *arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert words in errors


def test_a_label_for_an_unconditional_model_is_refused(run):
    status, _, errors = run("--model", exported("dense").paths["onnx"], "--label", 3)
    assert status == 2
    assert "this model takes no --label; its conditions are none" in errors


def test_a_model_without_a_prior_is_tested_but_not_sampled(format, run, tmp_path):
    path = with_manifest(exported("dense"), format, tmp_path, prior=None)
    status, _, errors = run("--model", path)
    assert status == 2
    assert "this VAE has no prior to sample from" in errors
    assert _next_command(path).endswith("--self-test")
    assert run("--model", path, "--self-test")[0] == 0


def test_too_large_a_picture_is_refused(run):
    path = exported("dense").paths["onnx"]
    status, _, errors = run("--model", path, "--count", 100_000)
    assert status == 2
    assert "too large a picture; ask for fewer with --count, or use --out samples.npy" in errors


@pytest.mark.parametrize("name", ["nothing.onnx", "model.keras", ".", "folder.tflite"])
def test_a_path_that_is_no_model_is_one_line(name, run, tmp_path):
    (tmp_path / "folder.tflite").mkdir()
    status, _, errors = run("--model", name)
    assert status == 2
    assert name in errors
    assert errors.count("\n") == 1


def test_a_cut_off_model_is_one_line(format, run, tmp_path):
    content = exported("conv").paths[format].read_bytes()
    path = tmp_path / f"cut.{format}"
    for size in [0, 4, 9, *range(50, len(content) - 1, len(content) // 15)]:
        path.write_bytes(content[:size])
        status, output, errors = run("--model", path, "--condition", "angle=0,0")
        assert (status, output) == (2, "")
        assert path.name in errors
        assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"graph": "encoder"},
        {"latent_dim": 0},
        {"latent_dim": 5},
        {"latent_dim": True},
        {"data_shape": [8, -8, 1]},
        {"data_shape": [8, 4, 1]},
        {"data_range": [1, 0]},
        {"data_range": "wide"},
        {"range": [0, 0]},
        {"range": "wide"},
        {"conditions": None},
        {"conditions": [{"name": "label", "kind": "categorical", "size": 3, "names": ["a"]}]},
        {"conditions": [{"name": "angle", "kind": "round", "size": 3}]},
        {"golden": {}},
        {"golden": {"x": [[1], [1, 2]], "z": 3, "seed": -1, "temperature": "warm"}},
    ],
)
def test_a_manifest_that_does_not_fit_is_one_line(changes, format, run, tmp_path):
    path = with_manifest(exported("dense"), format, tmp_path, **changes)
    status, output, errors = run("--model", path, *(["--self-test"] if "golden" in changes else []))
    assert (status, output) == (2, "")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"keras_vae": "7.1.0"}, "take the sample.py of keras-vae 7.1.0 or newer"),
        ({"keras_vae": "7\n"}, "of the keras-vae that wrote it or newer"),
        (None, "of the keras-vae that wrote it or newer"),
    ],
)
def test_a_newer_schema_is_refused_with_the_version_that_reads_it(versions, words, edge):
    with pytest.raises(edge.InputError, match="of schema 2, and this program reads 1") as error:
        edge.check_manifest(json.dumps({"schema": 2, "versions": versions}).encode(), "a.onnx")
    assert words in str(error.value)


@pytest.mark.parametrize("package", ["onnxruntime", "ai_edge_litert"])
def test_a_missing_runtime_is_named_with_its_command(package, run, monkeypatch):
    format = "onnx" if package == "onnxruntime" else "tflite"
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    status, _, errors = run("--model", exported("dense").paths[format])
    assert status == 2
    assert f"pip install {package.replace('_', '-')}" in errors


def test_a_picture_that_cannot_be_written_is_one_line(run, tmp_path, monkeypatch):
    path = exported("dense").paths["onnx"]
    (tmp_path / "taken.png").mkdir()
    for out in ("no/such/folder.png", "taken.png"):
        status, _, errors = run("--model", path, "--count", 1, "--out", out)
        assert status == 2
        assert f"{out} cannot be written: " in errors

    def fsync(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "older.png").write_text("older")
    monkeypatch.setattr(os, "fsync", fsync)
    status, _, errors = run("--model", path, "--count", 1, "--out", "older.png")
    assert (status, errors) == (2, "error: older.png cannot be written: No space left on device\n")
    assert (tmp_path / "older.png").read_text() == "older"


def test_pictures_of_any_size_are_valid_png(edge):
    rng = np.random.default_rng(0)
    for shape in [(1, 1, 1), (3, 70, 3), (45, 60, 3), (8, 8)]:
        images = rng.random((5, *shape), dtype=np.float32)
        picture = edge.grid(images, 3, [0.0, 1.0])
        decoded = pixels(io.BytesIO(edge.png(picture)))
        np.testing.assert_array_equal(
            decoded, picture.squeeze(-1) if shape[2:] != (3,) else picture
        )
        assert min(picture.shape[:2]) >= 64


def test_it_needs_no_other_file_of_the_project(tmp_path):
    shutil.copy(SCRIPT, tmp_path / "copy.py")
    done = subprocess.run(
        [sys.executable, "copy.py", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--self-test" in done.stdout
    assert not any(
        line.startswith(("import ", "from ")) and line.split()[1].split(".")[0] in NOT_ON_A_DEVICE
        for line in SCRIPT.read_text().splitlines()
    )


def test_the_next_command_that_export_prints_works(tmp_path):
    words = exported("dense").output.splitlines()[-1].split()
    assert words[:2] == ["python", "mobile_demo/edge/sample.py"]
    done = on_device(*words[2:], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.dumps(pixels(tmp_path / "samples.png").shape) == "[266, 266]"


def test_names_of_classes_come_from_the_model():
    assert exported("conv").model.condition["label"].names == NAMES


# Scoring and encoding


def picture(tmp_path, image, mode="L", **options):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(np.round(255 * image).astype("uint8")).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("shape", [(1, 1), (9, 7), (40, 33)])
def test_pictures_are_read_as_pillow_reads_them(mode, shape, edge, tmp_path):
    rng = np.random.default_rng(0)
    # Smooth, so that the encoder uses filters of every kind.
    image = np.add.outer(np.linspace(0, 0.5, shape[0]), np.linspace(0, 0.4, shape[1]))
    path = picture(tmp_path, image + 0.1 * rng.random(shape), mode)
    with PIL.Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"), "f8")
    np.testing.assert_array_equal(edge.decode_png(path.read_bytes(), "a.png"), expected)


def test_every_filter_of_png_is_undone(edge):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (10, 6, 3))
    padded = np.zeros((11, 7, 3), int)
    padded[1:, 1:] = image
    lines = b""
    for row in range(10):
        a, b, c = padded[row + 1, :-1], padded[row, 1:], padded[row, :-1]
        p = a + b - c
        nearest = np.where(
            (abs(p - a) <= abs(p - b)) & (abs(p - a) <= abs(p - c)),
            a,
            np.where(abs(p - b) <= abs(p - c), b, c),
        )
        guess = [0 * a, a, b, (a + b) // 2, nearest][row % 5]
        lines += bytes([row % 5]) + ((image[row] - guess) % 256).astype("u1").tobytes()
    header = struct.pack(">IIBBBBB", 6, 10, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + b"\0\0\0\0"
    np.testing.assert_array_equal(edge.decode_png(content, "a.png"), image)


def test_a_picture_is_cut_and_averaged_to_the_models_size(edge, tmp_path):
    small = np.random.default_rng(2).integers(0, 256, (4, 4)) / 255
    large = small.repeat(5, axis=0).repeat(5, axis=1)
    framed = np.pad(large, ((0, 0), (3, 3)))
    read = edge.read_image(str(picture(tmp_path, framed)), [4, 4, 1], [0.0, 1.0])
    np.testing.assert_allclose(read[..., 0], small, rtol=0, atol=1e-6)
    np.save(tmp_path / "image.npy", small[..., None])
    read = edge.read_image(str(tmp_path / "image.npy"), [4, 4, 1], [0.0, 1.0])
    np.testing.assert_allclose(read[..., 0], small, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(4, 4, 1), (9, 7, 3)])
def test_one_image_is_read_out_of_its_frame_and_a_sheet_is_refused(edge, tmp_path, shape):
    levels = np.random.default_rng(2).integers(0, 256, (6, *shape))
    levels[0] = 255  # as white as the other program's gaps
    images = levels / 255
    path = tmp_path / "drawn.png"
    keras_drew = functools.partial(figures.image_grid, data_range=(0.0, 1.0))
    for draw in (lambda *args: edge.grid(*args, (0.0, 1.0)), keras_drew):
        for image in images[:2]:
            PIL.Image.fromarray(draw(image[None], 1).squeeze()).save(path)
            read = edge.read_image(str(path), list(shape), [0.0, 1.0])
            np.testing.assert_allclose(read, image, rtol=0, atol=1e-6)
        PIL.Image.fromarray(draw(images[1:], 3).squeeze()).save(path)
        with pytest.raises(edge.InputError, match="is a sheet of 2 x 3 images, and one"):
            edge.read_image(str(path), list(shape), [0.0, 1.0])
    np.save(tmp_path / "images.npy", images)
    with pytest.raises(edge.InputError, match="holds 6 images, and one is taken"):
        edge.read_image(str(tmp_path / "images.npy"), list(shape), [0.0, 1.0])
    np.save(tmp_path / "images.npy", images[:1])
    read = edge.read_image(str(tmp_path / "images.npy"), list(shape), [0.0, 1.0])
    np.testing.assert_allclose(read, images[0], rtol=0, atol=1e-6)


def test_the_dtype_of_an_array_says_what_its_values_are(edge, tmp_path):
    path = tmp_path / "image.npy"
    values = (np.arange(16) % 2).reshape(4, 4, 1)
    for dtype, divisor in (("uint8", 255), ("bool", 1), ("int64", 1), ("float64", 1)):
        np.save(path, values.astype(dtype))
        for data_range in ([0.0, 1.0], None):
            read = edge.read_image(str(path), [4, 4, 1], data_range)
            assert read.dtype == np.float32
            np.testing.assert_array_equal(read, (values / divisor).astype("float32"))
    np.save(path, values * 1.0000000000000002)
    np.testing.assert_array_equal(edge.read_image(str(path), [4, 4, 1], [0.0, 1.0]), values)


def test_a_model_of_other_levels_takes_no_picture(edge, tmp_path):
    np.save(tmp_path / "image.npy", np.ones((4, 4, 1), "uint8"))
    for path in (tmp_path / "image.npy", picture(tmp_path, np.ones((4, 4)))):
        with pytest.raises(edge.InputError, match="floats from 0 to 1"):
            edge.read_image(str(path), [4, 4, 1], [0.0, 1.0], takes_pictures=False)


def test_data_without_a_range_may_be_any_number_and_pictures_are_0_to_1(edge, tmp_path):
    values = np.linspace(-3, 5, 16, dtype=np.float32).reshape(4, 4, 1)
    np.save(tmp_path / "image.npy", values)
    np.testing.assert_array_equal(
        edge.read_image(str(tmp_path / "image.npy"), [4, 4, 1], None), values
    )
    white = edge.read_image(str(picture(tmp_path, np.ones((4, 4)))), [4, 4, 1], None)
    np.testing.assert_array_equal(white, np.ones((4, 4, 1)))


def test_an_image_is_scored_for_every_class(format, run, tmp_path):
    found = exported("conv")
    image = np.random.default_rng(3).integers(0, 256, (9, 7, 3)) / 255
    path = picture(tmp_path, image, "RGB")
    model = found.path("scorer", format)
    status, output, errors = run("--model", model, "--score", path, "--condition", "angle=0,1")
    assert (status, errors) == (0, "")
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["label"] for line in lines] == list(NAMES)
    inputs = {
        "x": np.repeat(image[None], 4, axis=0).astype("f4"),
        "label": np.arange(4, dtype="i4"),
        "angle": np.tile(np.array([[0, 1]], "f4"), (4, 1)),
    }
    expected = export.module_of(format).load(model)(inputs)["score"]
    np.testing.assert_allclose([line["nats"] for line in lines], expected, rtol=1e-5)


def test_a_score_has_its_rank_among_held_out_data(format, run, tmp_path):
    path = picture(tmp_path, np.random.default_rng(4).random((8, 8)))
    model = exported("dense").path("scorer", format)
    _, output, _ = run("--model", model, "--score", path)
    found = json.loads(output)
    percentiles = export.module_of(format).read_manifest(model)["scores"]
    assert found["percent_of_held_out_data_below"] == sum(p < found["nats"] for p in percentiles)


def test_an_image_is_encoded(format, run, tmp_path):
    image = np.random.default_rng(5).integers(0, 256, (8, 8)) / 255
    path = picture(tmp_path, image)
    status, output, _ = run("--model", exported("dense").path("encoder", format), "--encode", path)
    assert status == 0
    z_mean, z_log_var = exported("dense").model.encode(image[None, ..., None].astype("f4"))
    found = json.loads(output)
    np.testing.assert_allclose(found["z_mean"], z_mean[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["z_log_var"], z_log_var[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("graph", ["encoder", "scorer", "sampler"])
def test_self_test_of_the_other_graphs_passes(graph, format, run):
    status, output, errors = run("--model", exported("conv").path(graph, format), "--self-test")
    assert (status, errors) == (0, "")
    assert output.endswith(": ok\n")


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_a_sampler_makes_what_the_model_samples(kind, format, run):
    found = exported(kind)
    arguments = ["--condition", "angle=0.5,0.5"] if kind == "conv" else []
    status, output, _ = run(
        "--model",
        found.path("sampler", format),
        *arguments,
        "--count",
        100,
        "--seed",
        5,
        "--out",
        "a.npy",
    )
    assert status == 0
    rows = 4 if kind == "conv" else 1
    labels = np.repeat(np.arange(4), 100)
    conditions = {"label": labels, "angle": np.full((400, 2), 0.5)}
    expected = found.model.sample(*([conditions] if rows == 4 else [100]), seed=5)
    np.testing.assert_allclose(np.load("a.npy"), expected, rtol=0, atol=2e-6)
    assert f"{100 * rows} images" in output


@pytest.mark.parametrize(
    ("graph", "arguments", "words"),
    [
        ("decoder", ["--score", "image.png"], "--score needs the scorer graph, not the decoder"),
        ("scorer", ["--encode", "image.png"], "--encode needs the encoder graph"),
        ("scorer", [], "this file holds the scorer graph: use --score image.png"),
        ("scorer", ["--score", "nothing.png"], "nothing.png: No such file"),
        ("scorer", ["--score", "text.png"], "it is no PNG file"),
        ("scorer", ["--score", "cut.png"], "it is cut off"),
        ("scorer", ["--score", "small.png"], "must be at least 8 x 8 pixels"),
        ("scorer", ["--score", "palette.png"], "must have 8 bits and no palette"),
        ("scorer", ["--score", "text.npy"], "is no .npy file"),
        ("scorer", ["--score", "other.npy"], "not [8, 8, 1] of 255 to 255"),
        ("scorer", ["--score", "words.npy"], "is no .npy file of numbers"),
    ],
)
def test_mistakes_with_images_are_one_line(graph, arguments, words, run, tmp_path):
    image = picture(tmp_path, np.zeros((9, 9)))
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "cut.png").write_bytes(image.read_bytes()[:-20])
    PIL.Image.fromarray(np.zeros((4, 9), "u1")).save(tmp_path / "small.png")
    PIL.Image.fromarray(np.zeros((9, 9), "u1")).convert("P").save(tmp_path / "palette.png")
    np.save(tmp_path / "other.npy", np.full((8, 8, 1), 255))
    np.save(tmp_path / "words.npy", np.full((8, 8, 1), "1"))
    status, output, errors = run("--model", exported("dense").path(graph, "onnx"), *arguments)
    assert (status, output) == (2, "")
    assert words in errors
    assert errors.count("\n") == 1


def test_a_sampler_of_codes_is_sampled_and_tests_itself(format, run):
    model, folder = exported_vq_vae("codebook")
    path = folder / f"sampler.{format}"
    status, output, errors = run("--model", path, "--self-test")
    assert (status, errors) == (0, "")
    assert "latent code of seed 42 equal: ok" in output
    asked = ("--condition", "label=2", "--count", 3, "--seed", 9, "--temperature", 0.8)
    assert run("--model", path, *asked, "--out", "made.npy")[0] == 0
    expected = model.sample({"label": [2] * 3}, 0.8, seed=9)
    np.testing.assert_allclose(np.load("made.npy"), expected, rtol=0, atol=1e-5)


def of_classes(count):
    names = [f"n{index}" for index in range(count)]
    label = {"name": "label", "kind": "categorical", "size": count, "names": names, "unknown": True}
    angle = {"name": "angle", "kind": "continuous", "size": 1, "range": [[-60.0, 60.0]]}
    return {"graph": "decoder", "conditions": [label, angle]}


def test_many_classes_are_no_sheet(edge):
    asked = edge.parse_arguments(["--model", "a.onnx", "--condition", "angle=1"])
    assert len(edge.rows_of_conditions(asked, of_classes(100))) == 100
    with pytest.raises(edge.InputError, match=r"10,000 classes are too many.* --label n0,n1"):
        edge.rows_of_conditions(asked, of_classes(10_000))
    asked.label = ["n7"]
    assert edge.rows_of_conditions(asked, of_classes(10_000)) == [{"label": 7, "angle": [1.0]}]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["angle=1", "angle=2"], "angle must be a number within -60 to 60.*not '1,2'"),
        (["angle=5:5:3"], "2 to 1000 steps between two different numbers"),
        (["angle=0:5:0"], "2 to 1000 steps"),
    ],
)
def test_what_a_number_cannot_be_asked_for(edge, texts, words):
    given = ["--model", "a.onnx", *(word for text in texts for word in ("--condition", text))]
    asked = edge.parse_arguments(given)
    ask = edge.take_sweep if ":" in texts[0] else edge.rows_of_conditions
    with pytest.raises(edge.InputError, match=words):
        ask(asked, of_classes(3))
