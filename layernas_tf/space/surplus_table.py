"""Counts of completions by surplus cost: exact if they are few, else in units.

Surpluses in units are rounded up (down for a lower limit), so that nothing outside the
limits is counted. Where that hides all that is inside, as in a band of few units, they
can be rounded to the nearest unit instead: counts are then estimates.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from layernas_tf.space.chain import Chain
from layernas_tf.space.completion_tables import (
    Counts,
    Grid,
    exact_tables,
    rounded_tables,
)

RESOLUTION = {1: 4096, 2: 256, 3: 48}
"""Units between the cheapest architecture and the limit, by number of cost axes."""


def surpluses(chain: Chain, metrics: Sequence[str]) -> list[np.ndarray]:
    """What options cost beyond the cheapest completion from the same state.

    Args:
      chain: The chain whose options are meant.
      metrics: Sums; without any, there is one axis of zeros.

    Returns:
      For each layer a float array `(S, O, D)` for `D` metrics.
    """
    found = []
    for i, following in enumerate(chain.next_state):
        axes = []
        for metric in metrics:
            here, _ = chain.remaining(i, metric)
            after, _ = chain.remaining(i + 1, metric)
            surplus = chain.cost[metric][i] + after[following] - here[:, None]
            axes.append(np.maximum(surplus, 0))
        found.append(np.stack(axes or [np.zeros(following.shape)], axis=-1))
    return found


class SurplusTable:
    """The completions from every layer and state, by surplus cost.

    Example:
      table = SurplusTable(chain, allowed, surplus, slack, exact_entries=400_000)
      low, high = table.window(least, most, len(chain))
      table.count(0, 0, low, high)

    Attributes:
      nearest: Whether surpluses are rounded to the nearest unit.
      units: The number of units between the cheapest architecture and the limit.
    """

    def __init__(
        self,
        chain: Chain,
        allowed: list[np.ndarray],
        surplus: list[np.ndarray],
        slack: np.ndarray,
        exact_entries: int,
        *,
        nearest: bool = False,
    ):
        """Notes what is counted; the table is made when it is first needed.

        Args:
          chain: The chain whose completions are counted.
          allowed: For each layer, whether a state may take an option, `(S, O)`.
          surplus: For each layer, the options' surpluses, float array `(S, O, D)` for
            `D` axes.
          slack: The largest surplus that the limits allow, `(D,)`.
          exact_entries: How many distinct (state, cost) pairs are kept exactly.
          nearest: Whether surpluses are rounded to the nearest unit, however few they
            are.
        """
        self.nearest = nearest
        self.units = RESOLUTION[len(slack)]
        self._chain = chain
        self._allowed = allowed
        self._surplus = surplus
        self._slack = slack
        self._exact_entries = exact_entries

    @property
    def exact(self) -> bool:
        """Whether surpluses are exact rather than rounded to units."""
        return self._made[0]

    @property
    def surplus(self) -> list[np.ndarray]:
        """The options' surpluses as the table counts them."""
        return self._surplus if self.exact else self._rounded

    def window(
        self, low: np.ndarray, high: np.ndarray, layers_left: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest surplus as the table counts them."""
        if self.exact:
            return low, high
        if self.nearest:
            return np.ceil(low / self._unit - 0.5), np.floor(high / self._unit + 0.5)
        high = np.floor(high / self._unit + 1e-9)
        low = np.where(low > 0, np.ceil(low / self._unit) + layers_left, -1)
        return low, high

    def count(
        self, layer: int, state: int, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray | float:
        """How many completions have a surplus within `low..high`, by its `window`."""
        return self._made[1][layer][state].count(low, high)

    @functools.cached_property
    def _made(self) -> tuple[bool, list[list[Counts]] | list[list[Grid]]]:
        """Whether the table is exact, and the table."""
        chain, allowed = self._chain, self._allowed
        if not self.nearest:
            exact = exact_tables(
                chain, allowed, self._surplus, self._slack, self._exact_entries
            )
            if exact is not None:
                return True, exact
        return False, rounded_tables(chain, allowed, self._rounded, self.units)

    @functools.cached_property
    def _unit(self) -> np.ndarray:
        return np.where(self._slack > 0, self._slack / self.units, 1.0)

    @functools.cached_property
    def _rounded(self) -> list[np.ndarray]:
        """Surpluses in units, rounded up or to the nearest one."""
        units = [surplus / self._unit for surplus in self._surplus]
        rounded = [np.rint(u) if self.nearest else np.ceil(u - 1e-9) for u in units]
        return [each.astype(np.int64) for each in rounded]
