"""LayerNAS with a learned reward: `layernas_bayes`.

The layerwise assumption says that what is best up to a layer stays best whatever
follows; taken as a statistical model, the reward is a sum of effects per layer and per
pair of neighbours. Each ask draws such a reward from its posterior (Thompson, "On the
likelihood that one unknown probability exceeds another", Biometrika 1933) and lets the
memorial table find the best architecture inside the budget for the draw.

Before there are data the belief is that capacity helps: every doubling of a numeric
attribute is worth the same at every layer. Under a budget this alone asks for balanced
architectures that use it up, and each layer's departure from it is learned.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.history import Answer
from layernas_tf.algorithms.memorial_solver import UNITS, MemorialSolver
from layernas_tf.algorithms.option_checks import check_number
from layernas_tf.algorithms.reward_belief import RewardBelief
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace

_REPEATS = 5
"""How many of the best solutions of a draw are examined for an untried one."""
_WIDTHS = (0.0, 0.5, 1.0, 2.0)
"""Widths of draws that asks take in turn, as multiples of `exploration`."""
_WIDER = (1.0, 4.0, 16.0, 64.0, 256.0, 4096.0, 65536.0)
"""How many times as wide the draws of one ask become while they find only what was
tried; all solutions of the last are examined."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """What an option is worth at its layer, the neighbours at their defaults.

    Example: `Effect("block1", 2, "kernel=5", worth=0.004, deviation=0.002)`.

    Attributes:
      layer: Name of the layer.
      index: Index of the option at the layer.
      option: Label of the option.
      worth: Reward gained against the layer's default option, in the reward's unit.
      deviation: Standard deviation of the belief.
    """

    layer: str
    index: int
    option: str
    worth: float
    deviation: float


class LayerNASBayes(Algorithm):
    """Thompson sampling of an additive reward, solved by the memorial table.

    Example: `LayerNASBayes(space, [Budget("madds", 0, 3e6)], seed=0)`.

    Attributes:
      belief: What is believed of the rewards.
      effects: The features of the belief's additive part.
      solvers: A memorial table of fine cost buckets, and one of coarse.
    """

    pure_proposals = True

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget] = (),
        *,
        seed: int = 0,
        capacity: float = 0.7,
        exploration: float = 0.5,
        shared: bool = True,
        neighbours: bool = True,
        learning: bool = True,
        limits: Sequence[Sequence[Budget]] = (),
    ):
        """Makes a search.

        Args:
          space: What to search.
          budgets: All hold together; every candidate is inside them.
          seed: Determines every random choice.
          capacity: How much of the standard deviation of random architectures'
            rewards is believed, before there are data, to come from larger numbers of
            filters, kernels or expansion ratios being better; 0 for no belief.
          exploration: Width of a draw around the posterior's mean, in its standard
            deviations: asks draw 0, 1/2, 1 and 2 times as wide, in turn. 0 always takes
            the mean.
          shared: Whether the effect of an attribute has a part that all layers share.
          neighbours: Whether neighbouring layers have terms of their own.
          learning: Whether noise and scales are learned from the data.
          limits: Several budgets inside `budgets`, each with an answer of its own: asks
            take them in turn, and what is learned serves all.
        """
        check_number("capacity", capacity)
        check_number("exploration", exploration)
        super().__init__(space, budgets, seed=seed)
        absent = ("slope", "bend") * (not shared) + ("neighbours",) * (not neighbours)
        self.belief = RewardBelief(
            space, capacity=capacity, absent=absent, learning=learning
        )
        self.effects = self.belief.effects
        self.solvers = self._solvers_of(self.budgeted)
        self._limited = [
            self._solvers_of(BudgetedChain(space.chain, limit)) for limit in limits
        ]
        self._exploration = exploration

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """The best untried architecture for a draw from the posterior."""
        if self._limited:
            # Shifted every few asks, so that no budget always gets the same turn.
            turn = (number + number // 4) % len(self._limited)
            candidate = self._solve(number, rng, self._limited[turn])
            if candidate is not None:
                return candidate
        candidate = self._solve(number, rng, self.solvers)
        if candidate is not None:
            return candidate
        # Costs that are rounded hide the last architectures of a narrow band.
        sampled = self.untried.sample(rng)
        return None if sampled is None else Candidate(sampled, number)

    def _solvers_of(
        self, budgeted: BudgetedChain
    ) -> tuple[MemorialSolver, MemorialSolver]:
        """A fine table, and a coarse one, which takes less time."""
        return (
            MemorialSolver(self.effects, budgeted),
            MemorialSolver(self.effects, budgeted, UNITS // 4),
        )

    def _solve(
        self,
        number: int,
        rng: np.random.Generator,
        solvers: tuple[MemorialSolver, MemorialSolver],
    ) -> Candidate | None:
        fine, coarse = solvers
        belief = self.belief.weights()
        first = _WIDTHS[number % len(_WIDTHS)]
        for attempt, wider in enumerate(_WIDER):
            departure = belief.draw(rng) - belief.mean
            # If the belief is so certain that its draws repeat, they are spread wider.
            times = first * wider if first else wider - 1
            width = self._exploration * times if number else 0.0
            weights = belief.mean + width * departure
            last = attempt + 1 == len(_WIDER)
            # What a wide draw finds is chance: its table need not be fine.
            solver = coarse if attempt and not last else fine
            solutions = solver.solutions(self.effects.scores(weights[:-1]))
            most = None if last else _REPEATS
            for _, architecture in itertools.islice(solutions, most):
                if self.history.is_new(architecture):
                    return Candidate(architecture, number)
        return None

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """Adds a reward to the regression; a failed trial adds nothing."""
        if reward is not None:
            self.belief.add(candidate.architecture, reward)

    @property
    def best(self) -> Answer | None:
        """The recommendation: the tried candidate of the highest expected quality.

        The highest of many rewards owes more to luck than to quality. The expected
        quality of a candidate is the sum of its effects plus the part of the remaining
        reward that is not noise.
        """
        tried = self.belief.architectures
        fits = [inside(self.history.budgets, self.space.costs(a)) for a in tried]
        if not any(fits):
            return None
        quality = self.belief.expected_quality()
        best = int(np.argmax(np.where(fits, quality, -np.inf)))
        return Answer(tried[best], self.belief.rewards[best], float(quality[best]))

    def learned_effects(self) -> list[Effect]:
        """What the options of every searched layer are believed to be worth.

        Without those that are outside of a budget whatever the other layers choose.
        """
        belief = self.belief.weights()
        _, spread = self.belief.unit()
        inverse = np.linalg.inv(belief.factor)
        effects = []
        node = 0
        for layer, features, allowed in zip(
            self.space.layers, self.effects.layers, self.budgeted.allowed
        ):
            default = features.features[node, layer.default]
            possible = allowed.any(axis=0) & (len(layer.options) > 1)
            for index in np.flatnonzero(possible):
                option, row = layer.options[index], features.features[node, index]
                contrast = np.zeros(len(belief.mean))
                contrast[features.columns] = row - default
                effects.append(
                    Effect(
                        layer.name,
                        int(index),
                        option.label,
                        spread * float(contrast @ belief.mean),
                        spread * float(np.linalg.norm(inverse @ contrast)),
                    )
                )
            node = features.next_node[node, layer.default]
        return effects
