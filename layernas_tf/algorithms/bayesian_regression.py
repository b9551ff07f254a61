"""Bayesian linear regression whose noise and prior scales are learned.

Type-II maximum likelihood ("evidence maximization"): MacKay, "Bayesian Interpolation",
Neural Computation 4(3), 1992; here by expectation maximization, with one prior scale
per group of coefficients.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg

_BELIEF = 2.0
"""Weight of the initial scales, in coefficients, and of the initial noise, in
rewards."""


@dataclasses.dataclass(frozen=True)
class Prior:
    """What is believed of `D` coefficients in `G` groups before any data.

    Example:
      >>> prior = Prior(np.array([0, 0]), np.zeros(2), np.ones(1), noise=0.5)
      >>> prior.scale[prior.group]
      array([1., 1.])

    Attributes:
      group: For each coefficient its group, int array `(D,)`.
      mean: For each coefficient, `(D,)`.
      scale: Standard deviation per group, `(G,)`.
      noise: Standard deviation of what the features do not explain.
    """

    group: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    noise: float


@dataclasses.dataclass(frozen=True)
class Moments:
    """What a regression needs of `N` rows of features and their targets.

    Example:
      >>> x, y = np.eye(2), np.array([1.0, 2.0])
      >>> Moments(x.T @ x, x.T @ y, float(y @ y), len(y)).count
      2

    Attributes:
      gram: `X'X`, `(D, D)`.
      cross: `X'y`, `(D,)`.
      square: `y'y`.
      count: `N`.
    """

    gram: np.ndarray
    cross: np.ndarray
    square: float
    count: int


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Normal distribution of the coefficients.

    Example:
      >>> belief = Posterior(mean=np.zeros(3), factor=np.eye(3))
      >>> belief.draw(np.random.default_rng(0)).shape
      (3,)

    Attributes:
      mean: `(D,)`.
      factor: Lower Cholesky factor of the precision, `(D, D)`.
    """

    mean: np.ndarray
    factor: np.ndarray

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One draw of the coefficients, `(D,)`."""
        normal = rng.standard_normal(len(self.mean))
        return self.mean + scipy.linalg.solve_triangular(
            self.factor, normal, lower=True, trans="T", check_finite=False
        )


def posterior(prior: Prior, data: Moments) -> Posterior:
    """The coefficients given the data, for the prior's scales and noise."""
    weight = 1 / prior.scale[prior.group] ** 2
    precision = data.gram / prior.noise**2
    precision[np.diag_indices_from(precision)] += weight
    factor = scipy.linalg.cholesky(precision, lower=True, check_finite=False)
    right = weight * prior.mean + data.cross / prior.noise**2
    mean = scipy.linalg.cho_solve((factor, True), right, check_finite=False)
    return Posterior(mean, factor)


def learn_scales(first: Prior, current: Prior, data: Moments, steps: int) -> Prior:
    """Moves scales and noise towards the greatest evidence.

    Args:
      first: The initial belief, which keeps a small weight.
      current: Where to start from.
      data: The rewards seen.
      steps: Steps of expectation maximization.

    Returns:
      The prior with new `scale` and `noise`.
    """
    groups = np.bincount(first.group, minlength=len(first.scale))
    for _ in range(steps):
        found = posterior(current, data)
        covariance = scipy.linalg.cho_solve(
            (found.factor, True), np.eye(len(found.mean)), check_finite=False
        )
        departure = (found.mean - first.mean) ** 2 + np.diag(covariance)
        total = np.bincount(first.group, departure, minlength=len(first.scale))
        scale = np.sqrt((total + _BELIEF * first.scale**2) / (groups + _BELIEF))
        error = (
            data.square
            - 2 * data.cross @ found.mean
            + found.mean @ data.gram @ found.mean
            + np.sum(data.gram * covariance)
        )
        noise = np.sqrt(
            (max(float(error), 0.0) + _BELIEF * first.noise**2) / (data.count + _BELIEF)
        )
        current = dataclasses.replace(current, scale=scale, noise=float(noise))
    return current
