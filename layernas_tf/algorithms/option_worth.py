"""What the options of a layer have been worth in the candidates tried so far.

A mean per layer and option, without a model: plain LayerNAS uses it to choose among
trades that cost the same.
"""

from __future__ import annotations

import numpy as np

from layernas_tf.space.types import Architecture

_CAPACITY = 0.25
"""Before there are data, how much more than a layer's mean its most expensive option
is worth, in standard deviations of the rewards."""


class OptionWorth:
    """Mean rewards by option, drawn with their uncertainty.

    Example:
      >>> worth = OptionWorth(rank=np.array([[-1.0, 1.0], [-1.0, 1.0]]))
      >>> worth.add((0, 1), reward=0.9)
      >>> worth.add((1, 1), reward=0.1)
      >>> worth.draw(np.random.default_rng(0)).shape
      (2, 2)
    """

    def __init__(self, rank: np.ndarray):
        """Begins without data.

        Args:
          rank: The options' places by cost in -1..1, `(L, most options)`.
        """
        self._prior = _CAPACITY * rank
        self._count = np.zeros(rank.shape)
        self._sum = np.zeros(rank.shape)
        self._total, self._square, self._tried = 0.0, 0.0, 0

    def add(self, architecture: Architecture, reward: float) -> None:
        """Takes in what a candidate gave."""
        layers = np.arange(len(architecture))
        self._count[layers, architecture] += 1
        self._sum[layers, architecture] += reward
        self._total += reward
        self._square += reward**2
        self._tried += 1

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Worth of every option, in standard deviations of the rewards, `(L, most)`."""
        noise = rng.standard_normal(self._count.shape)
        if self._tried < 2:
            return self._prior + noise
        mean = self._total / self._tried
        variance = max(self._square / self._tried - mean**2, 0.0)
        spread = float(np.sqrt(variance))
        if spread < 1e-9 * max(abs(mean), 1e-9):
            spread = 1.0
        found = (self._sum - self._count * mean) / spread
        weight = self._count + 1.0  # the prior weighs as much as one candidate
        return (found + self._prior) / weight + noise / np.sqrt(weight)
