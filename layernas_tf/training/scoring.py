"""How good a trained network is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.training.devices import compiled_by_xla

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Scores:
    """How good a network is on a split.

    Example:
      >>> Scores(np.array([[8, 2], [0, 10]]), loss=0.4).accuracy
      0.9

    Attributes:
      confusion: (classes, classes) numbers of images: rows are the true classes,
        columns the predicted ones.
      loss: Mean cross-entropy.
      correct: (images,) booleans, whether each image is classified correctly, in the
        order of the split.
    """

    confusion: np.ndarray
    loss: float
    correct: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0, bool), compare=False
    )

    @property
    def accuracy(self) -> float:
        """Share of the images classified correctly, in 0..1."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def recalls(self) -> tuple[float | None, ...]:
        """Of each class the share of its images classified correctly.

        None for a class without images.
        """
        return recalls(self.confusion)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the recalls of the classes that have images, in 0..1."""
        return balanced_accuracy(self.confusion)


def recalls(confusion: np.ndarray) -> tuple[float | None, ...]:
    """See `Scores.recalls`."""
    numbers = confusion.sum(axis=1)
    right = np.diagonal(confusion)
    return tuple(float(r / n) if n else None for r, n in zip(right, numbers))


def balanced_accuracy(confusion: np.ndarray) -> float:
    """See `Scores.balanced_accuracy`."""
    known = [share for share in recalls(confusion) if share is not None]
    return float(np.mean(known))


def confusion_matrix(
    labels: np.ndarray, predicted: np.ndarray, classes: int
) -> np.ndarray:
    """Numbers of images by true class (rows) and predicted class (columns).

    Args:
      labels: (N,) integers.
      predicted: Likewise.
      classes: Number of classes.
    """
    places = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def score(outputs: np.ndarray, labels: np.ndarray, logits: bool) -> Scores:
    """Confusion matrix and mean cross-entropy of logits or probabilities.

    Args:
      outputs: (N, classes).
      labels: (N,) integers.
      logits: Whether the outputs are logits.
    """
    outputs = np.asarray(outputs, np.float64)
    if logits:
        outputs = outputs - outputs.max(axis=1, keepdims=True)
        log = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    else:
        log = np.log(np.clip(outputs, 1e-7, 1))
    loss = -log[np.arange(len(labels)), labels].mean()
    predicted = outputs.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, outputs.shape[1])
    return Scores(confusion, float(loss), predicted == labels)


def gives_logits(model: keras.Model) -> bool:
    """Whether the network ends without a softmax."""
    import keras

    last = model.layers[-1]
    while isinstance(last, (keras.layers.Flatten, keras.layers.Reshape)):
        last = last._inbound_nodes[0].parent_nodes[0].operation
    if isinstance(last, keras.layers.Softmax):
        return False
    return getattr(last, "activation", None) is not keras.activations.softmax


def compile_for_use(model: keras.Model) -> None:
    """Compiles a network for `evaluate` on integer labels.

    This removes the optimizer's variables, which would make a saved file two or three
    times as large.
    """
    import keras

    model.compile(
        keras.optimizers.SGD(),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=gives_logits(model)
        ),
        metrics=["accuracy"],
        jit_compile=compiled_by_xla(),
    )
