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
    """How good a network is on a split: accuracy in 0..1 and mean cross-entropy."""

    accuracy: float
    loss: float


def score(outputs: np.ndarray, labels: np.ndarray, logits: bool) -> Scores:
    """Accuracy and mean cross-entropy of logits or probabilities.

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
    return Scores(float((outputs.argmax(axis=1) == labels).mean()), float(loss))


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

    That throws the slots of the optimizer away, which would make a saved file two or
    three times as large.
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
