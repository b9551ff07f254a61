"""A data set whose training images have a teacher's soft labels or features."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.datasets.split import ArraySplit, Dataset, Split
from layernas_tf.training.soft_labels import (
    TaughtSplit,
    mixed,
    one_hot,
    soft_labels,
)

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from layernas_tf.training.segments import SegmentCache

_IMAGES = 1_000
"""Images on which the scale of a teacher's features is measured."""


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

        def soften(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            return mixed(teacher(images, training=False), labels)

        return dataclasses.replace(dataset, train=TaughtSplit(train, soften))
    outputs = _outputs(teacher, train, segments)
    labels = soft_labels(outputs, train.labels)
    return dataclasses.replace(dataset, train=ArraySplit(train.images, labels))


def hinted(dataset: Dataset, teacher: keras.Model) -> Dataset:
    """The data set with a teacher's features beside the labels of its training images.

    The teacher sees every batch, augmented, as the network does. The scale of a feature
    is measured on images that Keras' global seed chooses: the same seed must be set
    whenever a training is resumed.

    Args:
      dataset: What the teacher was trained on.
      teacher: A functional network for these images.

    Example:
      train_model(model, hinted(dataset, teacher), recipe, seed=0)
    """
    import keras
    import tensorflow as tf

    from layernas_tf.training.hints import features_of

    classes = dataset.classes
    seer = keras.Model(teacher.inputs[0], features_of(teacher))
    batches = dataset.train.batches(250, seed=0).take(_IMAGES // 250)
    seen = np.concatenate([seer(images, training=False) for images, _ in batches])
    # A feature that never stirs would otherwise count without bound.
    deviations = seen.std(axis=0) + 0.01 * seen.std() + 1e-3
    scale = tf.constant(1 / deviations, tf.float32)

    def hint(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        known = seer(images, training=False) * scale
        return tf.concat([one_hot(labels, classes), known], 1)

    train = TaughtSplit(dataset.train, hint, tuple(deviations.tolist()))
    return dataclasses.replace(dataset, train=train)


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
