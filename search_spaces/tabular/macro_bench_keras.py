"""The Keras networks of NAS-Bench-Macro and Channel-Bench-Macro.

Each takes float32 images in [0, 255] and returns probabilities. `keras` is the module
itself or one with the same interface, such as `tf_keras`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from layernas_tf.space.types import State

_BATCH_NORM = {"epsilon": 1e-5, "momentum": 0.9}  # PyTorch's defaults


def nas_bench_macro_network(
    keras: ModuleType,
    operations: Sequence[tuple[int, int]],
    strides: Sequence[int],
    stem: int,
    head: int,
    image: State,
    classes: int,
) -> Any:
    """NAS-Bench-Macro's network, whose channels double with each stride.

    Args:
      keras: `keras`, or a module with the same interface.
      operations: Expansion ratio (0 for an identity) and kernel of each layer.
      strides: Stride of each layer.
      stem: Channels of the first convolution.
      head: Channels of the last convolution.
      image: Channels, height and width of the images.
      classes: Number of classes.
    """
    layers = keras.layers
    images, x = _images(layers, image)
    x = _convolve(layers, x, stem, 3, 1, "stem")
    for index, ((expansion, kernel), stride) in enumerate(zip(operations, strides)):
        channels, name = x.shape[-1], f"layer{index}"
        if expansion:
            hidden = channels * expansion
            x = _bottleneck(layers, x, hidden, channels * stride, kernel, stride, name)
        elif stride > 1:
            x = _convolve(layers, x, channels * stride, 1, stride, name, relu=False)
    x = _convolve(layers, x, head, 1, 1, "head")
    return _classifier(keras, images, x, classes, "nas_bench_macro")


def channel_mobilenet_network(
    keras: ModuleType, widths: Sequence[int], image: State, classes: int
) -> Any:
    """Channel-Bench-Macro's MobileNet of seven widths."""
    stem, hidden1, hidden2, hidden3, out, hidden4, head = widths
    layers = keras.layers
    images, x = _images(layers, image)
    x = _convolve(layers, x, stem, 3, 2, "stem")
    x = _bottleneck(layers, x, hidden1, stem, 3, 1, "block1")
    x = _bottleneck(layers, x, hidden2, stem, 3, 1, "block2")
    x = _bottleneck(layers, x, hidden3, out, 3, 2, "block3")
    x = _bottleneck(layers, x, hidden4, out, 3, 1, "block4")
    x = _convolve(layers, x, head, 1, 1, "head")
    return _classifier(keras, images, x, classes, "channel_bench_macro_mobilenet")


def channel_resnet_network(
    keras: ModuleType, widths: Sequence[int], image: State, classes: int
) -> Any:
    """Channel-Bench-Macro's ResNet of seven widths."""
    stem, hidden1, hidden2, hidden3, out, hidden4, hidden5 = widths
    layers = keras.layers
    images, x = _images(layers, image)
    x = _convolve(layers, x, stem, 3, 2, "stem")
    x = _basic_block(layers, x, hidden1, stem, 1, "block1")
    x = _basic_block(layers, x, hidden2, stem, 1, "block2")
    x = _basic_block(layers, x, hidden3, out, 2, "block3")
    x = _basic_block(layers, x, hidden4, out, 1, "block4")
    x = _basic_block(layers, x, hidden5, out, 1, "block5")
    return _classifier(keras, images, x, classes, "channel_bench_macro_resnet")


def _images(layers: Any, image: State) -> tuple[Any, Any]:
    images = layers.Input((image.height, image.width, image.channels), name="images")
    return images, layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(images)


def _convolve(
    layers: Any,
    x: Any,
    filters: int | None,
    kernel: int,
    stride: int,
    name: str,
    relu: bool = True,
) -> Any:
    """Convolution and batch normalization; depthwise where `filters` is None."""
    padding = "same"
    if stride > 1:
        # The published networks pad both sides alike; "same" would pad one.
        padding = "valid"
        if kernel > 1:
            x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    common = {"strides": stride, "padding": padding, "use_bias": False}
    if filters is None:
        x = layers.DepthwiseConv2D(kernel, **common, name=f"{name}_conv")(x)
    else:
        x = layers.Conv2D(filters, kernel, **common, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(**_BATCH_NORM, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _bottleneck(
    layers: Any, x: Any, hidden: int, filters: int, kernel: int, stride: int, name: str
) -> Any:
    y = _convolve(layers, x, hidden, 1, 1, f"{name}_expand")
    y = _convolve(layers, y, None, kernel, stride, f"{name}_depthwise")
    y = _convolve(layers, y, filters, 1, 1, f"{name}_project", relu=False)
    if stride == 1 and x.shape[-1] == filters:
        y = layers.Add(name=f"{name}_add")([y, x])
    return y


def _basic_block(
    layers: Any, x: Any, hidden: int, filters: int, stride: int, name: str
) -> Any:
    y = _convolve(layers, x, hidden, 3, stride, f"{name}_a")
    y = _convolve(layers, y, filters, 3, 1, f"{name}_b", relu=False)
    if stride == 1:
        y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(y)


def _classifier(keras: ModuleType, images: Any, x: Any, classes: int, name: str) -> Any:
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(classes, name="logits")(x)
    # In float32 whatever the precision policy: a softmax loses small probabilities.
    x = keras.layers.Activation("softmax", dtype="float32", name="predictions")(x)
    return keras.Model(images, x, name=name)
