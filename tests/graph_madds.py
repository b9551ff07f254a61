"""Multiply-adds as TensorFlow's own graph profiler counts them."""

from __future__ import annotations

import contextlib
import io
from typing import Any


def graph_madds(model: Any) -> int:
    """Half the FLOPs of a Keras model's convolutions and matrix products, one image."""
    import tensorflow as tf

    profiler = tf.compat.v1.profiler
    shape = (1, *model.input_shape[1:])
    graph = (
        tf.function(lambda images: model(images, training=False))
        .get_concrete_function(tf.TensorSpec(shape, tf.float32))
        .graph
    )
    options = (
        profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
        .with_empty_output()
        .build()
    )
    with contextlib.redirect_stdout(io.StringIO()):
        root = profiler.profile(graph, cmd="scope", options=options)
    kinds = {operation.name: operation.type for operation in graph.get_operations()}
    products = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
    total, nodes = 0, [root]
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children)
        if kinds.get(node.name) in products:
            total += node.float_ops
    return total // 2
