"""A small space of bottlenecks whose published network can be trained in moments."""

from __future__ import annotations

from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import State
from search_spaces.blocks.blocks import ConvBlock, Rescale
from search_spaces.blocks.bottleneck import SqueezeExcite
from search_spaces.blocks.builder import block_space, fixed
from search_spaces.blocks.heads import ConvHead, Stem
from search_spaces.mobile.stages import Stage, bottleneck_layers


def space(
    resolution: int = 16, classes: int = 3, channels: int = 3, stem_stride: int = 2
) -> SearchSpace:
    """As MobileNetV2 begins, without an expansion; then with squeeze-and-excite."""
    plain = [Stage(8, 3, 1, (1,)), Stage(16, 3, 2, (3, 3))]
    excited = [Stage(40, 3, 1, (2, 2), True)]
    layers = [
        *bottleneck_layers(plain),
        *bottleneck_layers(excited, squeeze_excite=SqueezeExcite()),
    ]
    names = [f"block{number}" for number in range(len(layers))]
    return block_space(
        "small",
        State(channels, resolution, resolution),
        (
            fixed("stem", Stem(Rescale(), ConvBlock(24, 3, stem_stride))),
            *(
                type(layer)(name, layer.options, layer.default, layer.block)
                for name, layer in zip(names, layers)
            ),
            fixed("head", ConvHead(ConvBlock(32), classes)),
        ),
        {"resolution": resolution, "classes": classes, "channels": channels},
    )
