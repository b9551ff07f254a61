"""Two workers against one, and what the executors and the driver cost per trial.

    python -m benchmarks.workers

1. A thousand simulated workers whose trials sleep: the driver's time per ask and tell,
   with the study in its SQLite file, trials.csv and the TensorBoard logs.
2. Sleeping trials: what each executor adds to a trial.
3. The same search of real trainings with one worker and with two of Ray: how much
   faster, with and without the start of the workers.

Needs an idle machine with two cores; `--trainings=0` leaves the third part out.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import pathlib
import tempfile
import time
from collections.abc import Sequence

from absl import flags
from rich.console import Console

from benchmarks.table_search import EVALUATIONS, make_evaluator, open_table_study
from layernas_tf.core.app import run_main
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.evaluation import evaluator_of_process, make_executor
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.load_task import load_task
from layernas_tf.pipeline.loop import search
from layernas_tf.pipeline.task import Task
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.space.candidate import Candidate
from layernas_tf.study.open_storage import sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.study.study import Study
from layernas_tf.workers.child_process import ChildProcess
from layernas_tf.workers.executor import Executor, InProcess, Outcome, evaluate
from layernas_tf.workers.ray_cluster import Resources
from layernas_tf.workers.ray_workers import RayWorkers
from search_spaces.registry import check_name, get_space

SLEEP = 0.05
"""Seconds of a trial that measures an executor."""


class Sleeping:
    """Simulates workers: a candidate is evaluated when it is submitted, done later.

    Example:
      executor = Sleeping(folder, workers=4, seconds=0.05)
      executor.submit(candidate)
      outcomes = executor.wait()

    Attributes:
      idle: Seconds that the driver has waited for trials.
    """

    def __init__(self, folder: pathlib.Path, workers: int, seconds: float):
        self._evaluator = make_evaluator(str(folder / EVALUATIONS), 0.0)
        self._workers = workers
        self._seconds = seconds
        self._running: list[tuple[float, int, Outcome]] = []
        self.idle = 0.0

    @property
    def free(self) -> int:
        """See `Executor`."""
        return self._workers - len(self._running)

    @property
    def running(self) -> int:
        """See `Executor`."""
        return len(self._running)

    def submit(self, candidate: Candidate) -> None:
        """See `Executor.submit`."""
        outcome = evaluate(self._evaluator, candidate)
        # Spread, as trainings are.
        seconds = self._seconds * (0.5 + candidate.number * 0.618 % 1)
        end = time.perf_counter() + seconds
        heapq.heappush(self._running, (end, candidate.number, outcome))

    def wait(self) -> list[Outcome]:
        """See `Executor.wait`."""
        pause = self._running[0][0] - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
            self.idle += pause
        done = []
        while self._running and self._running[0][0] <= time.perf_counter():
            done.append(heapq.heappop(self._running)[2])
        return done

    def close(self) -> None:
        """See `Executor.close`."""
        self._running.clear()


def timed(folder: pathlib.Path, study: Study, executor: Executor, trials: int) -> float:
    """Seconds of a search's loop."""
    csv = TrialsCsv(folder / "trials.csv", study.space, study.budgets)
    started = time.perf_counter()
    search(study, executor, trials, csv, folder / "tensorboard", Console(quiet=True))
    return time.perf_counter() - started


def trainings(executor: Executor, task: Task, trials: int) -> tuple[float, float]:
    """A search of the data set, by this executor, which it closes.

    Returns:
      Its seconds from the start of the workers on, and trials per second after each
      worker has had two.
    """
    first = 2 * executor.free
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        url = sqlite_url(folder / "study.db")
        study = open_study(url, "x", task.space, task.budgets, task.make_algorithm)
        with contextlib.closing(executor):
            start = timed(folder, study, executor, first)
            rest = timed(folder, study, executor, trials)
    return start + rest, (trials - first) / rest


def compare_trainings(trials: int) -> None:
    """Prints searches of the digits with one worker and with two."""
    config = SearchConfig(trials=trials, algorithm="random", cpus_per_trial=1.0)
    inputs = Inputs(get_space, check_name)
    task = load_task(config, inputs)
    make = functools.partial(evaluator_of_process, config, inputs, pathlib.Path())
    made = {
        "one worker on both cores (the default)": lambda: make_executor(
            task, pathlib.Path(), print
        ),
        "one worker on one core": lambda: RayWorkers(make, Resources(1, 1.0)),
        "two workers on two cores": lambda: RayWorkers(make, Resources(2, 1.0)),
    }
    taken = {name: trainings(start(), task, trials) for name, start in made.items()}
    two, two_rate = taken["two workers on two cores"]
    for name, (seconds, rate) in taken.items():
        print(
            f"{name}: {trials} trainings in {seconds:.1f} s, later {rate:.3f} per "
            f"second; two workers take {two / seconds:.2f} of the time, later are "
            f"{two_rate / rate:.2f} times as fast",
            flush=True,
        )


def added(executor: Executor, trials: int, folder: pathlib.Path) -> float:
    """Seconds from one trial of `SLEEP` seconds to the next, less these seconds.

    They hold the ask, the tell and the files of a trial, too. Closes the executor.
    """
    workers = executor.free
    study = open_table_study(folder, "random")
    with contextlib.closing(executor):
        timed(folder, study, executor, 2 * workers)  # until the workers are there
        loop = timed(folder, study, executor, 2 * workers + trials)
    return loop * workers / trials - SLEEP


def compare_executors(trials: int) -> None:
    """Prints what each executor adds to a trial."""
    for name in ("in this process", "in a child process", "two workers of Ray"):
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            make = functools.partial(make_evaluator, str(folder / EVALUATIONS), SLEEP)
            executor: Executor
            if name == "in this process":
                executor = InProcess(make())
            elif name == "in a child process":
                child = ChildProcess(make, 1000 * trials)
                executor = InProcess(child, child.close)
            else:
                executor = RayWorkers(make, Resources(2, cpus=0.01))
            seconds = added(executor, trials, folder)
        print(f"{name}: {1000 * seconds:.1f} ms added to a trial", flush=True)


def driver(workers: int, trials: int, seconds: float) -> tuple[float, float]:
    """Seconds of the driver's work per trial, and the share of its time that was idle.

    Args:
      workers: Simulated.
      trials: Of the search.
      seconds: That a trial takes on the mean.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        executor = Sleeping(folder, workers, seconds)
        loop = timed(folder, open_table_study(folder, "random"), executor, trials)
    return (loop - executor.idle) / trials, executor.idle / loop


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_integer(
        "trainings", 40, "Trials of the real search; 0 for none.", lower_bound=0
    )
    flags.DEFINE_integer("trials", 200, "Sleeping trials.", lower_bound=1)
    flags.DEFINE_integer("simulated", 1000, "Simulated workers.", lower_bound=1)
    flags.DEFINE_float("seconds", 20.0, "Duration of a simulated trial.", lower_bound=0)


def main(argv: Sequence[str]) -> None:
    """Measures and prints all three parts."""
    del argv
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    given = flags.FLAGS
    work, idle = driver(given.simulated, 3 * given.simulated, given.seconds)
    print(
        f"driver of {given.simulated} simulated workers: {1000 * work:.1f} ms per ask "
        f"and tell, idle {idle:.0%} of the time",
        flush=True,
    )
    compare_executors(given.trials)
    if given.trainings:
        compare_trainings(given.trainings)


if __name__ == "__main__":
    define_flags()
    run_main(main)
