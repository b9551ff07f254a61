"""All search algorithms on all benchmark tables, in one go.

    python -m benchmarks.published_tables --tables=DIR --out=runs/tables

Runs `layernas_tf.compare` on each table (see docs/comparison.md for where to get them),
and prints for each: the mean search signal and the mean reported accuracy of the best
architecture inside the budget after 25, 50, 100, 200 and 400 trials, with the 95 %
interval of the last one over the runs; how many trials an algorithm needs to come
within 0.1 % of the best possible signal, and how often it finds it; and Wilcoxon's
signed-rank test of each LayerNAS against each other algorithm after 200 trials,
corrected for the number of tests on all tables together (Holm). Runs that are in --out
already are not repeated; with --only_print none are made, and the tables have as many
runs as there are.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Sequence

import numpy as np
import scipy.stats
from absl import flags

from benchmarks.tables import EVERY, LONG, PublishedTable
from layernas_tf.compare import load
from layernas_tf.comparison.compare import budget_of, compare, parse_algorithms
from layernas_tf.comparison.curves import Curves, paired_tests, standing
from layernas_tf.comparison.multiple_tests import holm
from layernas_tf.comparison.runs import Job, read_run
from layernas_tf.comparison.style import style_of
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.tabular.table import Row
from search_spaces.tabular.synthetic import SyntheticTable

CHECKPOINTS = (25, 50, 100, 200)

TESTED_AT = 200
"""Trials after which algorithms are tested against each other."""

ALGORITHMS = (
    "layernas_bayes,layernas,layernas_layerwise,random,regularized_evolution,"
    "local_search,bananas:30,ppo,tpe:30,nsga2:30"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What all algorithms did on one table.

    Example: `outcome.curves["layernas"].test[:, -1]`, the final answers of all runs.

    Attributes:
      table: The table.
      best: The best possible inside the budget, or the best known.
      curves: By algorithm, as many runs as there are.
    """

    table: PublishedTable
    best: Row
    curves: dict[str, Curves]


def run_missing(
    table: PublishedTable, folder: str, out: str, algorithms: str, runs: int, jobs: int
) -> None:
    """Makes the runs of one table that are not there yet."""
    plans = parse_algorithms(algorithms, runs, table.trials)
    out = os.path.join(out, table.folder)
    compare(table.setting(folder), plans, out, jobs, load=load)


def read_outcome(
    table: PublishedTable, folder: str, out: str, algorithms: str, runs: int
) -> Outcome:
    """Reads the runs of one table that are there, up to the number asked for."""
    setting = table.setting(folder)
    rows = load(setting)
    budgets = [budget_of(text, rows) for text in setting.budgets]
    curves = {}
    for name, plan in parse_algorithms(algorithms, runs, table.trials).items():
        jobs = [Job(name, run, plan.trials) for run in range(plan.runs)]
        read = [read_run(os.path.join(out, table.folder), job) for job in jobs]
        found = [curve for curve in read if curve is not None]
        if found:
            curves[name] = Curves.of(name, found)
    return Outcome(table, rows.best(budgets), curves)


def accuracy_table(outcomes: Sequence[Outcome], figure: str) -> list[str]:
    """Markdown: means of `valid` or `test` at the checkpoints, by algorithm.

    With the number of runs, and the 95 % interval of the last mean. Of `test`, an
    algorithm with a belief of its own has a second row for what it recommends.
    """
    heads = [f"{o.table.title} ({getattr(o.best, figure):.2f})" for o in outcomes]
    lines = [f"| algorithm | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in dict.fromkeys(n for o in outcomes for n in o.curves):
        label = style_of(name).label
        curves = [outcome.curves.get(name) for outcome in outcomes]
        lines.append(_means_row(label, curves, figure))
        if figure == "test" and any(c and _believes(c) for c in curves):
            lines.append(
                _means_row(f"{label}, recommended", curves, "recommended_test")
            )
    return lines


def _believes(curves: Curves) -> bool:
    return not np.array_equal(curves.test, curves.recommended_test, equal_nan=True)


def _means_row(label: str, columns: Sequence[Curves | None], figure: str) -> str:
    cells = []
    for curves in columns:
        if curves is None:
            cells.append("")
            continue
        values = getattr(curves, figure)
        counts = [c for c in (*CHECKPOINTS, 400) if c <= values.shape[1]]
        means = values.mean(axis=0)[[c - 1 for c in counts]]
        text = "/".join("–" if np.isnan(m) else f"{m:.2f}" for m in means)
        cells.append(f"{text} ± {half_interval(values[:, -1]):.2f} ({len(values)})")
    return f"| {label} | {' | '.join(cells)} |"


def half_interval(values: np.ndarray) -> float:
    """Half of the 95 % interval of a mean over runs, `(runs,)`; NaN for one run."""
    if len(values) < 2:
        return math.nan
    return float(scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values))


def effort_table(outcomes: Sequence[Outcome]) -> list[str]:
    """Markdown: trials needed for 0.1 % of the best, and how often it was found."""
    outcomes = [outcome for outcome in outcomes if not outcome.table.noisy]
    heads = [outcome.table.title for outcome in outcomes]
    lines = [f"| algorithm | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in dict.fromkeys(n for o in outcomes for n in o.curves):
        cells = []
        for outcome in outcomes:
            if name not in outcome.curves:
                cells.append("")
                continue
            best = outcome.best.valid
            found = standing(outcome.curves[name], best, (best * 0.999,))
            (needed,) = found.needed
            trials = f"> {found.trials}" if needed is None else f"{needed:.0f}"
            cells.append(f"{trials}, {found.found:.0%}")
        lines.append(f"| {style_of(name).label} | {' | '.join(cells)} |")
    return lines


def significance_table(outcomes: Sequence[Outcome]) -> list[str]:
    """Markdown: differences at `TESTED_AT` trials with corrected p-values.

    A row for each table and each variant of LayerNAS, a column for each rival.
    """
    kept = []
    for outcome in outcomes:
        attribute = "test" if outcome.table.noisy else "valid"
        curves = [
            dataclasses.replace(each, valid=getattr(each, attribute))
            for each in outcome.curves.values()
        ]
        for test in paired_tests(curves):
            if test.trial == TESTED_AT and not test.second.startswith("layernas"):
                kept.append((outcome.table.title, test))
    corrected = holm([test.p for _, test in kept])
    rivals = list(dict.fromkeys(test.second for _, test in kept))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for (title, test), p in zip(kept, corrected):
        row = cells.setdefault((test.first, title), {})
        row[test.second] = f"{test.difference:+.2f} ({p:.0e})"
    lines = [
        f"| | table | {' | '.join(style_of(rival).label for rival in rivals)} |",
        "|---" * (len(rivals) + 2) + "|",
    ]
    for name, title in sorted(cells, key=lambda key: key[0]):
        row = cells[name, title]
        found = " | ".join(row.get(rival, "") for rival in rivals)
        lines.append(f"| {style_of(name).label} | {title} | {found} |")
    return lines


def _sum_of_long(folder: str) -> str:
    """How far a model without interactions could get on the long chain."""
    setting = LONG.setting(folder)
    table = load(setting)
    assert isinstance(table, SyntheticTable)
    budgets = [budget_of(text, table) for text in setting.budgets]
    return (
        f"{LONG.title}: the best by the true mean effects of all options is worth "
        f"{table.best_sum(budgets).test:.2f}, the best of all "
        f"{table.best(budgets).test:.2f}."
    )


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("tables", None, "Folder of the tables.", required=True)
    flags.DEFINE_string("out", "runs/tables", "Folder for the results.")
    flags.DEFINE_string("algorithms", ALGORITHMS, "As for layernas_tf.compare.")
    flags.DEFINE_integer("runs", 100, "Runs per algorithm and table.")
    flags.DEFINE_integer(
        "processes", os.cpu_count() or 1, "Runs made at the same time."
    )
    flags.DEFINE_list("titles", [], "Only the tables of these titles.")
    flags.DEFINE_bool(
        "only_print", False, "Only print what is there, without new runs."
    )


def main(argv: Sequence[str]) -> None:
    """Makes the missing runs and prints the tables."""
    del argv
    given = flags.FLAGS
    started, outcomes = time.monotonic(), []
    known = [table.title for table in EVERY]
    unknown = [title for title in given.titles if title not in known]
    if unknown:
        raise UserError(
            f"--titles: {unknown[0]!r} is none, expected one of {', '.join(known)}"
        )
    for table in EVERY:
        if given.titles and table.title not in given.titles:
            continue
        arguments = table, given.tables, given.out, given.algorithms, given.runs
        if not given.only_print:
            run_missing(*arguments, given.processes)
        outcomes.append(read_outcome(*arguments))
    for title, lines in (
        ("Search signal (best possible): mean after 25/50/100/200(/400) trials (runs)",
         accuracy_table(outcomes, "valid")),
        ("Reported accuracy of the same architectures, and of what is recommended",
         accuracy_table(outcomes, "test")),
        ("Median trials to 0.1 % below the best signal, share of runs that found it",
         effort_table(outcomes)),
        (f"Wilcoxon's signed-rank tests after {TESTED_AT} trials",
         significance_table(outcomes)),
    ):  # fmt: skip
        print(f"\n{title}\n")
        print("\n".join(lines))
    if any(outcome.table is LONG for outcome in outcomes):
        print(f"\n{_sum_of_long(given.tables)}")
    print(f"\n{time.monotonic() - started:.0f} seconds")


if __name__ == "__main__":
    define_flags()
    run_main(main)
