"""What the benchmarks' spaces share: their images, and costs as their tables count.

The tables' `params` are the trainable weights, so a batch normalization has two per
channel; elsewhere in this project it has the four that Keras stores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution
from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space.types import State


def benchmark_image(
    space: str, resolution: int | str, multiple: int, classes: int, channels: int
) -> State:
    """Checks a space's arguments and returns its input image.

    Args:
      space: Name of the space.
      resolution: Rows and columns of the image: a number, or a text such as `32x64`.
      multiple: What rows and columns must be a multiple of, so that every stride
        divides them.
      classes: Number of classes, 2 or more.
      channels: Channels of the image, 1 or more.

    Raises:
      UserError: An argument is out of range.
    """
    if isinstance(resolution, str):
        height, width = parse_resolution(resolution)
    else:
        height, width = resolution, resolution
    for name, value, least, step in (
        ("resolution", height, multiple, multiple),
        ("resolution", width, multiple, multiple),
        ("classes", classes, 2, 1),
        ("channels", channels, 1, 1),
    ):
        if type(value) is not int or value < least or value % step:
            allowed = f"a multiple of {step}" if step > 1 else f"{least} or more"
            raise UserError(f"space {space!r}: {name} must be {allowed}, got {value!r}")
    return State(channels, height, width)


def published_costs(
    operators: Sequence[Operator], image: int, biases: int = 0
) -> dict[str, int]:
    """Costs of a layer of a benchmark's network, by metric name.

    Args:
      operators: The operators that the layer runs.
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
      kernel: Edge of the kernel in pixels, an odd number.
      stride: Step in pixels.
      held: Elements of other tensors that a later operator still needs.

    Returns:
      The operators. The padding is one of its own if the stride and the kernel are both
      above 1.
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
