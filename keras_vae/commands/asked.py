"""What `sample` is asked for of a model of images: rows of conditions, and a sweep of a number."""

import dataclasses
import itertools
import math

UNKNOWN = "unknown"
MOST_STEPS = 1000
# Of which every one is drawn where none is asked for.
MOST_CLASSES = 100


@dataclasses.dataclass(frozen=True)
class Asked:
    """Rows of conditions, and one whose number goes from column to column.

    Attributes:
        rows: List of dicts from a condition's name to its value; None of a model without any.
        sweep: Name of the condition whose numbers are swept, or None.
        numbers: Those numbers.
        words: Str, what was asked for.
    """

    rows: list | None
    sweep: str | None = None
    numbers: tuple = ()
    words: str = "no class"

    def sample(self, model, count, seed=None, **settings):
        """Samples, each row of conditions so many times; of a sweep, row by row.

        Every step of a sweep has the codes of the others: its number alone changes. Other settings
        are those of the model's `sample`.
        """
        import numpy as np

        from keras_vae import seeds

        settings["seed"] = seeds.given_or_drawn(seed)
        if self.rows is None:
            return model.sample(count, **settings)
        rows = [row for row in self.rows for _ in range(count)]
        columns = []
        for number in self.numbers or (None,):
            steps = {} if self.sweep is None else {self.sweep: number}
            given = [{**row, **steps} for row in rows]
            columns.append(model.sample({n: [g[n] for g in given] for n in rows[0]}, **settings))
        images = np.stack(columns, axis=1)
        return images.reshape(-1, *images.shape[2:])


def values_of(texts):
    """Dict from the name to the value of each `--condition NAME=VALUE`."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"--condition must be NAME=VALUE. Received: {text!r}.")
        if name in found:
            raise ValueError(f"--condition must ask for {name} once. Received: twice.")
        found[name] = value
    return found


def asked_of(conditions, labels, texts):
    """What `--label` and `--condition` ask for.

    Args:
        conditions: Dict from names to kinds, those of what the model samples.
        labels: List of what `--label` said, or None.
        texts: List of what `--condition` said, or None.

    Returns:
        `Asked`. Labels that nobody asked for are every class, a row each; other classes and numbers
        are *unknown*.

    Raises:
        ValueError: If a condition is none of the model's, or a value none of a condition.
    """
    found = values_of(texts)
    for name in [*found, *(["label"] if labels else [])]:
        if name not in conditions:
            known = ", ".join(conditions) or "none"
            raise ValueError(
                f"{'--label' if name not in found else '--condition'} must be a condition of the "
                f"model: {known}. Received: {name}."
            )
    if labels and "label" in found:
        raise ValueError(
            "Labels must be asked for once, by --label or by --condition. Received: "
            f"--label and --condition label={found['label']}."
        )
    if not conditions:
        return Asked(None)
    choices, words, sweeps = [], [], {}
    for name, kind in conditions.items():
        text = found.get(name)
        if kind.kind == "categorical":
            asked = labels if labels and name == "label" else None if text is None else [text]
            choices.append(_classes(name, kind, asked))
            if name == "label" or asked:
                words.append(f"{name} {', '.join(asked)}" if asked else "every class")
            continue
        if kind.kind == "multi_label":
            choices.append([_tags(kind, text, name)])
            words.append(f"{name} {UNKNOWN if text is None else text or 'none'}")
            continue
        if kind.kind != "continuous":
            raise ValueError(f"`sample` draws images of labels and numbers. Received: {name}.")
        numbers = _numbers(name, kind, text)
        if len(numbers) > 1:
            sweeps[name] = tuple(numbers)
        choices.append(numbers[:1])
        unit = f" {kind.unit}" if kind.unit and text not in (None, UNKNOWN) else ""
        words.append(f"{name} {text or UNKNOWN}{unit}")
    if len(sweeps) > 1:
        raise ValueError(f"--condition must sweep one number. Received: {' and '.join(sweeps)}.")
    rows = [dict(zip(conditions, row, strict=True)) for row in itertools.product(*choices)]
    [(name, numbers)] = sweeps.items() if sweeps else [(None, ())]
    return Asked(rows, name, numbers, " and ".join(words))


def words_of(labels, names):
    """The words of `--label`, several by commas, unless a name has commas itself."""
    return [word for text in labels for word in ([text] if text in names else text.split(","))]


def _classes(name, kind, texts):
    """Indices of classes: those asked for, else of a label every one, of others *unknown*."""
    if texts is None:
        if name != "label":
            return [kind.unknown]
        if kind.num_leaves > MOST_CLASSES:
            raise ValueError(
                f"--label must name classes where there are more than {MOST_CLASSES}, such as "
                f"--label {kind.names[0]}. Received: none of {kind.num_leaves:,}."
            )
        return list(range(kind.num_leaves))
    found = []
    for word in words_of(texts, kind.names):
        is_index = word not in kind.names and word.isdecimal()
        found += kind.as_array([int(word) if is_index else word], f"--{name}").tolist()
    return found


def _tags(kind, text, name):
    """A value for each tag: of those asked for, as in red+round, else all *unknown*."""
    if text in (None, UNKNOWN):
        return [kind.unknown] * kind.size
    tags = [text] if text in kind.names else text.split("+") if text else []
    [row] = kind.as_array([tags], f"--condition {name}").tolist()
    return row


def _numbers(name, kind, text):
    """A list of one value; or of those of a sweep, FIRST:LAST:STEPS, both ends included."""
    told = kind.described_range()
    within = f", within {told}" if told else ""
    if text is None and not kind.unknown_rate:
        raise ValueError(
            f"--condition {name}=... must be asked for{within}: a number, or a sweep "
            f"FIRST:LAST:STEPS."
        )
    if text in (None, UNKNOWN) and kind.unknown_rate:
        return [None]
    if ":" in text and kind.dim == 1:
        return _sweep(name, text)
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != kind.dim or not all(map(math.isfinite, numbers)):
        example = ",".join(["0"] * kind.dim)
        many, sweep = f"{kind.dim} numbers", ""
        if kind.dim == 1:
            many, sweep = "a number", ", or a sweep FIRST:LAST:STEPS"
        unknown = f", or {UNKNOWN}" if kind.unknown_rate else ""
        raise ValueError(
            f"--condition {name} must be {many}, such as {name}={example}{within}{sweep}{unknown}. "
            f"Received: {text!r}."
        )
    return [numbers]


def _sweep(name, text):
    """The numbers of a sweep, each as a vector."""
    try:
        first, last, steps = text.split(":")
        first, last, steps = float(first), float(last), int(steps)
    except ValueError:
        first = math.nan
    if not math.isfinite(first) or not math.isfinite(last):
        raise ValueError(
            f"--condition {name} must sweep by FIRST:LAST:STEPS, such as {name}=-60:60:7. "
            f"Received: {text!r}."
        )
    if not 2 <= steps <= MOST_STEPS or first == last:
        raise ValueError(
            f"--condition {name} must sweep in 2 to {MOST_STEPS} steps between two different "
            f"numbers, such as {name}=-60:60:7. Received: {text!r}."
        )
    step = (last - first) / (steps - 1)
    return [[first + step * k] for k in range(steps - 1)] + [[last]]
