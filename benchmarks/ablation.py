"""What each ingredient of the two LayerNAS is worth, on the published tables.

    python -m benchmarks.ablation --tables=DIR

Prints the mean search signal of the best architecture inside the budget after 25, 50,
100 and 200 trials, with one ingredient at a time taken away or changed.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from absl import flags

from benchmarks.published_tables import CHECKPOINTS
from benchmarks.tables import LONG, TABLES, PublishedTable
from layernas_tf.algorithms.layernas_bayes import LayerNASBayes
from layernas_tf.algorithms.memorial_solver import MemorialSolver
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.algorithms.reward_features import Effects
from layernas_tf.compare import load
from layernas_tf.comparison.compare import budget_of
from layernas_tf.core.app import run_main
from layernas_tf.space.budget import Budget
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.types import Architecture
from layernas_tf.tabular.table import Table

SAMPLES = 100

INTERACTING = PublishedTable(
    "synthetic, interacting", "synthetic", "", "layers=10,options=5,interaction=1"
)
"""Where neighbouring layers interact as strongly as each layer acts by itself."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """An algorithm with one thing changed.

    Example: `Variant("3 replicas", "layernas", {"replicas": 3})`.

    Attributes:
      title: For people.
      algorithm: Its name.
      options: What differs from the defaults.
      sampled: Whether the memorial table is replaced by the best of `SAMPLES` random
        architectures.
    """

    title: str
    algorithm: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sampled: bool = False


VARIANTS = (
    Variant("`layernas_bayes`", "layernas_bayes"),
    Variant("no belief in capacity", "layernas_bayes", {"capacity": 0.0}),
    Variant("no draws, always the mean", "layernas_bayes", {"exploration": 0.0}),
    Variant("no effects shared by layers", "layernas_bayes", {"shared": False}),
    Variant("no terms of neighbours", "layernas_bayes", {"neighbours": False}),
    Variant("fixed noise and scales", "layernas_bayes", {"learning": False}),
    Variant(f"best of {SAMPLES} samples, no table", "layernas_bayes", sampled=True),
    Variant("`layernas`", "layernas"),
    Variant("20 buckets", "layernas", {"buckets": 20}),
    Variant("100 buckets", "layernas", {"buckets": 100}),
    Variant("3 replicas", "layernas", {"replicas": 3}),
    Variant("2 children in a step", "layernas", {"children": 2}),
    Variant("8 children in a step", "layernas", {"children": 8}),
    Variant("every searchable prefix alike", "layernas", {"reach": 0.0}),
    Variant("the defaults as base", "layernas", {"base": "default", "children": 8}),
    Variant("layer by layer", "layernas_layerwise"),
)


class SampledSolver:
    """Ranks random architectures inside the budgets instead of solving for the best.

    Example:
      solver = SampledSolver(search.effects, search.budgeted, seed=0)
      score, architecture = next(solver.solutions(scores))
    """

    def __init__(self, effects: Effects, budgeted: BudgetedChain, seed: int):
        self._effects = effects
        self._budgeted = budgeted
        self._rng = np.random.default_rng(seed)

    def solutions(
        self, scores: Sequence[np.ndarray]
    ) -> Iterator[tuple[float, Architecture]]:
        """As `MemorialSolver.solutions`, of the samples."""
        found = {self._budgeted.sample(self._rng) for _ in range(SAMPLES)}
        for architecture in sorted(found, key=lambda a: -self._score(scores, a)):
            yield self._score(scores, architecture), architecture

    def _score(self, scores: Sequence[np.ndarray], architecture: Architecture) -> float:
        node, total = 0, 0.0
        for layer, worth, option in zip(self._effects.layers, scores, architecture):
            total += float(worth[node, option])
            node = layer.next_node[node, option]
        return total


@functools.lru_cache(maxsize=1)
def _loaded(table: PublishedTable, folder: str) -> tuple[Table, tuple[Budget, ...]]:
    setting = table.setting(folder)
    rows = load(setting)
    return rows, tuple(budget_of(text, rows) for text in setting.budgets)


def run(variant: Variant, table: PublishedTable, folder: str, seed: int) -> list[float]:
    """The best signal inside the budget at the checkpoints, of one search."""
    rows, budgets = _loaded(table, folder)
    algorithm = make_algorithm(
        variant.algorithm, rows.space, budgets, seed, **variant.options
    )
    if variant.sampled:
        assert isinstance(algorithm, LayerNASBayes)
        budgeted = BudgetedChain(rows.space.chain, budgets)
        solver = SampledSolver(algorithm.effects, budgeted, seed)
        alike = cast(MemorialSolver, solver)  # has what the search uses
        algorithm.solvers = alike, alike
    reached = []
    best = np.nan
    for trial in range(1, CHECKPOINTS[-1] + 1):
        candidate = algorithm.ask()
        if candidate is not None:
            row = rows.query(candidate.architecture)
            algorithm.tell(candidate, row.valid)
            # A prefix completed with defaults may be outside; it does not count.
            if all(b.holds(rows.space.costs(candidate.architecture)) for b in budgets):
                best = np.fmax(best, row.valid)
        if trial in CHECKPOINTS:
            reached.append(float(best))
    return reached


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("tables", None, "Folder of the tables.", required=True)
    flags.DEFINE_integer("runs", 10, "Runs per variant and table.")
    flags.DEFINE_integer(
        "processes", os.cpu_count() or 1, "Runs made at the same time."
    )


def main(argv: Sequence[str]) -> None:
    """Runs every variant on every table and prints the means."""
    del argv
    given = flags.FLAGS
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tables = (*TABLES, INTERACTING, LONG)
    cells: dict[str, list[str]] = {variant.title: [] for variant in VARIANTS}
    with concurrent.futures.ProcessPoolExecutor(
        given.processes, multiprocessing.get_context("spawn")
    ) as pool:
        for table in tables:
            for variant in VARIANTS:
                work = functools.partial(run, variant, table, given.tables)
                means = np.mean(list(pool.map(work, range(given.runs))), axis=0)
                text = "/".join("–" if np.isnan(m) else f"{m:.2f}" for m in means)
                cells[variant.title].append(text)
    print(f"| variant | {' | '.join(table.title for table in tables)} |")
    print("|---" * (len(tables) + 1) + "|")
    for title, texts in cells.items():
        print(f"| {title} | {' | '.join(texts)} |")


if __name__ == "__main__":
    define_flags()
    run_main(main)
