"""Labels of any common form, as integers counted from 0 with a name for each class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from layernas_tf.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of all parts of a data set.

    Example: `Labels({"y_train": np.array([1, 0], np.int32)}, ("cat", "dog"))`.

    Attributes:
      labels: By the array's name, int32 labels (N,), 0 <= label < number of classes.
      class_names: One name per class.
      notes: Sentences about labels that were converted or interpreted.
    """

    labels: Mapping[str, np.ndarray]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_labels(
    arrays: Mapping[str, np.ndarray],
    train: str,
    class_names: np.ndarray | None = None,
) -> Labels:
    """Reads labels: integers, one-hot rows, booleans or texts, the same in all arrays.

    Args:
      arrays: Labels by name, of shape (N,), (N, 1) or, one-hot, (N, classes).
      train: Name of the training images' array; its labels decide on the classes.
      class_names: (classes,) texts, or None.

    Raises:
      UserError: The labels are of none of these forms, or one is not in the training
        images; the array is named.

    Example:
      >>> read_labels({"y": np.array(["dog", "cat", "dog"])}, "y").labels["y"]
      array([1, 0, 1], dtype=int32)
    """
    columns = {key: _column(key, array) for key, array in arrays.items()}
    kinds = {key: _kind(key, array) for key, array in columns.items()}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{key} {arrays[key].dtype}" for key in arrays)
        raise UserError(f"the labels are of different kinds: {listed}; expected one")
    names = None if class_names is None else _texts("class_names", class_names.ravel())
    if names is not None and len(set(names)) < len(names):
        raise UserError("class_names repeats a name: expected one for each class")
    return _READERS[kinds[train]](columns, train, names)


def _column(key: str, array: np.ndarray) -> np.ndarray:
    if not array.size:
        raise UserError(f"{key} is empty")
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim not in (1, 2):
        raise UserError(
            f"{key} has shape {array.shape}: expected (N,), (N, 1) or one-hot rows "
            "(N, classes)"
        )
    return array


def _kind(key: str, array: np.ndarray) -> str:
    if array.ndim == 2:
        return "one-hot"
    if array.dtype.kind in "US":
        return "text"
    if array.dtype == bool:
        return "boolean"
    if array.dtype.kind in "iuf":
        return "integer"
    raise UserError(
        f"{key} is of type {array.dtype}: expected integers, booleans, texts or "
        "one-hot rows"
    )


def _one_hot(
    columns: Mapping[str, np.ndarray], train: str, names: list[str] | None
) -> Labels:
    classes = columns[train].shape[1]
    labels = {}
    for key, array in columns.items():
        if array.dtype.kind not in "biuf":
            raise UserError(
                f"{key} of shape {array.shape} is of type {array.dtype}: expected "
                "one-hot rows of numbers, or one label for each image"
            )
        if array.shape[1] != classes:
            raise UserError(
                f"{key} has rows of {array.shape[1]}, {train} of {classes}: expected "
                "one-hot rows of one length"
            )
        good = ((array == 0) | (array == 1)).all(axis=1) & (
            (array == 1).sum(axis=1) == 1
        )
        if not good.all():
            row = int(np.argmin(good))
            raise UserError(
                f"{key} has shape {array.shape}, but row {row} is not one-hot, a "
                "single 1 among zeros: expected one class for each image"
            )
        labels[key] = np.argmax(array, axis=1).astype(np.int32)
    return Labels(
        labels,
        _named(classes, names),
        (f"labels are read as one-hot rows of {classes} classes",),
    )


def _booleans(
    columns: Mapping[str, np.ndarray], train: str, names: list[str] | None
) -> Labels:
    del train
    labels = {key: array.astype(np.int32) for key, array in columns.items()}
    return Labels(
        labels,
        _named(2, names) if names else ("False", "True"),
        ("boolean labels are read as the classes 0 (False) and 1 (True)",),
    )


def _of_texts(
    columns: Mapping[str, np.ndarray], train: str, names: list[str] | None
) -> Labels:
    texts = {key: _texts(key, array) for key, array in columns.items()}
    given = names is not None
    if names is None:
        found = set(texts[train])
        numeric = all(text.isascii() and text.isdigit() for text in found)
        names = sorted(found, key=lambda text: (int(text) if numeric else 0, text))
    places = {text: place for place, text in enumerate(names)}
    for key, values in texts.items():
        unknown = next((text for text in values if text not in places), None)
        if unknown is not None:
            where = "class_names" if given else f"the labels of {train}"
            raise UserError(f"{key} has the label {unknown!r}, which is not in {where}")
    labels = {
        key: np.array([places[text] for text in values], np.int32)
        for key, values in texts.items()
    }
    order = "class_names" if given else "their names"
    note = f"labels are texts: the classes are counted in the order of {order}"
    return Labels(labels, tuple(names), (note,))


def _integers(
    columns: Mapping[str, np.ndarray], train: str, names: list[str] | None
) -> Labels:
    for key, array in columns.items():
        if not np.array_equal(array, np.floor(array)) or np.isinf(array).any():
            raise UserError(f"{key} has labels that are not integers")
        if array.min() < 0:
            raise UserError(
                f"{key} has the negative label {int(array.min())}: expected labels "
                "counted from 0"
            )
        if array.max() > np.iinfo(np.int32).max:
            raise UserError(f"label {int(array.max())} in {key} is out of range")
    whole = {key: array.astype(np.int32) for key, array in columns.items()}
    present = np.unique(whole[train])
    classes = len(names) if names is not None else len(present)
    # Counted from 1: only where no array has a 0 and all of 1..classes occur.
    ones = min(int(array.min()) for array in whole.values()) == 1
    notes: tuple[str, ...] = ()
    if ones and np.array_equal(present, np.arange(1, classes + 1)):
        whole = {key: array - 1 for key, array in whole.items()}
        notes = (f"labels are counted from 1: class 1 is the first of {classes}",)
        names = names or [str(number) for number in present]
    for key, array in whole.items():
        if array.max() >= classes:
            said = "class_names has" if names is not None else f"{train} has"
            raise UserError(
                f"label {array.max()} in {key} is out of range: {said} {classes} "
                f"different {'names' if names is not None else 'labels'}, so expected "
                f"0..{classes - 1}"
            )
    return Labels(whole, _named(classes, names), notes)


_READERS = {
    "one-hot": _one_hot,
    "boolean": _booleans,
    "text": _of_texts,
    "integer": _integers,
}


def _named(classes: int, names: list[str] | None) -> tuple[str, ...]:
    if names is None:
        return tuple(str(label) for label in range(classes))
    if len(names) != classes:
        raise UserError(
            f"class_names has {len(names)} names for {classes} classes: expected one "
            "for each"
        )
    return tuple(names)


def _texts(key: str, array: np.ndarray) -> list[str]:
    """Texts that can be a class's name."""
    if array.dtype.kind not in "US":
        raise UserError(f"{key} is of type {array.dtype}: expected texts")
    cache: dict[str | bytes, str] = {}
    return [
        cache[value] if value in cache else cache.setdefault(value, _text(key, value))
        for value in array.tolist()
    ]


def _text(key: str, value: str | bytes) -> str:
    try:
        text = value.decode() if isinstance(value, bytes) else value
        text.encode()
    except UnicodeError:
        raise UserError(
            f"{key} has the label {value!r}, which is not UTF-8: expected a name"
        ) from None
    if not text.strip() or len(text.splitlines()) > 1 or not text.isprintable():
        raise UserError(
            f"{key} has the label {text!r}: expected a name of one line that can be "
            "printed"
        )
    return text
