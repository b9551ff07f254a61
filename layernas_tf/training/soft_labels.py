"""Soft labels: the answers of a teacher, a trained network, as a part of the labels.

G. Hinton, O. Vinyals, J. Dean: "Distilling the knowledge in a neural network", arXiv
1503.02531: a teacher's probabilities tell more about an image than its label does. Here
a label becomes the mean of the true class and of the teacher's probabilities, softened
by a temperature. So nothing else of a training changes, and the loss stays a
cross-entropy.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.datasets.split import Split

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

DISTILLATIONS = ("none", "logits")
"""What a teacher gives: nothing, or its logits."""

TEMPERATURE = 2.0
SHARE = 0.5
"""The teacher's share of a label."""


def one_hot(labels: tf.Tensor, classes: int) -> tf.Tensor:
    """Labels as probabilities, (B, classes); soft labels stay as they are."""
    import tensorflow as tf

    return labels if labels.shape.rank == 2 else tf.one_hot(labels, classes)


def soft_labels(
    outputs: Any, labels: Any, *, temperature: float = TEMPERATURE, share: float = SHARE
) -> np.ndarray:
    """Mixes a teacher's answers with the true labels.

    Args:
      outputs: (N, classes) The teacher's probabilities.
      labels: (N,) integers, or (N, classes) probabilities.
      temperature: Above 1, the probabilities become more alike.
      share: The teacher's share, 0..1.

    Returns:
      (N, classes) float32; each row has the sum 1.

    Example:
      >>> soft_labels(np.array([[0.5, 0.5]]), np.array([1])).tolist()
      [[0.25, 0.75]]
    """
    logits = np.log(np.clip(np.asarray(outputs, np.float64), 1e-7, 1)) / temperature
    taught = np.exp(logits - logits.max(axis=1, keepdims=True))
    taught /= taught.sum(axis=1, keepdims=True)
    labels = np.asarray(labels)
    true = np.eye(taught.shape[1])[labels] if labels.ndim == 1 else labels
    return (share * taught + (1 - share) * true).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class TaughtSplit:
    """A split with a teacher's soft labels on every batch.

    Example: `TaughtSplit(dataset.train, teacher).batches(32, seed=0)`.

    Attributes:
      split: The images with their true labels.
      teacher: Gives probabilities.
    """

    split: Split
    teacher: keras.Model

    @property
    def size(self) -> int:
        """The number of images."""
        return self.split.size

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        augment: str = "none",
        randaugment: float = 0.0,
        repeat: bool = False,
        start: int = 0,
    ) -> tf.data.Dataset:
        """As `ArraySplit.batches`, with labels (B, classes)."""
        import tensorflow as tf

        classes = self.teacher.output_shape[-1]

        def teach(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            outputs = self.teacher(images, training=False)
            logits = tf.math.log(tf.clip_by_value(outputs, 1e-7, 1)) / TEMPERATURE
            true = tf.one_hot(labels, classes)
            return images, SHARE * tf.nn.softmax(logits) + (1 - SHARE) * true

        return self.split.batches(
            batch_size,
            seed=seed,
            augment=augment,
            randaugment=randaugment,
            repeat=repeat,
            start=start,
        ).map(teach, num_parallel_calls=tf.data.AUTOTUNE)
