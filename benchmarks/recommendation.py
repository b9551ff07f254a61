"""What a recommendation is worth beside the luckiest trial, over many budgets.

    python -m benchmarks.recommendation --tables=DIR

A budget of a table has one best network, so one budget says little: this searches under
25, 30, ... 80 % of the largest network. Prints, for each table, the mean difference in
reported (test) accuracy between what the search recommends and the trial with the
highest search signal, after 50, 100 and 200 trials, with its standard error over the
budgets (the runs of one budget share their networks, and count as one). For other
--algorithms than `layernas_bayes`, the same belief is given their trials and makes the
recommendation.
"""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
from collections.abc import Sequence

import numpy as np
from absl import flags

from benchmarks.tables import TABLES, PublishedTable
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.algorithms.reward_belief import RewardBelief
from layernas_tf.compare import load
from layernas_tf.comparison.compare import budget_of
from layernas_tf.core.app import run_main
from layernas_tf.space.budget import inside
from layernas_tf.tabular.table import Table

SHARES = tuple(range(25, 81, 5))
"""Budgets in percent of the largest network's cost."""

CHECKPOINTS = (50, 100, 200)


@functools.lru_cache(maxsize=1)
def _loaded(table: PublishedTable, folder: str) -> Table:
    return load(table.setting(folder))


def gains(
    table: PublishedTable, folder: str, algorithm: str, job: tuple[int, int]
) -> list[float]:
    """Test accuracy of the recommended less that of the luckiest, at the checkpoints.

    Args:
      table: Where to search.
      folder: Of the tables.
      algorithm: Its name.
      job: Budget in percent, and seed.
    """
    share, seed = job
    rows = _loaded(table, folder)
    budgets = (budget_of(f"{rows.metric}<={share}%", rows),)
    search = make_algorithm(algorithm, rows.space, budgets, seed)
    belief = RewardBelief(rows.space)
    tried = []
    found = []
    for trial in range(1, CHECKPOINTS[-1] + 1):
        candidate = search.ask()
        if candidate is not None:
            row = rows.query(candidate.architecture)
            search.tell(candidate, row.valid)
            belief.add(candidate.architecture, row.valid)
            tried.append(row)
        if trial in CHECKPOINTS:
            fits = np.array(
                [inside(budgets, rows.space.costs(row.architecture)) for row in tried]
            )
            valid = np.array([row.valid for row in tried])
            luckiest = int(np.argmax(np.where(fits, valid, -np.inf)))
            quality = np.where(fits, belief.expected_quality(), -np.inf)
            found.append(tried[int(np.argmax(quality))].test - tried[luckiest].test)
    return found


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("tables", None, "Folder of the tables.", required=True)
    flags.DEFINE_list("algorithms", ["layernas_bayes"], "Algorithms to measure.")
    flags.DEFINE_integer("runs", 10, "Runs per table and budget.", lower_bound=1)
    flags.DEFINE_integer(
        "processes", os.cpu_count() or 1, "Runs made at the same time."
    )


def main(argv: Sequence[str]) -> None:
    """Makes the runs and prints the table."""
    del argv
    given = flags.FLAGS
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    heads = " | ".join(f"{count} trials" for count in CHECKPOINTS)
    print(f"| table | algorithm | {heads} |")
    print("|---" * (2 + len(CHECKPOINTS)) + "|")
    jobs = [(share, seed) for share in SHARES for seed in range(given.runs)]
    with concurrent.futures.ProcessPoolExecutor(
        given.processes, multiprocessing.get_context("spawn")
    ) as pool:
        for algorithm in given.algorithms:
            every = []
            for table in TABLES:
                work = functools.partial(gains, table, given.tables, algorithm)
                found = np.array(list(pool.map(work, jobs)))
                by_budget = found.reshape(len(SHARES), given.runs, -1).mean(axis=1)
                every.append(by_budget)
                _print_row(table.title, algorithm, by_budget)
            _print_row("all", algorithm, np.concatenate(every))


def _print_row(title: str, algorithm: str, gained: np.ndarray) -> None:
    error = gained.std(axis=0, ddof=1) / np.sqrt(len(gained))
    cells = [f"{m:+.2f} ± {e:.2f}" for m, e in zip(gained.mean(axis=0), error)]
    print(f"| {title} | `{algorithm}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    define_flags()
    run_main(main)
