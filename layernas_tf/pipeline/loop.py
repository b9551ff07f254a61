"""The loop of a search: ask, evaluate, tell, and update what the user sees."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console

from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.progress import showing
from layernas_tf.pipeline.tensorboard import log_experiment, log_trial
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.study.study import Study
from layernas_tf.study.trial import Trial
from layernas_tf.workers.executor import Executor

FIRST_FAILURES = 5
"""A search ends if its first trials, this many, all fail."""

MOST_FAILURES = 10
"""From this many trials on, a search ends if more than half of them have failed."""

BEAT_SECONDS = 10.0
"""Seconds between two heartbeats of a driver that shares its study with others."""

POLL_SECONDS = 1.0
"""Seconds between two looks at the trials of other drivers of the study."""


def search(
    study: Study,
    executor: Executor,
    trials: int,
    csv: TrialsCsv,
    tensorboard: pathlib.Path,
    console: Console,
    callbacks: Sequence[Callable[[Trial], None]] = (),
) -> None:
    """Asks, evaluates and tells until all trials are done or the algorithm has ended.

    Args:
      study: Records the trials.
      executor: Evaluates the candidates.
      trials: Number of trials that the study will have in the end.
      csv: Gets a row for each finished trial.
      tensorboard: Folder of the event files.
      console: Shows the progress.
      callbacks: Called with each finished trial.

    Raises:
      UserError: Most trials fail.
    """
    study.news()
    csv.rewrite(study.trials)
    log_experiment(tensorboard, study.space)
    done = [trial for trial in study.trials if trial.state != "running"]
    metric = (study.budgets or study.space.metrics)[0]
    name = metric.metric if isinstance(metric, Budget) else metric.name

    def is_inside(trial: Trial) -> bool:
        return inside(study.budgets, trial.costs)

    with showing(console, trials, name, is_inside, done) as show, beating(study):
        failed: list[Trial] = []
        count = 0  # how many trials this process has finished
        while True:
            while executor.free > 0:
                candidate = study.ask(trials)
                if candidate is None:
                    break
                executor.submit(candidate)
            finished: list[Trial] = []
            busy = executor.running > 0
            if busy:
                told = [study.tell(outcome) for outcome in executor.wait()]
                finished = [trial for trial in told if trial is not None]
                count += len(finished)
                failed += [trial for trial in finished if trial.state == "failed"]
            elif study.others_running:
                busy = True
                time.sleep(POLL_SECONDS)  # the other drivers still run trials
            for trial in (*finished, *study.news()):
                csv.append(trial)
                _log(tensorboard, study.space, trial)
                show(trial)
                for callback in callbacks:
                    callback(trial)
            check_failures(failed, count)
            if not busy:
                return


@contextlib.contextmanager
def beating(study: Study) -> Iterator[None]:
    """Sends heartbeats in the body, by which other drivers know that this one lives."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            with contextlib.suppress(UserError):  # the next one may succeed
                study.beat()

    thread = threading.Thread(target=beat, daemon=True)
    if study.shared:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if study.shared:
            thread.join()


def check_failures(failed: Sequence[Trial], count: int) -> None:
    """Ends a search in which most trials fail, with the most common reason.

    Args:
      failed: The trials of this process that failed.
      count: Number of trials that this process has finished.

    Raises:
      UserError: All of the first trials failed, or more than half of all trials.
    """
    all_failed = count >= FIRST_FAILURES and len(failed) == count
    if all_failed or (count >= MOST_FAILURES and len(failed) > count / 2):
        reason, times = collections.Counter(t.reason for t in failed).most_common(1)[0]
        raise UserError(
            f"{len(failed)} of {count} trials failed, {times} of them with: {reason}; "
            "the same command continues the search when this is fixed"
        )


def _log(tensorboard: pathlib.Path, space: SearchSpace, trial: Trial) -> None:
    options = {
        space.layers[i].name: space.layers[i].options[trial.architecture[i]].label
        for i in space.searched_layers
    }
    log_trial(tensorboard, trial.number, options, trial.reward, trial.costs)
