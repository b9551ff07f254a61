"""How each tensor of a network is rounded to 8 bits while it trains.

Quantizers and configurations for tensorflow-model-optimization's `QuantizeWrapperV2`,
after the TFLite 8-bit quantization specification: weights int8, symmetric, with a step
for every output channel of a convolution (one for all of a dense layer, whose kernel
the converter transposes); activations int8 with one step and zero point for the tensor.
The library's own registry rounds depthwise kernels with one step for all channels, does
not know hard-swish, and starts every range at [-6, 6]; hence these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_model_optimization.quantization.keras import QuantizeConfig
from tensorflow_model_optimization.quantization.keras.quantizers import Quantizer

_SLOWEST_AVERAGE = 0.01
"""The least weight of the newest batch in the running mean of a range."""

_SMALLEST_RANGE = 1e-3
"""The least width of an activation's range: a dead one must not divide by zero."""

_NARROWEST_CHANNEL = 2.0**-12
"""The least range of a channel's weights as a share of the widest channel's.

A channel of almost nothing but zeros would get such a fine step that its bias, counted
in steps of weight times activation, overflows 32 bits.
"""


class KernelQuantizer(Quantizer):
    """Rounds a kernel, with the present ranges of its channels.

    Example: `KernelQuantizer(channel_axes=1)` rounds the kernel of a convolution.

    Attributes:
      channel_axes: How many of the last axes count output channels: 1 in a convolution,
        2 in a depthwise one (input, multiplier), or 0 for one range for all.
    """

    def __init__(self, channel_axes: int):
        self.channel_axes = channel_axes

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def __call__(
        self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> Any:
        shape = inputs.shape
        # No gradient: the range follows the weights, and not the other way round.
        size = tf.stop_gradient(tf.abs(inputs))
        widest = tf.maximum(tf.reduce_max(size), 1e-8)
        if self.channel_axes == 0:
            return tf.quantization.fake_quant_with_min_max_vars(
                inputs, -widest, widest, narrow_range=True
            )
        split = len(shape) - self.channel_axes
        limit = tf.reshape(tf.reduce_max(size, axis=list(range(split))), [-1])
        limit = tf.maximum(limit, widest * _NARROWEST_CHANNEL)
        flat = tf.reshape(inputs, (*shape[:split], limit.shape[0]))
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            flat, -limit, limit, narrow_range=True
        )
        return tf.reshape(rounded, shape)

    def get_config(self) -> dict[str, Any]:
        return {"channel_axes": self.channel_axes}


class ActivationQuantizer(Quantizer):
    """Rounds a tensor, with the running mean of its batches' ranges.

    The first batch sets the range, so that a few hundred steps are enough; 0 is always
    inside it, as TFLite requires.

    Example: `Rounded("kernel", ActivationQuantizer())` rounds a kernel and the output.
    """

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        def variable(suffix: str, value: float) -> Any:
            return layer.add_weight(
                f"{name}_{suffix}",
                initializer=tf.constant_initializer(value),
                trainable=False,
            )

        return {
            "low": variable("low", 0.0),
            "high": variable("high", 0.0),
            "batches": variable("batches", 0.0),
        }

    def __call__(
        self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> Any:
        low, high, batches = (weights[key] for key in ("low", "high", "batches"))
        if not training:
            return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high)
        batches.assign_add(1.0)
        share = tf.maximum(1.0 / batches, _SLOWEST_AVERAGE)
        lowest = tf.minimum(tf.reduce_min(inputs), 0.0)
        highest = tf.maximum(tf.reduce_max(inputs), lowest + _SMALLEST_RANGE)
        return tf.quantization.fake_quant_with_min_max_vars(
            inputs,
            low.assign(low + share * (lowest - low)),
            high.assign(high + share * (tf.maximum(highest, 0.0) - high)),
        )

    def get_config(self) -> dict[str, Any]:
        return {}


class FixedQuantizer(Quantizer):
    """Rounds a tensor whose range is known.

    Example: `FixedQuantizer(0.0, 255.0)` rounds raw pixels.

    Attributes:
      low: Value of the lowest step, 0 or less.
      high: Value of the highest step.
    """

    def __init__(self, low: float, high: float):
        self.low = low
        self.high = high

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def __call__(
        self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> Any:
        return tf.quantization.fake_quant_with_min_max_args(
            inputs, min=self.low, max=self.high
        )

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


PIXELS = FixedQuantizer(0.0, 255.0)
"""Raw pixels: a step is one pixel value."""

SIGMOID = FixedQuantizer(0.0, 255 / 256)
"""The one output range of TFLite's int8 LOGISTIC."""

HARD_SIGMOID = FixedQuantizer(0.0, 1.0)

RELU6 = FixedQuantizer(0.0, 6.0)


CHANNEL_AXES = {"Conv2D": 1, "DepthwiseConv2D": 2, "Dense": 0}
"""`KernelQuantizer.channel_axes` by type of layer."""


class Rounded(QuantizeConfig):
    """Which tensors of a layer are rounded.

    Example: `Rounded("depthwise_kernel", RELU6)` for a convolution with ReLU6.

    Attributes:
      kernel: Name of the layer's kernel, empty if it has none.
      output: Quantizer of the output, or None if the next layer is fused to this one
        or hands on its input.
    """

    def __init__(self, kernel: str = "", output: Quantizer | None = None):
        self.kernel = kernel
        self.output = output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Quantizer]]:
        if not self.kernel:
            return []
        quantizer = KernelQuantizer(CHANNEL_AXES[type(layer).__name__])
        return [(getattr(layer, self.kernel), quantizer)]

    def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[Any]) -> None:
        for weight in quantize_weights:
            setattr(layer, self.kernel, weight)

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        return []

    def set_quantize_activations(
        self, layer: Any, quantize_activations: Sequence[Any]
    ) -> None:
        return None

    def get_output_quantizers(self, layer: Any) -> list[Quantizer]:
        return [] if self.output is None else [self.output]

    def get_config(self) -> dict[str, Any]:
        return {"kernel": self.kernel, "output": self.output}
