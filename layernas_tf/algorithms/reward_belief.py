"""The belief about rewards: an additive model, a residual and noise.

`reward = sum of effects + residual + noise`. The sum is what the layerwise assumption
allows (`reward_features`); the residual is real quality that no sum explains, alike for
architectures that differ in few layers, or in attributes that are nearly the same (a
Gaussian process, Rasmussen and Williams, "Gaussian Processes for Machine Learning",
2006, chapter 2); the noise is what another training of the same architecture would not
repeat. The evidence of the data decides how what the sum does not explain is divided
between residual and noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.linalg

from layernas_tf.algorithms.bayesian_regression import (
    Moments,
    Posterior,
    Prior,
    learn_scales,
    posterior,
)
from layernas_tf.algorithms.reward_features import GROUPS, Effects, squared_differences
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

_SHARE = {
    "slope": 0.1,
    "bend": 0.1,
    "layer slope": 0.1,
    "layer value": 0.1,
    "neighbours": 0.05,
}
"""Share of the variance of rewards that a kind of effect is believed to explain."""
_DROPPED_SCALE = 0.4
"""Scale of what dropping a block may be worth, in standard deviations of the rewards of
random architectures. They say little about it: most of them drop almost nothing."""
_RANDOM = 300
"""Random architectures by which shares become scales."""
_INTERCEPT_SCALE = 3.0
_ABSENT = 1e-4
"""Scale of effects that are left out."""
_NOISE = 0.3
_FIRST_LEARNING = 4
_LEARNING_GROWTH = 1.15
_EVALUATIONS = 20
"""Of the evidence, in one learning."""

_SPLITS = (
    (1.0, 0.0),
    *((total, share) for total in (1.0, 2.0, 4.0) for share in (0.1, 0.25, 0.5, 0.9)),
)
"""What the sum may leave over: its variance, as a multiple of the noise that was
learned without a residual, and the residual's share of it."""
_OPTIONS_REACH = 2.0
"""Layers of different options after which a residual's correlation has fallen to 1 / e,
where what is left over has nothing to do with attributes."""
_ATTRIBUTES_REACH = 0.5
"""The same where it has: squared difference of attributes, summed over the layers; 1 is
the most at a layer."""
_MOST_JOINT = 400
"""Trials whose residuals are modelled together; others count for the sum alone."""


class RewardBelief:
    """The belief about every architecture of a space, given the rewards so far.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> belief = RewardBelief(burger())
      >>> belief.add(burger().default, 0.71)
      >>> len(belief.expected_quality())  # one value for each tried architecture
      1

    Attributes:
      effects: The features of the additive part.
      architectures: What was tried, in order.
      rewards: What it gave.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        capacity: float = 0.7,
        absent: Sequence[str] = (),
        learning: bool = True,
    ):
        """Begins without data.

        Args:
          space: Whose architectures are rewarded.
          capacity: How much of the standard deviation of random architectures'
            rewards is believed, before there are data, to come from larger numbers of
            filters, kernels or expansion ratios being better.
          absent: Groups of effects to leave out.
          learning: Whether noise and scales are learned from the data.
        """
        self.effects = Effects(space)
        self._squares = [squared_differences(layer) for layer in space.layers]
        self.architectures: list[Architecture] = []
        self.rewards: list[float] = []
        self._first_prior = _prior(space, self.effects, capacity, absent)
        self._prior = self._first_prior
        size = len(self._first_prior.mean)
        self._gram = np.zeros((size, size))
        self._cross = np.zeros(size)
        self._square = 0.0
        self._next_learning = _FIRST_LEARNING if learning else math.inf

    def add(self, architecture: Architecture, reward: float) -> None:
        """Takes in a reward."""
        row = self._row(architecture)
        self._gram += np.outer(row, row)
        self._cross += row * reward
        self._square += reward**2
        self.architectures.append(architecture)
        self.rewards.append(reward)
        count = len(self.rewards)
        if count >= self._next_learning:
            self._prior = learn_scales(
                self._first_prior, self._prior, self._moments(), _EVALUATIONS
            )
            self._next_learning = int(count * _LEARNING_GROWTH) + 1

    def weights(self) -> Posterior:
        """The coefficients of the sum, rewards in `unit`; the last is the intercept."""
        return posterior(self._prior, self._moments())

    def unit(self) -> tuple[float, float]:
        """Mean and standard deviation of the rewards, by which they are scaled."""
        count = len(self.rewards)
        if not count:
            return 0.0, 1.0
        mean = self._cross[-1] / count
        spread = float(np.sqrt(max(self._square / count - mean**2, 0.0)))
        if count < 3 or spread < 1e-9 * max(abs(mean), 1e-9):
            spread = 1.0
        return float(mean), spread

    def expected_quality(self) -> np.ndarray:
        """Expected reward without its noise of every tried architecture, `(N,)`.

        In the rewards' unit. The ways to split what the sum leaves over into residual
        and noise, and the two kinds of likeness, are averaged by their evidence.
        """
        if not self.rewards:
            return np.zeros(0)
        mean, spread = self.unit()
        scaled = (np.array(self.rewards) - mean) / spread
        rows = np.array([self._row(a) for a in self.architectures])
        quality = rows @ self.weights().mean
        # The residuals that matter are those of the best, by either measure.
        promise = np.maximum(scaled, quality)
        joint = np.sort(np.argsort(-promise, kind="stable")[:_MOST_JOINT])
        quality[joint] = self._with_residual(rows, scaled, joint)
        return mean + spread * quality

    def _with_residual(
        self, rows: np.ndarray, scaled: np.ndarray, joint: np.ndarray
    ) -> np.ndarray:
        """Sum and residual of the trials `joint`, given all rewards."""
        others = np.setdiff1d(np.arange(len(rows)), joint)
        rest = Moments(
            rows[others].T @ rows[others],
            rows[others].T @ scaled[others],
            float(scaled[others] @ scaled[others]),
            len(others),
        )
        belief = posterior(self._prior, rest)
        x = rows[joint]
        root = scipy.linalg.solve_triangular(belief.factor, x.T, lower=True)
        expected = x @ belief.mean
        departure = scaled[joint] - expected
        summed = root.T @ root
        found, evidence = [], []
        likenesses = self._likenesses([self.architectures[n] for n in joint])
        for alike, (total, share) in itertools.product(likenesses, _SPLITS):
            variance = total * self._prior.noise**2
            signal = summed + share * variance * alike
            rewards = signal.copy()
            rewards[np.diag_indices_from(rewards)] += (1 - share) * variance
            factor = scipy.linalg.cholesky(rewards, lower=True, check_finite=False)
            solved = scipy.linalg.cho_solve((factor, True), departure)
            found.append(expected + signal @ solved)
            evidence.append(-0.5 * departure @ solved - np.log(np.diag(factor)).sum())
        weight = np.exp(np.array(evidence) - max(evidence))
        return weight @ np.array(found) / weight.sum()

    def _likenesses(
        self, architectures: Sequence[Architecture]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Correlations of residuals by options and by attributes, `(N, N)` each."""
        chosen = np.array(architectures).T
        others = sum((options[:, None] != options) * 1.0 for options in chosen)
        apart = sum(
            square[options[:, None], options]
            for square, options in zip(self._squares, chosen)
        )
        return np.exp(-others / _OPTIONS_REACH), np.exp(-apart / _ATTRIBUTES_REACH)

    def _row(self, architecture: Architecture) -> np.ndarray:
        return np.append(self.effects.row(architecture), 1.0)

    def _moments(self) -> Moments:
        """The data with scaled rewards."""
        count = len(self.rewards)
        if not count:
            return Moments(self._gram, self._cross, 0.0, 0)
        mean, spread = self.unit()
        cross = (self._cross - mean * self._gram[-1]) / spread
        square = (self._square - count * mean**2) / spread**2
        return Moments(self._gram, cross, max(square, 0.0), count)


def _prior(
    space: SearchSpace, effects: Effects, capacity: float, absent: Sequence[str]
) -> Prior:
    """Capacity helps equally in every layer; the last coefficient is the intercept.

    Means and scales are such that the rewards of random architectures have about unit
    variance, however many layers, options and attributes there are.
    """
    rng = np.random.default_rng(0)
    sizes = [len(layer.options) for layer in space.layers]
    drawn = rng.integers(0, sizes, (_RANDOM, len(sizes)))
    rows = np.array([effects.row(tuple(options)) for options in drawn.tolist()])
    helps = np.array(
        [
            float(group == "slope" and isinstance(name, str))
            for group, _, name in effects.names
        ]
    )
    spread = float(np.std(rows @ helps)) if len(effects) else 0.0
    mean = helps * (capacity / spread if spread else 0.0)
    variances = np.bincount(effects.group, rows.var(axis=0), minlength=len(GROUPS))
    explained = dict(zip(GROUPS, variances))
    scale = {
        group: np.sqrt(share / explained[group]) if explained[group] else 1.0
        for group, share in _SHARE.items()
    }
    scale["dropped"] = _DROPPED_SCALE
    scale |= dict.fromkeys(absent, _ABSENT)
    return Prior(
        group=np.append(effects.group, len(GROUPS)),
        mean=np.append(mean, 0.0),
        scale=np.array([*(scale[group] for group in GROUPS), _INTERCEPT_SCALE]),
        noise=_NOISE,
    )
