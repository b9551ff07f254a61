"""`npz:FILE`: the arrays of a NumPy archive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.array_labels import read_labels
from layernas_tf.datasets.arrays import TEST_FRACTION, check_enough, make_dataset
from layernas_tf.datasets.npz_archive import Archive, read_archive
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.pixels import read_pixels
from layernas_tf.datasets.split import ArraySplit, Dataset, hold_out


def load_npz(name: str, path: str, options: Options) -> Dataset:
    """A NumPy archive with `x_train`, `y_train` and perhaps `x_test`, `y_test`.

    `npz_archive` says which names count, `pixels` which images are read, and
    `array_labels` which labels. A validation set is used as such. Without a test set, a
    fifth of each class becomes the test set. The data set's notes say what differs from
    Keras' own archives.

    Raises:
      UserError: The file, its shapes, scales or labels cannot be read.
    """
    try:
        archive = read_archive(path)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    return archive_dataset(name, archive, options)


def archive_dataset(name: str, archive: Archive, options: Options) -> Dataset:
    """Makes a data set of arrays in memory; see `load_npz`."""
    try:
        splits, class_names, notes = _splits(archive)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    return dataset_of_splits(name, splits, class_names, notes, options)


def dataset_of_splits(
    name: str,
    splits: Mapping[str, ArraySplit],
    class_names: tuple[str, ...],
    notes: list[str],
    options: Options,
) -> Dataset:
    """Makes a data set of the given splits: `train`, perhaps `valid` and `test`.

    Raises:
      UserError: There are too few training images of a class.
    """
    train, test = splits["train"], splits.get("test")
    valid = splits.get("valid")
    least = 1 + (valid is None) + (test is None)
    check_enough(name, train.labels, class_names, least)
    if test is None:
        stay, held = hold_out(train.labels, TEST_FRACTION, seed=0)
        notes = [
            *notes,
            f"no test set, so {len(held):,} of {train.size:,} images are held out as "
            "the test set",
        ]
        train, test = train.take(stay), train.take(held)
    return make_dataset(
        name,
        train,
        test,
        class_names,
        options,
        valid=valid,
        mirrors=train.images.shape[-1] == 3,
        notes=tuple(notes),
    )


def _splits(
    archive: Archive,
) -> tuple[dict[str, ArraySplit], tuple[str, ...], list[str]]:
    """Images and labels by split, the names of the classes, and notes."""
    labels = read_labels(
        {key: array for key, array in archive.labels.values()},
        archive.labels["train"][0],
        archive.class_names,
    )
    images, notes = read_pixels(
        {key: array for key, array in archive.images.values()},
        {
            archive.images[split][0]: len(array)
            for split, (_, array) in archive.labels.items()
        },
    )
    first = archive.images["train"][0]
    splits = {}
    for split, (key, _) in archive.images.items():
        label = archive.labels[split][0]
        if len(images[key]) != len(labels.labels[label]):
            raise UserError(
                f"{key} has {len(images[key])} images and {label} "
                f"{len(labels.labels[label])} labels: expected a label for each image"
            )
        if images[key].shape[1:] != images[first].shape[1:]:
            raise UserError(
                f"{key} has images of shape {images[key].shape[1:]}, expected "
                f"{images[first].shape[1:]} as in {first}"
            )
        splits[split] = ArraySplit(
            np.ascontiguousarray(images[key]), labels.labels[label]
        )
    return splits, labels.class_names, [*archive.notes, *labels.notes, *notes]
