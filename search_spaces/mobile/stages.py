"""Stages of inverted bottlenecks: the choices of a mobile search space.

A published network is a list of stages; the blocks of a stage have the same number of
output channels. The first block of a stage chooses that number, with its own kernel,
expansion ratio and (where the network has it) squeeze-and-excite; a repeated block
chooses the latter three, or is dropped. The output channels of a repeated block are
those that come in, so the choice of the first block holds through the stage and every
repeated block has its residual.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

from layernas_tf.space.types import Option
from search_spaces.blocks.blocks import (
    MOBILENET,
    Block,
    Identity,
    Style,
    make_divisible,
)
from search_spaces.blocks.bottleneck import InvertedBottleneck, SqueezeExcite
from search_spaces.blocks.builder import BlockLayer

KERNELS = (3, 5, 7)
EXPANSIONS = (2, 3, 4, 6)
UNEXPANDED = (1, 2, 3)
"""Expansion ratios where the published one is 1."""
FILTER_MULTIPLIERS = (0.5, 0.75, 1.0, 1.25, 1.5)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A published stage.

    Example: `Stage(24, kernel=3, stride=2, expansions=(6, 6))` has two blocks.

    Attributes:
      filters: Number of output channels, already scaled by the width.
      kernel: Kernel size of its depthwise convolutions.
      stride: Stride of its first block.
      expansions: Published expansion ratio of each block; their number is the stage's
        depth.
      squeeze_excite: Whether its blocks have squeeze-and-excite.
      activation: Activation of its blocks.
    """

    filters: int
    kernel: int
    stride: int
    expansions: tuple[float, ...]
    squeeze_excite: bool = False
    activation: str = "relu6"


def bottleneck_layers(
    stages: Sequence[Stage],
    *,
    squeeze_excite: SqueezeExcite | None = None,
    drop_rate: float = 0.0,
    style: Style = MOBILENET,
) -> tuple[BlockLayer, ...]:
    """The layers of a space, one for each block of the stages.

    Args:
      stages: The published network.
      squeeze_excite: The squeeze-and-excite of blocks that choose it; None if the
        space does not offer the choice.
      drop_rate: Rate of stochastic depth that grows linearly from 0 at the first block
        and would be reached one block after the last.
      style: The style of every block.
    """
    depth = sum(len(stage.expansions) for stage in stages)
    position, made = itertools.count(), []
    for number, stage in enumerate(stages, 1):
        for block, expansion in enumerate(stage.expansions):
            options = tuple(
                _options(stage, block == 0, expansion, squeeze_excite is not None)
            )
            published = _published(stage, block == 0, expansion, squeeze_excite)
            made.append(
                BlockLayer(
                    f"stage{number}_block{block + 1}",
                    options,
                    options.index(published),
                    _block_maker(
                        stage,
                        stage.stride if block == 0 else 1,
                        squeeze_excite,
                        drop_rate * next(position) / depth,
                        style,
                    ),
                )
            )
    return tuple(made)


def _published(
    stage: Stage, first: bool, expansion: float, squeeze_excite: SqueezeExcite | None
) -> Option:
    return _option(
        stage.filters if first else None,
        stage.kernel,
        expansion,
        stage.squeeze_excite if squeeze_excite else None,
    )


def _options(
    stage: Stage, first: bool, expansion: float, has_choice: bool
) -> Iterator[Option]:
    filters: Sequence[int | None] = (None,)
    if first:
        # Two multiples of few channels may round to the same number, kept once.
        filters = sorted(
            {make_divisible(stage.filters * factor) for factor in FILTER_MULTIPLIERS}
            | {stage.filters}
        )
    else:
        yield Option.of(drop=True)
    ratios = UNEXPANDED if expansion == 1 else sorted({*EXPANSIONS, expansion})
    for choice in itertools.product(
        filters, KERNELS, ratios, (False, True) if has_choice else (None,)
    ):
        yield _option(*choice)


def _option(
    filters: int | None, kernel: int, expansion: float, squeeze_excite: bool | None
) -> Option:
    attributes = {
        "filters": filters,
        "kernel": kernel,
        "expansion": expansion,
        "se": squeeze_excite,
    }
    return Option.of(
        **{name: value for name, value in attributes.items() if value is not None}
    )


def _block_maker(
    stage: Stage,
    stride: int,
    squeeze_excite: SqueezeExcite | None,
    drop_rate: float,
    style: Style,
) -> Callable[[Option], Block]:
    def block(option: Option) -> Block:
        if option.get("drop"):
            return Identity()
        return InvertedBottleneck(
            filters=option.get("filters"),
            kernel=option["kernel"],
            expansion=option["expansion"],
            stride=stride,
            activation=stage.activation,
            squeeze_excite=squeeze_excite if option.get("se") else None,
            drop_rate=drop_rate,
            style=style,
        )

    return block
