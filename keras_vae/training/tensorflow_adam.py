"""Keras' Adam and AdamW on TensorFlow as one kernel a variable: the same, in half the time."""

import functools

import keras
import tensorflow as tf

from keras_vae import keras_internals


def fuse(optimizer):
    """Let an optimizer's update run as TensorFlow's own Adam kernel.

    Learning-rate schedules, weight decay, clipping, moving averages and accumulation stay Keras'
    own. Other optimizers, Adam with `amsgrad`, and whatever runs under a `tf.distribute` strategy
    are left as they are.

    Args:
        optimizer: Keras optimizer, with or without loss scale.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # A subclass may compute something else.
    is_adam = type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW)
    if is_adam and not optimizer.amsgrad and not tf.distribute.has_strategy():
        own_update = type(optimizer).update_step.__get__(optimizer)
        optimizer.update_step = functools.partial(_update, optimizer, own_update)


def _update(optimizer, own_update, gradient, variable, learning_rate):
    """Adam's update in Keras' form, `alpha * m / (sqrt(v) + epsilon)`, which the kernel has too.

    References:
        - Kingma & Ba, 2015, the form before section 2.1. https://arxiv.org/abs/1412.6980
    """
    if isinstance(gradient, tf.IndexedSlices):
        return own_update(gradient, variable, learning_rate)
    [m], [v] = keras_internals.adam_slots(optimizer, [variable])
    dtype = variable.dtype
    t = tf.cast(optimizer.iterations + 1, dtype)
    beta_1, beta_2 = tf.constant(optimizer.beta_1, dtype), tf.constant(optimizer.beta_2, dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=_handle(variable),
        m=_handle(m),
        v=_handle(v),
        beta1_power=beta_1**t,
        beta2_power=beta_2**t,
        lr=tf.cast(learning_rate, dtype),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=tf.constant(optimizer.epsilon, dtype),
        grad=tf.cast(gradient, dtype),
    )


def _handle(variable):
    """The resource behind a Keras variable, or behind TensorFlow's, which Keras passes at times."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
