"""Regularized evolution, run by PyGlove."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.option_checks import check_whole
from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

if TYPE_CHECKING:
    import pyglove as pg

_MUTATIONS = 32
_PARENTS = 16


class RegularizedEvolution(Algorithm):
    """`pg.evolution.regularized_evolution` (Real et al., arXiv 1802.01548).

    PyGlove keeps the population, ages it and holds the tournaments. Ours are the first
    population (uniform inside the budget) and the mutation (another option at one
    layer, drawn again until the child is new and may be proposed), so that no
    evaluation is spent outside the budget or twice. Failed trials do not enter the
    population.

    PyGlove draws from the `random` module where it gets no seed. That module is seeded
    for the length of one ask and then put back, so that ask `n` depends on `(seed, n)`
    and the population alone, which a replay of the tells restores.

    Example: `RegularizedEvolution(space, [Budget("madds", 0, 3e6)], seed=0)`.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget],
        *,
        seed: int = 0,
        population: int = 50,
        tournament: int = 10,
        shape: RewardShape = RewardShape(),
    ):
        """Makes a search.

        Args:
          space: Where to search.
          budgets: What the answer may cost.
          seed: Determines every random choice.
          population: How many of the latest rewards can be parents.
          tournament: How many of them are drawn for the best to be the parent.
          shape: How the cost enters the reward.

        Raises:
          UserError: An option is out of range, or nothing is inside the budgets.
        """
        import pyglove as pg

        check_whole("tournament", tournament)
        # PyGlove's tournament has no more members than its population.
        check_whole("population", population, least=tournament)
        # It reports the end of its first population at INFO, where absl prints it.
        pg.logging.set_logger(logging.getLogger("pyglove"))
        pg.logging.get_logger().setLevel(logging.WARNING)
        super().__init__(
            space,
            budgets,
            seed=seed,
            proposal_budgets=shape.proposal_budgets(budgets),
        )
        self._shape = shape
        self._population = population
        self._members = 0
        # One custom decision holds the whole architecture: PyGlove's own genes cost
        # 5 ms a clone, and its mutation could not know the budget.
        self._spec = pg.geno.custom(hints=space.name, random_dna_fn=self._mutated)
        self._evolution = pg.evolution.regularized_evolution(
            population_size=population, tournament_size=tournament
        )
        self._evolution.setup(self._spec)

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """See `Algorithm.propose`."""
        architecture = None
        if self._members >= self._population and self.space.searched_layers:
            architecture = self._child(int(rng.integers(2**63)))
        if architecture is None:
            architecture = self.untried.sample(rng)
        return None if architecture is None else Candidate(architecture, number)

    def _child(self, seed: int) -> Architecture | None:
        before = random.getstate()
        random.seed(seed)
        try:
            for _ in range(_PARENTS):
                child = _read(self._evolution.propose().value)
                if self.untried.allows(child):
                    return child
        finally:
            random.setstate(before)
        return None

    def _mutated(self, rng: random.Random, previous_dna: pg.DNA) -> pg.DNA:
        """PyGlove's hook: a new gene given the parent's."""
        parent = _read(previous_dna.value)
        space = self.space
        for _ in range(_MUTATIONS):
            layer = rng.choice(space.searched_layers)
            option = rng.randrange(len(space.layers[layer].options) - 1)
            option += option >= parent[layer]
            child = (*parent[:layer], option, *parent[layer + 1 :])
            if self.untried.allows(child):
                return self._gene(child)
        return self._gene(parent)

    def _gene(self, architecture: Architecture) -> pg.DNA:
        import pyglove as pg

        return pg.DNA(" ".join(map(str, architecture)))

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """See `Algorithm.learn`."""
        architecture = candidate.architecture
        if reward is None:
            return
        if self._shape.rejects and not self.untried.fits(architecture):
            return
        _, costs = self.space.chain.walk(architecture)
        gene = self._gene(architecture)
        gene.use_spec(self._spec)
        # PyGlove asks of every gene whether its own initializer has proposed it.
        gene.set_metadata("initial_population", False)
        self._evolution.feedback(
            gene, self._shape.shaped(reward, costs, self.history.budgets)
        )
        self._members += 1


def _read(gene: str) -> Architecture:
    return tuple(map(int, gene.split()))
