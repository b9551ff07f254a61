"""First and last blocks of mobile networks: stems and classification heads."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space.types import State
from search_spaces.blocks.blocks import (
    MOBILENET,
    Block,
    ConvBlock,
    Rescale,
    Style,
    activate,
    make_divisible,
)


@dataclasses.dataclass(frozen=True)
class Stem:
    """The first block: pixels in [0, 255] to the first feature map.

    Example: `Stem(Rescale(), ConvBlock(16, 3, stride=2))`.

    Attributes:
      rescale: Scales the pixels, in a Keras layer named `rescale`.
      convolution: The convolution after that.
    """

    rescale: Rescale
    convolution: ConvBlock

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        return _chain((self.rescale, self.convolution), state)

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        return self.convolution.build(
            self.rescale.build(x, layers, "rescale"), layers, name
        )


@dataclasses.dataclass(frozen=True)
class ConvHead:
    """The head of MobileNetV2 and EfficientNet.

    A 1x1 convolution, global average pooling, dropout and the classifier.

    Example: `ConvHead(ConvBlock(1280), classes=10)`.

    Attributes:
      convolution: The 1x1 convolution.
      classes: Number of classes.
      dropout: Dropout rate before the classifier.
      initializer: Initializer of the classifier's kernel.
    """

    convolution: ConvBlock
    classes: int
    dropout: float = 0.2
    initializer: str = "glorot_uniform"

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        after, listed = self.convolution.operators(state)
        pool = ops.global_pool(after)
        classifier = ops.dense(pool.target, self.classes)
        after = classifier.target
        return after, (*listed, pool, classifier, ops.softmax(after))

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        x = self.convolution.build(x, layers, name)
        x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
        x = _dropout(x, self.dropout, layers, name)
        x = layers.Dense(
            self.classes,
            kernel_initializer=_DENSE_INITIALIZERS.get(
                self.initializer, self.initializer
            ),
            name=f"{name}_logits",
        )(x)
        return _probabilities(x, layers)


@dataclasses.dataclass(frozen=True)
class MobileNetV3Head:
    """The shortened head of MobileNetV3 (arXiv 1905.02244, section 5.1).

    Global average pooling comes before the widest 1x1 convolution, which therefore runs
    on a single pixel.

    Example: `MobileNetV3Head(filters=1024, classes=10)`.

    Attributes:
      filters: Output channels of the convolution after the pooling.
      classes: Number of classes.
      dropout: Dropout rate before the classifier.
      activation: Activation after both convolutions.
      style: See `blocks.Style`.
    """

    filters: int
    classes: int
    dropout: float = 0.2
    activation: str = "hard_swish"
    style: Style = MOBILENET

    def _convolution(self, channels: int) -> ConvBlock:
        return ConvBlock(
            make_divisible(6 * channels), activation=self.activation, style=self.style
        )

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        after, listed = self._convolution(state.channels).operators(state)
        pool = ops.global_pool(after)
        widest = ops.conv(pool.target, self.filters, bias=True)
        classifier = ops.conv(widest.target, self.classes, bias=True)
        after = classifier.target
        return after, (
            *listed,
            pool,
            widest,
            ops.activation(widest.target, self.activation),
            classifier,
            ops.global_pool(after),
            ops.softmax(after),
        )

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        x = self._convolution(x.shape[-1]).build(x, layers, name)
        x = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
        x = layers.Conv2D(self.filters, 1, name=f"{name}_widest")(x)
        x = activate(x, self.activation, layers, f"{name}_widest_{self.activation}")
        x = _dropout(x, self.dropout, layers, name)
        x = layers.Conv2D(self.classes, 1, name=f"{name}_logits")(x)
        # The mean over a single pixel. A flattening layer would compute its shape at
        # run time, and TFLite's delegates refuse tensors of unknown size.
        x = layers.GlobalAveragePooling2D(name=f"{name}_flatten")(x)
        return _probabilities(x, layers)


_DENSE_INITIALIZERS = {
    "fan_out_uniform": {
        "class_name": "VarianceScaling",
        "config": {"scale": 1 / 3, "mode": "fan_out", "distribution": "uniform"},
    }
}


def _chain(
    blocks: tuple[Block, ...], state: State
) -> tuple[State, tuple[Operator, ...]]:
    listed: tuple[Operator, ...] = ()
    for block in blocks:
        state, operators = block.operators(state)
        listed += operators
    return state, listed


def _dropout(x: Any, rate: float, layers: ModuleType, name: str) -> Any:
    return layers.Dropout(rate, name=f"{name}_dropout")(x) if rate > 0 else x


def _probabilities(x: Any, layers: ModuleType) -> Any:
    # Always float32: in lower precision, a softmax loses small probabilities.
    return layers.Activation("softmax", dtype="float32", name="predictions")(x)
