"""Reads the trials of a study from the database tables of Optuna.

Whole columns are read at once, which is much faster than Optuna's object per trial.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy

IDS_AT_ONCE = 500
"""The most ids in one query: databases limit the number of parameters."""


@dataclasses.dataclass(frozen=True)
class Tables:
    """Optuna's database tables of studies and trials.

    Example:
      with engine.begin() as connection:
          rows = connection.execute(tables().trials.select()).all()
    """

    studies: sqlalchemy.Table
    study_attributes: sqlalchemy.Table
    trials: sqlalchemy.Table
    params: sqlalchemy.Table
    attributes: sqlalchemy.Table
    system: sqlalchemy.Table
    values: sqlalchemy.Table
    beats: sqlalchemy.Table


def tables() -> Tables:
    """The tables of the installed version of Optuna."""
    from optuna.storages._rdb import models

    return Tables(
        studies=models.StudyModel.__table__,
        study_attributes=models.StudyUserAttributeModel.__table__,
        trials=models.TrialModel.__table__,
        params=models.TrialParamModel.__table__,
        attributes=models.TrialUserAttributeModel.__table__,
        system=models.TrialSystemAttributeModel.__table__,
        values=models.TrialValueModel.__table__,
        beats=models.TrialHeartbeatModel.__table__,
    )


@dataclasses.dataclass(frozen=True)
class StoredTrial:
    """A trial as the database holds it.

    Example: `StoredTrial(7, 0, "COMPLETE", {"block1": 2}, {}, 0.91)`.

    Attributes:
      id: The trial's id in the database.
      number: The trial's number in the study, counted from 0.
      state: Optuna's name of the state: `RUNNING`, `COMPLETE`, `FAIL`, ...
      params: By layer name, the index of the choice.
      attributes: The requested user attributes.
      value: The value of a complete trial.
    """

    id: int
    number: int
    state: str
    params: Mapping[str, int]
    attributes: Mapping[str, Any]
    value: float | None


class StoredTrials:
    """The trials of one study.

    Example:
      stored = StoredTrials(tables(), study_id)
      stored.read(connection, after=0, keys=("result",))
    """

    def __init__(self, tables: Tables, study: int):
        self._trials = tables.trials
        self._params = tables.params
        self._attributes = tables.attributes
        self._values = tables.values
        self._study = study

    def newest(self, connection: sqlalchemy.Connection) -> int:
        """The id of the study's newest trial; 0 if the study has no trial."""
        import sqlalchemy

        table = self._trials
        found = connection.execute(
            sqlalchemy.select(table.c.trial_id)
            .where(table.c.study_id == self._study)
            .order_by(table.c.trial_id.desc())
            .limit(1)
        ).scalar()
        return found or 0

    def choices(self, connection: sqlalchemy.Connection) -> dict[str, tuple[Any, ...]]:
        """By layer name, the choices of the study's first trial."""
        import optuna
        import sqlalchemy

        first = connection.execute(
            sqlalchemy.select(sqlalchemy.func.min(self._params.c.trial_id))
            .join(self._trials, self._trials.c.trial_id == self._params.c.trial_id)
            .where(self._trials.c.study_id == self._study)
        ).scalar()
        rows = connection.execute(
            self._params.select().where(self._params.c.trial_id == first)
        ).all()
        found = {
            row.param_name: optuna.distributions.json_to_distribution(
                row.distribution_json
            )
            for row in rows
        }
        return {
            name: tuple(distribution.choices)
            for name, distribution in found.items()
            if isinstance(distribution, optuna.distributions.CategoricalDistribution)
        }

    def read(
        self,
        connection: sqlalchemy.Connection,
        after: int,
        keys: Collection[str],
        running: Collection[int] = (),
    ) -> list[StoredTrial]:
        """Reads new trials, and those of `running` that have ended; sorted by number.

        Args:
          connection: The connection of a transaction.
          after: An id; trials with greater ids are new.
          keys: Names of the user attributes to read.
          running: Ids of trials that were running when they were read last.
        """
        trials = self._trials
        new = (trials.c.study_id == self._study) & (trials.c.trial_id > after)
        found = self._read(connection, new, keys)
        ids = sorted(running)
        for start in range(0, len(ids), IDS_AT_ONCE):
            some = trials.c.trial_id.in_(ids[start : start + IDS_AT_ONCE])
            ended = trials.c.state.not_in(("RUNNING", "WAITING"))
            found += self._read(connection, some & ended, keys)
        return sorted(found, key=lambda trial: trial.number)

    def _read(
        self, connection: sqlalchemy.Connection, which: Any, keys: Collection[str]
    ) -> list[StoredTrial]:
        import sqlalchemy

        trials = self._trials

        def select(table: Any, *columns: str) -> Any:
            return (
                sqlalchemy.select(*(table.c[name] for name in columns))
                .join(trials, trials.c.trial_id == table.c.trial_id)
                .where(which)
            )

        rows = connection.execute(
            sqlalchemy.select(trials.c.trial_id, trials.c.number, trials.c.state)
            .where(which)
            .order_by(trials.c.trial_id)
        ).all()
        if not rows:
            return []
        params: dict[int, dict[str, int]] = collections.defaultdict(dict)
        query = select(self._params, "trial_id", "param_name", "param_value")
        for trial, name, value in connection.execute(query):
            params[trial][name] = int(value)
        attributes: dict[int, dict[str, Any]] = collections.defaultdict(dict)
        query = select(self._attributes, "trial_id", "key", "value_json")
        query = query.where(self._attributes.c.key.in_(keys))
        for trial, key, text in connection.execute(query):
            attributes[trial][key] = json.loads(text)
        query = select(self._values, "trial_id", "value")
        values = {trial: value for trial, value in connection.execute(query)}
        return [
            StoredTrial(
                row.trial_id,
                row.number,
                row.state.name,
                params.get(row.trial_id, {}),
                attributes.get(row.trial_id, {}),
                values.get(row.trial_id),
            )
            for row in rows
        ]
