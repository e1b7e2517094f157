"""The commands on a `sequence_vae`: pieces of music trained on, measured and sampled."""

import io
import math
import pathlib

from keras_vae import arguments, progress
from keras_vae.commands import fitting
from keras_vae.commands.output import print_next, print_next_export
from keras_vae.commands.reporting import examine, name_asked, report_evaluation
from keras_vae.commands.start import start_keras
from keras_vae.commands.train_arguments import run_folder

# What `train` uses where an argument is left out.
DEFAULTS = {"latent_dim": 32, "epochs": 3, "batch_size": 16, "learning_rate": 2e-3}
# Nats that the code costs at least, with conditions and without: half a nat or one above 12 and 20,
# for it costs less where nothing is hidden.
FREE_BITS = 13.0, 21.0
WEIGHT_DECAY = 0.1
PAST_NOISE = 0.03
SUFFIXES = (".mid", ".wav", ".npy")
PIECES = 4


# train


def train(args):
    """Train a `sequence_vae`, once its arguments are checked."""
    run, music = prepare(args)
    start_keras(args.backend, purpose=f"{args.model} on {music.name}")
    from keras_vae.evaluation import report

    model = train_in(run, args, music)
    results = report.evaluate(model, music.test, args.batch_size, progress.bar("Evaluating"))
    results["music"] = measure(model, music, args.batch_size)
    report_evaluation(run, results)
    print_next("figures", run.folder)
    print_next("sample", run.folder, "--count", PIECES, "--seed", 42, "--out", "piece.mid")
    print_next_export(run.folder)


def prepare(args):
    """Check all that can be checked without Keras: the run folder and the data of a training."""
    from keras_vae import data

    run = fitting.run_of(args, run_folder(args))
    music = data.sequences(args.data, steps=args.steps, conditions=args.condition)
    beats, left = divmod(music.steps, music.schema.steps_per_beat)
    if args.decoder == "notes" and left:
        raise ValueError(
            f"--decoder notes needs whole beats, --steps of {music.schema.steps_per_beat}, "
            f"{2 * music.schema.steps_per_beat} and so on. Received: {music.steps}."
        )
    for name, value in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
            if args.decoder == "notes" and name == "latent_dim":
                args.latent_dim = 4 * beats
    if args.decoder == "notes" and args.latent_dim % beats:
        raise ValueError(
            f"--latent-dim must be a multiple of the {beats} beats for --decoder notes, of which "
            f"each has a part of the code. Received: {args.latent_dim}."
        )
    if args.total_free_bits is None:
        args.total_free_bits = FREE_BITS[0 if args.condition else 1]
    if args.past_noise is None:
        args.past_noise = PAST_NOISE if args.decoder == "notes" else 0.0
    if args.kl_warmup > args.epochs:
        raise ValueError(
            f"--kl-warmup must be at most --epochs, {args.epochs}. Received: {args.kl_warmup}"
        )
    bar = bar_of(music.schema)
    if args.decoder == "conductor" and music.steps % bar:
        raise ValueError(
            f"--decoder conductor needs whole bars, --steps of {bar}, {2 * bar} and so on. "
            f"Received: {music.steps}."
        )
    fitting.check_is_unlocked(run)
    return run, music


def train_in(run, args, music):
    """Train, or go on training, in a run folder, and return the model."""
    import keras

    fitting.seed_all(args.seed)
    model, windows = make_model(args, music), len(music.tokens("train"))
    # On PyTorch our networks can be traced, with the same results.
    jit_compile = True if keras.backend.backend() == "torch" else "auto"
    model.compile(make_optimizer(args, windows), jit_compile=jit_compile)
    model.build()
    described = {"data_shape": list(model.data_shape), "schema": music.schema.get_config()}
    held_out = music.validation if len(music.tokens("validation")) else music.test
    with fitting.claimed(run, args, model, described):
        print(
            f"{type(model).__name__} with {model.count_params():,} parameters on {music.name}: "
            f"{windows:,} training and {len(music.tokens('test')):,} test windows of "
            f"{music.steps} steps, {keras.backend.backend()} backend",
            flush=True,
        )
        fitting.fit(run, args, model, music.train, held_out)
    return model


def make_model(args, music):
    """Build the model that the arguments describe."""
    import keras_vae
    from keras_vae import networks

    schema, shape = music.schema, (music.steps, len(music.schema.voices))
    hidden = {"dropout": args.dropout, "seed": args.seed}
    past = {"past_dropout": args.past_dropout, **hidden}
    if args.decoder == "notes":
        notes = {
            "given": len(schema.given),
            "steps_per_beat": schema.steps_per_beat,
            "repeats": schema.repeats,
        }
        of_notes = schema.num_tokens, schema.low
        encoder = networks.NotesEncoder(
            args.latent_dim, *of_notes, steps=music.steps, **notes, **hidden
        )
        decoder = networks.NotesDecoder(
            shape, *of_notes, **notes, **past, past_noise=args.past_noise
        )
    else:
        encoder = networks.SequenceEncoder(args.latent_dim, schema.num_tokens, **hidden)
        kind, options = {
            "causal": (networks.CausalDecoder, {}),
            "gru": (networks.GRUDecoder, {}),
            "conductor": (networks.ConductorDecoder, {"segment": bar_of(schema)}),
        }[args.decoder]
        decoder = kind(shape, schema.num_tokens, **past, **options)
    kl_weight = args.kl_weight
    if args.kl_warmup:
        kl_weight = keras_vae.schedules.LinearWarmup(args.kl_warmup, end=kl_weight)
    return keras_vae.SequenceVAE(
        encoder,
        decoder,
        condition=music.conditions or None,
        schema=schema,
        kl_weight=kl_weight,
        total_free_bits=args.total_free_bits,
        prior_share=args.prior_share,
        seed=args.seed,
    )


def make_optimizer(args, windows):
    """AdamW, whose rate rises and then falls to 0, with the mean of the last weights in the end."""
    import keras

    updates = args.epochs * math.ceil(windows / args.batch_size)
    warm_up = min(200, updates // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(updates - warm_up, 1), warmup_target=args.learning_rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=WEIGHT_DECAY,
        beta_2=0.99,
        global_clipnorm=1.0,
        use_ema=True,
        # A mean over about a sixteenth of the training.
        ema_momentum=max(0.0, 1 - 16 / updates),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def bar_of(schema):
    """Steps of a bar."""
    from keras_vae.data.midi import BEATS_OF_BAR

    return BEATS_OF_BAR * schema.steps_per_beat


# evaluate


def evaluate(args, run):
    """Measure a run's `SequenceVAE` on its test pieces."""
    if args.scorecard:
        raise ValueError("--scorecard judges images. Received: a SequenceVAE. Leave it out.")
    music = run.dataset()
    start_keras(args.backend, purpose=f"SequenceVAE of {run.folder}")
    from keras_vae.evaluation import report

    model = run.load_model()
    test = report.first_of(music.test, args.examples)
    batch_size = run.config()["arguments"].get("batch_size") or 256
    print(f"Measuring {len(music.tokens('test')[: args.examples]):,} test windows", flush=True)
    counts = (*args.k, args.num_samples) if args.num_samples else args.k
    results = report.measure_all(model, test, counts, args.ais, progress.bar, batch_size)
    results["music"] = measure(model, music, batch_size, args.examples)
    name_asked(results, args.num_samples)
    if args.doctor:
        results["findings"] = examine(run, model, music.train, test)
    report_evaluation(run, results)
    print_next("figures", run.folder)


def measure(model, music, batch_size, count=None):
    """Figures of merit of test windows, of those whose melody training has not, of samples."""
    from keras_vae.evaluation import sequences
    from keras_vae.evaluation.report import first_of
    from keras_vae.training.batched import rows_of

    test, new = first_of(music.test, count), music.new_melody[:count]
    found = {"test": sequences.evaluate_sequences(model, test, batch_size)}
    if new.any() and not new.all():
        found["new_melody"] = sequences.evaluate_sequences(model, rows_of(test, new), batch_size)
    return {**found, **sequences.compare_samples(model, test)}


# sample


def sample(args, run):
    """Draw pieces from a run's `SequenceVAE`, as notes or as sound."""
    import numpy as np

    from keras_vae.data import audio, midi
    from keras_vae.storage.files import check_folder_can_be, write_atomically

    out = pathlib.Path(args.out or "samples.mid")
    if out.suffix not in SUFFIXES:
        raise ValueError(f"--out must end with .mid, .wav or .npy for music. Received: {out}")
    for name in ("label", "condition"):
        if getattr(args, name):
            raise ValueError(f"A SequenceVAE takes no --{name}.")
    arguments.not_negative(args.token_temperature, "--token-temperature")
    check_folder_can_be(out.parent)
    count = args.count or PIECES
    schema, conditions = run.schema(), given(args, run, count)
    start_keras(args.backend)
    tokens = run.load_model().sample(
        conditions or None,
        args.temperature,
        args.seed,
        count,
        token_temperature=args.token_temperature,
    )
    pieces = schema.together(tokens, conditions)
    if out.suffix == ".npy":
        content = io.BytesIO()
        np.save(content, pieces)
        content = content.getvalue()
    else:
        encode = midi.encode if out.suffix == ".mid" else audio.encode
        content = encode(one_after_another(pieces, schema), schema)
    write_atomically(out, content)
    under = f" under {'one melody' if args.melody else 'melodies of test pieces'}"
    print(f"{len(pieces)} pieces of {pieces.shape[1]} steps{under if schema.given else ''}")
    print(out)
    print_next_export(run.folder)


def given(args, run, count):
    """The conditions of so many samples: of test pieces, and of `--melody`."""
    import numpy as np

    from keras_vae.data import keys, midi

    config = run.config()
    names, steps = config["arguments"]["condition"], config["data_shape"][0]
    melody = None
    if args.melody is not None:
        if "melody" not in names:
            raise ValueError(
                "--melody needs a model that was trained with --condition melody. Received: "
                f"{', '.join(names) or 'one without conditions'}."
            )
        schema = run.schema()
        melody = midi.read_melody(args.melody, schema, steps)
    if not names:
        return {}
    if melody is not None and names == ["melody"]:
        return {"melody": np.repeat(melody[None].astype("int32"), count, axis=0)}
    music = run.dataset()
    rows = music.rows_to_show(count)
    conditions = {name: values[rows] for name, values in music.test.items() if name != "x"}
    if melody is not None:
        key = np.full(count, keys.estimate(schema.pitches(melody)), "int32")
        told = {"melody": np.repeat(melody[None].astype("int32"), count, axis=0), "key": key}
        told["mode"] = key // 12
        conditions |= {name: told[name] for name in names if name in told}
    return conditions


def one_after_another(pieces, schema):
    """Pieces `(n, steps, voices)` as one, with a bar's rest after each but the last."""
    import numpy as np

    rest = np.zeros((bar_of(schema), pieces.shape[2]), pieces.dtype)
    return np.concatenate([part for piece in pieces for part in (piece, rest)][:-1])
