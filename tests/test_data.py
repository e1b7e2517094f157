import dataclasses
import io
import os
import pathlib
import re
import runpy
import sys
import tracemalloc
import urllib.error
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_vae import data
from keras_vae.data import DataError, load
from tests.conftest import ordinary_on

EXCERPTS = pathlib.Path(data.__file__).parents[1] / "excerpts"
MNIST = pathlib.Path(os.environ.get("KERAS_VAE_DATA", ""), "mnist.npz")


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("KERAS_VAE_DATA", raising=False)


def refusal(source, **options):
    """Return the message with which a source is refused; it is one printable line."""
    with pytest.raises(DataError) as caught:
        load(source, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert "Received: " in message or "Install it with: " in message
    assert message.endswith(".")
    return message


def arrays(**changes):
    """Return the arrays of a small valid set, with some of them exchanged or, as None, left out."""
    rng = np.random.default_rng(0)
    valid = {
        "x_train": rng.integers(0, 256, (6, 4, 5), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8),
        "x_test": rng.integers(0, 256, (3, 4, 5), dtype=np.uint8),
        "y_test": np.array([2, 1, 0], dtype=np.uint8),
    }
    return {name: x for name, x in (valid | changes).items() if x is not None}


def write_npz(path, **changes):
    np.savez_compressed(path, **arrays(**changes))
    return path


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def npy_header(shape, dtype="|u1", version=1, announced=None):
    """Return the start of an `.npy` file, whose header may lie about what follows."""
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    length = (announced or len(text)).to_bytes(2 * version, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


def write_zip(path, method=zipfile.ZIP_DEFLATED, **members):
    """Write an `.npz` whose members are given as bytes."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in ({k: npy(x) for k, x in arrays().items()} | members).items():
            archive.writestr(f"{name}.npy", content)
    return path


def pixels(seed, channels, size=(4, 5)):
    shape = size if channels == 1 else (*size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_images(root, counts, channels=1, suffix=".png", size=(4, 5)):
    """Write random images, `counts` of them in each class folder; `size` is (height, width)."""
    for i, (class_name, count) in enumerate(counts.items()):
        folder = root / class_name
        folder.mkdir(parents=True)
        for j in range(count):
            Image.fromarray(pixels(100 * i + j, channels, size)).save(
                folder / f"{j}{suffix}", lossless=True
            )
    return root


def global_generator_state():
    name, keys, *rest = np.random.get_state()
    return name, keys.tolist(), rest


def assert_same(a, b):
    for field in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert a.class_names == b.class_names


def test_an_unknown_name_is_answered_with_the_known_ones():
    message = refusal("mnits")
    for word in ("digits", "mnist", "fashion_mnist", "cifar10", "'mnits'"):
        assert word in message


@pytest.mark.parametrize("source", ["", "a\0b", "a\nb", "x" * 5000])
def test_a_name_that_no_path_can_have_is_unknown(source):
    assert "neither" in refusal(source)


def test_a_device_is_not_read():
    assert "neither" in refusal(os.devnull)


class TestDigits:
    def test_images_are_floats_in_the_unit_interval_with_a_channel(self):
        digits = load("digits")
        assert digits.name == "digits"
        assert digits.class_names == tuple("0123456789")
        assert digits.x_train.shape == (1438, 8, 8, 1)
        assert digits.x_test.shape == (359, 8, 8, 1)
        for x, y in ((digits.x_train, digits.y_train), (digits.x_test, digits.y_test)):
            assert x.dtype == np.float32
            assert y.dtype == np.int32
            assert len(x) == len(y)
            assert (x.min(), x.max()) == (0, 1)
            np.testing.assert_array_equal(x * 16, np.round(x * 16))

    def test_a_fifth_of_each_class_is_held_out_and_nothing_is_lost(self):
        from sklearn.datasets import load_digits

        digits, original = load("digits"), load_digits()
        held_out = np.bincount(digits.y_test)
        total = np.bincount(original.target)
        np.testing.assert_array_equal(held_out, np.round(total / 5))
        rows = np.concatenate([digits.x_train, digits.x_test]).reshape(-1, 64) * 16
        labels = np.concatenate([digits.y_train, digits.y_test])
        assert sorted(map(tuple, np.column_stack([rows, labels]))) == sorted(
            map(tuple, np.column_stack([original.data, original.target]))
        )

    def test_the_split_never_changes_and_leaves_the_global_generator_alone(self):
        state = global_generator_state()
        first = load("digits")
        assert global_generator_state() == state
        assert_same(first, load("digits"))
        # Another split would change every figure measured on this set.
        assert first.y_test[:12].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8]

    def test_a_missing_scikit_learn_is_named_with_its_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        assert 'pip install "keras-vae[cli]"' in refusal("digits")


class TestNamedSets:
    def test_the_data_folder_comes_first(self, tmp_path, monkeypatch):
        write_npz(tmp_path / "fashion_mnist.npz")
        monkeypatch.setenv("KERAS_VAE_DATA", str(tmp_path))
        fashion = load("fashion_mnist")
        assert fashion.name == "fashion_mnist"
        assert fashion.x_train.shape == (6, 4, 5, 1)
        assert len(fashion.class_names) == 10
        assert fashion.class_names[9] == "Ankle boot"

    @pytest.mark.parametrize("folder", [None, "", "empty", "missing"])
    def test_without_the_file_keras_datasets_is_asked(self, folder, tmp_path, monkeypatch):
        import keras

        (tmp_path / "empty").mkdir()
        (tmp_path / "mnist.npz").write_bytes(b"the current folder is not the data folder")
        monkeypatch.chdir(tmp_path)
        if folder is not None:
            monkeypatch.setenv("KERAS_VAE_DATA", folder and str(tmp_path / folder))
        a = arrays()
        answer = (a["x_train"], a["y_train"]), (a["x_test"], a["y_test"])
        monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: answer)
        mnist = load("mnist")
        assert mnist.class_names == tuple("0123456789")
        np.testing.assert_array_equal(mnist.x_train[..., 0], a["x_train"])
        np.testing.assert_array_equal(mnist.y_test, [2, 1, 0])

    @pytest.mark.parametrize("image_data_format", ["channels_first", "channels_last"])
    def test_cifar10_has_its_channels_last_and_flat_labels(self, image_data_format, monkeypatch):
        import keras

        x, y = pixels(0, 3, (2, 32, 32)), np.array([[3], [9]], dtype=np.uint8)
        answer = np.moveaxis(x, -1, 1) if image_data_format == "channels_first" else x
        monkeypatch.setattr(keras.config, "image_data_format", lambda: image_data_format)
        monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: ((answer, y), (answer, y)))
        cifar10 = load("cifar10")
        np.testing.assert_array_equal(cifar10.x_train, x)
        np.testing.assert_array_equal(cifar10.y_train, [3, 9])
        assert (cifar10.class_names[3], cifar10.class_names[9]) == ("cat", "truck")

    def test_a_failed_download_is_answered_with_where_to_put_the_file(self, monkeypatch):
        import keras

        def load_data():
            try:
                raise urllib.error.URLError("no\nnetwork")
            except urllib.error.URLError as err:
                raise Exception(f"URL fetch failure: {err.reason}") from err  # As Keras does.

        monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
        message = refusal("mnist")
        assert "Put mnist.npz" in message
        assert "KERAS_VAE_DATA" in message
        assert "no network" in message


class TestMnistSmall:
    def test_it_comes_along_whatever_the_data_folder_holds(self, tmp_path, monkeypatch):
        write_npz(tmp_path / "mnist_small.npz")
        monkeypatch.setenv("KERAS_VAE_DATA", str(tmp_path))
        small = load("mnist_small")
        assert (small.name, small.class_names) == ("mnist_small", tuple("0123456789"))
        for x, y, per_class in (
            (small.x_train, small.y_train, 800),
            (small.x_test, small.y_test, 100),
        ):
            assert x.shape == (10 * per_class, 28, 28, 1)
            assert x.dtype == np.uint8
            assert (x.min(), x.max()) == (0, 255)
            assert np.bincount(y).tolist() == [per_class] * 10
            # Mixed, so that the first images are of every class.
            assert len(set(y[:100].tolist())) == 10

    def test_it_is_small(self):
        assert (EXCERPTS / "mnist_small.npz").stat().st_size <= 1.5e6

    @ordinary_on("torch")
    @pytest.mark.skipif(not MNIST.is_file(), reason="needs mnist.npz in KERAS_VAE_DATA")
    def test_its_script_makes_it_of_mnist_in_any_order(self):
        make = runpy.run_path(str(EXCERPTS / "make_mnist_small.py"))["excerpt"]
        mnist = load(MNIST)
        order = np.random.default_rng(0).permutation(len(mnist.x_train))
        x, y = mnist.x_train[order], mnist.y_train[order]
        made = make(dataclasses.replace(mnist, x_train=x, y_train=y))
        with np.load(EXCERPTS / "mnist_small.npz") as kept:
            assert set(kept) == set(made)
            for name in kept:
                np.testing.assert_array_equal(kept[name], made[name])


class TestNpz:
    @pytest.mark.parametrize("channels", [None, 1, 3])
    def test_bytes_stay_bytes_with_a_channel_axis(self, channels, tmp_path):
        shape = (4, 5) if channels is None else (4, 5, channels)
        x_train, x_test = np.full((6, *shape), 51, np.uint8), np.full((3, *shape), 255, np.uint8)
        x_test = np.asfortranarray(x_test)
        path = write_npz(tmp_path / "small.npz", x_train=x_train, x_test=x_test)
        for source in (path, str(path)):
            small = load(source)
            assert small.name == "small"
            assert small.x_train.shape == (6, 4, 5, channels or 1)
            assert small.x_train.dtype == small.x_test.dtype == np.uint8
            assert small.x_test.flags.c_contiguous
            np.testing.assert_array_equal(small.x_train, 51)
            as_floats = data.as_float(small.x_train)
            assert as_floats.dtype == np.float32
            np.testing.assert_array_equal(as_floats, np.float32(51) / np.float32(255))
            np.testing.assert_array_equal(data.as_float(small.x_test), np.float32(1))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
    def test_floats_in_the_unit_interval_are_kept(self, dtype, tmp_path):
        x = np.asfortranarray(np.linspace(0, 1, 60).reshape(3, 4, 5).astype(dtype))
        small = load(write_npz(tmp_path / "a.npz", x_test=x))
        np.testing.assert_array_equal(small.x_test[..., 0], x.astype(np.float32))
        assert small.x_test.dtype == np.float32
        assert small.x_test.flags.c_contiguous

    @pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint16])
    def test_whatever_is_not_uint8_is_what_it_says(self, dtype, tmp_path):
        x = (np.arange(60) % 2).reshape(3, 4, 5).astype(dtype)
        loaded = load(write_npz(tmp_path / "a.npz", x_test=x)).x_test
        assert loaded.dtype == np.float32
        np.testing.assert_array_equal(loaded[..., 0], x)
        np.testing.assert_array_equal(data.binarize(x, 0), x)

    def test_uint8_is_a_picture_whatever_its_values(self, tmp_path):
        dark = (np.arange(60) % 2).reshape(3, 4, 5).astype(np.uint8)
        loaded = load(write_npz(tmp_path / "a.npz", x_test=dark)).x_test
        assert loaded.dtype == np.uint8
        np.testing.assert_array_equal(data.as_float(loaded[..., 0]), dark / np.float32(255))
        drawn = np.stack([data.binarize(dark, seed) for seed in range(300)])
        # 9,000 draws of 1/255: 35.3, with a standard deviation of 5.9.
        assert 10 < drawn.sum() < 60

    def test_rounding_beyond_the_unit_interval_is_none(self, tmp_path):
        x = np.linspace(0, 1, 60).reshape(3, 4, 5)
        x.flat[0], x.flat[-1] = -1e-17, 1.0000000000000002
        small = load(write_npz(tmp_path / "a.npz", x_test=x))
        np.testing.assert_array_equal(small.x_test[..., 0], x.astype(np.float32))

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64])
    @pytest.mark.parametrize("columns", [0, 1])
    def test_labels_become_a_row_of_int32(self, columns, dtype, tmp_path):
        y = np.array([5, 0, 1], dtype=dtype).reshape((3,) + (1,) * columns)
        small = load(write_npz(tmp_path / "a.npz", y_test=y))
        assert small.y_test.dtype == np.int32
        np.testing.assert_array_equal(small.y_test, [5, 0, 1])

    def test_without_names_classes_are_called_by_number_gaps_included(self, tmp_path):
        small = load(write_npz(tmp_path / "a.npz", y_test=np.array([5, 0, 1])))
        assert small.class_names == ("0", "1", "2", "3", "4", "5")

    @pytest.mark.parametrize("names", [None, ["a", "b", "c"]])
    def test_labels_from_one_are_refused(self, names, tmp_path):
        ones = {"y_train": np.array([1, 2, 3, 1, 2, 3]), "y_test": np.array([3, 2, 1])}
        named = {} if names is None else {"class_names": np.array(names)}
        message = refusal(write_npz(tmp_path / "a.npz", **ones, **named))
        assert "Received: labels from 1 to 3. Save y - 1;" in message
        # Who means it says so by a name.
        path = write_npz(tmp_path / "b.npz", **ones, class_names=np.array(["none", *"abc"]))
        assert load(path).y_test.tolist() == [3, 2, 1]

    @pytest.mark.parametrize("unknown", [-1, np.nan])
    def test_labels_of_training_images_may_be_unknown(self, unknown, tmp_path):
        y = np.array([0, unknown, 2, 1])
        x = np.arange(80, dtype="uint8").reshape(4, 4, 5)
        path = write_npz(tmp_path / "a.npz", x_train=x, y_train=y)
        loaded = load(path)
        assert loaded.y_train.tolist() == [0, 3, 2, 1]
        assert loaded.labelled.y_train.tolist() == [0, 2, 1]
        np.testing.assert_array_equal(loaded.labelled.x_train, loaded.x_train[[0, 2, 3]])
        assert "must have training images with labels" in refusal(
            write_npz(tmp_path / "b.npz", x_train=x, y_train=np.full(4, -1))
        )

    def test_test_images_without_labels_are_left_out(self, tmp_path):
        path = write_npz(tmp_path / "a.npz", y_test=np.array([2, -1, 0]))
        with pytest.warns(UserWarning, match="Left out: 1 of 3 test images"):
            loaded = load(path)
        assert loaded.y_test.tolist() == [2, 0]
        assert len(loaded.x_test) == 2

    @pytest.mark.parametrize(
        ("y", "words"),
        [
            (np.eye(3)[[2, 1, 0]], "Save y_test.argmax(-1), if it is one-hot."),
            (np.array([2.0, 1.0, 0.0]), "Save y_test.astype(int)."),
            (np.array([True, False, True]), "Save y_test.astype(int)."),
            (np.array(["c", "b", "a"]), "y_test = np.unique(y_test, return_inverse=True)."),
        ],
    )
    def test_what_is_no_label_is_answered_with_the_line_that_makes_it_one(self, y, words, tmp_path):
        assert refusal(write_npz(tmp_path / "a.npz", y_test=y)).endswith(words)

    def test_class_names_in_the_file_win(self, tmp_path, monkeypatch):
        names = np.array(["un", "deux", "trois"])
        path = write_npz(tmp_path / "mnist.npz", class_names=names)
        monkeypatch.setenv("KERAS_VAE_DATA", str(tmp_path))
        assert load(path).class_names == load("mnist").class_names == ("un", "deux", "trois")

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["a", "b"], "2 names for labels from 0 to 2"),
            (["a", "b", "b"], "distinct"),
            (["a", "b", ""], "not empty"),
            (["a", "b", "c\n"], "printable"),
            ([1, 2, 3], "text"),
        ],
    )
    def test_unusable_class_names_are_refused(self, names, words, tmp_path):
        assert words in refusal(write_npz(tmp_path / "a.npz", class_names=np.array(names)))

    def test_more_class_names_than_there_may_be_are_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(data.datasets, "MAX_CLASSES", 3)
        path = write_npz(tmp_path / "a.npz", class_names=np.array(list("abcdefgh")))
        assert "4 names" in refusal(path)

    def test_missing_arrays_are_named_beside_those_present(self, tmp_path):
        path = write_npz(tmp_path / "a.npz", y_test=None, x_test=None, **{"ima\nges": np.zeros(1)})
        message = refusal(path)
        assert "no x_test, y_test, only ['ima\\nges', 'x_train', 'y_train']" in message
        assert repr(str(path)) in message

    @pytest.mark.parametrize(
        ("x", "words"),
        [
            (np.zeros((3, 20), np.uint8), "(3, 20)"),
            (np.zeros((3, 4, 5, 1, 1), np.uint8), "(3, 4, 5, 1, 1)"),
            (np.zeros((0, 4, 5), np.uint8), "(0, 4, 5)"),
            (np.zeros((3, 4, 5, 0), np.uint8), "(3, 4, 5, 0)"),
            (np.full((3, 4, 5), 1.5), "from 1.5 to 1.5"),
            (np.full((3, 4, 5), -0.5), "[0, 1]"),
            (np.full((3, 4, 5), np.nan), "finite"),
            (np.full((3, 4, 5), np.inf), "finite"),
            (np.where(np.arange(60).reshape(3, 4, 5) == 7, np.nan, 0.5), "finite"),
            (np.full((3, 4, 5), 255), "int64 from 255 to 255"),
            (np.full((3, 4, 5), "0"), "<U1"),
            (np.zeros((3, 1, 5, 6), np.uint8), "np.moveaxis(x_test, 1, -1)"),
            (np.zeros((3, 3, 5, 6), np.uint8), "np.moveaxis(x_test, 1, -1)"),
            (np.zeros((3, 5, 4), np.uint8), "(4, 5, 1) and (5, 4, 1)"),
            (np.zeros((2, 4, 5), np.uint8), "3 labels, 2 images"),
        ],
    )
    def test_unusable_images_are_refused(self, x, words, tmp_path):
        message = refusal(write_npz(tmp_path / "a.npz", x_test=x))
        assert words in message
        assert "x_test" in message or "y_test" in message

    @pytest.mark.parametrize(
        ("y", "words"),
        [
            (np.array([0.0, 1.0, 2.0]), "float64"),
            (np.array([True, False, True]), "bool"),
            (np.array(["0", "1", "2"]), "<U1"),
            (np.eye(3, dtype=np.int64), "(3, 3)"),
            (np.array(1), "shape=()"),
            (np.array([0, 1]), "2 labels, 3 images"),
            (np.array([0, 1, -2]), "from -2 to 1"),
            (np.array([0, 1, 2**63], dtype=np.uint64), "to 9223372036854775808"),
            (np.array([0, 1, 10**6]), "at most 100000 classes"),
        ],
    )
    def test_unusable_labels_are_refused(self, y, words, tmp_path):
        message = refusal(write_npz(tmp_path / "a.npz", y_test=y))
        assert words in message
        assert "y_test" in message


class TestHostileNpz:
    def test_every_truncation_is_refused(self, tmp_path):
        complete = write_npz(tmp_path / "complete.npz").read_bytes()
        path = tmp_path / "cut.npz"
        for length in range(0, len(complete), 7):
            path.write_bytes(complete[:length])
            assert "cut.npz' must be a complete .npz file" in refusal(path)

    def test_damaged_bytes_are_refused(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, **arrays())
        content = path.read_bytes()
        first_pixels = arrays()["x_train"].tobytes()
        path.write_bytes(content.replace(first_pixels, first_pixels[::-1]))
        assert "CRC" in refusal(path)

    @pytest.mark.parametrize("content", [b"", b"not a zip file", npy(np.zeros((3, 4, 5)))])
    def test_a_file_of_another_kind_is_refused(self, content, tmp_path):
        path = tmp_path / "a.npz"
        path.write_bytes(content)
        assert "must be a complete .npz file" in refusal(path)

    def test_a_pickled_array_is_refused_and_not_unpickled(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "sprung"),)

        path = tmp_path / "a.npz"
        np.savez(path, **arrays(x_train=np.array([Trap()], dtype=object)))
        message = refusal(path)
        assert "'x_train.npy'" in message
        assert "dtype object" in message
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize(
        "content",
        [
            npy_header((10**6, 1000, 1000)),
            npy_header((10**30, 0)) + b"surplus",
            npy_header((-3, -20)) + bytes(60),
            npy_header((3, 4, 5)) + bytes(59),
            npy_header((3, 4, 5)) + bytes(61),
        ],
        ids=["terabyte", "endless", "negative", "short", "long"],
    )
    def test_a_header_that_lies_is_refused_before_memory_is_allocated(self, content, tmp_path):
        path = write_zip(tmp_path / "a.npz", x_test=content)
        tracemalloc.start()
        message = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert "'x_test.npy'" in message
        assert "as its header says" in message
        assert peak < 2**20

    def test_a_bomb_is_refused_before_memory_is_allocated(self, tmp_path, monkeypatch):
        monkeypatch.setattr(data, "MAX_BYTES", 2**23)
        bomb = npy_header((2**13, 32, 32)) + bytes(2**23)
        path = write_zip(tmp_path / "a.npz", x_test=bomb)
        assert path.stat().st_size < 2**14
        tracemalloc.start()
        message = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert "must fit into 0.00781 GiB" in message
        assert "MAX_BYTES" in message
        assert peak < 2**20

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no header",
            npy_header("nonsense"),
            npy_header((3, 4, 5), dtype="nonsense"),
            npy_header((3, 4, 5), version=2, announced=2**32 - 1) + bytes(2**22),
            b"\x93NUMPY\x03\x00" + bytes(64),
            b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 2**13,
        ],
        ids=["empty", "none", "shape", "dtype", "huge", "version", "nested"],
    )
    def test_an_unreadable_header_is_refused(self, content, tmp_path):
        message = refusal(write_zip(tmp_path / "a.npz", x_test=content))
        assert "'x_test.npy'" in message
        assert "header of a NumPy array" in message

    @pytest.mark.parametrize("dtype", ["<U0", "|V8", "|S4", "<c8", [("a", "<f4")]])
    def test_unexpected_dtypes_are_refused(self, dtype, tmp_path):
        path = write_zip(tmp_path / "a.npz", class_names=npy_header((10**15,), dtype))
        assert "plain array of numbers or text" in refusal(path)

    def test_compression_that_expands_without_bound_is_refused(self, tmp_path):
        path = write_zip(tmp_path / "a.npz", method=zipfile.ZIP_LZMA)
        assert "zip compression method 14" in refusal(path)


class TestFolder:
    @pytest.mark.parametrize("name", ["unlabelled", "unlabeled"])
    def test_images_of_unknown_class_are_for_training(self, name, tmp_path):
        loaded = load(write_images(tmp_path / "set", {"dog": 10, "cat": 5, name: 6}))
        assert loaded.class_names == ("cat", "dog")
        assert np.bincount(loaded.y_train).tolist() == [4, 8, 6]
        assert np.bincount(loaded.y_test).tolist() == [1, 2]
        files = load(tmp_path / "set", in_memory=False)
        np.testing.assert_array_equal(files.labelled.y_train, loaded.labelled.y_train)
        assert len(files.labelled.x_train) == 12

    @pytest.mark.parametrize(
        ("suffix", "channels"),
        [
            (".png", 1),
            (".png", 3),
            (".PNG", 3),
            (".bmp", 1),
            (".bmp", 3),
            (".webp", 3),
        ],
    )
    def test_every_image_keeps_its_pixels_and_its_class(self, suffix, channels, tmp_path):
        loaded = load(write_images(tmp_path / "set", {"dog": 10, "cat": 5}, channels, suffix))
        assert loaded.name == "set"
        assert loaded.class_names == ("cat", "dog")
        assert loaded.x_train.shape == (12, 4, 5, channels)
        assert loaded.x_train.dtype == np.uint8
        assert np.bincount(loaded.y_train).tolist() == [4, 8]
        assert np.bincount(loaded.y_test).tolist() == [1, 2]
        x = np.concatenate([loaded.x_train, loaded.x_test])
        y = np.concatenate([loaded.y_train, loaded.y_test])
        found = {(image.tobytes(), label) for image, label in zip(x, y, strict=True)}
        written = [(pixels(j, channels), 1) for j in range(10)]
        written += [(pixels(100 + j, channels), 0) for j in range(5)]
        assert found == {(x.tobytes(), y) for x, y in written}

    @pytest.mark.parametrize("channels", [1, 3])
    def test_images_that_stay_in_their_files_are_the_same(self, channels, tmp_path):
        write_images(tmp_path, {"a": 7, "b": 4}, channels)
        loaded, files = load(tmp_path), load(tmp_path, in_memory=False)
        assert isinstance(files.x_train, data.ImageFiles)
        assert_same(
            loaded, dataclasses.replace(files, x_train=files.x_train[:], x_test=files.x_test[:])
        )
        x, whole = files.x_train, loaded.x_train
        assert (x.shape, x.dtype, x.ndim, x.nbytes) == (whole.shape, whole.dtype, 4, whole.nbytes)
        for rows in (2, -1, slice(1, 5), np.array([3, 0, 3]), loaded.y_train == 1):
            np.testing.assert_array_equal(x[rows], whole[rows])

    def test_a_large_folder_stays_in_its_files(self, tmp_path, monkeypatch):
        write_images(tmp_path, {"a": 3, "b": 3})
        monkeypatch.setattr(data, "MAX_BYTES_OF_FOLDER", 6 * 20 - 1)
        assert isinstance(load(tmp_path).x_train, data.ImageFiles)
        assert isinstance(load(tmp_path, in_memory=True).x_train, np.ndarray)
        monkeypatch.setattr(data, "MAX_BYTES", 6 * 20 - 1)
        with pytest.raises(data.DataError, match="Load it with in_memory=False"):
            load(tmp_path, in_memory=True)

    @pytest.mark.parametrize("harm", ["gone", "cut", "another size", "colour"])
    def test_a_file_that_changed_while_it_was_not_looked_at_is_named(self, harm, tmp_path):
        x = load(write_images(tmp_path, {"a": 3, "b": 3}), in_memory=False).x_train
        path = x.paths[1]
        if harm == "gone":
            path.unlink()
        elif harm == "cut":
            path.write_bytes(path.read_bytes()[:50])
        elif harm == "another size":
            Image.fromarray(pixels(0, 1, (5, 4))).save(path)
        else:
            Image.fromarray(pixels(0, 3)).save(path)
        with pytest.raises(data.DataError, match=re.escape(str(path))) as raised:
            x[:]
        assert "\n" not in str(raised.value)

    def test_palette_images_count_as_colour(self, tmp_path):
        loaded = load(write_images(tmp_path, {"a": 2, "b": 2}, suffix=".gif"))
        x = np.concatenate([loaded.x_train, loaded.x_test])
        assert x.shape == (4, 4, 5, 3)
        written = [pixels(seed, 1)[..., np.newaxis].repeat(3, -1) for seed in (0, 1, 100, 101)]
        assert {i.tobytes() for i in x} == {i.tobytes() for i in written}

    @pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
    def test_jpeg_is_read(self, suffix, tmp_path):
        for name, value in {"black": 0, "white": 255}.items():
            (tmp_path / name).mkdir()
            for j in range(2):
                image = Image.fromarray(np.full((4, 5, 3), value, np.uint8))
                image.save(tmp_path / name / f"{j}{suffix}")
        loaded = load(tmp_path)
        x_train = data.as_float(loaded.x_train)
        np.testing.assert_allclose(x_train.mean((1, 2, 3)), loaded.y_train, atol=1 / 255)

    def test_the_split_never_changes_and_leaves_the_global_generator_alone(self, tmp_path):
        write_images(tmp_path, {"a": 7, "b": 2})
        state = global_generator_state()
        first = load(tmp_path)
        assert global_generator_state() == state
        assert_same(first, load(tmp_path))
        assert (np.bincount(first.y_train).tolist(), first.y_test.tolist()) == ([6, 1], [1, 0])

    def test_train_and_test_folders_are_the_split(self, tmp_path):
        write_images(tmp_path / "train", {"a": 3, "b": 1}, size=(4, 5))
        write_images(tmp_path / "test", {"b": 2}, size=(4, 5))
        loaded = load(tmp_path)
        assert loaded.class_names == ("a", "b")
        assert sorted(loaded.y_train.tolist()) == [0, 0, 0, 1]
        assert loaded.y_test.tolist() == [1, 1]
        first_of_test = pixels(0, 1)
        assert any(np.array_equal(x[..., 0], first_of_test) for x in loaded.x_test)

    def test_a_class_in_the_test_folder_alone_is_refused(self, tmp_path):
        write_images(tmp_path / "train", {"a": 3})
        write_images(tmp_path / "test", {"a": 1, "new": 2})
        assert "'new'" in refusal(tmp_path)

    def test_train_and_test_without_class_folders_are_classes(self, tmp_path):
        assert load(write_images(tmp_path, {"train": 2, "test": 2})).class_names == (
            "test",
            "train",
        )

    def test_one_colour_image_makes_the_set_colour(self, tmp_path):
        write_images(tmp_path, {"a": 2, "b": 2})
        Image.fromarray(pixels(0, 3)).save(tmp_path / "b" / "0.png")
        loaded = load(tmp_path)
        assert loaded.x_train.shape[1:] == (4, 5, 3)
        grey = loaded.x_train[loaded.y_train == 0]
        np.testing.assert_array_equal(grey, np.repeat(grey[..., :1], 3, axis=-1))

    @pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "1", "CMYK"])
    def test_opaque_images_of_other_modes_are_converted(self, mode, tmp_path):
        write_images(tmp_path, {"a": 1, "b": 2})
        value = np.full((4, 5), 255, np.uint8)
        image = Image.fromarray(value).convert(mode)
        keywords = {"transparency": bytes([255] * 256)} if mode == "P" else {}
        image.save(tmp_path / "a" / f"1{'.jpg' if mode == 'CMYK' else '.png'}", **keywords)
        loaded = load(tmp_path)
        assert loaded.x_train.shape[-1] == (1 if mode in ("LA", "1") else 3)
        assert any((x == 255).all() for x in np.concatenate([loaded.x_train, loaded.x_test]))

    def test_the_first_image_of_another_size_is_named_with_both_sizes(self, tmp_path):
        write_images(tmp_path, {"a": 2}, size=(4, 5))
        write_images(tmp_path, {"b": 2}, size=(8, 6))
        message = refusal(tmp_path)
        assert "5x4 (width x height) in" in message
        assert "6x8 in" in message
        assert os.path.join("b", "0.png") in message
        command = f"python -m keras_vae train --data {tmp_path} --image-size 32."
        assert message.endswith(command)

    @pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
    def test_a_broken_image_is_named(self, damage, tmp_path):
        write_images(tmp_path, {"a": 2, "b": 2})
        path = tmp_path / "b" / "1.png"
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(
            {
                "empty": b"",
                "text": b"no image",
                "cut": content[:middle],
                "flipped": content[:middle]
                + bytes([content[middle] ^ 255])
                + content[middle + 1 :],
            }[damage]
        )
        message = refusal(tmp_path)
        assert os.path.join("b", "1.png") in message
        assert "must be a complete image" in message
        assert "--skip-broken" in message

    def test_a_format_that_is_not_listed_is_not_decoded_under_a_listed_name(self, tmp_path):
        write_images(tmp_path, {"a": 2, "b": 2})
        Image.fromarray(pixels(0, 1)).save(tmp_path / "b" / "1.png", format="PPM")
        assert "must be a complete image" in refusal(tmp_path)

    @pytest.mark.parametrize("limit", [19, 9])
    def test_a_decompression_bomb_is_refused(self, limit, tmp_path, monkeypatch):
        # Pillow warns above its limit and raises above twice that.
        write_images(tmp_path, {"a": 2, "b": 2})
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert "decompression bomb" in refusal(tmp_path)

    def test_a_set_larger_than_memory_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(data, "MAX_BYTES", 4 * 20 - 1)
        assert "MAX_BYTES" in refusal(write_images(tmp_path, {"a": 2, "b": 2}))

    def test_a_folder_without_images_is_refused(self, tmp_path):
        assert "without any" in refusal(tmp_path)

    def test_a_class_without_images_is_named(self, tmp_path):
        write_images(tmp_path, {"a": 2, "hollow": 0})
        message = refusal(tmp_path)
        assert "none in" in message
        assert "hollow" in message

    def test_a_class_with_one_image_is_named(self, tmp_path):
        message = refusal(write_images(tmp_path, {"a": 2, "lone": 1}))
        assert "at least two images" in message
        assert "'lone'" in message

    def test_a_class_name_that_breaks_lines_is_refused(self, tmp_path):
        assert "printable" in refusal(write_images(tmp_path, {"a": 2, "b\nc": 2}))

    @pytest.mark.parametrize("of", ["file", "folder"])
    def test_links_out_of_the_folder_are_refused(self, of, tmp_path):
        root = write_images(tmp_path / "set", {"a": 2, "b": 2})
        elsewhere = write_images(tmp_path / "elsewhere", {"c": 2}) / "c"
        if of == "file":
            (root / "b" / "link.png").symlink_to(elsewhere / "0.png")
        else:
            (root / "link").symlink_to(elsewhere)
        message = refusal(root)
        assert "a link to somewhere else" in message
        assert "link" in message

    def test_links_within_the_folder_and_to_it_are_followed(self, tmp_path):
        root = write_images(tmp_path / "set", {"a": 2, "b": 2})
        (root / "b" / "link.png").symlink_to(root / "a" / "0.png")
        (tmp_path / "alias").symlink_to(root)
        loaded = load(tmp_path / "alias")
        assert np.bincount(np.concatenate([loaded.y_train, loaded.y_test])).tolist() == [2, 3]

    def test_a_folder_with_the_name_of_an_image_is_passed_over(self, tmp_path):
        write_images(tmp_path, {"a": 2, "b": 2})
        (tmp_path / "b" / "folder.png").mkdir()
        assert len(load(tmp_path).x_train) == 2

    def test_a_missing_pillow_is_named_with_its_extra(self, tmp_path, monkeypatch):
        write_images(tmp_path, {"a": 2, "b": 2})
        monkeypatch.setitem(sys.modules, "PIL", None)
        assert 'pip install "keras-vae[cli]"' in refusal(tmp_path)


def test_only_a_set_that_is_not_here_needs_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_VAE_DATA", str(tmp_path))
    (tmp_path / "cifar10.npz").touch()
    here = ["digits", "mnist_small", "cifar10", "nosuch", str(tmp_path)]
    assert [data.needs_keras(name) for name in (*here, "mnist")] == [*[False] * 5, True]
