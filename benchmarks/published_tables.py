"""All search algorithms on five published tables, in one go.

    python -m benchmarks.published_tables --tables=DIR --out=runs/tables

Runs `layernas_tf.compare` on each table (see docs/comparison.md for where to get them),
and prints the mean search signal of the best architecture inside the budget after 25,
50, 100 and 200 trials. Runs that are in --out already are not repeated.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence

import numpy as np
from absl import flags

from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.comparison.compare import budget_of, compare, load, parse_algorithms
from layernas_tf.comparison.runs import Job, Setting, read_run
from layernas_tf.core.app import run_main

CHECKPOINTS = (25, 50, 100, 200)

TRIALS = 200

ALGORITHMS = (
    "layernas_bayes,layernas,layernas_layerwise,random,regularized_evolution,"
    "local_search,ppo,tpe,nsga2,gp:10:200"
)


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """A table and where it lies.

    Attributes:
      title: For people.
      benchmark: As for `--benchmark`.
      file: Its name in the folder of tables; empty for a table made up from a seed.
      dataset: As for `--dataset`.
    """

    title: str
    benchmark: str
    file: str
    dataset: str = ""

    def setting(self, folder: str, seed: int = 0) -> Setting:
        """What all runs on the table share; the budget is half of the largest."""
        setting = Setting(
            self.benchmark,
            os.path.join(folder, self.file) if self.file else "",
            self.dataset,
            90,
            (),
            RewardShape(),
            seed,
        )
        return dataclasses.replace(setting, budgets=(f"{load(setting).metric}<=50%",))


_NATS = "nats_sss", "nats_sss_hp90.csv"

TABLES = (
    PublishedTable("NATS CIFAR-10", *_NATS, "cifar10"),
    PublishedTable("NATS CIFAR-100", *_NATS, "cifar100"),
    PublishedTable("NATS ImageNet16-120", *_NATS, "imagenet16"),
    PublishedTable(
        "NAS-Bench-Macro", "nas_bench_macro", "nas-bench-macro_cifar10.json"
    ),
    PublishedTable(
        "Channel-Bench-Macro MobileNet",
        "channel_bench_macro",
        "channel-bench-macro_mobilenet.json",
    ),
)


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("tables", None, "Folder of the tables.", required=True)
    flags.DEFINE_string("out", "runs/tables", "Folder for the results.")
    flags.DEFINE_string("algorithms", ALGORITHMS, "As for layernas_tf.compare.")
    flags.DEFINE_integer("runs", 100, "Runs per algorithm and table.")
    flags.DEFINE_integer("processes", os.cpu_count() or 1, "Runs at once.")


def main(argv: Sequence[str]) -> None:
    """The binary."""
    del argv
    given = flags.FLAGS
    cells: dict[str, list[str]] = {}
    heads = []
    started = time.monotonic()
    for table in TABLES:
        setting = table.setting(given.tables)
        rows = load(setting)
        budgets = [budget_of(text, rows) for text in setting.budgets]
        heads.append(f"{table.title} ({rows.best(budgets).valid:.3f})")
        plans = parse_algorithms(given.algorithms, given.runs, TRIALS)
        folder = os.path.join(given.out, table.title.replace(" ", "_").lower())
        compare(setting, plans, folder, given.processes)
        for name, plan in plans.items():
            curves = [
                read_run(folder, Job(name, run, plan.trials)).valid
                for run in range(plan.runs)
            ]
            reached = [c for c in CHECKPOINTS if c <= plan.trials]
            means = np.mean(curves, axis=0)[[c - 1 for c in reached]]
            text = "/".join("–" if np.isnan(m) else f"{m:.2f}" for m in means)
            cells.setdefault(name, []).append(text)
    print(f"| algorithm | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 1) + "|")
    for name, texts in cells.items():
        print(f"| `{name}` | {' | '.join(texts)} |")
    print(f"{time.monotonic() - started:.0f} seconds")


if __name__ == "__main__":
    define_flags()
    run_main(main)
