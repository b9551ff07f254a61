"""The weights of a network's layers by name."""

from __future__ import annotations

import keras
import numpy as np


def layer_weights(model: keras.Model) -> dict[str, dict[str, np.ndarray]]:
    """The weights of every layer that has weights, see `by_name`."""
    return {
        layer.name: {name: np.asarray(v.numpy()) for name, v in by_name(layer).items()}
        for layer in model.layers
        if layer.weights
    }


def by_name(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """The variables of a layer; of equal names, the later ones have their number."""
    named: dict[str, keras.Variable] = {}
    for number, variable in enumerate(layer.weights):
        taken = variable.name in named
        named[f"{variable.name}/{number}" if taken else variable.name] = variable
    return named
