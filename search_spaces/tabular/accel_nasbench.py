"""Accel-NASBench: mobile networks on ImageNet, measured on accelerators.

Ahmad et al., "Accel-NASBench: Sustainable Benchmarking for Accelerator-Aware NAS" (DAC
2024, arXiv 2404.08005), trained about 5,000 random networks of the space `mnasnet` on
ImageNet with a proxy recipe, and measured their latency on two FPGAs. The space has
1e11 networks, so the table is a surrogate of these rows: `search_spaces.tabular.
accel_surrogate` describes its form, and `python -m benchmarks.accel_surrogate` measures
how well it predicts rows that it was not fitted to.

MACs and params are those of the rows, exactly.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, rows_inside
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Option
from layernas_tf.tabular.table import Row
from search_spaces.tabular.accel_chain import SUMS, accel_space
from search_spaces.tabular.accel_surrogate import (
    AccuracySurrogate,
    fit_accuracy,
    fit_sum,
)
from search_spaces.tabular.readers import unreadable
from search_spaces.tabular.signal_noise import standard_normal

TRAINING_DEVIATION = 0.31
"""Standard deviation of a single training's top-1 accuracy, in points.

Pooled over the 117 networks that the authors trained with three seeds each
(`plots/ablations_plots/csvs/proxified-seed{1,2,3}.csv` of afzalxo/Accel-NASBench).
"""

_ATTRIBUTES = (("e", "expansion"), ("k", "kernel"), ("l", "blocks"), ("se", "se"))
_STARTS = 48


@dataclasses.dataclass(frozen=True, eq=False)
class AccelRows:
    """The rows of the file.

    Example:
      rows = AccelRows(options, architectures, accuracy, {})
      fit_accuracy(rows.options, rows.architectures, rows.accuracy)

    Attributes:
      options: Options of each of the `L` stages.
      architectures: Option indices, int array `(N, L)`.
      accuracy: Top-1 accuracy in percent, float array `(N,)`.
      sums: By column of `SUMS`, float array `(N,)`; NaN where it was not measured.
    """

    options: tuple[tuple[Option, ...], ...]
    architectures: np.ndarray
    accuracy: np.ndarray
    sums: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class AccelTable:
    """The surrogate as a table; see `layernas_tf.tabular.table.Table`.

    `valid` is the surrogate's accuracy plus the noise of a single training, the same in
    every query; `test` is without noise.

    Example: `table.query(table.space.default).test` is an accuracy in percent.

    Attributes:
      benchmark: `accel_nasbench`.
      dataset: `imagenet`.
      space: Seven stages; the default costs the most MACs.
      metric: `macs`.
      accuracy: The surrogate of the accuracy.
      source: Path of the file.
    """

    benchmark: str
    dataset: str
    space: SearchSpace
    metric: str
    accuracy: AccuracySurrogate
    source: str

    def query(self, architecture: Architecture) -> Row:
        """Both accuracies of one architecture, in percent."""
        architecture = self.space.check(architecture)
        rows = np.array([architecture])
        test = float(self.accuracy.accuracy(rows)[0])
        noise = float(standard_normal(0, rows)[0])
        return Row(architecture, test + TRAINING_DEVIATION * noise, test)

    def best(self, budgets: Sequence[Budget] = ()) -> Row:
        """The best known noiseless accuracy inside all budgets, as `valid` and `test`.

        It is found by exchanging the options of two stages at a time, from many random
        starts, until no exchange improves it. It is not proven to be the best of 1e11.

        Raises:
          UserError: No architecture is inside.
        """
        found = _exchange(self.space, self.accuracy, tuple(budgets))
        if found is None:
            raise UserError(
                f"{self.source}: no architecture is inside "
                f"{' and '.join(map(str, budgets))}"
            )
        test = float(self.accuracy.accuracy(np.array([found]))[0])
        return Row(found, test, test)


def read_accel_csv(path: str) -> AccelTable:
    """Reads the table and fits its surrogates, which takes about two seconds.

    Columns: `block{0..6}_{e,k,l,se}`, `val_top1`, `macs_m`, `params_m`, and those of
    `SUMS`; further columns are ignored.

    Args:
      path: `anb_dataset_jsons.tar.gz` of afzalxo/Accel-NASBench as a CSV file.

    Raises:
      UserError: The file cannot be read, or belongs to another space.
    """
    rows = read_accel_rows(path)
    fitted = [
        fit_sum([len(each) for each in rows.options], rows.architectures, cost)
        for cost in rows.sums.values()
    ]
    terms = []
    for stage in range(len(rows.options)):
        bases = [each.base if stage == 0 else 0.0 for each in fitted]
        terms.append([base + f.single[stage] for base, f in zip(bases, fitted)])
    space = accel_space(terms)
    surrogate = fit_accuracy(rows.options, rows.architectures, rows.accuracy)
    return AccelTable("accel_nasbench", "imagenet", space, "macs", surrogate, str(path))


def read_accel_rows(path: str) -> AccelRows:
    """Reads the rows and checks their MACs and params; see `read_accel_csv`."""
    space = accel_space()
    options = tuple(layer.options for layer in space.layers)
    index = [{option: i for i, option in enumerate(each)} for each in options]
    wanted = [f"block{i}_{a}" for i in range(len(options)) for a, _ in _ATTRIBUTES]
    wanted += ["val_top1", "macs_m", "params_m", *SUMS]
    architectures, values = [], []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [c for c in wanted if c not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{path}: line 1: column {missing[0]!r} is missing")
            for line, cells in enumerate(reader, start=2):
                architecture, numbers = _parse(path, line, cells, index)
                architectures.append(architecture)
                values.append(numbers)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, "a CSV file", error) from None
    if len(architectures) < 1000:
        raise UserError(
            f"{path}: expected 1,000 rows or more to fit the surrogates to, got "
            f"{len(architectures)}"
        )
    table, found = np.array(values), np.array(architectures)
    _check_costs(path, space, found, table)
    return AccelRows(options, found, table[:, 0], dict(zip(SUMS, table[:, 3:].T)))


def _parse(
    path: str, line: int, cells: Mapping[str, str], index: Sequence[dict[Option, int]]
) -> tuple[list[int], list[float]]:
    try:
        architecture = []
        for stage, known in enumerate(index):
            numbers = [int(cells[f"block{stage}_{a}"]) for a, _ in _ATTRIBUTES]
            option = Option.of(
                **{
                    name: bool(number) if name == "se" else number
                    for (_, name), number in zip(_ATTRIBUTES, numbers)
                }
            )
            architecture.append(known[option])
        columns = ("val_top1", "macs_m", "params_m", *SUMS)
        return architecture, [float(cells[column] or "nan") for column in columns]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path}: line {line}: expected a network of the space 'mnasnet' and "
            "numbers for its accuracy and costs"
        ) from None


def _check_costs(
    path: str, space: SearchSpace, architectures: np.ndarray, table: np.ndarray
) -> None:
    bad = np.flatnonzero(~np.isfinite(table[:, :3]).all(axis=1))
    if len(bad):
        raise UserError(
            f"{path}: line {bad[0] + 2}: expected numbers for accuracy, MACs and params"
        )
    expected = space.chain.costs(architectures)
    for column, metric in ((1, "macs"), (2, "params")):
        found = table[:, column] * 1e6
        bad = np.flatnonzero(np.abs(found - expected[metric]) > 0.5)
        if len(bad):
            raise UserError(
                f"{path}: line {bad[0] + 2}: {found[bad[0]]:,.0f} {metric}, expected "
                f"{expected[metric][bad[0]]:,.0f}: the file is of another space"
            )


@functools.cache
def _exchange(
    space: SearchSpace, surrogate: AccuracySurrogate, budgets: tuple[Budget, ...]
) -> Architecture | None:
    """The best local optimum under exchanges of two stages; None if none is inside."""
    from layernas_tf.space.completions import BudgetedChain

    chain = BudgetedChain(space.chain, budgets)
    if not chain.count():
        return None
    rng = np.random.default_rng(0)
    pairs = list(surrogate.pairs)
    best: tuple[float, Architecture] | None = None
    for _ in range(_STARTS):
        current = np.array(chain.sample(rng))
        value = float(surrogate.log_error(current[None])[0])
        improved = True
        while improved:
            improved = False
            for i, j in rng.permutation(pairs):
                batch = _exchanges(space, current, int(i), int(j))
                errors = surrogate.log_error(batch)
                errors[~rows_inside(budgets, space.chain.costs(batch))] = np.inf
                index = int(errors.argmin())
                if errors[index] < value - 1e-12:
                    current, value, improved = batch[index], float(errors[index]), True
        if best is None or value < best[0]:
            best = value, tuple(current.tolist())
    return best[1] if best else None


def _exchanges(
    space: SearchSpace, architecture: np.ndarray, i: int, j: int
) -> np.ndarray:
    """All options of two stages, the others as they are, int array `(O_i O_j, L)`."""
    sizes = len(space.layers[i].options), len(space.layers[j].options)
    batch = np.tile(architecture, (sizes[0] * sizes[1], 1))
    batch[:, [i, j]] = np.indices(sizes).reshape(2, -1).T
    return batch
