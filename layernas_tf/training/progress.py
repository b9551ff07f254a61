"""How a training proceeds: seconds by epoch, and whether it still improves."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from layernas_tf.training.recipe import Recipe

LEAST_PATIENCE = 5
"""Epochs that a training goes on without improving, however short it is."""


class Laps:
    """A clock that tells the seconds since it was last asked.

    Example:
      clock = Laps()
      train_an_epoch()
      seconds = clock.lap()
    """

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the clock was made or last asked."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds


def stale(history: Sequence[Mapping[str, float]], recipe: Recipe) -> bool:
    """Whether a training has not improved for the recipe's share of its epochs.

    An epoch improves if more validation images are classified correctly than after any
    epoch before, or as many with less loss.

    Args:
      history: The figures of each epoch so far; without `valid_accuracy` and
        `valid_loss`, nothing is known, and the training goes on.
      recipe: How it trains.
    """
    if not (recipe.patience and history and "valid_accuracy" in history[0]):
        return False
    figures = [(row["valid_accuracy"], -row["valid_loss"]) for row in history]
    best = max(range(len(figures)), key=figures.__getitem__)
    patience = max(LEAST_PATIENCE, math.ceil(recipe.patience * recipe.epochs))
    return len(history) - 1 - best >= patience
