"""Steps on PyTorch."""

import contextlib
import functools
import os
import warnings

import keras
import torch

from keras_vae import replica
from keras_vae.training import datasets, torch_adam, torch_graph, torch_processes


class Guard:
    """Nothing: every step looks at its batch, and an error costs a model nothing."""


class Trainer(Guard):
    """The steps that Keras' `fit`, `evaluate` and `predict` call, on PyTorch."""

    groups_steps = False

    def compile(self, optimizer="adam", jit_compile="auto", run_eagerly=False, **kwargs):
        """As Keras does; its Adam runs as one kernel.

        `jit_compile=True` traces the step once for every shape of a batch and replays it, with the
        same results to the last bit and in a second, where `torch.compile` takes most of a minute.
        """
        super().compile(optimizer=optimizer, jit_compile=False, run_eagerly=run_eagerly, **kwargs)
        self.traces_steps = jit_compile is True and not run_eagerly
        self.graphs = {}
        for player in self.players:
            torch_adam.fuse(player.optimizer)

    def get_compile_config(self):
        config = super().get_compile_config()
        return {**config, "jit_compile": self.traces_steps} if config else config

    def fit(self, *args, **kwargs):
        """As Keras does, with numbers below 1e-38 taken for 0.

        Adam's averages of rare gradients become such, and a CPU is slow with them. Of several
        processes, all begin with what the first one has.
        """
        if self.divides_batches and self.built:
            torch_processes.agree([*self.variables, *self.optimizer.variables])
        with _denormals_as_zero():
            return super().fit(*args, **kwargs)

    @property
    def divides_batches(self):
        """Whether every process is to take its part of a batch."""
        return torch_processes.are_several()

    def building(self):
        """A context in which variables are made."""
        return contextlib.nullcontext()

    def divided(self, batches):
        """Of batches of arrays this process' part."""
        if self.divides_batches:
            batches.prepare = lambda rows: batches.load(torch_processes.part(rows))
        return batches

    def as_dataset(self, batches):
        """Batches of arrays as `fit` takes them."""
        return self.divided(batches)

    def without_gradients(self, function):
        """A function of tensors that reads the model's variables, to be called many times."""
        return torch.no_grad()(function)

    @property
    def needs_terms_first(self):
        """Whether a step is traced."""
        return self.traces_steps

    def terms_of(self, batch):
        """The terms of the loss, of zeros as a symbolic batch has them.

        Keras finds no shapes here where a layer has state, such as batch normalisation.
        """
        zeros = keras.tree.map_structure(lambda t: keras.ops.zeros(t.shape, t.dtype), batch)
        with torch.no_grad(), self.same_draws():
            return self.loss_and_terms(zeros, training=False)[1]

    def global_norm(self, tensors):
        """The Euclidean norm of all tensors joined, in float32."""
        return torch.nn.utils.get_total_norm([tensor.float() for tensor in tensors])

    def train_step(self, data):
        """For every player: draw, differentiate, and update unless a gradient is not finite."""
        with torch_processes.working_on(data) as rows:
            return self._train_step(data, rows)

    def _train_step(self, data, rows):
        made = []
        if not self.traces_steps:
            data = datasets.unpack(self, data)
        for turn, player in enumerate(self.players):
            buffers = [v.value.clone() for v in self.buffers]
            # A graph cannot hold what the processes say to each other.
            step = self._replayed if self.traces_steps and not rows.has_others else self._step
            gradients, finite, made = step(turn, data, made)
            variables = player.part.trainable_variables
            with torch.no_grad():
                if rows.has_others:
                    now = [v.value for v in self.buffers]
                    changes = rows.mean([new - old for new, old in zip(now, buffers, strict=True)])
                    for variable, old, change in zip(self.buffers, buffers, changes, strict=True):
                        variable.assign(old + change)
                if finite or player.skips_updates:
                    chosen = [variables[i] for i in gradients]
                    player.optimizer.apply(list(gradients.values()), chosen)
                if not finite:
                    for variable, value in zip(self.buffers, buffers, strict=True):
                        variable.assign(value)
        return made

    def _step(self, turn, data, earlier):
        """All of a player's step but the update.

        Returns:
            Tuple of its gradients by index, whether they are finite, and what the players so far
            measured; or, after the last of them, the logs.
        """
        player = self.players[turn]
        rows = replica.current()
        with _differentiable(data):
            loss, terms = player.loss_and_terms(data, training=True)
        scaled_loss = player.optimizer.scale_loss(rows.weighted(loss) if rows.has_others else loss)
        variables, gradients = [v.value for v in player.part.trainable_variables], ()
        if variables and scaled_loss.requires_grad:  # not of a part that is frozen or unused
            gradients = torch.autograd.grad(scaled_loss, variables, allow_unused=True)
        gradients = {i: g for i, g in enumerate(gradients) if g is not None}
        with torch.no_grad():
            if rows.has_others:
                gradients = rows.sum(gradients)
                loss, terms = rows.mean((loss, terms))
            norm, finite = self.gradient_norm(player, list(gradients.values()), earlier)
            terms = {name: term.detach() for name, term in terms.items()}
            made = [*earlier, (loss.detach(), terms, norm, finite)]
            if len(made) == len(self.players):
                made = self.track(data, *self.joined(made))
            return gradients, finite, made

    def _replayed(self, turn, *given):
        """As `_step`, from a graph that is traced for every player and kind of batch."""
        kind = str(keras.tree.map_structure(lambda x: (x.shape, x.dtype), given))
        # A graph holds its variables' tensors; one that was replaced needs another graph.
        kind = (turn, kind, *(id(v.value) for v in self.variables))
        if kind not in self.graphs:
            try:
                step = functools.partial(self._step, turn)
                self.graphs[kind] = torch_graph.Replay(lambda given: step(*given), given)
            except torch_graph.TraceError as err:
                made = self._step(turn, *given)  # which says what is wrong with a batch
                warnings.warn(f"The step runs without a graph, more slowly: {err}", stacklevel=2)
                self.traces_steps = False
                return made
        return self.graphs[kind](given)

    def test_step(self, data):
        """Draw and measure."""
        with torch_processes.working_on(data) as rows:
            loss, terms = rows.mean(self.loss_and_terms(data, training=False))
            return self.track(data, loss, terms)

    def predict_step(self, data):
        """Reconstruct from the posterior mean."""
        return self.reconstruction(data)


@contextlib.contextmanager
def _denormals_as_zero():
    before = bool(torch.full((), 1e-39) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


_CONVOLUTIONS = {
    getattr(torch, f"conv{transpose}{rank}d")
    for transpose in ("", "_transpose")
    for rank in (1, 2, 3)
}


class _PlainStrides(torch.overrides.TorchFunctionMode):
    """Give convolutions images and kernels whose strides say one order of axes.

    With one row and one channel the strides of an image say channels-first and channels-last alike.
    PyTorch 2.13 takes one of them for the image, the other for the gradient of the kernel, and
    raises "grad_weight must be contiguous".
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in _CONVOLUTIONS:
            # A layer of the user's own may name them.
            args = (*map(_plain, args[:2]), *args[2:])
            kwargs |= {name: _plain(kwargs[name]) for name in ("input", "weight") if name in kwargs}
        return function(*args, **kwargs)


def _plain(tensor):
    return tensor.clone(memory_format=torch.contiguous_format)


def _differentiable(data):
    """A context for a forward pass over a batch, in which gradients of convolutions are found.

    Args:
        data: Nested tensors of one number of rows.
    """
    rows = len(keras.tree.flatten(data)[0])
    return _PlainStrides() if rows == 1 else contextlib.nullcontext()


def devices():
    """Return the names of the devices that the backend sees."""
    gpus = range(torch.cuda.device_count())
    return ["cpu", *(torch.cuda.get_device_name(gpu) for gpu in gpus)]


def is_divided(model):
    """Whether a model's batches are divided among several processes."""
    return torch_processes.are_several()


def prepare_devices(count):
    """Nothing is to be done: the processes of several devices are started by then."""


def find_devices():
    """Names of the devices of this machine that may have a process each: GPUs, or else cores."""
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return gpus or ["cpu"] * (os.cpu_count() or 1)


@contextlib.contextmanager
def on_devices(count):
    """A context in which this process trains with others, one for each device.

    Each has been told its number in the environment, as `torchrun` does.

    Args:
        count: Int, the processes on all machines.
    """
    has_gpus = torch.cuda.is_available()
    if int(os.environ["WORLD_SIZE"]) != count:
        raise ValueError(
            f"--devices must be the number of processes, {os.environ['WORLD_SIZE']}. Received: "
            f"{count}."
        )
    if has_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if has_gpus else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
