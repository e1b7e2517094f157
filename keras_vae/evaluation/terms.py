"""The loss and its terms on held-out examples, in nats per example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_vae.models.capabilities import Bounds, DiscreteCodes, Encodes
from keras_vae.training.batched import in_batches
from keras_vae.training.inputs import as_float, check_examples
from keras_vae.type_aliases import Examples


def evaluate(
    model: Any, inputs: Examples, batch_size: int = 256, progress: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Measure the loss and its terms on held-out examples, with drawn codes and without.

    Args:
        model: A model of this package.
        inputs: Arrays as `fit` takes them.
        batch_size: Int. Examples computed at once.
        progress: Optional function from an iterable of batch starts to the same iterable, such
            as one that draws a progress bar.

    Returns:
        Dict of floats, nats per example. `loss` and its terms with drawn codes: those that
        `model.evaluate` and the validation of `fit` draw in batches of this size (but for
        `dynamic_binarization`, whose pixels are drawn once here); `loss_at_mean` and
        `reconstruction_loss_at_mean` with the posterior mean in the draw's place (for a VAE no
        bound, but what tutorials report): the latter plus the weighted KL, whatever the objective;
        of a VAE `elbo`, the evidence lower bound: minus the reconstruction loss minus the
        unweighted KL, and `elbo_at_mean`, the same with the posterior mean in the draw's place, no
        bound. Of a GAN, which has no likelihood, the losses of its players as `model.evaluate` has
        them; for a `VQVAE`, see `evaluate_codes`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> found = keras_vae.evaluation.evaluate(vae, np.zeros((8, 4, 4, 1), "float32"))
    >>> sorted(found)[:3]
    ['elbo', 'elbo_at_mean', 'kl_loss']

    See also:
        `log_likelihoods`, `evaluate_latents`, `evaluate_reconstructions`.
    """
    if not isinstance(model, Encodes):
        return model.evaluate(inputs, batch_size=batch_size, verbose=0, return_dict=True)
    if isinstance(model, DiscreteCodes):
        return evaluate_codes(model, inputs, batch_size, progress)
    inputs = model.as_observed(check_examples(model, inputs), seed=0)
    model.find_terms()
    names = model.loss_terms

    def measure(batch):
        x, _ = model.split_inputs(batch)
        loss, terms = model.loss_and_terms(batch, training=False)
        outputs = model(batch, draw=False, training=False)
        parameters = ops.cast(outputs["parameters"], "float32")
        at_mean = -model.likelihood.log_prob(x, parameters)
        values = [loss, *(terms[name] for name in names)]
        # A batch's own value stands for each of its examples.
        return [at_mean, *(value * ops.ones_like(at_mean) for value in values)]

    measure = model.as_compiled(measure)
    with model.same_draws():
        measured = in_batches(measure, inputs, batch_size, progress, by_row=False)
    at_mean, *values = (float(np.mean(values, dtype="float64")) for values in measured)
    results = dict(zip(("loss", *names), values, strict=True))
    if "kl_loss" in names:
        results["elbo"] = -results["reconstruction_loss"] - results["kl_loss"]
        results["elbo_at_mean"] = -at_mean - results["kl_loss"]
    results["loss_at_mean"] = at_mean
    if isinstance(model, Bounds):
        weight = float(ops.convert_to_numpy(model.kl_weight))
        results["loss_at_mean"] += weight * results["kl_loss"]
    results["reconstruction_loss_at_mean"] = at_mean
    return results


def evaluate_codes(
    model: Any, x: ArrayLike, batch_size: int = 256, progress: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Measure a `VQVAE` on held-out examples.

    Args:
        model: `VQVAE`.
        x: Array as `fit` takes it.
        batch_size: Int. Examples computed at once.
        progress: As for `evaluate`.

    Returns:
        Dict of floats: `loss`, `reconstruction_loss` and `commitment_loss` in nats per example;
        `mean_squared_error`, the mean over all pixels of the squared error of the reconstruction;
        `perplexity` of the codes; and `codes_used`, the share of the codebook that occurs.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> vqvae = keras_vae.VQVAE(
    ...     keras_vae.networks.ConvGridEncoder(latent_dim=4, hidden_units=(4, 8)),
    ...     keras_vae.networks.ConvGridDecoder((8, 8, 1), hidden_units=(8, 4)),
    ...     keras_vae.layers.VectorQuantizer(num_codes=8, dim=4),
    ... )
    >>> vqvae.compile("adam")
    >>> found = keras_vae.evaluation.evaluate_codes(vqvae, np.zeros((4, 8, 8, 1), "float32"))
    >>> 0 < found["codes_used"] <= 1
    True

    See also:
        `evaluate`.
    """

    def measure(batch):
        data = as_float(batch)
        outputs = model(data, training=False)
        parameters = ops.cast(outputs["parameters"], "float32")
        error = ops.square(model.likelihood.mean(parameters) - data)
        error = ops.mean(error, axis=tuple(range(1, len(data.shape))))
        nll = -model.likelihood.log_prob(data, parameters)
        return [nll, outputs["commitment"], error, outputs["codes"]]

    x = model.as_observed(check_examples(model, x), seed=0)
    *values, codes = in_batches(measure, x, batch_size, progress)
    nll, commitment, error = (float(np.mean(value, dtype="float64")) for value in values)
    usage = np.bincount(codes.reshape(-1), minlength=model.quantizer.num_codes) / codes.size
    used = usage[usage > 0]
    return {
        "loss": nll + model.quantizer.commitment_weight * commitment,
        "reconstruction_loss": nll,
        "commitment_loss": commitment,
        "mean_squared_error": error,
        "perplexity": float(np.exp(-np.sum(used * np.log(used)))),
        "codes_used": len(used) / len(usage),
    }
