"""Draw samples from a run's model."""

import io
import math
import pathlib

from keras_vae import arguments
from keras_vae.commands import asked, sequences, series, tables
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
        help="once for each condition: of images a number, a class, or a sweep such as "
        "angle=-60:60:7, whose steps have all else alike; of rows of a table what they are to be "
        "(default: as training rows)",
    )
    parser.add_argument(
        "--count",
        type=positive_int,
        help="samples per class (default: 16, of a sweep 1), pieces (default: 4), or rows "
        "(default: 10)",
    )
    parser.add_argument("--seed", type=non_negative_int, help="repeats the same samples")
    parser.add_argument("--temperature", type=float, default=1.0, help="default: 1")
    parser.add_argument(
        "--guidance",
        type=float,
        help="of a vq_vae trained with --unknown-rate: above 1, samples that obey more (default: "
        "1)",
    )
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
    if args.guidance is not None:
        arguments.not_negative(args.guidance, "--guidance")
    run = Run(args.run)
    kind = run.model_class()
    if kind == "SequenceVAE":
        return sequences.sample(args, run)
    if args.guidance not in (None, 1) and kind != "VQVAE":
        raise ValueError(f"--guidance needs a VQVAE. Received: {kind}. Lower --temperature.")
    if args.melody:
        raise ValueError(f"--melody needs a SequenceVAE. Received: {kind}.")
    if (schema := run.table_schema()) is not None:
        return tables.sample(args, run, schema)
    if (schema := run.series_schema()) is not None:
        return series.sample(args, run, schema)
    check_conditions(run, asked.values_of(args.condition))
    out = pathlib.Path(args.out or "samples.png")
    if out.suffix not in (".png", ".npy"):
        raise ValueError(f"--out must end with .png or .npy. Received: {out}")
    if kind == "Autoencoder":
        raise ValueError("Sampling needs a model with a prior. Received: an Autoencoder.")
    check_labels(run, kind, args.label)
    check_folder_can_be(out.parent)
    start_keras(args.backend)
    from keras_vae import figures as draw

    model = run.load_model()
    wanted = asked.asked_of(sample_conditions(model), args.label, args.condition)
    count = args.count or (1 if wanted.sweep else COUNT)
    settings = {"temperature": args.temperature, "seed": args.seed}
    if args.guidance is not None and kind == "VQVAE":
        settings["guidance"] = args.guidance
    images = wanted.sample(model, count, **settings)
    if out.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, images)
        content = buffer.getvalue()
    else:
        columns = len(wanted.numbers)
        if not wanted.sweep:
            columns = count if len(wanted.rows or ()) > 1 else math.ceil(math.sqrt(len(images)))
        content = draw.png(draw.image_grid(images, columns, model.likelihood.data_range))
    write_atomically(out, content)
    print(f"{len(images)} images of {wanted.words}")
    print(out)
    print_next_export(args.run, model)


def check_conditions(run, values):
    """See that a run was trained on the conditions that its samples are to have."""
    known = ["label", *(run.config()["arguments"].get("condition") or ())]
    for name in values:
        if name not in known:
            raise ValueError(
                f"--condition must name a condition of the run, {', '.join(dict.fromkeys(known))}. "
                f"Received: {name}."
            )


def check_labels(run, kind, labels):
    """See that a run's model knows the labels that its samples are to have."""
    if not labels:
        return
    if kind in WITHOUT_LABELS:
        raise ValueError(f"A {kind} takes no --label.")
    names = run.config().get("class_names")
    if not isinstance(names, list):
        return  # the model itself will say
    for word in asked.words_of(labels, names):
        is_index = word.isdecimal() and int(word) <= len(names)
        is_group = any(str(name).startswith(f"{word}/") for name in names)
        if word not in names and word != "unknown" and not (is_index or is_group):
            raise ValueError(
                f"--label must name classes, or count them from 0 to {len(names) - 1}. Received: "
                f"{word!r}. The classes are: {one_line(', '.join(map(str, names)), 200)}."
            )


def sample_conditions(model):
    """The conditions, by name, of what a model samples: its own, or those of its prior."""
    from keras_vae.models.capabilities import Samples

    return model.sample_conditions if isinstance(model, Samples) else {}


def sample_asked(model):
    """The arguments that ask for one class, or for a sweep of the first number."""
    words, swept = [], False
    for name, kind in sample_conditions(model).items():
        if name == "label":
            words += ["--label", kind.names[-3:][0]]
        elif kind.kind == "continuous" and kind.dim == 1 and kind.low and not swept:
            words += ["--condition", f"{name}={kind.low[0]:g}:{kind.high[0]:g}:7"]
            swept = True
        elif kind.kind == "continuous" and not kind.unknown_rate:
            middle = ",".join(f"{number:g}" for number in kind.middle())
            words += ["--condition", f"{name}={middle}"]
    return words
