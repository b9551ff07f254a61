"""Activations in the form and with the rounding of TFLite's int8 kernels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from layernas_tf.core.errors import UserError

_ACTIVATIONS = {
    "hard_sigmoid": "hard_sigmoid",
    "hard_silu": "hard_swish",
    "hard_swish": "hard_swish",
    "linear": "linear",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "swish",
    "softmax": "softmax",
    "swish": "swish",
}
"""Our names of activations by Keras' names."""

FUSED_TO_SUMS = ("relu", "relu6")
FUSED_TO_CONVOLUTIONS = (*FUSED_TO_SUMS, "hard_sigmoid")
"""Activations whose first step TFLite fuses to the operator before them."""


def activation_name(layer: Any) -> str:
    """Our name of the activation of a tf_keras layer.

    Raises:
      UserError: The activation is not known here.
    """
    if isinstance(layer, tf_keras.layers.Softmax):
        return "softmax"
    if isinstance(layer, tf_keras.layers.ReLU):
        plain = not layer.negative_slope and not layer.threshold
        if plain and layer.max_value in (None, 6.0):
            return "relu6" if layer.max_value else "relu"
        name = f"ReLU(max_value={layer.max_value}, threshold={layer.threshold}, ...)"
    else:
        name = getattr(layer.activation, "__name__", str(layer.activation))
    if name not in _ACTIVATIONS:
        raise UserError(
            f"quantization-aware training does not know activation {name} of layer "
            f"{layer.name!r}: expected {', '.join(sorted(set(_ACTIVATIONS.values())))}"
        )
    return _ACTIVATIONS[name]


def hard_swish(x: Any) -> Any:
    """Hard-swish in the form that the converter takes for HARD_SWISH."""
    return x * tf.nn.relu6(x + 3.0) * (1 / 6)


def six_hard_sigmoid(x: Any) -> Any:
    """Six times hard-sigmoid, after a convolution, whose bias takes in the 3."""
    return tf.nn.relu6(x + 3.0)


def rounded_six_hard_sigmoid(x: Any) -> Any:
    """Six times hard-sigmoid, with the 3 as a constant that is rounded."""
    return tf.nn.relu6(x + _rounded_constant(3.0))


def sixth(x: Any) -> Any:
    """A sixth of the values, with the factor as a constant that is rounded."""
    return x * _rounded_constant(1 / 6)


def _rounded_constant(value: float) -> Any:
    # The converter leaves an operator in floats if one of its constants has no range.
    return tf.quantization.fake_quant_with_min_max_args(
        tf.constant(value), min=0.0, max=value
    )
