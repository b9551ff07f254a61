"""A search space of your own: a small network for a microcontroller."""

import itertools

from layernas_tf.space import Option, SearchSpace, State
from search_spaces.blocks import (
    BlockLayer,
    ConvBlock,
    ConvHead,
    InvertedBottleneck,
    Rescale,
    Stem,
    block_space,
    fixed,
)


def stage(name: str, stride: int) -> BlockLayer:
    """One layer: an inverted bottleneck of 24 options."""
    options = tuple(
        Option.of(filters=filters, kernel=kernel, expansion=expansion)
        for filters, kernel, expansion in itertools.product(
            (8, 16, 24, 32), (3, 5), (1, 2, 4)
        )
    )

    def block(option: Option) -> InvertedBottleneck:
        return InvertedBottleneck(
            option["filters"], option["kernel"], option["expansion"], stride
        )

    return BlockLayer(name, options, default=8, block=block)


def tiny(
    resolution: int | str = 32, classes: int = 10, channels: int = 3
) -> SearchSpace:
    """The space; the search passes the data set's resolution, classes and channels."""
    return block_space(
        "tiny",
        State.of_image(channels, resolution),
        (
            fixed("stem", Stem(Rescale(), ConvBlock(8, 3, stride=2))),
            *(stage(f"block{i}", stride) for i, stride in enumerate((1, 2, 1, 2))),
            fixed("head", ConvHead(ConvBlock(64), classes)),
        ),
        {"resolution": resolution, "classes": classes, "channels": channels},
    )
