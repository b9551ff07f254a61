"""Budgets: what an architecture may cost, and how a user writes it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.search_space import SearchSpace

LATENCY = "latency_ms"
"""The cost that a latency table adds to a space."""

PEAK_MEMORY = "peak_memory_bytes"
"""The cost that is a maximum along the chain: bytes of int8 activations in use."""

_ROUNDING = 1e-12
_SUFFIXES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "kib": 2**10,
    "mib": 2**20,
}
_NUMBER = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*|%)")


@dataclasses.dataclass(frozen=True)
class Budget:
    """An inclusive range for one cost.

    Example:
      >>> budget = Budget("madds", 0, 3e6)
      >>> str(budget), budget.holds({"madds": 2.5e6})
      ('madds<=3M', True)

    Attributes:
      metric: Name of a metric of the space.
      low: The least that is allowed; 0 for an ordinary `<=` budget.
      high: The most that is allowed.
    """

    metric: str
    low: float
    high: float

    @property
    def lower(self) -> float:
        """`low`, less a tolerance for the rounding errors of sums."""
        return self.low * (1 - _ROUNDING)

    @property
    def upper(self) -> float:
        """`high`, plus a tolerance for the rounding errors of sums."""
        return self.high * (1 + _ROUNDING)

    def excess(self, cost: float) -> float:
        """How far a cost is outside, in the metric's unit; 0 or less is inside."""
        return max(cost - self.upper, self.lower - cost)

    def holds(self, costs: Mapping[str, float]) -> bool:
        """Whether an architecture with these costs is inside."""
        return self.lower <= costs[self.metric] <= self.upper

    def __str__(self) -> str:
        if self.low > 0:
            return f"{self.metric}={format_cost(self.low)}..{format_cost(self.high)}"
        return f"{self.metric}<={format_cost(self.high)}"


def inside(budgets: Sequence[Budget], costs: Mapping[str, float]) -> bool:
    """Whether an architecture with these costs is inside every budget."""
    return all(budget.holds(costs) for budget in budgets)


def rows_inside(
    budgets: Sequence[Budget], costs: Mapping[str, np.ndarray]
) -> np.ndarray:
    """For many architectures, whether each one is inside every budget.

    Args:
      budgets: The budgets, all of which must hold.
      costs: For each metric name, a float array `(N,)`, as `Chain.costs` returns it.

    Returns:
      Boolean array `(N,)`.
    """
    result = np.ones(len(next(iter(costs.values()))), bool)
    for budget in budgets:
        cost = costs[budget.metric]
        result &= (budget.lower <= cost) & (cost <= budget.upper)
    return result


def format_cost(value: float) -> str:
    """Formats a cost for people: `2.94M`, `512k`, `3.2`."""
    for suffix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{value / scale:.4g}{suffix}"
    return f"{value:.4g}"


def _amount(text: str, whole: str, full: float) -> float:
    match = _NUMBER.fullmatch(text.strip())
    suffix = match.group(2).lower() if match else ""
    if match is None or (suffix != "%" and suffix not in _SUFFIXES):
        raise UserError(
            f"budget {whole!r}: cannot read the amount {text.strip()!r}, expected a "
            "number such as 3M, 250k, 64KiB or 50% (of the default architecture)"
        )
    number = float(match.group(1))
    return number / 100 * full if suffix == "%" else number * _SUFFIXES[suffix]


def parse_budget(text: str, space: SearchSpace) -> Budget:
    """Reads `madds<=3M`, `madds=2.5M..3M` or `madds<=50%` for a space.

    A percentage is a share of the default architecture's cost.

    Raises:
      UserError: The text is malformed, the cost is unknown, or no architecture of the
        space is inside; the message says what the cheapest or the most expensive one
        costs.
    """
    match = re.fullmatch(r"\s*([A-Za-z_0-9]+)\s*(<=|=)\s*(.+?)\s*", text)
    if match is None:
        raise UserError(
            f"budget {text!r}: expected the form 'madds<=3M', 'madds=2.5M..3M' or "
            "'madds<=50%'"
        )
    metric, relation, amount = match.groups()
    if metric == LATENCY and LATENCY not in space.chain.metrics:
        raise UserError(
            f"budget {text!r} needs a latency table of the device: make one with "
            f"python -m export.latency_table --space={space.name} --out=table.json "
            "and give it with `latency_table`=table.json"
        )
    space.metric(metric)
    full = space.costs(space.default)[metric]
    if relation == "<=":
        low, high = 0.0, _amount(amount, text, full)
    else:
        ends = amount.split("..")
        if len(ends) != 2:
            raise UserError(
                f"budget {text!r}: expected a band such as '{metric}=2.5M..3M'; "
                f"an upper limit is written '{metric}<={amount}'"
            )
        low, high = (_amount(end, text, full) for end in ends)
    if not math.isfinite(high) or low > high:
        raise UserError(f"budget {text!r}: the lower end is above the upper end")
    cheapest = space.chain.cheapest((), metric)
    most_expensive = space.chain.most_expensive((), metric)
    if high < cheapest:
        raise UserError(
            f"budget {text!r} cannot be met: the cheapest architecture of "
            f"{space.name!r} costs {metric}={format_exactly(cheapest)}"
        )
    if low > most_expensive:
        raise UserError(
            f"budget {text!r} cannot be met: the most expensive architecture of "
            f"{space.name!r} costs {metric}={format_exactly(most_expensive)}"
        )
    return Budget(metric, low, high)


def format_exactly(value: float) -> str:
    """A cost with all its digits, since a rounded one might not fit the budget."""
    return f"{value:.0f}" if float(value).is_integer() else repr(float(value))
