"""The memorial table as a solver: the best architecture for a reward that is a sum.

LayerNAS fills its table with trained rewards. Given a reward per option and node
instead, the same recursion over layer x node x cost bucket finds the best architecture
inside the budget without training anything, and from the same table the next-best ones.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from layernas_tf.algorithms.reward_features import Effects
from layernas_tf.space.budget import inside
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.types import Architecture

UNITS = 512
"""Cost buckets between the cheapest architecture and the limit."""

_MOST_STEPS = 1000
"""Options that are followed where `budgeted` has only estimates: they can lead to where
no architecture is inside, again and again."""

_FIRST = np.zeros(1, np.int64)

_ROUNDING = 1e-9
"""Tolerance for the rounding errors of floats, in units."""


class MemorialSolver:
    """Finds the architectures of the highest total score inside the budgets.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> effects = Effects(burger())
      >>> solver = MemorialSolver(effects, BudgetedChain(burger().chain, ()))
      >>> scores = effects.scores(np.ones(len(effects)))
      >>> total, architecture = next(solver.solutions(scores))
      >>> len(architecture)
      3
    """

    def __init__(self, effects: Effects, budgeted: BudgetedChain, units: int = UNITS):
        """Prepares the recursion; `budgeted` says what is inside.

        The first budget on a sum is the axis of the table. Its costs are exact where
        they are few whole numbers; otherwise they are rounded up to `units`, so that
        every solution in the table is inside the budget. A solution is then built from
        exact costs: rounding errors do not add up, and the budget that rounding left
        unused is available to the layers that follow. For further budgets on sums,
        `budgeted` says whether a prefix can still be completed.
        """
        chain = budgeted.chain
        self._effects = effects
        self._budgeted = budgeted
        sums = budgeted.axes
        self._coupled = len(sums) > 1
        layers = effects.layers
        if sums:
            axis = sums[0]
            self._limit = axis.upper
            self._least = axis.lower if axis.low > 0 else -np.inf
            self._cost = [
                chain.cost[axis.metric][i][layer.state]
                for i, layer in enumerate(layers)
            ]
            bounds = [chain.remaining(i, axis.metric)[0] for i in range(len(chain) + 1)]
        else:
            self._limit, self._least = 0.0, -np.inf
            self._cost = [np.zeros(layer.next_node.shape) for layer in layers]
            bounds = [np.zeros(len(states)) for states in chain.states]
        self._cheapest = [bounds[i][layer.state] for i, layer in enumerate(layers)]
        self._cheapest.append(np.zeros(int(layers[-1].next_node.max()) + 1))
        self._surplus = [
            np.maximum(
                self._cost[i]
                + self._cheapest[i + 1][layer.next_node]
                - self._cheapest[i][:, None],
                0,
            )
            for i, layer in enumerate(layers)
        ]
        slack = max(self._limit - self._cheapest[0][0], 0.0)
        self._unit, self._units = _unit_of(self._surplus, slack, units)
        # The cost of an option plus that of the cheapest completion after it.
        self._reserve = [
            np.where(
                budgeted.allowed[i][layer.state],
                self._cost[i] + self._cheapest[i + 1][layer.next_node],
                np.inf,
            )
            for i, layer in enumerate(layers)
        ]
        self._moves = [self._moves_of(i) for i in range(len(layers))]

    def _moves_of(self, i: int) -> _Moves:
        """What can be done at a layer: all options at all nodes that may be inside."""
        layer = self._effects.layers[i]
        units = np.ceil(self._surplus[i] / self._unit - _ROUNDING)
        reserve = self._reserve[i]
        node, option = np.nonzero((units <= self._units) & np.isfinite(reserve))
        after, units = layer.next_node[node, option], units[node, option]
        order = np.lexsort((units, after, node))
        node, option, after = node[order], option[order], after[order]
        jump = (np.diff(node) > 0) | (np.diff(after) > 0)
        group = np.concatenate([_FIRST, np.cumsum(jump)])[: len(node)]
        return _Moves(node, option, after, units[order].astype(np.int64), group)

    def _tables(self, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Best score of a completion by node and remaining units: `(N, units + 1)`."""
        width = self._units + 1
        end = np.zeros((len(self._cheapest[-1]), width))
        if self._least > -np.inf:
            spare = (self._limit - self._least) / self._unit
            end[:, np.arange(width) > spare] = -np.inf
        tables = [end]
        for i in reversed(range(len(scores))):
            best = np.full((len(scores[i]), width), -np.inf)
            shifted = _shifts(tables[0])
            move = self._moves[i]
            worth = scores[i][move.node, move.option]
            kept = self._undominated(move, worth)
            part = shifted[move.after[kept], width - move.units[kept]]
            part += worth[kept, None]
            node = move.node[kept]
            starts = [0, *(np.flatnonzero(np.diff(node)) + 1).tolist(), len(node)]
            for start, end in itertools.pairwise(starts if len(node) else ()):
                part[start:end].max(axis=0, out=best[node[start]])
            tables.insert(0, best)
        return tables

    def _undominated(self, move: _Moves, worth: np.ndarray) -> np.ndarray:
        """Places of the moves that no cheaper one between the same nodes outdoes.

        Only these count where more units left are never worse: without a least cost.
        """
        if self._least > -np.inf or not self._units or not len(worth):
            return np.arange(len(worth))
        # Groups are so far apart that the best so far is one of the move's own group.
        apart = worth + (worth.max() - worth.min() + 1.0) * move.group
        better = apart[1:] > np.maximum.accumulate(apart)[:-1]
        return np.concatenate([_FIRST, np.flatnonzero(better) + 1])

    def solutions(
        self, scores: Sequence[np.ndarray]
    ) -> Iterator[tuple[float, Architecture]]:
        """Yields architectures inside the budgets, by falling total score.

        Args:
          scores: Per layer the worth of an option at a node, `(N, O)`; see `Effects`.

        Yields:
          Total score and architecture; the first is the best one, up to the rounding
          of costs to units. Where `budgeted` has only estimates, few are found or none.
        """
        tables = self._tables(scores)
        root = _Branch((), 0, 0.0, 0.0)
        # Among equal promises, the longest prefix goes first, then the first found.
        ties = itertools.count()
        heap: list[tuple[float, int, int, _Fork, int]] = []

        def push(fork: _Fork, rank: int) -> None:
            promise, depth = fork.promises[rank], len(fork.at.prefix)
            heapq.heappush(heap, (-promise, -depth, next(ties), fork, rank))

        def branch(at: _Branch, bound: float) -> None:
            fork = self._fork(at, scores, tables, bound)
            if fork.promises:
                push(fork, 0)

        branch(root, np.inf)
        steps = 0
        while heap and not (self._budgeted.nearest and steps >= _MOST_STEPS):
            steps += 1
            bound, _, _, fork, rank = heapq.heappop(heap)
            if rank + 1 < len(fork.promises):
                push(fork, rank + 1)
            i, option = len(fork.at.prefix), fork.options[rank]
            node = fork.at.node
            reached = _Branch(
                (*fork.at.prefix, option),
                int(self._effects.layers[i].next_node[node, option]),
                fork.at.total + float(scores[i][node, option]),
                fork.at.spent + float(self._cost[i][node, option]),
            )
            if len(reached.prefix) < len(scores):
                branch(reached, -bound)
            elif self._holds(reached.prefix):
                yield reached.total, reached.prefix

    def _fork(
        self,
        at: _Branch,
        scores: Sequence[np.ndarray],
        tables: Sequence[np.ndarray],
        bound: float,
    ) -> _Fork:
        """The options after a prefix, by what the table promises of each."""
        i = len(at.prefix)
        left = (self._limit - at.spent) - self._reserve[i][at.node]
        units = np.floor(np.maximum(left, -self._unit) / self._unit + _ROUNDING)
        fits = units >= 0
        if self._coupled:
            fits &= self._budgeted.completion_counts(at.prefix) > 0
        k = np.minimum(units, self._units).astype(np.int64)
        promise = tables[i + 1][self._effects.layers[i].next_node[at.node], k]
        promise += scores[i][at.node] + at.total
        promise[~fits] = -np.inf
        # Exact costs may promise more than the rounded ones did: keep the order.
        promise = np.minimum(promise, bound)
        order = np.argsort(-promise, kind="stable")
        order = order[: np.count_nonzero(promise > -np.inf)]
        return _Fork(at, order.tolist(), promise[order].tolist())

    def _holds(self, architecture: Architecture) -> bool:
        _, costs = self._budgeted.chain.walk(architecture)
        return inside(self._budgeted.budgets, costs)


@dataclasses.dataclass(frozen=True, eq=False)
class _Moves:
    """What can be done at a layer, `(M,)` each; sorted by node, node after, and units.

    Attributes:
      node: Where a move begins.
      option: What is chosen.
      after: Node of the next layer.
      units: Cost above that of the cheapest completion.
      group: The same number for moves of equal `node` and `after`, rising.
    """

    node: np.ndarray
    option: np.ndarray
    after: np.ndarray
    units: np.ndarray
    group: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Branch:
    """A prefix, the node it ends in, its score and its cost so far."""

    prefix: Architecture
    node: int
    total: float
    spent: float


@dataclasses.dataclass(frozen=True)
class _Fork:
    """The options after a branch by falling promise; they are explored in turn."""

    at: _Branch
    options: list[int]
    promises: list[float]


def _shifts(table: np.ndarray) -> np.ndarray:
    """A table `(N, W)` with every row moved: `[n, W - k]` is row n moved k right."""
    nodes, width = table.shape
    padded = np.full((nodes, 2 * width), -np.inf)
    padded[:, width:] = table
    row, step = padded.strides
    shape, strides = (nodes, width + 1, width), (row, step, step)
    return np.ndarray(shape, padded.dtype, padded, strides=strides)


def _unit_of(
    surplus: Sequence[np.ndarray], slack: float, units: int
) -> tuple[float, int]:
    """The width of a cost bucket and how many fit into `slack`."""
    flat = np.concatenate([r.ravel() for r in surplus])
    if np.all(flat == np.floor(flat)):
        divisor = int(np.gcd.reduce(flat.astype(np.int64)))
        if divisor and slack / divisor <= 4 * units:
            return float(divisor), int(slack / divisor + 1e-9)
    return (slack / units, units) if slack > 0 else (1.0, 0)
