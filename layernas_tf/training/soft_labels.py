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
    return mixed(outputs, labels, temperature, share).numpy()


def mixed(
    outputs: Any, labels: Any, temperature: float = TEMPERATURE, share: float = SHARE
) -> tf.Tensor:
    """`soft_labels` as a tensor, eagerly or inside a graph."""
    import tensorflow as tf

    outputs = tf.cast(outputs, tf.float64)
    logits = tf.math.log(tf.clip_by_value(outputs, 1e-7, 1)) / temperature
    true = one_hot(tf.convert_to_tensor(labels), outputs.shape[1])
    soft = share * tf.nn.softmax(logits) + (1 - share) * tf.cast(true, tf.float64)
    return tf.cast(soft, tf.float32)


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

        def teach(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return images, mixed(self.teacher(images, training=False), labels)

        return self.split.batches(
            batch_size,
            seed=seed,
            augment=augment,
            randaugment=randaugment,
            repeat=repeat,
            start=start,
        ).map(teach, num_parallel_calls=tf.data.AUTOTUNE)
