"""Search spaces of blocks: costs and Keras models from one description."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from layernas_tf.costs.operators import costs, elements
from layernas_tf.space.published import Published
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer, Option, State, Transition
from search_spaces.blocks.blocks import Block


@dataclasses.dataclass(frozen=True)
class BlockLayer:
    """One layer of a space of blocks.

    Example: see `stage` in `examples/my_space.py`.

    Attributes:
      name: A name that is unique in the space; the names of the layer's Keras layers
        start with it.
      options: The options of the layer.
      default: Index of the published network's option.
      block: Makes the block of an option.
    """

    name: str
    options: tuple[Option, ...]
    default: int
    block: Callable[[Option], Block]


def fixed(name: str, block: Block, **attributes: Any) -> BlockLayer:
    """A layer with a single option, whose attributes appear in tables and reports."""
    return BlockLayer(name, (Option.of(**attributes),), 0, lambda option: block)


def block_space(
    name: str,
    image: State,
    block_layers: Sequence[BlockLayer],
    arguments: Mapping[str, Any],
    published: Published | None = None,
) -> SearchSpace:
    """Makes a search space whose options are blocks.

    The costs of a layer are those of its block's operators. The input image counts in
    the peak memory of every layer, as TFLite's interpreter keeps it until the end.

    Args:
      name: Name of the space.
      image: Channels, height and width of the input.
      block_layers: The chain, from the stem to the classifier.
      arguments: The arguments with which `search_spaces.registry.get_space` makes the
        space again.
      published: Trained weights of the default architecture.

    Returns:
      The space. Its `builder(architecture, keras_module=None)` makes the Keras model
      with `keras`, or with the module given (`tf_keras`).
    """
    block_layers = tuple(block_layers)

    def blocks(architecture: Architecture) -> Iterator[tuple[str, Block]]:
        for layer, index in zip(block_layers, architecture, strict=True):
            yield layer.name, layer.block(layer.options[index])

    def builder(
        architecture: Architecture, keras_module: ModuleType | None = None
    ) -> Any:
        return build_network(name, image, blocks(architecture), keras_module)

    return SearchSpace(
        name=name,
        start=image,
        layers=tuple(
            Layer(
                layer.name,
                layer.options,
                layer.default,
                _transition(layer, elements(image)),
                layer.block,
            )
            for layer in block_layers
        ),
        builder=builder,
        arguments=dict(arguments),
        published=published,
    )


def _transition(layer: BlockLayer, image_elements: int) -> Transition:
    # Cached: tables and samplers ask for the same few
    # hundred pairs again and again.
    @functools.cache
    def transition(state: State, option: Option) -> tuple[State, Mapping[str, float]]:
        after, operators = layer.block(option).operators(state)
        return after, costs(operators, image_elements)

    return transition


def build_network(
    name: str,
    image: State,
    blocks: Iterable[tuple[str, Block]],
    keras_module: ModuleType | None = None,
) -> Any:
    """Chains blocks into a Keras model.

    Args:
      name: Name of the model.
      image: Channels, height and width of the input.
      blocks: Name and block, in order.
      keras_module: `keras` (None) or `tf_keras`.

    Returns:
      The model, from float32 images in [0, 255] `(batch, height, width, channels)` to
      probabilities `(batch, classes)`, with fresh weights.
    """
    if keras_module is None:
        import keras

        keras_module = keras
    with _activations(keras_module):
        images = keras_module.Input(
            (image.height, image.width, image.channels), name="images"
        )
        x = images
        for block_name, block in blocks:
            x = block.build(x, keras_module.layers, block_name)
        # A user's space is named by its path, which has characters that graphs forbid.
        return keras_module.Model(images, x, name=_identifier(name))


def _identifier(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_")


@contextlib.contextmanager
def _activations(keras_module: ModuleType) -> Iterator[None]:
    """Provides tf_keras with the activations of Keras 3 while a model is built.

    The `hard_sigmoid` of tf_keras is another function: 0.2 x + 0.5, clipped.
    """
    if keras_module.__name__ == "keras":
        yield
        return
    import tensorflow as tf

    def hard_sigmoid(x: Any) -> Any:
        return tf.nn.relu6(x + 3.0) / 6.0

    def hard_swish(x: Any) -> Any:
        return x * hard_sigmoid(x)

    with keras_module.utils.custom_object_scope(
        {"hard_sigmoid": hard_sigmoid, "hard_swish": hard_swish}
    ):
        yield
