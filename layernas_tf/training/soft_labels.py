"""Labels that a teacher, a trained network, has a part in.

G. Hinton, O. Vinyals, J. Dean: "Distilling the knowledge in a neural network", arXiv
1503.02531: a teacher's probabilities tell more about an image than its label does. Here
a label becomes the mean of the true class and of the teacher's probabilities, softened
by a temperature. So nothing else of a training changes, and the loss stays a
cross-entropy. The teacher's features may follow as further columns (`training.hints`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.datasets.split import Dataset, Split

if TYPE_CHECKING:
    import tensorflow as tf

DISTILLATIONS = ("none", "logits", "features")
"""What a teacher gives: nothing, its logits, or what its last layer reads."""


def default_distillation(*, pretrained: bool) -> str:
    """What a teacher gives unless the user says so, one of `DISTILLATIONS`.

    A cut network has lost what its pretrained weights knew, and the features of the
    whole one tell it (docs/pretrained.md). They need Keras' TensorFlow backend.
    """
    if not pretrained:
        return "none"
    import keras

    return "features" if keras.backend.backend() == "tensorflow" else "none"


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
    """A split whose labels a teacher makes anew for every batch.

    Example:
      softened = lambda images, labels: mixed(teacher(images), labels)
      TaughtSplit(dataset.train, softened).batches(32, seed=0)

    Attributes:
      split: The images with their true labels.
      teach: From images and labels to labels, inside a graph: (B, classes), or
        (B, classes + F) with F features, each divided by its standard deviation.
      deviations: Those of the F features (`training.hints`).
    """

    split: Split
    teach: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    deviations: tuple[float, ...] = ()

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
        """As `ArraySplit.batches`, with labels (B, classes + F)."""
        import tensorflow as tf

        def teach(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return images, self.teach(images, labels)

        return self.split.batches(
            batch_size,
            seed=seed,
            augment=augment,
            randaugment=randaugment,
            repeat=repeat,
            start=start,
        ).map(teach, num_parallel_calls=tf.data.AUTOTUNE)


def hints_of(dataset: Dataset) -> tuple[float, ...]:
    """The deviations of a teacher's features in the labels; none without features."""
    train = dataset.train
    return train.deviations if isinstance(train, TaughtSplit) else ()
