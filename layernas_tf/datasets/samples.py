"""A few images of each class, as a training sees them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from layernas_tf.datasets.split import ArraySplit, Dataset

_BATCH, _BATCHES = 64, 16
"""Batch size, and the most batches of a streamed data set that are looked through."""


def sample_images(
    dataset: Dataset, per_class: int = 6, classes: int = 24
) -> dict[str, list[np.ndarray]]:
    """Training images by class name.

    Args:
      dataset: The data set; the same training images are drawn each time.
      per_class: The largest number of images per class.
      classes: The largest number of classes; the first ones are taken.

    Returns:
      For each class, uint8 images of the data set's shape; a class that is rare among
      streamed images may have none.
    """
    found: dict[int, list[np.ndarray]] = {
        label: [] for label in range(min(classes, dataset.classes))
    }
    for image, label in _drawn(dataset, found, per_class):
        if label in found and len(found[label]) < per_class:
            found[label].append(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    return {dataset.class_names[label]: images for label, images in found.items()}


def _drawn(
    dataset: Dataset, found: dict[int, list[np.ndarray]], per_class: int
) -> Iterator[tuple[np.ndarray, int]]:
    train = dataset.train
    if isinstance(train, ArraySplit):
        generator = np.random.default_rng(0)
        for label in found:
            members = np.flatnonzero(train.labels == label)
            for index in generator.permutation(members)[:per_class]:
                yield train.images[index], label
        return
    for images, labels in train.batches(_BATCH, seed=0).take(_BATCHES):
        yield from zip(images.numpy(), labels.numpy().tolist())
        if all(len(images) >= per_class for images in found.values()):
            return
