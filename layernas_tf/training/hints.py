"""Hints: a teacher's features, which a network learns to have besides the labels.

A. Romero et al.: "FitNets: hints for thin deep nets", arXiv 1412.6550. Here the
features are what the last layer with weights reads. They become further columns of a
batch's labels and of the network's outputs, so that nothing else of a training changes.
A network with another number of features learns them through a projection, which is
thrown away after the training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from layernas_tf.training.graph_walk import classifier_of


def features_of(model: keras.Model) -> Any:
    """The features as a Keras tensor, (B, F): before any dropout, flat."""
    tensor = classifier_of(model).input
    while isinstance(source := tensor._keras_history.operation, keras.layers.Dropout):
        tensor = source.input
    return keras.layers.Flatten(dtype="float32")(tensor)


def with_hints(model: keras.Model, deviations: Sequence[float]) -> keras.Model:
    """The network with further columns of its output; it shares the layers.

    Args:
      model: A functional network that gives (B, classes).
      deviations: For each of the F features that are learned, the standard deviation
        that it is divided by; without any, it is the network itself.

    Returns:
      A network that gives (B, classes + F), float32.

    Example:
      >>> image = keras.Input((4, 4, 1))
      >>> x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(image))
      >>> model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))
      >>> with_hints(model, [1.0] * 8).output_shape
      (None, 11)
    """
    if not deviations:
        return model
    known, wanted = features_of(model), len(deviations)
    if known.shape[-1] == wanted:
        shares = [1 / deviation for deviation in deviations]
        known = keras.layers.Rescaling(shares, dtype="float32")(known)
    else:
        known = keras.layers.Dense(wanted, use_bias=False, dtype="float32")(known)
    outputs = keras.layers.Concatenate(dtype="float32")([model.outputs[0], known])
    return keras.Model(model.inputs[0], outputs)


def image_losses(
    classes: int, hints: int, *, label_smoothing: float, logits: bool
) -> Callable[[Any, Any], Any]:
    """The loss of each image: cross-entropy, and the squared error of the hints.

    Args:
      classes: Columns that are probabilities.
      hints: Columns after them that are features.
      label_smoothing: See `Recipe`.
      logits: Whether the network gives logits.

    Returns:
      A function of labels and outputs, (B, columns), that gives (B,). Labels without
      hints have the cross-entropy only.
    """

    def losses(true: Any, outputs: Any) -> Any:
        crossentropy = keras.losses.categorical_crossentropy(
            true[:, :classes],
            outputs[:, :classes],
            from_logits=logits,
            label_smoothing=label_smoothing,
        )
        if not hints or true.shape[-1] == classes:
            return crossentropy
        errors = keras.ops.square(true[:, classes:] - outputs[:, classes:])
        return crossentropy + keras.ops.mean(errors, axis=-1)

    return losses


def class_accuracy(classes: int) -> keras.metrics.Metric:
    """Keras' categorical accuracy of the columns that are probabilities."""

    def accuracy(true: Any, outputs: Any) -> Any:
        return keras.metrics.categorical_accuracy(
            true[:, :classes], outputs[:, :classes]
        )

    return keras.metrics.MeanMetricWrapper(accuracy, name="accuracy")
