"""Biases that make up for the rounding of the weights to integers.

Rounding a kernel changes the mean of its layer's output: by the rounding error times
the mean of the input. Behind ReLU6 inputs are far from zero, and the nine weights of a
depthwise channel do not average their errors out; a MobileNetV2 loses several points of
accuracy so. The shift is known, and is taken off the layer's bias, or off the mean of
the batch normalization behind it.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", arXiv 1906.04721, section 4.2; the mean input is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

_LEVELS = 127
"""Largest integer of a weight; TFLite's 8-bit weights are symmetric."""
_BATCH = 8


def with_corrected_biases(model: keras.Model, images: np.ndarray) -> keras.Model:
    """A copy of a network that is right on average once its kernels are rounded.

    The copy itself, computed in floating point, is wrong by as much in the other
    direction: it is for conversion to integers alone. Convolutions that are used more
    than once, or have neither a bias nor a batch normalization directly behind them,
    stay as they are.

    Args:
      model: A functional network in float32.
      images: Typical images, pixels in [0, 255], shape (n, h, w, c), at least one.

    Example:
      convert(with_corrected_biases(model, images))
    """
    import keras

    normalized = _normalized(model)
    layers = [layer for layer in model.layers if _is_correctable(layer, normalized)]
    if not layers:
        return model
    means = _mean_inputs(model, layers, images)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer, mean in zip(layers, means):
        shift = _shift(layer, mean)
        if layer.use_bias:
            copy.get_layer(layer.name).bias.assign(layer.bias - shift)
        else:
            follower = copy.get_layer(normalized[id(layer.output)].name)
            follower.moving_mean.assign(follower.moving_mean + shift)
    return copy


def rounding_error(layer: keras.layers.Layer) -> np.ndarray:
    """What rounding to 8 bits adds to a kernel, one scale for each output channel."""
    kernel = np.asarray(layer.kernel)
    inner = (0, 1) if _is_depthwise(layer) else (0, 1, 2)
    scale = np.abs(kernel).max(axis=inner, keepdims=True) / _LEVELS
    scale[scale == 0] = 1.0
    return np.round(kernel / scale) * scale - kernel


def _is_correctable(
    layer: keras.layers.Layer, normalized: dict[int, keras.layers.Layer]
) -> bool:
    import keras

    if type(layer) not in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
        return False
    if not _is_used_once(layer) or layer.data_format != "channels_last":
        return False
    is_linear = layer.activation is keras.activations.linear
    return layer.use_bias or (is_linear and id(layer.output) in normalized)


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    import keras

    return isinstance(layer, keras.layers.DepthwiseConv2D)


def _normalized(model: keras.Model) -> dict[int, keras.layers.Layer]:
    """The batch normalization of each tensor that has one, by the tensor's id."""
    import keras

    return {
        id(layer.input): layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and _is_used_once(layer)
    }


def _is_used_once(layer: keras.layers.Layer) -> bool:
    # Keras has no public count; `layer.input` is that of the first use alone.
    return len(layer._inbound_nodes) == 1


def _mean_inputs(
    model: keras.Model, layers: Sequence[keras.layers.Layer], images: np.ndarray
) -> list[np.ndarray]:
    """Mean over the images of what each layer reads, each `(1, h, w, c)`."""
    import keras

    reader = keras.Model(model.inputs[0], [layer.input for layer in layers])
    sums: list[Any] = [0.0] * len(layers)
    for start in range(0, len(images), _BATCH):
        read = reader(images[start : start + _BATCH], training=False)
        read = read if isinstance(read, (list, tuple)) else [read]
        found = [keras.ops.sum(x, axis=0, keepdims=True) for x in read]
        sums = [total + one for total, one in zip(sums, found)]
    return [np.asarray(total) / len(images) for total in sums]


def _shift(layer: keras.layers.Layer, mean: np.ndarray) -> np.ndarray:
    """What the rounding adds to the mean of each output channel: a layer is linear."""
    from keras import ops

    run = ops.depthwise_conv if _is_depthwise(layer) else ops.conv
    shifted = run(
        mean,
        rounding_error(layer),
        strides=layer.strides,
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
    )
    return np.asarray(ops.mean(shifted, axis=(0, 1, 2)))
