"""Architectures inside the budgets that were not tried yet.

The part of their budget knowledge that all baselines share: where LayerNAS knows what
is inside the budget without training anything, so do they.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from layernas_tf.algorithms.history import History
from layernas_tf.space.budget import inside
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.types import Architecture

_DRAWS = 64


class Untried:
    """Samples what a history leaves to try.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> from layernas_tf.space.candidate import Candidate
      >>> history = History(burger(), ())
      >>> untried = Untried(history, BudgetedChain(burger().chain, ()))
      >>> history.record(Candidate((0, 0, 0), 0), 0.5)
      True
      >>> untried.allows((0, 0, 0)), untried.allows((0, 0, 1))
      (False, True)

    Attributes:
      budgeted: The chain within the budgets that proposals must keep.
    """

    def __init__(self, history: History, budgeted: BudgetedChain):
        self.budgeted = budgeted
        self._history = history
        self._chain = budgeted.chain

    def allows(self, architecture: Architecture) -> bool:
        """Whether an architecture is inside the budgets and was not tried."""
        return self._history.is_new(architecture) and self.fits(architecture)

    def fits(self, architecture: Architecture) -> bool:
        """Whether an architecture is inside the budgets."""
        _, costs = self._chain.walk(architecture)
        return inside(self.budgeted.budgets, costs)

    def sample(self, rng: np.random.Generator) -> Architecture | None:
        """Draws uniformly from what is left; None when nothing is."""
        for _ in range(_DRAWS):
            architecture = self.budgeted.sample(rng)
            if self._history.is_new(architecture):
                return architecture
        left = list(self._left())
        return left[rng.integers(len(left))] if left else None

    def _left(self) -> Iterator[Architecture]:
        return (a for a in self._inside(()) if self._history.is_new(a))

    def _inside(self, prefix: Architecture) -> Iterator[Architecture]:
        """All architectures inside the budgets, by exact bounds of the prefixes."""
        chain = self._chain
        for budget in self.budgeted.budgets:
            if (
                chain.cheapest(prefix, budget.metric) > budget.upper
                or chain.most_expensive(prefix, budget.metric) < budget.lower
            ):
                return
        if len(prefix) == len(chain):
            yield prefix
            return
        for option in range(chain.next_state[len(prefix)].shape[1]):
            yield from self._inside((*prefix, option))
