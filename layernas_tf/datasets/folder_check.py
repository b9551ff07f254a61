"""Checks a folder of pictures before anything is trained: decodes every file once."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from layernas_tf.datasets.data_check import ClassSize, DataCheck, Unreadable
from layernas_tf.datasets.decoding import ImageError
from layernas_tf.datasets.folder_listing import Files, FolderListing
from layernas_tf.datasets.frame import DEFAULT_FIT, frame_for, proportions_note
from layernas_tf.datasets.image_reader import ImageFacts, inspect_image
from layernas_tf.datasets.picture_files import shown

_AT_A_TIME = 256
"""Number of files between two reports of progress."""

GREY_NOTE = "all pictures are grey: a network of one channel would do (channels=1)"

Progress = Callable[[int, int], None]
"""Called with the number of checked files and the number of all files."""


@dataclasses.dataclass(frozen=True)
class _Seen:
    """One file: what it is and the digest of its bytes, or why it cannot be read."""

    facts: ImageFacts | None
    digest: bytes
    reason: str = ""


def check_folder(
    name: str,
    listing: FolderListing,
    *,
    resolution: tuple[int, int] | None = None,
    fit: str = DEFAULT_FIT,
    progress: Progress | None = None,
) -> DataCheck:
    """Reads every picture and reports what matters for a training.

    Example:
      ```
      listing = list_folder("folder:flowers", "flowers")
      for line in check_folder("folder:flowers", listing).lines():
          print(line)
      ```

    Args:
      name: The text that named the data set.
      listing: The folder's pictures.
      resolution: Height and width that were asked for.
      fit: One of `frame.FITS`.
      progress: Called after every few hundred files.

    Returns:
      The findings. Damaged files are among them; they raise no error.
    """
    owners = [
        (split, label, path)
        for split, files in listing.splits.items()
        for path, label in zip(files.paths, files.labels)
    ]
    seen = list(_look_at([path for _, _, path in owners], progress))
    readable = [
        (split, label, found.facts, found.digest)
        for (split, label, _), found in zip(owners, seen)
        if found.facts is not None
    ]
    unreadable = tuple(
        Unreadable(shown(path), found.reason)
        for (_, _, path), found in zip(owners, seen)
        if found.facts is None
    )
    classes = _class_sizes(listing, readable)
    facts = [facts for _, _, facts, _ in readable]
    problem = _too_few(listing, classes) or _wrong_scale(facts)
    notes = list(listing.notes) + _notes(facts)
    frame = None
    if facts:
        frame, note = _frame(facts, resolution, fit)
        notes.append(note)
    repeated, across, contradicting = _duplicates(readable)
    return DataCheck(
        name=name,
        stamp=stamp_of(listing, resolution, fit),
        classes=classes,
        unreadable=unreadable,
        left_out=listing.left_out,
        kinds=tuple(collections.Counter(fact.kind for fact in facts).most_common()),
        frame=frame,
        repeated=repeated,
        across_splits=across,
        contradicting=contradicting,
        problem=problem,
        notes=tuple(note for note in notes if note),
    )


def stamp_of(
    listing: FolderListing, resolution: tuple[int, int] | None, fit: str
) -> str:
    """A text that stays the same as long as an earlier check is still valid."""
    return f"{listing.stamp()} {resolution} {fit}"


def readable_part(listing: FolderListing, check: DataCheck) -> FolderListing:
    """The listing without the files that the check found unreadable."""
    bad = {unreadable.file for unreadable in check.unreadable}
    if not bad:
        return listing
    kept: dict[str, Files] = {}
    for split, files in listing.splits.items():
        pairs = [
            pair for pair in zip(files.paths, files.labels) if shown(pair[0]) not in bad
        ]
        kept[split] = dataclasses.replace(
            files,
            paths=tuple(path for path, _ in pairs),
            labels=tuple(label for _, label in pairs),
        )
    return dataclasses.replace(
        listing, train=kept["train"], valid=kept.get("valid"), test=kept.get("test")
    )


def _look_at(paths: Sequence[str], progress: Progress | None) -> Iterator[_Seen]:
    # Threads: Pillow decodes, and files are read, outside of Python's lock.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, found in enumerate(pool.map(_look_at_one, paths), 1):
            yield found
            if progress and (number % _AT_A_TIME == 0 or number == len(paths)):
                progress(number, len(paths))


def _look_at_one(path: str) -> _Seen:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        return _Seen(None, b"", error.strerror or type(error).__name__)
    digest = hashlib.blake2b(content, digest_size=16).digest()
    try:
        return _Seen(inspect_image(content), digest)
    except ImageError as error:
        return _Seen(None, digest, str(error))


def _class_sizes(listing: FolderListing, readable: Sequence[tuple]) -> tuple:
    numbers = collections.Counter((split, label) for split, label, _, _ in readable)
    return tuple(
        ClassSize(
            name, *(numbers[split, label] for split in ("train", "valid", "test"))
        )
        for label, name in enumerate(listing.class_names)
    )


def _too_few(listing: FolderListing, classes: Sequence[ClassSize]) -> str:
    """Says so if a class or a split has too few pictures; else an empty text."""
    held_out = (listing.valid is None) + (listing.test is None)
    needed = 1 + held_out
    few = [size for size in classes if size.train < needed]
    if few:
        shown_ones = ", ".join(f"{size.train} of {size.name!r}" for size in few[:10])
        return (
            f"expected at least {needed} training pictures of each class"
            f"{' (some are held out)' if held_out else ''}, got {shown_ones}"
            + (f" and {len(few) - 10} more classes" if len(few) > 10 else "")
        )
    for split, files in listing.splits.items():
        if not sum(getattr(size, split) for size in classes):
            number = len(files.paths)
            return f"the {split} set has no picture that can be read ({number} files)"
    return ""


def _wrong_scale(facts: Sequence[ImageFacts]) -> str:
    """Says so if the pictures' values do not use their format's scale; else empty."""
    eight = [fact for fact in facts if fact.bits == 8]
    if eight and len(eight) == len(facts) and max(fact.high for fact in facts) <= 1:
        return (
            "every pixel of every picture is 0 or 1 of 255: they are black; expected "
            "pixels from 0 to 255 (multiply them by 255 and save them again)"
        )
    return ""


def _notes(facts: Sequence[ImageFacts]) -> list[str]:
    notes = []
    wide = [fact for fact in facts if fact.bits == 16]
    if wide and max(fact.high for fact in wide) < 65536 // 8:
        notes.append(
            f"no 16-bit picture has a value above {max(f.high for f in wide):,} of "
            "65,535: they are read unchanged, so they are dark"
        )
    blank = sum(1 for fact in facts if fact.low == fact.high)
    if blank:
        notes.append(f"{blank:,} pictures have a single colour")
    if facts and all(fact.grey for fact in facts):
        notes.append(GREY_NOTE)
    return notes


def _frame(
    facts: Sequence[ImageFacts], resolution: tuple[int, int] | None, fit: str
) -> tuple[tuple[int, int], str]:
    """The input's height and width, and a note on the pictures' proportions or ""."""
    sizes = np.array([(fact.height, fact.width) for fact in facts])
    chosen = frame_for(sizes, 3, resolution, fit)
    note = proportions_note(sizes, chosen) if resolution is None else ""
    return chosen.shape[:2], note


def _duplicates(readable: Sequence[tuple]) -> tuple[int, int, int]:
    """Numbers of pictures repeated in a split, in other splits, in other classes."""
    owners: dict[bytes, list[tuple[str, int]]] = {}
    for split, label, _, digest in readable:
        owners.setdefault(digest, []).append((split, label))
    repeated = across = contradicting = 0
    for found in owners.values():
        splits, labels = ({owner[i] for owner in found} for i in (0, 1))
        repeated += len(found) - len(set(found))
        across += len(found) if len(splits) > 1 else 0
        contradicting += len(found) if len(labels) > 1 else 0
    return repeated, across, contradicting
