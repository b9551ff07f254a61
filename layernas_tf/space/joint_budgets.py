"""Several budgets on one chain: as one per metric, and what they exclude."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, format_cost
from layernas_tf.space.chain import Chain


def merged(chain: Chain, budgets: Sequence[Budget]) -> tuple[Budget, ...]:
    """One budget per metric, in the given order: the intersection of all of them.

    Raises:
      UserError: A budget on a maximum has a lower end.
    """
    by_metric: dict[str, Budget] = {}
    for budget in budgets:
        if chain.kinds[budget.metric] == "max" and budget.low > 0:
            raise UserError(
                f"budget {budget}: a lower end is for sums; {budget.metric} is a "
                f"maximum, write {budget.metric}<={format_cost(budget.high)}"
            )
        known = by_metric.get(budget.metric, budget)
        by_metric[budget.metric] = Budget(
            budget.metric, max(known.low, budget.low), min(known.high, budget.high)
        )
    return tuple(by_metric.values())


def excludes_sums(chain: Chain, budget: Budget) -> bool:
    """Whether a budget is on a sum and some architecture is outside it."""
    return chain.kinds[budget.metric] == "sum" and (
        chain.most_expensive((), budget.metric) > budget.upper
        or chain.cheapest((), budget.metric) < budget.lower
    )


def allowed_options(chain: Chain, budgets: Sequence[Budget]) -> list[np.ndarray]:
    """What budgets on maxima leave: for each layer a bool array `(S, O)`."""
    allowed = [np.ones(following.shape, bool) for following in chain.next_state]
    for budget in budgets:
        if chain.kinds[budget.metric] == "max":
            for i, mask in enumerate(allowed):
                mask &= chain.cost[budget.metric][i] <= budget.upper
    return allowed


def nothing_inside(chain: Chain, budgets: Sequence[Budget]) -> UserError:
    """The error for budgets that no architecture meets."""
    cheapest = ", ".join(
        f"{b.metric}={format_cost(chain.cheapest((), b.metric))}" for b in budgets
    )
    return UserError(
        f"no architecture is inside {_listed(budgets)}: the cheapest possible is "
        f"{cheapest}" + (" (each on its own)" if len(budgets) > 1 else "")
    )


def too_narrow(budgets: Sequence[Budget], units: int) -> UserError:
    """The error for budgets that rounded costs hide all, or nearly all, inside of."""
    return UserError(
        f"no architecture was found inside {_listed(budgets)}, where costs are rounded "
        f"to {units} units: expected a wider band, or fewer budgets at the same time"
    )


def _listed(budgets: Sequence[Budget]) -> str:
    return " and ".join(str(budget) for budget in budgets)
