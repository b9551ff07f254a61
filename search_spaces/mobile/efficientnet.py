"""The search space around EfficientNet-B0 (arXiv 1905.11946, table 1).

Its default architecture is the published network, weight for weight that of
`keras.applications.EfficientNetB0`. Only its `Normalization` layer, which keeps mean,
variance and a count as weights, is a `Rescaling` by constants here. Each block has a
choice of kernel, expansion ratio and squeeze-and-excite. The first block of a stage
also chooses the output filters; repeated blocks may be dropped. `width` is the paper's
width coefficient.
"""

from __future__ import annotations

from layernas_tf.space.published import Published
from layernas_tf.space.search_space import SearchSpace
from search_spaces.arguments import check_arguments, image_state
from search_spaces.blocks.blocks import ConvBlock, Rescale, Style, make_divisible
from search_spaces.blocks.bottleneck import SqueezeExcite
from search_spaces.blocks.builder import block_space, fixed
from search_spaces.blocks.heads import ConvHead, Stem
from search_spaces.mobile.published import OPTIONAL, layer_names
from search_spaces.mobile.stages import Stage, bottleneck_layers

STAGES = (  # filters, kernel, stride of the first block, expansion ratio, blocks
    (16, 3, 1, 1, 1),
    (24, 3, 2, 6, 2),
    (40, 5, 2, 6, 2),
    (80, 3, 2, 6, 3),
    (112, 5, 1, 6, 3),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)
"""The published stages of EfficientNet-B0."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green and blue over ImageNet, in [0, 1]."""

IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Standard deviation of red, green and blue over ImageNet, in [0, 1]."""

STYLE = Style(momentum=0.99, initializer="fan_out_normal")
"""The style of all EfficientNets."""


def efficientnet_b0(
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
      channels: Channels of the images. Three are taken to be red, green and blue and
        normalized as by the published network; other images are scaled to [-1, 1].
      stem_stride: The stem's stride, 2 as published or 1; by default 1 below 64 pixels.
      width: Factor on all numbers of filters, which are then rounded to multiples of 8.
      dropout: Dropout rate before the classifier.

    Raises:
      UserError: An argument is out of range.
    """
    name = "efficientnet_b0"
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
        Stage(
            make_divisible(filters * width),
            kernel,
            stride,
            (expansion,) * blocks,
            squeeze_excite=True,
            activation="swish",
        )
        for filters, kernel, stride, expansion, blocks in STAGES
    ]
    stem = ConvBlock(
        make_divisible(32 * width), 3, arguments["stem_stride"], "swish", STYLE
    )
    last = ConvBlock(make_divisible(1280 * width), activation="swish", style=STYLE)
    head = ConvHead(last, classes, dropout, initializer="fan_out_uniform")
    squeeze_excite = SqueezeExcite(
        squeeze_input=True, activation="swish", gate="sigmoid"
    )
    return block_space(
        name,
        image_state(arguments),
        (
            fixed("stem", Stem(_rescale(channels), stem), filters=stem.filters),
            *bottleneck_layers(
                stages, squeeze_excite=squeeze_excite, drop_rate=0.2, style=STYLE
            ),
            fixed("head", head, filters=last.filters),
        ),
        arguments,
        _published(),
    )


def _published() -> Published:
    return Published(
        layers=_published_names(),
        application="EfficientNetB0",
        arguments={"include_top": True},
        optional=OPTIONAL,
        constants={
            # Keras divides by the root of a variance that is the deviation itself, and
            # by that root again (github.com/tensorflow/tensorflow/issues/49930).
            "normalization": {
                "mean": (IMAGENET_MEAN,),
                "variance": (
                    IMAGENET_DEVIATION,
                    tuple(value**2 for value in IMAGENET_DEVIATION),
                ),
            }
        },
    )


def _published_names() -> dict[str, str]:
    """Names of EfficientNet-B0's layers in keras.applications, by ours."""
    parts = {
        "expand_conv": "expand_conv",
        "expand_bn": "expand_bn",
        "depthwise_conv": "dwconv",
        "depthwise_bn": "bn",
        "se_reduce": "se_reduce",
        "se_expand": "se_expand",
        "project_conv": "project_conv",
        "project_bn": "project_bn",
    }
    ends = {
        "head_conv": "top_conv",
        "head_bn": "top_bn",
        "head_logits": "predictions",
    }

    def prefix(stage: int, block: int, number: int) -> str:
        return f"block{stage + 1}{chr(ord('a') + block)}_"

    return layer_names([stage[-1] for stage in STAGES], prefix, parts, ends)


def _rescale(channels: int) -> Rescale:
    if channels != 3:
        return Rescale()
    return Rescale(
        tuple(1 / (255 * deviation) for deviation in IMAGENET_DEVIATION),
        tuple(
            -mean / deviation
            for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION)
        ),
    )
