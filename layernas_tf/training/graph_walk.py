"""Running a functional network layer by layer, without compiling it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from layernas_tf.datasets.split import Split


def walk(
    model: keras.Model,
    images: Any,
    call: Callable[[keras.layers.Layer, Any], Any],
) -> Any:
    """Computes a network's output without compiling it, which is faster for one batch.

    Args:
      model: A functional model with one input and one output.
      images: (N, H, W, C), float32 in [0, 255].
      call: Called with each layer and its input (a list if there are several), in the
        order of the computation; returns the layer's output.

    Returns:
      The output, a tensor.

    Example:
      walk(model, images, lambda layer, x: layer(x, training=False))
    """
    values = {id(model.inputs[0]): keras.ops.convert_to_tensor(images)}
    left: dict[int, int] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        for tensor in _inputs(layer):
            left[id(tensor)] = left.get(id(tensor), 0) + 1
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        inputs = _inputs(layer)
        given = [values[id(tensor)] for tensor in inputs]
        values[id(layer.output)] = call(layer, given if len(given) > 1 else given[0])
        for tensor in inputs:
            left[id(tensor)] -= 1
            if not left[id(tensor)]:
                del values[id(tensor)]
    return values[id(model.outputs[0])]


def infer(layer: keras.layers.Layer, inputs: Any) -> Any:
    """A layer's output in inference."""
    if isinstance(layer, keras.layers.BatchNormalization) and _fuses(layer, inputs):
        return _fused(layer, inputs, layer.moving_mean, layer.moving_variance)[0]
    if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Dropout)):
        return layer(inputs, training=False)
    return layer(inputs)


def normalize_batch(layer: keras.layers.BatchNormalization, inputs: Any) -> Any:
    """Sets the running statistics to those of these inputs.

    Returns:
      The layer's output with them.
    """
    if _fuses(layer, inputs):
        outputs, mean, variance = _fused(layer, inputs)
        # The kernel gives the unbiased variance and divides by the biased one.
        count = math.prod(inputs.shape[:-1])
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance * (count - 1) / count)
        return outputs
    axes = list(range(len(inputs.shape) - 1))
    values = keras.ops.cast(inputs, "float32")
    mean, variance = keras.ops.moments(values, axes=axes)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    return infer(layer, inputs)


def _fuses(layer: keras.layers.BatchNormalization, inputs: Any) -> bool:
    fast = keras.backend.backend() == "tensorflow" and len(inputs.shape) == 4
    return fast and layer.axis in (-1, 3) and layer.scale and layer.center


def _fused(
    layer: keras.layers.BatchNormalization, inputs: Any, *statistics: Any
) -> tuple[Any, Any, Any]:
    """TensorFlow's fused kernel, twice as fast as Keras' layer outside of a graph.

    Returns:
      The output, the mean and the variance: without `statistics`, those of the inputs.
    """
    import tensorflow as tf

    variables = (layer.gamma, layer.beta, *statistics)
    return tf.compat.v1.nn.fused_batch_norm(
        inputs,
        *(tf.convert_to_tensor(variable) for variable in variables),
        epsilon=layer.epsilon,
        is_training=not statistics,
    )


def classifier_of(model: keras.Model) -> keras.layers.Layer:
    """The last layer with weights: what it reads are the network's features."""
    return [layer for layer in model.layers if layer.weights][-1]


def features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The input of the last layer with weights: (N, features)."""
    last = classifier_of(model)
    seen = {}

    def call(layer: keras.layers.Layer, inputs: Any) -> Any:
        if layer is last:
            seen["features"] = inputs
        return infer(layer, inputs)

    walk(model, images, call)
    values = np.asarray(keras.ops.convert_to_numpy(seen["features"]), np.float32)
    return values.reshape(len(values), -1)


def predict(
    model: keras.Model, split: Split, batch_size: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and labels of a split, without the time that compiling takes."""
    outputs, labels = [], []
    for images, label in split.batches(batch_size):
        outputs.append(np.asarray(walk(model, images, infer), np.float32))
        labels.append(np.asarray(label))
    return np.concatenate(outputs), np.concatenate(labels)


def _inputs(layer: keras.layers.Layer) -> tuple[Any, ...]:
    inputs = layer.input
    return tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
