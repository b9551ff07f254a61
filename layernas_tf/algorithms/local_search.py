"""Local search: first improvement over one-layer changes, with restarts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from layernas_tf.algorithms.base import Answer, History
from layernas_tf.algorithms.untried import Untried
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


class LocalSearch:
    """Climbs from random starts (White et al., arXiv 2005.02960, first improvement).

    A neighbour differs in the option of one layer. Neighbours inside the budgets are
    tried in random order, and the first that is better is climbed from. Rewards that
    are known already are used for free, so a climb that runs into an old one ends at
    once. When no neighbour is better, the search starts again at random; while the
    last neighbours of a top are pending, further asks are starts as well.
    """

    def __init__(self, space: SearchSpace, budgets: Sequence[Budget], *, seed: int = 0):
        """Makes a search; raises `UserError` if nothing is inside the budgets."""
        self.history = History(space, budgets, seed)
        self._untried = Untried(self.history, BudgetedChain(space.chain, budgets))
        self._current: Architecture | None = None
        self._neighbours: list[Architecture] = []

    def ask(self, number: int | None = None) -> Candidate | None:
        """See `Algorithm.ask`."""
        number = self.history.next_number(number)
        rng = self.history.rng(number)
        left = [a for a in self._neighbours if self.history.is_new(a)]
        architecture = (
            left[rng.integers(len(left))] if left else self._untried.sample(rng)
        )
        if architecture is None:
            return None
        return self.history.propose(architecture, number)

    def tell(
        self,
        candidate: Candidate,
        reward: float | None,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        """See `Algorithm.tell`."""
        self.history.record(candidate, reward)
        told = candidate.architecture
        if self._untried.fits(told) and self._value(told) > self._value(self._current):
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
        reward = self.history.rewards.get(architecture)
        return -np.inf if reward is None else reward

    def _climb_from(self, architecture: Architecture) -> None:
        self._current = architecture
        self._neighbours = neighbours_inside(
            self.history.space, self._untried.budgeted.budgets, architecture
        )

    @property
    def finished(self) -> bool:
        """See `Algorithm.finished`."""
        return not self.history.pending and self._untried.exhausted()

    @property
    def best(self) -> Answer | None:
        """See `Algorithm.best`."""
        return self.history.best


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
    inside = np.ones(len(changed), bool)
    for budget in budgets:
        cost = costs[budget.metric]
        inside &= (budget.lower <= cost) & (cost <= budget.upper)
    return [a for a, fits in zip(changed, inside) if fits]
