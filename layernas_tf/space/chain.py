"""The chain as arrays: costs of many architectures, and cost bounds of a prefix.

Only a few distinct states can enter a layer (a handful of channel counts), so the chain
fits in small arrays indexed by (state, option). An exact dynamic program over them
gives the cheapest and the most expensive completion of any prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.types import Layer, Metric, State


class Chain:
    """The transitions of a chain of layers, compiled to arrays.

    `S_i` is the number of states that can enter layer `i`, `O_i` the number of its
    options and `L` the number of layers.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> chain = burger().chain
      >>> chain.cheapest((), "price") <= chain.most_expensive((), "price")
      True

    Attributes:
      metrics: Metric names, in the space's order.
      kinds: `sum` or `max`, by metric name.
      states: For each layer `i`, and for the end `L`, its `S_i` states.
      next_state: For each layer `i`, an int array `(S_i, O_i)` of indices into
        `states[i + 1]`.
      cost: By metric name, for each layer `i` a float array `(S_i, O_i)`.
    """

    def __init__(
        self,
        start: State,
        layers: Sequence[Layer],
        metrics: Sequence[Metric],
        name: str = "",
    ):
        """Compiles the chain.

        Args:
          start: The state that the first layer receives.
          layers: The layers, in order.
          metrics: The costs that every transition returns.
          name: Name of the search space, for error messages.

        Raises:
          UserError: A transition lacks a cost, or returns one that is negative or not
            finite.
        """
        self.metrics = tuple(metric.name for metric in metrics)
        self.kinds = {metric.name: metric.kind for metric in metrics}
        self.states: list[list[State]] = [[start]]
        self.next_state: list[np.ndarray] = []
        self.cost: dict[str, list[np.ndarray]] = {m: [] for m in self.metrics}
        for layer in layers:
            index: dict[State, int] = {}
            shape = len(self.states[-1]), len(layer.options)
            following = np.empty(shape, np.int64)
            costs = {m: np.empty(shape) for m in self.metrics}
            for s, state in enumerate(self.states[-1]):
                for o, option in enumerate(layer.options):
                    after, cost = layer.transition(state, option)
                    following[s, o] = index.setdefault(after, len(index))
                    for metric in self.metrics:
                        try:
                            costs[metric][s, o] = cost[metric]
                        except KeyError:
                            raise UserError(
                                f"space {name!r}: layer {layer.name!r} returned "
                                f"no cost {metric!r}, got {sorted(cost)}"
                            ) from None
                        if not 0 <= costs[metric][s, o] < np.inf:
                            raise UserError(
                                f"space {name!r}: layer {layer.name!r}, option "
                                f"{option.label}: {metric} must be a finite number >= "
                                f"0, got {cost[metric]}"
                            )
            self.states.append(list(index))
            self.next_state.append(following)
            for metric in self.metrics:
                self.cost[metric].append(costs[metric])
        self._cheapest = {m: self._bounds(m, np.min) for m in self.metrics}
        self._most_expensive = {m: self._bounds(m, np.max) for m in self.metrics}

    def __len__(self) -> int:
        return len(self.next_state)

    def _bounds(self, metric: str, pick: Callable[..., np.ndarray]) -> list[np.ndarray]:
        """For each layer `i`, and for the end, the bound of the cost left, `(S_i,)`."""
        bounds = [np.zeros(len(self.states[-1]))]
        for i in reversed(range(len(self))):
            rest = bounds[0][self.next_state[i]]
            bounds.insert(
                0, pick(self._join(metric, self.cost[metric][i], rest), axis=1)
            )
        return bounds

    def _join(self, metric: str, left: Any, right: Any) -> Any:
        return left + right if self.kinds[metric] == "sum" else np.maximum(left, right)

    def costs(self, architectures: np.ndarray) -> dict[str, np.ndarray]:
        """Costs of many architectures.

        Args:
          architectures: Option indices, int array `(N, L)`; fewer than `L` columns
            are prefixes.

        Returns:
          By metric name, a float array `(N,)`.
        """
        architectures = np.asarray(architectures, dtype=np.int64)
        state = np.zeros(len(architectures), np.int64)
        totals = {name: np.zeros(len(architectures)) for name in self.metrics}
        for i in range(architectures.shape[1]):
            option = architectures[:, i]
            for name in self.metrics:
                totals[name] = self._join(
                    name, totals[name], self.cost[name][i][state, option]
                )
            state = self.next_state[i][state, option]
        return totals

    def walk(self, prefix: Sequence[int]) -> tuple[int, dict[str, float]]:
        """The index of the state that a prefix ends in, and its cost by metric name."""
        state, totals = 0, dict.fromkeys(self.metrics, 0.0)
        for i, option in enumerate(prefix):
            for name in self.metrics:
                cost = self.cost[name][i][state, option]
                totals[name] = (
                    totals[name] + cost
                    if self.kinds[name] == "sum"
                    else max(totals[name], cost)
                )
            state = self.next_state[i][state, option]
        return int(state), {name: float(total) for name, total in totals.items()}

    def remaining(self, layer: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Exact bounds of the cost from `layer` to the end: by state, `(S,)` each."""
        return self._cheapest[metric][layer], self._most_expensive[metric][layer]

    def cheapest(self, prefix: Sequence[int], metric: str) -> float:
        """The total cost of the cheapest completion of the prefix."""
        return self._completed(prefix, metric, self._cheapest)

    def most_expensive(self, prefix: Sequence[int], metric: str) -> float:
        """The total cost of the most expensive completion of the prefix."""
        return self._completed(prefix, metric, self._most_expensive)

    def _completed(
        self,
        prefix: Sequence[int],
        metric: str,
        bounds: Mapping[str, Sequence[np.ndarray]],
    ) -> float:
        state, spent = self.walk(prefix)
        return float(
            self._join(metric, spent[metric], bounds[metric][len(prefix)][state])
        )
