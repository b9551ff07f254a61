"""Short searches on small chains, as the tests of algorithms make them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.testing.chains import everything, random_space

Reward = Callable[[Architecture], float]


@dataclasses.dataclass(frozen=True)
class Ask:
    """A candidate was asked for.

    Example: `Ask(Candidate((1, 0, 2), 0))`.
    """

    candidate: Candidate


@dataclasses.dataclass(frozen=True)
class Tell:
    """A candidate's reward was told; None says that its trial failed.

    Example: `Tell(Candidate((1, 0, 2), 0), reward=0.91)`.
    """

    candidate: Candidate
    reward: float | None


@dataclasses.dataclass(frozen=True)
class Run:
    """What happened in a short search.

    Example:
      >>> from layernas_tf.algorithms.random_search import RandomSearch
      >>> space, budgets = task()
      >>> finished = run(RandomSearch(space, budgets), rewards(0, space), steps=8)
      >>> 0 < len(finished.asked) <= 8
      True

    Attributes:
      events: Asks and tells, in their order.
      asked: The candidates, in the order of the asks.
      pending: The candidates that had not been told when the search stopped.
    """

    events: Sequence[Ask | Tell]
    asked: Sequence[Candidate]
    pending: Sequence[Candidate]


def run(
    algorithm: Algorithm,
    reward: Reward,
    steps: int,
    *,
    workers: int = 1,
    failing: Collection[int] = (),
) -> Run:
    """Asks and tells for a number of steps, with up to `workers` pending at once.

    Args:
      algorithm: The algorithm that searches.
      reward: Returns the reward of an architecture.
      steps: Number of steps, each with at most one ask and one tell.
      workers: The most pending candidates; they are told in random order.
      failing: Steps whose tell is a failure.
    """
    events: list[Ask | Tell] = []
    asked: list[Candidate] = []
    pending: list[Candidate] = []
    rng = np.random.default_rng(0)
    for step in range(steps):
        candidate = algorithm.ask() if len(pending) < workers else None
        if candidate is not None:
            events.append(Ask(candidate))
            pending.append(candidate)
            asked.append(candidate)
        elif not pending:
            break
        if pending and (candidate is None or rng.random() < 0.5):
            told = pending.pop(rng.integers(len(pending)))
            value = None if step in failing else reward(told.architecture)
            algorithm.tell(told, value)
            events.append(Tell(told, value))
    return Run(events, asked, pending)


def task(
    seed: int = 3, layers: int = 5, options: int = 4, share: float = 0.4
) -> tuple[SearchSpace, list[Budget]]:
    """A small space, and a budget that a share of its architectures is inside."""
    space = random_space(seed, layers=layers, options=options)
    costs = space.chain.costs(everything(space))["madds"]
    return space, [Budget("madds", 0, float(np.quantile(costs, share)))]


def rewards(seed: int, space: SearchSpace) -> Reward:
    """Makes a reward: a term per option, and a smaller one per pair of neighbours."""
    rng = np.random.default_rng(seed)
    widest = max(len(layer.options) for layer in space.layers)
    unary = rng.normal(size=(len(space.layers), widest))
    pair = 0.3 * rng.normal(size=(len(space.layers), widest, widest))

    def reward(architecture: Architecture) -> float:
        return 10 + sum(
            unary[i, option] + pair[i, architecture[i - 1], option]
            for i, option in enumerate(architecture)
        )

    return reward
