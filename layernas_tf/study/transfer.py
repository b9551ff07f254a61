"""Trials of one study as the beginning of another, under other budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.study.open_storage import open_storage
from layernas_tf.study.optuna_trial import distributions, template
from layernas_tf.study.trial import Trial


def copy_trials(
    trials: Sequence[Trial],
    url: str,
    name: str,
    space: SearchSpace,
    budgets: Sequence[Budget],
    objective: str,
) -> int:
    """Writes finished trials into a study that has none; all of them or none.

    The algorithm of the new study is told their rewards; it did not ask for them.

    Args:
      trials: Of a study of the same space; its costs may be others.
      url: URL of the new study's storage.
      name: Name of the new study.
      space: Whose costs the trials get.
      budgets: Of the new study.
      objective: The name of the rewards.

    Returns:
      The number of copied trials; 0 if the study has trials already.

    Raises:
      UserError: The storage cannot be written.
    """
    storage = open_storage(url, name, objective=objective)
    if storage.trial_count():
        return 0
    options = distributions(space)
    with storage.transaction() as connection:
        for number, trial in enumerate(trials):
            copied = dataclasses.replace(
                trial,
                number=number,
                costs=space.costs(trial.architecture),
                asked_after=None,
                idle_after=(),
                layer=None,
                told=number,
            )
            row = template(space, options, budgets, copied, {})
            stored = storage.insert(connection, number, row)
            result: dict[str, Any] = {
                "seconds": copied.seconds,
                "metrics": dict(copied.metrics),
                "reason": copied.reason,
            }
            attributes = {"result": result, "told": copied.told}
            storage.finish(connection, stored, attributes, copied.reward)
    return len(trials)
