"""A search algorithm of your own: changes of the best architectures so far.

python -m layernas_tf.search --algorithm=examples/my_algorithm.py:BestFirst
"""

from collections.abc import Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.space import Architecture, Budget, Candidate, SearchSpace


class BestFirst(Algorithm):
    """Changes one layer of one of the best architectures found so far.

    Example: `BestFirst(space, budgets, seed=0, parents=3)`.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget] = (),
        *,
        seed: int = 0,
        parents: int = 5,
        changes: int = 50,
    ):
        """Takes two options: how many `parents`, and how many `changes` to try."""
        super().__init__(space, budgets, seed=seed)
        self._parents = parents
        self._changes = changes
        self._found: list[tuple[float, Architecture]] = []

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """Proposes a changed parent, or anything untried if no change is left."""
        for _ in range(self._changes if self._found else 0):
            _, parent = self._found[rng.integers(len(self._found))]
            layer = int(rng.choice(self.space.searched_layers))
            option = int(rng.integers(len(self.space.layers[layer].options)))
            child = (*parent[:layer], option, *parent[layer + 1 :])
            if self.untried.allows(child):
                return Candidate(child, number)
        architecture = self.untried.sample(rng)
        return None if architecture is None else Candidate(architecture, number)

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """Keeps the best architectures that are inside the budgets."""
        if reward is not None and self.untried.fits(candidate.architecture):
            found = [*self._found, (reward, candidate.architecture)]
            self._found = sorted(found, reverse=True)[: self._parents]
