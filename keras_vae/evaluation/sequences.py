"""How well sequences of tokens are modelled, by the step, and what samples sound like."""

from keras_vae.data.notes import Notes
from keras_vae.evaluation import music
from keras_vae.evaluation.terms import evaluate
from keras_vae.training.inputs import check_examples

# Of samples that are compared with the test pieces.
TOKEN_TEMPERATURE = 0.7


def evaluate_sequences(model, inputs, batch_size=256, progress=None):
    """Measure a model of sequences on held-out examples.

    Args:
        model: `SequenceVAE`.
        inputs: Arrays as `fit` takes them.
        batch_size: Int. Examples computed at once.
        progress: As for `evaluate`.

    Returns:
        Dict: `windows`, how many; `bound_per_step` and `reconstruction_per_step`, nats a step, the
        less the better; `kl_loss`, nats an example; and of reconstructions, each token the
        likeliest after those that the model has made itself, `tokens_right` and `onsets_right`:
        the share of all tokens, and of those where a note begins, that are the data's.
    """
    inputs = check_examples(model, inputs)
    x, _ = model.named_inputs(inputs)
    terms = evaluate(model, inputs, batch_size, progress)
    is_step = (x >= 0).any(axis=-1)
    steps = is_step.sum() / len(x)
    right = model.reconstruct(inputs, batch_size) == x
    begins = onsets(model, x)
    return {
        "windows": len(x),
        "bound_per_step": float(-terms["elbo"] / steps),
        "reconstruction_per_step": float(terms["reconstruction_loss"] / steps),
        "kl_loss": terms["kl_loss"],
        "tokens_right": float(right[x >= 0].mean()),
        "onsets_right": float(right[begins].mean()) if begins.any() else None,
    }


def onsets(model, x):
    """Where notes begin in tokens `(n, steps, voices)`, as the schema says, or change."""
    if isinstance(model.schema, Notes):
        return model.schema.onsets(x)
    begins = x >= 0
    begins[:, 1:] &= x[:, 1:] != x[:, :-1]
    return begins


def compare_samples(model, inputs, seed=0):
    """What a listener notices of samples, and of the examples whose conditions they have.

    Args:
        model: `SequenceVAE`.
        inputs: Arrays as `fit` takes them.
        seed: Int, of the samples.

    Returns:
        Dict of `samples`, at a token temperature of 0.7, and `test_pieces`, each what
        `music.statistics` gives; {} of a model whose tokens are no notes.
    """
    schema = model.schema
    if not isinstance(schema, Notes):
        return {}
    x, conditions = model.named_inputs(check_examples(model, inputs))
    made = model.sample(
        conditions or None, seed=seed, count=len(x), token_temperature=TOKEN_TEMPERATURE
    )
    pieces = {"samples": made, "test_pieces": x}
    return {
        name: music.statistics(
            schema.pitches(schema.together(tokens, conditions)), schema.steps_per_beat
        )
        for name, tokens in pieces.items()
    }


def table(found):
    """Yield the lines of a table of `evaluate_sequences` and `compare_samples`, by name."""
    yield from _columns(found, {"test": "test windows", "new_melody": "new melodies"})
    samples = {"samples": f"samples at {TOKEN_TEMPERATURE}", "test_pieces": "test pieces"}
    if "samples" in found:
        yield ""
        yield from _columns(found, samples)


def _columns(found, headings):
    names = [name for name in headings if name in found]
    yield " ".join([f"{'':>36}", *(f"{headings[name]:>15}" for name in names)])
    for row in found[names[0]]:
        values = [found[name][row] for name in names]
        yield " ".join([f"{row:>36}", *(f"{_cell(value):>15}" for value in values)])


def _cell(value):
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
