"""The database of a study: Optuna's tables, written in one transaction per event.

Every ask and every tell is one transaction that holds the study's lock. So a process
may be killed at any time, and an event is stored completely or not at all; several
drivers of one study take turns. Optuna's own functions would need three transactions
and an object for each value. Other programs that use Optuna read the same tables.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from layernas_tf.study.storage_errors import storage_errors
from layernas_tf.study.trial_reader import IDS_AT_ONCE, StoredTrials, tables

if TYPE_CHECKING:
    import optuna
    import sqlalchemy


class Storage:
    """One study in a database. Made by `open_storage`.

    Example:
      storage = open_storage(sqlite_url(pathlib.Path("study.db")), "search")
      with storage.transaction() as connection:
          storage.stored.newest(connection)

    Attributes:
      shared: Whether other drivers may work on the study.
      engine: The database engine of SQLAlchemy.
      stored: The reader of the study's trials.
    """

    def __init__(self, storage: optuna.storages.RDBStorage, name: str, shared: bool):
        from optuna.storages._rdb import models

        self.shared = shared
        self.engine = storage.engine
        self._url = storage.url
        self._study = storage.get_study_id_from_name(name)
        self._tables = tables()
        self._finite = models.TrialValueModel.TrialValueType.FINITE
        self._texts: dict[int, str] = {}
        self.stored = StoredTrials(self._tables, self._study)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlalchemy.Connection]:
        """Opens a transaction that holds the study's lock until it ends."""
        import sqlalchemy

        with storage_errors(self._url), self.engine.begin() as connection:
            if self.engine.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                # The lock ends with the transaction, also when the process is killed.
                connection.execute(
                    sqlalchemy.select(self._tables.studies.c.study_id)
                    .where(self._tables.studies.c.study_id == self._study)
                    .with_for_update()
                )
            yield connection

    def settle(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Stores the settings that the study lacks; returns all that it then has."""
        table = self._tables.study_attributes
        with self.transaction() as connection:
            rows = connection.execute(
                table.select().where(table.c.study_id == self._study)
            ).all()
            noted = {row.key: json.loads(row.value_json) for row in rows}
            missing = [
                {"study_id": self._study, "key": key, "value_json": json.dumps(value)}
                for key, value in settings.items()
                if key not in noted
            ]
            if missing:
                connection.execute(table.insert(), missing)
        return {**settings, **noted}

    def revise(self, settings: Mapping[str, Any]) -> None:
        """Stores settings of the study in place of those of the same names."""
        table = self._tables.study_attributes
        rows = [
            {"study_id": self._study, "key": key, "value_json": json.dumps(value)}
            for key, value in settings.items()
        ]
        with self.transaction() as connection:
            connection.execute(
                table.delete().where(
                    (table.c.study_id == self._study) & table.c.key.in_(list(settings))
                )
            )
            connection.execute(table.insert(), rows)

    def trial_count(self) -> int:
        """The number of trials of the study."""
        import sqlalchemy

        trials = self._tables.trials
        with self.transaction() as connection:
            return connection.execute(
                sqlalchemy.select(sqlalchemy.func.count())
                .select_from(trials)
                .where(trials.c.study_id == self._study)
            ).scalar_one()

    def insert(
        self,
        connection: sqlalchemy.Connection,
        number: int,
        template: optuna.trial.FrozenTrial,
    ) -> int:
        """Adds a running trial; returns its id."""
        row = {
            "number": number,
            "study_id": self._study,
            "state": template.state,
            "datetime_start": _utc_now(),
        }
        inserted = connection.execute(self._tables.trials.insert().values(row))
        key = inserted.inserted_primary_key
        assert key is not None  # one row was inserted
        trial = key[0]
        params = [
            {
                "trial_id": trial,
                "param_name": name,
                "param_value": template.distributions[name].to_internal_repr(value),
                "distribution_json": self._distribution(template.distributions[name]),
            }
            for name, value in template.params.items()
        ]
        if params:
            connection.execute(self._tables.params.insert(), params)
        for table, values in (
            (self._tables.attributes, template.user_attrs),
            (self._tables.system, template.system_attrs),
        ):
            if values:
                connection.execute(table.insert(), _rows(trial, values))
        if self.shared:
            connection.execute(self._tables.beats.insert().values(trial_id=trial))
        return trial

    def finish(
        self,
        connection: sqlalchemy.Connection,
        trial: int,
        attributes: Mapping[str, Any],
        value: float | None,
    ) -> None:
        """Ends a running trial; without a value it has failed."""
        from optuna.trial import TrialState

        self.note(connection, trial, attributes)
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        connection.execute(
            self._tables.trials.update()
            .where(self._tables.trials.c.trial_id == trial)
            .values({"state": state, "datetime_complete": _utc_now()})
        )
        if value is not None:
            row = {"trial_id": trial, "objective": 0, "value": value}
            connection.execute(
                self._tables.values.insert().values(**row, value_type=self._finite)
            )

    def note(
        self,
        connection: sqlalchemy.Connection,
        trial: int,
        attributes: Mapping[str, Any],
    ) -> None:
        """Writes attributes of a trial; replaces those of the same names."""
        table = self._tables.attributes
        connection.execute(
            table.delete().where(
                (table.c.trial_id == trial) & table.c.key.in_(list(attributes))
            )
        )
        connection.execute(table.insert(), _rows(trial, attributes))

    def beat(
        self,
        trials: Collection[int],
        connection: sqlalchemy.Connection | None = None,
    ) -> None:
        """Records that the driver of these running trials is alive.

        Args:
          trials: Ids of the trials.
          connection: The connection of a transaction; by default, a new connection.
        """
        import sqlalchemy

        if connection is None:
            with storage_errors(self._url), self.engine.begin() as connection:
                self.beat(trials, connection)
            return
        ids = sorted(trials)
        for start in range(0, len(ids), IDS_AT_ONCE):
            some = self._tables.beats.c.trial_id.in_(ids[start : start + IDS_AT_ONCE])
            now = sqlalchemy.func.current_timestamp()
            connection.execute(
                self._tables.beats.update().where(some).values(heartbeat=now)
            )

    def stale(self, connection: sqlalchemy.Connection, seconds: float) -> set[int]:
        """Ids of running trials whose driver has been silent for longer than that."""
        import sqlalchemy
        from optuna.trial import TrialState

        # Like `optuna.storages.fail_stale_trials`, by the database's clock alone.
        now = connection.execute(
            sqlalchemy.select(sqlalchemy.func.current_timestamp())
        ).scalar()
        trials, beats = self._tables.trials, self._tables.beats
        rows = connection.execute(
            sqlalchemy.select(trials.c.trial_id, beats.c.heartbeat)
            .outerjoin(beats, beats.c.trial_id == trials.c.trial_id)
            .where(trials.c.study_id == self._study)
            .where(trials.c.state == TrialState.RUNNING)
        ).all()
        assert now is not None  # the database's clock always answers
        latest = now.replace(tzinfo=None) - datetime.timedelta(seconds=seconds)
        return {row.trial_id for row in rows if not _since(row.heartbeat, latest)}

    def _distribution(self, distribution: optuna.distributions.BaseDistribution) -> str:
        import optuna

        key = id(distribution)  # the study keeps them all: one object for each layer
        if key not in self._texts:
            text = optuna.distributions.distribution_to_json(distribution)
            self._texts[key] = text
        return self._texts[key]


def _rows(trial: int, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial, "key": key, "value_json": json.dumps(value)}
        for key, value in values.items()
    ]


def _since(beat: datetime.datetime | None, latest: datetime.datetime) -> bool:
    return beat is not None and beat.replace(tzinfo=None) >= latest


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
