"""Running statistics of batch normalization after a change of weights.

Statistics are only right for the network and the images on which they were averaged.
After surgery, or for images of another kind or size, they must be measured again (Yu
and Huang, arXiv 1903.05134, section 3.3): otherwise a cut network is no better than
chance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import keras
import numpy as np

from layernas_tf.training.graph_walk import (
    classifier_of,
    infer,
    normalize_batch,
    walk,
)

IMAGES = 256
"""Number of images. It is enough, because even the smallest feature maps of a network
give thousands of values per channel."""


def recalibrate(
    model: keras.Model,
    images: np.ndarray,
    identities: Collection[str] = (),
    refit: Callable[[keras.layers.Layer, Any], None] | None = None,
) -> np.ndarray:
    """Sets every batch normalization's statistics to those of the images.

    Each layer is measured after the layers before it have got their new statistics.

    Args:
      model: The network, whose statistics are replaced.
      images: (N, H, W, C) in [0, 255], shuffled; the first `IMAGES` are used.
      identities: Names of batch normalizations that must not change their input: their
        scale and offset are set to match the new statistics.
      refit: Called with each layer and its inputs before the layer is computed; it may
        change the layer's weights (`reconstruct`).

    Returns:
      (N, features) What the last layer with weights reads for these images.

    Example:
      recalibrate(model, dataset.train.images)
    """
    kept = set(identities)
    last = classifier_of(model)
    read: list[Any] = []

    def call(layer: keras.layers.Layer, inputs: Any) -> Any:
        if refit is not None:
            refit(layer, inputs)
        if layer is last:
            read.append(inputs)
        if not isinstance(layer, keras.layers.BatchNormalization):
            return infer(layer, inputs)
        outputs = normalize_batch(layer, inputs)
        if layer.name not in kept:
            return outputs
        layer.gamma.assign(keras.ops.sqrt(layer.moving_variance + layer.epsilon))
        layer.beta.assign(layer.moving_mean)
        return infer(layer, inputs)

    walk(model, np.asarray(images[:IMAGES], np.float32), call)
    features = np.asarray(keras.ops.convert_to_numpy(read[0]), np.float32)
    return features.reshape(len(features), -1)
