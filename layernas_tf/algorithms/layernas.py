"""LayerNAS: search layer by layer with a memorial table of cost buckets.

Fan, Alon et al., "LayerNAS: Neural Architecture Search in Polynomial Complexity",
arXiv 2304.11517, section 4 and Algorithm 1. The table keeps, per layer and cost bucket,
the best candidate seen; a child is a kept candidate of layer i with one option applied
at layer i + 1.

This differs from the paper in the layers after layer i + 1. There they are at their
defaults, usually the largest: with H buckets and |S| options that takes
O(H * |S| * L) trainings instead of |S|^L, but a child is inside the budget only once
most layers have been made smaller. Here (`base="moving"`) the base is the default made
evenly smaller until it is inside, then the best candidates so far; the layers after the
new option are made cheaper if it exceeds the budget and more expensive if it leaves
budget unused, so every child is a complete answer. After twice as many trials without
a better candidate as there are changes of one layer, the search begins again with a
random base and an empty table.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.base_network import BaseNetwork, DefaultBase, MovingBase
from layernas_tf.algorithms.history import Answer
from layernas_tf.algorithms.memorial_table import MemorialTable
from layernas_tf.algorithms.option_checks import check_whole
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

_PATIENCE = 2
"""Trials without a better candidate, as a multiple of the possible changes of one
layer, after which the search begins again with another base."""


class LayerNAS(Algorithm):
    """Layerwise search under budgets (Algorithm 1 of the paper, and the post's loop).

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> search = LayerNAS(burger(), (), seed=0)
      >>> candidate = search.ask()
      >>> search.tell(candidate, 0.5)
      >>> search.best.reward
      0.5

    Attributes:
      table: The memorial table of all trials; its metric is the first budget's.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget] = (),
        *,
        seed: int = 0,
        schedule: str = "sweep",
        base: str = "moving",
        buckets: int = 50,
        bucket_width: float | None = None,
        replicas: int = 1,
        children: int | None = 1,
        searches: int = 4,
        reach: float = 0.8,
    ):
        """Makes a search.

        Args:
          space: What to search.
          budgets: All hold together; the first one's metric is bucketized.
          seed: Determines every random choice.
          schedule: `sweep` takes one step per layer, round and round (the Google
            Research post); `layerwise` takes `searches` steps at a layer before it
            goes to the next (the paper's Algorithm 1).
          base: `moving`: children are changes to a network inside the budgets, the
            best so far; `default`: the layers after the new option are at their
            defaults,
            as in the paper.
          buckets: Number of equal buckets over the costs possible at a layer.
          bucket_width: Width of a bucket in the metric's unit, instead of a count.
          replicas: How many candidates a bucket keeps.
          children: The most children of a candidate in one step (the paper's T); None
            for all options. With one, a pass through L layers takes L trials
            however long the search is. A base of defaults wants about 8.
          searches: Steps per layer of the `layerwise` schedule (the paper's R).
          reach: Prefixes that cannot use this share of the first budget come last:
            they are searched when nothing else is left.
        """
        for name, value, known in (
            ("schedule", schedule, ("sweep", "layerwise")),
            ("base", base, ("moving", "default")),
        ):
            if value not in known:
                raise UserError(
                    f"{name}: expected {known[0]!r} or {known[1]!r}, got {value!r}"
                )
        for name, number in (
            ("searches", searches),
            ("children", 1 if children is None else children),
        ):
            check_whole(name, number)
        if not space.searched_layers:
            raise UserError(f"space {space.name!r}: no layer offers a choice")
        super().__init__(space, budgets, seed=seed)
        metric = budgets[0].metric if budgets else space.metrics[0].name
        self._ample = _ample(space, budgets, metric, reach)
        self._layers = space.searched_layers
        self._schedule = schedule
        self._searches = searches
        self._most_children = children
        make_table = functools.partial(
            MemorialTable,
            space,
            metric,
            buckets=buckets,
            bucket_width=bucket_width,
            replicas=replicas,
        )
        self.table, self._make_table = make_table(), make_table
        self._base: BaseNetwork = (
            MovingBase(space, self.budgeted, self.history)
            if base == "moving"
            else DefaultBase(space)
        )
        self._waiting: dict[Architecture, set[int]] = {}
        changes = sum(len(layer.options) - 1 for layer in space.layers)
        self._patience = _PATIENCE * changes
        self._begin(0)

    def _begin(self, number: int) -> None:
        """Empties the table that is searched; trials before `number` do not count."""
        self._since = number
        self._highest, self._idle = -np.inf, 0
        self._current = self._make_table()
        self._expanded: list[dict[Architecture, set[int]]] = [{} for _ in self._layers]
        self._spent: set[tuple[int, bool, Architecture]] = set()  # no options left
        # Depth, parent and option of the children to come.
        self._queue: collections.deque[tuple[int, Architecture, int]] = (
            collections.deque()
        )
        self._depth = -1
        self._steps_here = 0

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """The next child to train; see `Algorithm.propose`."""
        if self._base.complete and self._idle >= self._patience:
            start = self.untried.sample(rng)
            if start is not None:
                self._base.begin_again(start)
                self._begin(number)
        while True:
            while self._queue:
                depth, parent, option = self._queue.popleft()
                layer = self._layers[depth]
                child = self._base.child(parent, layer, option, rng)
                if child is None:
                    continue
                if self.history.is_new(child):
                    self._waiting.setdefault(child, set()).add(depth)
                    return Candidate(child, number, layer, parent)
                if child in self.history.pending:
                    self._waiting.setdefault(child, set()).add(depth)
                else:
                    self._keep(depth, child)
            if not self._step(rng):
                return self._unrelated(number, rng)

    def _unrelated(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """A random candidate, once every kept one has had all its children."""
        if not self._base.complete:
            return None
        architecture = self.untried.sample(rng)
        return None if architecture is None else Candidate(architecture, number)

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """Puts the candidate in its bucket if it beats what is there."""
        depths = sorted(self._waiting.pop(candidate.architecture, ()))
        if candidate.number < self._since:
            # Of another base: its rewards would lead back there.
            depths = []
        elif reward is not None:
            self._base.learn(candidate.architecture, reward)
        self._idle += 1
        if reward is not None and reward > self._highest:
            self._highest, self._idle = reward, 0
        for depth in depths:
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
                if completed is not None:
                    return Answer(completed, self.history.rewards.get(completed))
        return None

    def _keep(self, depth: int, architecture: Architecture) -> None:
        reward = self.history.rewards[architecture]
        if reward is not None:
            self.table.keep(depth, architecture, reward)
            self._current.keep(depth, architecture, reward)

    def _step(self, rng: np.random.Generator) -> bool:
        """Queues the children of one kept candidate; False if none are left.

        Layers are tried in the schedule's order, prefixes that can use the budget
        before those that cannot.
        """
        for ample in (True, False):
            for _ in self._layers:
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
            parents = self._base.roots()
        else:
            parents = [entry.architecture for entry in self._current.entries(depth)]
        layer = self._layers[depth + 1]
        for parent in parents:
            known = self._base.complete and parent in self.history.rewards
            if known and parent == parents[0]:
                self._keep(depth + 1, parent)
            if (depth, ample, parent) in self._spent:
                continue
            done = self._expanded[depth + 1].setdefault(parent, set())
            if known:
                self._keep(depth + 1, parent)
                done.add(parent[layer])
            options = [
                o for o in self._searchable(parent[:layer], ample) if o not in done
            ]
            if not options:
                self._spent.add((depth, ample, parent))
                continue
            for o in self._base.order(layer, options, rng)[: self._most_children]:
                done.add(o)
                self._queue.append((depth + 1, parent, o))
            return True
        return False

    def _searchable(self, prefix: Architecture, ample: bool) -> list[int]:
        budgeted = self._ample if ample else self.budgeted
        if budgeted is None:
            return []
        return [int(o) for o in np.flatnonzero(budgeted.completion_counts(prefix) > 0)]


def _ample(
    space: SearchSpace, budgets: Sequence[Budget], metric: str, reach: float
) -> BudgetedChain | None:
    """The chain under budgets whose first must be used to a share of `reach`."""
    if not budgets or space.metric(metric).kind == "max":
        return None
    first = budgets[0]
    most = min(first.high, space.chain.most_expensive((), metric))
    narrowed = Budget(metric, max(first.low, reach * most), first.high)
    try:
        ample = BudgetedChain(space.chain, [narrowed, *budgets[1:]])
    except UserError:
        return None
    return None if ample.nearest else ample
