"""A data set whose training images have a teacher's soft labels."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.datasets.split import ArraySplit, Dataset, Split
from layernas_tf.training.soft_labels import TaughtSplit, soft_labels

if TYPE_CHECKING:
    import keras

    from layernas_tf.training.segments import SegmentCache


def taught(
    dataset: Dataset,
    teacher: keras.Model,
    *,
    segments: SegmentCache | None = None,
) -> Dataset:
    """The data set with a teacher's soft labels on its training images.

    Of images in memory, the teacher sees each one once, without augmentation. If they
    are read from files in every epoch, it sees every batch as the network does.

    Args:
      dataset: What the teacher was trained on.
      teacher: A network for these images that gives probabilities.
      segments: As for `evaluate.evaluate_model`.

    Example:
      train_model(model, taught(dataset, teacher), recipe, seed=0)
    """
    train = dataset.train
    if not isinstance(train, ArraySplit):
        return dataclasses.replace(dataset, train=TaughtSplit(train, teacher))
    outputs = _outputs(teacher, train, segments)
    labels = soft_labels(outputs, train.labels)
    return dataclasses.replace(dataset, train=ArraySplit(train.images, labels))


def _outputs(
    teacher: keras.Model, split: Split, segments: SegmentCache | None
) -> np.ndarray:
    import keras

    if segments is not None and keras.backend.backend() == "tensorflow":
        from layernas_tf.training.segment_training import predict_segments

        predicted = predict_segments(teacher, split, segments, 256)
        if predicted is not None:
            return predicted[0]
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(teacher(images, training=False))
            for images, _ in split.batches(256)
        ]
    )
