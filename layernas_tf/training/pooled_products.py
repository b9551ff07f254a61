"""Convolutions of pooled features, computed as matrix products.

The head of a MobileNet and its squeeze-and-excite blocks convolve images of one pixel.
On a CPU, TensorFlow's gradient of such a convolution takes up to 35 times as long as
that of the matrix product that it is: half of the training of `mobilenet_v3_small` at
32 pixels.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def multiply_pooled(layer: keras.layers.Layer) -> bool:
    """Lets a pointwise convolution multiply matrices where its image is one pixel.

    The layer's configuration and weights stay as they are. `del layer.convolution_op`
    undoes it.

    Args:
      layer: Any layer; others than pointwise convolutions are left alone.

    Returns:
      Whether the layer was one.
    """
    import keras

    pointwise = (
        type(layer) is keras.layers.Conv2D
        and tuple(layer.kernel_size) == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )
    if pointwise:
        convolve = layer.convolution_op
        layer.convolution_op = functools.partial(_multiply, convolve)
    return pointwise


@contextlib.contextmanager
def pooled_products(model: keras.Model) -> Iterator[None]:
    """In the body, functions are traced with `multiply_pooled` in all layers."""
    changed = [layer for layer in model._flatten_layers() if multiply_pooled(layer)]
    try:
        yield
    finally:
        for layer in changed:
            del layer.convolution_op


def _multiply(convolve: Any, inputs: Any, kernel: Any) -> Any:
    from keras import ops

    if tuple(inputs.shape[1:3]) != (1, 1):
        return convolve(inputs, kernel)
    channels, filters = kernel.shape[2:]
    flat = ops.reshape(inputs, (-1, channels))
    product = ops.matmul(flat, ops.reshape(kernel, (channels, filters)))
    return ops.reshape(product, (-1, 1, 1, filters))
