"""The inverted bottleneck of mobile networks, with or without squeeze-and-excite."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space.types import State
from search_spaces.blocks.blocks import (
    MOBILENET,
    Style,
    activate,
    make_divisible,
    normalize_and_activate,
)


@dataclasses.dataclass(frozen=True)
class SqueezeExcite:
    """Squeeze-and-excite: weights channels by their means (arXiv 1709.01507).

    Example: `InvertedBottleneck(squeeze_excite=SqueezeExcite())` weights the inner
    channels of the block.

    Attributes:
      squeeze_input: Whether the number of inner channels is a quarter of the block's
        input channels, as in EfficientNet; else it is a quarter of the weighted
        channels, rounded to a multiple of 8, as in MobileNetV3.
      activation: The activation between the two convolutions.
      gate: The activation after the second convolution.
    """

    squeeze_input: bool = False
    activation: str = "relu"
    gate: str = "hard_sigmoid"

    def filters(self, block_input: int, channels: int) -> int:
        """Number of inner channels."""
        if self.squeeze_input:
            return max(1, block_input // 4)
        return make_divisible(channels / 4)

    def operators(self, state: State, filters: int, held: int) -> tuple[Operator, ...]:
        """The operators; `held` as in `costs.operators.conv`, without `state`."""
        kept = held + ops.elements(state)
        pool = ops.global_pool(state, held=held)
        reduce = ops.conv(pool.target, filters, bias=True, held=kept)
        expand = ops.conv(reduce.target, state.channels, bias=True, held=kept)
        return (
            pool,
            reduce,
            ops.activation(reduce.target, self.activation, held=kept),
            expand,
            ops.activation(expand.target, self.gate, held=kept),
            ops.scale_channels(state, held=held),
        )

    def build(
        self, x: Any, filters: int, style: Style, layers: ModuleType, name: str
    ) -> Any:
        """Adds it to a Keras graph."""
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
        for part, size, activation in (
            ("reduce", filters, self.activation),
            ("expand", x.shape[-1], self.gate),
        ):
            gate = layers.Conv2D(
                size,
                1,
                kernel_initializer=style.kernel_initializer,
                name=f"{name}_{part}",
            )(gate)
            gate = activate(gate, activation, layers, f"{name}_{part}_{activation}")
        return layers.Multiply(name=f"{name}_scale")([x, gate])


@dataclasses.dataclass(frozen=True)
class InvertedBottleneck:
    """Expand, depthwise convolution, squeeze-and-excite, project (arXiv 1801.04381).

    The input is added to the output where their shapes agree.

    Example:
      >>> from layernas_tf.space.types import State
      >>> block = InvertedBottleneck(filters=24, kernel=5, expansion=3, stride=2)
      >>> block.operators(State(16, 32, 32))[0]
      State(channels=24, height=16, width=16)

    Attributes:
      filters: Number of output channels; None keeps that of the input.
      kernel: Height and width of the depthwise kernel in pixels.
      expansion: Ratio of the inner channels to the input channels; the product is
        rounded to a multiple of 8. With 1 there is no expanding convolution.
      stride: Stride in pixels.
      activation: Activation after the expanding and the depthwise convolution.
      squeeze_excite: Applied to the inner channels, or None.
      drop_rate: Probability of leaving out the block in training, for blocks with a
        residual connection (stochastic depth, arXiv 1603.09382).
      style: See `Style`.
    """

    filters: int | None = None
    kernel: int = 3
    expansion: float = 6
    stride: int = 1
    activation: str = "relu6"
    squeeze_excite: SqueezeExcite | None = None
    drop_rate: float = 0.0
    style: Style = MOBILENET

    def _residual(self, channels: int) -> bool:
        return self.stride == 1 and self.filters in (None, channels)

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        shortcut = ops.elements(state) if self._residual(state.channels) else 0
        inner, listed = state, []
        if self.expansion != 1:
            listed.append(
                ops.conv(state, make_divisible(state.channels * self.expansion))
            )
            inner = listed[-1].target
            listed += [
                ops.batch_norm(inner),
                ops.activation(inner, self.activation, held=shortcut),
            ]
        # Without an expansion the depthwise convolution itself reads the shortcut.
        held = shortcut if self.expansion != 1 else 0
        listed.append(ops.depthwise_conv(inner, self.kernel, self.stride, held=held))
        inner = listed[-1].target
        listed += [
            ops.batch_norm(inner),
            ops.activation(inner, self.activation, held=shortcut),
        ]
        if self.squeeze_excite:
            squeezed = self.squeeze_excite.filters(state.channels, inner.channels)
            listed += self.squeeze_excite.operators(inner, squeezed, shortcut)
        filters = self.filters or state.channels
        listed.append(ops.conv(inner, filters, held=shortcut))
        after = listed[-1].target
        listed.append(ops.batch_norm(after))
        if shortcut:
            listed.append(ops.add(after))
        return after, tuple(listed)

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        shortcut, channels = x, x.shape[-1]
        initializer = self.style.kernel_initializer
        if self.expansion != 1:
            x = layers.Conv2D(
                make_divisible(channels * self.expansion),
                1,
                use_bias=False,
                kernel_initializer=initializer,
                name=f"{name}_expand_conv",
            )(x)
            x = normalize_and_activate(
                x, self.activation, self.style, layers, f"{name}_expand"
            )
        x = layers.DepthwiseConv2D(
            self.kernel,
            strides=self.stride,
            padding="same",
            use_bias=False,
            depthwise_initializer=initializer,
            name=f"{name}_depthwise_conv",
        )(x)
        x = normalize_and_activate(
            x, self.activation, self.style, layers, f"{name}_depthwise"
        )
        if self.squeeze_excite:
            squeezed = self.squeeze_excite.filters(channels, x.shape[-1])
            x = self.squeeze_excite.build(x, squeezed, self.style, layers, f"{name}_se")
        x = layers.Conv2D(
            self.filters or channels,
            1,
            use_bias=False,
            kernel_initializer=initializer,
            name=f"{name}_project_conv",
        )(x)
        x = normalize_and_activate(x, "linear", self.style, layers, f"{name}_project")
        if not self._residual(channels):
            return x
        if self.drop_rate > 0:
            x = layers.Dropout(
                self.drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop"
            )(x)
        return layers.Add(name=f"{name}_add")([x, shortcut])
