"""Counts of the completions from every layer and state, by their cost.

Two forms of the same table: exact, by distinct cost, and rounded, by cost in units.
"""

from __future__ import annotations

import itertools

import numpy as np

from layernas_tf.space.chain import Chain


class Counts:
    """How many completions from one state have which surplus, exactly.

    `keys` are the distinct surpluses, sorted, a float array `(M, D)` for `D` budgets;
    `counts` holds the number of completions with each, a float array `(M,)`.

    Example:
      >>> counts = Counts(keys=np.array([[0.0], [2.0]]), counts=np.array([1.0, 3.0]))
      >>> float(counts.count(np.array([0.0]), np.array([1.0])))
      1.0
    """

    def __init__(self, keys: np.ndarray, counts: np.ndarray):
        self.keys = keys
        self.counts = counts
        if keys.shape[1] == 1:
            self._sorted = np.ascontiguousarray(keys[:, 0])
            self._cumulative = np.concatenate([[0.0], np.cumsum(counts)])

    def count(self, low: np.ndarray, high: np.ndarray) -> np.ndarray | float:
        """How many completions lie within `low..high`; `(D,)` or `(N, D)` each."""
        if self.keys.shape[1] == 1:
            upto = np.searchsorted(self._sorted, high[..., 0], "right")
            below = np.searchsorted(self._sorted, low[..., 0], "left")
            return np.maximum(self._cumulative[upto] - self._cumulative[below], 0)
        if low.ndim == 2:
            return np.array([self.count(a, b) for a, b in zip(low, high)])
        within = np.all((self.keys >= low) & (self.keys <= high), axis=1)
        return float(self.counts[within].sum())


def exact_tables(
    chain: Chain,
    allowed: list[np.ndarray],
    surplus: list[np.ndarray],
    slack: np.ndarray,
    most: int,
) -> list[list[Counts]] | None:
    """The tables by exact surplus, or None if they would have more than `most` rows.

    The arguments are those of `rounded_tables`, with surpluses in the metrics' units.
    Rows beyond `slack`, the largest surplus that the limits allow, are left out.
    """
    axes = len(slack)
    tables = [[Counts(np.zeros((1, axes)), np.ones(1)) for _ in chain.states[-1]]]
    entries = 0
    for i in reversed(range(len(chain))):
        row = []
        for s in range(len(chain.states[i])):
            options = np.flatnonzero(allowed[i][s])
            parts = [tables[0][chain.next_state[i][s, o]] for o in options]
            # A table has at most as many rows as its parts: check before building it.
            if entries + sum(len(part.keys) for part in parts) > 5 * most:
                return None
            keys = [surplus[i][s, o] + part.keys for o, part in zip(options, parts)]
            row.append(
                _grouped(
                    np.concatenate(keys or [np.zeros((0, axes))]),
                    np.concatenate([part.counts for part in parts] or [np.zeros(0)]),
                    slack,
                )
            )
            entries += len(row[-1].keys)
            if entries > most:
                return None
        tables.insert(0, row)
    return tables


def _grouped(keys: np.ndarray, counts: np.ndarray, slack: np.ndarray) -> Counts:
    within = np.all(keys <= slack, axis=1)
    keys, counts = keys[within], counts[within]
    if keys.shape[1] == 1:
        unique, inverse = np.unique(keys[:, 0], return_inverse=True)
        unique = unique[:, None]
    else:
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    total = np.bincount(inverse.ravel(), counts, minlength=len(unique))
    return Counts(unique, total)


def rounded_tables(
    chain: Chain, allowed: list[np.ndarray], surplus: list[np.ndarray], units: int
) -> list[list[Grid]]:
    """The tables by surplus in units.

    Args:
      chain: The chain whose completions are counted.
      allowed: For each layer, whether a state may take an option, bool array `(S, O)`.
      surplus: For each layer, the options' surpluses in units, int array `(S, O, D)`
        for `D` budgets.
      units: Number of units between the cheapest architecture and the limit.

    Returns:
      For each layer, and for the end of the chain, one grid per state.
    """
    axes = surplus[0].shape[-1]
    end = np.zeros((units + 1,) * axes)
    end[(0,) * axes] = 1
    density = [end for _ in chain.states[-1]]
    tables = [[Grid(grid) for grid in density]]
    for i in reversed(range(len(chain))):
        row = []
        for s in range(len(chain.states[i])):
            grid = np.zeros((units + 1,) * axes)
            for o in np.flatnonzero(allowed[i][s]):
                shift = surplus[i][s, o]
                if np.all(shift <= units):
                    target = tuple(slice(k, None) for k in shift)
                    source = tuple(slice(0, units + 1 - k) for k in shift)
                    grid[target] += density[chain.next_state[i][s, o]][source]
            row.append(grid)
        density = row
        tables.insert(0, [Grid(grid) for grid in density])
    return tables


class Grid:
    """How many completions from one state have which surplus, in units.

    `density` holds the number of completions, with one axis per budget.

    Example:
      >>> grid = Grid(np.array([1.0, 0.0, 3.0]))
      >>> float(grid.count(np.array([0]), np.array([2])))
      4.0
    """

    def __init__(self, density: np.ndarray):
        cumulative = np.pad(density, [(1, 0)] * density.ndim)
        for axis in range(density.ndim):
            cumulative = np.cumsum(cumulative, axis=axis)
        self._cumulative = cumulative

    def count(self, low: np.ndarray, high: np.ndarray) -> np.ndarray | float:
        """How many completions lie within `low..high`; `(D,)` or `(N, D)` each."""
        size = self._cumulative.shape[0] - 1
        upto = np.clip(np.asarray(high) + 1, 0, size).astype(np.int64)
        below = np.minimum(np.clip(np.asarray(low), 0, size).astype(np.int64), upto)
        axes = self._cumulative.ndim
        total = 0.0
        for corner in itertools.product((0, 1), repeat=axes):
            index = tuple(
                below[..., axis] if taken else upto[..., axis]
                for axis, taken in enumerate(corner)
            )
            total = total + (-1) ** sum(corner) * self._cumulative[index]
        return np.maximum(total, 0)
