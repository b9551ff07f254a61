"""The search spaces around MobileNetV3 Small and Large (arXiv 1905.02244, tables 1, 2).

The default architectures are the published networks, weight for weight those of
`keras.applications` (with `minimalistic=False`); `width` is Keras' `alpha`, which
leaves the stem at 16 filters. Each block has a choice of kernel, expansion ratio and
squeeze-and-excite. The first block of a stage also chooses the output filters; repeated
blocks may be dropped. The activation of a block is the published one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from layernas_tf.space.published import Published
from layernas_tf.space.search_space import SearchSpace
from search_spaces.arguments import check_arguments, image_state
from search_spaces.blocks.blocks import ConvBlock, Rescale, make_divisible
from search_spaces.blocks.bottleneck import SqueezeExcite
from search_spaces.blocks.builder import block_space, fixed
from search_spaces.blocks.heads import MobileNetV3Head, Stem
from search_spaces.mobile.published import OPTIONAL, layer_names
from search_spaces.mobile.stages import Stage, bottleneck_layers

_SMALL = (
    Stage(16, 3, 2, (1,), True, "relu"),
    Stage(24, 3, 2, (72 / 16, 88 / 24), False, "relu"),
    Stage(40, 5, 2, (4, 6, 6), True, "hard_swish"),
    Stage(48, 5, 1, (3, 3), True, "hard_swish"),
    Stage(96, 5, 2, (6, 6, 6), True, "hard_swish"),
)
_LARGE = (
    Stage(16, 3, 1, (1,), False, "relu"),
    Stage(24, 3, 2, (4, 3), False, "relu"),
    Stage(40, 5, 2, (3, 3, 3), True, "relu"),
    Stage(80, 3, 2, (6, 2.5, 2.3, 2.3), False, "hard_swish"),
    Stage(112, 3, 1, (6, 6), True, "hard_swish"),
    Stage(160, 5, 2, (6, 6, 6), True, "hard_swish"),
)


def mobilenet_v3_small(
    *,
    resolution: int | str = 224,
    classes: int = 1000,
    channels: int = 3,
    stem_stride: int | None = None,
    width: float = 1.0,
    dropout: float = 0.2,
) -> SearchSpace:
    """Makes the space around MobileNetV3 Small.

    Args:
      resolution: Height and width of the images, in pixels: 224, or `96x160`.
      classes: Number of classes.
      channels: Channels of the images.
      stem_stride: The stem's stride, 2 as published or 1; by default 1 below 64 pixels.
      width: Factor on the numbers of filters of the stages (and of the convolution
        before the classifier, if above 1), which are then rounded to multiples of 8.
      dropout: Dropout rate before the classifier.

    Raises:
      UserError: An argument is out of range.
    """
    return _space(
        "mobilenet_v3_small",
        _SMALL,
        1024,
        resolution=resolution,
        classes=classes,
        channels=channels,
        stem_stride=stem_stride,
        width=width,
        dropout=dropout,
    )


def mobilenet_v3_large(
    *,
    resolution: int | str = 224,
    classes: int = 1000,
    channels: int = 3,
    stem_stride: int | None = None,
    width: float = 1.0,
    dropout: float = 0.2,
) -> SearchSpace:
    """The space around MobileNetV3 Large; arguments as for `mobilenet_v3_small`."""
    return _space(
        "mobilenet_v3_large",
        _LARGE,
        1280,
        resolution=resolution,
        classes=classes,
        channels=channels,
        stem_stride=stem_stride,
        width=width,
        dropout=dropout,
    )


def _space(
    name: str, published: Sequence[Stage], widest: int, **given: Any
) -> SearchSpace:
    arguments = check_arguments(name, **given)
    width = arguments["width"]
    stages = [
        dataclasses.replace(stage, filters=make_divisible(stage.filters * width))
        for stage in published
    ]
    stem = ConvBlock(16, 3, arguments["stem_stride"], "hard_swish")
    head = MobileNetV3Head(
        make_divisible(widest * width) if width > 1 else widest,
        arguments["classes"],
        arguments["dropout"],
    )
    return block_space(
        name,
        image_state(arguments),
        (
            fixed("stem", Stem(Rescale(), stem), filters=stem.filters),
            *bottleneck_layers(stages, squeeze_excite=SqueezeExcite()),
            fixed("head", head, filters=head.filters),
        ),
        arguments,
        _published(name, published, width),
    )


def _published(name: str, stages: Sequence[Stage], width: float) -> Published:
    parts = {
        f"{part}_{ours}": part + theirs
        for part in ("expand", "depthwise", "project")
        for ours, theirs in (("conv", ""), ("bn", "_bn"))
    } | {
        "se_reduce": "squeeze_excite_conv",
        "se_expand": "squeeze_excite_conv_1",
    }
    ends = {
        "stem_conv": "conv",
        "stem_bn": "conv_bn",
        "head_conv": "conv_1",
        "head_bn": "conv_1_bn",
        "head_widest": "conv_2",
        "head_logits": "logits",
    }

    def prefix(stage: int, block: int, number: int) -> str:
        return f"expanded_conv_{number}_" if number else "expanded_conv_"

    depths = [len(stage.expansions) for stage in stages]
    return Published(
        layers=layer_names(depths, prefix, parts, ends),
        application="MobileNetV3" + name.rpartition("_")[2].capitalize(),
        arguments={"alpha": width, "minimalistic": False, "include_top": True},
        optional=OPTIONAL,
    )
