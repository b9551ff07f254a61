"""The folder of one search: made, locked, and written so that no file is ever half."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

from layernas_tf.core.errors import UserError


def check_workdir(folder: pathlib.Path) -> None:
    """Checks that the folder can be made or written, without making anything.

    Raises:
      UserError: The nearest folder that exists cannot be written, or is a file.
    """
    existing = folder.absolute()
    try:
        while not existing.exists():
            existing = existing.parent
    except OSError as error:  # a name too long, a file where a folder should be
        raise _unwritable(folder, error.strerror) from None
    if not existing.is_dir():
        raise _unwritable(folder, f"{str(existing)!r} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _unwritable(folder, f"{str(existing)!r} is read-only for this user")


def _unwritable(folder: pathlib.Path, why: str | None) -> UserError:
    return UserError(
        f"workdir {str(folder)!r} cannot be written: {why}; expected a folder that "
        "this user can write, with space left"
    )


def open_workdir(path: str | os.PathLike[str]) -> pathlib.Path:
    """Makes the folder where it is missing and checks that files can be written.

    Raises:
      UserError: It cannot be made or written, or is a file.
    """
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        raise _unwritable(folder, error.strerror) from None
    return folder


@contextlib.contextmanager
def lock_workdir(folder: pathlib.Path) -> Iterator[None]:
    """Holds the folder for this process; the lock goes with it, however it ends.

    Raises:
      UserError: Another process holds it.
    """
    try:
        lock = open(folder / ".lock", "w")
    except OSError as error:
        raise _unwritable(folder, error.strerror) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"workdir {str(folder)!r} is in use by another search or training; "
                "expected one at a time, or another --workdir"
            ) from None
        for left in folder.rglob(".*.tmp*"):  # of a process that was killed
            left.unlink(missing_ok=True)
        yield


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path` that takes its place if all goes well.

    Raises:
      UserError: The disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{str(path)!r} cannot be written: {error.strerror or error}"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: pathlib.Path, data: Any) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file; raises `UserError` where it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not a JSON file: {error}") from None
