"""Pictures of the documents, of runs on MNIST: what the first samples, and what the second learnt.

python -m keras_vae train --data mnist --out runs/mnist
python -m keras_vae train --data mnist --latent-dim 5 --prior standard_normal --out runs/five
python docs/make_figures.py runs/mnist runs/five
"""

import io
import pathlib
import sys

import matplotlib
from PIL import Image

from keras_vae.figures import gallery
from keras_vae.storage.runs import Run

DOCS = pathlib.Path(__file__).parent
# Two pictures stand side by side where GitHub shows 800 pixels. They are drawn twice as large.
WIDTH, GAP = 780, 40
# Pixels of a letter there.
LEAST = 10.5


def main():
    first, second = sys.argv[1:]
    subject = subject_of(first)
    save(drawn(gallery.samples_by_class(subject)), "samples.png")
    gif = DOCS / "interpolation.gif"
    gif.write_bytes(gallery.interpolation_gif(subject))
    print(gif, f"{len(gif.read_bytes()) / 1000:.0f} kB")

    subject = subject_of(second)  # whose KL is a sum over latents
    # What the README says under them need not stand above each.
    subject.title = lambda text: text
    subject.history = {name: subject.history[name] for name in ("loss", "val_loss")}
    columns = [
        [of_width(function, subject) for function in functions]
        for functions in (
            (gallery.style_transfer, gallery.learning_curves),
            (gallery.traversals, gallery.interpolation, gallery.kl_by_dimension),
        )
    ]
    height = max(sum(p.height + GAP for p in column) for column in columns) + GAP
    sheet = Image.new("RGB", (2 * WIDTH + 3 * GAP, height), "white")
    for index, column in enumerate(columns):
        free = (height - GAP - sum(p.height + GAP for p in column)) // len(column)
        top = GAP
        for picture in column:
            sheet.paste(picture, (GAP + index * (WIDTH + GAP), top))
            top += picture.height + GAP + free
    save(sheet, "figures.png")


def subject_of(folder):
    """The model of a run, and what pictures of it are drawn from."""
    run = Run(folder)
    dataset = run.dataset()
    return gallery.Subject(run.load_model(), dataset, run.history(), dataset.name, "4")


def of_width(function, subject):
    """What a function draws, as wide as a column, in letters that can be read there."""
    inches = function(subject).get_figwidth()
    points = max(10.0, LEAST * 72 * inches / (WIDTH / 2))
    with matplotlib.rc_context({"font.size": points, "figure.titlesize": "medium"}):
        picture = drawn(function(subject))
    height = round(picture.height * WIDTH / picture.width)
    return picture.resize((WIDTH, height), Image.Resampling.LANCZOS)


def drawn(figure):
    """A matplotlib figure's pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return Image.open(buffer).convert("RGB")


def save(picture, name):
    # Every colour counts, however few pixels a curve has.
    path = DOCS / name
    picture.quantize(128, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


main()
