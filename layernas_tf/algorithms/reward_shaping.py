"""Reward shapes for algorithms that cannot take a constraint.

With `rejection`, what is outside the budget is never evaluated. The other two evaluate
it and pay for the cost in the reward that the algorithm learns from; the answer is
inside the budget all the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget

KINDS = ("rejection", "mnasnet", "tunas")


@dataclasses.dataclass(frozen=True)
class RewardShape:
    """How the cost enters the reward.

    Example:
      >>> budgets = [Budget("madds", 0, 2e6)]
      >>> shape = RewardShape("tunas", beta=-0.5)
      >>> shape.shaped(0.75, {"madds": 3e6}, budgets)
      0.5

    Attributes:
      kind: `rejection`; `mnasnet`, `reward * (cost / target) ** exponent` (MnasNet,
        arXiv 1807.11626, eq. 2, with the soft constraint); or `tunas`,
        `reward + beta * abs(cost / target - 1)` (TuNAS, arXiv 2008.06120, section 3.2).
        The target is the budget's upper end. With several budgets the factors
        multiply and the terms add up.
      exponent: MnasNet's `w`, negative. It expects rewards above 0.
      beta: TuNAS' slope, negative, in units of the reward: the default is for
        accuracies of 0 to 1.
    """

    kind: str = "rejection"
    exponent: float = -0.07
    beta: float = -0.07

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(
                f"reward shape {self.kind!r}: expected one of {', '.join(KINDS)}"
            )
        if self.exponent > 0 or self.beta > 0:
            raise UserError(
                "reward shape: exponent and beta must be negative, or expensive "
                f"architectures would be preferred: got {self.exponent} and {self.beta}"
            )

    @property
    def rejects(self) -> bool:
        """Whether proposals outside the budgets are thrown away unevaluated."""
        return self.kind == "rejection"

    def proposal_budgets(self, budgets: Sequence[Budget]) -> tuple[Budget, ...]:
        """The budgets that proposals must keep: none where the reward pays instead."""
        return tuple(budgets) if self.rejects else ()

    def shaped(
        self, reward: float, costs: Mapping[str, float], budgets: Sequence[Budget]
    ) -> float:
        """What the algorithm learns from, in units of the reward."""
        if self.rejects:
            return reward
        for budget in budgets:
            share = costs[budget.metric] / (budget.high or 1.0)
            if self.kind == "mnasnet":
                # A free architecture would get an infinite factor.
                reward *= max(share, 1e-3) ** self.exponent
            else:
                reward += self.beta * abs(share - 1)
        return reward
