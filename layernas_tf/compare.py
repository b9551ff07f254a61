"""Compares search algorithms on a benchmark table, over many seeded runs.

`python -m layernas_tf.compare --benchmark=nats_sss --table=FILE --dataset=cifar10
--budget='madds<=50%' --algorithms=layernas,random --runs=100 --trials=400 --out=DIR`

Writes `curves.csv`, `summary.csv`, `curves.png` and `report.html` to `--out`. Every
finished run is kept in `--out/runs`: the same command goes on where it was stopped, and
more runs or algorithms are added to those there. The same seeds give the same
`curves.csv`, byte for byte.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence

from absl import flags
from rich.console import Console

from layernas_tf.algorithms.registry import NAMES
from layernas_tf.algorithms.reward_shaping import KINDS, RewardShape
from layernas_tf.comparison.compare import compare, parse_algorithms
from layernas_tf.comparison.curves import Standing
from layernas_tf.comparison.runs import Setting
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.tabular.table import Table
from search_spaces.tabular.load import BENCHMARKS, load_table

DEFAULT_ALGORITHMS = (
    "layernas_bayes,layernas,layernas_layerwise,random,regularized_evolution,"
    "local_search,ppo,tpe,nsga2"
)


def load(setting: Setting) -> Table:
    """Loads the table of a setting."""
    return load_table(
        setting.benchmark,
        setting.table or None,
        setting.dataset or None,
        signal_hp=setting.signal_hp,
    )


def _print_standings(standings: Sequence[Standing], out: str) -> None:
    from rich.table import Table as TerminalTable

    shown = TerminalTable(box=None, header_style="bold")
    shown.add_column("algorithm")
    for name in ("runs", "final valid", "IQR", "final test", "found best"):
        shown.add_column(name, justify="right")
    for each in sorted(standings, key=lambda each: -each.valid):
        shown.add_row(
            each.algorithm,
            str(each.runs),
            f"{each.valid:.3f}",
            f"{each.spread:.3f}",
            f"{each.test:.3f}",
            f"{each.found:.0%}",
        )
    console = Console()
    console.print(shown)
    console.print(f"written to {out}: curves.csv, summary.csv, curves.png, report.html")


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string(
        "benchmark",
        "nats_sss",
        f"{', '.join(BENCHMARKS)}, or your own as path/to/file.py:function.",
    )
    flags.DEFINE_string("table", "", "Path of the benchmark's file or folder.")
    flags.DEFINE_string(
        "dataset",
        "",
        "For nats_sss and nats_tss: cifar10, cifar100 or imagenet16. For synthetic: "
        "its arguments, such as layers=20,options=4.",
    )
    flags.DEFINE_integer(
        "signal_hp", 90, "For NATS-Bench archives: the signal after 12 or 90 epochs."
    )
    flags.DEFINE_multi_string(
        "budget",
        [],
        "What an architecture may cost; may be repeated. 'none', given alone, allows "
        "any cost. By default half of the largest architecture's cost.",
    )
    flags.DEFINE_string(
        "algorithms",
        DEFAULT_ALGORITHMS,
        f"Comma-separated: {', '.join(NAMES)} or path/to/file.py:Class. "
        "'gp:10:100' gives gp 10 runs of 100 trials.",
    )
    flags.DEFINE_integer("runs", 100, "Runs per algorithm.")
    flags.DEFINE_integer("trials", 400, "Evaluations per run.")
    flags.DEFINE_integer("seed", 0, "Run i has the seed seed + i.")
    flags.DEFINE_string("out", "runs/compare", "Folder for the results.")
    flags.DEFINE_integer(
        "processes", os.cpu_count() or 1, "Number of runs at the same time."
    )
    flags.DEFINE_list(
        "targets", [], "Accuracies; the report counts the trials needed to reach each."
    )
    flags.DEFINE_enum(
        "reward_shape",
        "rejection",
        list(KINDS),
        "For regularized_evolution and ppo: how the cost enters the reward.",
    )
    flags.DEFINE_float("mnasnet_exponent", -0.07, "w of --reward_shape=mnasnet.")
    flags.DEFINE_float(
        "tunas_beta",
        -0.07,
        "beta of --reward_shape=tunas, as a share of the best possible reward.",
    )


def main(argv: Sequence[str]) -> None:
    """Makes the comparison that the flags ask for."""
    given = flags.FLAGS
    try:
        targets = [float(target) for target in given.targets]
    except ValueError:
        raise UserError(
            f"--targets: expected numbers, got {','.join(given.targets)!r}"
        ) from None
    setting = Setting(
        given.benchmark,
        given.table,
        given.dataset,
        given.signal_hp,
        (),
        RewardShape(given.reward_shape, given.mnasnet_exponent, given.tunas_beta),
        given.seed,
    )
    budgets = given.budget or [f"{load(setting).metric}<=50%"]
    if "none" in budgets and len(budgets) > 1:
        raise UserError(
            f"--budget: 'none' stands alone, got {len(budgets) - 1} more with it"
        )
    budgets = () if budgets == ["none"] else tuple(budgets)
    setting = dataclasses.replace(setting, budgets=budgets)
    standings = compare(
        setting,
        parse_algorithms(given.algorithms, given.runs, given.trials),
        given.out,
        given.processes,
        load=load,
        targets=targets,
        command=shlex.join(["python", "-m", "layernas_tf.compare", *argv_of(sys.argv)]),
        console=Console(stderr=True),
    )
    _print_standings(standings, given.out)


def argv_of(argv: Sequence[str]) -> list[str]:
    """The arguments without the program."""
    return list(argv[1:])


def cli() -> None:
    """The command `layernas-compare`: parses the flags and runs."""
    define_flags()
    run_main(main)


if __name__ == "__main__":
    cli()
