"""Observing a network on the user's images: which channels the loss depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from layernas_tf.training.channel_groups import channel_groups
from layernas_tf.training.graph_walk import infer, walk

_BATCH = 64
_BATCHES = 8


@dataclasses.dataclass(frozen=True)
class Observations:
    """Figures of a network on some images.

    Example:
      seen = observe(model, images, labels)
      seen.taylor["stem_bn"], seen.gates

    Attributes:
      taylor: For each batch normalization an array (channels,): the mean over batches
        of the squared change of the loss, to first order, when the channel becomes zero
        (Molchanov et al., arXiv 1906.10771, section 3.1).
      gates: For the last convolution of each squeeze-and-excite, its mean gates
        (channels,).
    """

    taylor: Mapping[str, np.ndarray]
    gates: Mapping[str, np.ndarray]


def observe(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> Observations:
    """Runs the network on images and differentiates its loss (TensorFlow only).

    Args:
      model: A network that gives probabilities and whose classifier has been fitted.
      images: (N, H, W, C) in [0, 255], shuffled; the first 512 are used.
      labels: (N,) integers.

    Example:
      seen = observe(model, images, labels)
      make_donor(model, "taylor", taylor=seen.taylor, gates=seen.gates)
    """
    import tensorflow as tf

    norms = [
        la for la in model.layers if isinstance(la, keras.layers.BatchNormalization)
    ]
    variables = [v.value for norm in norms for v in (norm.gamma, norm.beta)]
    known = channel_groups(model).gates
    taylor: dict[str, list[np.ndarray]] = {norm.name: [] for norm in norms}
    gates: dict[str, list[np.ndarray]] = {name: [] for name in known}
    for start in range(0, min(len(images), _BATCH * _BATCHES), _BATCH):
        recent: dict[str, Any] = {}

        def call(
            layer: keras.layers.Layer, inputs: Any, recent: dict[str, Any] = recent
        ) -> Any:
            made = infer(layer, inputs)
            if isinstance(layer, keras.layers.Multiply) and isinstance(inputs, list):
                recent[layer.name] = inputs[1]
            return made

        with tf.GradientTape() as tape:
            outputs = walk(
                model, np.asarray(images[start : start + _BATCH], np.float32), call
            )
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(
                    labels[start : start + _BATCH], outputs
                )
            )
        slopes = tape.gradient(loss, variables)
        for index, norm in enumerate(norms):
            change = sum(
                np.asarray(variable) * np.asarray(slope)
                for variable, slope in zip(
                    variables[2 * index : 2 * index + 2],
                    slopes[2 * index : 2 * index + 2],
                    strict=True,
                )
            )
            taylor[norm.name].append(change**2)
        for name, gate in zip(known, recent.values(), strict=False):
            gates[name].append(np.asarray(gate).mean(axis=(0, 1, 2)))
    return Observations(
        {name: np.mean(values, axis=0) for name, values in taylor.items()},
        {name: np.mean(values, axis=0) for name, values in gates.items() if values},
    )
