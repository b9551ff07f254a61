"""Rebuilds a tf_keras network for training with the rounding to 8 bits.

The rebuilt network is the one that TFLite will run: batch normalization is folded into
the convolution before it (or becomes a 1x1 depthwise convolution where there is none),
as is the rescaling of pixels; an activation that TFLite fuses is not rounded apart from
what it is fused to; hard-sigmoid, hard-swish and swish are the steps of TFLite's
kernels. Without the rounding it computes the same function as the given network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from export.quantization import quantize_configs as configs
from export.quantization.rounded_activations import (
    FUSED_TO_CONVOLUTIONS,
    FUSED_TO_SUMS,
    activation_name,
    hard_swish,
    rounded_six_hard_sigmoid,
    six_hard_sigmoid,
    sixth,
)
from layernas_tf.core.errors import UserError

_WEIGHTED = {
    tf_keras.layers.Conv2D: "kernel",
    tf_keras.layers.DepthwiseConv2D: "depthwise_kernel",
    tf_keras.layers.Dense: "kernel",
}
"""Name of the kernel, by type of layer."""

_HANDED_ON = (
    "AveragePooling2D",
    "Dropout",
    "Flatten",
    "MaxPooling2D",
    "Reshape",
    "SpatialDropout2D",
    "ZeroPadding2D",
)
"""Layers whose int8 kernels keep the step and zero point of their input."""


def quantized_network(model: Any, *, rounding: bool = True) -> Any:
    """Rebuilds a tf_keras image classifier for quantization-aware training.

    Args:
      model: A functional model without shared layers, from float32 pixels in [0, 255].
      rounding: Whether to round at all; False gives the folded network in float32.

    Returns:
      A tf_keras model with the weights of `model`. If rounding, it also has a running
      range for every activation, which data in training mode have yet to set.

    Raises:
      UserError: If the model has a layer or an activation that is not known here.
    """
    return _Rebuilder(model, rounding).rebuild()


class _Rebuilder:
    """Rebuilds one model, tensor by tensor."""

    def __init__(self, model: Any, rounding: bool):
        self._model = model
        self._rounding = rounding
        self._made: dict[int, Any] = {}
        self._folded: set[str] = set()
        self._unrounded: set[int] = set()
        self._consumers: dict[int, list[Any]] = {}
        for layer in model.layers:
            if len(layer._inbound_nodes) > 1:
                raise UserError(
                    f"quantization-aware training: layer {layer.name!r} is used more "
                    "than once, expected a network without shared layers"
                )
            if not isinstance(layer, tf_keras.layers.InputLayer):
                for tensor in tf.nest.flatten(layer.input):
                    self._consumers.setdefault(id(tensor), []).append(layer)

    def rebuild(self) -> Any:
        image = tf_keras.Input(self._model.inputs[0].shape[1:], name="images")
        pixels = tf_keras.layers.Activation("linear", name="pixels")
        self._made[id(self._model.inputs[0])] = self._add(pixels, configs.PIXELS)(image)
        for layer in self._model.layers:
            if layer.name in self._folded or isinstance(
                layer, tf_keras.layers.InputLayer
            ):
                continue
            self._made[id(layer.output)] = self._rebuilt(layer)
        output = self._made[id(self._model.outputs[0])]
        return tf_keras.Model(image, output, name=self._model.name)

    def _rebuilt(self, layer: Any) -> Any:
        inputs = [self._made[id(tensor)] for tensor in tf.nest.flatten(layer.input)]
        kind = type(layer).__name__
        if type(layer) in _WEIGHTED:
            return self._weighted(layer, inputs[0])
        if kind == "BatchNormalization":
            return self._affine(layer, inputs[0], *_scale_and_offset(layer))
        if kind == "Rescaling":
            channels = inputs[0].shape[-1]
            scale = np.broadcast_to(np.float32(layer.scale), channels)
            offset = np.broadcast_to(np.float32(layer.offset), channels)
            return self._affine(layer, inputs[0], scale, offset)
        if kind in ("Add", "Multiply"):
            return self._pairwise(layer, inputs)
        if kind in ("Activation", "ReLU", "Softmax"):
            fused = id(layer.input) in self._unrounded
            return self._activated(inputs[0], activation_name(layer), layer.name, fused)
        if kind == "GlobalAveragePooling2D":
            return self._add(_copy(layer), configs.ActivationQuantizer())(inputs[0])
        if kind == "Concatenate":
            return self._add(_copy(layer), configs.ActivationQuantizer())(inputs)
        if kind in _HANDED_ON:
            return _copy(layer)(inputs[0])
        raise UserError(
            f"quantization-aware training does not know layer {layer.name!r} of type "
            f"{kind}: expected Conv2D, DepthwiseConv2D, Dense, BatchNormalization, "
            "ReLU, Activation, Softmax, Add, Multiply, Concatenate, "
            f"GlobalAveragePooling2D, Rescaling, {', '.join(_HANDED_ON)}"
        )

    def _add(
        self, layer: Any, output: configs.Quantizer | None, kernel: str = ""
    ) -> Callable[[Any], Any]:
        if not self._rounding or not (kernel or output):
            return layer
        return tfmot.quantization.keras.QuantizeWrapperV2(
            layer, configs.Rounded(kernel, output)
        )

    def _next(self, tensor: Any) -> Any:
        """The only layer that reads a tensor of the given model; None with several."""
        consumers = self._consumers.get(id(tensor), [])
        return consumers[0] if len(consumers) == 1 else None

    def _output(
        self, tensor: Any, fused: tuple[str, ...] = FUSED_TO_CONVOLUTIONS
    ) -> configs.Quantizer | None:
        """How the values of a tensor of the given model are rounded."""
        reader = self._next(tensor)
        if type(reader).__name__ in ("Activation", "ReLU"):
            if activation_name(reader) in fused:
                self._unrounded.add(id(tensor))
                return None
        return configs.ActivationQuantizer()

    def _weighted(self, layer: Any, x: Any) -> Any:
        weights = layer.get_weights()
        kernel, bias = weights[0], weights[1] if len(weights) > 1 else None
        if bias is None:
            depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
            shape = kernel.shape[2:] if depthwise else kernel.shape[-1:]
            bias = np.zeros(int(np.prod(shape)), np.float32)
        activation, end = activation_name(layer), layer.output
        following = self._next(end)
        if type(following).__name__ == "BatchNormalization" and activation == "linear":
            scale, offset = _scale_and_offset(following)
            bias = bias * scale + offset
            # A depthwise kernel ends with (channels, multiplier), not (filters,).
            if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
                scale = scale.reshape(kernel.shape[2:])
            kernel = kernel * scale
            end = following.output
            self._folded.add(following.name)
        copy = type(layer).from_config(
            layer.get_config() | {"use_bias": True, "activation": "linear"}
        )
        output = self._output(end)
        if activation != "linear":
            fused = activation in FUSED_TO_CONVOLUTIONS
            output = None if fused else configs.ActivationQuantizer()
        x = self._with_weights(copy, x, kernel, bias, output)
        x = self._activated(x, activation, f"{layer.name}_{activation}", fused=True)
        self._made[id(end)] = x
        return x

    def _with_weights(
        self,
        layer: Any,
        x: Any,
        kernel: np.ndarray,
        bias: np.ndarray,
        output: configs.Quantizer | None,
    ) -> Any:
        layer.build(x.shape)
        layer.set_weights([kernel, _uneven(bias)])
        return self._add(layer, output, _WEIGHTED[type(layer)])(x)

    def _affine(self, layer: Any, x: Any, scale: np.ndarray, offset: np.ndarray) -> Any:
        if len(x.shape) != 4:
            raise UserError(
                f"quantization-aware training: layer {layer.name!r} of type "
                f"{type(layer).__name__} must follow a convolution or read images, "
                f"got an input of shape {tuple(x.shape)}"
            )
        depthwise = tf_keras.layers.DepthwiseConv2D(1, name=layer.name)
        kernel = np.reshape(scale, (1, 1, -1, 1))
        output = self._output(layer.output)
        return self._with_weights(depthwise, x, kernel, offset, output)

    def _pairwise(self, layer: Any, inputs: list[Any]) -> Any:
        x = inputs[0]
        for number, other in enumerate(inputs[1:], 1):
            last = number == len(inputs) - 1
            name = layer.name if last else f"{layer.name}_{number}"
            output: configs.Quantizer | None = configs.ActivationQuantizer()
            if last and type(layer).__name__ == "Add":
                output = self._output(layer.output, FUSED_TO_SUMS)
            x = self._add(type(layer)(name=name), output)([x, other])
        return x

    def _activated(self, x: Any, activation: str, name: str, fused: bool) -> Any:
        def step(
            function: Callable[[Any], Any],
            output: configs.Quantizer | None,
            suffix: str = "",
        ) -> Any:
            layer = tf_keras.layers.Activation(function, name=f"{name}{suffix}")
            return self._add(layer, output)

        if activation == "linear":
            return x
        if activation == "softmax":
            return step(tf.nn.softmax, None)(x)
        if activation == "relu":
            return step(tf.nn.relu, configs.ActivationQuantizer())(x)
        if activation == "relu6":
            return step(tf.nn.relu6, configs.ActivationQuantizer())(x)
        if activation == "sigmoid":
            return step(tf.nn.sigmoid, configs.SIGMOID)(x)
        if activation == "hard_swish":
            return step(hard_swish, configs.ActivationQuantizer())(x)
        if activation == "hard_sigmoid":
            six = six_hard_sigmoid if fused else rounded_six_hard_sigmoid
            x = step(six, configs.RELU6, "_six")(x)
            return step(sixth, configs.HARD_SIGMOID)(x)
        gate = step(tf.nn.sigmoid, configs.SIGMOID, "_gate")(x)
        multiply = tf_keras.layers.Multiply(name=name)
        return self._add(multiply, configs.ActivationQuantizer())([x, gate])


def _uneven(bias: np.ndarray) -> np.ndarray:
    """A bias whose elements are not all the same.

    If all elements of a bias are the same, the converter quantizes them with the step
    of the first channel, whatever the steps of the others.
    """
    bias = np.array(bias, np.float32)
    if np.all(bias == bias[0]):
        bias[1::2] += 2e-6 * max(1.0, abs(float(bias[0])))
    return bias


def _copy(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _scale_and_offset(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """What batch normalization multiplies by and adds when it does not train."""
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * layer.gamma.numpy()
    offset = -mean * scale
    if layer.center:
        offset = offset + layer.beta.numpy()
    return scale, offset
