"""`compare_algorithms`: search algorithms on a benchmark table."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence

from rich.console import Console

from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.compare import load
from layernas_tf.comparison.compare import compare, parse_algorithms
from layernas_tf.comparison.curves import Standing
from layernas_tf.comparison.runs import Setting


def compare_algorithms(
    benchmark: str,
    algorithms: Sequence[str],
    *,
    table: str | pathlib.Path = "",
    dataset: str = "",
    budget: Sequence[str] = (),
    runs: int = 100,
    trials: int = 400,
    seed: int = 0,
    out: str | pathlib.Path | None = None,
    processes: int = 1,
    verbose: int = 1,
) -> list[Standing]:
    """Compares search algorithms on a benchmark table, over many seeded runs.

    Example:
      compare_algorithms("synthetic", ["layernas", "random"], runs=10, trials=50)

    Args:
      benchmark: A benchmark, named as for `--benchmark` of `layernas-compare`.
      algorithms: Names of algorithms; `gp:10:100` is `gp` with 10 runs of 100 trials.
      table: Path of the benchmark's file or folder.
      dataset: One of the benchmark's data sets, or the arguments of `synthetic`.
      budget: What an architecture may cost; by default half of the largest one's cost.
      runs: Number of runs of each algorithm.
      trials: Number of trials of each run.
      seed: Run `i` has the seed `seed + i`.
      out: Folder for curves.csv, summary.csv, curves.png and report.html. Runs that are
        finished there are not repeated. None keeps no files.
      processes: Number of runs at the same time; one is made in this process. More than
        one needs a main module that can be imported: a script must call this below
        `if __name__ == "__main__":`.
      verbose: 0 shows no progress.

    Returns:
      One standing per algorithm, in the order of `algorithms`.

    Raises:
      UserError: A name, the table, the budget or the folder cannot be used.
    """
    setting = Setting(benchmark, str(table), dataset, 90, (), RewardShape(), seed)
    budgets = tuple(budget) or (f"{load(setting).metric}<=50%",)
    setting = dataclasses.replace(setting, budgets=budgets)
    plans = parse_algorithms(",".join(algorithms), runs, trials)
    console = Console(stderr=True, quiet=not verbose)
    with tempfile.TemporaryDirectory() as temporary:
        folder = temporary if out is None else str(out)
        return compare(setting, plans, folder, processes, load=load, console=console)
