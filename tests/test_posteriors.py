"""Posteriors against the definitions in float64: densities, KL divergences, likelihoods."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

import keras_vae
from keras_vae import objectives, posteriors, priors
from keras_vae.layers import Sampling
from keras_vae.models import vae as vae_module
from keras_vae.networks import (
    ConvEncoder,
    ConvLadderDecoder,
    ConvLadderEncoder,
    DenseDecoder,
    DenseEncoder,
    LadderDecoder,
    LadderEncoder,
)
from tests import oracles
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

SHAPE = (6, 5, 1)
RNG = np.random.default_rng(0)
DIMS, UNITS = (4, 3, 2), (8, 7, 6)


def numpy(tensor):
    return ops.convert_to_numpy(tensor).astype("f8")


# The full covariance


@pytest.fixture
def heads():
    """Of 16 examples: means, log-variances and triangles of a code of four entries."""
    sizes = (4, 4, 6)
    return tuple(ops.convert_to_tensor(RNG.normal(size=(16, n)).astype("f4")) for n in sizes)


def covariances(heads):
    """Mean `(4,)` and covariance of each example, from the definition."""
    for mean, log_var, triangle in zip(*map(numpy, heads), strict=True):
        factor = np.diag(np.exp(log_var / 2))
        factor[np.tril_indices(4, -1)] = triangle
        yield mean, factor @ factor.T


def test_a_full_covariance_draw_has_its_density(heads):
    posterior = posteriors.get("full_covariance")
    q = posterior(heads)
    z, given = q.draw(Sampling(seed=1), 2)
    z = ops.reshape(z, (2, 16, 4))
    found = [numpy(each.log_prob(z)) for each in (given, q)]
    z = numpy(z)
    expected = [
        [
            scipy.stats.multivariate_normal.logpdf(z[k, i], *q)
            for i, q in enumerate(covariances(heads))
        ]
        for k in range(2)
    ]
    # Measured: 2e-6.
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)


def test_the_full_covariance_kl_is_exact(heads):
    posterior = posteriors.get("full_covariance")
    q = posterior(heads)
    z, given = q.draw(Sampling(seed=1), 2)
    z = ops.reshape(z, (2, 16, 4))
    prior_mean, scale = RNG.normal(size=4), RNG.uniform(0.5, 2, 4)
    expected, of_other = [], []
    for mean, covariance in covariances(heads):
        for kls, m, s in ((expected, 0.0, 1.0), (of_other, prior_mean, scale)):
            ratio = covariance / np.outer(s, s) if np.ndim(s) else covariance
            shift = np.sum(((mean - m) / s) ** 2)
            kls.append((np.trace(ratio) + shift - 4 - np.linalg.slogdet(ratio)[1]) / 2)
    normal = priors.StandardNormal()
    # Measured: 3e-7.
    np.testing.assert_allclose(numpy(q.kl(normal(), z, given)), expected, rtol=2e-6)
    nats = numpy(q.kl_by_value(normal()))
    assert nats.min() > 0
    np.testing.assert_allclose(nats.sum(axis=1), expected, rtol=2e-6)
    other = priors.FittedMixture.of(prior_mean[None, None], scale[None, None], np.ones((1, 1)))
    np.testing.assert_allclose(numpy(q.kl(other(), z, given)), of_other, rtol=2e-6)


def test_the_full_covariance_kl_from_a_mixture_is_right_on_average(heads):
    means, variances, weights = (
        RNG.normal(size=(3, 4)),
        RNG.uniform(0.3, 2, (3, 4)),
        (0.2, 0.5, 0.3),
    )
    prior = priors.FittedMixture.of(means[None], np.sqrt(variances)[None], np.array([weights]))
    posterior, draws = posteriors.get("full_covariance"), 4000
    one = tuple(head[:1] for head in heads)
    codes, given = posterior(one).draw(Sampling(seed=1), draws)
    codes = ops.reshape(codes, (draws, 1, 4))
    [(mean, covariance)] = covariances(one)
    q = scipy.stats.multivariate_normal(mean, covariance)
    z = q.rvs(100_000, random_state=0)
    ratio = q.logpdf(z) - oracles.mixture_log_density(z, means, variances, weights)
    error = ratio.std() * np.sqrt(1 / draws + 1 / len(z))
    for kl in (posterior(one).kl(prior(), codes), posterior(one).kl(prior(), codes, given)):
        assert abs(numpy(kl)[0] - ratio.mean()) < 4 * error


def test_one_sample_gives_the_likelihood_of_a_linear_model_with_its_true_posterior():
    """x = W z + b + noise: the posterior is a Gaussian that no diagonal one equals."""
    scale, size, latent = 0.5, 6, 3
    kernel, bias = RNG.normal(size=(latent, size)), RNG.normal(size=size)
    covariance = np.linalg.inv(np.eye(latent) + kernel @ kernel.T / scale**2)
    factor = np.linalg.cholesky(covariance)
    to_mean = kernel.T @ covariance / scale**2
    model = keras_vae.VAE(
        DenseEncoder(latent, ()),
        DenseDecoder((size,), ()),
        likelihood=keras_vae.likelihoods.Gaussian(scale),
        posterior="full_covariance",
    )
    model.build()
    encoder, zeros = model.encoder, np.zeros((size, latent))
    encoder.z_mean.set_weights([to_mean, -bias @ to_mean])
    encoder.z_log_var.set_weights([zeros, 2 * np.log(np.diag(factor))])
    encoder.triangle.set_weights([zeros, factor[np.tril_indices(latent, -1)]])
    model.decoder.outputs_dense.set_weights([kernel, bias])
    x = RNG.normal(size=(20, size)).astype("f4")
    evidence = scipy.stats.multivariate_normal(bias, kernel.T @ kernel + scale**2 * np.eye(size))
    found = model.log_likelihood(x, num_samples=1, seed=0)
    # Measured: 3e-6 nats, of 5 to 30.
    np.testing.assert_allclose(found, evidence.logpdf(x.astype("f8")), rtol=0, atol=2e-5)
    # Of what `encode` gives, the log-variances are those of each entry by itself.
    _, z_log_var = model.encode(x)
    np.testing.assert_allclose(np.exp(z_log_var[0]), np.diag(covariance), rtol=1e-5)


def test_fit_prior_draws_correlated_codes(monkeypatch):
    found = []

    def fit(codes, *arguments, **settings):
        found.append(codes)
        return priors.StandardNormal()

    monkeypatch.setattr(vae_module.fitted, "fit", fit)
    model = keras_vae.VAE(DenseEncoder(2, ()), DenseDecoder((3,), ()), posterior="full_covariance")
    model.build()
    for head in (model.encoder.z_mean, model.encoder.z_log_var, model.encoder.triangle):
        head.kernel.assign(np.zeros(head.kernel.shape))
    model.encoder.triangle.bias.assign([3.0])
    model.fit_prior(np.zeros((4000, 3), "f4"), seed=0)
    # The standard error of the covariance is 0.05.
    np.testing.assert_allclose(np.cov(found[0].T), [[1, 3], [3, 10]], rtol=0, atol=0.7)
    np.testing.assert_allclose(np.corrcoef(found[0].T)[0, 1], 3 / np.sqrt(10), atol=0.01)


class OtherHeads(keras.Model):
    """An encoder of a user's own."""

    def __init__(self, *sizes):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.layers_of_heads = [keras.layers.Dense(size) for size in sizes]

    def call(self, x):
        return [head(self.flatten(x)) for head in self.layers_of_heads]


@pytest.mark.parametrize("sizes", [(3, 3), (3, 3, 6), (1, 1, 1), (3, 2, 3), (3, 3, 3, 3)])
def test_heads_that_do_not_fit_a_full_covariance_are_refused(sizes):
    model = keras_vae.VAE(OtherHeads(*sizes), DenseDecoder(SHAPE), posterior="full_covariance")
    with pytest.raises(ValueError, match=r"The encoder must return `z_mean`|With the full-cov"):
        model.build()


def test_an_encoder_of_ones_own_may_have_three_heads(images):
    model = keras_vae.VAE(OtherHeads(3, 3, 3), DenseDecoder(SHAPE), posterior="full_covariance")
    model.compile()
    assert np.isfinite(model.fit(images[0], verbose=0).history["loss"]).all()


@pytest.mark.parametrize("encoder", [DenseEncoder, ConvEncoder])
def test_the_model_gives_an_encoder_its_third_head(encoder):
    model = keras_vae.VAE(encoder(3, (4,)), DenseDecoder(SHAPE), posterior="full_covariance")
    model.build()
    assert model.encoder.triangle.units == 3
    plain = keras_vae.VAE(encoder(3, (4,)), DenseDecoder(SHAPE))
    plain.build()
    assert plain.encoder.triangle is None
    with pytest.raises(ValueError, match="at least 2 entries"):
        keras_vae.VAE(encoder(1, (4,)), DenseDecoder(SHAPE), posterior="full_covariance")


# The ladder


@pytest.fixture
def ladder():
    """A model of three levels with weights of some size."""
    model = keras_vae.VAE(
        LadderEncoder(DIMS, UNITS, "tanh", depth=1),
        LadderDecoder(SHAPE, DIMS, UNITS, "tanh", depth=1),
        posterior="ladder",
    )
    model.build()
    rng = np.random.default_rng(2)
    for weight in model.weights:
        if len(weight.shape):
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


def by_level(array):
    return np.split(array, np.cumsum(DIMS[:0:-1]), axis=-1)


def dense(layer, h):
    kernel, bias = (numpy(weight) for weight in layer.weights)
    return h @ kernel + bias


def in_own_coordinates(model, heads, noise):
    """The codes, KLs, log q and log p of a ladder, and its logits: in float64, as published."""
    decoder = model.decoder

    def hidden(codes):
        h = np.zeros((len(codes[0]), 0))
        for [layer], z in zip(decoder.hidden, codes, strict=False):
            h = np.tanh(dense(layer, np.concatenate([z, h], axis=1)))
        return h

    def prior(codes):
        level, h = len(codes) - 1, hidden(codes)
        return dense(decoder.means[level], h), np.exp(dense(decoder.log_vars[level], h))

    levels = list(zip(*(by_level(numpy(head)) for head in heads), strict=True))
    found = oracles.ladder(levels, by_level(noise), prior)
    return *found, dense(decoder.outputs_dense, hidden(found[0]))


def test_a_ladder_is_the_one_of_the_paper(ladder, images):
    x = images[0][:16]
    noise = RNG.normal(size=(16, sum(DIMS)))
    given = ops.convert_to_tensor(noise.astype("f4"))
    q = ladder.infer(ops.convert_to_tensor(x))
    z, conditional = q.draw(vae_module.with_noise(given))
    heads = (q.loc, q.log_var)
    codes, kls, log_q, log_p, logits = in_own_coordinates(ladder, heads, noise)
    assert np.std(codes[-1]) > 0.3
    # Measured: 3e-6 at most, relative to the largest.
    found = numpy(ladder.decoder(z)).reshape(16, -1)
    np.testing.assert_allclose(found, logits, rtol=0, atol=2e-5)
    kl = numpy(q.kl(ladder.prior(), z, conditional))
    np.testing.assert_allclose(kl, sum(kls), rtol=2e-5)
    nats = by_level(numpy(q.kl_by_value(ladder.prior(), conditional)))
    for of_level, expected in zip(nats, kls, strict=True):
        np.testing.assert_allclose(of_level.sum(axis=1), expected, rtol=2e-5, atol=1e-5)
    for density in (conditional, q):
        ratio = numpy(density.log_prob(z) - ladder.prior.log_prob(z))
        np.testing.assert_allclose(ratio, log_q - log_p, rtol=0, atol=1e-4)


STAGES = {"latent_channels": (1, 2), "hidden_units": (3, 4), "levels": 2}


def convolved(layer, h):
    """A "same" convolution of stride 1, with its bias, in float64."""
    kernel, bias = (numpy(weight) for weight in layer.weights)
    before = (len(kernel) - 1) // 2
    after = len(kernel) - 1 - before
    padded = np.pad(h, [(0, 0), (before, after), (before, after), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
    return np.einsum("nhwiyx,yxio->nhwo", windows, kernel) + bias


def leaky(h):
    return np.where(h > 0, h, 0.2 * h)


def through(blocks, h):
    for block in blocks:
        first, last = block.convolutions
        h = leaky(h + convolved(last, leaky(convolved(first, h))))
    return h


def images_of(decoder, codes, condition):
    """What a decoder of images computes of the first levels' codes, and the shape of the next."""
    shapes = [(2, 2, 2), (2, 2, 2), (3, 3, 1), (3, 3, 1), (6, 5, 4)]
    h = 0
    for level, z in enumerate(codes):
        planes = z.reshape(-1, *shapes[level])
        beside = np.broadcast_to(condition[:, None, None], (*planes.shape[:3], condition.shape[1]))
        h = h + convolved(decoder.injections[level], np.concatenate([planes, beside], axis=-1))
        h = through(decoder.blocks[level], h)
        (height, width, _), before = shapes[level + 1], shapes[level]
        if (height, width) != before[:2]:
            convolution = decoder.doublings[level][-2]
            h = np.repeat(np.repeat(h, 2, axis=1), 2, axis=2)[:, :height, :width]
            h = leaky(convolved(convolution, h))
    return h


def test_a_ladder_of_images_is_the_one_of_the_paper(images):
    kinds = {"label": keras_vae.Categorical(3)}
    model = keras_vae.ConditionalVAE(
        ConvLadderEncoder(SHAPE, **STAGES),
        ConvLadderDecoder(SHAPE, **STAGES),
        kinds,
        posterior="ladder",
    )
    model.build()
    rng = np.random.default_rng(2)
    for weight in model.weights:
        if len(weight.shape):
            weight.assign(rng.normal(size=weight.shape) * 0.3)
    x, label = images[0][:8], images[1][:8]
    condition, decoder = np.eye(3)[label], model.decoder
    assert decoder.latent_dims == [9, 9, 8, 8]
    noise = RNG.normal(size=(8, 34))
    given = ops.convert_to_tensor(noise.astype("f4"))
    vectors = ops.convert_to_tensor(condition.astype("f4"))
    q = model.infer(ops.convert_to_tensor(x), vectors)
    z, conditional = q.draw(vae_module.with_noise(given))

    def prior(codes):
        level, h = len(codes) - 1, images_of(decoder, codes, condition)
        mean, log_var = (
            convolved(heads[level], h).reshape(8, -1) for heads in (decoder.means, decoder.log_vars)
        )
        return mean, np.exp(np.clip(log_var, -10, 10))

    def split(array):
        return np.split(numpy(array), [8, 16, 25], axis=-1)

    levels = list(zip(split(q.loc), split(q.log_var), strict=True))
    codes, kls, log_q, log_p = oracles.ladder(levels, split(noise), prior)
    logits = convolved(decoder.channels, images_of(decoder, codes, condition))
    found = numpy(decoder([z, vectors]))
    np.testing.assert_allclose(found, logits, rtol=0, atol=3e-5)
    assert np.std(logits) > 0.3
    kl = numpy(q.kl(model.prior(vectors), z, conditional))
    np.testing.assert_allclose(kl, sum(kls), rtol=2e-5)
    ratio = numpy(q.log_prob(z) - model.prior(vectors).log_prob(z))
    np.testing.assert_allclose(ratio, log_q - log_p, rtol=0, atol=1e-4)


def test_a_ladders_likelihood_is_that_of_its_own_coordinates(ladder, images):
    x = (images[0][:3] > 0.4).astype("f4")
    draws, batch = 5, 3
    streams = [np.random.default_rng(seed) for seed in np.random.SeedSequence(4).spawn(batch)]
    noise = [stream.standard_normal((draws, sum(DIMS)), "f4") for stream in streams]
    noise = np.stack(noise, axis=1).astype("f8")
    found = ladder.log_likelihood(x, num_samples=draws, seed=4)
    heads = [np.tile(numpy(head), (draws, 1)) for head in ladder.encoder(x)]
    *_, log_q, log_p, logits = in_own_coordinates(ladder, heads, noise.reshape(-1, sum(DIMS)))
    target = np.tile(x.reshape(batch, -1), (draws, 1))
    log_weights = log_p - log_q - oracles.binary_cross_entropy(target, logits)
    expected = oracles.log_mean_exp(log_weights.reshape(draws, batch))
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_without_noise_every_level_is_at_its_mean(ladder, images):
    x = images[0][:4]
    z_mean, z_log_var = ladder.encode(x)
    zeros = ops.zeros((4, sum(DIMS)))
    z, given = ladder.infer(ops.convert_to_tensor(x)).draw(vae_module.with_noise(zeros))
    np.testing.assert_allclose(z_mean, numpy(z), rtol=0, atol=1e-6)
    np.testing.assert_allclose(z_log_var, numpy(given.log_var), rtol=0, atol=1e-6)
    logits = numpy(ladder.decoder(z_mean))
    np.testing.assert_allclose(ladder.reconstruct(x), 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_levels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one entry for each stage"):
        ConvLadderEncoder((8, 8, 1), (4, 2), (8,))
    with pytest.raises(ValueError, match=r"must be .height, width, channels.. Received: .8, 8."):
        ConvLadderDecoder((8, 8), (4,), (8,))
    with pytest.raises(ValueError, match="one entry for each level"):
        LadderEncoder((4, 2), (8,))
    with pytest.raises(ValueError, match="needs a decoder with levels"):
        keras_vae.VAE(LadderEncoder(DIMS, UNITS), DenseDecoder(SHAPE), posterior="ladder")
    with pytest.raises(ValueError, match="the same `latent_dims`"):
        keras_vae.VAE(
            LadderEncoder((4, 2), (8, 7)), LadderDecoder(SHAPE, DIMS, UNITS), posterior="ladder"
        )
    with pytest.raises(ValueError, match=r"must have the same `latent_dims`.* 3 and"):
        keras_vae.VAE(
            DenseEncoder(3), LadderDecoder(SHAPE, DIMS, UNITS), posterior="ladder"
        ).build()


# All of them


def small(posterior, **options):
    networks = DenseEncoder(3, (8,)), DenseDecoder(SHAPE, (8,))
    if posterior == "ladder":
        networks = LadderEncoder(DIMS[:2], UNITS[:2]), LadderDecoder(SHAPE, DIMS[:2], UNITS[:2])
    return keras_vae.VAE(*networks, posterior=posterior, seed=1, **options)


@pytest.mark.parametrize("posterior", ["full_covariance", "ladder"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "iwae"}, r"IWAE\(gradient='doubly_reparameterized'\) needs the diagonal"),
        ({"gradient": "score_function"}, r"ELBO\(gradient='score_function'\) needs the diagonal"),
        ({"objective": "total_correlation"}, "TotalCorrelation needs the diagonal posterior"),
        ({"prior": priors.VampPrior(3)}, "VampPrior, a mixture of diagonal"),
    ],
)
def test_what_needs_a_diagonal_posterior_is_refused(posterior, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        small(posterior, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("posterior", ["full_covariance", "ladder"])
def test_iwae_is_the_importance_weighted_bound(posterior, images):
    x = ops.convert_to_tensor(images[0])
    model = small(posterior, objective=objectives.IWAE(3, "reparameterized"))
    model.build()
    outputs = model(x, draw=3, training=True)
    nats = numpy(-model.likelihood.log_prob(ops.tile(x, (3, 1, 1, 1)), outputs["parameters"]))
    z, mean, log_var = (numpy(outputs[name]) for name in ("z", "z_mean", "z_log_var"))
    log_q = oracles.gaussian_log_density(z, mean, np.exp(log_var))
    log_p = oracles.gaussian_log_density(z, 0.0, 1.0)
    expected = -oracles.log_mean_exp((log_p - log_q - nats).reshape(3, -1)).mean()
    loss, _ = model.objective_loss(outputs, ops.convert_to_tensor(-nats.astype("f4")), None)
    np.testing.assert_allclose(float(numpy(loss)), expected, rtol=2e-6)


@pytest.mark.parametrize("posterior", ["full_covariance", "ladder"])
def test_free_bits_count_each_dimension_averaged_over_the_batch(posterior, images):
    model = small(posterior, free_bits=0.1)
    model.build()
    outputs = model(ops.convert_to_tensor(images[0]), draw=2, training=True)
    [counted] = [float(numpy(loss)) for loss in model.losses]
    mean, log_var = numpy(outputs["z_mean"]), numpy(outputs["z_log_var"])
    nats = (mean**2 + np.exp(log_var) - 1 - log_var) / 2
    if posterior == "full_covariance":
        nats = numpy(model.infer(images[0]).kl_by_value(model.prior()))
    expected = np.sum(np.maximum(nats.mean(axis=0), 0.1))
    assert (nats.mean(axis=0) < 0.1).any()
    np.testing.assert_allclose(counted, expected, rtol=1e-5)


@pytest.mark.parametrize("posterior", ["full_covariance", "ladder"])
def test_the_bound_stays_below_the_likelihood(posterior, images):
    model = small(posterior, kl_weight=0.1)  # far from the prior, so that the bounds differ
    model.compile(keras.optimizers.Adam(1e-2))
    first = model.evaluate(images[0], verbose=0, return_dict=True)["loss"]
    model.fit(images[0], epochs=20, batch_size=24, verbose=0)
    logs = [model.evaluate(images[0], verbose=0, return_dict=True) for _ in range(5)]
    assert np.mean([log["loss"] for log in logs]) < first
    elbo = -np.mean([log["reconstruction_loss"] + log["kl_loss"] for log in logs])
    # Measured: between 0.05 and 0.3 nats.
    assert elbo < model.log_likelihood(images[0], num_samples=500, seed=0).mean()


def test_an_unknown_posterior_is_named():
    with pytest.raises(ValueError, match="`posterior` must be one of 'diagonal'"):
        keras_vae.VAE(DenseEncoder(3), DenseDecoder(SHAPE), posterior="student")
