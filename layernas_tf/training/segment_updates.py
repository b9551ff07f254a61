"""The optimizers' steps on one vector of weights, as Keras' optimizers make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

_VECTOR = tf.TensorSpec((None,), tf.float32)
_SCALAR = tf.TensorSpec((), tf.float32)


def _update(step: Callable[..., tuple[tf.Tensor, ...]]) -> Any:
    # One trace serves networks of every size: all weights are one vector.
    return tf.function(
        step, autograph=False, input_signature=[_VECTOR] * 5 + [_SCALAR] * 2
    )


@_update
def _adamw(
    weights: tf.Tensor,
    gradient: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
    decay: tf.Tensor,
    rate: tf.Tensor,
    number: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    weights = weights - weights * decay * rate
    first = first + (gradient - first) * (1 - 0.9)
    second = second + (gradient * gradient - second) * (1 - 0.999)
    scale = rate * tf.sqrt(1 - tf.pow(0.999, number)) / (1 - tf.pow(0.9, number))
    return weights - first * scale / (tf.sqrt(second) + 1e-7), first, second


@_update
def _sgd(
    weights: tf.Tensor,
    gradient: tf.Tensor,
    velocity: tf.Tensor,
    unused: tf.Tensor,
    decay: tf.Tensor,
    rate: tf.Tensor,
    number: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    weights = weights - weights * decay * rate
    velocity = 0.9 * velocity - rate * gradient
    return weights + 0.9 * velocity - rate * gradient, velocity, unused


@_update
def _rmsprop(
    weights: tf.Tensor,
    gradient: tf.Tensor,
    square: tf.Tensor,
    velocity: tf.Tensor,
    decay: tf.Tensor,
    rate: tf.Tensor,
    number: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    weights = weights - weights * decay * rate
    square = 0.9 * square + 0.1 * gradient * gradient
    velocity = 0.9 * velocity + rate * gradient * tf.math.rsqrt(square + 1e-3)
    return weights - velocity, square, velocity


UPDATES = {"adamw": _adamw, "sgd": _sgd, "rmsprop": _rmsprop}
"""By `Recipe.optimizer`: weights, gradient, two slots, decay, learning rate and number
of the step, counted from 1; gives the new weights and slots."""
