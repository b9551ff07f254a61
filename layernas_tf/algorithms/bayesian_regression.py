"""Bayesian linear regression whose noise and prior scales are learned.

Type-II maximum likelihood ("evidence maximization"): MacKay, "Bayesian Interpolation",
Neural Computation 4(3), 1992; with one prior scale per group of coefficients.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
import scipy.optimize

from layernas_tf.core.threads import one_thread

_BELIEF = 1.0
"""Standard deviation of what is believed of the logarithms of scales and noise."""

_REACH = 5.0
"""The farthest that a logarithm may move."""


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


def learn_scales(
    first: Prior, current: Prior, data: Moments, evaluations: int
) -> Prior:
    """Moves scales and noise towards the greatest evidence.

    Their logarithms have a normal belief around the first ones, so that a few rewards
    do not decide everything.

    Args:
      first: The initial belief.
      current: Where to start from.
      data: The rewards seen.
      evaluations: How often the evidence is computed at most.

    Returns:
      The prior with new `scale` and `noise`.
    """
    around = _logarithms(first)

    def loss(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = log_evidence(_with_logarithms(first, logarithms), data)
        departure = (logarithms - around) / _BELIEF
        return 0.5 * float(departure @ departure) - value, departure / _BELIEF - slope

    with one_thread():
        found = scipy.optimize.minimize(
            loss,
            _logarithms(current),
            jac=True,
            method="L-BFGS-B",
            bounds=[(x - _REACH, x + _REACH) for x in around],
            options={"maxfun": evaluations},
        )
    return _with_logarithms(first, found.x)


def log_evidence(prior: Prior, data: Moments) -> tuple[float, np.ndarray]:
    """Logarithm of the probability of the data, up to a constant, and its slopes.

    Args:
      prior: The belief before the data.
      data: The rewards seen.

    Returns:
      The logarithm, and its derivatives by the logarithm of each scale and, last,
      of the noise, `(G + 1,)`.
    """
    weight = 1 / prior.scale[prior.group] ** 2
    found = posterior(prior, data)
    right = weight * prior.mean + data.cross / prior.noise**2
    # The lower triangle of the covariance of the coefficients.
    covariance, _ = scipy.linalg.lapack.dpotri(found.factor, lower=1)
    variance = np.diag(covariance)
    departure = weight * ((found.mean - prior.mean) ** 2 + variance)
    groups = len(prior.scale)
    slopes = np.bincount(prior.group, departure - 1, minlength=groups)
    spread = 2 * np.sum(np.tril(data.gram) * covariance) - np.diag(data.gram) @ variance
    error = (
        data.square
        - 2 * data.cross @ found.mean
        + found.mean @ data.gram @ found.mean
        + spread
    )
    value = (
        -data.count * np.log(prior.noise)
        - np.log(np.diag(found.factor)).sum()
        + 0.5 * np.log(weight).sum()
        - 0.5
        * (data.square / prior.noise**2 + weight @ prior.mean**2 - found.mean @ right)
    )
    return float(value), np.append(slopes, error / prior.noise**2 - data.count)


def _logarithms(prior: Prior) -> np.ndarray:
    return np.log(np.append(prior.scale, prior.noise))


def _with_logarithms(prior: Prior, logarithms: np.ndarray) -> Prior:
    *scale, noise = np.exp(logarithms)
    return dataclasses.replace(prior, scale=np.array(scale), noise=float(noise))
