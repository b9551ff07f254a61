"""Random search: uniform inside the budget, without repeats."""

from __future__ import annotations

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.space.candidate import Candidate


class RandomSearch(Algorithm):
    """Draws uniformly from the untried architectures inside the budgets.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> candidate = RandomSearch(burger(), (), seed=0).ask()
      >>> len(candidate.architecture)
      3
    """

    pure_proposals = True

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """See `Algorithm.propose`."""
        architecture = self.untried.sample(rng)
        return None if architecture is None else Candidate(architecture, number)
