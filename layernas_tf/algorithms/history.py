"""What was asked and told so far: the memory that every algorithm has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

_MOST = 1e100
"""Rewards are squared, and squares are added up."""


def credible(reward: float) -> bool:
    """Whether a reward can be learned from: a number, and not absurdly large."""
    return abs(reward) <= _MOST


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a search hands back.

    Example: `Answer((1, 0, 2), reward=0.91, quality=0.89)`.

    Attributes:
      architecture: The architecture, which is inside every budget.
      reward: Its reward, or None if it was never trained itself: then it is the best
        prefix found, completed within the budget.
      quality: The expected reward without its noise, where the algorithm has a belief
        about it: then the answer is the candidate for which this is highest.
    """

    architecture: Architecture
    reward: float | None
    quality: float | None = None


class History:
    """What was asked and told so far; the memory that all algorithms share.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> history = History(burger(), ())
      >>> history.record(Candidate((1, 0, 2), 0), 0.8)
      True
      >>> history.best.architecture
      (1, 0, 2)

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
        self._highest = -math.inf

    def rng(self, number: int) -> np.random.Generator:
        """The randomness of ask `number`, the same after a resume."""
        return np.random.default_rng((self.seed, number))

    def is_new(self, architecture: Architecture) -> bool:
        """Whether the architecture was neither told nor is pending."""
        return architecture not in self.rewards and architecture not in self.pending

    def note_ask(self, candidate: Candidate) -> None:
        """Notes that a candidate was proposed and is pending."""
        self.pending[candidate.architecture] = candidate
        self.asked = max(self.asked, candidate.number + 1)

    def record(self, candidate: Candidate, reward: float | None) -> bool:
        """Notes a reward; False if the architecture had been told before."""
        architecture = candidate.architecture
        self.pending.pop(architecture, None)
        self.asked = max(self.asked, candidate.number + 1)
        if self.rewards.get(architecture) is not None:
            return False
        if reward is not None:
            reward = float(reward)
            if not credible(reward):
                reward = None
        self.rewards[architecture] = reward
        if reward is not None and reward > self._highest:
            _, costs = self.space.chain.walk(architecture)
            if inside(self.budgets, costs):
                self._best = Answer(architecture, reward)
                self._highest = reward
        return True

    @property
    def best(self) -> Answer | None:
        """The best told architecture inside the budgets."""
        return self._best
