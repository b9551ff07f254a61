"""Errors of a study's database as one line that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from layernas_tf.core.errors import UserError, describe
from layernas_tf.core.extras import missing
from layernas_tf.core.secrets import redacted, scrubbed

_ADVICE = (
    ("not a database", "is corrupt"),
    ("malformed", "is corrupt"),
    ("readonly", "cannot be written: it is read-only"),
    ("disk is full", "cannot be written: the disk is full"),
    ("disk I/O error", "cannot be written: the disk is full or fails"),
    ("unable to open", "cannot be opened"),
    ("locked", "is locked by another program"),
)


@contextlib.contextmanager
def storage_errors(url: str, *, opening: bool = False) -> Iterator[None]:
    """Turns the errors of a database into a `UserError` that says what to do."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
    ) as error:
        raise UserError(_message(error, url)) from None
    except UserError:
        raise
    except Exception as error:
        if opening and isinstance(error, ImportError) and "psycopg:" in url:
            text = f"study storage {_shown(url)} {missing('postgres')}"
            raise UserError(text) from None
        # A missing driver, a file of another version of Optuna, or a malformed URL:
        # the libraries raise many kinds of errors, which may repeat the URL.
        if not opening:
            raise
        text = scrubbed(describe(error), url)
        raise UserError(f"study storage {_shown(url)}: {text}") from None


def made_meanwhile(error: BaseException) -> bool:
    """Whether another program has just made what this one was about to make.

    Databases disagree on the type of this error: for a table that exists already,
    SQLite raises an operational error, PostgreSQL a programming error.
    """
    import optuna
    import sqlalchemy.exc

    if isinstance(error, optuna.exceptions.StorageInternalError):
        error = error.__cause__ or error
    return isinstance(error, sqlalchemy.exc.IntegrityError) or (
        "already exists" in str(error)
    )


def _message(error: BaseException, url: str) -> str:
    cause = error.__cause__ if error.__cause__ is not None else error
    text = " ".join(str(getattr(cause, "orig", None) or cause).split())
    text = scrubbed(text, url)
    for words, advice in _ADVICE:
        if words in text:
            if advice == "is corrupt":
                advice += "; restore a copy of it, or start again in a new `workdir`"
            elif "disk" in advice or "read-only" in advice:
                advice += "; the same command continues when this is fixed"
            return f"study {_shown(url)} {advice} ({text})"
    return f"study {_shown(url)}: {text}"


def _shown(url: str) -> str:
    """The URL without its password; of an SQLite file, the path."""
    import sqlalchemy

    try:
        parsed = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return redacted(url)
    if parsed.drivername.startswith("sqlite") and not (parsed.query or parsed.host):
        return repr(parsed.database)
    return redacted(url)
