"""NumPy archives: finds the arrays of images and labels by their usual names."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.split_names import split_of

_IMAGES = frozenset(
    "x image images img imgs picture pictures data input inputs".split()
)
_LABELS = frozenset("y label labels target targets class classes".split())
_NAMES = frozenset(
    "classnames classname labelnames labelname targetnames names categories classes "
    "labelstrings".split()
)
EXPECTED = "x_train, y_train, x_test, y_test (or train_images, train_labels, ...)"


@dataclasses.dataclass(frozen=True, eq=False)
class Archive:
    """The arrays of a data set.

    Example: `Archive({"train": ("x", images)}, {"train": ("y", labels)})`.

    Attributes:
      images: Name and array of the images by split: `train`, perhaps `valid` and
        `test`.
      labels: Name and array of the labels, for the same splits.
      class_names: An array of texts, or None.
      notes: Sentences about arrays that were interpreted or not used.
    """

    images: dict[str, tuple[str, np.ndarray]]
    labels: dict[str, tuple[str, np.ndarray]]
    class_names: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def read_archive(path: str) -> Archive:
    """Opens an archive and finds the arrays of images and labels in it.

    It knows Keras' names (`x_train`, `y_test`), those of MedMNIST (`train_images`,
    `val_labels`) and others made of a split (`split_names.split_of`) and a kind; names
    without a split are those of the training images.

    Raises:
      UserError: The file is not an archive, is damaged, or has no labelled training
        images.
    """
    file = pathlib.Path(path)
    if not file.is_file():
        raise UserError(f"no such file: {path!r}")
    try:
        opened = np.load(file, allow_pickle=False)
    # A damaged file leads NumPy and its zip reader to errors of every kind.
    except Exception as error:
        raise UserError(
            f"not a NumPy .npz archive (or cut short): {_line(error)}"
        ) from error
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise UserError(f"expected an .npz archive with {EXPECTED}, got a single array")
    with opened:
        places, names, left_out = places_of(opened.files)
        _check_places(places, opened.files)
        notes = []
        for split in [s for kind, s in places if kind == "images" and s != "train"]:
            if ("labels", split) not in places:
                left_out.append(places.pop(("images", split)))
        for split in [s for kind, s in places if kind == "labels"]:
            if ("images", split) not in places:
                left_out.append(places.pop(("labels", split)))
        if left_out:
            listed = ", ".join(sorted(left_out))
            notes.append(f"arrays that are not used: {listed}")
        images, labels = (
            {
                split: (key, _array(opened, key))
                for (what, split), key in places.items()
                if what == kind
            }
            for kind in ("images", "labels")
        )
        found = _array(opened, names) if names else None
    return Archive(images, labels, found, tuple(notes))


def places_of(
    keys: list[str],
) -> tuple[dict[tuple[str, str], str], str, list[str]]:
    """Finds out what the arrays of these names hold.

    Returns:
      By kind (`images`, `labels`) and split, the array's name; the name of the array of
      class names, or ""; and the names that mean nothing.

    Raises:
      UserError: Two names mean the same.

    Example: `places_of(["x", "y", "class_names"])[0]` has the keys
    `("images", "train")` and `("labels", "train")`.
    """
    places: dict[tuple[str, str], str] = {}
    names, left_out = "", []
    # `classes` beside `labels` are the names, unless there are others; that is known
    # once everything else has its place.
    keys = sorted(keys, key=lambda key: _may_be_names(key) and bool(_place(key)))
    parsed = {key: _place(key) for key in keys}
    splits = {place[1] for place in parsed.values() if place}
    for key, place in parsed.items():
        if place is None or (_may_be_names(key) and place in places):
            if _may_be_names(key) and not names:
                names = key
            else:
                left_out.append(key)
            continue
        kind, split = place
        if split == "eval":
            split = "valid" if "test" in splits else "test"
        if (kind, split) in places:
            earlier = places[kind, split]
            raise UserError(
                f"the arrays {earlier} and {key} are both {kind} of the {split} split: "
                f"expected one of each, such as {EXPECTED}"
            )
        places[kind, split] = key
    return places, names, left_out


def _place(key: str) -> tuple[str, str] | None:
    """Kind and split of an array by its name."""
    words = _words(key)
    kinds, rest = [], []
    for word in words:
        if word in _IMAGES:
            kinds.append("images")
        elif word in _LABELS:
            kinds.append("labels")
        else:
            rest.append(word)
    if not kinds and len(words) == 1 and words[0][:1] in "xy":
        # xtrain, ytest
        split = split_of(words[0][1:])
        return ({"x": "images", "y": "labels"}[words[0][0]], split) if split else None
    # `image_labels` are labels.
    if not kinds or len(kinds) > 2:
        return None
    kind = "labels" if "labels" in kinds else "images"
    if not rest:
        return kind, "train"
    split = split_of(" ".join(rest))
    return (kind, split) if split else None


def _may_be_names(key: str) -> bool:
    return "".join(_words(key)) in _NAMES


def _words(key: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.casefold()) if word]


def _check_places(places: dict[tuple[str, str], str], files: list[str]) -> None:
    for kind in ("images", "labels"):
        if (kind, "train") not in places:
            listed = ", ".join(files[:20]) or "none"
            if len(files) > 20:
                listed += f" and {len(files) - 20} more"
            raise UserError(
                f"no array of training {kind}: expected {EXPECTED}, got {listed}"
            )


def _array(archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        array = archive[key]
    except Exception as error:
        raise UserError(
            f"array {key} cannot be read (cut short, or holds Python objects: save "
            f"texts as np.array(texts, dtype=str)): {_line(error)}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{key} is not an array, but a file of another kind")
    return array


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
