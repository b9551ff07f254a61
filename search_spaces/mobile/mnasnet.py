"""The MnasNet search space of stages, as Accel-NASBench trained it on ImageNet.

Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile" (CVPR 2019,
arXiv 1807.11626, section 4.1), choose the expansion ratio, the kernel, the number of
blocks and squeeze-and-excite of each stage; all blocks of a stage share the choice.
Ahmad et al., "Accel-NASBench: Sustainable Benchmarking for Accelerator-Aware NAS" (DAC
2024, arXiv 2404.08005) trained 5,000 networks of it with the numbers of filters and the
strides of EfficientNet-B0, which is one of the networks and the default here.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from types import ModuleType
from typing import Any

from layernas_tf.costs.operators import Operator
from layernas_tf.space.search_space import Option, SearchSpace, State
from search_spaces.arguments import check_arguments, image_state
from search_spaces.blocks.blocks import Block, ConvBlock, Rescale, Style, make_divisible
from search_spaces.blocks.bottleneck import InvertedBottleneck, SqueezeExcite
from search_spaces.blocks.builder import BlockLayer, block_space, fixed
from search_spaces.blocks.heads import ConvHead, Stem

FILTERS = (16, 24, 40, 80, 112, 192, 320)
"""Output channels of the seven stages at width 1."""

STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Stride of the first block of each stage."""

DEPTHS = (3, 3, 3, 3, 3, 4, 3)
"""The largest number of blocks of each stage."""

EXPANSIONS = (1, 4, 6)
KERNELS = (3, 5)

_EFFICIENTNET_B0 = (  # expansion ratio, kernel, blocks
    (1, 3, 1),
    (6, 3, 2),
    (6, 5, 2),
    (6, 3, 3),
    (6, 5, 3),
    (6, 5, 4),
    (6, 3, 1),
)
_STYLE = Style(momentum=0.99, initializer="fan_out_normal")
_SQUEEZE_EXCITE = SqueezeExcite(squeeze_input=True, activation="swish", gate="sigmoid")


@dataclasses.dataclass(frozen=True)
class BottleneckStage:
    """Inverted bottlenecks of one kind; the first has the stride and may widen.

    Example: a stage of two blocks is `BottleneckStage(filters=24, stride=2, kernel=3,
    expansion=6, blocks=2, squeeze_excite=False)`.

    Attributes:
      filters: Number of output channels.
      stride: Stride of the first block.
      kernel: Kernel size of every depthwise convolution, in pixels.
      expansion: Inner channels of a block as a multiple of its input's.
      blocks: Number of blocks, 1 or more.
      squeeze_excite: Whether every block has squeeze-and-excite.
    """

    filters: int
    stride: int
    kernel: int
    expansion: int
    blocks: int
    squeeze_excite: bool

    def _blocks(self) -> tuple[InvertedBottleneck, ...]:
        first = InvertedBottleneck(
            filters=self.filters,
            kernel=self.kernel,
            expansion=self.expansion,
            stride=self.stride,
            activation="swish",
            squeeze_excite=_SQUEEZE_EXCITE if self.squeeze_excite else None,
            style=_STYLE,
        )
        repeated = dataclasses.replace(first, stride=1)
        return (first, *(repeated,) * (self.blocks - 1))

    def operators(self, state: State) -> tuple[State, tuple[Operator, ...]]:
        """See `Block.operators`."""
        listed: tuple[Operator, ...] = ()
        for block in self._blocks():
            state, operators = block.operators(state)
            listed += operators
        return state, listed

    def build(self, x: Any, layers: ModuleType, name: str) -> Any:
        """See `Block.build`."""
        for number, block in enumerate(self._blocks(), 1):
            x = block.build(x, layers, f"{name}_block{number}")
        return x


def stage_options(depth: int) -> tuple[Option, ...]:
    """The options of a stage of up to `depth` blocks; the last costs the most."""
    return tuple(
        Option.of(expansion=expansion, kernel=kernel, blocks=blocks, se=se)
        for expansion, kernel, blocks, se in itertools.product(
            EXPANSIONS, KERNELS, range(1, depth + 1), (False, True)
        )
    )


def mnasnet(
    *,
    resolution: int | str = 224,
    classes: int = 1000,
    channels: int = 3,
    stem_stride: int | None = None,
    width: float = 1.0,
    dropout: float = 0.2,
) -> SearchSpace:
    """Makes the space: 36 options for each of six stages, 48 for the sixth of seven.

    Args:
      resolution: Height and width of the images, in pixels.
      classes: Number of classes.
      channels: Channels of the images.
      stem_stride: The stem's stride, 2 as published or 1; by default 1 below 64 pixels.
      width: Factor on all numbers of filters, which are then rounded to multiples of 8.
      dropout: Dropout rate before the classifier.

    Raises:
      UserError: An argument is out of range.

    Example:
      >>> space = mnasnet(resolution=96, classes=10)
      >>> len(space.searched_layers)
      7
    """
    arguments = check_arguments(
        "mnasnet",
        resolution=resolution,
        classes=classes,
        channels=channels,
        stem_stride=stem_stride,
        width=width,
        dropout=dropout,
    )
    stem = ConvBlock(
        make_divisible(32 * width), 3, arguments["stem_stride"], "swish", _STYLE
    )
    last = ConvBlock(make_divisible(1280 * width), activation="swish", style=_STYLE)
    head = ConvHead(last, classes, dropout, initializer="fan_out_uniform")
    return block_space(
        "mnasnet",
        image_state(arguments),
        (
            fixed("stem", Stem(Rescale(), stem), filters=stem.filters),
            *(_stage_layer(number, width) for number in range(len(FILTERS))),
            fixed("head", head, filters=last.filters),
        ),
        arguments,
    )


def _stage_layer(index: int, width: float) -> BlockLayer:
    options = stage_options(DEPTHS[index])
    expansion, kernel, blocks = _EFFICIENTNET_B0[index]
    published = Option.of(expansion=expansion, kernel=kernel, blocks=blocks, se=True)
    return BlockLayer(
        f"stage{index + 1}",
        options,
        options.index(published),
        functools.partial(
            _stage, make_divisible(FILTERS[index] * width), STRIDES[index]
        ),
    )


def _stage(filters: int, stride: int, option: Option) -> Block:
    return BottleneckStage(
        filters,
        stride,
        option["kernel"],
        option["expansion"],
        option["blocks"],
        option["se"],
    )
