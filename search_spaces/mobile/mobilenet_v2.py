"""The search space around MobileNetV2 (arXiv 1801.04381, table 2).

Its default architecture is the published network, weight for weight that of
`keras.applications.MobileNetV2`; `width` is Keras' `alpha`. Each block has a choice of
kernel and expansion ratio. The first block of a stage also chooses the output filters;
repeated blocks may be dropped.
"""

from __future__ import annotations

from layernas_tf.space.published import Published
from layernas_tf.space.search_space import SearchSpace
from search_spaces.arguments import check_arguments, image_state
from search_spaces.blocks.blocks import ConvBlock, Rescale, make_divisible
from search_spaces.blocks.builder import block_space, fixed
from search_spaces.blocks.heads import ConvHead, Stem
from search_spaces.mobile.published import OPTIONAL, layer_names
from search_spaces.mobile.stages import Stage, bottleneck_layers

_STAGES = (  # filters, stride of the first block, expansion ratio, blocks
    (16, 1, 1, 1),
    (24, 2, 6, 2),
    (32, 2, 6, 3),
    (64, 2, 6, 4),
    (96, 1, 6, 3),
    (160, 2, 6, 3),
    (320, 1, 6, 1),
)


def mobilenet_v2(
    *,
    resolution: int | str = 224,
    classes: int = 1000,
    channels: int = 3,
    stem_stride: int | None = None,
    width: float = 1.0,
    dropout: float = 0.2,
) -> SearchSpace:
    """Makes the space.

    Args:
      resolution: Height and width of the images, in pixels: 224, or `96x160`.
      classes: Number of classes.
      channels: Channels of the images.
      stem_stride: The stem's stride, 2 as published or 1; by default 1 below 64 pixels.
      width: Factor on all numbers of filters (on the last convolution's only if above
        1), which are then rounded to multiples of 8.
      dropout: Dropout rate before the classifier.

    Raises:
      UserError: An argument is out of range.
    """
    return _space(
        "mobilenet_v2", resolution, classes, channels, stem_stride, width, dropout
    )


def mobilenet_v2_1_4(
    *,
    resolution: int | str = 224,
    classes: int = 1000,
    channels: int = 3,
    stem_stride: int | None = None,
    width: float = 1.4,
    dropout: float = 0.2,
) -> SearchSpace:
    """The space around MobileNetV2 of width 1.4; arguments as for `mobilenet_v2`."""
    return _space(
        "mobilenet_v2_1.4", resolution, classes, channels, stem_stride, width, dropout
    )


def _space(
    name: str,
    resolution: int | str,
    classes: int,
    channels: int,
    stem_stride: int | None,
    width: float,
    dropout: float,
) -> SearchSpace:
    arguments = check_arguments(
        name,
        resolution=resolution,
        classes=classes,
        channels=channels,
        stem_stride=stem_stride,
        width=width,
        dropout=dropout,
    )
    stages = [
        # Keras drops the fraction before it rounds to 8.
        Stage(make_divisible(int(filters * width)), 3, stride, (expansion,) * blocks)
        for filters, stride, expansion, blocks in _STAGES
    ]
    stem = ConvBlock(make_divisible(32 * width), 3, arguments["stem_stride"])
    last = ConvBlock(make_divisible(1280 * width) if width > 1 else 1280)
    return block_space(
        name,
        image_state(arguments),
        (
            fixed("stem", Stem(Rescale(), stem), filters=stem.filters),
            *bottleneck_layers(stages),
            fixed("head", ConvHead(last, classes, dropout), filters=last.filters),
        ),
        arguments,
        _published(width),
    )


def _published(width: float) -> Published:
    parts = {
        f"{part}_{ours}": part + theirs
        for part in ("expand", "depthwise", "project")
        for ours, theirs in (("conv", ""), ("bn", "_BN"))
    }
    ends = {
        "stem_conv": "Conv1",
        "stem_bn": "bn_Conv1",
        "head_conv": "Conv_1",
        "head_bn": "Conv_1_bn",
        "head_logits": "predictions",
    }

    def prefix(stage: int, block: int, number: int) -> str:
        return f"block_{number}_" if number else "expanded_conv_"

    return Published(
        layers=layer_names([stage[-1] for stage in _STAGES], prefix, parts, ends),
        application="MobileNetV2",
        arguments={"alpha": width, "include_top": True},
        optional=OPTIONAL,
    )
