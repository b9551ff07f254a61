"""Convolutions of small images, whose gradients TensorFlow computes slowly on a CPU.

Two kinds make up half of the training of `mobilenet_v3_small` at 32 pixels:

- The head of a MobileNet and its squeeze-and-excite blocks convolve images of one
  pixel. The gradient of such a convolution takes up to 35 times as long as that of the
  matrix product that it is.
- The gradient of a large depthwise kernel takes up to nine times as long as the
  products of all pixels before the convolution with all pixels after it, which are one
  matrix product per channel, summed by the weight that connects two pixels.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_MOST_PIXELS = 64
"""Of the input, above which TensorFlow's gradient of a depthwise kernel is faster."""

_LARGE_KERNEL = 5
"""Below this width TensorFlow's gradient is faster, but for images of `_FEW_PIXELS`."""

_FEW_PIXELS = 4


def quicken(layer: keras.layers.Layer) -> bool:
    """Lets a convolution use the quicker computation where its images are small.

    The layer's configuration and weights stay as they are, and so do its outputs and
    gradients up to rounding.

    Args:
      layer: Any layer; others than pointwise and depthwise convolutions are left alone.

    Returns:
      Whether the layer was one.
    """
    import keras

    if getattr(layer, "data_format", None) != "channels_last":
        return False
    if type(layer) is keras.layers.Conv2D:
        if tuple(layer.kernel_size) != (1, 1) or layer.groups != 1:
            return False
        layer.convolution_op = functools.partial(_multiply, layer.convolution_op)
        return True
    if type(layer) is keras.layers.DepthwiseConv2D:
        plain = (layer.depth_multiplier, tuple(layer.dilation_rate)) == (1, (1, 1))
        if plain and layer.padding == "same" and _on_cpu():
            layer.call = functools.partial(_depthwise, layer, layer.call)
            return True
    return False


@contextlib.contextmanager
def quick_convolutions(model: keras.Model) -> Iterator[None]:
    """In the body, functions are traced with `quicken` in all layers."""
    changed = [layer for layer in model._flatten_layers() if quicken(layer)]
    try:
        yield
    finally:
        for layer in changed:
            for name in {"call", "convolution_op"} & vars(layer).keys():
                delattr(layer, name)


def _on_cpu() -> bool:
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return {device.device_type for device in tf.config.list_logical_devices()} == {
        "CPU"
    }


def _multiply(convolve: Any, inputs: Any, kernel: Any) -> Any:
    from keras import ops

    if tuple(inputs.shape[1:3]) != (1, 1):
        return convolve(inputs, kernel)
    channels, filters = kernel.shape[2:]
    flat = ops.reshape(inputs, (-1, channels))
    product = ops.matmul(flat, ops.reshape(kernel, (channels, filters)))
    return ops.reshape(product, (-1, 1, 1, filters))


def _depthwise(
    layer: keras.layers.DepthwiseConv2D, call: Any, inputs: tf.Tensor
) -> tf.Tensor:
    import tensorflow as tf

    height, width = inputs.shape[1:3]
    pixels = (height or _MOST_PIXELS) * (width or _MOST_PIXELS)
    small = pixels <= _MOST_PIXELS and min(layer.kernel_size) >= _LARGE_KERNEL
    if not small and pixels > _FEW_PIXELS:
        return call(inputs)
    kernel = tf.convert_to_tensor(layer.kernel)
    outputs = _convolve_depthwise(inputs, tf.cast(kernel, inputs.dtype), layer.strides)
    if layer.use_bias:
        outputs += tf.cast(tf.convert_to_tensor(layer.bias), inputs.dtype)
    return layer.activation(outputs) if layer.activation else outputs


def _convolve_depthwise(
    inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]
) -> tf.Tensor:
    import tensorflow as tf

    steps = [1, *strides, 1]

    @tf.custom_gradient
    def convolve(x: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            to_inputs = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(x),
                filter=weights,
                out_backprop=upstream,
                strides=steps,
                padding="SAME",
            )
            return to_inputs, _kernel_gradient(x, upstream, weights.shape, strides)

        return tf.nn.depthwise_conv2d(x, weights, steps, "SAME"), gradient

    return convolve(inputs, kernel)


def _kernel_gradient(
    inputs: tf.Tensor, upstream: tf.Tensor, shape: Any, strides: tuple[int, int]
) -> tf.Tensor:
    """Gradient by a depthwise kernel of this shape: `(rows, columns, channels, 1)`."""
    import tensorflow as tf

    size, sides = tuple(shape[:2]), tuple(inputs.shape[1:3])
    before, after = np.prod(sides), np.prod(upstream.shape[1:3])
    channels = shape[2]
    x = tf.transpose(tf.reshape(inputs, (-1, before, channels)), (2, 1, 0))
    y = tf.transpose(tf.reshape(upstream, (-1, after, channels)), (2, 0, 1))
    products = tf.reshape(tf.matmul(x, y), (channels, before * after))
    connections = _connections(sides, size, strides)
    summed = tf.matmul(products, tf.constant(connections, inputs.dtype))
    return tf.reshape(tf.transpose(summed), shape)


@functools.cache
def _connections(
    sides: tuple[int, int], size: tuple[int, int], strides: tuple[int, int]
) -> np.ndarray:
    """Which weight connects a pixel before with one after: 0 or 1.

    The shape is `(pixels before * pixels after, weights)`; padding is TensorFlow's
    "same".
    """
    axes = []
    for side, width, stride in zip(sides, size, strides):
        count = -(-side // stride)
        padded = max((count - 1) * stride + width - side, 0)
        first = np.arange(count) * stride - padded // 2
        weight = np.arange(side)[:, None] - first[None, :]
        axes.append(weight[..., None] == np.arange(width))
    rows, columns = axes
    joined = np.einsum("api,bqj->abpqij", rows, columns)
    return joined.reshape(-1, size[0] * size[1]).astype(np.float32)
