"""One search of a table, and the best that it had found after each trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.registry import make_algorithm, takes_reward_shape
from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.space.budget import Budget, inside
from layernas_tf.tabular.table import Row, Table

_RECOMMENDED_EVERY = 5
"""Trials between two recommendations, which take as long as an ask or longer."""


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """The best architecture inside the budget after each trial, chosen by `valid`.

    Example:
      curve = run_algorithm("layernas", table, budgets, trials=50, seed=0)
      curve.valid[-1], curve.test[-1]

    Attributes:
      valid: Search signal of that architecture, float array `(trials,)`; NaN while
        there is none.
      test: The result reported for it, `(trials,)`.
      recommended_valid: Search signal of the architecture that the algorithm
        recommends, `(trials,)`: the one with the highest expected quality if it has a
        belief about that, else the same architecture. Refreshed every few trials.
      recommended_test: The result reported for the recommendation, `(trials,)`.
    """

    valid: np.ndarray
    test: np.ndarray
    recommended_valid: np.ndarray
    recommended_test: np.ndarray


def run_algorithm(
    name: str,
    table: Table,
    budgets: Sequence[Budget],
    trials: int,
    seed: int,
    shape: RewardShape = RewardShape(),
) -> Curve:
    """Searches a table once.

    A search that ends by itself keeps its answer for the remaining trials.

    Raises:
      UserError: The table lacks an architecture that the search asks for.
    """
    algorithm = make_algorithm(
        name, table.space, budgets, seed, **_options(name, table, budgets, shape)
    )
    figures = np.full((trials, 4), np.nan)
    best = recommended = None
    for trial in range(trials):
        candidate = algorithm.ask()
        if candidate is None:
            if best is not None:
                recommended = _recommended(algorithm, table) or best
                figures[trial:] = _figures(best, recommended)
            break
        row = table.query(candidate.architecture)
        _, costs = table.space.chain.walk(candidate.architecture)
        algorithm.tell(candidate, row.valid)
        if inside(budgets, costs) and (best is None or row.valid > best.valid):
            best = row
        if trial % _RECOMMENDED_EVERY in (0, _RECOMMENDED_EVERY - 1):
            recommended = _recommended(algorithm, table)
        if best is not None:
            figures[trial] = _figures(best, recommended or best)
    return Curve(*figures.T)


def _recommended(algorithm: Algorithm, table: Table) -> Row | None:
    """What is recommended in place of the best by signal; None if nothing is."""
    answer = algorithm.best
    if answer is None or answer.quality is None:
        return None
    return table.query(answer.architecture)


def _figures(best: Row, recommended: Row) -> tuple[float, float, float, float]:
    return best.valid, best.test, recommended.valid, recommended.test


def _options(
    name: str, table: Table, budgets: Sequence[Budget], shape: RewardShape
) -> dict[str, Any]:
    if shape.rejects or not takes_reward_shape(name):
        return {}
    scale = abs(table.best(budgets).valid)
    return {"shape": dataclasses.replace(shape, beta=shape.beta * scale)}


def check_algorithms(
    names: Sequence[str], table: Table, budgets: Sequence[Budget], shape: RewardShape
) -> None:
    """Raises `UserError` for what would fail in every run."""
    for name in names:
        make_algorithm(
            name, table.space, budgets, 0, **_options(name, table, budgets, shape)
        )
