"""The search's loop: ask, evaluate, tell, and keep what the user looks at current."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Sequence

from rich.console import Console

from layernas_tf.budget import Budget, inside
from layernas_tf.errors import UserError
from layernas_tf.executors import Executor
from layernas_tf.progress import showing
from layernas_tf.space import SearchSpace
from layernas_tf.study import Study, Trial
from layernas_tf.tensorboard import log_experiment, log_trial
from layernas_tf.trials_csv import TrialsCsv

FIRST_FAILURES = 5
"""So many failed trials, and none that succeeded, end a search."""

MOST_FAILURES = 10
"""After so many trials, a search of which more than half failed ends."""


def search(
    study: Study,
    executor: Executor,
    trials: int,
    csv: TrialsCsv,
    tensorboard: pathlib.Path,
    console: Console,
) -> None:
    """Asks, evaluates and tells until there are so many trials, or nothing is left.

    Raises:
      UserError: Most trials fail.
    """
    csv.rewrite(study.trials)
    log_experiment(tensorboard, study.space)
    done = [trial for trial in study.trials if trial.state != "running"]
    metric = (study.budgets or study.space.metrics)[0]
    name = metric.metric if isinstance(metric, Budget) else metric.name

    def is_inside(trial: Trial) -> bool:
        return inside(study.budgets, trial.costs)

    with showing(console, trials, name, is_inside, done) as show:
        session: list[Trial] = []
        while True:
            while executor.free > 0 and (study.pending or len(study.trials) < trials):
                candidate = study.ask()
                if candidate is None:
                    break
                executor.submit(candidate)
            if not executor.running:
                return
            for outcome in executor.wait():
                trial = study.tell(outcome)
                session.append(trial)
                csv.append(trial)
                _log(tensorboard, study.space, trial)
                show(trial)
                check_failures(session)


def check_failures(session: Sequence[Trial]) -> None:
    """Ends a search that cannot go well, with the most common reason.

    Args:
      session: The trials that this process has finished.

    Raises:
      UserError: The first ones all failed, or most did.
    """
    failed = [trial for trial in session if trial.state == "failed"]
    count = len(session)
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
