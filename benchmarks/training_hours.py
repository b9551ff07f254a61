"""Accel-NASBench: accuracy over trials, and over simulated hours of training.

    python -m benchmarks.training_hours --table=accel-nasbench_imagenet.csv

A trial takes as long as the training of its network would have on the authors' GPUs: a
sum over its stages that is fitted to the table's `train_time_s`. The curves are the
noiseless accuracy of the best network so far inside the budget, chosen by the noisy
signal: mean and quartiles. Prints the means after some numbers of trials and of hours,
with half of their 95 % intervals. Each run is kept in --out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from absl import flags

from benchmarks.published_tables import half_interval
from layernas_tf.comparison.compare import parse_algorithms
from layernas_tf.comparison.style import MATPLOTLIB_DASH, style_of
from layernas_tf.comparison.table_search import run_algorithm
from layernas_tf.core.app import run_main
from layernas_tf.core.files import writing
from layernas_tf.space.budget import Budget, parse_budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.tabular.table import Row
from search_spaces.tabular.accel_nasbench import AccelTable, read_accel_csv

ALGORITHMS = "layernas_bayes,layernas,random,regularized_evolution,bananas,ppo"
HOURS = (10, 25, 50, 100, 200)
TRIALS = (25, 50, 100, 200, 400)


class TimedTable:
    """A table that notes how long each training would have taken.

    Example:
      timed = TimedTable(table)
      timed.query(table.space.default)
      timed.hours  # of one training

    Attributes:
      hours: Of the architectures asked for so far, each once, in order: a search asks
        again for what it recommends.
    """

    def __init__(self, table: AccelTable):
        self._table = table
        self.benchmark, self.dataset = table.benchmark, table.dataset
        self.space: SearchSpace = table.space
        self.metric = table.metric
        self.hours: list[float] = []
        self._trained: set[Architecture] = set()

    def query(self, architecture: Architecture) -> Row:
        """See `Table.query`."""
        if architecture not in self._trained:
            self._trained.add(architecture)
            costs = self.space.costs(architecture)
            self.hours.append(costs["train_time_s"] / 3600)
        return self._table.query(architecture)

    def best(self, budgets: Sequence[Budget] = ()) -> Row:
        """See `Table.best`."""
        return self._table.best(budgets)


def timed_run(
    table: AccelTable, budgets: Sequence[Budget], name: str, seed: int, trials: int
) -> np.ndarray:
    """Hours so far and noiseless accuracy after each trial, `(trials, 2)`."""
    timed = TimedTable(table)
    curve = run_algorithm(name, timed, budgets, trials, seed)
    hours = np.full(trials, np.nan)
    hours[: len(timed.hours)] = np.cumsum(timed.hours)
    return np.stack([hours, curve.test], axis=1)


def at_hours(run: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Accuracy that a run has reached at given hours; NaN before its first answer."""
    index = np.searchsorted(run[:, 0], hours, side="right") - 1
    return np.where(index >= 0, run[np.maximum(index, 0), 1], np.nan)


def _draw(runs: dict[str, np.ndarray], best: float, budget: str, path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, 2, figsize=(11, 4.6), layout="constrained", dpi=130, sharey=True
    )
    end = min(float(np.nanmin(each[:, -1, 0])) for each in runs.values())
    hours = np.linspace(0, end, 300)
    for name, each in runs.items():
        style = style_of(name)
        over_hours = np.stack([at_hours(run, hours) for run in each])
        trials = np.arange(1, each.shape[1] + 1)
        for panel, x, values in (
            (panels[0], trials, each[:, :, 1]),
            (panels[1], hours, over_hours),
        ):
            known = ~np.isnan(values).any(axis=0)
            low, high = np.percentile(values[:, known], (25, 75), axis=0)
            panel.fill_between(
                x[known], low, high, color=style.colour, alpha=0.12, lw=0
            )
            panel.plot(
                x[known],
                values[:, known].mean(axis=0),
                MATPLOTLIB_DASH[style.dash],
                color=style.colour,
                lw=style.width,
                label=f"{style.label} ({len(each)} runs)",
            )
    for panel, label in zip(panels, ("trials", "simulated hours of training")):
        panel.axhline(best, color="black", lw=0.8, dashes=(6, 3))
        panel.set_xlabel(label)
        panel.grid(alpha=0.25, lw=0.6)
        panel.set_ylim(best - 4.5, best + 0.3)
    panels[0].set_ylabel("noiseless top-1 accuracy, %")
    figure.suptitle(f"Accel-NASBench, {budget} (dashed: best known)", fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    pyplot.close(figure)


def _print(runs: dict[str, np.ndarray]) -> None:
    heads = [f"{t} trials" for t in TRIALS] + [f"{h} h" for h in HOURS]
    print(f"| algorithm (runs) | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 1) + "|")
    for name, each in runs.items():
        after = [each[:, t - 1, 1] for t in TRIALS if t <= each.shape[1]]
        after += [
            np.array([float(at_hours(run, np.array(float(h)))) for run in each])
            for h in HOURS
        ]
        texts = [
            "–" if np.isnan(v).any() else f"{v.mean():.2f} ± {half_interval(v):.2f}"
            for v in after
        ]
        print(f"| {style_of(name).label} ({len(each)}) | {' | '.join(texts)} |")


def main(argv: Sequence[str]) -> None:
    """Makes the missing runs, prints the means and draws the curves."""
    del argv
    given = flags.FLAGS
    table = read_accel_csv(given.table)
    budgets = [parse_budget(given.budget, table.space)]
    os.makedirs(given.out, exist_ok=True)
    runs = {}
    for name, plan in parse_algorithms(
        given.algorithms, given.runs, TRIALS[-1]
    ).items():
        found = []
        for seed in range(plan.runs):
            path = os.path.join(given.out, f"{name}-{seed:04d}.npy")
            if not os.path.exists(path):
                run = timed_run(table, budgets, name, seed, plan.trials)
                with writing(path) as temporary:
                    np.save(temporary, run)
            found.append(np.load(path, allow_pickle=False))
        runs[name] = np.stack(found)
    _print(runs)
    _draw(runs, table.best(budgets).test, given.budget, given.figure)


if __name__ == "__main__":
    flags.DEFINE_string("table", None, "The CSV file.", required=True)
    flags.DEFINE_string("budget", "macs<=50%", "As for layernas_tf.compare.")
    flags.DEFINE_string("algorithms", ALGORITHMS, "As for layernas_tf.compare.")
    flags.DEFINE_integer("runs", 30, "Runs per algorithm.")
    flags.DEFINE_string("out", "runs/training_hours", "Folder for the runs.")
    flags.DEFINE_string(
        "figure", "docs/images/training_hours.png", "A PNG file to write."
    )
    run_main(main)
