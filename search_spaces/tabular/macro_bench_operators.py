"""What the layers of NAS-Bench-Macro and Channel-Bench-Macro run, for their costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space.types import Option, State
from search_spaces.tabular.counting import padded_conv

Step = Callable[[State, Option], list[Operator]]
"""What a layer runs on a tensor, given its option."""

STRIDES = (2, 1, 2, 1, 1, 2, 1, 1)
"""Strides of NAS-Bench-Macro's layers; the channels double with each stride."""

STEM_FILTERS = 32
HEAD_FILTERS = 1280
"""Channels of NAS-Bench-Macro's stem and of its last convolution."""


def macro_operators(index: int, x: State, option: Option) -> list[Operator]:
    """A layer of NAS-Bench-Macro, with the stem or the last convolution at the ends."""
    operators = _stem(x, STEM_FILTERS, 1) if index == 0 else []
    x = operators[-1].target if operators else x
    stride = STRIDES[index]
    filters, expansion = x.channels * stride, option["expansion"]
    if expansion:
        hidden = x.channels * expansion
        operators += _bottleneck(x, hidden, filters, option["kernel"], stride)
    elif stride > 1:
        operators += _normalized(padded_conv(x, filters, 1, stride))
    if index == len(STRIDES) - 1:
        x = operators[-1].target if operators else x
        operators += _normalized(padded_conv(x, HEAD_FILTERS, 1, 1))
    return operators


def _strided_stem(state: State, option: Option) -> list[Operator]:
    return _stem(state, option["filters"], 2)


def _hidden(x: State, option: Option) -> list[Operator]:
    """An inverted bottleneck whose inner width is chosen."""
    return _bottleneck(x, option["filters"], x.channels, 3, 1)


def _reduce(x: State, option: Option) -> list[Operator]:
    """Expansion and depthwise convolution of the block whose output is chosen next."""
    return _expanded(x, option["filters"], 3, 2, held=0)


def _pointwise(x: State, option: Option) -> list[Operator]:
    return _normalized(padded_conv(x, option["filters"], 1, 1))


def _middle(x: State, option: Option) -> list[Operator]:
    """A residual block whose inner width is chosen."""
    operators = _normalized(padded_conv(x, option["filters"], 3, 1))
    middle = operators[-1].target
    second = padded_conv(middle, x.channels, 3, 1, held=ops.elements(x))
    return [*operators, *_normalized(second), ops.add(x)]


def _first_half(x: State, option: Option) -> list[Operator]:
    """The strided half of the residual block whose output is chosen next."""
    return _normalized(padded_conv(x, option["filters"], 3, 2))


def _second_half(x: State, option: Option) -> list[Operator]:
    return _normalized(padded_conv(x, option["filters"], 3, 1))


MOBILENET_STEPS = (
    _strided_stem,
    _hidden,
    _hidden,
    _reduce,
    _pointwise,
    _hidden,
    _pointwise,
)
"""The steps of Channel-Bench-Macro's MobileNet, by its seven widths."""

RESNET_STEPS = (
    _strided_stem,
    _middle,
    _middle,
    _first_half,
    _second_half,
    _middle,
    _middle,
)
"""The steps of Channel-Bench-Macro's ResNet, by its seven widths."""


def _normalized(convolution: Sequence[Operator]) -> list[Operator]:
    """A convolution with batch normalization; its ReLU, if any, is free."""
    return [*convolution, ops.batch_norm(convolution[-1].target)]


def _stem(state: State, filters: int, stride: int) -> list[Operator]:
    convolution = padded_conv(state, filters, 3, stride)
    return [ops.rescale(state), *_normalized(convolution)]


def _expanded(
    x: State, hidden: int, kernel: int, stride: int, held: int
) -> list[Operator]:
    # The expansion reads x itself, so that x is not another tensor to hold.
    operators = _normalized(padded_conv(x, hidden, 1, 1))
    wide = operators[-1].target
    return operators + _normalized(padded_conv(wide, None, kernel, stride, held=held))


def _bottleneck(
    x: State, hidden: int, filters: int, kernel: int, stride: int
) -> list[Operator]:
    residual = stride == 1 and x.channels == filters
    held = ops.elements(x) if residual else 0
    operators = _expanded(x, hidden, kernel, stride, held)
    operators += _normalized(
        padded_conv(operators[-1].target, filters, 1, 1, held=held)
    )
    return operators + [ops.add(x)] * residual
