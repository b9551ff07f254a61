"""The folder of one search: making it, checking it, and locking it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import tempfile
from collections.abc import Iterator

from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.core.files import TEMPORARY

_LOCK = ".lock"


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
        raise _unwritable(folder, reason_of(error)) from None
    if not existing.is_dir():
        raise _unwritable(folder, f"{str(existing)!r} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _unwritable(folder, f"{str(existing)!r} is read-only for this user")


def _unwritable(folder: pathlib.Path, why: str) -> UserError:
    return UserError(
        f"workdir {str(folder)!r} cannot be written: {why}; expected a folder that "
        "this user can write, with space left"
    )


def open_workdir(path: str | os.PathLike[str]) -> pathlib.Path:
    """Makes the folder where it is missing and checks that files can be written.

    Raises:
      UserError: It cannot be made or written, or is a file.
    """
    folder = pathlib.Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        raise _unwritable(folder, reason_of(error)) from None
    return folder


@contextlib.contextmanager
def lock_workdir(folder: pathlib.Path) -> Iterator[None]:
    """Locks the folder for this process; the lock ends with the process at the latest.

    Raises:
      UserError: Another process holds it.
    """
    try:
        lock = open(folder / _LOCK, "w")
    except OSError as error:
        raise _unwritable(folder, reason_of(error)) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise UserError(
                    f"workdir {str(folder)!r} is on a file system without locks "
                    f"({reason_of(error)}): expected one with them, as two searches in "
                    "one folder would overwrite each other's files"
                ) from None
            raise UserError(
                f"workdir {str(folder)!r} is in use by another search or training; "
                "expected one at a time, or another `workdir`"
            ) from None
        _remove_left(folder)
        yield


def _remove_left(folder: pathlib.Path) -> None:
    """Removes the temporary files of a process that was killed."""
    for place, folders, files in os.walk(folder):
        # A folder with a lock of its own is another's, who may be writing there now.
        folders[:] = [
            each for each in folders if not os.path.exists(f"{place}/{each}/{_LOCK}")
        ]
        for name in filter(TEMPORARY.fullmatch, files):
            with contextlib.suppress(OSError):
                os.unlink(f"{place}/{name}")
