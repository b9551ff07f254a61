"""NAS-Bench-Macro and Channel-Bench-Macro: mobile and residual blocks on CIFAR-10.

NAS-Bench-Macro: Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree
Search", CVPR 2021, arXiv 2103.11922; 8 layers, each an identity, an inverted bottleneck
of expansion ratio 3 and kernel 3, or one of 6 and 5. Channel-Bench-Macro: Su et al.,
"BCNet: Searching for Network Width with Bilaterally Coupled Network", CVPR 2021, arXiv
2105.10533; 7 widths of a MobileNet or of a ResNet, each a quarter, a half, three
quarters or all of the largest. The networks are those that the authors' repositories
(xiusu/NAS-Bench-Macro, xiusu/Channel-Bench-Macro) define and trained. Where a stride-2
layer of NAS-Bench-Macro is the identity, a 1x1 convolution stands in for it.

Counted as in their tables: `madds` are the multiply-adds of convolutions and of the
classifier, `params` the trainable weights. Both equal the tables for all 6,561
architectures of NAS-Bench-Macro and all 16,384 of Channel-Bench-Macro's MobileNet; the
ResNet's table was made by the same counting code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.errors import UserError
from layernas_tf.space import Architecture, Layer, Option, SearchSpace, State
from search_spaces import macro_bench_keras as networks
from search_spaces.published import padded_conv, published_costs

OPERATIONS = (
    Option.of(operation="identity", expansion=0, kernel=0),
    Option.of(operation="mb3_k3", expansion=3, kernel=3),
    Option.of(operation="mb6_k5", expansion=6, kernel=5),
)
"""The options of every layer of NAS-Bench-Macro."""

STRIDES = (2, 1, 2, 1, 1, 2, 1, 1)
"""Of NAS-Bench-Macro's layers; the channels double with each stride."""

STEM_FILTERS = 32
HEAD_FILTERS = 1280

MOBILENET_WIDTHS = (128, 768, 768, 768, 256, 1536, 1024)
RESNET_WIDTHS = (256, 256, 256, 512, 512, 512, 512)
"""The largest widths of Channel-Bench-Macro's seven layers."""


@functools.cache
def nas_bench_macro(resolution: int = 32, classes: int = 10) -> SearchSpace:
    """NAS-Bench-Macro's space; its default is MB6_K5 everywhere, the dearest.

    Args:
      resolution: Rows and columns of the images, divisible by 8. The benchmark: 32.
      classes: The benchmark: 10.

    Raises:
      UserError: An argument is out of range.
    """
    layers = tuple(
        Layer(
            f"layer{index}",
            OPERATIONS,
            len(OPERATIONS) - 1,
            functools.partial(_macro_layer, index, 3 * resolution**2, classes),
        )
        for index in range(len(STRIDES))
    )
    return _space("nas_bench_macro", resolution, 8, classes, layers, _build_macro)


@functools.cache
def channel_bench_macro_mobilenet(
    resolution: int = 32, classes: int = 10
) -> SearchSpace:
    """Channel-Bench-Macro's MobileNet; its default is the widest.

    The seven widths: the stem (kept by the first two blocks), the expansions of blocks
    1, 2 and 3, the output of block 3 (kept by block 4), the expansion of block 4, the
    last convolution.

    Args:
      resolution: Rows and columns of the images, divisible by 4. The benchmark: 32.
      classes: The benchmark: 10.

    Raises:
      UserError: An argument is out of range.
    """
    layers = _width_layers(MOBILENET_WIDTHS, _MOBILENET_LAYERS, resolution, classes)
    name = "channel_bench_macro_mobilenet"
    return _space(name, resolution, 4, classes, layers, _build_mobilenet)


@functools.cache
def channel_bench_macro_resnet(resolution: int = 32, classes: int = 10) -> SearchSpace:
    """Channel-Bench-Macro's ResNet; its default is the widest.

    The seven widths: the stem (kept by the first two blocks), the middles of blocks
    1, 2 and 3, the output of block 3 (kept by the last two), the middles of blocks 4
    and 5.

    Args:
      resolution: Rows and columns of the images, divisible by 4. The benchmark: 32.
      classes: The benchmark: 10.

    Raises:
      UserError: An argument is out of range.
    """
    layers = _width_layers(RESNET_WIDTHS, _RESNET_LAYERS, resolution, classes)
    name = "channel_bench_macro_resnet"
    return _space(name, resolution, 4, classes, layers, _build_resnet)


def _space(
    name: str,
    resolution: int,
    step: int,
    classes: int,
    layers: tuple[Layer, ...],
    build: Callable[..., Any],
) -> SearchSpace:
    if resolution < step or resolution % step:
        raise UserError(
            f"{name}: resolution must be a multiple of {step}, got {resolution}"
        )
    if classes < 1:
        raise UserError(f"{name}: classes must be at least 1, got {classes}")
    return SearchSpace(
        name=name,
        start=State(3, resolution, resolution),
        layers=layers,
        builder=functools.partial(build, resolution, classes),
        arguments={"resolution": resolution, "classes": classes},
    )


def _macro_layer(
    index: int, image: int, classes: int, state: State, option: Option
) -> tuple[State, Mapping[str, float]]:
    operators = _stem(state, STEM_FILTERS, 1) if index == 0 else []
    x = operators[-1].target if operators else state
    stride = STRIDES[index]
    filters, expansion = x.channels * stride, option["expansion"]
    if expansion:
        operators += _bottleneck(
            x, x.channels * expansion, filters, option["kernel"], stride
        )
    elif stride > 1:
        operators += _normalized(padded_conv(x, filters, 1, stride))
    x = operators[-1].target if operators else x
    if index == len(STRIDES) - 1:
        operators += _normalized(padded_conv(x, HEAD_FILTERS, 1, 1))
        operators += _classifier(operators[-1].target, classes)
        x = operators[-1].target
    return x, published_costs(operators, image)


def _width_layers(
    widths: Sequence[int],
    steps: Sequence[Callable[[State, int], list[Operator]]],
    resolution: int,
    classes: int,
) -> tuple[Layer, ...]:
    names = [f"width{index}" for index in range(len(widths))]
    return tuple(
        Layer(
            name,
            tuple(
                Option.of(filters=quarters * width // 4) for quarters in (1, 2, 3, 4)
            ),
            3,
            functools.partial(
                _width_layer,
                step,
                3 * resolution**2,
                classes if name == names[-1] else 0,
            ),
        )
        for name, width, step in zip(names, widths, steps, strict=True)
    )


def _width_layer(
    step: Callable[[State, int], list[Operator]],
    image: int,
    classes: int,
    state: State,
    option: Option,
) -> tuple[State, Mapping[str, float]]:
    """One width's operators; the last layer (classes > 0) has the classifier too."""
    operators = step(state, option["filters"])
    if classes:
        operators += _classifier(operators[-1].target, classes)
    return operators[-1].target, published_costs(operators, image)


def _strided_stem(state: State, filters: int) -> list[Operator]:
    return _stem(state, filters, 2)


def _hidden(x: State, filters: int) -> list[Operator]:
    return _bottleneck(x, filters, x.channels, 3, 1)


def _reduce(x: State, filters: int) -> list[Operator]:
    """Expansion and depthwise convolution of the block whose output is chosen next."""
    return _expanded(x, filters, 3, 2, held=0)


def _pointwise(x: State, filters: int) -> list[Operator]:
    return _normalized(padded_conv(x, filters, 1, 1))


def _middle(x: State, filters: int) -> list[Operator]:
    """A residual block whose middle width is chosen."""
    held = ops.elements(x)
    operators = _normalized(padded_conv(x, filters, 3, 1))
    operators += _normalized(
        padded_conv(operators[-1].target, x.channels, 3, 1, held=held)
    )
    return [*operators, ops.add(x)]


def _middle_strided(x: State, filters: int) -> list[Operator]:
    return _normalized(padded_conv(x, filters, 3, 2))


def _outer(x: State, filters: int) -> list[Operator]:
    return _normalized(padded_conv(x, filters, 3, 1))


_MOBILENET_LAYERS = (
    _strided_stem,
    _hidden,
    _hidden,
    _reduce,
    _pointwise,
    _hidden,
    _pointwise,
)
_RESNET_LAYERS = (
    _strided_stem,
    _middle,
    _middle,
    _middle_strided,
    _outer,
    _middle,
    _middle,
)


def _normalized(convolution: Sequence[Operator]) -> list[Operator]:
    """A convolution with batch normalization; its ReLU, if any, is free."""
    return [*convolution, ops.batch_norm(convolution[-1].target)]


def _stem(state: State, filters: int, stride: int) -> list[Operator]:
    convolution = padded_conv(state, filters, 3, stride)
    return [ops.rescale(state), *_normalized(convolution)]


def _expanded(
    x: State, hidden: int, kernel: int, stride: int, held: int
) -> list[Operator]:
    # While the expansion runs it reads x, which is no further tensor to hold.
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


def _classifier(x: State, classes: int) -> list[Operator]:
    pool = ops.global_pool(x)
    dense = ops.dense(pool.target, classes)
    return [pool, dense, ops.softmax(dense.target)]


def _build_macro(
    resolution: int,
    classes: int,
    architecture: Architecture,
    keras_module: ModuleType | None = None,
) -> Any:
    chosen = [OPERATIONS[index] for index in architecture]
    return networks.nas_bench_macro_network(
        keras_module or _keras(),
        [(option["expansion"], option["kernel"]) for option in chosen],
        STRIDES,
        STEM_FILTERS,
        HEAD_FILTERS,
        resolution,
        classes,
    )


def _build_mobilenet(
    resolution: int,
    classes: int,
    architecture: Architecture,
    keras_module: ModuleType | None = None,
) -> Any:
    widths = _widths(MOBILENET_WIDTHS, architecture)
    return networks.channel_mobilenet_network(
        keras_module or _keras(), widths, resolution, classes
    )


def _build_resnet(
    resolution: int,
    classes: int,
    architecture: Architecture,
    keras_module: ModuleType | None = None,
) -> Any:
    widths = _widths(RESNET_WIDTHS, architecture)
    return networks.channel_resnet_network(
        keras_module or _keras(), widths, resolution, classes
    )


def _keras() -> ModuleType:
    import keras

    return keras


def _widths(largest: Sequence[int], architecture: Architecture) -> list[int]:
    return [(index + 1) * width // 4 for index, width in zip(architecture, largest)]
