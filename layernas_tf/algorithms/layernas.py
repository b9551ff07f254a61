"""LayerNAS: search layer by layer with a memorial table of cost buckets.

Fan, Alon et al., "LayerNAS: Neural Architecture Search in Polynomial Complexity",
arXiv 2304.11517, section 4 and Algorithm 1. The table keeps, per layer and cost bucket,
the best candidate seen; a child is a kept candidate of layer i with one option applied
at layer i + 1, all later layers at their defaults. With H buckets and |S| options this
takes O(H * |S| * L) trainings instead of |S|^L.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.history import Answer
from layernas_tf.algorithms.memorial_table import MemorialTable
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


class LayerNAS(Algorithm):
    """Layerwise search under budgets (Algorithm 1 of the paper, and the post's loop).

    Attributes:
      table: The memorial table; its metric is the first budget's.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget] = (),
        *,
        seed: int = 0,
        schedule: str = "sweep",
        buckets: int = 50,
        bucket_width: float | None = None,
        replicas: int = 1,
        children: int | None = 8,
        searches: int = 4,
        reach: float = 0.8,
    ):
        """Makes a search.

        Args:
          space: What to search.
          budgets: All hold together; the first one's metric is bucketized.
          seed: Of all random choices.
          schedule: `sweep` takes one step per layer, round and round (the Google
            Research post); `layerwise` takes `searches` steps at a layer before it
            goes to the next (the paper's Algorithm 1).
          buckets: Number of equal buckets over the costs possible at a layer.
          bucket_width: Width of a bucket in the metric's unit, instead of a count.
          replicas: How many candidates a bucket keeps.
          children: At most so many children of a candidate in one step, drawn at
            random (the paper's T); None for all options.
          searches: Steps per layer of the `layerwise` schedule (the paper's R).
          reach: Prefixes that cannot use this share of the first budget come last:
            they are searched when nothing else is left.
        """
        if schedule not in ("sweep", "layerwise"):
            raise UserError(
                f"schedule: expected 'sweep' or 'layerwise', got {schedule!r}"
            )
        for name, value in (
            ("searches", searches),
            ("children", 1 if children is None else children),
        ):
            if value < 1:
                raise UserError(f"{name}: expected at least 1, got {value}")
        if not space.searched_layers:
            raise UserError(f"space {space.name!r}: no layer offers a choice")
        super().__init__(space, budgets, seed=seed)
        metric = budgets[0].metric if budgets else space.metrics[0].name
        self._ample = _ample(space, budgets, metric, reach)
        self._layers = space.searched_layers
        self._schedule = schedule
        self._searches = searches
        self._most_children = children
        self.table = MemorialTable(
            space,
            metric,
            buckets=buckets,
            bucket_width=bucket_width,
            replicas=replicas,
        )
        self._expanded: list[dict[Architecture, set[int]]] = [{} for _ in self._layers]
        self._spent: set[tuple[int, bool, Architecture]] = set()  # no options left
        self._queue: collections.deque[tuple[int, Architecture, Architecture]] = (
            collections.deque()
        )
        self._waiting: dict[Architecture, set[int]] = {}
        self._depth = -1
        self._steps_here = 0

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """The next child to train; see `Algorithm.propose`."""
        while True:
            while self._queue:
                depth, parent, child = self._queue.popleft()
                if self.history.is_new(child):
                    self._waiting.setdefault(child, set()).add(depth)
                    return Candidate(child, number, self._layers[depth], parent)
                if child in self.history.pending:
                    self._waiting.setdefault(child, set()).add(depth)
                else:
                    self._keep(depth, child)
            if not self._step(rng):
                return None

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """Puts the candidate in its bucket if it beats what is there."""
        for depth in sorted(self._waiting.pop(candidate.architecture, ())):
            self._keep(depth, candidate.architecture)

    @property
    def best(self) -> Answer | None:
        """The best candidate inside the budgets.

        A run too short to have one answers with its best prefix of the deepest layer
        reached, completed inside the budgets; its reward is then None.
        """
        if self.history.best is not None:
            return self.history.best
        for depth in reversed(range(len(self._layers))):
            entries = self.table.entries(depth)
            if entries:
                prefix = entries[0].architecture[: self._layers[depth] + 1]
                completed = self.budgeted.complete(prefix, self.space.default)
                return Answer(completed, self.history.rewards.get(completed))
        return None

    def _keep(self, depth: int, architecture: Architecture) -> None:
        reward = self.history.rewards[architecture]
        if reward is not None:
            self.table.keep(depth, architecture, reward)

    def _step(self, rng: np.random.Generator) -> bool:
        """Queues the children of one kept candidate; False if none are left.

        Layers are tried in the schedule's order, prefixes that can use the budget
        before those that cannot.
        """
        for ample in (True, False):
            for _ in range(len(self._layers) + 1):
                if self._expand(rng, self._depth, ample):
                    self._steps_here += 1
                    steps = 1 if self._schedule == "sweep" else self._searches
                    if self._steps_here >= steps or self._depth < 0:
                        self._next_layer()
                    return True
                self._next_layer()
        return False

    def _next_layer(self) -> None:
        self._steps_here = 0
        # The last layer's candidates are complete: nothing follows them.
        self._depth = -1 if self._depth >= len(self._layers) - 2 else self._depth + 1

    def _expand(self, rng: np.random.Generator, depth: int, ample: bool) -> bool:
        """Queues children (at depth + 1) of the best candidate that has any left."""
        if depth < 0:
            parents = [self.space.default]
        else:
            parents = [entry.architecture for entry in self.table.entries(depth)]
        layer = self._layers[depth + 1]
        for parent in parents:
            if (depth, ample, parent) in self._spent:
                continue
            done = self._expanded[depth + 1].setdefault(parent, set())
            prefix = parent[:layer]
            options = [o for o in self._searchable(prefix, ample) if o not in done]
            if not options:
                self._spent.add((depth, ample, parent))
                continue
            for o in rng.permutation(options)[: self._most_children].tolist():
                done.add(o)
                child = prefix + (o,) + self.space.default[layer + 1 :]
                self._queue.append((depth + 1, parent, child))
            return True
        return False

    def _searchable(self, prefix: Architecture, ample: bool) -> list[int]:
        budgeted = self._ample if ample else self.budgeted
        if budgeted is None:
            return []
        return [int(o) for o in np.flatnonzero(budgeted.weights(prefix) > 0)]


def _ample(
    space: SearchSpace, budgets: Sequence[Budget], metric: str, reach: float
) -> BudgetedChain | None:
    """The chain under budgets whose first must be used to a share of `reach`."""
    if not budgets or space.metric(metric).kind == "max":
        return None
    first = budgets[0]
    most = min(first.high, space.chain.dearest((), metric))
    narrowed = Budget(metric, max(first.low, reach * most), first.high)
    try:
        return BudgetedChain(space.chain, [narrowed, *budgets[1:]])
    except UserError:
        return None
