"""A small search whose trials sleep and look their reward up: the other parts are real.

    python -m benchmarks.table_search --workdir=runs/table --trials=30 --workers=2

`benchmarks.faults` kills it. The workdir gets the files of a search up to `trials.csv`,
and `result.json`, the best trial.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import time
from collections.abc import Callable, Sequence

from absl import flags
from rich.console import Console

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import write_json
from layernas_tf.core.workdir import check_workdir, lock_workdir, open_workdir
from layernas_tf.evaluators.base import Evaluation
from layernas_tf.pipeline.loop import search
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.space.budget import Budget, parse_budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.study.open_storage import sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.study.study import Study
from layernas_tf.workers.attempts import Attempts
from layernas_tf.workers.executor import Executor, InProcess
from search_spaces.tabular.synthetic import synthetic

TABLE = synthetic(layers=8, options=4, buckets=40)

EVALUATIONS = "evaluations"
"""File in the workdir: a line per evaluation that began, with number and process."""


def budgets() -> tuple[Budget, ...]:
    """The budgets of the search."""
    return (parse_budget("cost<=60%", TABLE.space),)


def make_evaluator(log: str, seconds: float) -> Callable[[Candidate], Evaluation]:
    """The evaluator of one process: notes who evaluates what, sleeps, looks up."""

    def evaluate(candidate: Candidate) -> Evaluation:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{candidate.number} {os.getpid()}\n")
        time.sleep(seconds)
        return Evaluation(TABLE.query(candidate.architecture).valid)

    return evaluate


def open_table_study(folder: pathlib.Path, algorithm: str = "layernas") -> Study:
    """The study in a workdir."""
    make = functools.partial(make_algorithm, algorithm, TABLE.space, budgets(), 0)
    url = sqlite_url(folder / "study.db")
    return open_study(url, "search", TABLE.space, budgets(), make)


def make_executor(
    folder: pathlib.Path, seconds: float, workers: int, address: str = ""
) -> Executor:
    """In this process for one worker, else Ray's."""
    make = functools.partial(make_evaluator, str(folder / EVALUATIONS), seconds)
    if workers == 1:
        return InProcess(make())
    from layernas_tf.workers.ray_cluster import Resources
    from layernas_tf.workers.ray_workers import RayWorkers

    return RayWorkers(
        make,
        Resources(workers, cpus=0.01),
        address=address,
        attempts=Attempts(retries=2),
    )


def run(workdir: str, trials: int, seconds: float, workers: int, address: str) -> float:
    """The search; returns the seconds of its loop, without start and end.

    Raises:
      UserError: The workdir cannot be written, or is in use.
    """
    folder = pathlib.Path(workdir)
    check_workdir(folder)
    open_workdir(folder)
    with lock_workdir(folder):
        study = open_table_study(folder)
        with contextlib.closing(
            make_executor(folder, seconds, workers, address)
        ) as executor:
            started = time.perf_counter()
            search(
                study,
                executor,
                trials,
                TrialsCsv(folder / "trials.csv", TABLE.space, budgets()),
                folder / "tensorboard",
                Console(highlight=False),
            )
            elapsed = time.perf_counter() - started
        best = study.algorithm.best
        result = None if best is None else [list(best.architecture), best.reward]
        write_json(folder / "result.json", result)
    return elapsed


def main(argv: Sequence[str]) -> None:
    """Runs the search."""
    del argv
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    given = flags.FLAGS
    try:
        run(
            given.workdir, given.trials, given.seconds, given.workers, given.ray_address
        )
    except OSError as error:
        where = error.filename or given.workdir
        raise UserError(f"{where!r}: {error.strerror or error}") from None


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("workdir", "runs/table_search", "Folder of results.")
    flags.DEFINE_integer("trials", 30, "Trials of the search.", lower_bound=1)
    flags.DEFINE_float("seconds", 0.02, "Duration of a trial.", lower_bound=0)
    flags.DEFINE_integer("workers", 1, "Worker processes.", lower_bound=1)
    flags.DEFINE_string("ray_address", "", "Ray cluster; by default this machine.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
