"""Costs read off a Keras model, whoever built it.

The independent counterpart of `costs.operators`: nothing here knows about search
spaces, so where the two agree on an architecture, each confirms the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from layernas_tf.core.errors import UserError


def profile(model: Any) -> dict[str, int]:
    """Counts the multiply-adds of one image, and the weights, of a built Keras model.

    Multiply-adds are those of convolutions (grouped, depthwise, separable and
    transposed ones included) and dense layers, as `costs.operators` counts them. A
    layer that the graph uses several times counts each time; the layers of models
    inside the model count too. Layers that wrap others (`TimeDistributed`, recurrent
    layers) and attention count as 0.

    Args:
      model: A functional or sequential model of `keras` or `tf_keras` whose image size
        is known.

    Returns:
      The numbers `madds`, `params` (of all weights, as `model.count_params()`) and
      `trainable_params`.

    Raises:
      UserError: The model is not built, or the size of a tensor is unknown.
    """
    if not getattr(model, "built", False) or not hasattr(model, "inputs"):
        raise UserError(
            f"profile: model {model.name!r} is not built: expected a functional or "
            "sequential model with a known input shape"
        )
    return {
        "madds": _model_madds(model),
        "params": model.count_params(),
        "trainable_params": sum(
            math.prod(weight.shape) for weight in model.trainable_weights
        ),
    }


def _model_madds(model: Any) -> int:
    total = 0
    for operation, node in _nodes(model):
        if hasattr(operation, "layers"):
            total += _model_madds(operation)
        else:
            total += _layer_madds(operation, node)
    return total


def _nodes(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yields every layer with each of its uses in the model's graph."""
    # A sequential model keeps its graph in a functional one (in Keras 3).
    graph = getattr(model, "_functional", None) or model
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:
            operation = getattr(node, "operation", None) or getattr(node, "layer", None)
            if type(operation).__name__ != "InputLayer":
                yield operation, node


def _layer_madds(layer: Any, node: Any) -> int:
    kind = type(layer).__name__
    if kind == "Dense":
        return _positions(layer, node, "output") * math.prod(layer.kernel.shape)
    if kind in ("Conv1D", "Conv2D", "Conv3D"):
        # The kernel's input channels are those of one group: nothing to divide.
        return _positions(layer, node, "output") * math.prod(layer.kernel.shape)
    if kind in ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"):
        return _positions(layer, node, "input") * math.prod(layer.kernel.shape)
    if kind in ("DepthwiseConv1D", "DepthwiseConv2D"):
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            kernel = layer.depthwise_kernel
        return _positions(layer, node, "output") * math.prod(kernel.shape)
    if kind in ("SeparableConv1D", "SeparableConv2D"):
        return _positions(layer, node, "output") * (
            math.prod(layer.depthwise_kernel.shape)
            + math.prod(layer.pointwise_kernel.shape)
        )
    return 0


def _positions(layer: Any, node: Any, side: str) -> int:
    """Positions in the tensor of one image: its size without batch and channels."""
    tensors = node.output_tensors if side == "output" else node.input_tensors
    tensor = tensors[0] if isinstance(tensors, (list, tuple)) else tensors
    shape = tuple(tensor.shape)[1:]
    first = getattr(layer, "data_format", None) == "channels_first"
    positions = shape[1:] if first else shape[:-1]
    if None in positions:
        raise UserError(
            f"profile: the {side} of layer {layer.name!r} is {tuple(tensor.shape)}: "
            "the model's image size must be known"
        )
    return math.prod(positions)
