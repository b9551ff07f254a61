"""Surrogates of Accel-NASBench: accuracy from stages and pairs, costs as exact sums.

The accuracy of a network is predicted by ridge regression on the logarithm of its
distance to a ceiling, from the attributes of each stage, their products within a stage,
and their products between any two stages. Latency and training time are sums of one
non-negative term per stage, so that a search can treat them like MAdds.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from layernas_tf.space.types import Option

CEILING = 75.0
"""Top-1 percent that no network reaches; 70 to 100 change Kendall's tau by 0.004."""

RIDGE = 1.0
"""Penalty on the squared weights; 0.3 to 3 do equally well on a held-out tenth."""

OUTLIER = 6.0
"""Rows with a residual above this many median ones are left out of a cost's fit."""

_ROUNDS = 20
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class AccuracySurrogate:
    """Predicts top-1 accuracy in percent.

    Example:
      >>> surrogate = AccuracySurrogate(0.0, (np.zeros(2),), {})
      >>> surrogate.accuracy(np.array([[0], [1]]))
      array([74., 74.])

    Attributes:
      base: Logarithm of the distance to the ceiling without any term.
      single: For stage `i`, the term of each option, float array `(O_i,)`.
      pairs: For stages `i < j`, the term of each pair, float array `(O_i, O_j)`.
    """

    base: float
    single: tuple[np.ndarray, ...]
    pairs: dict[tuple[int, int], np.ndarray]

    def log_error(self, architectures: np.ndarray) -> np.ndarray:
        """Log of the distance to the ceiling: int array `(N, L)` to float `(N,)`."""
        total = np.full(len(architectures), self.base)
        for stage, term in enumerate(self.single):
            total += term[architectures[:, stage]]
        for (i, j), term in self.pairs.items():
            total += term[architectures[:, i], architectures[:, j]]
        return total

    def accuracy(self, architectures: np.ndarray) -> np.ndarray:
        """Top-1 accuracy in percent: int array `(N, L)` to float array `(N,)`."""
        return CEILING - np.exp(self.log_error(architectures))


@dataclasses.dataclass(frozen=True, eq=False)
class SumSurrogate:
    """Predicts a cost as a constant and one term per stage, none of them negative.

    Example:
      >>> SumSurrogate(1.0, (np.array([0.0, 2.0]),)).predict(np.array([[0], [1]]))
      array([1., 3.])

    Attributes:
      base: The constant.
      single: For stage `i`, the term of each option, float array `(O_i,)`.
    """

    base: float
    single: tuple[np.ndarray, ...]

    def predict(self, architectures: np.ndarray) -> np.ndarray:
        """The cost: int array `(N, L)` to float array `(N,)`."""
        total = np.full(len(architectures), self.base)
        for stage, term in enumerate(self.single):
            total += term[architectures[:, stage]]
        return total


def fit_accuracy(
    options: Sequence[Sequence[Option]], architectures: np.ndarray, accuracy: np.ndarray
) -> AccuracySurrogate:
    """Fits the surrogate of the accuracy.

    Args:
      options: Options of each stage, with `expansion`, `kernel`, `blocks` and `se`.
      architectures: Option indices, int array `(N, L)`.
      accuracy: Top-1 accuracy in percent, below `CEILING`, float array `(N,)`.
    """
    from sklearn.linear_model import Ridge

    features = [_features(each) for each in options]
    products = [_products(each) for each in features]
    order = list(itertools.combinations(range(len(options)), 2))
    columns = [products[i][architectures[:, i]] for i in range(len(options))]
    for i, j in order:
        left = features[i][architectures[:, i]]
        right = features[j][architectures[:, j]]
        columns.append((left[:, :, None] * right[:, None, :]).reshape(len(left), -1))
    fitted = Ridge(alpha=RIDGE, solver="cholesky").fit(
        np.hstack(columns), np.log(CEILING - accuracy)
    )
    ends = np.cumsum([column.shape[1] for column in columns])[:-1]
    weights = np.split(fitted.coef_, ends)
    single = tuple(products[i] @ weights[i] for i in range(len(options)))
    pairs = {}
    for (i, j), weight in zip(order, weights[len(options) :]):
        matrix = weight.reshape(features[i].shape[1], features[j].shape[1])
        pairs[i, j] = features[i] @ matrix @ features[j].T
    return AccuracySurrogate(float(fitted.intercept_), single, pairs)


def fit_sum(
    sizes: Sequence[int], architectures: np.ndarray, cost: np.ndarray
) -> SumSurrogate:
    """Fits a cost by non-negative least squares, repeated without the outliers.

    Args:
      sizes: Number of options of each stage.
      architectures: Option indices, int array `(N, L)`.
      cost: Measured costs, float array `(N,)`; NaN where none was measured.
    """
    from scipy.optimize import nnls

    rows = np.arange(len(cost))[:, None]
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    design = np.zeros((len(cost), sum(sizes) + 1))
    design[rows, architectures + offsets] = 1.0
    design[:, -1] = 1.0
    known = np.isfinite(cost)
    kept = known & (cost <= OUTLIER * np.nanmedian(cost))
    for _ in range(_ROUNDS):
        weights, _ = nnls(design[kept], cost[kept])
        off = np.abs(np.where(known, cost, 0) - design @ weights)
        limit = OUTLIER * np.median(off[known]) + _ROUNDING * cost[kept].max()
        before, kept = kept, known & (off <= limit)
        if np.array_equal(before, kept):
            break
    single = np.split(weights[:-1], offsets[1:])
    return SumSurrogate(float(weights[-1]), tuple(single))


def _features(options: Sequence[Option]) -> np.ndarray:
    """Attributes of the options as zeros and ones, float array `(O, 7)`."""
    return np.array(
        [
            [
                option["expansion"] == 1,
                option["expansion"] == 4,
                option["kernel"] == 5,
                *(option["blocks"] == blocks for blocks in (1, 2, 4)),
                option["se"],
            ]
            for option in options
        ],
        float,
    )


def _products(features: np.ndarray) -> np.ndarray:
    """The features and the products of any two, float array `(O, 7 + 21)`."""
    pairs = itertools.combinations(range(features.shape[1]), 2)
    products = [features[:, i] * features[:, j] for i, j in pairs]
    return np.column_stack([features, *products])
