"""Algorithms on one benchmark table: the plan, the runs, the files."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Sequence

from rich.console import Console

from layernas_tf.algorithms.registry import check_name, names
from layernas_tf.comparison.curves import (
    Curves,
    Standing,
    curves_csv,
    default_targets,
    paired_tests,
    standing,
    summary_csv,
)
from layernas_tf.comparison.runs import (
    Job,
    LoadTable,
    Setting,
    claim_folder,
    read_run,
    run_all,
)
from layernas_tf.comparison.table_search import Curve, check_algorithms
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import write_text
from layernas_tf.space.budget import Budget, parse_budget
from layernas_tf.tabular.table import Row, Table


def budget_of(text: str, table: Table) -> Budget:
    """Reads a budget for the space of a table."""
    return parse_budget(text, table.space)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How often and how long an algorithm searches.

    Example: `Plan(runs=100, trials=400)`.

    Attributes:
      runs: Number of searches.
      trials: Number of evaluations in each search.
    """

    runs: int
    trials: int


def parse_algorithms(text: str, runs: int, trials: int) -> dict[str, Plan]:
    """Reads the plan of each algorithm from a text like `layernas,random,gp:10:100`.

    Args:
      text: Names, each with its own numbers of runs and trials where these differ.
      runs: Number of runs of an algorithm that names none.
      trials: Number of trials of an algorithm that names none.

    Raises:
      UserError: A name is unknown or given twice, or a number is not positive.
    """
    if runs < 1:
        raise UserError(f"`runs`: expected at least 1, got {runs}")
    if trials < 1:
        raise UserError(f"`trials`: expected at least 1, got {trials}")
    plans: dict[str, Plan] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        # In `path/to/file.py:Class`, the first colon belongs to the name.
        name, *numbers = re.split(r"(?<!\.py):", word)
        check_name(name)
        if name in plans:
            raise UserError(f"`algorithms`: {name!r} occurs twice")
        if len(numbers) > 2 or not all(n.isdecimal() and int(n) for n in numbers):
            raise UserError(
                f"`algorithms`: {word!r}: expected '{name}', '{name}:RUNS' or "
                f"'{name}:RUNS:TRIALS'"
            )
        plans[name] = Plan(*map(int, numbers), *(runs, trials)[len(numbers) :])
    if not plans:
        raise UserError(
            f"`algorithms`: expected one or more of {', '.join(names())}, got none"
        )
    return plans


def compare(
    setting: Setting,
    plans: dict[str, Plan],
    out: str,
    processes: int,
    *,
    load: LoadTable,
    targets: Sequence[float] = (),
    command: str = "",
    console: Console | None = None,
) -> list[Standing]:
    """Makes the runs that are missing and writes the outputs.

    Args:
      setting: The table, the budgets and the seed.
      plans: The plan of each algorithm, by its name.
      out: Folder of the runs and the outputs.
      processes: Number of runs at the same time.
      load: Importable function that loads the table of a setting; every process calls
        it once.
      targets: Search signals; the trials needed to reach each are counted. By default
        some near the best possible.
      command: The command that makes the report again, shown in it.
      console: Shows the progress; None shows nothing.

    Returns:
      The standings, in the order of `plans`.

    Raises:
      UserError: Something is wrong with the table, the budgets or the folder.
    """
    if processes < 1:
        raise UserError(f"`processes`: expected at least 1, got {processes}")
    table = load(setting)
    budgets = [budget_of(text, table) for text in setting.budgets]
    best = table.best(budgets)
    check_algorithms(list(plans), table, budgets, setting.shape)
    claim_folder(out, setting)
    jobs = {
        name: [Job(name, run, plan.trials) for run in range(plan.runs)]
        for name, plan in plans.items()
    }
    every = [job for own in jobs.values() for job in own]
    missing = [job for job in every if read_run(out, job) is None]
    if missing:
        console = console or Console(quiet=True)
        _run_with_progress(setting, load, missing, len(every), out, processes, console)
    curves = [
        Curves.of(name, [_finished_run(out, job) for job in own])
        for name, own in jobs.items()
    ]
    targets = targets or default_targets(best.valid)
    standings = [standing(each, best.valid, targets) for each in curves]
    _write_outputs(table, budgets, best, curves, standings, targets, out, command)
    return standings


def _finished_run(out: str, job: Job) -> Curve:
    curve = read_run(out, job)
    assert curve is not None  # it was there before or has just been written
    return curve


def _run_with_progress(
    setting: Setting,
    load: LoadTable,
    missing: list[Job],
    total: int,
    out: str,
    processes: int,
    console: Console,
) -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    left = {job.algorithm: 0 for job in missing}
    for job in missing:
        left[job.algorithm] += 1
    if len(missing) < total:
        console.print(f"{total - len(missing)} of {total} runs were finished before")
    started = time.monotonic()
    with Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        tasks = {name: progress.add_task(name, total=n) for name, n in left.items()}

        def done(job: Job) -> None:
            progress.advance(tasks[job.algorithm])
            left[job.algorithm] -= 1
            if not left[job.algorithm] and not console.is_terminal:
                seconds = time.monotonic() - started
                console.print(f"{job.algorithm}: done after {seconds:.0f} s")

        run_all(setting, load, budget_of, missing, out, processes, done)


def _write_outputs(
    table: Table,
    budgets: Sequence[Budget],
    best: Row,
    curves: Sequence[Curves],
    standings: Sequence[Standing],
    targets: Sequence[float],
    out: str,
    command: str,
) -> None:
    from layernas_tf.comparison.figure import write_figure
    from layernas_tf.comparison.page import comparison_page

    names = table.benchmark, table.dataset
    write_text(os.path.join(out, "curves.csv"), curves_csv(*names, curves))
    write_text(os.path.join(out, "summary.csv"), summary_csv(*names, curves))
    limits = " and ".join(map(str, budgets)) or "no budget"
    title = f"{' '.join(filter(None, names))}, {limits}"
    write_figure(os.path.join(out, "curves.png"), title, curves, best)
    tests = paired_tests(curves)
    write_text(
        os.path.join(out, "report.html"),
        comparison_page(title, curves, standings, tests, targets, best, command),
    )
