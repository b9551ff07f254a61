"""Complete candidates inside the budgets, made by trading one layer for another.

The LayerNAS post lets a layer's choice set constraints on the layers before it. Here
the exchange goes both ways: if the new option exceeds the budget, the layers after it
are made cheaper; if it leaves budget unused, they are made more expensive. So every
child is a complete answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layernas_tf.space.budget import Budget, inside, rows_inside
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

_SHARES = 201
"""Shares of every layer's cost rank that are tried for the even network."""

_MOST_TAKEN = 2
"""The most layers that are made more expensive after a new option."""


class Trades:
    """Moves cost between the layers of an architecture.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> budgets = [Budget("price", 0, 4.0)]
      >>> trades = Trades(burger(), BudgetedChain(burger().chain, budgets))
      >>> inside(budgets, burger().costs(trades.even()))
      True

    Attributes:
      rank: Per layer, each option's rank by cost, scaled to -1..1, `(L, most options)`.
        The cost is that of the first budget, with the layers before at their defaults.
    """

    def __init__(self, space: SearchSpace, budgeted: BudgetedChain):
        """Prepares the trades; `budgeted` says what is inside."""
        self._space = space
        self._chain = space.chain
        self._budgeted = budgeted
        self._budgets = budgeted.budgets
        self._high = np.array([budget.upper for budget in self._budgets])
        self._low = np.array([budget.lower for budget in self._budgets])
        self.rank = _ranks(space, self._budgets)
        # All changes of one layer, one after another: their layers and options.
        sizes = [len(layer.options) for layer in space.layers]
        self._layer = np.repeat(np.arange(len(sizes)), sizes)
        self._option = np.concatenate([np.arange(size) for size in sizes])

    def even(self) -> Architecture:
        """The default network with all layers made equally cheaper until it is inside.

        A default that is inside is returned as it is. Otherwise the same share is taken
        off every layer's rank, and what that leaves of the budget is spent on single
        layers.
        """
        default = self._space.default
        if not self._budgets or self._inside(default):
            return default
        share = np.linspace(0.0, 1.0, _SHARES)
        columns = []
        for rank, layer in zip(self.rank, self._space.layers):
            by_cost = np.argsort(rank[: len(layer.options)], kind="stable")
            place = int(np.flatnonzero(by_cost == layer.default)[0])
            columns.append(by_cost[(share * place + 1e-9).astype(int)])
        scaled = np.stack(columns, axis=1)
        fits = rows_inside(self._budgets, self._chain.costs(scaled))
        if not fits.any():
            completed = self._budgeted.complete((), default)
            assert completed is not None  # something is inside, or the search ended
            return completed
        largest = tuple(scaled[np.flatnonzero(fits)[-1]].tolist())
        return self.filled(largest)

    def filled(self, architecture: Architecture) -> Architecture:
        """Makes the layers of the lowest rank more expensive while that fits.

        Without budgets nothing is made more expensive.
        """
        if not self._budgets:
            return architecture
        ranks = self.rank[self._layer, self._option]
        while True:
            before, after = self._costs(architecture)
            now = self.rank[np.arange(len(architecture)), architecture]
            usable = (after <= self._high).all(-1) & (after[:, 0] > before[0])
            usable &= ranks > now[self._layer]
            if not usable.any():
                return architecture
            change = int(np.argmin(np.where(usable, ranks, np.inf)))
            layer, option = int(self._layer[change]), int(self._option[change])
            architecture = (*architecture[:layer], option, *architecture[layer + 1 :])

    def complete(
        self,
        architecture: Architecture,
        fixed: int,
        parent: Architecture,
        worth: np.ndarray,
    ) -> Architecture | None:
        """Brings an architecture inside the budgets by changes after a prefix.

        Args:
          architecture: What to complete.
          fixed: How many of the first layers stay as they are.
          parent: Inside the budgets; its costs are exceeded only where they must be.
          worth: Of every option of every layer, `(L, most options)`: the change that
            gains most, or costs least, is made.

        Returns:
          The complete architecture; None if the prefix has none inside.
        """
        if not self._budgets:
            return architecture
        given = self._give(architecture, fixed, worth)
        if given is not None:
            spent = self._chain.walk(parent)[1]
            costs = [spent[budget.metric] for budget in self._budgets]
            limit = np.minimum(self._high, np.maximum(costs, self._low))
            taken = self._take(given, fixed, limit, worth, _MOST_TAKEN)
            if self._inside(taken):
                return taken
        return self._budgeted.complete(architecture[:fixed], parent)

    def _give(
        self, architecture: Architecture, fixed: int, worth: np.ndarray
    ) -> Architecture | None:
        """Makes layers cheaper until no budget is exceeded; None if that fails."""
        free = self._layer >= fixed
        for _ in range(2 * len(architecture)):
            before, after = self._costs(architecture)
            now = self._excess(before)
            if now <= 0:
                return architecture
            left = self._excess(after)
            helps = free & (left < now - 1e-12)
            if not helps.any():
                return None
            enough = helps & (left <= 0)
            usable = enough if enough.any() else helps
            architecture = self._changed(architecture, usable, worth)
        return None

    def _take(
        self,
        architecture: Architecture,
        fixed: int,
        limit: np.ndarray,
        worth: np.ndarray,
        most: int,
    ) -> Architecture:
        """Makes up to `most` layers more expensive within the limit, if that gains."""
        free = self._layer >= fixed
        for _ in range(most):
            before, after = self._costs(architecture)
            gain = self._gain(architecture, worth)
            short = bool((before < self._low).any())
            usable = free & (after <= limit).all(-1) & (after[:, 0] > before[0] + 1e-12)
            if not short:
                usable &= gain > 0
            if not usable.any():
                break
            architecture = self._changed(architecture, usable, worth)
        return architecture

    def _gain(self, architecture: Architecture, worth: np.ndarray) -> np.ndarray:
        now = worth[np.arange(len(architecture)), architecture]
        return worth[self._layer, self._option] - now[self._layer]

    def _changed(
        self, architecture: Architecture, usable: np.ndarray, worth: np.ndarray
    ) -> Architecture:
        """The architecture after the usable change that gains most."""
        gain = np.where(usable, self._gain(architecture, worth), -np.inf)
        change = int(np.argmax(gain))
        layer, option = int(self._layer[change]), int(self._option[change])
        return (*architecture[:layer], option, *architecture[layer + 1 :])

    def _excess(self, costs: np.ndarray) -> np.ndarray:
        """By which share of the budgets the costs `(..., K)` exceed them."""
        over = np.maximum(costs - self._high, 0) / np.maximum(self._high, 1e-12)
        return over.sum(-1)

    def _inside(self, architecture: Architecture) -> bool:
        return inside(self._budgets, self._chain.walk(architecture)[1])

    def _costs(self, architecture: Architecture) -> tuple[np.ndarray, np.ndarray]:
        """Costs of an architecture `(K,)` and of all changes of one layer `(C, K)`."""
        states = [0]
        for i, option in enumerate(architecture):
            states.append(int(self._chain.next_state[i][states[i], option]))
        total, changed = [], []
        for budget in self._budgets:
            metric = budget.metric
            cost = self._chain.cost[metric]
            join = np.add if self._chain.kinds[metric] == "sum" else np.maximum
            before = [0.0]
            for i, option in enumerate(architecture):
                before.append(join(before[i], cost[i][states[i], option]))
            behind = np.zeros(len(self._chain.states[-1]))
            parts = []
            for i in reversed(range(len(architecture))):
                after = behind[self._chain.next_state[i]]
                parts.append(
                    join(join(before[i], cost[i][states[i]]), after[states[i]])
                )
                behind = join(cost[i], after)[:, architecture[i]]
            total.append(before[-1])
            changed.append(np.concatenate(parts[::-1]))
        return np.array(total), np.stack(changed, axis=-1)


def _ranks(space: SearchSpace, budgets: Sequence[Budget]) -> np.ndarray:
    metric = budgets[0].metric if budgets else space.metrics[0].name
    widest = max(len(layer.options) for layer in space.layers)
    ranks = np.zeros((len(space.layers), widest))
    state = 0
    for i, layer in enumerate(space.layers):
        count = len(layer.options)
        order = np.argsort(space.chain.cost[metric][i][state], kind="stable")
        if count > 1:
            ranks[i, order] = np.linspace(-1.0, 1.0, count)
        state = int(space.chain.next_state[i][state, layer.default])
    return ranks
