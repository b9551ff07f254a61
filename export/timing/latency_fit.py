"""Predicts the time of a network from the times of its blocks, by a linear fit.

In a network, blocks find their data in other caches than when each block runs alone. To
correct for this, a few whole networks are measured, and their times are fitted by a
factor on the sum of their blocks' times and an offset that is never negative.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from layernas_tf.space.budget import Budget
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

_RANDOM = 6
_SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
"""Costs to draw further architectures at, as shares of the way from the cheapest to the
most expensive one: searches look for small networks, which random draws rarely give."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The linear function from the sum of a network's blocks to its time.

    Example: with `scale` 0.9 and `offset_ms` 0.1, blocks of 10 ms in total make a
    network of 9.1 ms.

    Attributes:
      scale: Factor on the sum.
      offset_ms: What is added to the product, in milliseconds.
      error: Mean absolute relative error on the networks of the fit.
      uncalibrated_error: The same error of the plain sums.
    """

    scale: float
    offset_ms: float
    error: float
    uncalibrated_error: float


def calibration_networks(space: SearchSpace, seed: int = 0) -> list[Architecture]:
    """Architectures to measure whole: the default, random ones, and small ones."""
    rng = np.random.default_rng(seed)
    chosen = [space.default]
    for _ in range(_RANDOM):
        chosen.append(
            tuple(int(rng.integers(len(layer.options))) for layer in space.layers)
        )
    metric = space.metrics[0].name
    low = space.chain.cheapest((), metric)
    high = space.chain.most_expensive((), metric)
    for share in _SHARES:
        budget = Budget(metric, 0.0, low + share * (high - low))
        chosen.append(BudgetedChain(space.chain, [budget]).sample(rng))
    return list(dict.fromkeys(chosen))


def fit(sums: Sequence[float], measured: Sequence[float]) -> Calibration:
    """Fits measured times by the sums of blocks, in relative least squares.

    Args:
      sums: For each network, the sum of its blocks' times in milliseconds, above 0.
      measured: For each network, its own time in milliseconds, above 0.
    """
    x, y = np.asarray(sums, float), np.asarray(measured, float)
    ratio = x / y
    # Both sides are divided by y, so that relative errors count.
    scale, offset = np.linalg.lstsq(
        np.stack([ratio, 1 / y], axis=1), np.ones(len(y)), rcond=None
    )[0]
    if offset < 0 or scale <= 0:
        scale, offset = float(np.sum(ratio) / np.sum(ratio**2)), 0.0
    return Calibration(
        scale=float(scale),
        offset_ms=float(offset),
        error=float(np.mean(np.abs((scale * x + offset) / y - 1))),
        uncalibrated_error=float(np.mean(np.abs(ratio - 1))),
    )
