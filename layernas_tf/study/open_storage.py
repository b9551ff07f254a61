"""Opens the database of a study; makes the study and its tables if they are missing."""

from __future__ import annotations

import contextlib
import pathlib
import time
from typing import Any

from layernas_tf.study.storage import Storage
from layernas_tf.study.storage_errors import made_meanwhile, storage_errors

OBJECTIVE = "validation accuracy"
"""The name of the rewards, unless the evaluator is the user's own."""

_METRIC_NAMES = "study:metric_names"
"""Where `optuna.Study.set_metric_names` keeps the names."""

_ATTEMPTS = 5
"""Attempts to make the tables, which another driver may be making as well."""


def open_storage(
    url: str, name: str, *, shared: bool = False, objective: str = OBJECTIVE
) -> Storage:
    """Opens the study of this name in a database; makes it if it is missing.

    Args:
      url: URL of the database; `sqlite_url` makes that of a file.
      name: Name of the study.
      shared: Whether other drivers may work on it.
      objective: The name of the rewards, shown by dashboards.

    Raises:
      UserError: The database cannot be reached, read or written.
    """
    import optuna
    import sqlalchemy.exc

    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        # Seconds to wait for a dashboard that reads at the same time.
        arguments = {"connect_args": {"timeout": 60}}
    with storage_errors(url, opening=True):
        for attempt in range(_ATTEMPTS):
            try:
                storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
                break
            except (
                sqlalchemy.exc.SQLAlchemyError,
                optuna.exceptions.StorageInternalError,
            ) as error:
                if attempt + 1 == _ATTEMPTS or not made_meanwhile(error):
                    raise
                time.sleep(0.5)
        with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
            storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], name)
        study = storage.get_study_id_from_name(name)
        if _METRIC_NAMES not in storage.get_study_system_attrs(study):
            storage.set_study_system_attr(study, _METRIC_NAMES, [objective])
        storage.remove_session()
        return Storage(storage, name, shared)


def sqlite_url(path: pathlib.Path) -> str:
    """The storage URL of a file; its path may have any characters."""
    import sqlalchemy

    url = sqlalchemy.URL.create("sqlite", database=str(path))
    text = url.render_as_string(hide_password=False)
    # Optuna uses URLs as format strings.
    return text.replace("{", "{{").replace("}", "}}")
