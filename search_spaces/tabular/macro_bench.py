"""NAS-Bench-Macro and Channel-Bench-Macro: mobile and residual blocks on CIFAR-10.

NAS-Bench-Macro: Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree
Search", CVPR 2021, arXiv 2103.11922; 8 layers, each an identity, an inverted bottleneck
of expansion ratio 3 and kernel 3, or one of 6 and 5. Channel-Bench-Macro: Su et al.,
"BCNet: Searching for Network Width with Bilaterally Coupled Network", CVPR 2021, arXiv
2105.10533; 7 widths of a MobileNet or of a ResNet, each a quarter, a half, three
quarters or all of the largest. The networks are those that the authors' repositories
(xiusu/NAS-Bench-Macro, xiusu/Channel-Bench-Macro) define and trained. Where a stride-2
layer of NAS-Bench-Macro is the identity, a 1x1 convolution stands in for it.

Costs are counted as in their tables: `madds` are the multiply-adds of convolutions and
the classifier, `params` the trainable weights. Both equal the tables for all 6,561
architectures of NAS-Bench-Macro and all 16,384 of Channel-Bench-Macro's MobileNet; the
ResNet's table was made by the same counting code.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from layernas_tf.core.resolution import resolution_name
from layernas_tf.costs import operators as ops
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer, Option, State
from search_spaces.tabular import macro_bench_keras as networks
from search_spaces.tabular.counting import benchmark_image, published_costs
from search_spaces.tabular.macro_bench_operators import (
    HEAD_FILTERS,
    MOBILENET_STEPS,
    RESNET_STEPS,
    STEM_FILTERS,
    STRIDES,
    Step,
    macro_operators,
)

OPERATIONS = (
    Option.of(operation="identity", expansion=0, kernel=0),
    Option.of(operation="mb3_k3", expansion=3, kernel=3),
    Option.of(operation="mb6_k5", expansion=6, kernel=5),
)
"""The options of every layer of NAS-Bench-Macro."""

MOBILENET_WIDTHS = (128, 768, 768, 768, 256, 1536, 1024)
RESNET_WIDTHS = (256, 256, 256, 512, 512, 512, 512)
"""The largest widths of Channel-Bench-Macro's seven layers."""


@functools.cache
def nas_bench_macro(
    resolution: int | str = 32, classes: int = 10, channels: int = 3
) -> SearchSpace:
    """NAS-Bench-Macro's space; its default is MB6_K5 everywhere, the most expensive.

    Args:
      resolution: Rows and columns of the images, divisible by 8; the benchmark has 32.
      classes: Number of classes; the benchmark has 10.
      channels: Channels of the images; the benchmark has 3.

    Raises:
      UserError: An argument is out of range.
    """
    image = benchmark_image("nas_bench_macro", resolution, 8, classes, channels)
    steps = [functools.partial(macro_operators, i) for i in range(len(STRIDES))]
    options = [OPERATIONS] * len(STRIDES)
    return _space("nas_bench_macro", image, classes, "layer", options, steps)


@functools.cache
def channel_bench_macro_mobilenet(
    resolution: int | str = 32, classes: int = 10, channels: int = 3
) -> SearchSpace:
    """Channel-Bench-Macro's MobileNet; its default is the widest.

    The seven widths: the stem (kept by the first two blocks), the expansions of blocks
    1, 2 and 3, the output of block 3 (kept by block 4), the expansion of block 4, the
    last convolution.

    Args:
      resolution: Rows and columns of the images, divisible by 4; the benchmark has 32.
      classes: Number of classes; the benchmark has 10.
      channels: Channels of the images; the benchmark has 3.

    Raises:
      UserError: An argument is out of range.
    """
    name = "channel_bench_macro_mobilenet"
    image = benchmark_image(name, resolution, 4, classes, channels)
    options = _quarters(MOBILENET_WIDTHS)
    return _space(name, image, classes, "width", options, MOBILENET_STEPS)


@functools.cache
def channel_bench_macro_resnet(
    resolution: int | str = 32, classes: int = 10, channels: int = 3
) -> SearchSpace:
    """Channel-Bench-Macro's ResNet; its default is the widest.

    The seven widths: the stem (kept by the first two blocks), the middles of blocks
    1, 2 and 3, the output of block 3 (kept by the last two), the middles of blocks 4
    and 5.

    Args:
      resolution: Rows and columns of the images, divisible by 4; the benchmark has 32.
      classes: Number of classes; the benchmark has 10.
      channels: Channels of the images; the benchmark has 3.

    Raises:
      UserError: An argument is out of range.
    """
    name = "channel_bench_macro_resnet"
    image = benchmark_image(name, resolution, 4, classes, channels)
    return _space(name, image, classes, "width", _quarters(RESNET_WIDTHS), RESNET_STEPS)


def _quarters(widths: Sequence[int]) -> list[tuple[Option, ...]]:
    return [
        tuple(Option.of(filters=n * width // 4) for n in (1, 2, 3, 4))
        for width in widths
    ]


def _space(
    name: str,
    image: State,
    classes: int,
    layer_name: str,
    options: Sequence[tuple[Option, ...]],
    steps: Sequence[Step],
) -> SearchSpace:
    """A layer per step, the classifier in the last; defaults are the last options."""
    layers = tuple(
        Layer(
            f"{layer_name}{index}",
            choices,
            len(choices) - 1,
            functools.partial(
                _transition,
                step,
                ops.elements(image),
                classes if index == len(steps) - 1 else 0,
            ),
        )
        for index, (choices, step) in enumerate(zip(options, steps, strict=True))
    )
    return SearchSpace(
        name=name,
        start=image,
        layers=layers,
        builder=functools.partial(_build, name, image, classes, tuple(options)),
        arguments={
            "resolution": resolution_name(image.height, image.width),
            "classes": classes,
            "channels": image.channels,
        },
    )


def _transition(
    step: Step, image: int, classes: int, state: State, option: Option
) -> tuple[State, Mapping[str, float]]:
    operators = step(state, option)
    if classes:
        pool = ops.global_pool(operators[-1].target if operators else state)
        dense = ops.dense(pool.target, classes)
        operators = [*operators, pool, dense, ops.softmax(dense.target)]
    after = operators[-1].target if operators else state
    return after, published_costs(operators, image)


def _build(
    name: str,
    image: State,
    classes: int,
    options: Sequence[tuple[Option, ...]],
    architecture: Architecture,
    keras_module: ModuleType | None = None,
) -> Any:
    if keras_module is None:
        import keras

        keras_module = keras
    chosen = [choices[index] for choices, index in zip(options, architecture)]
    if name == "nas_bench_macro":
        operations = [(option["expansion"], option["kernel"]) for option in chosen]
        return networks.nas_bench_macro_network(
            keras_module,
            operations,
            STRIDES,
            STEM_FILTERS,
            HEAD_FILTERS,
            image,
            classes,
        )
    build = {
        "channel_bench_macro_mobilenet": networks.channel_mobilenet_network,
        "channel_bench_macro_resnet": networks.channel_resnet_network,
    }[name]
    return build(keras_module, [option["filters"] for option in chosen], image, classes)
