"""What a check of a data set found, before anything is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError

DATA_CHECK = "data_check.json"
"""The file of a workdir that keeps the result."""

UNBALANCED = 3
"""Classes whose sizes differ by more than this factor are named."""

_LISTED = 20
"""The largest number of files or classes that a summary lists."""


@dataclasses.dataclass(frozen=True)
class ClassSize:
    """The number of pictures of a class.

    Example:
      >>> ClassSize("cat", train=80, test=20).total
      100

    Attributes:
      name: Name of the class.
      train: Training pictures, including those that will be held out from them.
      valid: Pictures in the user's own validation set; 0 if there is none.
      test: Pictures in the user's own test set; 0 if there is none.
    """

    name: str
    train: int
    valid: int = 0
    test: int = 0

    @property
    def total(self) -> int:
        """Pictures in all splits."""
        return self.train + self.valid + self.test


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A file that cannot be used, with the reason in one line.

    Example: `Unreadable("cat/3.jpg", "the file is empty")`.
    """

    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class DataCheck:
    """The result of a check.

    Example:
      >>> sizes = (ClassSize("cat", 900), ClassSize("dog", 100))
      >>> DataCheck("folder:pets", "", sizes).lines()[-1]
      "Note: the classes are unbalanced: 900 training pictures of 'cat', 100 of 'dog'"

    Attributes:
      name: The text that named the data set.
      stamp: A text that changes when the data change; empty if that is not known.
      classes: Sizes of the classes in the order of the labels; only readable pictures
        are counted.
      unreadable: Every file that cannot be read.
      left_out: Kind and number of files that were not taken for pictures.
      kinds: Kind and number of the pictures, such as `("JPEG RGB", 100)`.
      frame: Height and width for the network's input, chosen from all pictures.
      repeated: Pictures that repeat another one of their split, byte for byte.
      across_splits: Pictures that are in another split too, byte for byte.
      contradicting: Pictures that are in another class too, byte for byte.
      problem: Why nothing can be trained on these data, or empty.
      notes: Further lines for the user.
    """

    name: str
    stamp: str
    classes: tuple[ClassSize, ...]
    unreadable: tuple[Unreadable, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    kinds: tuple[tuple[str, int], ...] = ()
    frame: tuple[int, int] | None = None
    repeated: int = 0
    across_splits: int = 0
    contradicting: int = 0
    problem: str = ""
    notes: tuple[str, ...] = ()

    def raise_problems(self, *, skip_unreadable: bool) -> None:
        """Raises `UserError` if nothing can be trained; it names the damaged files."""
        if self.unreadable and not skip_unreadable:
            listed = "; ".join(
                f"{bad.file} ({bad.reason})" for bad in self.unreadable[:_LISTED]
            )
            more = len(self.unreadable) - _LISTED
            raise UserError(
                f"{self.name}: {len(self.unreadable)} of its pictures cannot be read: "
                f"{listed}{f'; and {more} more' if more > 0 else ''}. Mend or remove "
                "them, or give `skip_unreadable` to leave them out; "
                "`python -m layernas_tf.datasets.check` lists all"
            )
        if self.problem:
            raise UserError(f"{self.name}: {self.problem}")

    def lines(self, *, all_files: bool = False) -> list[str]:
        """The findings as sentences, the most important ones first."""
        said = [f"{self.name}: {self.problem}"] if self.problem else []
        listed = len(self.unreadable) if all_files else min(_LISTED, 5)
        if self.unreadable:
            said.append(f"{_count(len(self.unreadable), 'picture')} cannot be read:")
            for bad in self.unreadable[:listed]:
                said.append(f"  {bad.file}: {bad.reason}")
            if len(self.unreadable) > listed:
                said.append(f"  and {len(self.unreadable) - listed} more")
        if self.left_out:
            kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.left_out)
            said.append(f"Left out: {kinds}.")
        said.append(self._classes_line())
        if self.kinds:
            kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.kinds)
            said.append(f"Pictures: {kinds}.")
        return said + [f"Note: {note}" for note in self.all_notes()]

    def all_notes(self) -> list[str]:
        """The notes, and further ones that follow from the numbers."""
        notes = list(self.notes)
        sizes = [size.train for size in self.classes if size.train]
        if sizes and max(sizes) > UNBALANCED * min(sizes):
            few = min((s for s in self.classes if s.train), key=lambda s: s.train)
            many = max(self.classes, key=lambda size: size.train)
            notes.append(
                f"the classes are unbalanced: {many.train:,} training pictures of "
                f"{many.name!r}, {few.train:,} of {few.name!r}"
            )
        for number, what in (
            (self.across_splits, "are in another split too, byte for byte: results on "
             "the test and validation sets are too good"),
            (self.contradicting, "are in another class too, byte for byte"),
            (self.repeated, "repeat another of their split, byte for byte"),
        ):  # fmt: skip
            if number:
                notes.append(f"{_count(number, 'picture')} {what}")
        return notes

    def to_json(self) -> dict[str, Any]:
        """The check as data that is ready for JSON."""
        return dataclasses.asdict(self)

    def _classes_line(self) -> str:
        shown = [f"{size.name} {size.total:,}" for size in self.classes[:_LISTED]]
        more = len(self.classes) - _LISTED
        if more > 0:
            shown.append(f"and {more} more")
        return f"{len(self.classes)} classes: {', '.join(shown)}."


def check_from_json(data: Any) -> DataCheck:
    """The inverse of `DataCheck.to_json`.

    Raises:
      ValueError, TypeError or KeyError: The data are of another form.
    """
    data = dict(data)
    data["classes"] = tuple(ClassSize(**size) for size in data["classes"])
    data["unreadable"] = tuple(Unreadable(**bad) for bad in data["unreadable"])
    for name in ("left_out", "kinds"):
        data[name] = tuple((str(kind), int(number)) for kind, number in data[name])
    data["frame"] = tuple(data["frame"]) if data["frame"] else None
    data["notes"] = tuple(data["notes"])
    return DataCheck(**data)


def check_arrays(
    name: str,
    class_names: Sequence[str],
    images: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    *,
    own_valid: bool = False,
) -> DataCheck:
    """The check of images in memory.

    Args:
      name: The text that named the data set.
      class_names: Names of the classes, in the order of the labels.
      images: Images of `train`, `valid` and `test`: (N, H, W, C), pixels from 0 to 255.
      labels: Their labels, (N,) integers.
      own_valid: Whether `valid` is the user's own set; otherwise it was held out of the
        training images and counts as such.
    """
    numbers = {
        split: np.bincount(labels[split], minlength=len(class_names))
        for split in ("train", "valid", "test")
    }
    highest = max(float(array.max()) for array in images.values() if array.size)
    problem = ""
    if highest <= 1:
        problem = (
            f"no pixel is above {highest:g} of 255: the images are black; expected "
            "pixels from 0 to 255, or floats from 0 to 1"
        )
    if not own_valid:
        numbers["train"] += numbers["valid"]
        numbers["valid"] = np.zeros_like(numbers["valid"])
    return DataCheck(
        name=name,
        stamp="",
        classes=tuple(
            ClassSize(str(label), *map(int, sizes))
            for label, *sizes in zip(class_names, *numbers.values(), strict=True)
        ),
        problem=problem,
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
