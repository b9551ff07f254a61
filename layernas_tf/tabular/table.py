"""Benchmark tables: what every architecture of a space scored when it was trained.

The files are public and are read by path; `search_spaces/tabular/load.py` names them.
Each reader gets the space that its file describes, and refuses a file whose
architectures, FLOPs or params are not those of the space.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, rows_inside
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


@dataclasses.dataclass(frozen=True)
class Row:
    """One architecture of a table.

    Example: `Row((1, 0, 2), valid=93.1, test=92.8)`.

    Attributes:
      architecture: The architecture's option indices.
      valid: The search signal; higher is better.
      test: The result that is reported for the architecture.
    """

    architecture: Architecture
    valid: float
    test: float


class Table(Protocol):
    """What an evaluator and a comparison need from a table.

    Example:
      def gap(table: Table, architecture: Architecture) -> float:
          return table.best().valid - table.query(architecture).valid

    Attributes:
      benchmark: Name of the benchmark, such as `nats_sss`.
      dataset: What the architectures were trained on, such as `cifar10`.
      space: The search space; its default is the largest architecture.
      metric: The cost that budgets usually limit, such as `madds`.
    """

    @property
    def benchmark(self) -> str:
        """See the attributes."""

    @property
    def dataset(self) -> str:
        """See the attributes."""

    @property
    def space(self) -> SearchSpace:
        """See the attributes."""

    @property
    def metric(self) -> str:
        """See the attributes."""

    def query(self, architecture: Architecture) -> Row:
        """Looks one architecture up; raises `UserError` if it is not there."""

    def best(self, budgets: Sequence[Budget] = ()) -> Row:
        """The row with the best `valid` inside all budgets.

        Raises:
          UserError: No architecture is inside.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayTable:
    """A table held in memory, one row per architecture in lexicographic order.

    Example:
      >>> from search_spaces.tabular.burger import burger_table
      >>> table = burger_table()
      >>> table.query(table.best().architecture).valid == table.best().valid
      True

    Attributes:
      benchmark: See `Table`.
      dataset: See `Table`.
      space: See `Table`; `N` is its size and `L` its number of layers.
      metric: See `Table`.
      valid: Search signals, float array `(N,)`; NaN where the source has no record.
      test: Reported results, float array `(N,)`; NaN where the source has no record.
      source: The file or folder, for messages.
    """

    benchmark: str
    dataset: str
    space: SearchSpace
    metric: str
    valid: np.ndarray
    test: np.ndarray
    source: str = ""

    @property
    def architectures(self) -> np.ndarray:
        """Option indices in the order of the rows, int array `(N, L)`."""
        return all_architectures(self.space)

    @property
    def costs(self) -> dict[str, np.ndarray]:
        """By metric name, the cost of every row, float array `(N,)`."""
        return self.space.chain.costs(self.architectures)

    def query(self, architecture: Architecture) -> Row:
        """Looks one architecture up; raises `UserError` if it is not there."""
        architecture = self.space.check(architecture)
        index = 0
        for layer, option in zip(self.space.layers, architecture):
            index = index * len(layer.options) + option
        valid = float(self.valid[index])
        if math.isnan(valid):
            raise UserError(
                f"{self.source}: there is no record of architecture {architecture} "
                f"(index {index}): it holds "
                f"{np.count_nonzero(~np.isnan(self.valid)):,} of "
                f"{self.space.size:,} records"
            )
        return Row(architecture, valid, float(self.test[index]))

    def best(self, budgets: Sequence[Budget] = ()) -> Row:
        """The row with the best `valid` inside all budgets; the first one on a tie."""
        inside = rows_inside(budgets, self.costs) & ~np.isnan(self.valid)
        if not inside.any():
            limits = " and ".join(map(str, budgets)) or "no budget"
            raise UserError(
                f"{self.source or self.benchmark}: no architecture with a record is "
                f"inside {limits}"
            )
        index = int(np.argmax(np.where(inside, self.valid, -np.inf)))
        architecture = tuple(int(option) for option in self.architectures[index])
        return Row(architecture, float(self.valid[index]), float(self.test[index]))


def table_of_rows(
    space: SearchSpace,
    rows: Iterable[Row],
    *,
    benchmark: str,
    metric: str,
    dataset: str = "",
) -> ArrayTable:
    """Makes a table from measured rows; architectures without one have no record.

    Example:
      table_of_rows(space, [Row((0, 1), 91.5, 90.8)], benchmark="mine", metric="madds")

    Args:
      space: The search space.
      rows: At most one for each architecture, in any order.
      benchmark: Name of the benchmark.
      metric: The cost that budgets usually limit.
      dataset: What the architectures were trained on.

    Raises:
      UserError: An architecture is not in the space or occurs twice, a result is not
        finite, there is no row, or the space has no such cost.
    """
    space.metric(metric)
    counts = [len(layer.options) for layer in space.layers]
    valid, test = np.full((2, space.size), np.nan)
    for row in rows:
        index = int(np.ravel_multi_index(space.check(row.architecture), counts))
        if not np.isnan(valid[index]):
            raise UserError(
                f"benchmark {benchmark!r}: architecture {row.architecture} occurs twice"
            )
        if not (math.isfinite(row.valid) and math.isfinite(row.test)):
            raise UserError(
                f"benchmark {benchmark!r}: architecture {row.architecture}: expected "
                f"finite results, got {row.valid} and {row.test}"
            )
        valid[index], test[index] = row.valid, row.test
    if np.isnan(valid).all():
        raise UserError(f"benchmark {benchmark!r}: expected at least one row, got none")
    return ArrayTable(benchmark, dataset, space, metric, valid, test, benchmark)


def all_architectures(space: SearchSpace) -> np.ndarray:
    """All architectures of a small space in lexicographic order, int array `(N, L)`."""
    counts = [len(layer.options) for layer in space.layers]
    return np.indices(counts).reshape(len(counts), -1).T
