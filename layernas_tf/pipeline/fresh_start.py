"""The beginning of a search in its workdir: nothing is left of one that never began."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.core.workdir import lock_workdir, open_workdir

_OF_TRIALS = (
    "finals",
    "weights",
    "pretrained.npz",
    "trials.csv",
    "tensorboard",
    "winner",
    "report.html",
)
"""What a workdir has of its trials, beside the study."""


_ASIDE = "before_"


@contextlib.contextmanager
def in_workdir(folder: pathlib.Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Makes and locks a workdir, and removes it if an error comes before any trial.

    What was there before stays, whatever happens.

    Args:
      folder: The workdir, which need not exist yet.
      begun: Whether there is a trial on record.

    Raises:
      UserError: It cannot be made, written or locked.
    """
    missing = []  # the folder, and those above it that are not there
    place = folder.absolute()
    while not place.exists():
        missing.append(place)
        place = place.parent
    before = set() if missing else {entry.name for entry in folder.iterdir()}
    open_workdir(folder)
    with lock_workdir(folder):  # without the lock the files are of another search
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                if not begun():
                    _remove_new(folder, before)
                    for made in missing:
                        made.rmdir()
            raise


def _remove_new(folder: pathlib.Path, before: set[str]) -> None:
    for entry in folder.iterdir():
        if entry.name in before or entry.name.startswith(_ASIDE):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def set_aside(folder: pathlib.Path) -> pathlib.Path | None:
    """Moves what belongs to the trials of before into `before_N/`, where it is kept.

    Returns:
      The new folder; None if there was nothing.

    Raises:
      UserError: The files cannot be moved.
    """
    there = [name for name in _OF_TRIALS if (folder / name).exists()]
    there += sorted(path.name for path in folder.glob("winner_*"))  # of smaller budgets
    if not there:
        return None
    number = 1
    while (folder / f"{_ASIDE}{number}").exists():
        number += 1
    target = folder / f"{_ASIDE}{number}"
    try:
        target.mkdir()
        for name in there:
            os.replace(folder / name, target / name)
    except OSError as error:
        raise UserError(
            f"{str(target)!r} cannot be written: {reason_of(error)}"
        ) from None
    return target
