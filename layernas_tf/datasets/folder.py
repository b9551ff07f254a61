"""`folder:DIR`: one folder of images per class."""

from __future__ import annotations

import functools
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.arrays import Options, check_enough, make_dataset
from layernas_tf.datasets.split import (
    ArraySplit,
    Dataset,
    hold_out,
    side_for,
    subset,
    to_square,
)
from layernas_tf.datasets.stream import HELD_BYTES, PHOTO_CROP, StreamSplit

if TYPE_CHECKING:
    import tensorflow as tf

SUFFIXES = (".jpg", ".jpeg", ".png")
TEST_FRACTION = 0.2


def load_folder(name: str, path: str, options: Options) -> Dataset:
    """Images in DIR/train/CLASS/ and DIR/test/CLASS/, or in DIR/CLASS/.

    Without train and test folders a fifth of each class becomes the test set. Images
    are cut to their central square and resized to one size, always in RGB. Folders
    that would take more than `HELD_BYTES` are read anew in every round.
    """
    root = pathlib.Path(path)
    if not root.is_dir():
        raise UserError(f"{name}: no such folder: {path!r}")
    if (root / "train").is_dir() and (root / "test").is_dir():
        class_names = _class_names(name, root / "train")
        extra = set(_class_names(name, root / "test")) - set(class_names)
        if extra:
            raise UserError(
                f"{name}: test has the class {sorted(extra)[0]!r}, which train has not"
            )
        train = _list_images(name, root / "train", class_names)
        test = _list_images(name, root / "test", class_names)
    else:
        class_names = _class_names(name, root)
        files, labels = _list_images(name, root, class_names)
        check_enough(name, labels, len(class_names))
        stay, held = hold_out(labels, TEST_FRACTION, seed=0)
        train, test = (files[stay], labels[stay]), (files[held], labels[held])
        logging.info(
            "%s: no train and test folders, so %d of %d images are held out as the "
            "test set",
            name,
            len(held),
            len(files),
        )
    check_enough(name, train[1], len(class_names))
    if options.limit is not None:
        train, test = (
            tuple(
                column[subset(labels, options.limit, options.seed)] for column in both
            )
            for both, labels in ((train, train[1]), (test, test[1]))
        )
    sizes = np.array([_read(name, file).shape[:2] for file in train[0][:256]])
    side = side_for(sizes, options.resolution)
    if len(train[0]) * side * side * 3 > HELD_BYTES:
        return _stream(name, train, test, side, class_names, options)
    return make_dataset(
        name,
        _read_all(name, *train, side),
        _read_all(name, *test, side),
        class_names,
        options,
        mirrors=True,
    )


def _stream(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    side: int,
    class_names: tuple[str, ...],
    options: Options,
) -> Dataset:
    import tensorflow as tf

    stay, held = hold_out(train[1], options.valid_fraction, options.seed)

    def part(files: np.ndarray, labels: np.ndarray) -> StreamSplit:
        return StreamSplit(
            size=len(files),
            side=side,
            channels=3,
            crop=PHOTO_CROP,
            records=functools.partial(
                _records, tf.constant(files), tf.constant(labels)
            ),
            parse=_read_file,
        )

    return Dataset(
        name=name,
        classes=len(class_names),
        class_names=class_names,
        shape=(side, side, 3),
        train=part(train[0][stay], train[1][stay]),
        valid=part(train[0][held], train[1][held]),
        test=part(*test),
        mirrors=True,
    )


def _records(files: tf.Tensor, labels: tf.Tensor, key: tf.Tensor | None):
    """One round of files and labels; see `StreamSplit.records`."""
    import tensorflow as tf

    order = tf.range(len(files))
    if key is not None:
        order = tf.random.experimental.stateless_shuffle(order, key)
    return tf.data.Dataset.from_tensor_slices(
        (tf.gather(files, order), tf.gather(labels, order))
    )


def _read_file(file: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    import tensorflow as tf

    return tf.io.read_file(file), label


def _class_names(name: str, root: pathlib.Path) -> tuple[str, ...]:
    names = sorted(
        folder.name
        for folder in root.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    )
    if len(names) < 2:
        raise UserError(
            f"{name}: expected at least 2 folders, one per class, in {str(root)!r}, "
            f"got {len(names)}"
        )
    return tuple(names)


def _list_images(
    name: str, root: pathlib.Path, class_names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    files, labels = [], []
    for label, class_name in enumerate(class_names):
        folder = root / class_name
        if not folder.is_dir():
            continue
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                files.append(str(file))
                labels.append(label)
    if not files:
        raise UserError(
            f"{name}: no image ({', '.join(SUFFIXES)}) in the folders of {str(root)!r}"
        )
    return np.array(files), np.array(labels, np.int32)


def _read(name: str, file: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        raise UserError(f"{name}: cannot read the image {file!r}: {error}") from error


def _read_all(
    name: str, files: np.ndarray, labels: np.ndarray, side: int
) -> ArraySplit:
    images = np.empty((len(files), side, side, 3), np.uint8)
    for index, file in enumerate(files):
        images[index] = to_square(_read(name, file), side)
    return ArraySplit(images, labels)
