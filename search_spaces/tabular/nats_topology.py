"""NATS-Bench topology (NAS-Bench-201): one cell of six edges, five operations each.

Dong, Liu, Musial, Gabrys, "NATS-Bench: Benchmarking NAS Algorithms for Architecture
Topology and Size", TPAMI 2021, arXiv 2009.00437, section 3.1. The network: a 3x3 stem
of 16 channels; three stages of five equal cells with 16, 32 and 64 channels at a
resolution of 1, 1/2 and 1/4 of the image; a residual block of stride 2 between stages;
a linear classifier. A cell has four nodes, of which node `j` is the sum over all
`i < j` of the edge's operation on node `i`.

The chain's layers are the six edges in the order in which the benchmark writes them
(0->1, 0->2, 1->2, 0->3, 1->3, 2->3). An edge costs the same wherever it is and whatever
the others are, so sums along the chain are exact. Stem, residual blocks and classifier
are in the first layer. Costs are counted as in the benchmark's records: `params` are
the trainable weights, `madds` the multiply-adds of convolutions and classifier plus one
addition per class for the classifier's bias; an edge that leads nowhere is counted too.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State
from search_spaces.tabular.counting import (
    benchmark_image,
    padded_conv,
    published_costs,
)

OPERATIONS = ("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
"""The options of every edge, in the benchmark's words."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The edges of a cell, each from a node to a later one."""

CHANNELS = (16, 32, 64)
"""Channels of the three stages."""

CELLS = 5
"""Number of cells in each stage."""


@functools.cache
def nats_bench_topology(
    resolution: int = 32, classes: int = 10, channels: int = 3
) -> SearchSpace:
    """The space; its default has a 3x3 convolution on every edge.

    Args:
      resolution: Rows and columns of the images, divisible by 4; the benchmark has 32,
        and 16 for ImageNet16-120.
      classes: Number of classes; the benchmark has 10, 100 and, for ImageNet16-120,
        120.
      channels: Channels of the images; the benchmark has 3.

    Raises:
      UserError: An argument is out of range.

    Example:
      >>> space = nats_bench_topology()
      >>> round(space.costs(space.default)["madds"] / 1e6, 1)
      220.1
    """
    image = benchmark_image("nats_bench_topology", resolution, 4, classes, channels)
    options = tuple(Option.of(operation=name) for name in OPERATIONS)
    layers = tuple(
        Layer(
            f"edge{source}to{target}",
            options,
            len(options) - 1,
            functools.partial(_transition, number == 0, image, classes),
        )
        for number, (source, target) in enumerate(EDGES)
    )
    return SearchSpace(
        name="nats_bench_topology",
        start=image,
        layers=layers,
        metrics=(Metric("madds", "sum", "MAdds"), Metric("params", "sum", "params")),
        arguments={"resolution": resolution, "classes": classes, "channels": channels},
    )


def topology_names(space: SearchSpace) -> list[str]:
    """How NATS-Bench writes the architectures, in lexicographic order of the options.

    One of them is `|none~0|+|none~0|none~1|+|none~0|none~1|none~2|`.
    """
    words = [
        [f"{option['operation']}~{source}" for option in layer.options]
        for layer, (source, _) in zip(space.layers, EDGES)
    ]
    return [
        "|{}|+|{}|{}|+|{}|{}|{}|".format(*edges) for edges in itertools.product(*words)
    ]


def _transition(
    first: bool, image: State, classes: int, state: State, option: Option
) -> tuple[State, Mapping[str, float]]:
    """An edge of all fifteen cells; the first edge also pays for the other layers."""
    operators: list[Operator] = []
    for stage, filters in enumerate(CHANNELS):
        shape = State(filters, image.height >> stage, image.width >> stage)
        operators += _edge_operators(shape, option["operation"]) * CELLS
    biases = classes if first else 0
    if first:
        operators += _other_operators(image, classes)
    costs = published_costs(operators, 0, biases)
    return state, {"madds": costs["madds"], "params": costs["params"]}


def _edge_operators(x: State, operation: str) -> list[Operator]:
    if operation == "avg_pool_3x3":
        return [ops.average_pool(x, 3, 1)]
    if operation in ("none", "skip_connect"):
        return []
    kernel = 3 if operation == "nor_conv_3x3" else 1
    return [
        ops.activation(x, "relu"),
        ops.conv(x, x.channels, kernel),
        ops.batch_norm(x),
    ]


def _other_operators(image: State, classes: int) -> list[Operator]:
    stem = ops.conv(image, CHANNELS[0], 3)
    operators, state = [stem, ops.batch_norm(stem.target)], stem.target
    for filters in CHANNELS[1:]:
        pool = ops.average_pool(state, 2, 2)
        skip = ops.conv(pool.target, filters, 1)
        norm = ops.batch_norm(skip.target)
        operators += [pool, skip, *padded_conv(state, filters, 3, 2), norm]
        state = skip.target
        operators += [ops.conv(state, filters, 3), norm, ops.add(state)]
    pooled = State(CHANNELS[-1], 1, 1)
    return [*operators, ops.batch_norm(state), ops.dense(pooled, classes)]
