"""Weights of classes, for data of which one class has many more images than another."""

from __future__ import annotations

import functools

import numpy as np

from layernas_tf.datasets.split import ArraySplit, Dataset
from layernas_tf.datasets.stream import StreamSplit
from layernas_tf.training.soft_labels import TaughtSplit

CLASS_WEIGHTS = ("none", "balanced")
"""How the images of a class count in the loss: all alike, or all classes alike."""


def class_weights(dataset: Dataset, kind: str) -> np.ndarray | None:
    """What an image of each class counts in the loss; None if all count 1.

    `balanced` gives N / (classes * images of the class), so that each class counts as
    much as any other and an image 1 on average.

    Args:
      dataset: Its training images are counted.
      kind: One of `CLASS_WEIGHTS`.

    Returns:
      (classes,) float32, or None.
    """
    if kind == "none":
        return None
    counts = _counts(dataset)
    present = np.maximum(counts, 1)
    return (counts.sum() / (len(counts) * present)).astype(np.float32)


# The labels of a stream are read once, not in every trial.
@functools.lru_cache(maxsize=2)
def _counts(dataset: Dataset) -> np.ndarray:
    """Training images of each class, (classes,)."""
    split = dataset.train
    if isinstance(split, TaughtSplit):
        split = split.split
    if isinstance(split, ArraySplit):
        labels = split.labels
        if labels.ndim == 2:  # soft, and the true class is the most probable one
            labels = labels.argmax(axis=1)
        return np.bincount(labels, minlength=dataset.classes)
    assert isinstance(split, StreamSplit)
    counts = np.zeros(dataset.classes, np.int64)
    labels = split.records(None).map(lambda *record: split.parse(*record)[1])
    for batch in labels.batch(4096):
        counts += np.bincount(batch.numpy(), minlength=dataset.classes)
    return counts
