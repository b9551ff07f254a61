"""A finished search serves another budget: its trials are taken over."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.files import read_json
from layernas_tf.costs.latency import read_table
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.fingerprint import SPACE, fingerprint
from layernas_tf.pipeline.task import Task
from layernas_tf.study.open_storage import open_storage, sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.study.transfer import copy_trials

_NEW = ("budget", "latency_table", "cost")
"""What a new target may change besides what any resume may change."""

_TABLE = "latency_table.json"


def retargeted(given: Mapping[str, Any]) -> SearchConfig:
    """The configuration of a finished search, changed where a value is given.

    Args:
      given: The values that the user gives, by flag name; `retarget_from` is one.

    Raises:
      UserError: There is no finished search, nothing new is asked for, or a value is
        given that would make its trials those of another search.
    """
    import optuna

    source = pathlib.Path(given["retarget_from"])
    if not ((source / "config.json").exists() and (source / "study.db").exists()):
        raise UserError(
            f"`retarget_from`={source}: expected the workdir of a finished search, "
            "with config.json and study.db"
        )
    stored = read_json(source / "config.json")
    fields = {field.name: field for field in dataclasses.fields(SearchConfig)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
        if name in fields
    }
    # As configurations, in which 32 and "32" are the same resolution.
    before = SearchConfig(**values).to_json()
    asked = SearchConfig(**{**values, **given}).to_json()
    for name, value in given.items():
        same = asked[name] == before[name]
        if not (same or name in _NEW or fields[name].metadata["may_change"]):
            raise UserError(
                f"`{name}`={value}: the search in {str(source)!r} had "
                f"{before[name]}, and only `budget`, `latency_table` and the final "
                "trainings may differ"
            )
    if not any(given.get(name) for name in _NEW):
        raise UserError(
            "`retarget_from`: expected with another `budget` or `latency_table`"
        )
    if values.get("latency_table") and (source / _TABLE).exists():
        values["latency_table"] = str(source / _TABLE)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    values |= {"storage": "", "study": "", "trials": _believed(source)}
    return SearchConfig(**{**values, **given})


def _believed(source: pathlib.Path) -> int:
    """How many trials of a search `take_over` would copy.

    Without those that were still running when it ended, and without those of before an
    accepted change.
    """
    storage = open_storage(sqlite_url(source / "study.db"), "search")
    first = storage.settle({}).get("believed_from", 0)
    with storage.transaction() as connection:
        trials = storage.stored.read(connection, 0, ())
    return sum(
        trial.number >= first and trial.state not in ("RUNNING", "WAITING")
        for trial in trials
    )


def take_over(task: Task, folder: pathlib.Path) -> int:
    """Copies the trials of `retarget_from` into a workdir that has none yet.

    Returns:
      The number of trials that were copied.

    Raises:
      UserError: The search there was of other data, another space or another proxy
        training, or has no finished trial.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    source = pathlib.Path(task.config.retarget_from)
    if source.resolve() == folder.resolve():
        raise UserError("`retarget_from`: expected another folder than `workdir`")
    parts = fingerprint(task)
    table = read_table(str(source / _TABLE)) if (source / _TABLE).exists() else None
    digests = [None if each is None else each.digest for each in (table, task.latency)]
    if digests[0] != digests[1] or task.config.cost:
        parts.pop(SPACE)  # its costs are among what it digests
    study = open_study(
        sqlite_url(source / "study.db"),
        "search",
        task.space,
        task.budgets,
        task.make_algorithm,
        objective=task.reward_name,
        fingerprint=parts,
    )
    finished = [trial for trial in study.trials if trial.told is not None]
    if not finished:
        raise UserError(f"`retarget_from`={source}: expected a trial that has finished")
    return copy_trials(
        finished,
        sqlite_url(folder / "study.db"),
        "search",
        task.space,
        task.budgets,
        task.reward_name,
    )
