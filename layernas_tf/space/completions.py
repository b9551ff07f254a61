"""Counts and uniform samples of the architectures inside budgets, by prefix.

One table holds, for each layer and state, the number of completions by their cost. With
few distinct costs the table is exact. Otherwise costs are rounded up to units of a
fixed resolution (rounded down for a lower limit), so that no architecture outside the
budget is counted or sampled. The only architectures lost are close to the limit, within
one unit per layer. Where that loses all of them, as in a band of few units, costs are
rounded to the nearest unit: counts are then estimates, and samples are drawn until one
is inside.

The table counts surplus costs: the surplus of an option is its cost beyond that of the
cheapest completion from the same state. The cheapest completion has a surplus of 0 and
is never rounded away, so with a single upper limit `searchable` is exact at any
resolution.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.chain import Chain
from layernas_tf.space.joint_budgets import (
    allowed_options,
    excludes_sums,
    merged,
    nothing_inside,
    too_narrow,
)
from layernas_tf.space.surplus_table import RESOLUTION, SurplusTable, surpluses
from layernas_tf.space.types import Architecture

EXACT_ENTRIES = 400_000
"""Distinct (state, cost) pairs up to which the table is kept exact."""

_TRIAL_DRAWS = 100
_LEAST_INSIDE = 5
"""How many of these draws must be inside where costs are rounded to the nearest unit:
with fewer, a search would spend its time drawing."""

_MOST_DRAWS = 1000
"""Draws after which a prefix counts as one without a completion inside."""


class BudgetedChain:
    """A chain together with budgets on it.

    Budgets on maxima (peak memory) only forbid options and need no axis. Each budget
    on a sum is an axis of the table, unless every architecture is inside it.

    Example:
      >>> from layernas_tf.space.budget import Budget
      >>> from search_spaces.tabular.burger import burger
      >>> chain = BudgetedChain(burger().chain, [])
      >>> chain.count() == burger().size
      True

    Attributes:
      chain: The chain of the space.
      budgets: All of them must hold. Without budgets, every architecture is inside.
      axes: The budgets that are axes of the table.
    """

    def __init__(
        self,
        chain: Chain,
        budgets: Sequence[Budget],
        exact_entries: int = EXACT_ENTRIES,
    ):
        """Builds the table.

        Args:
          chain: The chain of the space.
          budgets: The budgets; one on a maximum must not have a lower end.
          exact_entries: How many distinct (state, cost) pairs are kept exactly.

        Raises:
          UserError: No architecture is inside the budgets, or hardly any is found
            there because costs have to be rounded.
        """
        self.chain = chain
        self.budgets = merged(chain, budgets)
        sums = self.axes = tuple(b for b in self.budgets if excludes_sums(chain, b))
        if len(sums) > max(RESOLUTION):
            raise UserError(
                f"expected at most {max(RESOLUTION)} budgets on sums that exclude "
                f"anything, got {len(sums)}: {', '.join(map(str, sums))}"
            )
        self._metrics = [b.metric for b in sums]
        self._high = np.array([b.upper for b in sums])
        self._low = np.array([b.lower for b in sums])
        self.allowed = allowed_options(chain, self.budgets)
        self._surplus = surpluses(chain, self._metrics)
        if not sums:
            self._high, self._low = np.zeros(1), np.full(1, -np.inf)
        slack = self._high - self._cheapest_from(0, 0)
        if np.any(slack < 0):
            raise nothing_inside(chain, self.budgets)
        table = functools.partial(
            SurplusTable, chain, self.allowed, self._surplus, slack, exact_entries
        )
        self._table = table()
        # With a single upper limit, it is enough that the cheapest architecture fits:
        # the table is then made only when it is first needed.
        plain = len(self.budgets) == len(sums) < 2 and np.all(self._low <= 0)
        if not plain and self.count() == 0:
            if self.exact:
                raise nothing_inside(chain, self.budgets)
            # Nothing is found inside while costs are rounded up.
            self._table = table(nearest=True)
            self._check_estimates()

    def _check_estimates(self) -> None:
        """Raises `UserError` if hardly any draw is inside."""
        rng, found = np.random.default_rng(0), 0
        if self.count() > 0:
            found = sum(self._holds(self._draw(rng, ())) for _ in range(_TRIAL_DRAWS))
        if found < _LEAST_INSIDE:
            raise too_narrow(self.budgets, self._table.units)

    @functools.cached_property
    def _last_surplus(self) -> int:
        """The last layer that changes a cost; behind it nothing is left to round."""
        return max((i for i, r in enumerate(self._surplus) if np.any(r)), default=0)

    @property
    def exact(self) -> bool:
        """Whether counts and samples are exact rather than rounded to units."""
        return self._table.exact

    @property
    def nearest(self) -> bool:
        """Whether costs are rounded to the nearest unit, and counts are estimates."""
        return self._table.nearest

    def _cheapest_from(self, layer: int, state: Any) -> np.ndarray:
        if not self._metrics:
            return np.zeros(1)
        return np.stack(
            [self.chain.remaining(layer, name)[0][state] for name in self._metrics],
            axis=-1,
        )

    def _walk(self, prefix: Sequence[int]) -> tuple[int, np.ndarray] | None:
        """State and exact costs of a prefix; None if one of its options is excluded."""
        state = 0
        spent = np.zeros(len(self._high))
        for i, option in enumerate(prefix):
            if not self.allowed[i][state, option]:
                return None
            for axis, name in enumerate(self._metrics):
                spent[axis] += self.chain.cost[name][i][state, option]
            state = self.chain.next_state[i][state, option]
        return int(state), spent

    def _ends(
        self, layer: int, state: Any, spent: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest surplus that the layers from `layer` on may have."""
        floor = spent + self._cheapest_from(layer, state)
        return self._low - floor, self._high - floor

    def _window(
        self, layer: int, state: Any, spent: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """`_ends` as the table counts them."""
        return self._table.window(
            *self._ends(layer, state, spent), len(self.chain) - layer
        )

    def count(self, prefix: Sequence[int] = ()) -> float:
        """The number of architectures inside the budgets that begin with `prefix`.

        It is exact if `exact` is true, an estimate if `nearest` is, else a lower bound.
        """
        if self.nearest and len(prefix) == len(self.chain):
            return float(self._holds(prefix))
        walked = self._walk(prefix)
        if walked is None:
            return 0.0
        state, spent = walked
        low, high = self._window(len(prefix), state, spent)
        return float(self._table.count(len(prefix), state, low, high))

    def searchable(self, prefix: Sequence[int]) -> bool:
        """Whether some completion of the prefix is inside the budgets."""
        return self.count(prefix) > 0

    def completion_counts(self, prefix: Sequence[int]) -> np.ndarray:
        """For each option of the next layer, the number of completions inside."""
        walked = self._walk(prefix)
        i = len(prefix)
        if walked is None:
            return np.zeros(self.chain.next_state[i].shape[1])
        state, spent = walked
        if self.nearest and i >= self._last_surplus:
            low, high = self._ends(i, state, spent)
            surplus = self._surplus[i][state]
            fits = np.all((low <= surplus) & (surplus <= high), axis=-1)
            return (fits & self.allowed[i][state]).astype(float)
        return self._completion_counts(i, state, *self._window(i, state, spent))

    def _completion_counts(
        self, i: int, state: int, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        surplus = self._table.surplus[i][state]
        following = self.chain.next_state[i][state]
        counts = np.zeros(len(surplus))
        for after in np.unique(following):
            chosen = following == after
            counts[chosen] = self._table.count(
                i + 1, after, low - surplus[chosen], high - surplus[chosen]
            )
        counts[~self.allowed[i][state]] = 0
        return counts

    def sample(
        self, rng: np.random.Generator, prefix: Sequence[int] = ()
    ) -> Architecture:
        """Draws uniformly from the architectures inside the budgets with this prefix.

        Raises:
          ValueError: The prefix is not searchable.
        """
        if not self.nearest:
            return self._draw(rng, prefix)
        for _ in range(_MOST_DRAWS):
            architecture = self._draw(rng, prefix)
            if self._holds(architecture):
                return architecture
        raise ValueError(f"no completion of {tuple(prefix)} was found in the budgets")

    def _holds(self, architecture: Sequence[int]) -> bool:
        return inside(self.budgets, self.chain.walk(architecture)[1])

    def _draw(self, rng: np.random.Generator, prefix: Sequence[int]) -> Architecture:
        """Draws from what the table counts; see `sample`."""
        walked = self._walk(prefix)
        if walked is None:
            raise ValueError(f"no completion of {tuple(prefix)} is inside the budgets")
        architecture = list(prefix)
        state, spent = walked
        low, high = self._window(len(prefix), state, spent)
        for i in range(len(prefix), len(self.chain)):
            counts = self._completion_counts(i, state, low, high)
            cumulative = np.cumsum(counts)
            if cumulative[-1] <= 0:
                raise ValueError(
                    f"no completion of {tuple(prefix)} is inside the budgets"
                )
            option = int(
                np.searchsorted(cumulative, rng.random() * cumulative[-1], "right")
            )
            surplus = self._table.surplus[i][state, option]
            low, high = low - surplus, high - surplus
            architecture.append(option)
            state = int(self.chain.next_state[i][state, option])
        return tuple(int(option) for option in architecture)

    def complete(
        self, prefix: Sequence[int], preferred: Architecture
    ) -> Architecture | None:
        """Completes a prefix inside the budgets, staying near `preferred`.

        Each layer takes the preferred option if some completion remains inside, else
        the most expensive option with such a completion (by the first budget, which
        `preferred` usually exceeds). None if the prefix is not searchable.
        """
        completed = self._complete(prefix, preferred)
        if completed is None and self.nearest:
            # An estimate led to where nothing is inside.
            with contextlib.suppress(ValueError):
                return self.sample(np.random.default_rng(0), prefix)
        return completed

    def _complete(
        self, prefix: Sequence[int], preferred: Architecture
    ) -> Architecture | None:
        architecture = list(prefix)
        for i in range(len(prefix), len(self.chain)):
            fits = self.completion_counts(architecture) > 0
            if not fits.any():
                return None
            if fits[preferred[i]]:
                architecture.append(preferred[i])
                continue
            state, _ = self.chain.walk(architecture)
            metric = self.budgets[0].metric
            cost = np.where(fits, self.chain.cost[metric][i][state], -1)
            architecture.append(int(np.argmax(cost)))
        return tuple(architecture) if self.searchable(architecture) else None
