"""Annealed importance sampling, through TensorFlow Probability: log p(x) without the encoder.

It checks what importance sampling from the encoder's posterior says by a way that shares nothing
with it but the decoder. TensorFlow Probability runs on TensorFlow: where another backend is active,
the model is saved and measured by a process of its own.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import portable_random, processes
from keras_vae.data import as_float
from keras_vae.distributions import repeat
from keras_vae.evaluation.likelihood import mean_and_errors
from keras_vae.models import importance, load_model
from keras_vae.models.capabilities import Bounds, require
from keras_vae.models.generative import join
from keras_vae.storage import own_objects
from keras_vae.storage.files import write_atomically
from keras_vae.training.inputs import check_examples
from keras_vae.type_aliases import Examples

STAGES = 20
LEAPFROG_STEPS = 5
# Of the sigmoid whose equal parts are the stages.
STEEPNESS = 4
# Of Hamiltonian Monte Carlo, whose step sizes are found by some short chains.
TARGET_ACCEPTANCE = 0.75
FIRST_STEP_SIZE = 0.2
PILOT_RUNS, PILOT_STEPS = 3, 2


def annealed_log_likelihood(
    model: Any,
    inputs: Examples,
    num_steps: int = 300,
    num_chains: int = 8,
    batch_size: int = 100,
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """Bound `log p(x)` by annealed importance sampling, from below and, on simulated data, above.

    Chains of Hamiltonian Monte Carlo go from draws of the prior to the posterior, through
    `p(z) p(x|z)^t` for `t` from 0 to 1; their weights' mean is `p(x)` on average, and its logarithm
    a lower bound on average. For data simulated by the model itself an exact draw of the posterior
    is known, the code they were made of: the chains back from it to the prior give an upper bound,
    and the gap of both (BDMC) says how far off the lower one can be.

    Args:
        model: `VAE` or `ConditionalVAE`.
        inputs: Arrays as `fit` takes them.
        num_steps: Int, at least 20. Transitions of a chain, each of 5 leapfrog steps.
        num_chains: Int. Chains for each example.
        batch_size: Int. Examples computed at once, times `num_chains` decoded codes.
        seed: Int, at least 0.
        progress: As for `evaluate`, of the stages. Where another process computes, it is not
            called: that process shows a bar of its own.

    Returns:
        Dict: `log_likelihood`, `standard_error` and `monte_carlo_error` as of `log_likelihoods`, of
        the lower bound on the data; `simulated_lower_bound`, `simulated_upper_bound` and `gap`,
        their difference, means over as many simulated examples; `acceptance`, the mean share of
        accepted transitions; `num_steps`, `num_chains`, `examples`. Nats.

    Raises:
        ImportError: Without TensorFlow Probability.
        ValueError: If the model has no prior to anneal from, or an argument is out of range.
        RuntimeError: If the other process ends without an answer.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> x = np.zeros((4, 4, 4, 1), "float32")
    >>> found = keras_vae.evaluation.annealed_log_likelihood(vae, x, num_steps=20, num_chains=2)
    >>> found["num_steps"], found["examples"]
    (20, 4)

    See also:
        `log_likelihoods`, by importance sampling.

    References:
        - Neal, 2001. https://arxiv.org/abs/physics/9803008
        - Grosse et al., 2015, for the upper bound. https://arxiv.org/abs/1511.02543
        - Wu et al., 2017. https://arxiv.org/abs/1611.04273
    """
    require(model, Bounds, "Annealing")
    if num_steps < STAGES or num_chains < 1:
        raise ValueError(
            f"Annealing needs `num_steps` of at least {STAGES} and `num_chains` of at least 1. "
            f"Received: {num_steps} and {num_chains}."
        )
    needed = ("tensorflow", "tensorflow_probability", "tf_keras")
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ImportError(
            "Annealed importance sampling needs TensorFlow Probability on TensorFlow. Missing: "
            f'{", ".join(missing)}. Install it with: pip install "keras-vae[tfp]"'
        )
    inputs = check_examples(model, inputs)
    options = {
        "num_steps": int(num_steps),
        "num_chains": int(num_chains),
        "batch_size": int(batch_size),
        "seed": int(seed),
    }
    if keras.backend.backend() != "tensorflow":
        return _measure_apart(model, inputs, options, progress is not None)
    return _measure(model, inputs, **options, progress=progress)


def _measure(model, inputs, num_steps, num_chains, batch_size, seed, progress=None):
    inputs = model.as_observed(inputs, seed)
    x, conditions = model.named_inputs(inputs)
    starts = range(0, len(x), batch_size)
    stages = range(len(starts) * (2 * PILOT_RUNS + 3) * STAGES)
    stages = iter(stages if progress is None else progress(stages))
    annealing = _Annealing(model, num_steps, num_chains, stages)
    batches = []
    for start in starts:
        rows = slice(start, start + batch_size)
        given = {name: ops.convert_to_tensor(values[rows]) for name, values in conditions.items()}
        real = ops.convert_to_tensor(as_float(x[rows]))
        batches.append(_measure_batch(annealing, real, given, seed + start))
    next(stages, None)  # ends the bar
    found = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    lower, upper = float(found["lower"].mean()), float(found["upper"].mean())
    return {
        **mean_and_errors(found["forward"], found["error"]),
        "simulated_lower_bound": lower,
        "simulated_upper_bound": upper,
        "gap": upper - lower,
        "acceptance": float(found["acceptance"].mean()),
        "num_steps": num_steps,
        "num_chains": num_chains,
        "examples": len(x),
    }


def _measure_batch(annealing, real, conditions, seed):
    """Anneal for a batch and for one simulated under its conditions; float64 arrays `(n,)`."""
    model = annealing.model
    condition = model.encode_condition(conditions, training=False)

    def draw(copies, of_prior):
        repeated = repeat(condition, copies)
        size = (copies, len(real), model.latent_dim)
        z = model.prior.sample(
            copies * len(real), model.latent_dim, seed=_seed(seed, of_prior), condition=repeated
        )
        return z.reshape(size)

    code = draw(1, of_prior=0)
    decode = model.as_compiled(model.decode_parameters)
    parameters = decode(ops.convert_to_tensor(code[0]), conditions)
    simulated = model.likelihood.sample(ops.cast(parameters, "float32"), _seed(seed, 1))
    chains = annealing.num_chains
    sizes = annealing.tuned(real, condition, draw(chains, of_prior=2), _seed(seed, 3))
    log_likelihood, error, acceptance = annealing(
        real, condition, draw(chains, of_prior=4), sizes, _seed(seed, 5)
    )
    sizes = annealing.tuned(simulated, condition, draw(chains, of_prior=6), _seed(seed, 7))
    lower, _, _ = annealing(simulated, condition, draw(chains, of_prior=8), sizes, _seed(seed, 9))
    upper, _, _ = annealing(
        simulated, condition, np.tile(code, (chains, 1, 1)), sizes, _seed(seed, 10), backwards=True
    )
    return {
        "forward": log_likelihood,
        "error": error,
        "acceptance": acceptance,
        "lower": lower,
        "upper": -upper,
    }


def _seed(*numbers):
    """One seed of several whole numbers, below 2^31."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) % portable_random.SEEDS


class _Annealing:
    """Chains between the prior and the posterior of examples, in stages of equal length.

    The exponents at the stages' ends follow a sigmoid, as in Wu et al., so that most transitions
    are spent near either end. Each example has a step size of its own in each stage. They are
    found by other, shorter chains, so that those that are measured have fixed transitions.
    """

    def __init__(self, model, num_steps, num_chains, stages):
        self.model = model
        self.num_chains = num_chains
        self.stages = stages  # one is taken at each, for whoever watches
        self.steps = math.ceil(num_steps / STAGES)
        position = 1 / (1 + np.exp(-STEEPNESS * np.linspace(-1, 1, STAGES + 1)))
        self.exponents = (position - position[0]) / (position[-1] - position[0])
        # On TensorFlow, where this runs, gradients taken inside the function are all right.
        self.run_stage = model.without_gradients(functools.partial(_run_stage, model))

    def tuned(self, x, condition, z, seed):
        """Step sizes `(stages, n)` at which about three of four transitions are accepted."""
        sizes = np.full((STAGES, len(x)), FIRST_STEP_SIZE)
        for run in range(PILOT_RUNS):
            state = z
            for stage in range(STAGES):
                state, _, accepted = self._stage(
                    stage, x, condition, state, PILOT_STEPS, sizes[stage], (seed, run), False
                )
                sizes[stage] *= np.exp(2 * (accepted - TARGET_ACCEPTANCE))
                if run == 0:
                    sizes[stage + 1 :] = sizes[stage]
        return sizes

    def __call__(self, x, condition, z, sizes, seed, backwards=False):
        """Anneal from the prior to the posterior, or back.

        Args:
            x: Tensor `(n, *data_shape)`.
            condition: Optional tensor `(n, size)`.
            z: Array `(chains, n, latent)`, draws of where the chains begin.
            sizes: Array `(stages, n)`.
            seed: Int.
            backwards: Bool.

        Returns:
            Tuple of float64 arrays `(n,)`: the logarithm of the weights' mean, its standard error
            and the acceptance.
        """
        total, acceptances = 0.0, []
        for stage in reversed(range(STAGES)) if backwards else range(STAGES):
            z, weights, accepted = self._stage(
                stage, x, condition, z, self.steps, sizes[stage], (seed,), backwards
            )
            total = total + weights
            acceptances.append(accepted)
        log_means, errors = importance.log_mean([total], [self.num_chains])
        return log_means[0], errors[0], np.mean(acceptances, axis=0)

    def _stage(self, stage, x, condition, z, steps, size, seed, backwards):
        next(self.stages)
        ends = self.exponents[[stage + 1, stage] if backwards else [stage, stage + 1]]
        z, *measured = self.run_stage(
            x,
            condition,
            ops.convert_to_tensor(z, "float32"),
            ops.convert_to_tensor(ends, "float32"),
            ops.convert_to_tensor(size[:, None], "float32"),
            ops.convert_to_tensor(steps, "int32"),
            ops.convert_to_tensor([_seed(*seed, stage, 0), _seed(*seed, stage, 1)], "int32"),
        )
        weights, accepted = (ops.convert_to_numpy(array).astype("float64") for array in measured)
        return z, weights, accepted


def _run_stage(model, x, condition, z, ends, size, steps, seed):
    """Anneal through one stage: the codes, log-weights `(chains, n)` and acceptance `(n,)`."""
    from tensorflow_probability import mcmc

    chains = z.shape[0]
    shape = ops.shape(z)

    def log_density(exponent):
        def function(z):
            flat = ops.reshape(z, (-1, shape[-1]))
            parameters = model.decoder(join(flat, repeat(condition, chains)), training=False)
            parameters = ops.cast(parameters, "float32")
            log_prob = model.likelihood.log_prob(repeat(x, chains), parameters)
            return model.prior.log_prob(z, condition) + exponent * ops.reshape(log_prob, shape[:-1])

        return function

    class Transition(mcmc.HamiltonianMonteCarlo):
        # The chain hands on the density of its state as the step before had it. Proposals that
        # are compared with that are refused again and again, and the weights mean nothing.
        def one_step(self, current_state, previous_kernel_results, seed=None):
            fresh = self.bootstrap_results(current_state)
            return super().one_step(current_state, fresh, seed=seed)

    def kernel(target_log_prob):
        return Transition(target_log_prob, size, LEAPFROG_STEPS)

    z, weights, results = mcmc.sample_annealed_importance_chain(
        steps, log_density(ends[0]), log_density(ends[1]), z, kernel, seed=seed
    )
    ratio = results.inner_results.log_accept_ratio
    return z, weights, ops.mean(ops.exp(ops.minimum(ratio, 0.0)), axis=0)


def _measure_apart(model, inputs, options, is_watched):
    """Measure in a TensorFlow process."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model.save(folder / "model.keras")
        arrays = inputs if isinstance(inputs, dict) else {"x": inputs}
        np.savez(folder / "inputs.npz", **{name: values[:] for name, values in arrays.items()})
        own = own_objects.described(model)
        message = {"folder": str(folder), "options": options, "own_objects": own}
        message["is_watched"] = is_watched
        child = processes.run(
            "from keras_vae.evaluation import annealed; annealed._child()",
            environment=processes.ON_TENSORFLOW,
            input=json.dumps(message),
            stdout=None if is_watched else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        path = folder / "result.json"
        if not path.is_file():
            raise RuntimeError(f"The TensorFlow process of the annealing {processes.end_of(child)}")
        return json.loads(path.read_text(encoding="utf-8"))


def _child():
    """The other end of `_measure_apart`: a message on standard input, the result in a file."""
    from keras_vae import progress

    message = json.load(sys.stdin)
    folder = pathlib.Path(message["folder"])
    with np.load(folder / "inputs.npz") as arrays:
        inputs = dict(arrays)
    inputs = inputs if len(inputs) > 1 else inputs["x"]
    model = load_model(folder / "model.keras", own_objects.found(message["own_objects"]))
    watch = progress.bar("Annealing") if message["is_watched"] else None
    result = _measure(model, inputs, **message["options"], progress=watch)
    write_atomically(folder / "result.json", json.dumps(result).encode("utf-8"))
