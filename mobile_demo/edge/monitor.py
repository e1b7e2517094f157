"""Watch a machine with an exported scorer of a series: what `sample.py --score` does with one.

    python sample.py --model scorer.tflite --score machine.csv --out alarms.csv
    python sample.py --model scorer.onnx --score - < readings.csv        # as they come
    python sample.py --model scorer.tflite --score machine.csv --false-alarms 0.001 --alarm-of 3/5
    python sample.py --model scorer.tflite --refit-threshold normal.csv  # and --undo-refit

It stands beside sample.py, and needs as little. Readings are windowed as in training; it writes of
each window when it begins, its score, its p-value, whether it is in alarm, and the channel that
adds most to the score. p-values are of the calibration in the file, or of one that was made here.
"""

import collections
import csv
import io
import json
import os
import sys
import time

import numpy as np

WINDOWS_AT_ONCE = 256
TIMES = ("time", "timestamp", "datetime", "date", "ts")
HEADER = ("start", "score", "p_value", "alarm", "worst")
# Sorted scores that are kept of a calibration.
MOST_KNOTS = 120
# The simple jumper: how it bets on p-values that are too small, as usual, or too large, and how
# readily it changes its mind. It wins a hundredfold by chance at most once in a hundred machines.
BETS, JUMP, WON = (-1.0, 0.0, 1.0), 0.01, 100.0
LEAST_FOR_UNITS = 10


def watch(options, manifest, run, runtime, tools):
    """Score windows of a series, or calibrate by them.

    Args:
        options: As parsed by sample.py.
        manifest, run, runtime: As loaded by sample.py.
        tools: The module sample.py.
    """
    if options.header:
        return write_header(options.header, manifest, tools)
    if manifest["graph"] != "scorer":
        raise tools.InputError(
            f"--score needs the scorer graph, not the {manifest['graph']}: "
            "python -m export --graph scorer"
        )
    scorer = Scorer(options, manifest, run, tools)
    if options.undo_refit:
        return scorer.undo_refit()
    if options.refit_threshold:
        return scorer.refit(options.refit_threshold)
    if options.score == "-":
        return scorer.stream(sys.stdin)
    return scorer.score_file(options.score, options.out, runtime)


class Scorer:
    """An exported scorer of a series, its calibration, and what alarms are made of."""

    def __init__(self, options, manifest, run, tools):
        self.tools, self.run, self.options = tools, run, options
        data = manifest["data"]
        try:
            self.window, self.stride = int(data["window"]), int(options.stride or data["stride"])
            self.channels = [str(channel["name"]) for channel in data["channels"]]
            self.units = [channel.get("unit") or "" for channel in data["channels"]]
        except (KeyError, TypeError, ValueError) as err:
            raise tools.InputError("the manifest's `data` is damaged: export it again") from err
        if self.window < 2 or self.stride < 1 or not self.channels:
            raise tools.InputError("the manifest's `data` is damaged: export it again")
        [self.row] = tools.rows_of_conditions(options, manifest)[:1] or [{}]
        if len(manifest["conditions"]) and not (options.condition or options.label):
            names = " ".join(f"--condition {c['name']}=..." for c in manifest["conditions"])
            raise tools.InputError(f"this model is told a condition: {names}")
        self.conditions = manifest["conditions"]
        self.refitted = f"{options.model}.calibration.json"
        calibration = manifest.get("calibration")
        if os.path.exists(self.refitted):
            with open(self.refitted, encoding="utf-8") as file:
                calibration = json.load(file)
        self.calibration = self._checked(calibration) if calibration else None
        self.rate = options.false_alarms
        if self.rate is None and self.calibration:
            self.rate = float(self.calibration["false_alarms"])
        if self.calibration and not 1 / (self.group["count"] + 1) <= self.rate < 1:
            least = 1 / (self.group["count"] + 1)
            raise tools.InputError(
                f"--false-alarms must be from {least:.2g}, as {self.group['count']} examples can "
                f"tell, to below 1, not {self.rate:g}"
            )
        self.most, self.of = alarm_of(options.alarm_of, tools)
        self.recent = collections.deque(maxlen=self.of)
        self.jumper = Jumper()
        self.count, self.alarms, self.floor = 0, 0, 0

    @property
    def group(self):
        """The scores and p-values of the condition's class, or of all."""
        groups, at = self.calibration["groups"], self.calibration.get("group_of_class")
        value = self.row.get(self.calibration.get("condition"))
        return groups[at[value]] if at and value is not None else groups[0]

    def score_file(self, path, out, runtime):
        """Score a file of readings, and write a line for each window."""
        started = time.perf_counter()
        values, times = self.read(path)
        if len(values) < self.window:
            raise self.tools.InputError(
                f"{path} must be at least as long as a window, {self.window} steps, and has "
                f"{len(values)}"
            )
        text, left_out = io.StringIO(), 0
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER)
        starts = np.arange(0, len(values) - self.window + 1, self.stride)
        views = np.lib.stride_tricks.sliding_window_view(values, self.window, axis=0)
        for begin in range(0, len(starts), WINDOWS_AT_ONCE):
            rows = starts[begin : begin + WINDOWS_AT_ONCE]
            windows = views[rows].swapaxes(1, 2)
            known = ~np.isnan(windows).any(axis=(1, 2))
            left_out += int((~known).sum())
            labels = [times[row] if times is not None else row for row in rows[known]]
            writer.writerows(self.lines(windows[known], labels))
        seconds = time.perf_counter() - started
        if out:
            self.tools.write(out, text.getvalue().encode())
            self.summarise(left_out)
            print(f"{self.count:,} windows in {seconds:.2f} s, reading included, in {runtime}")
            print(out)
        else:
            sys.stdout.write(text.getvalue())
            self.summarise(left_out, sys.stderr)

    def stream(self, file):
        """Score readings as they come, lines of CSV, and write a line as each window fills."""
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        columns, at_time = self.columns_of(header, "standard input")
        buffer, seen, due = collections.deque(maxlen=self.window), 0, self.window
        print(",".join(HEADER), flush=True)
        writer = csv.writer(sys.stdout, lineterminator="\n")
        for number, row in enumerate(reader, 2):
            if not row:
                continue
            values = [self.number(row, k, name, number) for k, name in columns]
            buffer.append((row[at_time] if at_time is not None else seen, values))
            seen += 1
            if seen >= due:
                due = seen + self.stride
                window = np.array([values for _, values in buffer], np.float32)[None]
                if not np.isnan(window).any():
                    writer.writerows(self.lines(window, [buffer[0][0]]))
                    sys.stdout.flush()
        if seen < self.window:
            raise self.tools.InputError(
                f"a window takes {self.window} steps, and {seen} came before the end"
            )
        self.summarise(0, sys.stderr)

    def lines(self, windows, starts):
        """Score windows, and yield what is written of each."""
        if not len(windows):
            return
        made = self.score(windows)
        scores, added = made["score"], made.get("contribution")
        p_values = self.p_values(scores) if self.calibration else np.full(len(scores), np.nan)
        for k, (score, p) in enumerate(zip(scores.tolist(), p_values.tolist(), strict=True)):
            worst = ""
            if added is not None:
                worst = self.channels[int(added[k].sum(axis=0).argmax())]
            if not self.calibration:
                yield starts[k], f"{score:.6g}", "", "", worst
                self.count += 1
                continue
            self.recent.append(p <= self.rate)
            alarm = sum(self.recent) >= self.most
            # Windows that overlap tell the same: of these the first counts.
            if (self.count * self.stride) % self.window < self.stride:
                self.jumper.bet(p, self.count)
            self.count += 1
            self.alarms += alarm
            self.floor += p <= 1.0001 / (self.group["count"] + 1)
            yield starts[k], f"{score:.6g}", f"{p:.6g}", int(alarm), worst

    def score(self, windows):
        """The outputs of the scorer for windows in units."""
        inputs = {"x": np.ascontiguousarray(windows, np.float32)}
        for condition in self.conditions:
            inputs[condition["name"]] = np.full(len(windows), self.row[condition["name"]], np.int32)
        made = self.run(inputs)
        if not np.isfinite(made["score"]).all():
            raise self.tools.InputError(
                "the model gave NaN or infinity: readings are out of all bounds, or the file is "
                "damaged"
            )
        return made

    def p_values(self, scores):
        """What share of normal windows scores as high."""
        return np.interp(scores.astype(np.float64), self.group["scores"], self.group["p_values"])

    def summarise(self, left_out, file=None):
        """Say what came out, and what cannot be right."""
        say = lambda line: print(line, file=file or sys.stdout)  # noqa: E731
        if left_out:
            say(f"{left_out:,} windows were left out, for a reading is missing in them")
        if not self.calibration:
            say("no p-values: the file is not calibrated; --refit-threshold normal.csv does it")
            return
        by = "a calibration of this device" if os.path.exists(self.refitted) else "the file's"
        say(
            f"{self.alarms:,} of {self.count:,} windows in alarm, at {self.rate:g} of normal ones "
            f"by {by}"
        )
        if self.count >= LEAST_FOR_UNITS and self.floor == self.count:
            told = ", ".join(
                f"{name} in {unit}" if unit else name
                for name, unit in zip(self.channels, self.units, strict=True)
            )
            say(f"every p-value is the least there is: are these the readings of {told}?")
        elif self.jumper.since is not None:
            say(
                f"p-values are no longer those of normal operation, by window {self.jumper.since} "
                "(a martingale that wins a hundredfold): look at the machine, or calibrate anew"
            )

    # Calibration on the device

    def refit(self, path):
        """Make p-values of normal readings, and keep them beside the model."""
        values, _ = self.read(path)
        if len(values) < self.window:
            raise self.tools.InputError(f"{path} must be at least as long as {self.window} steps")
        views = np.lib.stride_tricks.sliding_window_view(values, self.window, axis=0)
        windows = views[:: self.stride].swapaxes(1, 2)
        windows = windows[~np.isnan(windows).any(axis=(1, 2))]
        rate = self.options.false_alarms or self.rate or 0.01
        least = int(np.ceil(round(1 / rate, 6)))
        if len(windows) < least:
            raise self.tools.InputError(
                f"false alarms of {rate:g} take {least} windows to calibrate by, and {path} has "
                f"{len(windows)}"
            )
        parts = np.array_split(windows, range(WINDOWS_AT_ONCE, len(windows), WINDOWS_AT_ONCE))
        scores = np.sort(np.concatenate([self.score(part)["score"] for part in parts]))
        made = {
            "groups": [knots_of(scores.astype(np.float64), rate)],
            "false_alarms": rate,
            "condition": None,
            "group_of_class": None,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }
        self.tools.write(self.refitted, json.dumps(made).encode())
        print(f"p-values by {len(scores):,} windows of {path}: alarms at {rate:g}")
        print(f"{self.refitted} (--undo-refit takes it away)")

    def undo_refit(self):
        """Go back to the calibration in the file."""
        if not os.path.exists(self.refitted):
            raise self.tools.InputError(f"there is no calibration at {self.refitted}")
        os.remove(self.refitted)
        print(f"{self.refitted} is taken away: p-values are the file's again")

    def _checked(self, calibration):
        """A calibration whose numbers are such, or an error that says that it is damaged."""
        try:
            for group in calibration["groups"]:
                scores, p = (np.array(group[name], np.float64) for name in ("scores", "p_values"))
                fits = scores.shape == p.shape and scores.ndim == 1 and len(scores) >= 2
                if not (fits and (np.diff(scores) > 0).all() and 0 < p[-1] <= p[0] <= 1):
                    raise ValueError
                if int(group["count"]) < 1 or not (np.diff(p) <= 0).all():
                    raise ValueError
            float(calibration["false_alarms"])
        except (KeyError, TypeError, ValueError, IndexError) as err:
            raise self.tools.InputError(
                "the calibration is damaged: calibrate anew with --refit-threshold, or take "
                f"{self.refitted} away"
            ) from err
        return calibration

    # Reading

    def read(self, path):
        """Readings `(steps, channels)`, float32, in the model's order, and their times or None."""
        if path.lower().endswith(".npy"):
            try:
                values = np.load(path, allow_pickle=False, mmap_mode="r")
            except ValueError as err:
                raise self.tools.InputError(f"{path} is no .npy array of numbers") from err
            if values.ndim != 2 or values.shape[1] != len(self.channels):
                raise self.tools.InputError(
                    f"{path} must be (steps, {len(self.channels)}), the channels "
                    f"{', '.join(self.channels)}, and is {values.shape}"
                )
            return np.asarray(values, np.float32), None
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = [line for _, line in zip(range(20), file, strict=False)]
        if not any(line.strip() for line in first):
            raise self.tools.InputError(f"{path} is empty")
        separator = self.tools.separator_of(first)
        [header] = csv.reader(first[:1], delimiter=separator)
        columns, at_time = self.columns_of([name.strip() for name in header], path)
        try:
            values = np.loadtxt(
                path,
                np.float32,
                delimiter=separator,
                skiprows=1,
                usecols=[place for place, _ in columns],
                ndmin=2,
                quotechar='"',
                encoding="utf-8-sig",
            )
        except ValueError:  # a value is missing, or is no number: then one by one
            values = np.array(
                [
                    [self.number(row, place, name, number) for place, name in columns]
                    for number, row in rows_of(path, separator)
                ],
                np.float32,
            ).reshape(-1, len(columns))
        times = None
        if at_time is not None:
            times = [row[at_time].strip() for _, row in rows_of(path, separator)]
        return values, times

    def columns_of(self, header, source):
        """The place of each channel in a header, and that of the time, or None."""
        missing = [name for name in self.channels if name not in header]
        if missing:
            raise self.tools.InputError(
                f"{source} must have the channels {self.tools.listing(self.channels)}, and lacks "
                f"{self.tools.listing(missing)}"
            )
        times = [k for k, name in enumerate(header) if name.lower() in TIMES]
        times = [k for k in times if header[k] not in self.channels]
        return [(header.index(name), name) for name in self.channels], next(iter(times), None)

    def number(self, row, place, name, line):
        """A reading as a float, NaN where it is missing."""
        text = row[place].strip() if place < len(row) else ""
        if text in self.tools.MISSING:
            return float("nan")
        try:
            return float(text)
        except ValueError as err:
            raise self.tools.InputError(
                f"{name} must be numbers, and is {text[:40]!r} in line {line}"
            ) from err


def write_header(path, manifest, tools):
    """Write what `score.h` needs to score beside a reconstructor, as C."""
    calibration, scale = manifest.get("calibration"), manifest.get("likelihood_scale")
    if manifest["graph"] != "reconstructor" or scale is None or not calibration:
        raise tools.InputError(
            "--header needs a reconstructor of a model with a Gaussian, calibrated by "
            'AnomalyDetector(model, "reconstruction").calibrate(...)'
        )
    if os.path.splitext(path)[1] != ".h":
        raise tools.InputError(f"--header must end with .h, not {path}")
    try:
        data, groups = manifest["data"], calibration["groups"]
        mean, std = ([float(c[key]) for c in data["channels"]] for key in ("mean", "std"))
        scales = [float(s) for s in (scale if isinstance(scale, list) else [scale] * len(std))]
        offsets = [np.log(s) + np.log(2 * np.pi) / 2 for s in scales]
        names = ", ".join(str(channel["name"]) for channel in data["channels"])
        arrays = {
            "mean": mean,
            "std": std,
            "scale": scales,
            "log_scale": offsets,
            "scores": [float(score) for group in groups for score in group["scores"]],
            "p_values": [float(p) for group in groups for p in group["p_values"]],
        }
        ends = np.cumsum([len(group["scores"]) for group in groups])
        classes = _classes(manifest) if calibration.get("condition") else []
        of_class = [int(k) for k in calibration["group_of_class"]] if classes else [0]
        if len(of_class) != len(classes) + 1 or not set(of_class) <= set(range(len(groups))):
            raise ValueError("a class without a group")
        window, rate = int(data["window"]), float(calibration["false_alarms"])
    except (KeyError, TypeError, ValueError, IndexError) as err:
        raise tools.InputError("the manifest is damaged: export the file again") from err
    safe = "".join(c if c.isalnum() or c in ", ._-" else "_" for c in names)
    lines = [f"/* Of channels {safe}; by sample.py --header, for score.h. */"]
    lines += [f"#define KV_STEPS {window}", f"#define KV_CHANNELS {len(std)}"]
    for name, values in arrays.items():
        numbers = ", ".join(f"{np.float32(value):.9e}f" for value in values)
        lines.append(f"static const float kv_{name}[] = {{{numbers}}};")
    lines += [f"#define {name} {label}" for label, name in enumerate(classes)]
    for name, values in {"group_of_class": of_class, "group_ends": ends}.items():
        lines.append(f"static const int kv_{name}[] = {{{', '.join(map(str, values))}}};")
    fields = "KV_STEPS, KV_CHANNELS, kv_mean, kv_std, kv_scale, kv_log_scale"
    lines.append(
        f"static const kv_scorer kv_data = {{{fields}, {ends[0]}, kv_scores, kv_p_values, "
        f"{np.float32(rate):.9e}f, {len(classes)}, kv_group_of_class, kv_group_ends}};"
    )
    tools.write(path, ("\n".join(lines) + "\n").encode("ascii", "replace"))
    print(path)


def _classes(manifest):
    """Macros of the classes that p-values are by: of their names, or where C cannot, numbers."""
    [names] = [
        condition["names"]
        for condition in manifest["conditions"]
        if condition["name"] == manifest["calibration"]["condition"]
    ]
    words = ["".join(c if c.isalnum() and c.isascii() else "_" for c in n).upper() for n in names]
    taken = {"STEPS", "CHANNELS", "SCORE_H"}
    are_names = len(set(words)) == len(words) and all(words) and not taken & set(words)
    return [f"KV_{word if are_names else f'CLASS_{k}'}" for k, word in enumerate(words)]


class Jumper:
    """A martingale that grows when p-values stop being uniform: the simple jumper.

    It is a fair game while they are, so that it is ever above 100 with a probability of at most
    1/100 (Ville). Vovk, 2021, https://arxiv.org/abs/1906.09256, algorithm 1.

    Attributes:
        since: Int, the window by which it had won, or None.
    """

    def __init__(self):
        self.stakes = np.full(len(BETS), 1 / len(BETS))
        self.since = None

    def bet(self, p, number):
        self.stakes = (1 - JUMP) * self.stakes + JUMP / len(BETS) * self.stakes.sum()
        self.stakes *= 1 + np.array(BETS) * (p - 0.5)
        if self.since is None and self.stakes.sum() >= WON:
            self.since = number


def rows_of(path, separator):
    """Yield the number of each line of a CSV file after its header, and its values."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=separator)
        next(rows)
        for row in rows:
            if row:
                yield rows.line_num, row


def alarm_of(text, tools):
    """How many of how many windows make an alarm: "3/5", and 1 of 1 by default."""
    most, _, of = (text or "1/1").partition("/")
    if not (most.isdigit() and of.isdigit() and 1 <= int(most) <= int(of) <= 10_000):
        raise tools.InputError(f"--alarm-of must be M/N, such as 3/5, not {text!r}")
    return int(most), int(of)


def knots_of(scores, rate):
    """Of ascending scores those that are kept, with their p-values."""
    count = len(scores)
    at_alarm = max(int(rate * (count + 1)), 1)
    ranks = {1, count, at_alarm, max(at_alarm - 1, 1)}
    ranks |= set(np.geomspace(1, max(count // 2, 1), MOST_KNOTS * 2 // 3).round().astype(int))
    ranks |= set(np.linspace(max(count // 2, 1), count, MOST_KNOTS // 3).round().astype(int))
    kept, p_values = [], []
    for rank in sorted(map(int, ranks), reverse=True):
        score = float(f"{scores[count - rank]:.7g}")
        if not kept or score > kept[-1]:
            kept.append(score)
            p_values.append(min(1.0, (rank + 1) / (count + 1)))
    step = max(kept[-1] - kept[-2] if len(kept) > 1 else 0.0, abs(kept[-1]) * 1e-5, 1e-5)
    kept.append(float(f"{kept[-1] + step:.7g}"))
    return {"count": count, "scores": kept, "p_values": [*p_values, 1 / (count + 1)]}
