"""Draw what a run learnt, in all ways that its model allows."""

import pathlib
import sys

from keras_vae.commands import series
from keras_vae.commands.output import print_next_export
from keras_vae.commands.start import start_keras

# The names in `keras_vae.figures.gallery`, which imports Keras, too.
PICTURES = (
    "learning_curves",
    "reconstructions",
    "samples",
    "samples_by_class",
    "sweeps",
    "nearest_training_images",
    "interpolation",
    "interpolation.gif",
    "style_transfer",
    "traversals",
    "manifold",
    "latent",
    "latent_projections",
    "kl_by_dimension",
    "codebook_usage",
)
# Those of pieces of music.
PIECES = ("learning_curves", "piano_rolls", "piano_rolls_between", "kl_by_dimension")
# Those of rows of a table.
ROWS_OF_TABLES = (
    *("learning_curves", "columns", "associations"),
    *("latent", "latent_projections", "kl_by_dimension"),
)


def add_arguments(parser):
    parser.add_argument("run", help="run folder")
    parser.add_argument(
        "--format",
        choices=("png", "svg", "pdf"),
        default="png",
        help="of pictures that do not move (default: png)",
    )
    parser.add_argument("--only", metavar="NAMES", help="draw these only, by commas")
    parser.add_argument(
        "--label", help="class whose code the traversals show, by name or index (default: first)"
    )


def main(args):
    from keras_vae import data
    from keras_vae.storage.runs import Run

    run = Run(args.run)
    is_music = run.model_class() == "SequenceVAE"
    if run.series_schema() is not None:
        return series.figures(args, run)
    is_table = run.table_schema() is not None
    known = PIECES if is_music else ROWS_OF_TABLES if is_table else PICTURES
    names = args.only.split(",") if args.only else list(known)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(
            f"--only must name pictures, of {', '.join(known)}. Received: {unknown[0]}"
        )
    source = run.config()["arguments"]["data"]
    start_keras(args.backend)
    from rich.progress import track

    from keras_vae.figures import gallery

    model = run.load_model()
    try:
        dataset = run.dataset()
    except data.DataError as err:
        print(f"Without the data: {err}")
        dataset = None
    data_name = pathlib.Path(source).stem if dataset is None or is_table else dataset.name
    kind, pictures = gallery.Subject, gallery.PICTURES
    if is_music:
        kind, pictures = gallery.MusicSubject, gallery.PIECES
    if is_table:
        kind, pictures = gallery.TableSubject, gallery.ROWS_OF_TABLES
    subject = kind(model, dataset, run.history(), data_name, args.label)
    if args.label is not None:
        _ = subject.shown_label  # refused before anything is drawn
    left_out = {}
    quiet = not sys.stdout.isatty()
    for name in track(names, "Drawing", transient=True, disable=quiet):
        try:
            made = pictures[name](subject)
        except gallery.LeftOut as why:
            left_out.setdefault(str(why), []).append(name)
            continue
        for each, picture in (made if isinstance(made, dict) else {name: made}).items():
            print(run.save_figure(each, picture, args.format), flush=True)
    for why, which in left_out.items():
        print(f"Left out {', '.join(which)}: {why}.")
    print_next_export(run.folder, subject.model)
