"""Pictures: what they show, and that none ends in a traceback."""

import dataclasses
import io
import random

import keras
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

import keras_vae
from keras_vae import data, event_files, figures
from keras_vae.__main__ import main
from keras_vae.figures import gallery, plots, walks
from keras_vae.figures.style import CLASS_COLOURS, GREY, class_style
from keras_vae.storage.runs import Run
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

NAMES = ("one", "two", "three")
TSNE = plots._tsne


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What takes seconds, and is of no interest but where a test puts it back."""
    monkeypatch.setattr(plots, "_tsne", lambda z, dimensions, seed: z[:, :dimensions])


@pytest.fixture
def dataset(images):
    x, y = images
    return data.Dataset("shapes", x, y, x, y, NAMES)


def subject(model, dataset, **changes):
    history = {"loss": [3.0, 2.0], "val_loss": [3.1, 2.2]}
    made = gallery.Subject(model, dataset, history, "shapes")
    return dataclasses.replace(made, **changes)


def drawn(subject):
    """What the gallery makes: names to figures or bytes, and names to reasons."""
    made, left_out = {}, {}
    for name, draw in gallery.PICTURES.items():
        try:
            made[name] = draw(subject)
        except gallery.LeftOut as why:
            left_out[name] = str(why)
    return made, left_out


def frames_of(gif):
    with Image.open(io.BytesIO(gif)) as image:
        assert image.info["loop"] == 0
        frames = []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
    return frames


# Arrays to pictures


def test_a_grid_shows_every_pixel_where_it_belongs():
    images = np.random.default_rng(0).uniform(size=(6, 32, 64, 3)).astype("float32")
    grid = figures.image_grid(images, columns=3)
    assert grid.shape == (2 * (32 + 2) + 2, 3 * (64 + 2) + 2, 3)
    np.testing.assert_array_equal(
        grid[2 + 34 : 34 + 34, 2 + 66 : 66 + 66], np.round(255 * images[4])
    )


@pytest.mark.parametrize("shape", [(3, 8), (3, 8, 8), (3, 8, 8, 2), (0, 8, 8, 1)])
def test_what_is_no_image_is_refused_in_a_line(shape):
    with pytest.raises(ValueError, match="needs images"):
        figures.image_grid(np.zeros(shape), columns=2)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_an_animation_loops_and_keeps_its_frames(channels):
    pictures = [np.full((20, 30, *channels), 80 * index, "uint8") for index in range(3)]
    frames = frames_of(figures.animation(pictures, [20, 40, 60]))
    assert [frame[0, 0, 0] for frame in frames] == [0, 80, 160]
    # A tenth epoch may need a line more than the ninth.
    picture = np.zeros((20, 32, *channels), "uint8")
    narrow = [figures.captioned(picture, f"epoch {n}", size=8) for n in (9, 10)]
    assert len(narrow[0]) < len(narrow[1])
    for frame, captioned in zip(frames_of(figures.animation(narrow)), narrow, strict=True):
        expected = captioned if channels else np.stack([captioned] * 3, axis=-1)
        np.testing.assert_array_equal(frame[-len(captioned) :], expected)
    with pytest.raises(ValueError, match="at least one frame"):
        figures.animation([])


def test_a_caption_stands_above_an_untouched_picture():
    for picture in (np.zeros((30, 90), "uint8"), np.zeros((30, 90, 3), "uint8")):
        made = figures.captioned(picture, "epoch 12", size=10)
        assert made.shape == (50, *picture.shape[1:])
        np.testing.assert_array_equal(made[20:], picture)
        assert made[:20].min() < 128 < made[:20].max()


def test_a_caption_has_the_lines_that_a_narrow_picture_needs():
    made = figures.captioned(np.zeros((30, 64), "uint8"), "ConditionalVAE on mnist, 20 epochs", 14)
    np.testing.assert_array_equal(made[-30:], 0)
    above = made[:-30]
    assert len(above) >= 3 * 14
    assert (above[:, :2] == 255).all()
    assert (above[:, -2:] == 255).all()
    # No line is written over another: between them are rows without ink.
    ink = (above < 128).any(axis=1)
    assert np.count_nonzero(np.diff(ink.astype(int)) == 1) >= 3


def test_every_image_stands_under_its_name():
    images = np.random.default_rng(0).uniform(size=(5, 8, 12, 3)).astype("float32")
    made = figures.named_grid(images, ["one", "", "three to four", "five", "six"], 3, smallest=24)
    tile = figures.image_grid(images[4:], 1, smallest=24)
    height, width = tile.shape[:2]
    assert made.shape[1] == 3 * width
    np.testing.assert_array_equal(made[-height:, width : 2 * width], tile)
    assert (made[-height:, 2 * width :] == 255).all()
    without = figures.named_grid(images, [""] * 5, 3, smallest=24)
    assert without.shape == (2 * height, 3 * width, 3)


def test_few_colours_keep_black_and_white():
    ramp = np.tile(np.arange(256, dtype="uint8"), (20, 1))
    [frame] = frames_of(figures.animation([ramp], colours=64))
    assert len(np.unique(frame)) == 64
    np.testing.assert_allclose(frame[0, :, 0], ramp[0], atol=2.5)
    assert (frame[0, 0, 0], frame[0, -1, 0]) == (0, 255)


def test_classes_have_colours_and_markers_of_their_own():
    styles = [tuple(class_style(index).values()) for index in range(100)]
    assert len(set(styles)) == 100
    assert len({colour for colour, _ in styles[:10]}) == len(CLASS_COLOURS) == 10


def test_principal_components_are_those_of_scikit_learn():
    z = np.random.default_rng(0).normal(size=(50, 4)) @ np.diag([3, 1, 0.5, 0.1]) + 7
    ours, shares = plots.principal_components(z)
    pca = PCA(4).fit(z)
    theirs = pca.transform(z)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=0, atol=1e-9)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_, rtol=1e-9)


def test_a_loss_of_one_term_is_drawn_once():
    history = {"loss": [3.0, 2.0], "reconstruction_loss": [3.0, 2.0]}
    assert len(figures.learning_curves(history, "").axes) == 1
    assert len(figures.learning_curves({**history, "kl_loss": [0.0, 1.0]}, "").axes) == 2
    history["reconstruction_loss"] = [2.0, 1.0]
    assert len(figures.learning_curves(history, "").axes) == 2


def test_the_name_of_a_class_in_two_clouds_stands_in_one():
    clouds = np.array([[0, 0], [0, 1], [1, 0], [10, 9], [10, 10], [9, 10]], "float32")
    clouds = np.repeat(clouds, 3, axis=0)
    z = np.concatenate([clouds, np.add(clouds, (30, 0))])
    figure = figures.latent_scatter(z, np.repeat([0, 1], 18), NAMES, "")
    for name, points in zip(figure.axes[0].texts, (z[:18], z[18:]), strict=True):
        assert list(name.xy) in points.tolist()
    # Where the classes lie over one another, a name in the middle would say nothing.
    z = np.random.default_rng(0).normal(size=(300, 2))
    labels = np.arange(300) % 3
    figure = figures.latent_scatter(z, labels, NAMES, "")
    assert not figure.axes[0].texts
    # Then each class has a panel of its own, over the others.
    for c, axes in enumerate(figure.axes[1:]):
        assert axes.get_title() == NAMES[c]
        np.testing.assert_allclose(axes.collections[1].get_offsets(), z[labels == c])


def test_projections_keep_neighbours_and_refuse_what_has_none(monkeypatch):
    monkeypatch.setattr(plots, "_tsne", TSNE)
    z = np.random.default_rng(0).normal(size=(60, 4))
    labels = np.arange(60) % 3
    z[:, 0] += 20 * labels
    figure = figures.projections(z, labels, NAMES, "Projections")
    panels = figure.axes
    assert [panel.name for panel in panels[:4]] == ["rectilinear", "rectilinear", "3d", "3d"]
    points = np.concatenate([panels[1].collections[c].get_offsets() for c in range(3)])
    ordered = np.concatenate([z[labels == c] for c in range(3)])
    assert trustworthiness(ordered, points, n_neighbors=5) > 0.8  # measured: 0.93
    for wrong in (z[:4], z[:, :1], np.ones((10, 3))):
        with pytest.raises(ValueError, match="at least 5 codes"):
            figures.projections(wrong, labels[: len(wrong)], NAMES, "")


@pytest.mark.parametrize("size", [1, 2])
def test_a_scatter_holds_every_code_under_its_class(size):
    z = np.random.default_rng(0).normal(size=(30, size))
    labels = np.arange(30) % 3
    figure = figures.latent_scatter(z, labels, NAMES, "Codes")
    for c, points in enumerate(figure.axes[0].collections):
        np.testing.assert_allclose(points.get_offsets()[:, :size], z[labels == c])
    written = [text.get_text() for text in figure.legends[0].get_texts()]
    assert written == list(NAMES)
    with pytest.raises(ValueError, match="1, 2 or 3"):
        figures.latent_scatter(np.zeros((5, 4)), labels[:5], NAMES, "")


LONG = [
    *("a digit that is round", "straight up and down", "Geschwindigkeitsbegrenzung", "_hidden"),
    *(
        "$x$ costs $",
        "three bumps",
        "a swan on the lake",
        "the fifth of ten, " * 5,
        "WWWWWWWWWWWWWWWW",
        "i",
    ),
]
TITLE = "ConditionalVAE on a_file_with_a_name_that_is_much_longer_than_others, 20 epochs"


def shown_texts(figure):
    """What is written in a figure, with its place in pixels."""
    figure.draw_without_rendering()
    texts = [figure._suptitle, *(text for legend in figure.legends for text in legend.texts)]
    for axes in figure.axes:
        texts += [axes.title]
        if axes.name != "3d":
            texts += [axes.xaxis.label, axes.yaxis.label, *axes.texts]
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                texts += [label for tick in ticks for label in (tick.label1, tick.label2)]
            legend = axes.get_legend()
            texts += legend.texts if legend else []
    return [(t, t.get_window_extent()) for t in texts if t.get_text() and t.get_visible()]


def many_codes(classes, size=2):
    """Ten codes a class, in clouds that stand apart on a circle."""
    labels = np.repeat(np.arange(classes), 10)
    angle = 2 * np.pi * labels / classes
    z = np.random.default_rng(0).normal(scale=0.05, size=(len(labels), size))
    z[:, 0] += np.cos(angle)
    z[:, 1] += np.sin(angle)
    return z, labels


HISTORY = {"loss": [123456.0, 99.0], **{name: [100.0, 0.5] for name in list(plots.TERMS)[-3:]}}
BLACK = np.zeros((100, 8, 8, 1))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.labelled_grid(BLACK, LONG, TITLE, column_names=LONG),
        lambda: figures.labelled_grid(np.zeros((42, 36, 20, 3)), ["a", "b"], TITLE),
        lambda: figures.labelled_grid(np.zeros((120, 8, 8, 1)), LONG, TITLE),
        lambda: figures.manifold([BLACK[:49]] * 10, LONG, TITLE, np.linspace(0.02, 0.98, 7)),
        lambda: figures.learning_curves(HISTORY, TITLE),
        lambda: figures.bars(np.ones(64), TITLE, "x", "y", [str(n) for n in range(64)], 2.0),
        lambda: figures.bars([1.0], TITLE, "x", "y", ["1"]),
        lambda: figures.latent_scatter(*many_codes(10), LONG, TITLE),
        lambda: figures.latent_scatter(*many_codes(100), [f"class {n}" for n in range(100)], TITLE),
        lambda: figures.latent_scatter(np.ones((100, 1)), np.arange(100) % 10, LONG, TITLE),
        lambda: figures.projections(*many_codes(11, 3), [*LONG, "ten"], TITLE),
    ],
)
def test_texts_are_apart_in_the_picture_and_readable_at_800_pixels(draw):
    figure = draw()
    texts = shown_texts(figure)
    width, height = figure.bbox.size
    for index, (text, box) in enumerate(texts):
        what = repr(text.get_text())
        beyond = max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)
        assert beyond < 3, f"{what} leaves the picture"
        for other, its_box in texts[:index]:
            if text.get_rotation() == other.get_rotation() == 45:
                continue  # their boxes overlap, they do not
            across = min(box.x1, its_box.x1) - max(box.x0, its_box.x0)
            down = min(box.y1, its_box.y1) - max(box.y0, its_box.y0)
            assert min(across, down) < 2, f"{what} lies over {other.get_text()!r}"
        shown = min(1.0, 800 / width)
        assert text.get_fontsize() / 72 * figure.dpi * shown > 10, what


def test_a_legend_names_every_class_and_of_many_the_most_frequent():
    figure = figures.latent_scatter(*many_codes(10), LONG, "")
    written = [text.get_text() for text in figure.legends[0].get_texts()]
    assert written[3:5] == ["_hidden", r"\$x\$ costs \$"]  # which is written as it is
    assert len(written) == 10
    assert written[4] in [text.get_text() for text in figure.axes[0].texts]
    assert written[4] == figure.axes[5].get_title()
    z, labels = many_codes(100)
    labels[labels == 7] = 70
    figure = figures.latent_scatter(z, labels, [f"class {n}" for n in range(100)], "")
    written = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(written) == 11
    assert "class 70" in written
    assert written[-1] == "89 other classes"
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 1000


def test_a_training_of_one_epoch_is_a_point():
    figure = figures.learning_curves({"loss": [3.0], "val_loss": [2.0]}, "")
    [axes] = figure.axes
    assert [line.get_marker() for line in axes.lines] == ["o", "o"]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_latent_spaces_stand_side_by_side():
    codes = {name: np.random.default_rng(0).normal(size=(20, 2)) for name in ("AE", "VAE")}
    figure = figures.latent_spaces(codes, np.arange(20) % 3, NAMES, "Two models")
    assert [axes.get_title() for axes in figure.axes] == ["AE", "VAE"]


def test_bars_are_sorted():
    figure = figures.bars([1.0, 3.0, 2.0], "KL", "dimension", "nats", ["1", "2", "3"])
    [axes] = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [3, 2, 1]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "3", "1"]


def test_bars_of_dead_dimensions_are_grey_and_counted(make, dataset):
    figure = figures.bars([0.2, 0.005, 1.0, 0.0], "KL", "z", "nats", list("1234"), 0.01, "dead")
    [axes] = figure.axes
    bars = [patch for patch in axes.patches if patch.get_width() < 1]
    assert [bar.get_height() for bar in bars] == [1, 0.2, 0.005, 0]
    colours = [bar.get_facecolor() for bar in bars]
    assert colours[0] == colours[1] != colours[2] == colours[3] == to_rgba(GREY)
    [line] = [line for line in axes.lines if set(line.get_ydata()) == {0.01}]
    assert line.get_label() == "dead below 0.01"
    its = subject(make(), dataset)
    its.kl = np.array([0.5, 0.001, 2.0])
    figure = gallery.kl_by_dimension(its)
    assert figure.get_suptitle().startswith("KL by dimension: 2.5 nats, 1 of 3 dead")
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["3", "1", "2"]
    rows = [text.get_text() for text in gallery.traversals(its).axes[0].get_yticklabels()]
    assert rows == ["z3, 2.00 nats", "z1, 0.50 nats", "z2, dead"]


# Codes


def test_a_way_begins_and_ends_at_its_codes():
    first, second = np.random.default_rng(0).normal(size=(2, 4, 3))
    for spherical in (False, True):
        way = walks.between(first, second, 5, spherical)
        assert way.shape == (4, 5, 3)
        np.testing.assert_allclose(way[:, 0], first, rtol=0, atol=1e-6)
        np.testing.assert_allclose(way[:, -1], second, rtol=0, atol=1e-6)
    # On an arc between two codes of one length all codes have it, at even angles.
    arc = walks.between([[2.0, 0.0]], [[0.0, 2.0]], 4, spherical=True)[0]
    np.testing.assert_allclose(np.linalg.norm(arc, axis=1), 2, rtol=1e-6)
    np.testing.assert_allclose(
        np.arctan2(arc[:, 1], arc[:, 0]), np.pi / 6 * np.arange(4), atol=1e-6
    )
    np.testing.assert_allclose(walks.between([[1.0]], [[1.0]], 3, True), 1)


def test_quantiles_are_those_of_the_prior(make):
    from scipy.stats import norm

    probabilities = [0.1, 0.5, 0.9]
    expected = norm.ppf(probabilities)[:, None]
    model = make()
    exact = walks.prior_quantiles(model, probabilities, {"label": 1})
    np.testing.assert_allclose(exact, np.repeat(expected, 3, axis=1), rtol=1e-6)
    learned = make(prior=keras_vae.priors.ConditionalNormal())
    learned.build()
    for value in learned.prior.heads[0].weights:
        value.assign(value + 2.0)  # the mean of every class becomes 2 + 2
    drawn = walks.prior_quantiles(learned, probabilities, {"label": 1})
    # Standard error of a quantile at 0.1 of 4,096 draws: 0.027.
    np.testing.assert_allclose(drawn, expected + 4 + np.zeros(3), rtol=0, atol=0.12)


def test_a_plane_is_read_from_the_top_left():
    codes = walks.plane([1, 2], [3, 4])
    np.testing.assert_array_equal(codes, [[1, 4], [2, 4], [1, 3], [2, 3]])


def test_a_traversal_changes_one_dimension_only():
    values = np.arange(12.0).reshape(4, 3)
    codes = walks.traversals([-1, -2, -3], values)
    assert codes.shape == (3, 4, 3)
    np.testing.assert_array_equal(codes[1, :, 1], values[:, 1])
    np.testing.assert_array_equal(codes[1, :, [0, 2]], [[-1] * 4, [-3] * 4])


def test_decoding_a_class_by_its_vector_is_decoding_the_class(make, images):
    model = make()
    z = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    labels = np.array([0, 1, 2, 2, 1], "int32")
    vectors = model.condition_vectors({"label": labels})
    made = walks.decode(model, z, vectors, batch_size=2)
    np.testing.assert_allclose(made, model.decode(z, {"label": labels}), rtol=0, atol=1e-6)


def test_the_kl_of_the_dimensions_adds_up_to_the_kl(make, images):
    x, y = images
    model = make()
    inputs = {"x": x, "label": y}
    nats = model.kl_by_dimension(inputs).mean(axis=0)
    z_mean, z_log_var = (array.astype("float64") for array in model.encode(inputs))
    expected = (z_mean**2 + np.exp(z_log_var) - z_log_var - 1) / 2
    np.testing.assert_allclose(nats, expected.mean(axis=0), rtol=1e-5)
    vamp = make("VAE", prior=keras_vae.priors.VampPrior(2))
    vamp.build()
    assert vamp.kl_by_dimension(x) is None


# The gallery

ALL = set(gallery.PICTURES)


def test_a_conditional_vae_is_drawn_in_all_ways_but_one_plane(make, dataset):
    made, left_out = drawn(subject(make(), dataset))
    assert set(left_out) == {"manifold", "latent", "codebook_usage", "sweeps"}
    assert set(made) == ALL - set(left_out)
    for figure in made.values():
        if not isinstance(figure, bytes):
            title = figure.get_suptitle()
            assert "ConditionalVAE on shapes, 2 epochs" in title
    frames = frames_of(made["interpolation.gif"])
    assert len(frames) == 30
    np.testing.assert_array_equal(frames[1], frames[-1])  # there and back


def test_traversals_are_of_the_class_asked_for(make, dataset, monkeypatch):
    model, starts, traverse = make(), [], walks.traversals
    monkeypatch.setattr(
        walks, "traversals", lambda start, values: starts.append(start) or traverse(start, values)
    )
    for label, (asked, name) in enumerate(((None, "one"), ("1", "two"), ("three", "three"))):
        figure = gallery.traversals(subject(model, dataset, shown_class=asked))
        assert figure.get_suptitle().startswith(f"The code of a test image of class {name}:")
        first = dataset.x_test[dataset.y_test == label][:1]
        z_mean, _ = model.encode({"x": first, "label": [label]})
        np.testing.assert_allclose(starts[-1], z_mean[0], rtol=1e-5, atol=1e-6)
    for wrong in ("four", "3", "-1"):
        with pytest.raises(ValueError, match="one of one, two, three, or its index"):
            gallery.traversals(subject(model, dataset, shown_class=wrong))
    assert subject(model, None, shown_class="2").shown_label == 2
    with pytest.raises(ValueError, match="needs the data"):
        _ = subject(two_dimensional(), None, shown_class="one").shown_label


def two_dimensional(name="VAE", latent_dim=2, **kwargs):
    random.seed(1)
    networks = keras_vae.networks
    encoder = networks.DenseEncoder(latent_dim, hidden_units=(8,))
    decoder = networks.DenseDecoder((6, 5, 1), hidden_units=(8,))
    return getattr(keras_vae, name)(encoder, decoder, **kwargs)


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_small_latents_are_drawn_as_they_are(dataset, latent_dim):
    _, left_out = drawn(subject(two_dimensional(latent_dim=latent_dim), dataset))
    missing = {"samples_by_class", "style_transfer", "latent_projections", "codebook_usage"}
    missing.add("sweeps")
    assert set(left_out) == missing | ({"manifold"} if latent_dim == 1 else set())
    assert "knows no classes" in left_out["style_transfer"]


def test_an_autoencoder_is_drawn_without_its_prior(dataset):
    _, left_out = drawn(subject(two_dimensional("Autoencoder"), dataset))
    prior = {"samples", "samples_by_class", "nearest_training_images", "sweeps"}
    assert {name for name, why in left_out.items() if "no prior to draw from" in why} == prior
    assert {"manifold", "latent", "traversals", "interpolation"} <= ALL - set(left_out)
    assert "has no KL" in left_out["kl_by_dimension"]


def test_a_gan_is_drawn_from_its_draws(dataset):
    random.seed(1)
    networks = keras_vae.networks
    model = keras_vae.ConditionalGAN(
        networks.DenseDecoder((6, 5, 1), (8,)),
        networks.DenseDiscriminator((8,), num_classes=3),
        condition={"label": keras_vae.Categorical(3, NAMES)},
        latent_dim=4,
    )
    made, left_out = drawn(subject(model, dataset))
    without = {name for name, why in left_out.items() if "has no encoder" in why}
    assert without == {"reconstructions", "latent", "latent_projections", "kl_by_dimension"}
    assert {"interpolation", "style_transfer", "traversals"} <= set(made)


def test_a_vq_vae_shows_its_codebook(dataset):
    random.seed(1)
    networks = keras_vae.networks
    model = keras_vae.VQVAE(
        networks.ConvGridEncoder(3, (4,)),
        networks.ConvGridDecoder((6, 5, 1), (4,)),
        keras_vae.layers.VectorQuantizer(6, 3, seed=0),
    )
    model.build()
    made, left_out = drawn(subject(model, dataset))
    assert set(made) == {"learning_curves", "reconstructions", "codebook_usage"}
    shares = [bar.get_height() for bar in made["codebook_usage"].axes[0].patches]
    assert sum(shares) == pytest.approx(100)
    assert "indices" in left_out["interpolation"]
    assert "no prior" in left_out["samples"]


def test_beneath_samples_are_the_training_images_that_are_nearest(dataset, make, monkeypatch):
    model, x = make(), data.as_float(dataset.x_train)
    rows = np.random.default_rng(0).permutation(len(x))[np.arange(30) % len(x)]
    monkeypatch.setattr(model, "sample", lambda *args, **kwargs: x[rows] * 0.98)
    figure = gallery.nearest_training_images(subject(model, dataset))
    [shown] = [image.get_array() for image in figure.axes[0].get_images()]
    shown = np.asarray(shown, "float64")
    height = len(shown) // 6
    pairs = np.stack([shown[n * height : (n + 1) * height] for n in range(6)])
    made, real = pairs[::2, 1:-1], pairs[1::2, 1:-1]
    assert np.corrcoef(made.reshape(-1), real.reshape(-1))[0, 1] > 0.99
    assert np.corrcoef(made[0].reshape(-1), real[1].reshape(-1))[0, 1] < 0.99


def test_few_images_of_one_class_are_enough_for_most(dataset, make):
    x, y = dataset.x_test[:3], np.zeros(3, "int32")
    few = data.Dataset("few", x, y, x, y, ("only",))
    condition = {"label": keras_vae.Categorical(1)}
    made, left_out = drawn(subject(make(condition=condition), few))
    missing = {"manifold", "latent", "latent_projections", "codebook_usage", "sweeps"}
    assert set(left_out) == missing
    assert len(made["reconstructions"].axes[0].get_yticks()) == 2
    single = data.Dataset("single", x[:1], y[:1], x[:1], y[:1], ("only",))
    _, left_out = drawn(subject(make(condition=condition), single))
    assert "two test images" in left_out["interpolation"]


def test_without_data_or_history_the_rest_is_drawn(make):
    made, left_out = drawn(subject(make(), None, history={}))
    assert {"samples", "samples_by_class"} == set(made)
    assert "history" in left_out["learning_curves"]
    assert left_out["reconstructions"] == "it needs the data"


def test_vectors_are_no_pictures(make):
    x = np.random.default_rng(0).uniform(size=(20, 7)).astype("float32")
    y = (np.arange(20) % 3).astype("int32")
    networks = keras_vae.networks
    model = keras_vae.VAE(networks.DenseEncoder(3, (4,)), networks.DenseDecoder((7,), (4,)))
    made, left_out = drawn(subject(model, data.Dataset("sensors", x, y, x, y, NAMES)))
    assert set(made) == {"learning_curves", "latent_projections", "kl_by_dimension"}
    assert "of shape (7,)" in left_out["samples"]


# Watching a training


def test_a_training_is_watched_by_the_same_samples(make, images, tmp_path):
    x, y = images
    inputs = {"x": x, "label": y}
    labels = {"label": [0, 1, 2]}
    path = tmp_path / "training.gif"
    model = make()
    watch = keras_vae.callbacks.SampleGif(path, labels, columns=3, milliseconds=100)
    model.fit(inputs, epochs=3, verbose=0, callbacks=[watch])
    frames = frames_of(path.read_bytes())
    assert len(frames) == 3
    # The last frame is what the trained model samples, under a line of text.
    last = figures.image_grid(model.sample(labels, seed=0), columns=3, smallest=32)
    np.testing.assert_array_equal(frames[-1][-len(last) :, :, 0], last)
    assert [path.name for path in tmp_path.iterdir()] == ["training.gif"]
    with pytest.raises(ValueError, match="either"):
        keras_vae.callbacks.SampleGif(path)


def test_a_resumed_training_has_the_frames_of_both(images, tmp_path):
    x, _ = images
    path = tmp_path / "training.gif"
    model = two_dimensional("Autoencoder")
    model.compile()

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    def watch():
        return keras_vae.callbacks.SampleGif(path, inputs=x[:2])

    with pytest.raises(KeyboardInterrupt):
        model.fit(x, epochs=3, verbose=0, callbacks=[watch(), Interrupt()])
    assert not path.exists()
    model.fit(x, epochs=3, initial_epoch=1, verbose=0, callbacks=[watch()])
    assert len(frames_of(path.read_bytes())) == 3
    model.fit(x, epochs=1, verbose=0, callbacks=[watch()])
    assert len(frames_of(path.read_bytes())) == 1


def events(folder):
    """What TensorFlow reads from the event files of a folder: `(step, tag, value)`."""
    import tensorflow as tf

    found = []
    for record in tf.data.TFRecordDataset([str(path) for path in folder.iterdir()]):
        event = tf.compat.v1.Event.FromString(record.numpy())  # its checksums were right
        for value in event.summary.value:
            is_image = value.HasField("image")
            found.append((event.step, value.tag, value.image if is_image else value.simple_value))
    return found


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow reads the files")
def test_tensorflow_reads_the_event_files(make, images, tmp_path):
    x, y = images
    inputs = {"x": x, "label": y}
    log = keras_vae.callbacks.TensorBoardLog(tmp_path, {"label": [0, 1, 2]}, columns=3)
    model = make()
    fit = model.fit(inputs, validation_data=(inputs,), epochs=2, verbose=0, callbacks=[log])
    for split, prefix in (("train", ""), ("validation", "val_")):
        scalars = {(s, tag): v for s, tag, v in events(tmp_path / split) if tag != "samples"}
        for step in (1, 2):
            expected = fit.history[f"{prefix}kl_loss"][step - 1]
            assert scalars[step, "kl_loss"] == pytest.approx(expected, rel=1e-6)
    [last] = [v for step, tag, v in events(tmp_path / "train") if (step, tag) == (2, "samples")]
    images = model.sample({"label": [0, 1, 2]}, seed=0)
    grid = figures.image_grid(images, columns=3, smallest=32)
    assert (last.height, last.width, last.colorspace) == (*grid.shape, 1)
    with Image.open(io.BytesIO(last.encoded_image_string)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), grid)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
    ids=["zeros", "ones", "rising"],
)
def test_checksums_are_those_of_the_standard(data, checksum):
    # RFC 3720, appendix B.4.
    assert event_files.crc32c(data) == checksum


def test_event_files_are_written_on_every_backend(make, images, tmp_path):
    x, _ = images
    model = two_dimensional("Autoencoder")
    model.compile()
    model.fit(x, verbose=0, callbacks=[keras_vae.callbacks.TensorBoardLog(tmp_path, inputs=x[:2])])
    [file] = (tmp_path / "train").iterdir()
    written = file.read_bytes()
    for word in (b"brain.Event:2", b"reconstruction_loss", b"reconstructions", b"PNG"):
        assert word in written


# The command


@pytest.fixture
def run(tmp_path, images, make):
    """A run folder of a small model on an .npz file."""
    x, y = images
    path = tmp_path / "shapes.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y, class_names=np.array(NAMES))
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    model = make()
    model.build()
    run.save_model(model)
    run.write_json(run.config_path, {"arguments": {"data": str(path)}})
    return run


def test_the_command_writes_the_asked_format_and_says_what_it_left_out(run, capsys):
    arguments = ["figures", str(run.folder), "--only", "samples,manifold,interpolation.gif"]
    assert main([*arguments, "--format", "svg"]) == 0
    said = capsys.readouterr().out
    assert {path.name for path in run.figures.iterdir()} == {"samples.svg", "interpolation.gif"}
    assert (run.figures / "samples.svg").read_text().startswith("<?xml")
    assert "Left out manifold: the latent has 3 dimensions" in said
    assert main([*arguments, "--format", "pdf"]) == 0
    assert (run.figures / "samples.pdf").read_bytes().startswith(b"%PDF")


def test_the_command_ends_with_a_line_where_it_cannot_draw(run, tmp_path, capsys):
    assert main(["figures", str(run.folder), "--only", "samples", "--label", "seven"]) == 2
    assert "must be one of one, two, three" in capsys.readouterr().err
    assert not run.figures.exists()
    assert main(["figures", str(run.folder), "--only", "portrait"]) == 2
    assert "--only must name pictures" in capsys.readouterr().err
    run.figures.write_text("a file in the folder's place")
    assert main(["figures", str(run.folder), "--only", "samples"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    run.figures.unlink()
    (tmp_path / "shapes.npz").unlink()
    assert main(["figures", str(run.folder), "--only", "samples,reconstructions"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Without the data: ")
    assert "Left out reconstructions: it needs the data." in said
    assert main(["figures", str(tmp_path / "nothing")]) == 2
