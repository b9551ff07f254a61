"""Data sets that a program passes in: arrays and `tf.data.Dataset`s."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError, describe
from layernas_tf.datasets.npz import archive_dataset
from layernas_tf.datasets.npz_archive import Archive
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.split import Dataset


def given_dataset(
    train: Any,
    test: Any,
    valid: Any = None,
    *,
    options: Options,
    class_names: tuple[str, ...] = (),
) -> Dataset:
    """Makes a data set from arrays or `tf.data.Dataset`s.

    Args:
      train: `(images, labels)`, arrays as of `keras.datasets`, or a finite
        `tf.data.Dataset` of such pairs, batched or not, which is read into memory.
      test: Test data in the same form; None holds out a test set from `train`.
      valid: Validation data in the same form; None holds out a validation set from
        `train`.
      options: Resolution, limits, and how much is held out.
      class_names: One name per class; by default the numbers of the classes.

    Returns:
      The data set. Different data give it different names.

    Raises:
      UserError: The shapes, types or values are not those of images and labels.
    """
    images, labels = {}, {}
    for part, given in (("train", train), ("valid", valid), ("test", test)):
        if given is not None:
            x, y = _pair(part, given)
            images[part], labels[part] = (f"x_{part}", x), (f"y_{part}", y)
    digest = _digest(dict([*images.values(), *labels.values()]))
    names = np.array(class_names) if class_names else None
    return archive_dataset(f"arrays:{digest}", Archive(images, labels, names), options)


def _pair(part: str, given: Any) -> tuple[np.ndarray, np.ndarray]:
    if hasattr(given, "element_spec"):
        return _of_tf_data(part, given)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise UserError(
            f"`{part}`: expected (images, labels) or a tf.data.Dataset of such pairs, "
            f"got {type(given).__name__}"
            + (f" of {len(given)}" if isinstance(given, (tuple, list)) else "")
        )
    images, labels = (_array(part, each) for each in given)
    return images, labels


def _array(part: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever a foreign object raises
        raise UserError(
            f"`{part}`: expected arrays of images and labels: {describe(error)}"
        ) from None
    if array.dtype == object:
        raise UserError(
            f"`{part}`: expected one array of images of one size and one of labels, "
            "got a list of different shapes"
        )
    return array


def _of_tf_data(part: str, given: Any) -> tuple[np.ndarray, np.ndarray]:
    spec = given.element_spec
    pair = isinstance(spec, tuple) and len(spec) == 2
    if not pair or not all(hasattr(each, "shape") for each in spec):
        raise UserError(
            f"`{part}`: expected a tf.data.Dataset of (image, label), got elements "
            f"{spec}"
        )
    if int(given.cardinality()) == -1:
        raise UserError(
            f"`{part}`: the tf.data.Dataset never ends: expected a finite one"
        )
    batched = spec[0].shape.rank is None or spec[0].shape.rank == 4
    images, labels = [], []
    for image, label in given.as_numpy_iterator():
        images.append(image if batched else image[None])
        labels.append(label if batched else np.asarray(label)[None])
    if not images:
        raise UserError(f"`{part}`: the tf.data.Dataset is empty")
    try:
        return np.concatenate(images), np.concatenate(labels)
    except ValueError:
        raise UserError(
            f"`{part}`: the images of the tf.data.Dataset differ in size: expected one"
        ) from None


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
