"""The search's loop: ask, evaluate, tell, and keep what the user looks at current."""

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
"""So many failed trials, and none that succeeded, end a search."""

MOST_FAILURES = 10
"""After so many trials, a search of which more than half failed ends."""

BEAT_SECONDS = 10.0
"""How often a driver says that it lives, where others work on the same study."""

POLL_SECONDS = 1.0
"""Between two looks at what other drivers of the study do."""


def search(
    study: Study,
    executor: Executor,
    trials: int,
    csv: TrialsCsv,
    tensorboard: pathlib.Path,
    console: Console,
    callbacks: Sequence[Callable[[Trial], None]] = (),
) -> None:
    """Asks, evaluates and tells until there are so many trials, or nothing is left.

    Args:
      study: Records the trials.
      executor: Evaluates the candidates.
      trials: How many the study is to have.
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
        count = 0  # of the trials that this process has finished
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
                time.sleep(POLL_SECONDS)  # until they are done, or dead
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
    """Lets the other drivers of a study know that this one lives, all the while."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            with contextlib.suppress(UserError):  # the next may reach the database
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
    """Ends a search that cannot go well, with the most common reason.

    Args:
      failed: The failed ones of the trials that this process has finished.
      count: How many it has finished.

    Raises:
      UserError: The first ones all failed, or most did.
    """
    all_failed = count >= FIRST_FAILURES and len(failed) == count
    if all_failed or (count >= MOST_FAILURES and len(failed) > count / 2):
        reason, times = collections.Counter(t.reason for t in failed).most_common(1)[0]
        raise UserError(
            f"{len(failed)} of {count} trials failed, {times} of them with: {reason}; "
            "the same command continues the search when this is mended"
        )


def _log(tensorboard: pathlib.Path, space: SearchSpace, trial: Trial) -> None:
    options = {
        space.layers[i].name: space.layers[i].options[trial.architecture[i]].label
        for i in space.searched_layers
    }
    log_trial(tensorboard, trial.number, options, trial.reward, trial.costs)
