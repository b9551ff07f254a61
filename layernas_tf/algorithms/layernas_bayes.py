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
import math
from collections.abc import Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.bayesian_regression import (
    Moments,
    Posterior,
    Prior,
    learn_scales,
    posterior,
)
from layernas_tf.algorithms.memorial_solver import MemorialSolver
from layernas_tf.algorithms.reward_features import GROUPS, Effects
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace

_SCALE = {
    "slope": 0.3,
    "bend": 0.3,
    "layer slope": 0.3,
    "layer bend": 0.3,
    "neighbours": 0.1,
}
_INTERCEPT_SCALE = 3.0
_ABSENT = 1e-4
"""Scale of effects that are not to be there."""
_NOISE = 0.3
_FIRST_LEARNING = 4
_LEARNING_GROWTH = 1.15
_LEARNING_STEPS = 3
_REPEATS = 5
"""Next-best solutions of one draw that may have been tried before."""
_DRAWS = 5
"""Draws of an ask, each wider; the last one goes through all solutions."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """What an option is worth at its layer, the neighbours at their defaults.

    Attributes:
      layer: Name of the layer.
      option: Label of the option.
      worth: Reward gained against the layer's default option, in the reward's unit.
      deviation: Standard deviation of the belief.
    """

    layer: str
    option: str
    worth: float
    deviation: float


class LayerNASBayes(Algorithm):
    """Thompson sampling of an additive reward, solved by the memorial table."""

    pure_proposals = True

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget] = (),
        *,
        seed: int = 0,
        capacity: float = 1.0,
        exploration: float = 0.5,
        shared: bool = True,
        neighbours: bool = True,
        learning: bool = True,
    ):
        """Makes a search.

        Args:
          space: What to search.
          budgets: All hold together; every candidate is inside them.
          seed: Of all draws.
          capacity: What e times the filters, kernel or expansion ratio is believed to
            be worth before there are data, in standard deviations of the rewards; 0
            for no belief.
          exploration: Width of a draw around the posterior's mean, in its standard
            deviations; 0 always takes the mean.
          shared: Whether the effect of an attribute has a part that all layers share.
          neighbours: Whether neighbouring layers have terms of their own.
          learning: Whether noise and scales are learned from the data.
        """
        super().__init__(space, budgets, seed=seed)
        self.effects = Effects(space)
        self.solver = MemorialSolver(self.effects, self.budgeted)
        absent = ("slope", "bend") * (not shared) + ("neighbours",) * (not neighbours)
        self._first_prior = _prior(self.effects, capacity, absent)
        self._exploration = exploration
        self._prior = self._first_prior
        size = len(self._first_prior.mean)
        self._gram = np.zeros((size, size))
        self._cross = np.zeros(size)
        self._square = 0.0
        self._count = 0
        self._next_learning = _FIRST_LEARNING if learning else math.inf

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """The best untried architecture for a draw from the posterior."""
        belief = self._posterior()
        for attempt in range(_DRAWS):
            departure = belief.draw(rng) - belief.mean
            # A belief so sure that it only repeats itself is drawn from ever wider.
            width = self._exploration * 4.0**attempt if number else 0.0
            weights = belief.mean + width * departure
            most = _REPEATS if attempt + 1 < _DRAWS else None
            solutions = self.solver.solutions(self.effects.scores(weights[:-1]))
            for _, architecture in itertools.islice(solutions, most):
                if self.history.is_new(architecture):
                    return Candidate(architecture, number)
        return None

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """Adds a reward to the regression; a failed trial adds nothing."""
        if reward is None:
            return
        row = np.append(self.effects.row(candidate.architecture), 1.0)
        self._gram += np.outer(row, row)
        self._cross += row * reward
        self._square += reward**2
        self._count += 1
        if self._count >= self._next_learning:
            self._prior = learn_scales(
                self._first_prior, self._prior, self._moments()[0], _LEARNING_STEPS
            )
            self._next_learning = int(self._count * _LEARNING_GROWTH) + 1

    def learned_effects(self) -> list[Effect]:
        """What every option of every searched layer is believed to be worth."""
        belief = self._posterior()
        _, spread = self._moments()
        inverse = np.linalg.inv(belief.factor)
        effects = []
        node = 0
        for layer, features in zip(self.space.layers, self.effects.layers):
            default = features.features[node, layer.default]
            for option, row in zip(layer.options, features.features[node]):
                if len(layer.options) == 1:
                    continue
                contrast = np.zeros(len(belief.mean))
                contrast[features.columns] = row - default
                effects.append(
                    Effect(
                        layer.name,
                        option.label,
                        spread * float(contrast @ belief.mean),
                        spread * float(np.linalg.norm(inverse @ contrast)),
                    )
                )
            node = features.next_node[node, layer.default]
        return effects

    def _posterior(self) -> Posterior:
        return posterior(self._prior, self._moments()[0])

    def _moments(self) -> tuple[Moments, float]:
        """The data with standardized rewards, and the unit they are in."""
        if not self._count:
            return Moments(self._gram, self._cross, 0.0, 0), 1.0
        mean = self._cross[-1] / self._count
        spread = np.sqrt(max(self._square / self._count - mean**2, 0.0))
        if self._count < 3 or spread < 1e-9 * max(abs(mean), 1e-9):
            spread = 1.0
        cross = (self._cross - mean * self._gram[-1]) / spread
        square = (self._square - self._count * mean**2) / spread**2
        return Moments(self._gram, cross, max(square, 0.0), self._count), float(spread)


def _prior(effects: Effects, capacity: float, absent: Sequence[str]) -> Prior:
    """Capacity helps alike everywhere; the last coefficient is the intercept."""
    mean = [
        capacity if GROUPS[group] == "slope" and isinstance(name, str) else 0.0
        for group, (_, _, name) in zip(effects.group, effects.names)
    ]
    return Prior(
        group=np.append(effects.group, len(GROUPS)),
        mean=np.append(mean, 0.0),
        scale=np.array(
            [
                *(_ABSENT if group in absent else _SCALE[group] for group in GROUPS),
                _INTERCEPT_SCALE,
            ]
        ),
        noise=_NOISE,
    )
