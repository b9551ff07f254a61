"""Blocks of mobile networks: their operators, costs and Keras layers.

A block is an immutable description. `operators(state)` lists the operators that it runs
on a tensor of that shape, which determine its costs. `build(x, layers, name)` adds the
same operators to a Keras graph; `layers` is the module `keras.layers` or
`tf_keras.layers`.

Convolutions of stride 2 use the padding "same". `keras.applications` adds explicit
padding and uses "valid" instead; both add the same zeros for every image size.
"""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any, Protocol

from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space.types import State


class Block(Protocol):
    """The interface of a block, which an option of a layer stands for.

    Example: `ConvBlock(filters=16, kernel=3, stride=2)` is a block.
    """

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        """Returns the outgoing state, and the operators in the order of execution."""

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        """Adds the block to a Keras graph; its layers' names start with `name`."""


def make_divisible(value: float, divisor: int = 8) -> int:
    """Rounds a number of channels to a multiple, never down by more than 10 %.

    The rule of the MobileNet papers' reference code.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclasses.dataclass(frozen=True)
class Style:
    """Details of training that a network's authors chose for all its blocks.

    Example: `Style(momentum=0.99, initializer="fan_out_normal")`.

    Attributes:
      momentum: Momentum of the moving averages of batch normalization.
      initializer: Initializer of kernels: `glorot_uniform` or `fan_out_normal`, that
        of EfficientNet.
    """

    momentum: float = 0.999
    initializer: str = "glorot_uniform"

    @property
    def kernel_initializer(self) -> str | dict[str, Any]:
        """The initializer in the form that Keras layers accept."""
        if self.initializer == "fan_out_normal":
            return {
                "class_name": "VarianceScaling",
                "config": {
                    "scale": 2.0,
                    "mode": "fan_out",
                    "distribution": "truncated_normal",
                },
            }
        return self.initializer


MOBILENET = Style()


@dataclasses.dataclass(frozen=True)
class Identity:
    """A dropped block, which computes nothing.

    Example:
      >>> Identity().operators(State(16, 8, 8))
      (State(channels=16, height=8, width=8), ())
    """

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        return state, ()

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        return x


@dataclasses.dataclass(frozen=True)
class Rescale:
    """Scales pixels from [0, 255] to the range that a network was designed for.

    Example: `Rescale(1 / 127.5, -1)` maps pixels to [-1, 1].

    Attributes:
      scale: The factor: one number, or one for each channel.
      offset: What is added to the product: one number, or one for each channel.
    """

    scale: float | tuple[float, ...] = 1 / 127.5
    offset: float | tuple[float, ...] = -1.0

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        return state, (ops.rescale(state),)

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        scale, offset = (
            list(value) if isinstance(value, tuple) else value
            for value in (self.scale, self.offset)
        )
        return layers.Rescaling(scale, offset, name=name)(x)


@dataclasses.dataclass(frozen=True)
class ConvBlock:
    """Convolution, batch normalization, activation.

    Example:
      >>> from layernas_tf.space.types import State
      >>> state, operators = ConvBlock(filters=16, kernel=3, stride=2).operators(
      ...     State(3, 32, 32)
      ... )
      >>> state
      State(channels=16, height=16, width=16)

    Attributes:
      filters: Number of output channels.
      kernel: Height and width of the kernel in pixels.
      stride: Stride in pixels.
      activation: `relu`, `relu6`, `swish`, `hard_swish`, ... or `linear`.
      style: See `Style`.
    """

    filters: int
    kernel: int = 1
    stride: int = 1
    activation: str = "relu6"
    style: Style = MOBILENET

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        convolution = ops.conv(state, self.filters, self.kernel, self.stride)
        after = convolution.target
        return after, (
            convolution,
            ops.batch_norm(after),
            ops.activation(after, self.activation),
        )

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        x = layers.Conv2D(
            self.filters,
            self.kernel,
            strides=self.stride,
            padding="same",
            use_bias=False,
            kernel_initializer=self.style.kernel_initializer,
            name=f"{name}_conv",
        )(x)
        return normalize_and_activate(x, self.activation, self.style, layers, name)


def activate(x: Any, activation: str, layers: ModuleType, name: str) -> Any:
    """Adds an activation by its name to a Keras graph; `linear` adds nothing."""
    if activation == "linear":
        return x
    if activation in ("relu", "relu6"):
        return layers.ReLU(6.0 if activation == "relu6" else None, name=name)(x)
    return layers.Activation(activation, name=name)(x)


def normalize_and_activate(
    x: Any, activation: str, style: Style, layers: ModuleType, name: str
) -> Any:
    """Adds batch normalization and an activation to a Keras graph."""
    x = layers.BatchNormalization(
        momentum=style.momentum, epsilon=1e-3, name=f"{name}_bn"
    )(x)
    return activate(x, activation, layers, f"{name}_{activation}")
