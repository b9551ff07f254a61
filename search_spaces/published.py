"""Costs as the published benchmarks count them.

The tables' `params` are the trainable weights, so a batch normalization has two a
channel; elsewhere in this project it has the four that Keras stores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space import State


def published_costs(
    operators: Sequence[Operator], image: int, biases: int = 0
) -> dict[str, int]:
    """Costs of a layer of a benchmark's network, by metric name.

    Args:
      operators: What the layer runs.
      image: Elements of the network's input.
      biases: Additions of a bias that the benchmark counts as multiply-adds.
    """
    statistics = sum(op.params // 2 for op in operators if op.kind == "batch_norm")
    costs = ops.costs(operators, image)
    costs["madds"] += biases
    costs["params"] -= statistics
    return costs


def padded_conv(
    state: State, filters: int | None, kernel: int, stride: int, *, held: int = 0
) -> tuple[Operator, ...]:
    """A convolution with half a kernel of zeros on every side, as PyTorch pads.

    Args:
      state: The tensor it reads; its edges are divisible by the stride.
      filters: Output channels; None for a depthwise convolution.
      kernel: Edge of the kernel, odd.
      stride: Step in pixels.
      held: Elements of other tensors that a later operator still needs.

    Returns:
      The operators: where the stride is above 1 and the kernel has an edge to pad, the
      padding is one of its own.
    """
    if filters is None:
        conv = ops.depthwise_conv(state, kernel, stride, held=held)
    else:
        conv = ops.conv(state, filters, kernel, stride, held=held)
    if stride == 1 or kernel == 1:
        return (conv,)
    pad = ops.pad(state, kernel - 1, kernel - 1, held=held)
    more = ops.elements(pad.target) - ops.elements(state)
    return pad, dataclasses.replace(conv, source=pad.target, memory=conv.memory + more)
