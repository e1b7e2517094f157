"""All figures of merit of a run, for the command line: measured one after the other, and told."""

import time

from keras_vae.evaluation import sequences
from keras_vae.evaluation.annealed import annealed_log_likelihood
from keras_vae.evaluation.images import evaluate_reconstructions
from keras_vae.evaluation.latents import evaluate_latents
from keras_vae.evaluation.likelihood import bits_per_dimension, log_likelihoods
from keras_vae.evaluation.scorecard import scorecard
from keras_vae.evaluation.terms import evaluate
from keras_vae.models.capabilities import Bounds, DrawsTokens, Encodes, lack

# Test images that are annealed: each costs as much as some thousand importance samples.
ANNEALED_EXAMPLES = 100
# Codes that annealing an example decodes, each with a gradient: as long as so many of a sample's.
CODES_OF_ANNEALED = 160_000
_NUMBERS = ("codes_used", "perplexity", "mean_squared_error", "ssim", "diversity", "acceptance")
_HEADINGS = {
    "reconstructions": "Reconstructions of the posterior mean",
    "latents": "Latent code",
    "log_likelihoods": "log p(x) by importance sampling, nats",
    "annealed": "log p(x) by annealed importance sampling",
    "rows": "Drawn rows against test rows",
    "scorecard": "Samples by label",
    "alarms": "Alarms, of windows",
}
# What is no number of nats has one of these in its name.
_SHARES = ("accuracy", "leakage", "frechet", "distance", "auroc", "_r2", "copies", "copied")
_SHARES += ("close_", "equal_numbers", "of_real", "alarm", "auprc", "precision", "recall", "f1")


def measure_all(model, inputs, num_samples=(), annealed=False, progress=None, batch_size=256):
    """Measure what a model's held-out examples say about it, and why the rest was left out.

    Args:
        model: A model of this package.
        inputs: Arrays as `fit` takes them.
        num_samples: Ints, for `log_likelihoods`; none leaves it out.
        annealed: Whether to anneal the first 100 examples.
        progress: Optional function of a description that returns a function as `evaluate` takes
            for its `progress`.
        batch_size: Int, as for `evaluate`.

    Returns:
        Dict: what `evaluate` gives; `bits_per_dimension`, where it has a meaning, of the ELBO;
        under `reconstructions`, `latents`, `log_likelihoods` and `annealed` what the functions of
        this package give; and `left_out`, from what is missing to the reason.
    """
    progress = progress or (lambda text: None)
    x = inputs["x"] if isinstance(inputs, dict) else inputs
    results = evaluate(model, inputs, batch_size, progress=progress("Loss"))
    left_out = {}
    bits = bits_per_dimension(model, x, results["elbo"]) if "elbo" in results else None
    if bits is not None:
        results["bits_per_dimension"] = bits
    elif "elbo" in results:
        left_out["bits_per_dimension"] = (
            f"the {model.likelihood.name} likelihood of these data is no probability"
        )
    if not isinstance(model, Encodes):
        left_out["reconstructions"] = lack(model, Encodes)
    elif not (isinstance(model, DrawsTokens) or model.likelihood.takes_missing):
        # Of tokens `evaluate_sequences` tells, of rows `evaluate_rows`.
        results["reconstructions"] = evaluate_reconstructions(
            model, inputs, progress=progress("Reconstructions")
        )
    is_bound = isinstance(model, Bounds)
    if is_bound:
        results["latents"] = evaluate_latents(model, inputs, progress=progress("Latents"))
    else:
        left_out["latents"] = lack(model, Bounds)
    if num_samples and is_bound:
        results["log_likelihoods"] = log_likelihoods(
            model, inputs, num_samples, progress=progress("Importance sampling")
        )
    elif num_samples:
        left_out["log_likelihoods"] = lack(model, Bounds)
    if annealed and is_bound:
        results["annealed"] = annealed_log_likelihood(
            model, first_of(inputs, ANNEALED_EXAMPLES), progress=progress("Annealing")
        )
    elif annealed:
        left_out["annealed"] = lack(model, Bounds)
    return {**results, "left_out": left_out}


def seconds_of_code(model, inputs):
    """About how long one importance sample of one example takes here, in seconds."""
    examples, num_samples = first_of(inputs, 64), 128
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        log_likelihoods(model, examples, num_samples)
        seconds = time.perf_counter() - start
    x = examples["x"] if isinstance(examples, dict) else examples
    return seconds / num_samples / len(x)


def first_of(inputs, count):
    """The first examples of arrays as `fit` takes them."""
    if isinstance(inputs, dict):
        return {name: values[:count] for name, values in inputs.items()}
    return inputs[:count]


def judge(model, dataset, **options):
    """The `scorecard`, or a dict with the reason why there is none under `left_out`."""
    try:
        return scorecard(model, dataset, **options)
    except ValueError as err:
        return {"left_out": {"scorecard": str(err)}}


def table(results):
    """Yield the lines of a table of `evaluation.json`."""
    for name, value in results.items():
        if name == "log_likelihoods":
            yield from ("", _HEADINGS[name], *_rows_of_samples(value))
        elif name == "music":
            yield from ("", *sequences.table(value))
        elif name in _HEADINGS:
            yield from ("", _heading(name, value), *table(value))
        elif name == "column_distances":
            furthest = ", ".join(f"{column} {far:.3f}" for column, far in [*value.items()][:3])
            yield f"{'furthest columns':>36} {furthest}"
        elif name == "delays":
            words = ["not found" if d is None else f"{d:g}" for d in value]
            yield f"{name:>36} {', '.join(words)} (seconds, or steps without times)"
        elif name == "target":
            yield f"{name:>36} {value}"
        elif isinstance(value, list) and name.endswith("_interval"):
            yield f"{'95 % interval':>36} {value[0]:10.4f} to {value[1]:.4f}"
        elif isinstance(value, list | tuple) and value and isinstance(value[0], float):
            numbers = " ".join(f"{number:.2f}" for number in value[:8])
            yield f"{name:>36} {numbers}{' ...' if len(value) > 8 else ''}"
        elif isinstance(value, int | float):
            yield _row(name, value)
    for name, reason in results.get("left_out", {}).items():
        yield f"{name:>36} left out: {reason}"


def _heading(name, value):
    return "Drawn rows judged" if "target" in value else _HEADINGS[name]


def _row(name, value):
    if isinstance(value, int):
        return f"{name:>36} {value:10,}"
    if name == "psnr":
        return f"{name:>36} {value:10.2f} dB"
    if name == "bits_per_dimension":
        return f"{name:>36} {value:10.4f} bits"
    if any(word in name for word in _SHARES) or name in _NUMBERS:
        return f"{name:>36} {value:10.4g}"
    return f"{name:>36} {value:10.2f} nats"


def _rows_of_samples(rows):
    yield f"{'k':>36} {'log p(x)':>10} {'std. error':>11} {'of draws':>9}"
    for row in rows:
        errors = (row["standard_error"], row["monte_carlo_error"])
        texts = ["-" if error is None else f"{error:.4f}" for error in errors]
        numbers = f"{row['num_samples']:>36,} {row['log_likelihood']:10.3f}"
        yield f"{numbers} {texts[0]:>11} {texts[1]:>9}"
