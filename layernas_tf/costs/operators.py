"""Operators of a mobile network, and what they cost.

A block of a search space lists the operators that it runs, in order; the costs of a
layer follow from that list. What is counted:

* `madds`: multiply-adds of convolutions, depthwise convolutions and dense layers,
  those of squeeze-and-excite included; nothing for biases, batch normalization,
  activations, pooling and elementwise operators. A convolution is counted at every
  output position with its whole kernel, padding included. This is the convention of
  the MobileNet and EfficientNet papers, and of TensorFlow's graph profiler (which
  counts a multiply-add as two operations).
* `params`: every weight of the Keras model, as `model.count_params()` does: batch
  normalization has four per channel, its moving mean and variance included.
* `model_bytes`, `float32_bytes`: size of the .tflite file in full-integer int8 and in
  float32. Batch normalization is folded into the convolution before it, which thereby
  gets a bias (int32, 4 bytes) per channel. In int8, the weights and the biases each
  have a scale (float32) and a zero point (int64) per channel. Every operator adds its
  tables to the file.
* `peak_memory_bytes`: int8 activations, the largest sum of tensors that are alive
  while some operator runs: what it reads, what it writes, and what a later operator
  still needs. As in TFLite's arena planner, elementwise operators write over one of
  their inputs of the same size; activations that fuse into the operator before have no
  tensor.
  A convolution with a kernel or stride above 1 also lays out its patches side by side
  (TFLite's im2col buffer). Space that the planner loses between tensors of different
  lifetimes is not counted: it depends on the network as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from layernas_tf.space.types import State

FUSED_ACTIVATIONS = ("linear", "relu", "relu6")
"""Activations that TFLite fuses into the operator before them."""

# Bytes of the tables, names and buffers of one operator in a .tflite file, fitted to
# files that TensorFlow 2.20 converted from the default and random architectures of the
# MobileNet and EfficientNet spaces (270 kB to 16 MB). They give the sizes of those
# files within 0.8 %.
KERNEL_OPERATOR_INT8, OTHER_OPERATOR_INT8 = 640, 220
KERNEL_OPERATOR_FLOAT32, OTHER_OPERATOR_FLOAT32 = 560, 185

# A bias, and a scale and a zero point for both the bias and the kernel.
CHANNEL_BYTES_INT8 = 4 + 2 * (4 + 8)


@dataclasses.dataclass(frozen=True, slots=True)
class Operator:
    """One step of a network.

    Example:
      >>> operator = conv(State(3, 32, 32), filters=16, kernel=3, stride=2)
      >>> operator.kind, operator.target, operator.madds
      ('conv', State(channels=16, height=16, width=16), 110592)

    Attributes:
      kind: Name such as `conv`, `depthwise_conv`, `batch_norm`, `hard_swish`, `add`.
      source: The tensor it reads (of two, the larger).
      target: The tensor it writes.
      kernel: Edge of the kernel in pixels; 1 where there is none.
      stride: Step in pixels.
      madds: Multiply-adds.
      params: Weights of the Keras layer.
      weights: Elements of the kernel in the .tflite file.
      channels: Output channels with a bias in the .tflite file.
      count: Number of TFLite operators it becomes; 0 if folded into the one before.
      memory: Elements of all tensors alive while it runs.
    """

    kind: str
    source: State
    target: State
    kernel: int = 1
    stride: int = 1
    madds: int = 0
    params: int = 0
    weights: int = 0
    channels: int = 0
    count: int = 1
    memory: int = 0


def elements(state: State) -> int:
    """Elements of a tensor; its bytes in int8."""
    return state.channels * state.height * state.width


def conv(
    state: State,
    filters: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    groups: int = 1,
    bias: bool = False,
    held: int = 0,
) -> Operator:
    """A convolution with padding "same".

    Args:
      state: The tensor it reads.
      filters: Output channels.
      kernel: Edge of the square kernel, in pixels.
      stride: Step in pixels, in both directions.
      groups: Number of channel groups.
      bias: Whether the Keras layer has a bias (after folding, TFLite's always has).
      held: Elements of other tensors that a later operator still needs.
    """
    target = _strided(state, filters, stride)
    weights = kernel * kernel * (state.channels // groups) * filters
    patches = 0
    if (kernel, stride) != (1, 1):
        patches = kernel * kernel * state.channels * target.height * target.width
    return Operator(
        "conv",
        state,
        target,
        kernel,
        stride,
        madds=weights * target.height * target.width,
        params=weights + filters * bias,
        weights=weights,
        channels=filters,
        memory=elements(state) + elements(target) + patches + held,
    )


def depthwise_conv(
    state: State, kernel: int, stride: int = 1, *, held: int = 0
) -> Operator:
    """A depthwise convolution without bias, padding "same"; see `conv`."""
    target = _strided(state, state.channels, stride)
    weights = kernel * kernel * state.channels
    return Operator(
        "depthwise_conv",
        state,
        target,
        kernel,
        stride,
        madds=weights * target.height * target.width,
        params=weights,
        weights=weights,
        channels=state.channels,
        memory=elements(state) + elements(target) + held,
    )


def dense(state: State, units: int, *, held: int = 0) -> Operator:
    """A dense layer with bias on a flat tensor `State(channels, 1, 1)`."""
    features = elements(state)
    target = State(units, 1, 1)
    return Operator(
        "dense",
        state,
        target,
        madds=features * units,
        params=(features + 1) * units,
        weights=features * units,
        channels=units,
        memory=features + units + held,
    )


def batch_norm(state: State) -> Operator:
    """Batch normalization after a convolution, into which TFLite folds it."""
    return Operator("batch_norm", state, state, params=4 * state.channels, count=0)


def activation(state: State, name: str, *, held: int = 0) -> Operator:
    """An activation by its Keras name.

    `swish` (which TFLite runs as LOGISTIC and MUL) and `hard_sigmoid` (whose first
    half fuses into the convolution before it) are one operator here.
    """
    if name in FUSED_ACTIVATIONS:
        return Operator(name, state, state, count=0)
    return Operator(
        name,
        state,
        state,
        count=2 if name == "swish" else 1,
        memory=(1 if name == "hard_sigmoid" else 2) * elements(state) + held,
    )


def add(state: State, *, held: int = 0) -> Operator:
    """The sum of two tensors of the same shape, written over one of them."""
    return Operator("add", state, state, memory=2 * elements(state) + held)


def scale_channels(state: State, *, held: int = 0) -> Operator:
    """A tensor times one number per channel, as in squeeze-and-excite."""
    return Operator(
        "scale_channels",
        state,
        state,
        memory=2 * elements(state) + state.channels + held,
    )


def global_pool(state: State, *, held: int = 0) -> Operator:
    """The mean of every channel over all pixels."""
    target = State(state.channels, 1, 1)
    return Operator(
        "global_pool",
        state,
        target,
        memory=elements(state) + state.channels + held,
    )


def average_pool(state: State, kernel: int, stride: int, *, held: int = 0) -> Operator:
    """Average pooling with padding "same"."""
    target = _strided(state, state.channels, stride)
    return Operator(
        "average_pool",
        state,
        target,
        kernel,
        stride,
        memory=elements(state) + elements(target) + held,
    )


def pad(state: State, rows: int, columns: int, *, held: int = 0) -> Operator:
    """Zero padding by `rows` rows and `columns` columns in total."""
    target = State(state.channels, state.height + rows, state.width + columns)
    return Operator(
        "pad", state, target, memory=elements(state) + elements(target) + held
    )


def rescale(state: State) -> Operator:
    """The image times a factor plus an offset: MUL into a new tensor, ADD in place.

    Its `memory` does not include the image itself: see `image` of `costs`.
    """
    return Operator("rescale", state, state, count=2, memory=elements(state))


def softmax(state: State, *, held: int = 0) -> Operator:
    """Probabilities from logits."""
    return Operator("softmax", state, state, memory=2 * elements(state) + held)


def costs(operators: Iterable[Operator], image: int = 0) -> dict[str, int]:
    """Costs of a list of operators, by the names of `space.NETWORK_METRICS`.

    Args:
      operators: The operators, in any order.
      image: Elements of the network's input. TFLite's interpreter keeps them during
        the whole run, so they are added to the memory of every operator.
    """
    madds = params = int8 = float32 = memory = 0
    for operator in operators:
        madds += operator.madds
        params += operator.params
        if operator.weights:
            int8 += operator.weights + CHANNEL_BYTES_INT8 * operator.channels
            int8 += KERNEL_OPERATOR_INT8 * operator.count
            float32 += 4 * (operator.weights + operator.channels)
            float32 += KERNEL_OPERATOR_FLOAT32 * operator.count
        else:
            int8 += OTHER_OPERATOR_INT8 * operator.count
            float32 += OTHER_OPERATOR_FLOAT32 * operator.count
        if operator.memory:
            memory = max(memory, operator.memory + image)
    return {
        "madds": madds,
        "params": params,
        "model_bytes": int8,
        "float32_bytes": float32,
        "peak_memory_bytes": memory,
    }


def _strided(state: State, channels: int, stride: int) -> State:
    return State(channels, -(-state.height // stride), -(-state.width // stride))
