"""The memorial table: per layer and cost bucket, the best candidates seen.

arXiv 2304.11517, section 4. At a layer, a candidate represents its prefix up to that
layer; its cost there is that of the prefix with the defaults after it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


@dataclasses.dataclass(frozen=True)
class Entry:
    """A candidate that a bucket keeps.

    Example: `Entry((1, 0, 2), reward=0.91, cost=2.4e6)`.

    Attributes:
      architecture: The candidate.
      reward: Its reward.
      cost: The cost of its prefix with the defaults after it, in the table's metric.
    """

    architecture: Architecture
    reward: float
    cost: float


class MemorialTable:
    """Buckets of one metric for every layer that offers a choice.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> table = MemorialTable(burger(), "price", buckets=4)
      >>> table.keep(0, (1, 0, 2), reward=0.8)
      >>> [entry.reward for entry in table.entries(0)]
      [0.8]

    Attributes:
      metric: The cost that is bucketized.
      layers: Indices of the searched layers; the `depth` of a method counts these.
      kept: For each of them, bucket -> entries, the best first.
    """

    def __init__(
        self,
        space: SearchSpace,
        metric: str,
        *,
        buckets: int = 20,
        bucket_width: float | None = None,
        replicas: int = 1,
    ):
        """Makes an empty table.

        Args:
          space: Whose candidates are kept.
          metric: The cost that is bucketized.
          buckets: Number of equal buckets over the costs possible at a layer.
          bucket_width: Width of a bucket in the metric's unit, instead of a count.
          replicas: How many candidates a bucket keeps.

        Raises:
          UserError: A number is out of range.
        """
        for name, value in (("buckets", buckets), ("replicas", replicas)):
            if value < 1:
                raise UserError(f"{name}: expected at least 1, got {value}")
        if bucket_width is not None and not bucket_width > 0:
            raise UserError(
                f"bucket_width: expected a number above 0, got {bucket_width}"
            )
        self._space = space
        self._replicas = replicas
        self.metric = metric
        self.layers = space.searched_layers
        self.kept: list[dict[int, list[Entry]]] = [{} for _ in self.layers]
        self._start, self._width = [], []
        for layer in self.layers:
            low, high = _candidate_costs(space, metric, layer)
            # Slightly wider, so that the most expensive candidate is in the last
            # bucket.
            even = max((high - low) / buckets * (1 + 1e-6), 1e-9)
            self._start.append(0.0 if bucket_width else low)
            self._width.append(float(bucket_width or even))

    def keep(self, depth: int, architecture: Architecture, reward: float) -> None:
        """Puts a candidate in its bucket if it beats what is there."""
        layer = self.layers[depth]
        prefix = architecture[: layer + 1] + self._space.default[layer + 1 :]
        _, costs = self._space.chain.walk(prefix)
        entry = Entry(architecture, reward, costs[self.metric])
        kept = self.kept[depth].setdefault(self.bucket(depth, entry.cost), [])
        if all(other.architecture != architecture for other in kept):
            kept.append(entry)
            kept.sort(key=lambda e: -e.reward)  # stable: of equals, the first stays
            del kept[self._replicas :]

    def entries(self, depth: int) -> list[Entry]:
        """All that is kept at a layer, the best first."""
        found = [entry for kept in self.kept[depth].values() for entry in kept]
        return sorted(found, key=lambda e: (-e.reward, e.architecture))

    def bucket(self, depth: int, cost: float) -> int:
        """The bucket of a cost at the `depth`-th searched layer."""
        return math.floor((cost - self._start[depth]) / self._width[depth] + 1e-9)

    def bucket_range(self, depth: int, bucket: int) -> tuple[float, float]:
        """The costs of a bucket: lower end included, upper end not."""
        low = self._start[depth] + bucket * self._width[depth]
        return low, low + self._width[depth]


def table_of_trials(
    space: SearchSpace,
    metric: str,
    trials: Sequence[tuple[Architecture, float]],
) -> MemorialTable:
    """Fills a table with trained candidates, whichever algorithm proposed them.

    Args:
      space: What was searched.
      metric: The cost that is bucketized.
      trials: Architectures with their rewards; each is kept at every layer.
    """
    table = MemorialTable(space, metric)
    for architecture, reward in trials:
        for depth in range(len(table.layers)):
            table.keep(depth, architecture, reward)
    return table


def _candidate_costs(
    space: SearchSpace, metric: str, layer: int
) -> tuple[float, float]:
    """Least and greatest cost of a prefix up to `layer` with defaults after it."""
    chain = space.chain
    join = np.add if chain.kinds[metric] == "sum" else np.maximum
    low = high = np.zeros(1)
    for i in range(len(chain)):
        cost, following = chain.cost[metric][i], chain.next_state[i]
        if i > layer:
            chosen = [space.layers[i].default]
            cost, following = cost[:, chosen], following[:, chosen]
        size = len(chain.states[i + 1])
        least, most = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(least, following, join(low[:, None], cost))
        np.maximum.at(most, following, join(high[:, None], cost))
        low, high = least, most
    return float(low.min()), float(high.max())
