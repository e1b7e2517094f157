"""Sample, score or encode on a device, from an exported file: numpy and one runtime.

    python sample.py --model decoder.tflite --label 7 --count 16 --seed 42 --out sevens.png
    python sample.py --model decoder.onnx --out all.png          # every class, one row each
    python sample.py --model decoder.onnx --condition angle=-60:60:7 --out turning.png
    python sample.py --model decoder.onnx --self-test
    python sample.py --model sampler.tflite --melody tune.mid --count 4 --out harmonised.mid
    python sample.py --model sampler.tflite --condition income=">50K" --count 100 --out rows.csv
    python sample.py --model scorer.tflite --score rows.csv --out scored.csv
    python sample.py --model scorer.tflite --score image.png --label 7
    python sample.py --model scorer.tflite --score machine.csv --out alarms.csv  # with monitor.py
    python sample.py --model encoder.tflite --encode image.png --label 7
    python sample.py --model classifier.tflite --classify image.png

A `.tflite` file runs in `ai-edge-litert`, an `.onnx` file in `onnxruntime`. What the model makes
and takes is read from the manifest inside the file. This file needs no other of its project, but
for series of sensors monitor.py: copy it to the device beside the model.
"""

import argparse
import contextlib
import csv
import importlib.util
import io
import itertools
import json
import math
import os
import re
import secrets
import statistics
import struct
import sys
import time
import zlib

import numpy as np

LARGEST_TOLERANCE = 0.05
SEEDS = 2**31
COUNT = 16
MOST_STEPS = 1000  # of a sweep
# Of which every one is drawn where none is asked for.
MOST_CLASSES = 100
MOST_SAMPLES = 2**20
LARGEST_BATCH = 64
ROWS_AT_ONCE = 1024
SMALLEST_TILE = 64
GAP = 2
FRAME = 96
MOST_PIXELS = 2**26
MOST_VALUES = 2**28
LARGEST_FILE = 2**31
LARGEST_PICTURE = 2**26
LARGEST_MIDI = 2**20
LARGEST_TABLE = 2**30
MOST_COLUMNS = 2**12
MISSING = ("", "?", "NaN", "nan")
SEPARATORS = (",", ";", "\t", "|")
MOST_VOICES = 16
MOST_PIECES = 1000
MIDI_TICKS = 480  # a beat
BEATS_OF_BAR = 4
DRUMS = 9  # the channel that people call the tenth
UNKNOWN = "unknown"
TAG_UNKNOWN = 2  # 1 is a tag that is there, 0 one that is not
KINDS = ("categorical", "continuous", "multi_label", "sequence")
GRAPHS = ("decoder", "sampler", "encoder", "scorer", "reconstructor", "classifier")
SCHEMA = 1
# By how much rounding in float32 may lead beyond an end of the data's range, in parts of it or 1.
ROUNDING = 1e-6


# Conditions of which it was said that they leave their range.
WARNED_OF = set()


class InputError(Exception):
    """Something that the caller can put right, said in one line."""


def main(argv=None):
    """Run the command line and return its exit status: 0, 2 for bad input, 1 for a failed test."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
        sys.stderr.reconfigure(errors="replace")
    try:
        options = parse_arguments(argv)
        manifest, run, runtime = load(options.model)
        if options.self_test:
            return 0 if self_test(manifest, run, runtime) else 1
        sweep = take_sweep(options, manifest)
        options.count = options.count or (1 if sweep else COUNT)
        if has_windows(manifest):
            monitor_of(options).watch(options, manifest, run, runtime, sys.modules[__name__])
        elif has_rows(manifest):
            use_table(options, manifest, run, runtime)
        elif options.score or options.encode or options.classify:
            look_at(options, manifest, run)
        elif has_notes(manifest):
            compose(options, manifest, run, runtime)
        else:
            sample(options, manifest, run, runtime, sweep)
    except InputError as err:
        return fail(str(err))
    except OSError as err:
        return fail(f"{err.filename}: {err.strerror}" if err.filename else str(err))
    except MemoryError:
        return fail("not enough memory; ask for fewer images with --count")
    except KeyboardInterrupt:
        return fail("interrupted", status=1)
    return 0


def has_windows(manifest):
    """Whether it scores windows of a series."""
    data = manifest.get("data")
    is_series = isinstance(data, dict) and data.get("kind") == "series"
    return is_series and manifest["graph"] in ("scorer", "reconstructor")


def monitor_of(options):
    """The module monitor.py, which stands beside this one."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "monitor.py")
    if not os.path.isfile(path):
        raise InputError(f"a scorer of a series needs monitor.py beside this program, at {path}")
    if not (options.score or options.refit_threshold or options.undo_refit or options.header):
        raise InputError(
            "this model scores a series: --score machine.csv, or --score - for a stream"
        )
    spec = importlib.util.spec_from_file_location("monitor", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse_arguments(argv):
    class Parser(argparse.ArgumentParser):
        def error(self, message):
            raise InputError(f"{message} (see --help)")

    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="decoder.tflite or decoder.onnx")
    parser.add_argument(
        "--label",
        action="append",
        help="class by name or index, several by commas; 'unknown' for none in particular "
        "(default: every class, one row each)",
    )
    parser.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="NAME=VALUE[,VALUE]",
        help="any condition by its name: classes, the numbers of a continuous one, or a sweep "
        "FIRST:LAST:STEPS of one number, whose steps have all else alike",
    )
    parser.add_argument(
        "--count",
        type=int,
        help=f"images, or rows, per row of conditions (default: {COUNT}, of a sweep 1)",
    )
    parser.add_argument("--seed", type=int, help="repeats the same images (default: drawn anew)")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 gives the prior's mean")
    parser.add_argument("--melody", metavar="FILE.mid", help="of music: what to harmonise")
    parser.add_argument(
        "--token-temperature",
        type=float,
        default=0.7,
        help="of music: how freely each note is drawn; 0 takes the likeliest",
    )
    parser.add_argument(
        "--out",
        help=".png, or .npy for the values; of music .mid, or .npy; of a table .csv (default: "
        "samples)",
    )
    parser.add_argument("--self-test", action="store_true", help="check the file's golden sample")
    parser.add_argument(
        "--score",
        metavar="FILE",
        help="score a .png or .npy image, rows of a .csv, or a series of .csv, .npy or - for a "
        "stream, by a scorer",
    )
    monitor = parser.add_argument_group("of a series of sensors")
    monitor.add_argument(
        "--false-alarms",
        type=float,
        metavar="SHARE",
        help="of normal windows (default: the file's)",
    )
    monitor.add_argument(
        "--alarm-of", metavar="M/N", help="an alarm takes M of the last N windows (default: 1/1)"
    )
    monitor.add_argument("--stride", type=int, help="steps between windows (default: the file's)")
    monitor.add_argument(
        "--refit-threshold", metavar="FILE", help="make p-values anew, of normal readings"
    )
    monitor.add_argument(
        "--header", metavar="FILE.h", help="of a reconstructor: write what score.h scores by"
    )
    monitor.add_argument("--undo-refit", action="store_true", help="take them away again")
    parser.add_argument("--encode", metavar="IMAGE", help="encode a .png or .npy image")
    parser.add_argument(
        "--classify", metavar="IMAGE", help="tell the classes of a .png or .npy image"
    )
    options = parser.parse_args(argv)
    if options.count is not None and options.count < 1:
        raise InputError(f"--count must be at least 1, not {options.count}")
    if options.stride is not None and options.stride < 1:
        raise InputError(f"--stride must be at least 1, not {options.stride}")
    if options.seed is not None and not 0 <= options.seed < SEEDS:
        raise InputError(f"--seed must be from 0 to {SEEDS - 1}, not {options.seed}")
    for name in ("temperature", "token_temperature"):
        value = getattr(options, name)
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"--{name.replace('_', '-')} must be at least 0, not {value}")
    return options


def check_out(options, *endings):
    """Fill in the file to write, or refuse one that the model does not make."""
    options.out = options.out or f"samples{endings[0]}"
    if os.path.splitext(options.out)[1].lower() not in endings:
        raise InputError(f"--out must end with {' or '.join(endings)}, not {options.out}")


def sample(options, manifest, run, runtime, sweep=None):
    check_out(options, ".png", ".npy")
    if options.melody:
        raise InputError("this model takes no --melody: it makes pictures")
    if manifest["graph"] not in ("decoder", "sampler"):
        options_of = {"scorer": "--score", "classifier": "--classify"}
        option = options_of.get(manifest["graph"], "--encode")
        raise InputError(f"this file holds the {manifest['graph']} graph: use {option} image.png")
    if manifest["prior"] is None:
        raise InputError(f"this {manifest['model']} has no prior to sample from")
    if manifest["graph"] == "decoder" and not can_draw(manifest["prior"]):
        raise InputError(
            f"this program does not draw from the prior {manifest['prior']['kind']} itself: use "
            "the sampler, which does: python -m export --graph sampler"
        )
    rows = rows_of_conditions(options, manifest)
    name, numbers = sweep or (None, [None])
    for condition in manifest["conditions"]:
        for number in numbers if condition["name"] == name else ():
            warn_of_range([number], condition)
    drawn = len(rows) * options.count
    total, shape = drawn * len(numbers), manifest["data_shape"]
    if total * math.prod(shape) > MOST_VALUES or total > MOST_SAMPLES:
        raise InputError(f"{total} images are too many at once; ask for fewer with --count")
    if options.out.lower().endswith(".png"):
        check_picture(shape, len(rows), options.count * len(numbers))
    seed = secrets.randbelow(SEEDS) if options.seed is None else options.seed
    inputs = condition_inputs(rows, manifest["conditions"], options.count)
    if manifest["graph"] == "decoder":
        inputs["z"] = draw_code(manifest, inputs, seed, drawn, options.temperature)
    else:
        if not inputs:
            inputs["index"] = np.arange(drawn, dtype=np.int32)
        inputs["seed"] = np.array([seed], np.int32)
        inputs["temperature"] = np.array([options.temperature], np.float32)
    columns = []
    for number in numbers:  # every step of a sweep has the codes of the others
        if name is not None:
            inputs[name] = np.full((drawn, 1), number, np.float32)
        made, milliseconds = run_in_batches(run, inputs, drawn)
        columns.append(made["x"])
    images = np.stack(columns, axis=1).reshape(total, *columns[0].shape[1:])
    check_made(images, total, manifest)
    print(
        f"{total} images of {describe_rows(rows, manifest['conditions'], sweep)}, seed {seed}, "
        f"temperature {options.temperature:g}{words_of_guidance(manifest)}"
    )
    print(f"{milliseconds:.3f} ms an image in {runtime}")
    if options.out.lower().endswith(".npy"):
        write(options.out, npy(images))
    else:
        columns = options.count if len(rows) > 1 else math.ceil(math.sqrt(total))
        columns = len(numbers) if sweep else columns
        write(options.out, png(grid(images, columns, manifest["range"])))
    print(options.out)


def compose(options, manifest, run, runtime):
    """Draw pieces of music, and write them as MIDI files."""
    check_out(options, ".mid", ".npy")
    if manifest["graph"] != "sampler":
        raise InputError(
            f"this program draws no notes by the {manifest['graph']}: use the sampler, which draws "
            "for itself: python -m export --graph sampler"
        )
    rows, notes = rows_of_conditions(options, manifest), manifest["data"]
    total, shape = len(rows) * options.count, manifest["data_shape"]
    if total * math.prod(shape) > MOST_VALUES or total > MOST_PIECES:
        raise InputError(f"{total} pieces are too many at once; ask for fewer with --count")
    seed = secrets.randbelow(SEEDS) if options.seed is None else options.seed
    inputs = condition_inputs(rows, manifest["conditions"], options.count)
    if not inputs:
        inputs["index"] = np.arange(total, dtype=np.int32)
    inputs["seed"] = np.array([seed], np.int32)
    inputs["temperature"] = np.array([options.temperature], np.float32)
    inputs["token_temperature"] = np.array([options.token_temperature], np.float32)
    made, milliseconds = run_in_batches(run, inputs, total)
    pieces = made["x"]
    check_made(pieces, total, manifest)
    print(
        f"{total} pieces of {describe_rows(rows, manifest['conditions'])}, seed {seed}, "
        f"temperature {options.temperature:g}, token temperature {options.token_temperature:g}"
    )
    print(f"{milliseconds:.3f} ms a piece in {runtime}")
    # Given voices are above the others; where one is unknown, it rests.
    given = [inputs[name][..., None] for name in notes["given"]]
    given = [np.where(voice < number_of_tokens(notes), voice, 0) for voice in given]
    pieces = np.concatenate([*given, pieces], axis=2)
    if options.out.lower().endswith(".npy"):
        write(options.out, npy(pieces))
        print(options.out)
        return
    names = [*notes["given"].values(), *notes["voices"]]
    stem, ending = os.path.splitext(options.out)
    for number, piece in enumerate(pieces, 1):
        path = options.out if total == 1 else f"{stem}-{number:0{len(str(total))}}{ending}"
        write(path, midi_file(piece, notes, names))
        print(path)


def condition_inputs(rows, conditions, count):
    """Arrays by a condition's name, each row so many times."""
    inputs = {}
    for condition in conditions:
        values = [row[condition["name"]] for row in rows for _ in range(count)]
        kind = np.float32 if condition["kind"] == "continuous" else np.int32
        inputs[condition["name"]] = np.array(values, kind)
    return inputs


def self_test_of_data(manifest, run, runtime):
    """As `self_test`, of an encoder or scorer, and of any graph of a table."""
    golden = manifest["golden"]
    try:
        if has_rows(manifest):
            inputs = golden_rows(manifest)
        else:
            x = np.array(golden["x"], np.float32)
            inputs = {"x": x.reshape(len(x), *manifest["data_shape"])}
        for condition in manifest["conditions"]:
            kind = np.float32 if condition["kind"] == "continuous" else np.int32
            inputs[condition["name"]] = np.array(golden["conditions"][condition["name"]], kind)
        made = run(inputs)
        errors, tolerance = [], min(float(golden["tolerance"]), LARGEST_TOLERANCE)
        for name, values in made.items():
            target = np.array(golden[name], np.float32).reshape(values.shape)
            errors.append(float(np.max(np.abs(values - target))) / size_of(golden, name, target))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as err:
        raise InputError("the golden sample in the manifest is damaged") from err
    passed = bool(np.all(np.array(errors) <= tolerance))
    print(
        f"self-test in {runtime}: largest error {max(errors):.1e} (bound {tolerance:.1e}): "
        f"{'ok' if passed else 'failed'}"
    )
    return passed


def size_of(golden, name, target):
    """What an error of an output is relative to: 1, its largest value or what it is a sum of.

    Terms that cancel leave a small score and the rounding of large ones.
    """
    magnitude = float(golden.get("magnitudes", {}).get(name, 0.0))
    if not 0 <= magnitude < math.inf:
        raise ValueError("a magnitude must be a finite number")
    return max(1.0, float(np.max(np.abs(target))), magnitude)


def look_at(options, manifest, run):
    """Score, encode or classify an image, and print a line of JSON for each label asked for."""
    asked = {"scorer": "score", "encoder": "encode", "classifier": "classify"}
    graph = next(graph for graph, name in asked.items() if getattr(options, name))
    option, path = f"--{asked[graph]}", getattr(options, asked[graph])
    if has_notes(manifest):
        raise InputError(f"{option} takes pictures, and this model is of music")
    if manifest["graph"] != graph:
        raise InputError(f"{option} needs the {graph} graph, not the {manifest['graph']}")
    rows = rows_of_conditions(options, manifest)
    takes_pictures = manifest.get("takes_pictures", True) is not False
    image = read_image(path, manifest["data_shape"], manifest["data_range"], takes_pictures)
    inputs = {"x": np.repeat(image[None], len(rows), axis=0)}
    for condition in manifest["conditions"]:
        kind = np.float32 if condition["kind"] == "continuous" else np.int32
        inputs[condition["name"]] = np.array([row[condition["name"]] for row in rows], kind)
    made = run(inputs)
    if not all(np.isfinite(values).all() for values in made.values()):
        raise InputError("the model gave NaN or infinity: the file is damaged, export it again")
    for number, row in enumerate(rows):
        found = {"image": os.path.basename(path)}
        for condition in manifest["conditions"]:
            value, names = row[condition["name"]], condition.get("names")
            if condition["kind"] == "multi_label":
                value = tags_of(value, condition)
            elif condition["kind"] == "continuous" and any(map(math.isnan, value)):
                value = UNKNOWN
            elif names is not None:
                value = [*names, UNKNOWN][value]
            found[condition["name"]] = value
        if graph == "scorer":
            score = float(made["score"][number])
            found["nats"] = round(score, 3)
            if "p_value" in made:
                p_value = float(made["p_value"][number])
                found["p_value"] = float(f"{p_value:.4g}")
                found["alarm"] = p_value <= false_alarms_of(manifest)
            percentiles = manifest.get("scores")
            if isinstance(percentiles, list) and len(percentiles) == 101:
                below = int(np.searchsorted(np.array(percentiles, np.float64), score))
                found["percent_of_held_out_data_below"] = min(below, 100)
        elif graph == "classifier":
            found.update(classes_of(manifest, made, number))
        else:
            found.update({name: values[number].tolist() for name, values in made.items()})
        print(json.dumps(found))


def classes_of(manifest, made, number):
    """By label the likeliest class, and under NAME_probabilities those of all, largest first."""
    found, classes = {}, manifest.get("classes")
    for name, values in made.items():
        names = classes.get(name) if isinstance(classes, dict) else None
        if not isinstance(names, list) or len(names) != values.shape[1]:
            raise InputError("the manifest's `classes` are damaged: export it again")
        order = np.argsort(-values[number], kind="stable")
        found[name] = str(names[order[0]])
        found[f"{name}_probabilities"] = {
            str(names[at]): round(float(values[number][at]), 6) for at in order
        }
    return found


def false_alarms_of(manifest):
    """The p-value up to which a file says that an example is in alarm."""
    calibration = manifest.get("calibration")
    found = calibration.get("false_alarms") if isinstance(calibration, dict) else None
    if not isinstance(found, float) or not 0 < found < 1:
        raise InputError("the manifest's `calibration` is damaged: export it again")
    return found


def can_draw(prior):
    """Whether the manifest says all that it takes to draw from a prior."""
    return prior["kind"] == "standard_normal" or "means" in prior


def draw_code(manifest, conditions, seed, count, temperature):
    """Latent codes `(count, latent_dim)`, the ones that `model.sample(..., seed)` decodes.

    A mixture of Gaussians has a row of components for every combination of the labels that it
    depends on. The component is chosen by a whole number against thresholds, so that all
    machines choose alike.
    """
    prior, latent_dim = manifest["prior"], manifest["latent_dim"]
    noise = draw(seed, count, latent_dim, temperature)
    if prior["kind"] == "standard_normal":
        return noise
    components, sizes = prior["components"], row_sizes(manifest)
    at = np.zeros(count, np.int32)
    for name, size in sizes.items():
        at = at * size + conditions[name]
    if components > 1:
        left, right = words(seed, count, 4095)
        number = left[:, 0] * 32768 + right[:, 0] // 2
        thresholds = np.array(prior["thresholds"], np.int32).reshape(-1, components - 1)
        component = np.zeros(count, np.int32)
        for row in np.unique(at):
            of_row = at == row
            component[of_row] = np.searchsorted(thresholds[row], number[of_row], side="right")
        at = at * components + component
    tables = (np.array(prior[name], np.float32) for name in ("means", "scales"))
    means, scales = (table.reshape(-1, latent_dim)[at] for table in tables)
    return noise * scales + means


def row_sizes(manifest):
    """Of each label that the prior depends on, the number of classes with *unknown*."""
    sizes = {condition["name"]: condition["size"] + 1 for condition in manifest["conditions"]}
    return {name: sizes[name] for name in manifest["prior"]["conditions"]}


def words(seed, count, dimension):
    """Two integers from 0 to 65535 for each example and dimension, `(count, dimensions)`."""
    low, high = seed % 65536, seed // 65536
    mixed = (low * 20077 + high * 25057) % 65536
    key = [low + 40503, high + 35129, mixed + 46337]
    index = np.arange(count, dtype=np.int32)[:, None]
    left, right = index // 65536 * 4096 + dimension, index % 65536
    for n in range(7):
        x = right + key[n % 3]
        left, right = right, (x * (x // 16) // 128 + left) % 65536
    return left, right


def draw(seed, count, latent_dim, temperature):
    """Codes `(count, latent_dim)` of N(0, temperature^2).

    Each is the sum of two table entries, chosen by the two halves of a Feistel network over the
    seed, the example and the dimension: `keras_vae/portable_random.py` says why.
    """
    left, right = words(seed, count, np.arange(latent_dim, dtype=np.int32))
    standard = statistics.NormalDist()
    density = [standard.pdf(standard.inv_cdf(i / 4096)) for i in range(1, 4096)]
    means = -4096 * np.diff([0.0, *density, 0.0])
    means[[0, -1]] *= 1.02
    means /= np.sqrt(np.mean(means**2))
    a, b = (np.round(means * math.sqrt(v) * 2**18) / 2**18 for v in (9 / 16, 7 / 16))
    noise = a.astype(np.float32)[left // 16] + b.astype(np.float32)[right // 16]
    return np.float32(temperature) * noise


def self_test(manifest, run, runtime):
    """Run the file's golden sample, print the largest error and return whether it is small."""
    golden = manifest["golden"]
    if has_rows(manifest) or manifest["graph"] not in ("decoder", "sampler"):
        return self_test_of_data(manifest, run, runtime)
    is_sampler = manifest["graph"] == "sampler"
    try:
        target = np.array(golden["x"], np.float32)
        has_codes = is_sampler and "codes" in golden
        code = np.array(golden["codes" if has_codes else "z"], np.float32)
        inputs = {}
        for condition in manifest["conditions"]:
            kind = np.float32 if condition["kind"] == "continuous" else np.int32
            inputs[condition["name"]] = np.array(golden["conditions"][condition["name"]], kind)
        seed, temperature = int(golden["seed"]), float(golden["temperature"])
        if is_sampler:
            if not inputs:
                inputs["index"] = np.array(golden["conditions"]["index"], np.int32)
            inputs["seed"] = np.array([seed], np.int32)
            inputs["temperature"] = np.array([temperature], np.float32)
        else:
            inputs["z"] = code
        if has_notes(manifest):
            inputs["seed"] = np.array([seed], np.int32)
            inputs["token_temperature"] = np.array([golden["token_temperature"]], np.float32)
        tolerance = float(golden["tolerance"])
        # Without a prior the golden code is of N(0, I); one that is not drawn here is believed.
        drawn = code
        if manifest["prior"] is None:
            drawn = draw(seed, len(target), manifest["latent_dim"], temperature)
        elif can_draw(manifest["prior"]):
            drawn = draw_code(manifest, inputs, seed, len(target), temperature)
        sound = 0 <= seed < SEEDS and 0 <= tolerance <= LARGEST_TOLERANCE
        bound = tolerance * size_of(golden, "x", target)
        # An all-integer sampler gives its code in 8 bits.
        step = tolerance * max(1.0, float(np.max(np.abs(code))))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as err:
        raise InputError("the golden sample in the manifest is damaged") from err
    if not sound or drawn.shape != code.shape:
        raise InputError("the golden sample in the manifest is damaged")
    outputs = run(inputs)
    made = outputs["x"]
    check_made(made, len(target), manifest)
    if has_codes:
        drawn = outputs["codes"].reshape(len(target), -1)
    if target.shape != made.reshape(len(made), -1).shape:
        raise InputError("the golden sample in the manifest is damaged")
    error = float(np.max(np.abs(made.reshape(target.shape) - target)))
    same_code = drawn.shape == code.shape and bool(
        np.all(np.abs(drawn - code) <= (step if is_sampler else 0.0))
    )
    passed = error <= bound and same_code
    print(
        f"self-test in {runtime}: largest error {error:.1e} (bound {bound:.1e}), latent code of "
        f"seed {golden['seed']} {'equal' if same_code else 'DIFFERENT'}: "
        f"{'ok' if passed else 'failed'}"
    )
    return passed


# Images


def read_image(path, shape, data_range, takes_pictures=True):
    """Read an image as the model takes it.

    Args:
        path: A `.png` of 8 bits (grey, RGB, with or without alpha, not interlaced), which is made
            grey, cut to the model's proportions and averaged down where that is needed, out of the
            frame in which this program draws one; or a `.npy` of exactly the model's shape and
            range, of which uint8 is an 8-bit picture: 0 to 255 for 0 to 1, whatever its values.
            Bools are 0 and 1, other numbers what they are.
        shape: List of ints, the model's data shape.
        data_range: Pair of floats, black and white; or None for any number, with 0 and 1 for a
            picture's black and white.
        takes_pictures: Bool. Whether 8-bit pictures have a meaning for the model.

    Returns:
        float32 array of that shape.
    """
    is_array = path.lower().endswith(".npy")
    low, high = data_range or ((-np.inf, np.inf) if is_array else (0.0, 1.0))
    if is_array:
        return read_array(path, shape, low, high, takes_pictures)
    if not takes_pictures:
        raise InputError(f"this model takes floats from {low:g} to {high:g}, no picture: use .npy")
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise InputError(f"this model takes data of shape {shape}, which no picture has: use .npy")
    with open(path, "rb") as file:
        pixels = decode_png(file.read(LARGEST_PICTURE + 1), path)
    pixels = out_of_frame(pixels, shape, path)
    height, width, channels = shape
    if channels == 1:
        pixels = pixels @ np.array([0.299, 0.587, 0.114])[:, None]
    size = min(pixels.shape[0] / height, pixels.shape[1] / width)
    if size < 1:
        raise InputError(f"{path} must be at least {width} x {height} pixels")
    rows, columns = round(size * height), round(size * width)
    top, left = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    pixels = pixels[top : top + rows, left : left + columns]
    # The mean of the pixels that fall into each of the model's.
    for axis, count in ((0, height), (1, width)):
        edges = np.arange(count) * pixels.shape[axis] // count
        sizes = np.diff([*edges, pixels.shape[axis]])
        sums = np.add.reduceat(pixels, edges, axis=axis)
        pixels = sums / np.expand_dims(sizes, [i for i in range(3) if i != axis])
    return (low + (high - low) * pixels / 255).astype(np.float32)


def out_of_frame(pixels, shape, path):
    """The image of a picture that `grid` drew of one; any other picture is all image.

    `python -m keras_vae sample` draws alike, on white.
    """
    sides = pixels.shape[:2]
    for by in range(min(side // size for side, size in zip(sides, shape, strict=False)), 0, -1):
        tiles = [size * by + GAP for size in shape[:2]]
        if any((side - GAP) % tile for side, tile in zip(sides, tiles, strict=True)):
            continue
        lines = [np.arange(side) % tile < GAP for side, tile in zip(sides, tiles, strict=True)]
        gaps = np.concatenate([pixels[lines[0]].ravel(), pixels[:, lines[1]].ravel()])
        if gaps[0] not in (FRAME, 255) or gaps.min() < gaps.max():
            continue
        rows, columns = (side // tile for side, tile in zip(sides, tiles, strict=True))
        if rows * columns > 1:
            raise InputError(
                f"{path} is a sheet of {rows} x {columns} images, and one is taken: draw one with "
                "--count 1 and a single class, or save one as .npy"
            )
        return pixels[GAP:-GAP, GAP:-GAP]
    return pixels


def read_array(path, shape, low, high, takes_pictures):
    """As `read_image`, from a `.npy` file."""
    try:
        given = np.load(path, allow_pickle=False)
        if given.dtype.kind not in "fiub":
            raise ValueError(given.dtype)
    except (ValueError, EOFError, AttributeError) as err:
        raise InputError(f"{path} is no .npy file of numbers") from err
    if list(given.shape[1:]) == shape:
        if len(given) != 1:
            raise InputError(
                f"{path} holds {len(given)} images, and one is taken: save one, as np.save does "
                "with images[0]"
            )
        given = given[0]
    image = given.astype(np.float32)
    if given.dtype == np.uint8:
        if not takes_pictures:
            raise InputError(
                f"{path} must be floats from {low:g} to {high:g}, not uint8: that is a picture of "
                "256 levels, and this model has others"
            )
        image /= np.float32(255)
    least, most = low - ROUNDING * max(1, abs(low)), high + ROUNDING * max(1, abs(high))
    if list(image.shape) != shape or not np.all((image >= least) & (image <= most)):
        found = f" of {given.min():g} to {given.max():g}" if given.size else ""
        raise InputError(
            f"{path} must be {shape} from {low:g} to {high:g}, not {list(given.shape)}{found}"
        )
    return image


def decode_png(content, path):
    """The pixels of a PNG as float64 RGB `(height, width, 3)`, 0 to 255, on black."""

    def require(holds, what):
        if not holds:
            raise InputError(f"{path} is no picture that this program reads: {what}")

    require(content[:8] == b"\x89PNG\r\n\x1a\n", "it is no PNG file")
    require(len(content) <= LARGEST_PICTURE, f"it is larger than {LARGEST_PICTURE} bytes")
    chunks, place = {b"IDAT": b""}, 8
    while place + 12 <= len(content) and b"IEND" not in chunks:
        size, kind = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + size]
        chunks[kind] = chunks[kind] + data if kind == b"IDAT" else data
        place += 12 + size
    header = chunks.get(b"IHDR", b"")
    require(b"IEND" in chunks and len(header) == 13, "it is cut off")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    channels = {0: 1, 2: 3, 4: 2, 6: 4}.get(colour)
    require(bits == 8 and channels and not interlaced, "it must have 8 bits and no palette")
    require(0 < width * height <= MOST_PIXELS, f"it has {width} x {height} pixels")
    stride = width * channels
    try:
        raw = zlib.decompressobj().decompress(chunks[b"IDAT"], height * (stride + 1))
    except zlib.error as err:
        raise InputError(f"{path} is damaged") from err
    require(len(raw) == height * (stride + 1), "it is cut off")
    lines = np.frombuffer(raw, np.uint8).reshape(height, stride + 1)
    require(lines[:, 0].max() <= 4, "it is damaged")
    image = np.zeros((height + 1, width + 1, channels), np.int64)
    for row in range(height):
        line = lines[row, 1:].reshape(width, channels).astype(np.int64)
        above, kind = image[row], lines[row, 0]
        if kind == 0:
            image[row + 1, 1:] = line
        elif kind == 2:
            image[row + 1, 1:] = (line + above[1:]) % 256
        else:
            for x in range(width):
                a, b, c = image[row + 1, x], above[x + 1], above[x]
                guess = [a, (a + b) // 2, paeth(a, b, c)][[1, 3, 4].index(kind)]
                image[row + 1, x + 1] = (line[x] + guess) % 256
    pixels = image[1:, 1:].astype(np.float64)
    if channels in (2, 4):
        pixels = pixels[..., :-1] * pixels[..., -1:] / 255
    return np.broadcast_to(pixels, (height, width, 3))


def paeth(a, b, c):
    """Of left, above and the pixel between them, the one nearest to left + above - between."""
    distances = np.stack([np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)])
    return np.choose(distances.argmin(axis=0), [a, b, c])


# Conditions


def rows_of_conditions(options, manifest):
    """What each row of pictures is conditioned on.

    Returns:
        List of dicts from a condition's name to an index or a list of floats: every combination
        of the classes asked for.
    """
    conditions, is_music = manifest["conditions"], has_notes(manifest)
    kinds = {condition["name"]: condition for condition in conditions}
    categorical = [c["name"] for c in conditions if c["kind"] == "categorical"]
    asked = {}
    for text in options.condition:
        name, equals, value = text.partition("=")
        if not equals or name not in kinds:
            raise InputError(
                f"--condition must be NAME=VALUE with a name of {listing(kinds)}, not {text!r}"
            )
        asked.setdefault(name, []).append(value)
    main_name = "label" if "label" in categorical or not categorical else categorical[0]
    if options.label:
        if main_name not in categorical:
            raise InputError(f"this model takes no --label; its conditions are {listing(kinds)}")
        asked.setdefault(main_name, []).extend(options.label)
    if options.melody:
        if "melody" not in kinds:
            raise InputError(f"this model takes no --melody; its conditions are {listing(kinds)}")
        asked.setdefault("melody", []).append(options.melody)
    choices = []
    for name, condition in kinds.items():
        if condition["kind"] == "sequence":
            if name in asked and not (is_music and name in manifest["data"]["given"]):
                raise InputError(f"this program reads no {name}, which is no voice of music")
            steps = condition["steps"]
            unknown = [[condition["size"]] * steps]
            read = [read_melody(path, manifest["data"], steps) for path in asked.get(name, [])]
            choices.append(read or unknown)
            continue
        if condition["kind"] == "continuous":
            choices.append([parse_numbers(asked.get(name), condition)])
        elif condition["kind"] == "multi_label":
            choices.append([parse_tags(text, condition) for text in asked.get(name, [UNKNOWN])])
        elif name in asked:
            choices.append([i for text in asked[name] for i in parse_classes(text, condition)])
        elif has_rows(manifest):
            raise InputError(
                f"this model needs --condition {name}=NAME, of {listing(condition['names'])}"
            )
        elif name == main_name and not is_music:
            count = condition.get("num_leaves", condition["size"])
            if count > MOST_CLASSES:
                first = f"--label {','.join(condition['names'][:2])}"
                raise InputError(f"{count:,} classes are too many for one sheet: ask as by {first}")
            choices.append(list(range(count)))
        elif condition["unknown"]:
            choices.append([condition["size"]])
        else:
            raise InputError(f"this model needs --condition {name}=CLASS")
    rows = [dict(zip(kinds, row, strict=True)) for row in itertools.product(*choices)]
    for condition in conditions:
        if condition["kind"] == "continuous":
            warn_of_range(rows[0][condition["name"]], condition)
    return rows


def words_of_guidance(manifest):
    """Words for how much the file sharpens its conditions, where it does."""
    guidance = (manifest["prior"] or {}).get("guidance", 1)
    is_number = isinstance(guidance, int | float) and not isinstance(guidance, bool)
    return f", guidance {guidance:g} fixed in the file" if is_number and guidance != 1 else ""


def parse_classes(text, condition):
    """Indices of the classes in a text: a name (it may hold commas), or several by commas."""
    if text in condition["names"]:
        return [condition["names"].index(text)]
    return [parse_class(word.strip(), condition) for word in text.split(",")]


def parse_class(word, condition):
    names, size = condition["names"], condition["size"]
    if word in names:
        return names.index(word)
    if word == UNKNOWN and condition["unknown"]:
        return size
    # The length is checked first: Python refuses to parse thousands of digits.
    if word.isascii() and word.isdigit() and len(word) < 10 and int(word) < size:
        return int(word)
    raise InputError(
        f"{condition['name']} must be one of {listing(names)} (or an index from 0 to {size - 1}"
        f"{f', or {UNKNOWN}' if condition['unknown'] else ''}), not {word!r}"
    )


def parse_tags(text, condition):
    """A value for each tag of a text such as `red+round`: 1, 0, or 2 where all are unknown."""
    names, given = condition["names"], [text]
    if text == UNKNOWN and text not in names:
        return [TAG_UNKNOWN] * len(names)
    if text not in names:
        given = [word.strip() for word in text.split("+")] if text else []
    for word in given:
        if word not in names:
            raise InputError(
                f"{condition['name']} must be tags of {listing(names)}, as in "
                f"--condition {condition['name']}={'+'.join(names[:2])}, or {UNKNOWN}, not {word!r}"
            )
    return [int(name in given) for name in names]


def tags_of(values, condition):
    """The tags in words: `red+round`, `none` or `unknown`."""
    if set(values) == {TAG_UNKNOWN}:
        return UNKNOWN
    present = [name for name, value in zip(condition["names"], values, strict=True) if value == 1]
    return "+".join(present) or "none"


def take_sweep(options, manifest):
    """What `--condition NAME=FIRST:LAST:STEPS` sweeps, or None; the options then say FIRST.

    Returns:
        Tuple of the condition's name and its numbers.
    """
    makes_pictures = manifest["graph"] in ("decoder", "sampler")
    if not makes_pictures or has_rows(manifest) or has_notes(manifest):
        return None
    numbers = [
        c["name"] for c in manifest["conditions"] if c["kind"] == "continuous" and c["size"] == 1
    ]
    found = {}
    for at, text in enumerate(options.condition):
        name, _, value = text.partition("=")
        if name in numbers and ":" in value:
            found[name] = parse_sweep(name, value)
            options.condition[at] = f"{name}={found[name][0]}"
    if len(found) > 1:
        raise InputError(f"--condition must sweep one number, not {' and '.join(found)}")
    return next(iter(found.items()), None)


def parse_sweep(name, text):
    """The numbers from FIRST to LAST in so many STEPS, both included."""
    try:
        first, last, steps = text.split(":")
        first, last, steps = float(first), float(last), int(steps)
    except ValueError:
        first = math.nan
    if not math.isfinite(first) or not math.isfinite(last):
        raise InputError(f"a sweep must be FIRST:LAST:STEPS, as in {name}=-60:60:7, not {text!r}")
    if not 2 <= steps <= MOST_STEPS or first == last:
        raise InputError(
            f"a sweep must have 2 to {MOST_STEPS} steps between two different numbers, as in "
            f"{name}=-60:60:7, not {text!r}"
        )
    step = (last - first) / (steps - 1)
    return [first + step * k for k in range(steps - 1)] + [last]


def parse_numbers(texts, condition):
    """A list of numbers; NaN where they are unknown and may be."""
    may_be_unknown = condition.get("unknown") is True
    if may_be_unknown and texts in (None, [UNKNOWN]):
        return [math.nan] * condition["size"]
    try:
        numbers = [float(word) for word in ",".join(texts or []).split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != condition["size"] or not all(math.isfinite(number) for number in numbers):
        example = ",".join(["0.0"] * condition["size"])
        if "range" in condition:
            example = ",".join(f"{sum(ends) / 2:g}" for ends in condition["range"])
        received = f"not {','.join(texts)!r}" if texts else "and none came"
        told = f" within {described_range(condition)}" if "range" in condition else ""
        unknown = f" or {UNKNOWN}" if may_be_unknown else ""
        many = "a number" if condition["size"] == 1 else f"{condition['size']} numbers"
        raise InputError(
            f"{condition['name']} must be {many}{told}{unknown}, as in "
            f"--condition {condition['name']}={example}, {received}"
        )
    return numbers


def described_range(condition):
    """The range and its unit in words: `-60 to 60 degrees`."""
    ends = [f"{low:g} to {high:g}" for low, high in condition["range"]]
    ends = ends[:1] if len(set(ends)) == 1 else ends
    return ", ".join(ends) + (f" {condition['unit']}" if condition.get("unit") else "")


def warn_of_range(numbers, condition):
    """Say once of a condition that its numbers leave by over 1 % what the model was trained on."""
    name = condition["name"]
    for number, (low, high) in zip(numbers, condition.get("range", ()), strict=False):
        slack = 0.01 * (high - low)
        within = math.isnan(number) or low - slack <= number <= high + slack
        if within or name in WARNED_OF:
            continue
        WARNED_OF.add(name)
        print(
            f"warning: {name} {number:g} is outside of what the model was trained on, "
            f"{described_range(condition)}",
            file=sys.stderr,
        )


def describe_rows(rows, conditions, sweep=None):
    """The conditions in words: `label 7`, or `label 0, 1, 2`."""
    parts = []
    for condition in conditions:
        name = condition["name"]
        values = [row[name] for row in rows]
        if condition["kind"] == "sequence":
            unknown = [condition["size"]] * condition["steps"]
            values = [UNKNOWN if value == unknown else "given" for value in values]
        if condition["kind"] == "multi_label":
            values = [tags_of(value, condition) for value in values]
        if condition["kind"] == "continuous":
            values = [numbers_in_words(value, condition) for value in values]
            if sweep is not None and sweep[0] == name:
                ends = [numbers_in_words([end], {}) for end in (sweep[1][0], sweep[1][-1])]
                unit = f" {condition['unit']}" if condition.get("unit") else ""
                values = [f"{' to '.join(ends)}{unit} in {len(sweep[1])} steps"]
        values = list(dict.fromkeys(map(str, values)))
        if condition["kind"] == "categorical":
            names = [*condition["names"], UNKNOWN]
            values = [names[int(value)] for value in values]
        parts.append(f"{name} {listing(values)}")
    return " and ".join(parts) or "no condition"


def numbers_in_words(numbers, condition):
    """Numbers with their unit, or `unknown`."""
    if any(math.isnan(number) for number in numbers):
        return UNKNOWN
    unit = f" {condition['unit']}" if condition.get("unit") else ""
    return (f"{numbers[0]:g}" if len(numbers) == 1 else str(numbers)) + unit


def listing(names, limit=12):
    names = list(names)
    return (", ".join(names[:limit]) or "none") + (", ..." if len(names) > limit else "")


# Files and runtimes


def load(path):
    """Load a model file.

    Returns:
        Tuple of the manifest, a function from a dict of arrays to the array of images, and the
        runtime's name.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".tflite", ".onnx"):
        raise InputError(f"--model must be a .tflite or .onnx file, not {path}")
    if os.path.getsize(path) > LARGEST_FILE:
        raise InputError(f"{path} is larger than 2 GiB, the most that either format can hold")
    with open(path, "rb") as file:
        content = file.read()
    name = os.path.basename(path)
    return (load_tflite if ending == ".tflite" else load_onnx)(content, name)


def load_tflite(content, name):
    data = TFLiteFile(content, name).metadata("keras_vae")
    manifest = check_manifest(data, name)
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as err:
        raise InputError("a .tflite file needs a package: pip install ai-edge-litert") from err
    runners = {}

    def run(inputs):
        try:
            with library_noise_hidden():
                # An interpreter that has run takes no other batch size.
                rows = max(len(value) for value in inputs.values())
                if rows not in runners:
                    interpreter = Interpreter(model_content=content)
                    names = interpreter.get_signature_list()
                    signature, size = signature_for(manifest["graph"], rows, names)
                    runners[rows] = interpreter.get_signature_runner(signature), size
                    check_inputs(runners[rows][0].get_input_details(), inputs)
                runner, size = runners[rows]
                details = runner.get_input_details()
                # The last example fills a batch up; what is one for all of them is left.
                given = {
                    name: value[np.minimum(np.arange(size), rows - 1)]
                    if size > rows and details[name]["shape"][0] == size
                    else value
                    for name, value in inputs.items()
                }
                made = as_floats(runner.get_output_details(), runner(**as_integers(details, given)))
                return {name: value[:rows] for name, value in made.items()}
        except (RuntimeError, ValueError, TypeError, KeyError) as err:
            raise InputError(f"{name} does not run: {one_line(err)}") from err

    return manifest, run, f"LiteRT {version('ai-edge-litert')}"


def signature_for(graph, rows, names):
    """The signature of a TFLite file for so many examples, and how many it takes.

    It is the one named after the graph, which takes any number; where a file has none, as with a
    loop, the smallest of `decoder_1`, `decoder_16` that holds them.
    """
    if graph in names:
        return graph, rows
    sizes = [int(name[len(graph) + 1 :]) for name in names if name.startswith(f"{graph}_")]
    fitting = [size for size in sizes if size >= rows]
    if not fitting:
        raise ValueError(f"it takes at most {max(sizes)} examples at once, not {rows}")
    return f"{graph}_{min(fitting)}", min(fitting)


def check_inputs(details, inputs):
    """Refuse what LiteRT would quietly take: an array of another shape, spread over more rows."""
    expected = {name: list(detail["shape_signature"][1:]) for name, detail in details.items()}
    received = {name: list(value.shape[1:]) for name, value in inputs.items()}
    if expected != received:
        raise ValueError(f"it takes {expected}, and its manifest says {received}")


def as_integers(details, inputs):
    """The inputs as an all-integer file takes them: 8 bits of a scale that it says."""
    given = dict(inputs)
    for name, detail in details.items():
        scale, zero_point = detail["quantization"]
        if scale and given[name].dtype == np.float32:
            levels = np.clip(np.round(given[name] / scale + zero_point), -128, 127)
            given[name] = levels.astype(detail["dtype"])
    return given


def as_floats(details, outputs):
    """What an all-integer file gives, as floats."""
    made = dict(outputs)
    for name, detail in details.items():
        scale, zero_point = detail["quantization"]
        if scale:
            made[name] = (made[name].astype(np.float32) - zero_point) * np.float32(scale)
    return made


def load_onnx(content, name):
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as err:
        raise InputError("an .onnx file needs a package: pip install onnxruntime") from err
    kinds = [kind for kind in vars(state).values() if isinstance(kind, type)]
    refusals = tuple(kind for kind in kinds if issubclass(kind, Exception))
    refusals += (RuntimeError, ValueError, TypeError, KeyError, UnicodeDecodeError)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    try:
        with library_noise_hidden():
            session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            text = session.get_modelmeta().custom_metadata_map.get("keras_vae")
    except refusals as err:
        raise InputError(f"{name} is damaged or cut off: {one_line(err)}") from err
    manifest = check_manifest(None if text is None else text.encode(), name)
    outputs = [output.name for output in session.get_outputs()]

    def run(inputs):
        try:
            with library_noise_hidden():
                return dict(zip(outputs, session.run(outputs, inputs), strict=True))
        except refusals as err:
            raise InputError(f"{name} does not run: {one_line(err)}") from err

    return manifest, run, f"ONNX Runtime {onnxruntime.__version__}"


def run_in_batches(run, inputs, total, most=LARGEST_BATCH):
    """Run all rows, a few at a time.

    Returns:
        Tuple of a dict of what was made and the milliseconds an example took, in a batch that was
        not the first.
    """
    single = ("seed", "temperature", "token_temperature")
    # A sampler counts its rows itself, unless it is told by their index: no row may come apart.
    counts = "seed" in inputs and "index" not in inputs
    size = total if counts else min(total, most)
    batches = []
    for start in range(0, total, size):
        # The last batch is filled up: another size would need another interpreter.
        index = np.arange(start, start + size) % total
        begin = time.perf_counter()
        batch = {k: value if k in single else value[index] for k, value in inputs.items()}
        batches.append(run(batch))
        seconds = time.perf_counter() - begin
    if len(batches) == 1 and seconds < 0.1:
        begin = time.perf_counter()
        run(inputs)
        seconds = time.perf_counter() - begin
    made = {name: np.concatenate([b[name] for b in batches])[:total] for name in batches[0]}
    return made, 1000 * seconds / size


def check_made(made, total, manifest):
    kind, shape = np.int32 if has_notes(manifest) else np.float32, manifest["data_shape"]
    if made.shape != (total, *shape) or made.dtype != kind:
        raise InputError(f"the model gave {made.dtype} {made.shape}, and its manifest says {shape}")
    if not np.isfinite(made).all():
        raise InputError("the model gave NaN or infinity: the file is damaged, export it again")
    if kind == np.int32 and not 0 <= made.min() <= made.max() < number_of_tokens(manifest["data"]):
        raise InputError("the model gave no notes: the file is damaged, export it again")


def check_manifest(data, name):
    """Parse the manifest and check all that is used of it."""
    if data is None:
        raise InputError(f"{name} holds no keras_vae manifest: export it with python -m export")
    try:
        manifest = json.loads(bytes(data).decode("utf-8"))
    except (ValueError, RecursionError) as err:
        raise InputError(f"the manifest of {name} is damaged") from err

    def require(holds, what):
        if not holds:
            raise InputError(f"the manifest of {name} is damaged: {what}")

    def is_size(value, most=2**24):
        return type(value) is int and 1 <= value <= most

    require(isinstance(manifest, dict), "it is no JSON object")
    schema = manifest.get("schema")
    require(type(schema) is int and schema > 0, "schema")
    if schema > SCHEMA:
        raise InputError(
            f"{name} is of schema {schema}, and this program reads {SCHEMA}: take the sample.py of "
            f"{writer(manifest)} or newer, or export the file again"
        )
    if manifest.get("graph") not in GRAPHS:
        raise InputError(
            f"{name} holds the graph {manifest.get('graph')!r}, and this program reads "
            f"{', '.join(GRAPHS)}"
        )
    require(is_size(manifest.get("latent_dim")), "latent_dim")
    shape = manifest.get("data_shape")
    require(isinstance(shape, list) and shape and all(is_size(n) for n in shape), "data_shape")
    for key in ("data_range", "range"):
        bounds = manifest.setdefault(key, None)
        if bounds is not None:
            require(isinstance(bounds, list) and len(bounds) == 2, key)
            require(all(isinstance(n, (int, float)) and math.isfinite(n) for n in bounds), key)
            require(bounds[0] < bounds[1], key)
    # Older files do not say how to draw what has no range; most are of data from 0 to 1.
    manifest["range"] = manifest["range"] or manifest["data_range"] or [0.0, 1.0]
    require(isinstance(manifest.get("golden"), dict), "golden")
    require(isinstance(manifest.get("model"), str), "model")
    require(isinstance(manifest.get("conditions"), list), "conditions")
    for condition in manifest["conditions"]:
        require(isinstance(condition, dict), "conditions")
        require(isinstance(condition.get("name"), str), "conditions")
        require(condition.get("kind") in KINDS, "conditions")
        require(is_size(condition.get("size")), "conditions")
        if condition["kind"] == "sequence":
            require(is_size(condition.get("steps")), "steps")
        if condition["kind"] in ("categorical", "multi_label"):
            names = condition.get("names")
            require(isinstance(names, list) and len(names) == condition["size"], "names")
            require(all(isinstance(word, str) for word in names), "names")
            most = condition["size"]
            require(is_size(condition.get("num_leaves", most), most), "num_leaves")
            require(isinstance(condition.get("unknown"), bool), "unknown")
        if condition["kind"] == "continuous":
            require(are_ranges(condition), "range")
            require(isinstance(condition.get("unit", ""), str), "unit")
    if has_notes(manifest):
        require(are_notes(manifest["data"], shape), "data")
    if has_rows(manifest):
        require(are_columns(manifest["data"], manifest["conditions"], shape), "data")
    require("prior" in manifest, "prior")
    prior = manifest["prior"]
    require(prior is None or isinstance(prior, dict), "prior")
    if prior is not None:
        require(isinstance(prior.get("kind"), str) and len(prior["kind"]) < 100, "prior")
        if can_draw(prior) and prior["kind"] != "standard_normal":
            require(is_mixture(manifest), "prior")
    return manifest


def are_ranges(condition):
    """Whether a condition says no range of its numbers, or one for each."""
    ranges = condition.get("range")
    if ranges is None:
        return "range" not in condition
    return (
        isinstance(ranges, list)
        and len(ranges) == condition["size"]
        and all(isinstance(ends, list) and len(ends) == 2 for ends in ranges)
        and all(type(end) in (int, float) and math.isfinite(end) for pair in ranges for end in pair)
        and all(low < high for low, high in ranges)
    )


def has_notes(manifest):
    """Whether a file makes music."""
    data = manifest.get("data")
    return isinstance(data, dict) and data.get("kind") == "notes"


def are_notes(data, shape):
    """Whether a manifest says all that is used of notes."""
    voices, given = data.get("voices"), data.get("given")
    if not (isinstance(voices, list) and isinstance(given, dict) and len(shape) == 2):
        return False
    names = [*given.values(), *voices]
    low, high, beat = (data.get(name) for name in ("low", "high", "steps_per_beat"))
    return (
        all(type(number) is int for number in (low, high, beat))
        and 0 <= low <= high < 128
        and 1 <= beat <= MIDI_TICKS
        and isinstance(data.get("repeats"), bool)
        and len(voices) == shape[1]
        and len(names) <= MOST_VOICES
        and all(isinstance(name, str) for name in names)
    )


def number_of_tokens(notes):
    """How many tokens there are: a rest, the pitches, and perhaps those struck again."""
    return 1 + (notes["high"] - notes["low"] + 1) * (2 if notes["repeats"] else 1)


def writer(manifest):
    """The package's version that wrote a manifest, as far as it can be told."""
    versions = manifest.get("versions")
    version = versions.get("keras_vae") if isinstance(versions, dict) else None
    known = isinstance(version, str) and re.fullmatch(r"[0-9][0-9a-z.]{0,39}", version)
    return f"keras-vae {version}" if known else "the keras-vae that wrote it"


def is_mixture(manifest):
    """Whether the parameters of a prior are those of a mixture of Gaussians, in numbers."""
    prior = manifest["prior"]
    try:
        rows = math.prod(row_sizes(manifest).values())
        components, latent_dim = prior["components"], manifest["latent_dim"]
        arrays = [np.array(prior[name]) for name in ("means", "scales", "thresholds")]
        sizes = [rows * components * latent_dim] * 2 + [rows * (components - 1)]
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    fits = prior["kind"] == "gaussian_mixture" and type(components) is int and components > 0
    fits = fits and [array.shape for array in arrays] == [(size,) for size in sizes]
    means, scales, thresholds = arrays
    return (
        fits
        and means.dtype.kind in "if"
        and scales.dtype.kind in "if"
        and bool(np.isfinite(means).all() and np.isfinite(scales).all())
        and (not thresholds.size or thresholds.dtype.kind == "i")
        and bool(np.all((thresholds >= 0) & (thresholds < SEEDS)))
    )


def has_rows(manifest):
    """Whether a file is of a table."""
    data = manifest.get("data")
    return isinstance(data, dict) and data.get("kind") == "table"


def are_columns(data, conditions, shape):
    """Whether a manifest says all that is used of a table's columns."""
    columns, asked = data.get("columns"), data.get("conditions")
    if not (isinstance(columns, dict) and 0 < len(columns) <= MOST_COLUMNS):
        return False
    if asked != [condition["name"] for condition in conditions] or not {*asked} <= {*columns}:
        return False
    if shape != [len(columns) - len(asked)] or not all(map(is_column, columns.values())):
        return False
    ports = [column["port"] for column in columns.values()]
    sizes = {condition["name"]: condition.get("names") for condition in conditions}
    agree = all(columns[name].get("names") == names for name, names in sizes.items())
    return len({*ports}) == len(ports) and agree


def is_column(column):
    """Whether a manifest says all that is used of one column."""
    if not (isinstance(column, dict) and isinstance(column.get("port"), str)):
        return False
    if column.get("kind") in ("category", "binary"):
        names = column.get("names")
        words = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return words and len(names) == len({*names}) > 1
    if column.get("kind") == "count":
        return type(column.get("most")) is int and 0 < column["most"] <= 2**24
    bounds = column.get("bounds")
    return (
        column.get("kind") == "numeric"
        and isinstance(bounds, list)
        and len(bounds) == 2
        and all(type(end) in (int, float) and math.isfinite(end) for end in bounds)
        and bounds[0] < bounds[1]
        and isinstance(column.get("integer"), bool)
        and isinstance(column.get("transform"), str)
    )


class TFLiteFile:
    """The metadata of a TFLite file, every position checked against the file's size.

    A table begins with the distance to its list of fields; field numbers are those of the schema,
    `tensorflow/compiler/mlir/lite/schema/schema.fbs`.
    """

    def __init__(self, content, name):
        self.content = content
        self.name = name
        if content[4:8] != b"TFL3":
            raise InputError(f"{name} is no TFLite file, or is cut off")

    def metadata(self, key):
        root = self.follow(0)
        buffers, entries = self.tables(root, 4), self.tables(root, 6)
        for entry in entries:
            if self.data(entry, 0) == key.encode():
                place = self.field(entry, 1)
                index = 0 if place is None else self.number("<I", place)
                if index < len(buffers):
                    return self.data(buffers[index], 0)
        return None

    def tables(self, table, field):
        start, count = self.vector(table, field, 4)
        return [self.follow(start + 4 * i) for i in range(count)]

    def data(self, table, field):
        start, count = self.vector(table, field, 1)
        return self.content[start : start + count]

    def vector(self, table, field, size):
        place = self.field(table, field)
        if place is None:
            return 0, 0
        place = self.follow(place)
        count = self.number("<I", place)
        if place + 4 + count * size > len(self.content):
            raise InputError(f"{self.name} is damaged or cut off")
        return place + 4, count

    def field(self, table, field):
        fields = table - self.number("<i", table)
        if 4 + 2 * field >= self.number("<H", fields):
            return None
        offset = self.number("<H", fields + 4 + 2 * field)
        return table + offset if offset else None

    def follow(self, place):
        return place + self.number("<I", place)

    def number(self, form, place):
        if not 0 <= place <= len(self.content) - struct.calcsize(form):
            raise InputError(f"{self.name} is damaged or cut off")
        return struct.unpack_from(form, self.content, place)[0]


@contextlib.contextmanager
def library_noise_hidden():
    """Send the standard error output elsewhere, below Python: the runtimes' C++ writes there."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def version(package):
    import importlib.metadata

    return importlib.metadata.version(package)


def one_line(err, limit=200):
    text = " ".join("".join(c if c.isprintable() else " " for c in str(err)).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


# Music


def midi_file(tokens, notes, names, tempo=80.0):
    """A piece as the bytes of a MIDI file of format 1: a track a voice, as an organ.

    Args:
        tokens: Ints `(steps, voices)`.
        notes: Dict, what the manifest says of tokens: `low`, `high` and `steps_per_beat`.
        names: List of str, a name a voice.
        tempo: Float from 4 to 1000. Beats a minute.
    """

    def number(value):  # in groups of seven bits, of which the last has no eighth
        groups = [value & 127]
        while value := value >> 7:
            groups.append(value & 127 | 128)
        return bytes(reversed(groups))

    def meta(kind, content):
        return bytes([255, kind]) + number(len(content)) + content

    def track(events):
        body, now = b"", 0
        for when, message in [*events, (round(len(tokens) * ticks), meta(0x2F, b""))]:
            body += number(when - now) + message
            now = when
        return b"MTrk" + struct.pack(">I", len(body)) + body

    ticks = MIDI_TICKS / notes["steps_per_beat"]
    beat = round(60_000_000 / tempo).to_bytes(3, "big")
    tracks = [track([(0, meta(0x51, beat)), (0, meta(0x58, bytes([BEATS_OF_BAR, 2, 24, 8])))])]
    for voice, name in enumerate(names):
        channel = (voice + (voice >= DRUMS)) % 16
        events = [(0, meta(3, name.encode("latin-1", "replace")[:100]))]
        events.append((0, bytes([0xC0 | channel, 19])))
        for first, last, pitch in sounds(np.asarray(tokens)[:, voice].tolist(), notes):
            events.append((round(first * ticks), bytes([0x90 | channel, pitch, 80])))
            events.append((round(last * ticks), bytes([0x80 | channel, pitch, 0])))
        tracks.append(track(events))
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), MIDI_TICKS) + b"".join(tracks)


def sounds(tokens, notes):
    """The notes of a voice: the first step, the step after the last, the pitch."""
    count, before, found = notes["high"] - notes["low"] + 1, 0, []
    for step, token in enumerate(tokens):
        again = token > count
        token = max(token - count if again else token, 0)
        if token and token == before and not again:
            found[-1] = (found[-1][0], step + 1, found[-1][2])
        elif token:
            found.append((step, step + 1, notes["low"] + token - 1))
        before = token
    return found


def read_melody(path, notes, steps):
    """Read a melody from a MIDI file: the highest of its voices, a track or a channel each.

    Notes begin and end at the nearest step, and the last bar is filled up with rests. Drums are
    left out, and tempo and metre change nothing.

    Args:
        path: Str.
        notes: Dict, what the manifest says of tokens.
        steps: Int, how many steps there must be.

    Returns:
        List of ints, a token a step.
    """
    with open(path, "rb") as file:
        content = file.read(LARGEST_MIDI + 1)
    if len(content) > LARGEST_MIDI:
        raise InputError(f"{path} must have at most {LARGEST_MIDI:,} bytes")
    voices, drums, end, ticks = MidiFile(content, path).read()
    if drums:
        print(f"{path}: its drums are left out, for they have no pitch", file=sys.stderr)
    if not voices:
        raise InputError(f"{path} holds no notes{' but drums' if drums else ''}")
    if len(voices) > MOST_VOICES:
        raise InputError(f"{path} must have at most {MOST_VOICES} voices, not {len(voices)}")
    step, bar = ticks / notes["steps_per_beat"], BEATS_OF_BAR * notes["steps_per_beat"]
    lines = [on_steps(voice, step, path) for voice in voices]
    line = max(lines, key=mean_pitch)
    length = max(round(end / step), *(each[-1][1] for each in lines))
    if not steps - bar < length <= steps:
        raise InputError(
            f"the melody of {path} must have {steps} steps, {steps / bar:g} bars, not {length}: "
            "cut it, or fill it with rests"
        )
    low, high = notes["low"], notes["high"]
    melody, ends = [0] * steps, {(last, pitch) for _, last, pitch in line}
    for first, last, pitch in line:
        if not low <= pitch <= high:
            raise InputError(
                f"the melody of {path} must be from {low} to {high} (60 is the middle C), not "
                f"{pitch} as at step {first}: transpose it"
            )
        melody[first:last] = [pitch - low + 1] * (last - first)
        if notes["repeats"] and (first, pitch) in ends:
            melody[first] += high - low + 1
    return melody


def mean_pitch(line):
    """The mean pitch of notes, by the time that they sound."""
    times = [last - first for first, last, _ in line]
    return sum(time * pitch for time, (_, _, pitch) in zip(times, line, strict=True)) / sum(times)


def on_steps(line, step, path):
    """Notes of one voice in ticks as notes in steps, none of which overlap."""
    line = sorted(line)
    for (first, last, one), (second, _, other) in itertools.pairwise(line):
        if last - second >= step or first == second:
            raise InputError(
                f"a voice of {path} must have one note at a time, not {one} and {other} at step "
                f"{round(second / step)}: save every voice as a track"
            )
    longest = {}
    for first, last, pitch in line:
        start = round(first / step)
        longest[start] = max(longest.get(start, (0,)), (last - first, last, pitch))
    starts = sorted(longest)
    found = []
    for start, following in itertools.zip_longest(starts, starts[1:]):
        _, last, pitch = longest[start]
        stop = max(start + 1, round(last / step))
        found.append((start, stop if following is None else min(stop, following), pitch))
    return found


class MidiFile:
    """The notes of a MIDI file, every position checked against the file's size."""

    def __init__(self, content, name):
        self.content = content
        self.name = name
        self.place = 0

    def read(self):
        """The notes of each voice as `(first tick, last tick, pitch)`, a track or a channel each.

        Also whether there are drums, the last tick, and how many ticks a beat has.
        """
        kind, chunk = self.chunk()
        if kind != b"MThd" or len(chunk) < 6:
            raise InputError(f"{self.name} is no MIDI file, or is cut off")
        form, count, ticks = struct.unpack(">HHH", chunk[:6])
        if form > 1 or not 0 < ticks < 2**15:
            what = f"format {form}" if form > 1 else "times in seconds"
            raise InputError(f"{self.name} has {what}: save it as format 0 or 1, in beats")
        voices, end = {}, 0
        for track in range(count):
            kind, chunk = self.chunk()
            while kind != b"MTrk":  # others may be there, and are to be passed over
                kind, chunk = self.chunk()
            end = max(end, MidiFile(chunk, self.name).track(voices, track))
        drums = any(channel == DRUMS for _, channel in voices)
        found = [notes for (_, channel), notes in voices.items() if channel != DRUMS and notes]
        return found, drums, end, ticks

    def track(self, voices, track):
        """Add the notes of a track to those of `voices`, and return its last tick."""
        now, running, sounding = 0, 0, {}
        while self.place < len(self.content):
            now += self.number()
            status = running  # unless the next byte says another
            if self.content[self.place : self.place + 1] >= b"\x80":
                status = self.bytes(1)[0]
                running = status if status < 0xF0 else running
            if status in (0xF0, 0xF7, 0xFF):  # what else a file says, such as its tempo
                kind = self.bytes(1)[0] if status == 0xFF else None
                self.bytes(self.number())
                if kind == 0x2F:  # the end
                    break
                continue
            if not 0x80 <= status < 0xF0:
                raise InputError(f"{self.name} is damaged or cut off")
            data = self.bytes(1 if 0xC0 <= status < 0xE0 else 2)
            if max(data) >= 0x80:
                raise InputError(f"{self.name} is damaged or cut off")
            if status < 0xA0:
                notes = voices.setdefault((track, status & 15), [])
                if (since := sounding.pop((status & 15, data[0]), now)) < now:
                    notes.append((since, now, data[0]))
                if status >= 0x90 and data[1]:
                    sounding[status & 15, data[0]] = now
        for (channel, pitch), since in sounding.items():
            if since < now:
                voices[track, channel].append((since, now, pitch))
        return now

    def chunk(self):
        kind, size = struct.unpack(">4sI", self.bytes(8))
        return kind, self.bytes(size)

    def bytes(self, count):
        self.place += count
        if self.place > len(self.content):
            raise InputError(f"{self.name} is damaged or cut off")
        return self.content[self.place - count : self.place]

    def number(self):
        """A number in groups of seven bits, at most four, of which the last has no eighth."""
        value = 0
        for _ in range(4):
            byte = self.bytes(1)[0]
            value = value << 7 | byte & 127
            if byte < 128:
                return value
        raise InputError(f"{self.name} is damaged or cut off")


# Tables


def use_table(options, manifest, run, runtime):
    """Draw rows of a table, or score those of a file."""
    if options.encode or options.melody or options.label:
        option = "--encode" if options.encode else "--melody" if options.melody else "--label"
        raise InputError(f"this model is of a table, and takes no {option}")
    graph = "scorer" if options.score else "sampler"
    if manifest["graph"] != graph:
        verb = "scores" if options.score else "draws"
        raise InputError(
            f"this program {verb} rows by the {graph}, not the {manifest['graph']}: "
            f"python -m export --graph {graph}"
        )
    if options.score:
        score_rows(options, manifest, run, runtime)
    else:
        draw_rows(options, manifest, run, runtime)


def draw_rows(options, manifest, run, runtime):
    """Draw rows in units, and write them as CSV."""
    check_out(options, ".csv")
    rows = rows_of_conditions(options, manifest)
    total = len(rows) * options.count
    if total > MOST_SAMPLES:
        raise InputError(f"{total} rows are too many at once; ask for fewer with --count")
    seed = secrets.randbelow(SEEDS) if options.seed is None else options.seed
    inputs = condition_inputs(rows, manifest["conditions"], options.count)
    inputs["index"] = np.arange(total, dtype=np.int32)
    inputs["seed"] = np.array([seed], np.int32)
    inputs["temperature"] = np.array([options.temperature], np.float32)
    made, milliseconds = run_in_batches(run, inputs, total, ROWS_AT_ONCE)
    texts = {
        name: as_texts({**inputs, **made}.get(column["port"]), column, total)
        for name, column in manifest["data"]["columns"].items()
    }
    print(
        f"{total} rows of {describe_rows(rows, manifest['conditions'])}, seed {seed}, "
        f"temperature {options.temperature:g}"
    )
    print(f"{milliseconds:.3f} ms a row in {runtime}")
    write(options.out, csv_file([list(texts), *zip(*texts.values(), strict=True)]))
    print(options.out)


def score_rows(options, manifest, run, runtime):
    """Add to the rows of a CSV file a column, the score: the negative ELBO in nats."""
    options.out = options.out or "scored.csv"
    check_out(options, ".csv")
    if options.condition:
        raise InputError("--score takes the conditions from the file's columns")
    header, rows, separator = read_csv(options.score)
    columns = manifest["data"]["columns"]
    missing = [name for name in columns if name not in header]
    extra = [name for name in header if name not in columns]
    if missing or extra:
        found = f"it lacks {listing(missing)}" if missing else f"it has {listing(extra)} besides"
        raise InputError(f"{options.score} must have the columns {listing(columns, 30)}: {found}")
    inputs = {}
    for name, column in columns.items():
        place = header.index(name)
        texts = [row[place] for row in rows]
        is_condition = name in manifest["data"]["conditions"]
        values = from_texts(texts, name, column, options.score, separator, is_condition)
        inputs[column["port"]] = (
            values[:, None] if is_condition and values.dtype == np.float32 else values
        )
    made, milliseconds = run_in_batches(run, inputs, len(rows), ROWS_AT_ONCE)
    scores = made.get("score", np.zeros(0))
    if scores.shape != (len(rows),) or not np.isfinite(scores).all():
        raise InputError("the model gave NaN or infinity: the file is damaged, export it again")
    found = {"score": [f"{score:.6g}" for score in scores.tolist()]}
    if "p_value" in made:
        found["p_value"] = [f"{p:.6g}" for p in made["p_value"].tolist()]
        alarms = made["p_value"] <= false_alarms_of(manifest)
        found["alarm"] = [str(int(alarm)) for alarm in alarms]
        names = [name for name in columns if name not in manifest["data"]["conditions"]]
        found["worst"] = [names[k] for k in made["contribution"].argmax(axis=1).tolist()]
    found = {name: values for name, values in found.items() if name not in header}
    lines = [[*row, *more] for row, *more in zip(rows, *found.values(), strict=True)]
    write(options.out, csv_file([[*header, *found], *lines], separator))
    print(f"{len(rows)} rows scored, {np.median(scores):.6g} nats in the middle")
    print(f"{milliseconds:.3f} ms a row in {runtime}")
    print(options.out)


def as_texts(values, column, total):
    """Values of a column as they are written: names, and numbers, whole ones without a point."""
    names = column.get("names")
    kind = np.float32 if names is None else np.int32
    if values is None or values.dtype != kind or values.size != total:
        raise InputError(f"the model gave no {column['port']} as its manifest says")
    values = values.reshape(-1)
    if names is not None:
        if values.min() < 0 or values.max() > len(names):
            raise InputError("the model gave no names: the file is damaged, export it again")
        return [[*names, ""][value] for value in values.tolist()]
    if not np.isfinite(values).all():
        raise InputError("the model gave NaN or infinity: the file is damaged, export it again")
    return [str(int(v)) if v == int(v) else f"{v:.9g}" for v in values.tolist()]


def from_texts(texts, name, column, path, separator, is_condition):
    """Values of a column as the model takes them: float32, or int32 of names.

    Args:
        texts: List of str.
        name: Str, the column.
        column: Dict, what the manifest says of it.
        path, separator: Of the file.
        is_condition: Whether a number must be known.

    Returns:
        Array `(rows,)`: NaN, or -1, where a value is missing.
    """

    def refuse(row, what):
        received = "nothing" if texts[row] in MISSING else repr(texts[row][:40])
        raise InputError(f"{path}: column {name!r} must be {what}, not {received} in row {row + 1}")

    if (names := column.get("names")) is not None:
        index = {known: k for k, known in enumerate(names)}
        other = index.get("other") if column.get("other") else None
        found = [-1 if t in MISSING else index.get(t, index.get(plain(t), other)) for t in texts]
        if None in found:
            refuse(found.index(None), f"one of {listing(names)}")
        return np.array(found, np.int32)
    found = np.array([as_number(text, separator) for text in texts], np.float64)
    missing = np.array([text in MISSING for text in texts])
    checks = [
        (np.isnan(found) & ~missing, "numbers"),
        (np.abs(found) > np.finfo(np.float32).max, "numbers that float32 holds"),
        (missing & is_condition, "known"),
        (found <= 0 if column.get("transform") == "log" else False, "above 0"),
        (
            (found < 0) | (found != np.floor(found)) & ~missing
            if column["kind"] == "count"
            else False,
            "counts, whole numbers of at least 0",
        ),
    ]
    for wrong, what in checks:
        if np.any(wrong):
            refuse(int(np.argmax(wrong)), what)
    return found.astype(np.float32)


def as_number(text, separator):
    """The number in a text, NaN where there is none; with a decimal comma if no comma separates."""
    if separator != "," and re.fullmatch(r"[+-]?\d*,?\d+([eE][+-]?\d+)?", text):
        text = text.replace(",", ".")
    try:
        return float(text) if len(text) < 100 else math.nan
    except ValueError:
        return math.nan


def plain(text):
    """A whole number without a point, as names that are numbers are written."""
    number = as_number(text, ",")
    return str(int(number)) if math.isfinite(number) and number == int(number) else text


def read_csv(path):
    """Read a CSV file: its header, its rows, lists of str, and what separates their values."""
    if not path.lower().endswith((".csv", ".tsv", ".txt")):
        raise InputError(f"--score takes a .csv file, not {path}")
    if os.path.getsize(path) > LARGEST_TABLE:
        raise InputError(
            f"{path} must be at most {LARGEST_TABLE // 2**20} MiB, as it is read at once, not "
            f"{os.path.getsize(path) // 2**20} MiB: take a part of its rows"
        )
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            separator = separator_of([line for _, line in zip(range(20), file, strict=False)])
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
            header = [name.strip() for name in next(reader, [])]
            rows = []
            for row in reader:
                if row and len(row) != len(header):
                    raise InputError(
                        f"{path} must have {len(header)} values in every row, not {len(row)} as in "
                        f"line {reader.line_num}"
                    )
                rows += [[value.strip() for value in row]] if row else []
    except (UnicodeDecodeError, csv.Error) as err:
        raise InputError(f"{path} is no CSV file in UTF-8: {one_line(err)}") from err
    twice = [name for name in header if header.count(name) > 1]
    if not rows or twice:
        what = f"it has {twice[0]!r} twice" if twice else "it is empty"
        raise InputError(f"{path} must have a header of different names, and rows: {what}")
    return header, rows, separator


def separator_of(lines):
    """What splits the lines into the most values, of one number; else what the first has most."""
    widths = {s: {len(row) for row in csv.reader(lines, delimiter=s) if row} for s in SEPARATORS}
    even = {s: max(found) for s, found in widths.items() if len(found) == 1 and max(found) > 1}
    if even:
        return max(even, key=even.get)
    return max(SEPARATORS, key=lambda s: lines[0].count(s) if lines else 0)


def csv_file(rows, separator=","):
    """Rows of str as the bytes of a CSV file."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def golden_rows(manifest):
    """What a graph of a table takes for its golden sample, but for the conditions."""
    golden, data = manifest["golden"], manifest["data"]
    if manifest["graph"] == "decoder":
        return {"z": np.array(golden["z"], np.float32)}
    if manifest["graph"] == "sampler":
        return {
            "index": np.array(golden["conditions"]["index"], np.int32),
            "seed": np.array([golden["seed"]], np.int32),
            "temperature": np.array([golden["temperature"]], np.float32),
        }
    return {
        column["port"]: np.array(
            golden["conditions"][column["port"]], np.int32 if "names" in column else np.float32
        )
        for name, column in data["columns"].items()
        if name not in data["conditions"]
    }


# Pictures


def check_picture(shape, rows, count):
    """Refuse what no picture can show, before any time is spent on it."""
    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or channels not in (1, 3):
        raise InputError(f"data of the shape {shape} make no picture; use --out samples.npy")
    side = max(shape[0], shape[1]) * enlargement(shape) + GAP
    if rows * count * side * side > MOST_PIXELS:
        raise InputError(
            f"{rows * count} images of {shape[0]}x{shape[1]} make too large a picture; ask for "
            "fewer with --count, or use --out samples.npy"
        )


def enlargement(shape):
    """How many times to repeat each pixel so that a person can see a tile."""
    return max(1, math.ceil(SMALLEST_TILE / min(shape[0], shape[1])))


def grid(images, columns, black_and_white):
    """Tiles side by side on grey, uint8 `(height, width, channels)`."""
    low, high = black_and_white
    scaled = (images - low) / (high - low)
    tiles = np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    tiles = tiles.reshape(*tiles.shape[:3], -1)
    by = enlargement(tiles.shape[1:])
    tiles = tiles.repeat(by, axis=1).repeat(by, axis=2)
    count, height, width, channels = tiles.shape
    rows = math.ceil(count / columns)
    size = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels)
    picture = np.full(size, FRAME, np.uint8)
    for i, tile in enumerate(tiles):
        top = GAP + (i // columns) * (height + GAP)
        left = GAP + (i % columns) * (width + GAP)
        picture[top : top + height, left : left + width] = tile
    return picture


def png(picture):
    """A grey or RGB picture as the bytes of a PNG file."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, channels = picture.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    # Every line begins with the number of its filter, 0 for none.
    lines = np.zeros((height, 1 + width * channels), np.uint8)
    lines[:, 1:] = picture.reshape(height, -1)
    data = zlib.compress(lines.tobytes(), 6)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def write(path, data):
    """Write a file whole or not at all."""
    part = f"{path}.keras_vae_part"  # a name that is nobody else's, to be deleted
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as err:
        raise InputError(f"{path} cannot be written: {err.strerror}") from err
    finally:
        with contextlib.suppress(OSError):
            os.remove(part)


def fail(message, status=2):
    print(f"error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
