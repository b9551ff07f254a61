"""Lists the pictures of a folder by class and split, from names alone."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import pathlib
import unicodedata

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.picture_files import (
    entries,
    is_folder,
    kind_left_out,
    pictures,
    shown,
)
from layernas_tf.datasets.split_names import split_of


@dataclasses.dataclass(frozen=True)
class Files:
    """The pictures of one split.

    Example: `Files(("pets/cat/1.jpg", "pets/dog/1.jpg"), (0, 1))`.

    Attributes:
      paths: Paths in the order of the classes, then of the names.
      labels: For each path, an index into the class names.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class FolderListing:
    """The pictures of a folder by split and class.

    Example:
      listing = list_folder("folder:pets", "pets")
      print(listing.class_names, len(listing.train.paths))

    Attributes:
      root: The folder.
      class_names: Names in the order of the labels, in Unicode's composed form.
      train: Training pictures. If there is no validation or test split, the pictures
        that will be held out for it are among them.
      valid: The user's own validation set, or None.
      test: The user's own test set, or None.
      left_out: Kind and number of files that are not read, such as `(".txt", 3)`.
      notes: Lines about how the folders' names were interpreted.
    """

    root: str
    class_names: tuple[str, ...]
    train: Files
    valid: Files | None
    test: Files | None
    left_out: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]

    @property
    def splits(self) -> dict[str, Files]:
        """The splits that exist, by `train`, `valid`, `test`."""
        found = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: files for name, files in found.items() if files is not None}

    def stamp(self) -> str:
        """A digest that changes when a path, a label, a size or a time does."""
        digest = hashlib.sha256()
        for split, files in self.splits.items():
            for path, label in zip(files.paths, files.labels):
                try:
                    facts = os.stat(path)
                    state = f"{facts.st_size}|{facts.st_mtime_ns}"
                except OSError:  # a link to nowhere
                    state = "gone"
                digest.update(os.fsencode(path))
                digest.update(f"|{split}|{label}|{state}\n".encode())
        return digest.hexdigest()


def list_folder(name: str, path: str) -> FolderListing:
    """Finds the pictures in DIR/CLASS/, or in DIR/train/CLASS/ and the like.

    Folders inside a class are read too. Splits are recognized by their usual names in
    any letter case (`training`, `val`, `dev`, `testing`, ...); names are compared in
    Unicode's composed form. Hidden files and those of operating systems are skipped.

    Args:
      name: The text that named the data set, for messages.
      path: The folder; `~` is the user's home.

    Raises:
      UserError: There is no such folder, or its folders do not form a data set.
    """
    root = pathlib.Path(path).expanduser()
    try:
        if not root.is_dir():
            raise UserError(f"{name}: no such folder: {path!r}")
    except (OSError, ValueError) as error:  # a name that the system refuses
        raise UserError(f"{name}: no such folder: {path!r} ({error})") from None
    left_out: collections.Counter[str] = collections.Counter()
    folders, notes = _splits(name, root, left_out)
    classes: dict[str, dict[str, list[str]]] = {}
    for split, folder in folders.items():
        classes[split] = _classes(name, folder, left_out, notes)
    class_names = tuple(sorted(classes["train"]))
    _check_classes(name, folders, classes, class_names)
    return FolderListing(
        root=str(root),
        class_names=class_names,
        train=_in_order(classes["train"], class_names),
        valid=_in_order(classes["valid"], class_names) if "valid" in folders else None,
        test=_in_order(classes["test"], class_names) if "test" in folders else None,
        left_out=tuple(sorted(left_out.items())),
        notes=tuple(notes),
    )


def _splits(
    name: str, root: pathlib.Path, left_out: collections.Counter[str]
) -> tuple[dict[str, pathlib.Path], list[str]]:
    """The folder of each split; only `train` if the classes lie in the root."""
    folders = [entry for entry in entries(root) if is_folder(entry)]
    by_split: dict[str, list[pathlib.Path]] = {}
    for folder in folders:
        by_split.setdefault(split_of(folder.name) or "", []).append(folder)
    others = by_split.pop("", [])
    either = by_split.pop("eval", [])
    if either:
        by_split.setdefault("valid" if "test" in by_split else "test", []).extend(
            either
        )
    filled = [folder.name for folder in others if _has_pictures(folder)]
    if "train" not in by_split:
        if by_split and not filled:
            there = ", ".join(shown(f[0].name) for f in by_split.values())
            raise UserError(
                f"{name}: {there} and no folder of training pictures: expected "
                f"'train' beside it in {shown(str(root))}"
            )
        return {"train": root}, []
    # Classes may be called "train" and "test" themselves.
    if not all(_holds_classes(folder) for folder in by_split["train"]):
        return {"train": root}, []
    if filled and len(by_split) == 1:
        return {"train": root}, []
    for split, found in by_split.items():
        if len(found) > 1:
            raise UserError(
                f"{name}: both {shown(found[0].name)} and {shown(found[1].name)} could "
                f"be the {split} set: expected one of them in {shown(str(root))}"
            )
    notes = [
        f"{shown(folder.name)} is the {_SPLIT_WORDS[split]} set"
        for split, (folder,) in by_split.items()
        if folder.name != split
    ]
    entries(root, left_out)
    for other in filled:
        left_out[f"pictures in {shown(other)}, which is not a split"] += sum(
            1 for _ in pictures(root / other, collections.Counter())
        )
    return {split: found[0] for split, found in by_split.items()}, notes


_SPLIT_WORDS = {"train": "training", "valid": "validation", "test": "test"}


def _classes(
    name: str,
    folder: pathlib.Path,
    left_out: collections.Counter[str],
    notes: list[str],
) -> dict[str, list[str]]:
    """The pictures of each class of a split."""
    classes: dict[str, list[str]] = {}
    for entry in entries(folder, left_out):
        if not is_folder(entry):
            left_out[f"files beside the class folders of {shown(folder.name)}"] += 1
            continue
        label = _label(name, entry)
        if label in classes:
            notes.append(
                f"two folders are called {label!r} in Unicode's composed form: they "
                "are one class"
            )
        classes.setdefault(label, []).extend(pictures(entry, left_out))
    return classes


def _label(name: str, folder: pathlib.Path) -> str:
    """The class name of a folder, which must fit on one line of a file of labels."""
    try:
        label = unicodedata.normalize("NFC", folder.name)
        label.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"{name}: the folder {shown(str(folder))} has a name that is not UTF-8: "
            "rename it, as it is the name of a class"
        ) from None
    if not label.strip() or len(label.splitlines()) != 1 or not label.isprintable():
        raise UserError(
            f"{name}: the folder {shown(str(folder))} has a name that cannot be a "
            "label: expected one line of visible characters"
        )
    return label


def _check_classes(
    name: str,
    folders: dict[str, pathlib.Path],
    classes: dict[str, dict[str, list[str]]],
    class_names: tuple[str, ...],
) -> None:
    root = folders["train"]
    if len(class_names) < 2:
        inside = ""
        if class_names:
            inner = [e for e in entries(root / class_names[0]) if is_folder(e)]
            if len(inner) > 1:
                where = os.path.join(str(root), class_names[0])
                inside = f"; if its own folders are the classes, give folder:{where}"
        raise UserError(
            f"{name}: expected at least 2 folders, one per class, in "
            f"{shown(str(root))}, got {len(class_names)}{inside}"
        )
    for split, found in classes.items():
        for label in sorted(set(found) - set(class_names)):
            alike = [c for c in class_names if c.casefold() == label.casefold()]
            raise UserError(
                f"{name}: {folders[split].name} has the class {label!r}, which "
                f"{root.name} does not have"
                + (f"; it has {alike[0]!r}, spelled differently" if alike else "")
            )
    if not any(classes["train"].values()):
        raise UserError(
            f"{name}: no picture in the folders of {shown(str(root))}: expected files "
            "such as .jpg, .png or .webp"
        )


def _in_order(found: dict[str, list[str]], class_names: tuple[str, ...]) -> Files:
    paths, labels = [], []
    for label, class_name in enumerate(class_names):
        files = sorted(found.get(class_name, ()), key=os.fsencode)
        paths += files
        labels += [label] * len(files)
    return Files(tuple(paths), tuple(labels))


def _has_pictures(folder: pathlib.Path) -> bool:
    return next(pictures(folder, collections.Counter()), None) is not None


def _holds_classes(folder: pathlib.Path) -> bool:
    """Whether the pictures lie in folders of this folder."""
    inside = entries(folder)
    if any(not is_folder(entry) and not kind_left_out(entry) for entry in inside):
        return False
    return any(is_folder(entry) and _has_pictures(entry) for entry in inside)
