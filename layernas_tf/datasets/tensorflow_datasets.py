"""`tfds:NAME`: a data set of TensorFlow Datasets, held in memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from layernas_tf.datasets.arrays import Options, make_dataset
from layernas_tf.datasets.split import ArraySplit, Dataset, side_for, to_square
from layernas_tf.errors import UserError

LARGEST_BYTES = 8 * 1024**3
"""What a data set may take in memory once its images are resized."""


def load_tfds(name: str, builder_name: str, options: Options) -> Dataset:
    """Loads a TFDS image-classification data set; downloads it where TFDS does.

    The test set is the split `test`, or `validation` where no labelled one exists (as
    for ImageNet). Images are cut to their central square and resized to one size.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(builder_name)
    except Exception as error:  # TFDS raises many kinds, all about the name.
        raise UserError(
            f"{name}: TensorFlow Datasets cannot find {builder_name!r}: "
            f"{_first_line(error)}"
        ) from error
    info = builder.info
    features = dict(info.features)
    label = features.get("label")
    if not isinstance(label, tfds.features.ClassLabel) or not isinstance(
        features.get("image"), tfds.features.Image
    ):
        raise UserError(
            f"{name}: expected a data set with the features 'image' and 'label', got "
            f"{', '.join(features)}"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # The network, the disk, or a manual download.
        raise UserError(
            f"{name}: TensorFlow Datasets cannot prepare it (no network, or a manual "
            f"download is due): {_first_line(error)}"
        ) from error
    class_names = tuple(label.names)
    train = _load_split(name, builder, "train", options, None)
    side = train.images.shape[1]
    test = _load_split(name, builder, _test_split(builder), options, side)
    present = len(np.unique(train.labels))
    if present < 2:
        raise UserError(f"{name}: expected images of at least 2 classes, got {present}")
    return make_dataset(
        name,
        train,
        test,
        class_names,
        dataclasses.replace(options, resolution=side),
        mirrors=train.images.shape[-1] == 3,
    )


def _test_split(builder: Any) -> str:
    # The test images of ImageNet come without labels.
    splits = builder.info.splits
    if builder.name.startswith("imagenet") or (splits and "test" not in splits):
        return "validation"
    return "test"


def _load_split(
    name: str, builder: Any, split: str, options: Options, side: int | None
) -> ArraySplit:
    """Reads a split, resizing image by image; the first images settle the side."""
    try:
        source = builder.as_dataset(
            split=split,
            as_supervised=True,
            shuffle_files=False,
        )
    except Exception as error:
        raise UserError(f"{name}: no split {split!r}: {_first_line(error)}") from error
    if options.limit is not None:
        source = source.take(options.limit)
    if side is None:
        sizes = np.array(
            [image.shape[:2] for image, _ in source.take(256).as_numpy_iterator()]
        )
        if not len(sizes):
            raise UserError(f"{name}: the split {split!r} is empty")
        side = side_for(sizes, options.resolution)
    images, labels, held = [], [], 0
    for image, label in source.as_numpy_iterator():
        image = to_square(image, side)
        held += image.nbytes
        if held > LARGEST_BYTES:
            raise UserError(
                f"{name}: more than {LARGEST_BYTES >> 30} GiB of images of "
                f"{side}x{side} pixels: expected a smaller resolution or a limit"
            )
        images.append(image)
        labels.append(label)
    if not images:
        raise UserError(f"{name}: the split {split!r} is empty")
    labels = np.array(labels, np.int32)
    if labels.min() < 0:
        raise UserError(f"{name}: the split {split!r} has images without a label")
    return ArraySplit(np.stack(images), labels)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
