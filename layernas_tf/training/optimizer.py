"""The optimizer of a recipe, and the momentum of running statistics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from layernas_tf.training.recipe import Recipe

if TYPE_CHECKING:
    import keras


_MOST_STEPS = 200


def averaging_momentum(steps: int) -> float:
    """Momentum of an average over a tenth of the steps."""
    return math.exp(-1 / max(1.0, 0.1 * steps))


def statistics_momentum(steps: int) -> float:
    """Momentum of running statistics: over a tenth of the steps, at most 200.

    Over more, the statistics lag behind the weights until the rate falls: validated in
    the first fifth of a training of 10,000 steps, a network is no better than chance.
    """
    return averaging_momentum(min(steps, 10 * _MOST_STEPS))


def make_optimizer(
    model: keras.Model, recipe: Recipe, steps: int
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer for a training of this number of steps."""
    import keras

    warmup = recipe.warmup_steps(steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.first_rate(steps) if warmup else recipe.learning_rate,
        decay_steps=max(1, steps - warmup),
        alpha=1.0 if recipe.schedule == "constant" else 0.0,
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    shared = {"weight_decay": recipe.weight_decay or None}
    if recipe.ema:
        shared["use_ema"] = True
        shared["ema_momentum"] = min(recipe.ema, averaging_momentum(steps))
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            schedule, momentum=0.9, nesterov=True, **shared
        )
    elif recipe.optimizer == "rmsprop":
        optimizer = keras.optimizers.RMSprop(
            schedule, rho=0.9, momentum=0.9, epsilon=1e-3, **shared
        )
    else:
        # Unlike the others it takes no None.
        shared["weight_decay"] = recipe.weight_decay
        optimizer = keras.optimizers.AdamW(schedule, **shared)
    optimizer.exclude_from_weight_decay(
        var_list=[v for v in model.trainable_variables if not decays(v)]
    )
    return optimizer


def decays(variable: keras.Variable) -> bool:
    """Whether weight decay acts on a weight: kernels yes, biases and scales no."""
    return len(variable.shape) > 1
