"""Random search: uniform inside the budget, without repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layernas_tf.algorithms.base import Answer, History
from layernas_tf.algorithms.untried import Untried
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


class RandomSearch:
    """Draws uniformly from the untried architectures inside the budgets."""

    def __init__(self, space: SearchSpace, budgets: Sequence[Budget], *, seed: int = 0):
        """Makes a search; raises `UserError` if nothing is inside the budgets."""
        self.history = History(space, budgets, seed)
        self._untried = Untried(self.history, BudgetedChain(space.chain, budgets))

    def ask(self, number: int | None = None) -> Candidate | None:
        """See `Algorithm.ask`."""
        number = self.history.next_number(number)
        architecture = self._untried.sample(self.history.rng(number))
        if architecture is None:
            return None
        return self.history.propose(architecture, number)

    def recall(self, architecture: Architecture, number: int) -> Candidate | None:
        """See `Recalls`."""
        return self.history.recall(architecture, number)

    def tell(
        self,
        candidate: Candidate,
        reward: float | None,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        """See `Algorithm.tell`."""
        self.history.record(candidate, reward)

    @property
    def finished(self) -> bool:
        """See `Algorithm.finished`."""
        return not self.history.pending and self._untried.exhausted()

    @property
    def best(self) -> Answer | None:
        """See `Algorithm.best`."""
        return self.history.best
