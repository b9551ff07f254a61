"""What the learned reward recommends inside a budget that was not searched."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from layernas_tf.algorithms.history import Answer
from layernas_tf.algorithms.memorial_solver import MemorialSolver
from layernas_tf.algorithms.reward_belief import RewardBelief
from layernas_tf.space.budget import Budget
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace


def predicted(
    space: SearchSpace, belief: RewardBelief, budgets: Sequence[Budget], count: int
) -> list[Answer]:
    """The architectures inside the budgets of which the belief expects the most.

    Tried or not, with the expected reward of their effects alone.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> belief = RewardBelief(burger())
      >>> belief.add(burger().default, 0.71)
      >>> len(predicted(burger(), belief, [Budget("price", 0, 6.0)], 2))
      2

    Args:
      space: Whose architectures are meant.
      belief: What was learned about them.
      budgets: What they may cost; all hold together.
      count: The most that are returned, the best first.

    Raises:
      UserError: No architecture is inside the budgets.
    """
    weights = belief.weights().mean
    mean, spread = belief.unit()
    solver = MemorialSolver(belief.effects, BudgetedChain(space.chain, budgets))
    rewards = dict(zip(belief.architectures, belief.rewards))
    solutions = solver.solutions(belief.effects.scores(weights[:-1]))
    return [
        Answer(
            architecture,
            rewards.get(architecture),
            mean + spread * float(score + weights[-1]),
        )
        for score, architecture in itertools.islice(solutions, count)
    ]
