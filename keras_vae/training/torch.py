"""Steps on PyTorch."""

import contextlib
import functools
import os
import warnings

import keras
import numpy as np
import torch
from torch import distributed

from keras_vae import replica
from keras_vae.training import torch_adam, torch_graph, torch_layers

# Steps with batches of a shape after which it pays to trace them, unasked.
_OFTEN = 32


class Guard:
    """Guard nothing: every step looks at its batch, and an error costs a model nothing."""

    def without_gradients(self, function):
        """A function of tensors that reads the model's variables, to be called many times."""
        return torch.no_grad()(function)


class Trainer(Guard):
    """The steps that Keras' `fit`, `evaluate` and `predict` call, on PyTorch."""

    groups_steps = False

    def compile(self, optimizer="adam", jit_compile="auto", run_eagerly=False, **kwargs):
        """As Keras does; its Adam runs as one kernel.

        `jit_compile=True` traces the step once for every shape of a batch and replays it, with the
        same results to the last bit and in a second, where `torch.compile` takes most of a minute.
        `"auto"` does so for a shape that has come often, of a model whose parts are all Keras' or
        this package's: a graph does not see what Python of one's own may decide anew in each step.
        """
        super().compile(optimizer=optimizer, jit_compile=False, run_eagerly=run_eagerly, **kwargs)
        self.traces_steps = jit_compile is True and not run_eagerly
        self.chooses_traces = jit_compile == "auto"
        self.traces_often = self.chooses_traces and not run_eagerly
        self.graphs, self.steps_of_shape = {}, {}
        for player in self.players:
            torch_adam.fuse(player.optimizer)

    def get_compile_config(self):
        config = super().get_compile_config()
        if not config:  # not compiled
            return config
        return {**config, "jit_compile": "auto" if self.chooses_traces else self.traces_steps}

    def fit(self, *args, **kwargs):
        """As Keras does, with fast layers for images and numbers below 1e-38 taken for 0.

        Adam's averages of rare gradients become such, and a CPU is slow with them. Of several
        processes, all begin with what the first one has.
        """
        if self.divides_batches and self.built:
            _agree([*self.variables, *self.optimizer.variables])
        with _denormals_as_zero(), torch_layers.fast():
            return super().fit(*args, **kwargs)

    @property
    def divides_batches(self):
        """Whether every process is to take its part of a batch."""
        return _are_several()

    def building(self):
        """A context in which variables are made."""
        return contextlib.nullcontext()

    def divided(self, batches):
        """Of batches of arrays this process' part."""
        if self.divides_batches:
            batches.prepare = lambda rows: batches.load(_part(rows))
        return batches

    def as_dataset(self, batches):
        """Batches of arrays as `fit` takes them."""
        return self.divided(batches)

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

    def train_step(self, data):
        """For every player: draw, differentiate, and update unless a gradient is not finite."""
        players, made = self.players, []
        with _working_on(data) as rows:
            # A graph cannot hold what the processes say to each other.
            is_replayed = not rows.has_others and self._is_to_be_traced(data)
            for player in players:
                buffers = self.buffers
                before = [v.value.clone() for v in buffers]
                if is_replayed:
                    gradients, finite, made = self._replayed(players, data, made)
                else:
                    gradients, finite, made = self._step(rows, players, data, made)
                variables = player.part.trainable_variables
                with torch.no_grad():
                    if rows.has_others:
                        changes = [v.value - old for v, old in zip(buffers, before, strict=True)]
                        changes = rows.mean(changes)
                        for variable, old, change in zip(buffers, before, changes, strict=True):
                            variable.assign(old + change)
                    if finite or player.skips_updates:
                        chosen = [variables[i] for i in gradients]
                        player.optimizer.apply(list(gradients.values()), chosen)
                    if not finite:
                        for variable, value in zip(buffers, before, strict=True):
                            variable.assign(value)
        return made

    def _step(self, rows, players, data, earlier):
        """All of a player's step but the update.

        Args:
            rows: The `replica.Replica` that works.
            players: Tuple of those who move in this step.
            data: The batch.
            earlier: List of what the players so far measured: the next one moves.

        Returns:
            Tuple of its gradients by index, whether they are finite, and `earlier` with what it
            measured; or, after the last of them, the logs.
        """
        player = players[len(earlier)]
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
            norm = torch.nn.utils.get_total_norm([g.float() for g in gradients.values()])
            norm, finite = self.gradient_norm(player, norm, earlier)
            terms = {name: term.detach() for name, term in terms.items()}
            made = [*earlier, (loss.detach(), terms, norm, finite)]
            if len(made) == len(players):
                made = self.track_players(data, made)
            return gradients, finite, made

    def _is_to_be_traced(self, data):
        """Whether the step runs as a graph: as `compile` was told, or else when it pays."""
        if not self.traces_often:
            return self.traces_steps
        shape = tuple(keras.tree.flatten(data)[0].shape)
        count = self.steps_of_shape.get(shape, 0) + 1
        self.steps_of_shape[shape] = count
        if count == _OFTEN:
            self.traces_often = torch_graph.is_known(self)
        return self.traces_often and count >= _OFTEN

    def _replayed(self, players, *given):
        """As `_step`, from a graph that is traced for every player and kind of batch."""
        kind = str(keras.tree.map_structure(lambda x: (x.shape, x.dtype), given))
        # A graph holds its variables' tensors; one that was replaced needs another graph.
        kind = (kind, *(id(v.value) for v in self.variables))
        if kind not in self.graphs:
            step = functools.partial(self._step, replica.ALL, players)
            try:
                self.graphs[kind] = torch_graph.Replay(lambda given: step(*given), given)
            except torch_graph.TraceError as err:
                made = step(*given)  # which says what is wrong with a batch
                if self.traces_steps:
                    text = f"The step runs without a graph, more slowly: {err}"
                    warnings.warn(text, stacklevel=2)
                self.traces_steps = self.traces_often = False
                return made
        return self.graphs[kind](given)

    def test_step(self, data):
        """Draw and measure."""
        with _working_on(data) as rows:
            loss, terms = rows.mean(self.loss_and_terms(data, training=False))
            return self.track(data, loss, terms)

    def predict_step(self, data):
        """Reconstruct from the posterior mean."""
        return self.reconstruction(data)


# The processes that train one model


def _are_several():
    """Whether this process trains together with others, a `torch.distributed` group."""
    is_initialized = distributed.is_available() and distributed.is_initialized()
    return is_initialized and distributed.get_world_size() > 1


def _working_on(data):
    """A context in which a step works on its process' rows of a batch, `data`."""
    if not _are_several():
        return contextlib.nullcontext(replica.ALL)
    return replica.working_on(_Process(keras.tree.flatten(data)[0]))


def _part(rows):
    """Of the rows of a batch those of this process."""
    return np.array_split(rows, distributed.get_world_size())[distributed.get_rank()]


def _agree(variables):
    """Give variables the values that they have in the first process."""
    with torch.no_grad():
        for variable in variables:
            value = variable.value.contiguous()
            distributed.broadcast(value, src=0)
            variable.assign(value)


class _Process(replica.OneOfSeveral):
    def __init__(self, rows):
        rank, size = distributed.get_rank(), distributed.get_world_size()
        counts = torch.zeros(size, dtype=torch.int64, device=rows.device)
        counts[rank] = len(rows)
        distributed.all_reduce(counts)
        self.counts = counts.tolist()
        super().__init__(len(rows), sum(self.counts[:rank]), sum(self.counts))

    def gather(self, tensor, axis=0):
        return _Gather.apply(tensor.movedim(axis, 0), self).movedim(0, axis)

    def sums(self, tensors):
        joined = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        distributed.all_reduce(joined)
        parts = joined.split([tensor.numel() for tensor in tensors])
        return [p.reshape(t.shape).to(t.dtype) for p, t in zip(parts, tensors, strict=True)]


class _Gather(torch.autograd.Function):
    """The rows of all processes, each of which may have another number of them."""

    @staticmethod
    def forward(ctx, rows, process):
        # A row may stand for several of an example, as in a grid of codes.
        lengths = torch.zeros(len(process.counts), dtype=torch.int64, device=rows.device)
        lengths[distributed.get_rank()] = len(rows)
        distributed.all_reduce(lengths)
        ctx.lengths = lengths.tolist()
        padded = rows.new_zeros((max(ctx.lengths), *rows.shape[1:]))
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in ctx.lengths]
        distributed.all_gather(gathered, padded)
        return torch.cat([one[:length] for one, length in zip(gathered, ctx.lengths, strict=True)])

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient.split(ctx.lengths)[distributed.get_rank()], None


# What PyTorch needs


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
    return _are_several()


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
    distributed.init_process_group("nccl" if has_gpus else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
