"""Draw samples from a run's model."""

import io
import math
import pathlib

from keras_vae import arguments
from keras_vae.commands import sequences, series, tables
from keras_vae.commands.argument_types import non_negative_int, positive_int
from keras_vae.commands.output import print_next_export
from keras_vae.commands.start import start_keras
from keras_vae.exceptions import one_line

WITHOUT_LABELS = ("Autoencoder", "VAE", "GAN")
COUNT = 16


def add_arguments(parser):
    parser.add_argument("run", help="run folder")
    parser.add_argument(
        "--label",
        action="append",
        help="class by name or index, several by commas (default: every class, one row each)",
    )
    parser.add_argument(
        "--condition",
        action="append",
        metavar="NAME=VALUE",
        help="what rows of a table are to be, once for each condition (default: as training rows)",
    )
    parser.add_argument(
        "--count",
        type=positive_int,
        help="samples per class (default: 16), pieces (default: 4), or rows (default: 10)",
    )
    parser.add_argument("--seed", type=non_negative_int, help="repeats the same samples")
    parser.add_argument("--temperature", type=float, default=1.0, help="default: 1")
    parser.add_argument(
        "--token-temperature",
        type=float,
        default=0.7,
        help="of the notes of a piece; 0 takes the likeliest (default: 0.7)",
    )
    parser.add_argument(
        "--melody", metavar="FILE", help="a .mid file whose melody gets the other voices"
    )
    parser.add_argument(
        "--out",
        help=".png, or .npy for the values (default: samples.png); of pieces .mid, .wav or .npy "
        "(default: samples.mid); of rows .csv (default: shows some)",
    )


def main(args):
    import numpy as np

    from keras_vae.storage.files import check_folder_can_be, write_atomically
    from keras_vae.storage.runs import Run

    arguments.not_negative(args.temperature, "--temperature")
    run = Run(args.run)
    kind = run.model_class()
    if kind == "SequenceVAE":
        return sequences.sample(args, run)
    if args.melody:
        raise ValueError(f"--melody needs a SequenceVAE. Received: {kind}.")
    if (schema := run.table_schema()) is not None:
        return tables.sample(args, run, schema)
    if (schema := run.series_schema()) is not None:
        return series.sample(args, run, schema)
    if args.condition:
        raise ValueError(f"--condition needs a model of a table. Received: {kind}. Use --label.")
    out = pathlib.Path(args.out or "samples.png")
    if out.suffix not in (".png", ".npy"):
        raise ValueError(f"--out must end with .png or .npy. Received: {out}")
    count = args.count or COUNT
    if kind == "Autoencoder":
        raise ValueError("Sampling needs a model with a prior. Received: an Autoencoder.")
    check_labels(run, kind, args.label)
    check_folder_can_be(out.parent)
    start_keras(args.backend)
    from keras_vae import figures as draw

    model = run.load_model()
    rows, what = sample_rows(model, args.label)
    if rows is None:
        images = model.sample(count, temperature=args.temperature, seed=args.seed)
    else:
        labels = np.repeat(np.asarray(rows, "int32"), count)
        images = model.sample({"label": labels}, temperature=args.temperature, seed=args.seed)
    if out.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, images)
        content = buffer.getvalue()
    else:
        columns = count if rows and len(rows) > 1 else math.ceil(math.sqrt(len(images)))
        content = draw.png(draw.image_grid(images, columns, model.likelihood.data_range))
    write_atomically(out, content)
    print(f"{len(images)} images of {what}")
    print(out)
    print_next_export(args.run, model)


def check_labels(run, kind, labels):
    """See that a run's model knows the labels that its samples are to have."""
    if not labels:
        return
    if kind in WITHOUT_LABELS:
        raise ValueError(f"A {kind} takes no --label.")
    names = run.config().get("class_names")
    if not isinstance(names, list):
        return  # the model itself will say
    for word in words_of(labels, names):
        is_index = word.isdecimal() and int(word) <= len(names)
        if word not in names and word != "unknown" and not is_index:
            raise ValueError(
                f"--label must name classes, or count them from 0 to {len(names) - 1}. Received: "
                f"{word!r}. The classes are: {one_line(', '.join(map(str, names)), 200)}."
            )


def words_of(labels, names):
    """The words of `--label`, several by commas, unless a name has commas itself."""
    return [word for text in labels for word in ([text] if text in names else text.split(","))]


def sample_conditions(model):
    """The conditions, by name, of what a model samples: its own, or those of its prior."""
    from keras_vae.models.capabilities import Samples

    return model.sample_conditions if isinstance(model, Samples) else {}


def sample_rows(model, labels):
    """Return the class index of each row, or None for an unconditional model, and a description."""
    conditions = sample_conditions(model)
    if not conditions:
        if labels:
            raise ValueError(f"A {type(model).__name__} takes no --label.")
        return None, "no class"
    kind = conditions["label"]
    if not labels:
        return list(range(kind.num_leaves)), "every class"
    words, rows = words_of(labels, kind.names), []
    for word in words:
        if word in kind.names:
            rows.append(kind.names.index(word))
        elif word == "unknown":
            rows.append(kind.unknown)
        else:
            value = int(word) if word.isdecimal() else word
            rows.extend(kind.as_array([value], "--label").tolist())
    return rows, "label " + ", ".join(words)


def sample_label(model):
    """The arguments that ask for one class."""
    conditions = sample_conditions(model)
    return ("--label", conditions["label"].names[-3:][0]) if conditions else ()
