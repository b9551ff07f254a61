"""The blocks and networks of a search space as .tflite files to be timed.

`export.tflite.tflite_layers` writes them in milliseconds if it knows all their layers;
others (a user's own blocks) are built in Keras and converted, which takes seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from export.conversion.saved_model import convert_saved_model, write_saved_model
from export.tflite.tflite_graph import Graph
from export.tflite.tflite_layers import TfliteLayers
from layernas_tf.core.errors import UserError, describe
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, State


def check_blocks(space: SearchSpace) -> None:
    """Raises `UserError` if the space is not made of blocks."""
    for layer in space.layers:
        if layer.block is None:
            raise UserError(
                f"space {space.name!r}: layer {layer.name!r} has no blocks to measure; "
                "expected a space of search_spaces.blocks.builder.block_space"
            )


def block_file(block: Any, state: State, form: str, *, pixels: bool) -> bytes | None:
    """One block as a .tflite file.

    Args:
      block: A `search_spaces.blocks.blocks.Block`.
      state: The state that it reads.
      form: One of `tflite_graph.FORMATS`.
      pixels: Whether it reads the image.

    Returns:
      The bytes of the file; None if the block runs nothing.

    Raises:
      UserError: The block cannot be built or converted.
    """
    return _file([("block", block)], state, form, pixels)


def network_file(space: SearchSpace, architecture: Architecture, form: str) -> bytes:
    """A whole network as a .tflite file; arguments as for `block_file`."""
    blocks = []
    for layer, index in zip(space.layers, architecture):
        assert layer.block is not None  # see check_blocks
        blocks.append((layer.name, layer.block(layer.options[index])))
    content = _file(blocks, space.start, form, pixels=True)
    if content is None:
        raise UserError(f"space {space.name!r}: an architecture runs nothing at all")
    return content


def _file(
    blocks: Sequence[tuple[str, Any]], state: State, form: str, pixels: bool
) -> bytes | None:
    shape = (1, state.height, state.width, state.channels)
    graph = Graph(shape, form, pixels=pixels)
    layers = TfliteLayers(graph)
    x = graph.input
    try:
        for name, block in blocks:
            x = block.build(x, layers, name)
        return None if x is graph.input else graph.write(x)
    except Exception:  # whatever a user's block does with what it takes for Keras
        return _converted(blocks, shape[1:], form, pixels)


def _converted(
    blocks: Sequence[tuple[str, Any]],
    shape: tuple[int, int, int],
    form: str,
    pixels: bool,
) -> bytes | None:
    import keras

    inputs = x = keras.Input(shape, name="images")
    try:
        for name, block in blocks:
            x = block.build(x, keras.layers, name)
    except Exception as error:
        raise UserError(
            f"block {blocks[-1][1]!r} cannot be built in Keras: {describe(error)}"
        ) from error
    if x is inputs:
        return None
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    model.set_weights([_weight(rng, weight.shape) for weight in model.weights])

    def configure(converter: Any) -> None:
        import tensorflow as tf

        if form == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8 if pixels else tf.int8
            converter.inference_output_type = tf.int8
            converter.representative_dataset = lambda: iter(
                [[rng.normal(size=(1, *shape)).astype(np.float32)] for _ in range(2)]
            )

    with tempfile.TemporaryDirectory(prefix="saved_model_") as folder:
        write_saved_model(
            lambda image: model(image, training=False),
            [variable.value for variable in model.variables],
            shape,
            folder,
        )
        return convert_saved_model(folder, configure, form)


def _weight(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) < 2:
        return rng.uniform(0.5, 1.0, shape)
    return rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
