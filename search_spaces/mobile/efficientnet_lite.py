"""The search space around EfficientNet-Lite0.

EfficientNet-B0 without squeeze-and-excite and with ReLU6, so that it can be quantized
well; pixels are scaled to about [-1, 1]. Source: R. Liu, "Higher accuracy on vision
models with EfficientNet-Lite", TensorFlow blog, March 2020, and its code
(github.com/tensorflow/tpu, models/official/efficientnet/lite). Stem and head have the
published number of filters. Each block has a choice of kernel and expansion ratio. The
first block of a stage also chooses the output filters; repeated blocks may be dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layernas_tf.space.published import LayerArrays, Published
from layernas_tf.space.search_space import SearchSpace
from search_spaces.arguments import check_arguments, image_state
from search_spaces.blocks.blocks import ConvBlock, Rescale
from search_spaces.blocks.builder import block_space, fixed
from search_spaces.blocks.heads import ConvHead, Stem
from search_spaces.mobile.efficientnet import STAGES, STYLE
from search_spaces.mobile.published import OPTIONAL, layer_names
from search_spaces.mobile.stages import Stage, bottleneck_layers

_RESCALE = Rescale(1 / 128, -127 / 128)


def efficientnet_lite0(
    *,
    resolution: int | str = 224,
    classes: int = 1000,
    channels: int = 3,
    stem_stride: int | None = None,
    dropout: float = 0.2,
) -> SearchSpace:
    """Makes the space.

    Args:
      resolution: Height and width of the images, in pixels.
      classes: Number of classes.
      channels: Channels of the images.
      stem_stride: The stem's stride, 2 as published or 1; by default 1 below 64 pixels.
      dropout: Dropout rate before the classifier.

    Raises:
      UserError: An argument is out of range.
    """
    name = "efficientnet_lite0"
    arguments = check_arguments(
        name,
        resolution=resolution,
        classes=classes,
        channels=channels,
        stem_stride=stem_stride,
        width=1.0,
        dropout=dropout,
    )
    del arguments["width"]
    stages = [
        Stage(filters, kernel, stride, (expansion,) * blocks)
        for filters, kernel, stride, expansion, blocks in STAGES
    ]
    stem = ConvBlock(32, 3, arguments["stem_stride"], "relu6", STYLE)
    last = ConvBlock(1280, activation="relu6", style=STYLE)
    head = ConvHead(last, classes, dropout, initializer="fan_out_uniform")
    return block_space(
        name,
        image_state(arguments),
        (
            fixed("stem", Stem(_RESCALE, stem), filters=stem.filters),
            *bottleneck_layers(stages, drop_rate=0.2, style=STYLE),
            fixed("head", head, filters=last.filters),
        ),
        arguments,
        Published(layers=_names(), optional=OPTIONAL, from_npz=_from_npz),
    )


def _names() -> dict[str, str]:
    """Names of layers in the PyTorch port, by ours; the first block does not expand."""
    parts = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    ends = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "head_conv": "_conv_head",
        "head_bn": "_bn1",
        "head_logits": "_fc",
    }
    depths = [stage[-1] for stage in STAGES]
    names = layer_names(
        depths, lambda stage, block, number: f"_blocks.{number}.", parts, ends
    )
    for layer in ("expand_conv", "expand_bn"):
        del names[f"stage1_block1_{layer}"]
    return names


def _from_npz(arrays: Mapping[str, np.ndarray]) -> LayerArrays:
    """Converts PyTorch's weights: `_blocks.0._bn1.running_mean`, kernels (O, I, H, W).

    Raises:
      KeyError: An array is missing.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for ours, theirs in _names().items():
        weight = np.asarray(arrays[f"{theirs}.weight"], np.float32)
        if ours.endswith("_bn"):
            layers[ours] = {"gamma": weight} | {
                name: np.asarray(arrays[f"{theirs}.{torch}"], np.float32)
                for name, torch in (
                    ("beta", "bias"),
                    ("moving_mean", "running_mean"),
                    ("moving_variance", "running_var"),
                )
            }
        elif ours.endswith("_logits"):
            bias = np.asarray(arrays[f"{theirs}.bias"], np.float32)
            layers[ours] = {"kernel": weight.T, "bias": bias}
        else:
            axes = (2, 3, 0, 1) if ours.endswith("_depthwise_conv") else (2, 3, 1, 0)
            layers[ours] = {"kernel": weight.transpose(axes)}
    return layers
