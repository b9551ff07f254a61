"""The database of a study: Optuna's tables, written in one transaction per event.

Every ask and every tell is one transaction that holds the study's lock, so a process
may be killed anywhere: an event has happened whole or not at all, and several drivers
on one study take their turns. Optuna's own calls would take three transactions and the
time of an object per value; what other programs of Optuna read is the same.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import json
import pathlib
import time
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from layernas_tf.errors import UserError

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

_ATTEMPTS = 5
"""To make the tables, which another driver may be making at this moment."""

_AT_ONCE = 500
"""Ids in one query; databases have a limit."""


@dataclasses.dataclass(frozen=True)
class StoredTrial:
    """A trial as the tables hold it.

    Attributes:
      id: In the database.
      number: In the study, counted from 0.
      state: Optuna's name: `RUNNING`, `COMPLETE`, `FAIL`, ...
      params: By layer name, the index of the choice.
      attributes: Those that were asked for.
      value: Of a complete trial.
    """

    id: int
    number: int
    state: str
    params: Mapping[str, int]
    attributes: Mapping[str, Any]
    value: float | None


class Storage:
    """One study in a database. Made by `open_storage`.

    Attributes:
      shared: Whether other drivers may work on the study.
      engine: SQLAlchemy's.
    """

    def __init__(self, storage: optuna.storages.RDBStorage, name: str, shared: bool):
        from optuna.storages._rdb import models

        self.shared = shared
        self.engine = storage.engine
        self._url = storage.url
        self._trials = models.TrialModel.__table__
        self._params = models.TrialParamModel.__table__
        self._attributes = models.TrialUserAttributeModel.__table__
        self._system = models.TrialSystemAttributeModel.__table__
        self._values = models.TrialValueModel.__table__
        self._beats = models.TrialHeartbeatModel.__table__
        self._studies = models.StudyModel.__table__
        self._study_attributes = models.StudyUserAttributeModel.__table__
        self._finite = models.TrialValueModel.TrialValueType.FINITE
        self._study = storage.get_study_id_from_name(name)
        self._texts: dict[int, str] = {}

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlalchemy.Connection]:
        """What is done inside happens whole or not at all, and in no one else's way."""
        import sqlalchemy

        with storage_errors(self._url), self.engine.begin() as connection:
            if self.engine.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                # Held until the end of the transaction, and gone with its process.
                connection.execute(
                    sqlalchemy.select(self._studies.c.study_id)
                    .where(self._studies.c.study_id == self._study)
                    .with_for_update()
                )
            yield connection

    def settle(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Notes what the study is of, unless it is noted already; what is noted."""
        table = self._study_attributes
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

    def newest(self, connection: sqlalchemy.Connection) -> int:
        """The id of the study's newest trial; 0 without one."""
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
        """By layer name, the choices that the study's first trial had."""
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
        """Trials by number: those with greater ids, and of `running` what has ended.

        Args:
          connection: Of a transaction.
          after: An id.
          keys: Of the attributes to read.
          running: Ids of trials that were running when they were read before.
        """
        trials = self._trials
        new = (trials.c.study_id == self._study) & (trials.c.trial_id > after)
        found = self._read(connection, new, keys)
        ids = sorted(running)
        for start in range(0, len(ids), _AT_ONCE):
            some = trials.c.trial_id.in_(ids[start : start + _AT_ONCE])
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
        inserted = connection.execute(self._trials.insert().values(row))
        trial = inserted.inserted_primary_key[0]
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
            connection.execute(self._params.insert(), params)
        for table, values in (
            (self._attributes, template.user_attrs),
            (self._system, template.system_attrs),
        ):
            if values:
                connection.execute(table.insert(), _rows(trial, values))
        if self.shared:
            connection.execute(self._beats.insert().values(trial_id=trial))
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
            self._trials.update()
            .where(self._trials.c.trial_id == trial)
            .values({"state": state, "datetime_complete": _utc_now()})
        )
        if value is not None:
            row = {"trial_id": trial, "objective": 0, "value": value}
            connection.execute(
                self._values.insert().values(**row, value_type=self._finite)
            )

    def note(
        self,
        connection: sqlalchemy.Connection,
        trial: int,
        attributes: Mapping[str, Any],
    ) -> None:
        """Writes attributes of a trial, in place of those of the same names."""
        table = self._attributes
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
        """Says that these running trials have a living driver.

        Args:
          trials: Their ids.
          connection: Of a transaction; by default a connection of its own.
        """
        import sqlalchemy

        if connection is None:
            with storage_errors(self._url), self.engine.begin() as connection:
                self.beat(trials, connection)
            return
        ids = sorted(trials)
        for start in range(0, len(ids), _AT_ONCE):
            some = self._beats.c.trial_id.in_(ids[start : start + _AT_ONCE])
            now = sqlalchemy.func.current_timestamp()
            connection.execute(self._beats.update().where(some).values(heartbeat=now))

    def stale(self, connection: sqlalchemy.Connection, seconds: float) -> set[int]:
        """Ids of running trials whose driver has not been heard of for so long."""
        import sqlalchemy
        from optuna.trial import TrialState

        # Like `optuna.storages.fail_stale_trials`, by the database's clock alone.
        now = connection.execute(
            sqlalchemy.select(sqlalchemy.func.current_timestamp())
        ).scalar()
        trials, beats = self._trials, self._beats
        rows = connection.execute(
            sqlalchemy.select(trials.c.trial_id, beats.c.heartbeat)
            .outerjoin(beats, beats.c.trial_id == trials.c.trial_id)
            .where(trials.c.study_id == self._study)
            .where(trials.c.state == TrialState.RUNNING)
        ).all()
        latest = now.replace(tzinfo=None) - datetime.timedelta(seconds=seconds)
        return {row.trial_id for row in rows if not _since(row.heartbeat, latest)}

    def _distribution(self, distribution: optuna.distributions.BaseDistribution) -> str:
        import optuna

        key = id(distribution)  # the study keeps them: a layer's is one object
        if key not in self._texts:
            text = optuna.distributions.distribution_to_json(distribution)
            self._texts[key] = text
        return self._texts[key]


def open_storage(url: str, name: str, *, shared: bool = False) -> Storage:
    """Opens the study of this name in a database, and makes what is missing.

    Args:
      url: Of the database; `sqlite_url` makes that of a file.
      name: Of the study.
      shared: Whether other drivers may work on it.

    Raises:
      UserError: The database cannot be reached, read or written.
    """
    import optuna
    import sqlalchemy.exc

    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        # Long enough for a dashboard that reads at the same time.
        arguments = {"connect_args": {"timeout": 60}}
    with storage_errors(url, opening=True):
        for attempt in range(_ATTEMPTS):
            try:
                storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
                break
            except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
                if attempt + 1 == _ATTEMPTS:
                    raise
                time.sleep(0.5)
        with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
            storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], name)
        storage.remove_session()
        return Storage(storage, name, shared)


def sqlite_url(path: pathlib.Path) -> str:
    """The storage URL of a file, whatever characters its path has."""
    import sqlalchemy

    url = sqlalchemy.URL.create("sqlite", database=str(path))
    text = url.render_as_string(hide_password=False)
    return text.replace("{", "{{").replace("}", "}}")  # Optuna formats URLs


@contextlib.contextmanager
def storage_errors(url: str, *, opening: bool = False) -> Iterator[None]:
    """Turns what goes wrong in a database into one line that says what to do."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
    ) as error:
        raise UserError(_storage_message(error, url)) from None
    except (ImportError, RuntimeError) as error:
        if not opening:
            raise
        # A missing driver; a file of another version of Optuna.
        raise UserError(f"study storage {_shown(url)}: {error}") from None


_STORAGE_ADVICE = (
    ("not a database", "is corrupt"),
    ("malformed", "is corrupt"),
    ("readonly", "cannot be written: it is read-only"),
    ("disk is full", "cannot be written: the disk is full"),
    ("disk I/O error", "cannot be written: the disk is full or fails"),
    ("unable to open", "cannot be opened"),
    ("locked", "is locked by another program"),
)


def _storage_message(error: BaseException, url: str) -> str:
    cause = error.__cause__ if error.__cause__ is not None else error
    text = " ".join(str(getattr(cause, "orig", None) or cause).split())
    for words, advice in _STORAGE_ADVICE:
        if words in text:
            if advice == "is corrupt":
                advice += "; restore a copy of it, or start again in a new --workdir"
            elif "disk" in advice or "read-only" in advice:
                advice += "; the same command continues when this is mended"
            return f"study {_shown(url)} {advice} ({text})"
    return f"study {_shown(url)}: {text}"


def _shown(url: str) -> str:
    """The URL without its password; of an SQLite file, the path."""
    import sqlalchemy

    try:
        parsed = sqlalchemy.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        return "storage"
    if parsed.drivername.startswith("sqlite"):
        return repr(parsed.database)
    return parsed.render_as_string(hide_password=True)


def _rows(trial: int, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial, "key": key, "value_json": json.dumps(value)}
        for key, value in values.items()
    ]


def _since(beat: datetime.datetime | None, latest: datetime.datetime) -> bool:
    return beat is not None and beat.replace(tzinfo=None) >= latest


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
