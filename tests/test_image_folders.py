"""Folders of images: which pictures are used, how they are turned, in which order of classes."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_vae.data import ImageFiles, load
from tests.test_data import pixels, refusal, write_images

# From the pixels that a file holds to those that a viewer shows, by EXIF's definition.
ORIENTATIONS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: lambda x: np.rot90(x),
}


def all_images(dataset):
    """The images of both sets, in an order that depends on their pixels alone."""
    x = np.concatenate([dataset.x_train[:], dataset.x_test[:]])
    return x[np.lexsort(x.reshape(len(x), -1).T)]


def sorted_images(images):
    x = np.stack(images)
    return x[np.lexsort(x.reshape(len(x), -1).T)]


def save_all(root, images, **options):
    """Write images, a pair of each class, as files of a suffix."""
    for i, image in enumerate(images):
        path = root / "ab"[i % 2] / f"{i}{options.get('suffix', '.png')}"
        path.parent.mkdir(exist_ok=True)
        keywords = {k: v for k, v in options.items() if k != "suffix"}
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(path, **keywords)
    return root


class TestOrientation:
    @pytest.mark.parametrize("in_memory", [True, False])
    @pytest.mark.parametrize("orientation", ORIENTATIONS)
    @pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
    def test_images_are_turned_as_viewers_show_them(self, suffix, orientation, in_memory, tmp_path):
        stored = [pixels(seed, 3) for seed in range(4)]
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if suffix == ".webp" else {}
        save_all(tmp_path, stored, suffix=suffix, exif=exif, **options)
        expected = sorted_images([ORIENTATIONS[orientation](x) for x in stored])
        np.testing.assert_array_equal(all_images(load(tmp_path, in_memory)), expected)

    def test_photographs_taken_upright_and_sideways_have_one_size(self, tmp_path):
        left = np.zeros((8, 16, 3), np.uint8)
        left[:, :8] = 255
        for i, (image, orientation) in enumerate([(left, 1), (np.rot90(left), 6)] * 2):
            exif = Image.Exif()
            exif[0x0112] = orientation
            path = tmp_path / "ab"[i // 2] / f"{i}.jpg"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(image)).save(path, exif=exif)
        made = all_images(load(tmp_path))
        # JPEG loses nothing of blocks of one colour; measured: 1.
        np.testing.assert_allclose(made, np.stack([left] * 4).astype(int), rtol=0, atol=2)


class TestClasses:
    NAMES = ("0", "1", "2", "10", "11", "a2b", "a10", "b")

    def test_numbers_in_names_of_classes_are_in_order_of_size(self, tmp_path):
        write_images(tmp_path, dict.fromkeys(reversed(self.NAMES), 2))
        loaded = load(tmp_path)
        assert loaded.class_names == self.NAMES
        for x, y in ((loaded.x_train, loaded.y_train), (loaded.x_test, loaded.y_test)):
            for image, label in zip(x, y, strict=True):
                at = len(self.NAMES) - 1 - label
                assert any(np.array_equal(image[..., 0], pixels(100 * at + j, 1)) for j in (0, 1))

    def test_the_names_of_a_model_decide_on_the_order(self, tmp_path):
        write_images(tmp_path, {"2": 5, "10": 3, "1": 4})
        loaded = load(tmp_path, class_names=["1", "10", "2"])
        assert loaded.class_names == ("1", "10", "2")
        # As version 0.1.0 gave it, which had only this order: its runs keep their test set.
        assert loaded.y_train.tolist() == [1, 2, 2, 0, 2, 2, 0, 0, 1]
        assert loaded.y_test.tolist() == [1, 2, 0]
        assert [x.sum() for x in loaded.x_test] == [2832, 3216, 2587]
        assert load(tmp_path).class_names == ("1", "2", "10")

    def test_data_of_other_classes_than_a_models_are_refused(self, tmp_path):
        write_images(tmp_path, {"1": 2, "2": 2})
        assert "another, '2'" in refusal(tmp_path, class_names=("1", "3"))
        assert load(tmp_path, class_names=("3", "2", "1")).y_test.tolist() in ([1, 2], [2, 1])
        assert "must have the classes ['a', 'b']" in refusal("digits", class_names=("a", "b"))
        assert load("digits", class_names=tuple("0123456789")).name == "digits"


class TestSplits:
    @pytest.mark.parametrize("test", ["test", "Testing", "val", "valid", "VALIDATION"])
    @pytest.mark.parametrize("train", ["train", "Training"])
    def test_folders_of_sets_are_known_by_their_usual_names(self, train, test, tmp_path):
        write_images(tmp_path / train, {"a": 3, "b": 1})
        write_images(tmp_path / test, {"b": 2})
        loaded = load(tmp_path)
        assert loaded.class_names == ("a", "b")
        assert (sorted(loaded.y_train.tolist()), loaded.y_test.tolist()) == ([0, 0, 0, 1], [1, 1])

    def test_a_validation_set_beside_a_test_set_is_named(self, tmp_path):
        for name, count in {"train": 2, "val": 3, "test": 1}.items():
            write_images(tmp_path / name, {"a": count, "b": count})
        with pytest.warns(UserWarning, match=r"6 files beside train and test, such as 'val.a.0"):
            loaded = load(tmp_path)
        assert (len(loaded.x_train), len(loaded.x_test)) == (4, 2)

    def test_a_test_set_without_classes_is_named(self, tmp_path):
        write_images(tmp_path / "train", {"a": 5, "b": 5})
        write_images(tmp_path, {"test": 3})
        with pytest.warns(UserWarning, match=r"3 files beside train, such as 'test.0.png'"):
            loaded = load(tmp_path)
        assert loaded.class_names == ("a", "b")
        assert (len(loaded.x_train), len(loaded.x_test)) == (8, 2)

    def test_sets_that_may_mean_several_things_are_refused(self, tmp_path):
        write_images(tmp_path / "val", {"a": 2, "b": 2})
        assert "must have a folder 'train'" in refusal(tmp_path)
        write_images(tmp_path / "train", {"a": 2, "b": 2})
        write_images(tmp_path / "valid", {"a": 2, "b": 2})
        assert "one validation set. Received: 'val' and 'valid'" in refusal(tmp_path)


class TestNested:
    def test_images_below_a_class_folder_are_of_that_class(self, tmp_path):
        write_images(tmp_path, {"a": 2, "b/images": 3, "b/more/of/it": 2})
        loaded = load(tmp_path)
        assert loaded.class_names == ("a", "b")
        labels = np.concatenate([loaded.y_train, loaded.y_test])
        assert np.bincount(labels).tolist() == [2, 5]

    def test_classes_in_groups_have_the_path_as_their_name(self, tmp_path):
        counts = {"car": 2, "animal/cat/2019": 2, "animal/dog/pug": 3, "animal/dog/husky": 2}
        write_images(tmp_path, {**counts, "car/old": 1})
        loaded = load(tmp_path, groups=True)
        # Of a cat, all images are in one folder, which is no group.
        assert loaded.class_names == ("animal/cat", "animal/dog/husky", "animal/dog/pug", "car")
        assert loaded.has_groups
        labels = np.concatenate([loaded.y_train, loaded.y_test])
        assert np.bincount(labels).tolist() == [2, 2, 3, 3]
        flat = load(tmp_path)
        assert (flat.class_names, flat.has_groups) == (("animal", "car"), False)
        # The names of a model say which it is.
        assert load(tmp_path, class_names=flat.class_names, groups=True).class_names[0] == "animal"
        again = load(tmp_path, class_names=loaded.class_names[::-1])
        assert again.class_names == loaded.class_names[::-1]
        assert np.bincount(np.r_[again.y_train, again.y_test]).tolist() == [3, 3, 2, 2]

    def test_a_test_set_has_the_classes_of_the_training_set(self, tmp_path):
        write_images(tmp_path / "train", {"animal/cat": 2, "animal/dog": 2, "car": 1})
        write_images(tmp_path / "test", {"animal/dog": 2})
        loaded = load(tmp_path, groups=True)
        assert loaded.class_names == ("animal/cat", "animal/dog", "car")
        assert loaded.y_test.tolist() == [1, 1]
        write_images(tmp_path / "test", {"animal/fox": 2})
        with pytest.raises(ValueError, match="'animal/fox' in the test set only"):
            load(tmp_path, groups=True)

    def test_files_beside_the_classes_of_a_group_are_counted(self, tmp_path):
        write_images(tmp_path, {"animal/cat": 2, "animal/dog": 2, "car": 2})
        (tmp_path / "animal" / "notes.txt").write_text("x")
        with pytest.warns(UserWarning, match="1 file in no class folder, such as 'animal.notes"):
            assert len(load(tmp_path, groups=True).class_names) == 3

    def test_a_group_around_all_classes_is_named(self, tmp_path):
        write_images(tmp_path / "archive", {"a": 2, "b": 2})
        with pytest.raises(ValueError, match=r"a single one, 'archive'.*Load that folder instead"):
            load(tmp_path, groups=True)

    def test_a_folder_around_the_class_folders_is_named(self, tmp_path):
        write_images(tmp_path / "archive", {"a": 2, "b": 2})
        message = refusal(tmp_path)
        assert "a single one, 'archive'" in message
        assert message.endswith("Load that folder instead.")

    def test_a_link_to_a_folder_above_is_refused(self, tmp_path):
        write_images(tmp_path, {"a": 2, "b": 2})
        (tmp_path / "b" / "again").symlink_to(tmp_path)
        assert "must not hold itself" in refusal(tmp_path)


class TestKinds:
    def test_tiff_is_read(self, tmp_path):
        stored = [pixels(seed, 3) for seed in range(4)]
        save_all(tmp_path, stored[:2], suffix=".tif", compression="tiff_lzw")
        for i, path in enumerate(("a/2.TIFF", "b/3.tiff")):
            Image.fromarray(stored[2 + i]).save(tmp_path / path)
        np.testing.assert_array_equal(all_images(load(tmp_path)), sorted_images(stored))

    @pytest.mark.parametrize("in_memory", [True, False])
    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_16_bits_of_grey_become_floats(self, suffix, in_memory, tmp_path):
        stored = [
            np.random.default_rng(seed).integers(0, 2**16, (4, 5), np.uint16) for seed in range(4)
        ]
        stored[0][0, :2] = 0, 65535
        loaded = load(save_all(tmp_path, stored, suffix=suffix), in_memory)
        assert isinstance(loaded.x_train, np.ndarray if in_memory else ImageFiles)
        assert loaded.x_train.dtype == np.float32
        assert loaded.x_train.nbytes == 2 * 20 * 4
        expected = np.stack(stored)[..., None] / 65535
        # Half a unit in the last place of a float32.
        np.testing.assert_allclose(all_images(loaded), sorted_images(expected), rtol=0, atol=6e-8)

    def test_16_bits_beside_8_and_colour_are_floats_of_one_scale(self, tmp_path):
        deep = np.full((4, 5), 13107, np.uint16)  # a fifth of white
        save_all(tmp_path, [deep, deep, np.full((4, 5, 3), 51, np.uint8), deep])
        loaded = load(tmp_path)
        assert loaded.x_train.shape == (2, 4, 5, 3)
        np.testing.assert_allclose(all_images(loaded), 0.2, rtol=1e-6)

    def test_bits_and_sign_of_a_tiff_are_kept(self, tmp_path):
        dark = np.full((4, 5), 1000, np.uint16)
        save_all(tmp_path, [dark] * 4, suffix=".tif")
        white_is_zero = tmp_path / "a" / "0.tif"
        Image.fromarray(dark).save(white_is_zero, tiffinfo={262: 0})
        made = all_images(load(tmp_path))
        np.testing.assert_allclose(made[:3], 1000 / 65535, rtol=1e-6)
        np.testing.assert_allclose(made[3], 1 - 1000 / 65535, rtol=1e-6)

    def test_twelve_bits_are_scaled_by_their_white(self, tmp_path):
        # Two values in three bytes: 0 and 4095, row by row.
        rows = bytes([0x00, 0x0F, 0xFF]) * 4
        for name in ("a/0.tif", "a/1.tif", "b/0.tif", "b/1.tif"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(twelve_bit_tiff(rows, width=2, height=4))
        made = all_images(load(tmp_path))
        np.testing.assert_array_equal(made[..., 0], np.tile([0.0, 1.0], (4, 4, 1)))

    @pytest.mark.parametrize("kind", ["mode F", "mode I"])
    def test_what_has_no_one_meaning_is_refused(self, kind, tmp_path):
        write_images(tmp_path, {"a": 2, "b": 2})
        path = tmp_path / "b" / "odd.tif"
        Image.fromarray(np.ones((4, 5), "f4" if kind == "mode F" else "i4")).save(path)
        message = refusal(tmp_path)
        assert kind in message
        assert path.name in message

    def test_a_file_that_got_more_bits_is_named(self, tmp_path):
        x = load(write_images(tmp_path, {"a": 3, "b": 3}), in_memory=False).x_train
        Image.fromarray(np.ones((4, 5), np.uint16)).save(x.paths[1])
        with pytest.raises(ValueError, match="more bits than before"):
            x[:]


class TestFraming:
    """Of mixed sizes one size, of transparent pixels and animations what a viewer shows."""

    WHITE, RED = (255, 255, 255), (255, 0, 0)

    def test_the_middle_is_cut_out_of_what_fills_the_size(self, tmp_path):
        # Thirds of red, green and blue: of 30x10 the middle third is the square.
        wide = np.repeat(np.eye(3, dtype=np.uint8)[None] * 255, 10, axis=1).repeat(10, axis=0)
        tall = wide.transpose(1, 0, 2)
        save_all(tmp_path, [wide, tall, wide, tall])
        made = load(tmp_path, image_size=10)
        assert made.x_train.shape[1:] == (10, 10, 3)
        assert {tuple(x.reshape(-1, 3).mean(axis=0)) for x in all_images(made)} == {(0, 255, 0)}

    @pytest.mark.parametrize("in_memory", [True, False])
    def test_pads_are_of_the_background(self, in_memory, tmp_path):
        wide = np.zeros((4, 8, 3), np.uint8)
        save_all(tmp_path, [wide, wide, wide[:, :4], wide])
        keywords = {"image_size": (8, 8), "fit": "pad", "in_memory": in_memory}
        for colour, given in ((self.WHITE, {}), (self.RED, {"background": "#f00"})):
            made = all_images(load(tmp_path, **keywords, **given))
            padded = [x for x in made if x.any()]
            assert len(padded) == 3  # the square fills it
            for x in padded:
                assert np.array_equal(x[[0, 1, 6, 7]], np.broadcast_to(colour, (4, 8, 3)))
                assert not x[2:6].any()

    def test_stretched_pictures_keep_their_edges(self, tmp_path):
        left = np.zeros((4, 16), np.uint8)
        left[:, 8:] = 255
        made = all_images(load(save_all(tmp_path, [left] * 4), image_size=(6, 4), fit="stretch"))
        assert made.shape == (4, 6, 4, 1)
        assert (made[:, :, 0] < 40).all()
        assert (made[:, :, 3] > 215).all()

    def test_pictures_of_the_size_keep_their_pixels(self, tmp_path):
        stored = [pixels(seed, 3) for seed in range(4)]
        save_all(tmp_path, stored)
        for fit in (None, "pad", "stretch"):
            made = all_images(load(tmp_path, image_size=(4, 5), fit=fit))
            np.testing.assert_array_equal(made, sorted_images(stored))

    def test_sizes_are_those_of_the_turned_picture(self, tmp_path):
        tall = np.zeros((16, 8, 3), np.uint8)
        tall[:8] = 255
        exif = Image.Exif()
        exif[0x0112] = 6  # stored lying, shown standing
        lying = np.ascontiguousarray(np.rot90(tall))
        save_all(tmp_path, [lying] * 4, suffix=".jpg", exif=exif, quality=100)
        made = all_images(load(tmp_path, image_size=(4, 4))).astype(int)
        assert made[:, 0].min() > 200
        assert made[:, 3].max() < 55

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16"])
    def test_transparent_pixels_show_the_background(self, mode, tmp_path):
        if mode == "I;16":
            stored = np.full((4, 6), 100 * 257, np.uint16)
            stored[:, 3:] = 7
            image, keywords = Image.fromarray(stored), {"transparency": 7}
        else:
            grey = Image.fromarray(np.full((4, 6), 100, np.uint8))
            grey.paste(7, (3, 0, 6, 4))
            image, keywords = grey.convert(mode), {}
            if "A" in mode:
                alpha = np.broadcast_to(np.repeat([255, 0], 3).astype("uint8"), (4, 6))
                image.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
            else:
                keywords = {"transparency": image.getpixel((5, 0))}
        save_all(tmp_path, [image] * 4, **keywords)
        with pytest.warns(UserWarning, match=r"Transparent pixels, as in .* are put on white"):
            on_white = all_images(load(tmp_path))
        on_grey = all_images(load(tmp_path, background=(51, 51, 51)))
        for made, behind in ((on_white, 255), (on_grey, 51)):
            scale = 255 if made.dtype == np.float32 else 1
            expected = np.broadcast_to(np.repeat([100, behind], 3)[:, None] / scale, made.shape)
            np.testing.assert_allclose(made, expected, rtol=1e-6)

    def test_a_coloured_background_makes_greys_coloured(self, tmp_path):
        image = Image.fromarray(pixels(0, 1)).convert("LA")
        image.putalpha(0)
        made = all_images(load(save_all(tmp_path, [image] * 4), background="red"))
        assert np.array_equal(made, np.broadcast_to(self.RED, (4, 4, 5, 3)))

    @pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif", ".jpg"])
    def test_the_first_frame_of_an_animation_is_taken(self, suffix, tmp_path):
        first, second = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
        keywords = {"save_all": True, "append_images": [Image.fromarray(second)], "suffix": suffix}
        # As phones store two pictures of one moment in a JPEG.
        keywords |= {"format": "MPO"} if suffix == ".jpg" else {}
        save_all(tmp_path, [first] * 4, **keywords)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert not all_images(load(tmp_path)).any()
        expected = [f"The first frame of 4 animations, such as 'a/0{suffix}', is taken."]
        assert [str(one.message) for one in said] == ([] if suffix == ".jpg" else expected)

    def test_16_bits_of_grey_are_scaled_as_they_are(self, tmp_path):
        half = np.full((8, 8), 32768, np.uint16)
        save_all(tmp_path, [half, half[:, :6], half[:4], half])
        made = all_images(load(tmp_path, image_size=4))
        assert made.shape == (4, 4, 4, 1)
        np.testing.assert_allclose(made, 32768 / 65535, rtol=1e-6)
        padded = all_images(load(tmp_path, image_size=8, fit="pad", background="black"))
        assert padded.min() == 0

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"image_size": 1}, "`image_size` must be a whole number of at least 2"),
            ({"image_size": "64"}, "`image_size` must be a whole number of at least 2"),
            ({"image_size": 8, "fit": "cover"}, "`fit` must be one of crop, pad, stretch"),
            ({"fit": "pad"}, "`fit` needs an `image_size`"),
            ({"background": "no colour"}, "`background` must be the name of a colour"),
            ({"background": (0, 0, 256)}, "`background` must be the name of a colour"),
        ],
    )
    def test_what_no_picture_can_be_framed_by_is_refused(self, options, words, tmp_path):
        assert words in refusal(write_images(tmp_path, {"a": 2, "b": 2}), **options)


class TestBroken:
    def test_broken_files_are_passed_over_by_name(self, tmp_path):
        write_images(tmp_path, {"a": 4, "b": 4})
        whole = (tmp_path / "a" / "1.png").read_bytes()
        (tmp_path / "a" / "1.png").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "b" / "0.png").write_bytes(b"no image")
        Image.fromarray(np.ones((4, 5), "f4")).save(tmp_path / "b" / "deep.tif")
        assert "b/0.png" in refusal(tmp_path)
        with pytest.warns(UserWarning, match="Passed over 3 of 9") as said:
            loaded = load(tmp_path, skip_broken=True)
        [warning] = said
        assert str(warning.message) == (
            "Passed over 3 of 9 images that cannot be read: 'a/1.png', 'b/0.png', 'b/deep.tif'."
        )
        assert warning.filename == __file__
        kept = [pixels(j, 1) for j in (0, 2, 3, 101, 102, 103)]
        np.testing.assert_array_equal(all_images(loaded), sorted_images(kept)[..., None])

    def test_a_class_of_which_nothing_is_whole_is_refused(self, tmp_path):
        write_images(tmp_path, {"a": 2, "b": 2})
        for path in tmp_path.glob("a/*"):
            path.write_bytes(b"no image")
        with pytest.warns(UserWarning, match="Passed over 2 of 4"):
            assert "Received: none in class 'a'" in refusal(tmp_path, skip_broken=True)


class TestUnlabelled:
    def test_images_in_no_sub_folder_have_no_labels(self, tmp_path):
        for j in range(10):
            Image.fromarray(pixels(j, 1)).save(tmp_path / f"{j}.png")
        (tmp_path / "empty").mkdir()
        loaded = load(tmp_path)
        assert (loaded.has_labels, loaded.class_names) == (False, ("all",))
        assert (len(loaded.x_train), len(loaded.x_test)) == (8, 2)
        assert not loaded.y_train.any()
        again = load(tmp_path, class_names=["all"])  # as a run loads it
        np.testing.assert_array_equal(again.x_test, loaded.x_test)

    def test_what_unpacking_and_thumbnailers_leave_is_no_class(self, tmp_path):
        write_images(tmp_path, {"a": 2, "b": 2, "__MACOSX": 2, "a/@eaDir": 1})
        loaded = load(tmp_path)
        assert loaded.class_names == ("a", "b")
        assert len(loaded.x_train) + len(loaded.x_test) == 4

    def test_an_archive_without_labels_is_taken(self, tmp_path):
        x = np.stack([pixels(seed, 3) for seed in range(5)])
        np.savez(tmp_path / "bare.npz", x_train=x[:3], x_test=x[3:])
        loaded = load(tmp_path / "bare.npz")
        assert (loaded.has_labels, loaded.class_names) == (False, ("all",))
        np.testing.assert_array_equal(loaded.x_train, x[:3])
        assert (loaded.y_train.tolist(), loaded.y_test.tolist()) == ([0] * 3, [0] * 2)


def test_what_is_passed_over_is_counted_with_an_example(tmp_path):
    write_images(tmp_path, {"a": 2, "b": 2, ".cache": 2})
    hidden = ("a/Thumbs.db", "a/._0.png", ".DS_Store", "b/desktop.ini")
    for name in ("notes.txt", "a/1.heic", "b/c.csv", "b/d.csv", *hidden):
        (tmp_path / name).write_bytes(b"?")
    with pytest.warns(UserWarning, match="Passed over") as warned:
        loaded = load(tmp_path)
    assert loaded.class_names == ("a", "b")
    assert len(loaded.x_train) == 2
    [warning] = warned
    assert str(warning.message) == (
        f"Passed over in {str(tmp_path)!r}: 3 files that are not PNG, JPEG, BMP, GIF, TIFF or "
        f"WebP, such as {os.path.join('a', '1.heic')!r}; 1 file in no class folder, such as "
        "'notes.txt'."
    )
    assert warning.filename == __file__


def twelve_bit_tiff(rows, width, height):
    """A grey TIFF of 12 bits, which Pillow reads and does not write."""
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    tags[279] = len(rows)
    entries = [
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in sorted(tags.items())
    ]
    offset = 8 + len(rows)
    head = b"II*\0" + offset.to_bytes(4, "little") + rows
    return head + len(entries).to_bytes(2, "little") + b"".join(entries) + bytes(4)
