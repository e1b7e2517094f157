"""Sequences: the decoder's two faces, densities that add up to one, draws, and what is refused."""

import itertools
import random

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import distributions, likelihoods, networks, portable_random, replica
from tests.conftest import ordinary_on

STEPS, VOICES, TOKENS, LATENT = 8, 3, 5, 4
RNG = np.random.default_rng(0)
X = RNG.integers(0, TOKENS, (16, STEPS, VOICES)).astype("int8")
MELODY = RNG.integers(0, 7, (16, STEPS)).astype("int32")  # 6 is unknown
LABEL = (np.arange(16) % 3).astype("int32")
CONDITION = {"melody": keras_vae.Sequence(STEPS, 6), "label": keras_vae.Categorical(3)}
INPUTS = {"x": X, "melody": MELODY, "label": LABEL}
DECODERS = {
    "causal": lambda shape=(STEPS, VOICES), tokens=TOKENS, **options: networks.CausalDecoder(
        shape, tokens, 6, dilations=(1, 2), **options
    ),
    "gru": lambda shape=(STEPS, VOICES), tokens=TOKENS, **options: networks.GRUDecoder(
        shape, tokens, 6, units=7, **options
    ),
    "notes": lambda shape=(STEPS, VOICES), tokens=TOKENS, **options: networks.NotesDecoder(
        shape, tokens, 60, 6, 7, 5, voice_units=4, steps_per_beat=shape[0] // 2, **options
    ),
    "conductor": lambda shape=(STEPS, VOICES), tokens=TOKENS, **options: networks.ConductorDecoder(
        shape, tokens, 6, units=7, segment=shape[0] // 2, **options
    ),
}
# JAX compiles every step of each.
each_decoder = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind == "notes" else ordinary_on("tensorflow", "torch"))
        for kind in DECODERS
    ],
)


def shaken(model):
    """Weights far from those that a network begins with, so that the past and the code count."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(ops.convert_to_numpy(weight) + 0.3 * rng.standard_normal(weight.shape))
    return model


def make_model(kind="causal", condition=None, **options):
    random.seed(1)
    own = {name: options.pop(name) for name in ("past_dropout",) if name in options}
    encoder = networks.SequenceEncoder(LATENT, TOKENS, 6, 2, 8)
    model = keras_vae.SequenceVAE(encoder, DECODERS[kind](**own), condition, seed=3, **options)
    model.compile(keras.optimizers.Adam(1e-2))
    return model


def built(kind="causal", condition=None, **options):
    model = make_model(kind, condition, **options)
    model.build()
    return shaken(model)


def plan_of(model, rows=16):
    conditions = {"melody": MELODY[:rows], "label": LABEL[:rows]} if model.condition else {}
    vector = model.condition_vectors(conditions)
    z = ops.convert_to_tensor(RNG.standard_normal((rows, LATENT)).astype("float32"))
    return model.decoder(z if vector is None else [z, ops.convert_to_tensor(vector)])


@ordinary_on("tensorflow", "torch")
@each_decoder
def test_one_step_after_the_other_is_all_steps_at_once(kind):
    model = built(kind, CONDITION)
    decoder, plan = model.decoder, plan_of(model)
    at_once = ops.convert_to_numpy(decoder.logits(plan, X))
    tokens = ops.convert_to_tensor(X.astype("int32"))
    memory, past = decoder.begin(plan), tokens[:, 0] * 0 - 1
    before = past
    for step in range(STEPS):
        plan_now = plan[:, step]
        features = decoder.past_features(plan_now, past, before)
        h, memory = decoder.advance(memory, plan_now, features, step)
        state = decoder.voices.from_state(h)
        for voice in range(VOICES):
            above = tokens[:, step, :voice]
            logits = decoder.voice_logits(state, plan_now, past, above, voice)
            error = np.abs(ops.convert_to_numpy(logits) - at_once[:, step, voice]).max()
            assert error < 2e-5  # measured: 3e-6 of logits up to 15
        past, before = tokens[:, step], past


@ordinary_on("torch")
@each_decoder
def test_probabilities_of_all_sequences_add_up_to_one(kind):
    shape, tokens = (2, 2), 3
    decoder = DECODERS[kind](shape, tokens)
    z = ops.convert_to_tensor(RNG.standard_normal((1, LATENT)).astype("float32"))
    decoder(z)
    shaken(decoder)
    every = np.array(list(itertools.product(range(tokens), repeat=4))).reshape(-1, *shape)
    plan = ops.repeat(decoder(z), len(every), axis=0)
    log_prob = ops.convert_to_numpy(distributions.TokenSequence(decoder, plan).log_prob(every))
    np.testing.assert_allclose(np.exp(log_prob.astype("f8")).sum(), 1, atol=2e-6)
    # The draws have these probabilities.
    count = 4000
    sample = distributions.TokenSequence(decoder, plan[:1]).sample(seed=1, shape=(count,))
    drawn = ops.convert_to_numpy(sample).reshape(count, -1)
    index = drawn @ (tokens ** np.arange(3, -1, -1))
    expected = count * np.exp(log_prob.astype("f8"))
    found = np.bincount(index, minlength=len(every))
    often = expected > 5
    chi_square = np.sum((found - expected)[often] ** 2 / expected[often])
    # Five standard deviations of a chi-square over its mean.
    assert chi_square < often.sum() + 5 * np.sqrt(2 * often.sum())
    # At a temperature of 0 the likeliest token follows.
    best = ops.convert_to_numpy(distributions.TokenSequence(decoder, plan[:1]).mean())[0]
    logits = ops.convert_to_numpy(decoder.logits(plan[:1], best[None]))[0]
    np.testing.assert_array_equal(logits.argmax(-1), best)


@ordinary_on("torch")
def test_logits_are_those_of_the_formula():
    """Restated in NumPy: padded convolutions, and a head for each voice."""
    model = built("causal")
    decoder, rows = model.decoder, 4
    z = RNG.standard_normal((rows, LATENT)).astype("float32")

    def dense(layer, h):
        kernel, *bias = (ops.convert_to_numpy(w).astype("f8") for w in layer.weights)
        return h @ kernel + (bias[0] if bias else 0)

    def relu(h):
        return np.maximum(h, 0)

    def block(layer, h):
        a, made = relu(h), np.zeros_like(h)
        kernel, bias = (ops.convert_to_numpy(w).astype("f8") for w in layer.convolution.weights)
        taps = kernel.reshape(3, -1, kernel.shape[1])
        offsets = (-2, -1, 0) if layer.causal else (-1, 0, 1)
        for at in range(h.shape[1]):
            for tap, offset in zip(taps, offsets, strict=True):
                seen = at + offset * layer.dilation
                if 0 <= seen < h.shape[1]:
                    made[:, at] += a[:, seen] @ tap
        return h + dense(layer.out, relu(made + bias))

    h = dense(decoder.first, z).reshape(rows, STEPS // 4, -1)
    for layer in decoder.coarse_blocks:
        h = block(layer, h)
    plan = np.repeat(h, 4, axis=1) + ops.convert_to_numpy(decoder.place)
    seen = np.eye(TOKENS)[X[:rows]]
    past = np.zeros((rows, STEPS, VOICES * TOKENS))
    past[:, 1:] = seen[:, :-1].reshape(rows, STEPS - 1, -1)
    past = dense(decoder.embedding, past)
    h = plan + past
    for layer in decoder.past_blocks:
        h = block(layer, h)
    state = dense(decoder.voices.from_state, np.concatenate([relu(h), past], axis=-1))
    width = decoder.voice_units
    for voice in range(VOICES):
        h = state[..., voice * width : (voice + 1) * width]
        for above in range(voice):
            kernel = ops.convert_to_numpy(decoder.voices.from_above[voice - 1].kernel)
            h = h + seen[:, :, above] @ kernel[above * TOKENS : (above + 1) * TOKENS]
        h = dense(decoder.voices.outs[voice], relu(dense(decoder.voices.hidden[voice], relu(h))))
        found = decoder.logits(decoder(ops.convert_to_tensor(z)), X[:rows])
        # Measured: 4e-6, of logits up to 15.
        np.testing.assert_allclose(ops.convert_to_numpy(found)[:, :, voice], h, atol=3e-5)


def notes_model(**options):
    """A harmoniser: the melody is a voice above those that it makes."""
    random.seed(1)
    shape, tokens = (STEPS, 2), 6
    encoder = networks.NotesEncoder(4, tokens, 60, STEPS, 6, 8, given=1)
    decoder = networks.NotesDecoder(shape, tokens, 60, 6, 7, 5, given=1, voice_units=4, **options)
    condition = {"melody": keras_vae.Sequence(STEPS, tokens), "label": keras_vae.Categorical(3)}
    model = keras_vae.SequenceVAE(encoder, decoder, condition, seed=3)
    model.compile(keras.optimizers.Adam(1e-2))
    return model


@ordinary_on("torch")
def test_a_harmoniser_hears_the_melody_alike_in_both_faces():
    model = notes_model()
    model.build()
    decoder, melody = shaken(model).decoder, np.minimum(MELODY, 6)
    vector = model.condition_vectors({"melody": melody, "label": LABEL})
    z = RNG.standard_normal((16, 4)).astype("float32")
    plan = decoder([ops.convert_to_tensor(z), ops.convert_to_tensor(vector)])
    x = RNG.integers(0, 6, (16, STEPS, 2)).astype("int32")
    at_once = ops.convert_to_numpy(decoder.logits(plan, x))
    tokens = ops.convert_to_tensor(x)
    memory, past = decoder.begin(plan), tokens[:, 0] * 0 - 1
    before = past
    for step in range(STEPS):
        features = decoder.past_features(plan[:, step], past, before)
        h, memory = decoder.advance(memory, plan[:, step], features, step)
        state = decoder.voices.from_state(h)
        for voice in range(2):
            above = tokens[:, step, :voice]
            logits = decoder.voice_logits(state, plan[:, step], past, above, voice)
            error = np.abs(ops.convert_to_numpy(logits) - at_once[:, step, voice]).max()
            assert error < 3e-5  # measured: 4e-6 of logits up to 20
        past, before = tokens[:, step], past
    # What is given is read back out of the plan; 6 is unknown.
    found = ops.convert_to_numpy(plan)[..., -3:]
    known = np.where(melody == 6, -1, melody)
    np.testing.assert_array_equal(found[..., 0], known)
    np.testing.assert_array_equal(found[:, 2:, 2], known[:, :-2])


@ordinary_on("torch")
def test_notes_are_heard_as_a_musician_does():
    decoder = networks.NotesDecoder((8, 2), 25, 60, 4, 4, 4, voice_units=4)
    decoder(ops.zeros((1, 4)))
    # C and G, then D and A: a fifth, and the same fifth a tone higher.
    before, now = np.array([[[8, 1]]]), np.array([[[10, 3]]])
    found = decoder.step_features(*map(ops.convert_to_tensor, (now, before)))
    parts = np.split(ops.convert_to_numpy(found)[0, 0], [25, 50, 75, 88, 101, 129])
    upper, lower, both, classes, interval, *motions = (np.flatnonzero(part) for part in parts)
    assert (upper, lower, interval) == (10, 3, 7)
    assert both.tolist() == [3, 10]
    assert classes.tolist() == [2, 9]  # D and A
    assert [int(motion[0]) - 13 for motion in motions] == [2, 2]
    # A rest has neither, and a note that is struck again is its pitch.
    silent = decoder.step_features(*map(ops.convert_to_tensor, (now * 0, before)))
    parts = np.split(ops.convert_to_numpy(silent)[0, 0], [25, 50, 75, 88, 101, 129])
    assert [np.flatnonzero(part)[0] for part in parts] == [0, 0, 0, 12, 12, 27, 27]
    again = networks.NotesDecoder((8, 2), 49, 60, 4, 4, 4, repeats=True, voice_units=4)
    notes = ops.convert_to_numpy(again.sounding(ops.convert_to_tensor(np.array([0, 24, 25, 48]))))
    assert notes.tolist() == [0, 24, 1, 24]


@ordinary_on("torch")
def test_a_move_from_the_last_note_is_an_answer():
    """Of the logits of moves alone, up a tone from token 5 is token 7; from a rest nothing is."""
    decoder = networks.NotesDecoder((8, 1), 25, 60, 4, 4, 4, voice_units=4)
    decoder(ops.zeros((1, 4)))
    for layer in (decoder.voices.outs[0], decoder.voices.moves[0]):
        for weight in layer.weights:
            weight.assign(np.zeros(weight.shape))
    bias = np.zeros(31, "float32")
    bias[15 + 2] = 3.0
    decoder.voices.moves[0].bias.assign(bias)
    x = np.zeros((1, 8, 1), "int32")
    x[0, 2:4, 0] = 5, 24
    logits = ops.convert_to_numpy(decoder.logits(decoder(ops.zeros((1, 4))), x))[0, :, 0]
    assert np.flatnonzero(logits[3]).tolist() == [7]
    assert logits[3, 7] == 3
    assert not logits[2].any()  # after a rest
    assert not logits[4].any()  # there is no token 26


@ordinary_on("torch")
def test_networks_of_notes_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"^`latent_dim` must be a multiple of the 2 beats"):
        networks.NotesEncoder(5, 6, 60, 8)
    with pytest.raises(ValueError, match=r"^`steps_per_beat` must divide the 8 steps"):
        networks.NotesDecoder((8, 2), 6, 60, steps_per_beat=3)
    decoder = networks.NotesDecoder((8, 2), 6, 60, given=1)
    with pytest.raises(ValueError, match=r"^`given` must be at most the number of conditions"):
        decoder.build((None, 4))


@ordinary_on("torch")
def test_steps_beyond_the_end_count_nothing_and_change_nothing():
    model = built(condition=CONDITION)
    plan = plan_of(model)
    x = X.copy()
    x[:, 5:] = -1
    sequence = distributions.TokenSequence(model.decoder, plan)
    by_value = ops.convert_to_numpy(sequence.log_prob_by_value(x)).reshape(16, STEPS, VOICES)
    whole = ops.convert_to_numpy(sequence.log_prob_by_value(X)).reshape(16, STEPS, VOICES)
    np.testing.assert_array_equal(by_value[:, 5:], 0)
    np.testing.assert_allclose(by_value[:, :5], whole[:, :5], atol=1e-5)
    assert (whole <= 0).all()


@ordinary_on("torch")
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_tokens_are_tokens_in_any_dtype(dtype):
    settings = {"batch_size": 8, "verbose": 0, "return_dict": True}
    expected = make_model().evaluate(X, **settings)
    assert make_model().evaluate(X.astype(dtype), **settings) == expected
    batches = keras_batches(X.astype(dtype))
    found = make_model().evaluate(batches, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def keras_batches(x):
    """Batches that nobody checked: a dataset."""

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return (x[8 * index : 8 * index + 8],)

    return Batches()


@ordinary_on("torch")
def test_a_token_out_of_range_in_a_dataset_is_told():
    x = X.copy()
    x[3, 2, 1] = TOKENS
    with pytest.raises(ValueError, match=r"outside of the autoregressive likelihood's \[-1, 4\]"):
        make_model().evaluate(keras_batches(x), verbose=0)


@ordinary_on("torch")
def test_total_free_bits_hold_for_the_sum_of_the_dimensions():
    losses = {}
    for free in (0.0, 1.0, 50.0):
        model = make_model(total_free_bits=free)
        losses[free] = model.evaluate(X, verbose=0, return_dict=True)
    kl = losses[0.0]["kl_loss"]
    assert 0 < kl < 1
    for free, found in losses.items():
        assert found["kl_loss"] == pytest.approx(kl, rel=1e-5)
        counted = found["loss"] - found["reconstruction_loss"]
        assert counted == pytest.approx(max(free, kl), rel=1e-4)


@ordinary_on("torch")
def test_free_bits_of_both_kinds_are_refused():
    with pytest.raises(ValueError, match=r"^One of `free_bits` and `total_free_bits` must be 0"):
        make_model(free_bits=1.0, total_free_bits=2.0)


@ordinary_on("torch")
def test_the_past_is_hidden_in_training_alone():
    model = built(past_dropout=0.5)
    plan = plan_of(model)
    with_past = ops.convert_to_numpy(model.decoder.logits(plan, X))
    np.testing.assert_array_equal(ops.convert_to_numpy(model.decoder.logits(plan, X)), with_past)
    hidden = ops.convert_to_numpy(model.decoder.logits(plan, X, training=True))
    again = ops.convert_to_numpy(model.decoder.logits(plan, X, training=True))
    assert (hidden != with_past).any()
    assert (hidden != again).any()
    np.testing.assert_array_equal(hidden[:, 0], with_past[:, 0])  # which has no past


@ordinary_on("torch")
def test_notes_slip_by_a_tone_at_most_and_stay_notes():
    decoder = networks.NotesDecoder((8, 2), 49, 60, 4, 4, 4, repeats=True, voice_units=4)
    moved = {
        5: [3, 4, 6, 7, 5, 5],
        1: [1, 1, 2, 3, 1, 1],  # the lowest pitch
        24: [22, 23, 24, 24, 24, 24],  # the highest
        25: [25, 25, 26, 27, 25, 25],  # the lowest, struck again
        40: [38, 39, 41, 42, 40, 40],
        0: [0] * 6,  # a rest
        -1: [-1] * 6,  # hidden, or beyond the end
    }
    tokens = np.repeat(np.array(list(moved), "int32")[:, None], 6, axis=1)
    numbers = np.tile(np.array([0.0, 0.3, 0.6, 0.9, 1.0, 7.0], "float32"), (len(moved), 1))
    found = decoder.slipped(ops.convert_to_tensor(tokens), ops.convert_to_tensor(numbers))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), list(moved.values()))


@ordinary_on("torch")
def test_notes_of_the_past_slip_in_training_alone():
    model = notes_model(past_noise=0.3)
    model.build()
    decoder = shaken(model).decoder
    middle = ops.convert_to_tensor(np.full((400, STEPS, 2), 3, "int32"))
    seen = ops.convert_to_numpy(decoder.past_in_training(middle))
    shares = np.bincount(seen.ravel(), minlength=6) / seen.size
    expected = np.array([0, 0.075, 0.075, 0.7, 0.075, 0.075])
    assert (np.abs(shares - expected) <= 4.5 * np.sqrt(expected * (1 - expected) / seen.size)).all()
    vector = model.condition_vectors({"melody": np.minimum(MELODY, 6), "label": LABEL})
    plan = decoder([ops.zeros((16, 4)), ops.convert_to_tensor(vector)])
    x = RNG.integers(1, 6, (16, STEPS, 2)).astype("int32")
    calm, again, slipped = (
        ops.convert_to_numpy(decoder.logits(plan, x, training=training))
        for training in (False, False, True)
    )
    np.testing.assert_array_equal(calm, again)
    np.testing.assert_array_equal(slipped[:, 0], calm[:, 0])  # which has no past
    assert (slipped[:, 1:] != calm[:, 1:]).any()


@ordinary_on("torch")
def test_a_share_of_the_examples_is_decoded_from_the_prior():
    """The others from their posterior, and all of them in evaluation."""
    model = built(condition=CONDITION, prior_share=0.3)
    vector = ops.convert_to_tensor(model.condition_vectors({"melody": MELODY, "label": LABEL}))
    shares = []
    for training in (True, True, True, True, False):
        outputs = model(INPUTS, draw=True, training=training)
        of_posterior = ops.convert_to_numpy(model.decoder([outputs["z"], vector]))
        apart = np.abs(ops.convert_to_numpy(outputs["parameters"]) - of_posterior).max(axis=(1, 2))
        is_other = apart > 0.05
        assert (apart[~is_other] < 1e-4).all()
        shares.append(is_other.mean())
    assert shares.pop() == 0
    assert abs(np.mean(shares) - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / 64)
    again = keras_vae.SequenceVAE.from_config(model.get_config())
    assert again.prior_share == 0.3
    assert "prior_share" not in make_model().get_config()


@ordinary_on("torch")
def test_codes_of_the_prior_are_those_of_each_examples_condition():
    prior, objective = keras_vae.priors.ConditionalNormal(), keras_vae.objectives.ELBO(2)
    condition = {"label": keras_vae.Categorical(3)}
    model = built("causal", condition, prior=prior, objective=objective, prior_share=0.99)
    rows = 600
    label = (np.arange(rows) % 3).astype("int32")
    vector = ops.convert_to_tensor(model.condition_vectors({"label": label}))
    far = ops.full((2 * rows, LATENT), 1e3)
    z = ops.convert_to_numpy(model._decoded_code(far, vector, training=True))
    is_prior = z[:, 0] < 500
    assert abs(is_prior.mean() - 0.99) < 4.5 * np.sqrt(0.99 * 0.01 / len(z))
    np.testing.assert_array_equal(z[~is_prior], 1e3)
    p = model.prior(vector[:3])
    loc, scale = (ops.convert_to_numpy(t) for t in (p.loc, ops.exp(p.log_var / 2)))
    for value in range(3):
        noise = (z[is_prior & (np.tile(label, 2) == value)] - loc[value]) / scale[value]
        assert (np.abs(noise.mean(axis=0)) < 4.5 / np.sqrt(len(noise))).all()
        assert (np.abs(noise.var(axis=0) - 1) < 4.5 * np.sqrt(2 / len(noise))).all()


@ordinary_on("torch")
def test_replicas_decode_the_codes_that_one_device_would():
    model = built(prior_share=0.5)
    state, z = model.prior_codes_generator.state, ops.zeros((16, LATENT))
    begin = ops.convert_to_numpy(state)

    def decoded(z, part):
        state.assign(begin)
        with replica.working_on(part):
            return ops.convert_to_numpy(model._decoded_code(z, None, training=True))

    parts = [replica.OneOfSeveral(8, start, 16) for start in (0, 8)]
    expected = decoded(z, None)
    assert 0 < (expected == 0).all(axis=1).sum() < 16
    np.testing.assert_array_equal(np.concatenate([decoded(z[:8], p) for p in parts]), expected)


@ordinary_on("torch")
def test_codes_of_the_prior_are_refused_where_they_would_be_wrong():
    for objective in ("iwae", keras_vae.objectives.ELBO(gradient="score_function")):
        with pytest.raises(ValueError, match=r"^`prior_share` above 0 needs the reparameterized"):
            make_model(objective=objective, prior_share=0.2)
    with pytest.raises(ValueError, match=r"^`prior_share` above 0 needs a prior to draw from"):
        make_model(prior=keras_vae.priors.VampPrior(), prior_share=0.2)
    with pytest.raises(ValueError, match=r"^`prior_share` must be"):
        make_model(prior_share=1.0)


@ordinary_on("torch")
@each_decoder
def test_samples_are_those_of_the_seed_whatever_their_number(kind):
    model = built(kind, CONDITION)
    conditions = {"melody": MELODY[:5], "label": LABEL[:5]}
    five = model.sample(conditions, seed=4)
    assert five.shape == (5, STEPS, VOICES)
    assert five.dtype == np.int32
    assert five.min() >= 0
    assert five.max() < TOKENS
    two = model.sample({"melody": MELODY[:2], "label": LABEL[:2]}, seed=4)
    np.testing.assert_array_equal(two, five[:2])
    one = model.sample({"melody": MELODY[0], "label": 0}, seed=4)
    np.testing.assert_array_equal(one, five[:1])
    assert (model.sample(conditions, seed=5) != five).any()
    cold = [model.sample(conditions, seed=s, temperature=0, token_temperature=0) for s in (4, 5)]
    np.testing.assert_array_equal(*cold)


@ordinary_on("torch")
def test_a_model_without_conditions_takes_a_count():
    model = built()
    three = model.sample(3, seed=2)
    np.testing.assert_array_equal(three, model.sample(count=3, seed=2))
    with pytest.raises(ValueError, match=r"^This model has no conditions"):
        model.sample({"melody": MELODY})


@ordinary_on("torch")
def test_dropout_is_of_training_alone_and_keeps_the_mean():
    encoder = networks.SequenceEncoder(LATENT, TOKENS, 6, 2, 8, dropout=0.5, seed=1)
    calm, again = (ops.convert_to_numpy(encoder(X)[0]) for _ in range(2))
    np.testing.assert_array_equal(calm, again)
    assert (ops.convert_to_numpy(encoder(X, training=True)[0]) != calm).any()
    h = ops.ones((4000, 3, 2))
    dropped = ops.convert_to_numpy(encoder.drop_in(True)(h))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    np.testing.assert_array_equal(dropped[:, :1], dropped[:, 1:2])  # of all steps together
    assert abs(dropped.mean() - 1) < 4.5 / np.sqrt(8000)
    decoder = DECODERS["causal"](dropout=0.5, seed=2)
    plan = ops.repeat(decoder(ops.ones((1, LATENT))), 16, axis=0)
    calm = ops.convert_to_numpy(decoder.logits(plan, X))
    np.testing.assert_array_equal(calm, ops.convert_to_numpy(decoder.logits(plan, X)))
    assert (ops.convert_to_numpy(decoder.logits(plan, X, training=True)) != calm).any()


@ordinary_on("torch")
def test_what_is_asked_for_reaches_every_step():
    """Of a melody the last step alone changes what the first steps are likely to be."""
    model = built(condition=CONDITION)
    other = MELODY.copy()
    other[:, 3] = (other[:, 3] + 1) % 6
    plans = [
        model.decoder(
            [ops.zeros((16, LATENT)), model.condition_vectors({"melody": m, "label": LABEL})]
        )
        for m in (MELODY, other)
    ]
    changed = np.abs(ops.convert_to_numpy(plans[0]) - ops.convert_to_numpy(plans[1])).max((0, 2))
    assert (changed > 0).all()


def test_uniforms_are_the_same_bits_everywhere():
    index, seed = np.arange(3, dtype="int32"), np.array([7], "int32")
    numbers = portable_random.uniforms(seed, index, 4, 5)
    tensors = portable_random.uniforms(
        ops.convert_to_tensor(seed), ops.convert_to_tensor(index), 4, 5, ops
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(tensors), numbers)
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers * 2**24 % 2, 1)  # exact, and never 0 or 1
    high, low = portable_random.words(7, 2, 4 + 3)
    assert numbers[2, 3] == (high * 128 + low // 512 + 0.5) / 2**23
    many = portable_random.uniforms(seed, np.arange(4000, dtype="int32"), 64, 20)
    assert abs(many.mean() - 0.5) < 4.5 / np.sqrt(12 * many.size)
    with pytest.raises(ValueError, match=r"^The portable generator draws 4095 numbers"):
        portable_random.uniforms(seed, index, 64, 4032)


def test_the_margin_is_the_distance_to_the_nearest_border():
    logits = np.log([[0.2, 0.5, 0.3]]).astype("float32")

    def drawn(uniform, temperature):
        made = networks.arithmetic.draw(
            ops.convert_to_tensor(logits),
            ops.convert_to_tensor(np.array([uniform], "float32")),
            ops.convert_to_tensor(np.array([temperature], "float32")),
        )
        return [float(ops.convert_to_numpy(m)[0]) for m in made]

    np.testing.assert_allclose(drawn(0.1, 1.0), [0, 0.1], atol=1e-6)
    np.testing.assert_allclose(drawn(0.25, 1.0), [1, 0.05], atol=1e-6)
    np.testing.assert_allclose(drawn(0.99, 1.0), [2, 0.29], atol=1e-6)
    # Squared and normalised, they are 4, 25 and 9 of 38.
    np.testing.assert_allclose(drawn(0.5, 0.5), [1, 0.5 - 4 / 38 - 29 / 38 + 0.5], atol=0.3)
    np.testing.assert_allclose(drawn(0.99, 0.0), [1, 0.2], atol=1e-6)


@ordinary_on("torch")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:, :7]}, r"^`x` must have the shape \(n, 8, 3\)"),
        ({"x": X + TOKENS}, "^`x` must be tokens from 0 to 4, or -1 where there is no step"),
        ({"x": X + 0.5}, "^`x` must be whole numbers, tokens"),
        ({"melody": MELODY[:, :5]}, r"^`melody` must have the shape \(n, 8\), a value a step"),
        ({"melody": MELODY - 1}, "^`melody` must be from 0 to 5, or 6 for unknown"),
        ({"melody": MELODY / 2}, "^`melody` must be whole numbers"),
        ({"melody": MELODY[:3]}, "^`melody` must hold one value per example"),
    ],
)
def test_bad_input_gets_one_line(change, message):
    model = make_model(condition=CONDITION)
    with pytest.raises(ValueError, match=message) as error:
        model.evaluate({**INPUTS, **change}, verbose=0)
    assert "\n" not in str(error.value)


@ordinary_on("torch")
def test_bad_arguments_get_one_line():
    encoder = networks.SequenceEncoder(LATENT, TOKENS)
    with pytest.raises(ValueError, match=r"^`decoder` must be a networks.SequenceDecoder"):
        keras_vae.SequenceVAE(encoder, networks.DenseDecoder((STEPS, VOICES)))
    with pytest.raises(ValueError, match=r"^`SequenceVAE` takes no `likelihood`"):
        keras_vae.SequenceVAE(encoder, DECODERS["causal"](), likelihood="bernoulli")
    with pytest.raises(ValueError, match=r"^`segment` must divide the 8 steps"):
        networks.ConductorDecoder((8, 2), 3, segment=3)
    with pytest.raises(ValueError, match=r"^`output_shape` must be \(steps, voices\)"):
        networks.CausalDecoder((8,), 3)
    model = make_model()
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"^`token_temperature` must be a number of at least"):
            model.sample(token_temperature=wrong)


@ordinary_on("torch")
def test_a_piece_is_learnt_by_heart():
    """One piece, many steps: its reconstruction is itself."""
    model = make_model()
    x = np.repeat(X[:1], 16, axis=0)
    model.fit(x, epochs=60, batch_size=16, verbose=0)
    np.testing.assert_array_equal(model.reconstruct(x[:1]), x[:1])
    assert model.evaluate(x, verbose=0, return_dict=True)["reconstruction_loss"] < 3


@ordinary_on("torch")
def test_the_likelihood_is_the_decoders():
    model = built()
    assert isinstance(model.likelihood, likelihoods.Autoregressive)
    assert model.likelihood.decoder is model.decoder
    weights = [w.path for w in model.weights]
    assert len(weights) == len(set(weights))
