"""The beginning of a search in its workdir: nothing is left of one that never began."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping

from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.core.files import read_json, write_json
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

_FINGERPRINT = "fingerprint.json"


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


def set_aside_unless_of(
    parts: Mapping[str, str], folder: pathlib.Path, *, renewed: bool
) -> pathlib.Path | None:
    """Sets aside what is in a workdir of another search than its study is now.

    The workdir notes in `fingerprint.json` what its files are of. So they are set aside
    also where another driver accepted the change, or where this one was killed between
    accepting it and setting aside.

    Args:
      parts: The fingerprint of the study, which it agrees with.
      folder: The workdir.
      renewed: Whether a change was accepted just now. In the workdir of an earlier
        version, which has no such file, this alone decides.

    Returns:
      The folder of what was set aside; None if nothing was.

    Raises:
      UserError: The files cannot be moved, or the file is no fingerprint.
    """
    path = folder / _FINGERPRINT
    known = read_json(path) if path.exists() else {}
    if not isinstance(known, dict):
        raise UserError(
            f"{str(path)!r}: expected an object of digests; remove it if the files "
            "beside it are of the present search"
        )
    # A part that is not noted is adopted, as a study adopts it.
    other = any(known.get(part, digest) != digest for part, digest in parts.items())
    kept_aside = set_aside(folder) if renewed or other else None
    # Only now: whoever is killed before this sets aside again.
    if known != parts:
        write_json(path, dict(parts))
    return kept_aside


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
