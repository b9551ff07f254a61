"""Local search: first improvement over one-layer changes, with restarts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.space.budget import Budget, rows_inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


class LocalSearch(Algorithm):
    """Climbs from random starts (White et al., arXiv 2005.02960, first improvement).

    A neighbour differs in the option of one layer. Neighbours inside the budgets are
    tried in random order, and the first that is better is climbed from. Rewards that
    are known already are used for free, so a climb that runs into an old one ends at
    once. When no neighbour is better, the search starts again at random; while the last
    neighbours of a local optimum are pending, further asks begin new climbs.

    Example: `LocalSearch(space, [Budget("madds", 0, 3e6)], seed=0)`.
    """

    def __init__(self, space: SearchSpace, budgets: Sequence[Budget], *, seed: int = 0):
        """Makes a search; raises `UserError` if nothing is inside the budgets."""
        super().__init__(space, budgets, seed=seed)
        self._current: Architecture | None = None
        self._neighbours: list[Architecture] = []

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """See `Algorithm.propose`."""
        left = [a for a in self._neighbours if self.history.is_new(a)]
        architecture = (
            left[rng.integers(len(left))] if left else self.untried.sample(rng)
        )
        return None if architecture is None else Candidate(architecture, number)

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """See `Algorithm.learn`."""
        told = candidate.architecture
        if self.untried.fits(told) and self._value(told) > self._value(self._current):
            self._climb_from(told)
        while self._current is not None:
            better = max(self._neighbours, key=self._value, default=self._current)
            if self._value(better) > self._value(self._current):
                self._climb_from(better)
            elif all(a in self.history.rewards for a in self._neighbours):
                self._current, self._neighbours = None, []
            else:
                break

    def _value(self, architecture: Architecture | None) -> float:
        known = self.history.rewards
        reward = None if architecture is None else known.get(architecture)
        return -np.inf if reward is None else reward

    def _climb_from(self, architecture: Architecture) -> None:
        self._current = architecture
        self._neighbours = neighbours_inside(
            self.space, self.budgeted.budgets, architecture
        )


def neighbours_inside(
    space: SearchSpace, budgets: Sequence[Budget], architecture: Architecture
) -> list[Architecture]:
    """The architectures inside the budgets that differ in the option of one layer."""
    changed = [
        (*architecture[:i], option, *architecture[i + 1 :])
        for i in space.searched_layers
        for option in range(len(space.layers[i].options))
        if option != architecture[i]
    ]
    if not changed:
        return []
    costs = space.chain.costs(np.array(changed))
    return [a for a, fits in zip(changed, rows_inside(budgets, costs)) if fits]
