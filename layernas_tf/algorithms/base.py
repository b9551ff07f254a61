"""What every search algorithm is: ask for a candidate, tell its reward.

The algorithm does no I/O, trains nothing and imports no TensorFlow. Its state is a
function of the seed and of the asks and tells in their order, so a study is resumed by
replaying its trials. The randomness of ask `n` comes from `(seed, n)` alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


class Algorithm(Protocol):
    """The interface that LayerNAS and every baseline share."""

    def ask(self, number: int | None = None) -> Candidate | None:
        """Proposes an architecture that was neither tried nor is pending.

        Args:
          number: The trial's number; by default the number of asks so far. Drivers
            that share a study pass the number that the storage gave.

        Returns:
          The candidate, or None when there is nothing to propose now: either what is
          pending must be told first, or `finished` is true.
        """

    def tell(
        self,
        candidate: Candidate,
        reward: float | None,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        """Reports a reward (higher is better), or None for a failed trial.

        Candidates that this object never proposed (of another worker, of an earlier
        session) are accepted as well.
        """

    @property
    def finished(self) -> bool:
        """Whether nothing is left to try and nothing is pending."""

    @property
    def best(self) -> Answer | None:
        """The answer so far; None before the first reward."""


@runtime_checkable
class Recalls(Protocol):
    """An algorithm whose asks change nothing but its history.

    Where it is known what an ask proposed, it need not be computed again: a study of
    many trials is then rebuilt in little time.
    """

    def recall(self, architecture: Architecture, number: int) -> Candidate | None:
        """Does ask `number` again, which proposed this; None if it never could."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a search hands back.

    Attributes:
      architecture: Within every budget, always.
      reward: Its reward, or None if it was never trained itself: then it is the best
        prefix found, completed within the budget.
    """

    architecture: Architecture
    reward: float | None


class History:
    """What was asked and told so far; the memory that all algorithms share.

    Attributes:
      rewards: By architecture, the reward told first; None for a failed trial.
      pending: Architectures asked for and not yet told, with their candidates.
      asked: The number of asks so far.
    """

    def __init__(self, space: SearchSpace, budgets: Sequence[Budget], seed: int = 0):
        self.space = space
        self.budgets = tuple(budgets)
        self.seed = seed
        self.rewards: dict[Architecture, float | None] = {}
        self.pending: dict[Architecture, Candidate] = {}
        self.asked = 0
        self._best: Answer | None = None

    def rng(self, number: int) -> np.random.Generator:
        """The randomness of ask `number`, the same after a resume."""
        return np.random.default_rng((self.seed, number))

    def next_number(self, number: int | None) -> int:
        """The number of the ask under way."""
        return self.asked if number is None else number

    def is_new(self, architecture: Architecture) -> bool:
        """Whether the architecture was neither told nor is pending."""
        return architecture not in self.rewards and architecture not in self.pending

    def propose(
        self,
        architecture: Architecture,
        number: int,
        layer: int | None = None,
        parent: Architecture | None = None,
    ) -> Candidate:
        """Notes an ask and makes its candidate."""
        candidate = Candidate(tuple(map(int, architecture)), number, layer, parent)
        self.pending[candidate.architecture] = candidate
        self.asked = max(self.asked, number + 1)
        return candidate

    def recall(self, architecture: Architecture, number: int) -> Candidate | None:
        """Notes an ask that proposed this; None if it never could have."""
        _, costs = self.space.chain.walk(architecture)
        if not (self.is_new(architecture) and inside(self.budgets, costs)):
            return None
        return self.propose(architecture, number)

    def record(self, candidate: Candidate, reward: float | None) -> bool:
        """Notes a reward; False if the architecture had been told before."""
        architecture = candidate.architecture
        self.pending.pop(architecture, None)
        self.asked = max(self.asked, candidate.number + 1)
        if self.rewards.get(architecture) is not None:
            return False
        if reward is not None:
            reward = float(reward)
            if not np.isfinite(reward):
                reward = None
        self.rewards[architecture] = reward
        if reward is not None and (self._best is None or reward > self._best.reward):
            _, costs = self.space.chain.walk(architecture)
            if inside(self.budgets, costs):
                self._best = Answer(architecture, reward)
        return True

    @property
    def best(self) -> Answer | None:
        """The best told architecture inside the budgets."""
        return self._best
