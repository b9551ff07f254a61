"""Which stored layer a layer of ours corresponds to, and the copying of its weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.training.weight_files import StoredLayer, find_layer


def corresponding(
    layers: Sequence[keras.layers.Layer],
    stored: Sequence[StoredLayer],
    published_names: Mapping[str, str],
) -> dict[str, StoredLayer]:
    """The stored layer of each of ours, by our name, the published name, or order.

    Args:
      layers: Our layers with weights, in the order of the computation.
      stored: The layers of a file.
      published_names: The names that the publisher gave the layers, by ours.

    Returns:
      Stored layers by our names; layers without one are left out.
    """
    found: dict[str, StoredLayer] = {}
    for names in ({}, published_names):
        for layer in layers:
            if layer.name not in found and (not names or layer.name in names):
                match = find_layer(stored, names.get(layer.name, layer.name))
                if match is not None:
                    found[layer.name] = match
    if len(found) * 2 > len(layers) or not all(layer.kind for layer in stored):
        return found
    return _by_order(layers, stored)


def _by_order(
    layers: Sequence[keras.layers.Layer], stored: Sequence[StoredLayer]
) -> dict[str, StoredLayer]:
    # Both count the layers of a class in the order of the computation.
    ours: dict[str, list[str]] = defaultdict(list)
    theirs: dict[str, list[StoredLayer]] = defaultdict(list)
    for layer in layers:
        ours[_snake(type(layer).__name__)].append(layer.name)
    for layer in stored:
        theirs[layer.kind].append(layer)
    return {
        name: match
        for kind, names in ours.items()
        for name, match in zip(names, theirs[kind], strict=False)
    }


def _snake(name: str) -> str:
    return "".join(
        f"_{c.lower()}"
        if c.isupper() and i and not name[i - 1].isdigit()
        else c.lower()
        for i, c in enumerate(name)
    ).replace("conv2_d", "conv2d")


def assign_weights(
    layer: keras.layers.Layer, stored: StoredLayer, source: str, *, may_differ: bool
) -> bool:
    """Gives a layer the weights of a stored one.

    Args:
      layer: The layer. For images of one channel, it gets the sum over the colours.
      stored: What corresponds to it.
      source: What the user calls the file, for messages.
      may_differ: Whether another shape leaves the layer as it is; else it is an error.

    Returns:
      Whether the weights were copied.

    Raises:
      UserError: A weight is missing, has another shape or values that are no numbers.
    """
    values: list[tuple[Any, np.ndarray]] = []
    for index, variable in enumerate(layer.weights):
        value = stored.arrays.get(variable.name, stored.arrays.get(str(index)))
        if value is not None:
            value = _summed_colours(value, variable.shape)
        if value is None or value.shape != tuple(variable.shape):
            if may_differ:
                return False
            got = "no such weight" if value is None else f"shape {value.shape}"
            raise UserError(
                f"`pretrained`={source}: {stored.path[-1]!r} has {got} for "
                f"{variable.name}, expected {tuple(variable.shape)}: is it a network "
                "of another width?"
            )
        if not np.isfinite(value).all():
            raise UserError(
                f"`pretrained`={source}: {stored.path[-1]!r} has weights that are no "
                "numbers"
            )
        values.append((variable, value))
    for variable, value in values:
        variable.assign(value)
    return True


def _summed_colours(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if value.ndim == 4 and value.shape[2] == 3 and len(shape) == 4 and shape[2] == 1:
        return value.sum(axis=2, keepdims=True)
    return value
