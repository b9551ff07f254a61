"""Spaces of blocks with few options, and latency tables, for the tests of them.

Also a space of one's own for the binaries: `tests/small_blocks.py:small_space`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from layernas_tf.costs import operators as ops
from layernas_tf.costs.latency import KIND
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Option, State
from search_spaces.blocks.blocks import ConvBlock, Identity, Rescale
from search_spaces.blocks.bottleneck import InvertedBottleneck, SqueezeExcite
from search_spaces.blocks.builder import BlockLayer, block_space, fixed
from search_spaces.blocks.heads import ConvHead, MobileNetV3Head, Stem

V3 = {"activation": "hard_swish", "squeeze_excite": SqueezeExcite()}
SWISH = {
    "activation": "swish",
    "squeeze_excite": SqueezeExcite(True, "swish", "sigmoid"),
}


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """A block with a layer that only TensorFlow's converter knows."""

    def operators(self, state: State):
        after = State(state.channels, state.height // 2, state.width // 2)
        return after, (ops.average_pool(state, 2, 2),)

    def build(self, x, layers, name):
        return layers.MaxPooling2D(2, name=name)(x)


def small_space(
    resolution: int = 16,
    classes: int = 4,
    channels: int = 3,
    stem_stride: int = 2,
    pool: bool = False,
    dropout: float = 0.2,
) -> SearchSpace:
    """Two layers of three options between a stem and a head."""

    def first(option: Option):
        return InvertedBottleneck(option["filters"], option["kernel"], 3, 2, **V3)

    def second(option: Option):
        if option.get("drop"):
            return Identity()
        if option.get("pool"):
            return MaxPool()
        return InvertedBottleneck(None, option["kernel"], 2, drop_rate=0.1)

    return block_space(
        "small",
        State(channels, resolution, resolution),
        (
            fixed("stem", Stem(Rescale(), ConvBlock(8, 3, stem_stride))),
            BlockLayer(
                "first",
                (
                    Option.of(filters=8, kernel=3),
                    Option.of(filters=8, kernel=5),
                    Option.of(filters=16, kernel=3),
                ),
                0,
                first,
            ),
            BlockLayer(
                "second",
                (
                    Option.of(pool=True) if pool else Option.of(drop=True),
                    Option.of(kernel=3),
                    Option.of(kernel=5),
                ),
                1,
                second,
            ),
            # The same blocks again: measured once.
            BlockLayer("third", (Option.of(kernel=3),), 0, second),
            fixed("head", MobileNetV3Head(32, classes, dropout)),
        ),
        {
            "resolution": resolution,
            "classes": classes,
            "channels": channels,
            "stem_stride": stem_stride,
            "dropout": dropout,
        },
    )


def networks() -> dict[str, SearchSpace]:
    """A network of each family of blocks, with one option per layer."""
    spaces = {}
    for name, options, head in (
        ("v2", {}, ConvHead(ConvBlock(64), 10)),
        ("v3", V3, MobileNetV3Head(64, 10)),
        ("efficientnet", SWISH, ConvHead(ConvBlock(64, activation="swish"), 10)),
    ):
        layers = (
            fixed("stem", Stem(Rescale(), ConvBlock(16, 3, 2))),
            fixed("first", InvertedBottleneck(24, 5, 4, 2, **options)),
            fixed("second", InvertedBottleneck(24, 3, 3, 1, **options)),
            fixed("third", InvertedBottleneck(24, 3, 1, 1, **options)),
            fixed("head", head),
        )
        spaces[name] = block_space(name, State(3, 32, 32), layers, {})
    return spaces


def table_of(space: SearchSpace, scale: float = 2.0, offset: float = 0.5) -> dict:
    """A table as `export.latency_table` writes it, of invented times."""
    rng = np.random.default_rng(0)
    return {
        "kind": KIND,
        "version": 1,
        "space": space.name,
        "arguments": dict(space.arguments),
        "device": "host: a processor",
        "runtime": "ai-edge-litert",
        "runtime_version": "2.3.0",
        "threads": 1,
        "format": "float32",
        "calibration": {"scale": scale, "offset_ms": offset},
        "layers": [
            {
                "name": layer.name,
                "options": [option.label for option in layer.options],
                "states": [list(dataclasses.astuple(state)) for state in states],
                "ms": rng.uniform(0.1, 1, (len(states), len(layer.options))).tolist(),
            }
            for layer, states in zip(space.layers, space.chain.states)
        ],
    }
