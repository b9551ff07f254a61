"""Running statistics of batch normalization after a change of weights.

Statistics belong to the channels that they were averaged over. After surgery, and on
images of another kind or size, they are measured anew (Yu and Huang, arXiv 1903.05134,
section 3.3): without it a cut network is no better than chance.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from layernas_tf.training.graph_walk import infer, walk

IMAGES = 256
"""So many images are enough: the smallest maps of a network still give thousands of
pixels a channel."""


def recalibrate(
    model: keras.Model, images: np.ndarray, identities: Collection[str] = ()
) -> None:
    """Sets every batch normalization's statistics to those of the images.

    Each layer reads what the layers before it give with their new statistics.

    Args:
      model: Ends with the statistics.
      images: (N, H, W, C) in [0, 255], of which the first `IMAGES` are used; in the
        order of a shuffled training set.
      identities: Names of batch normalizations that are to compute nothing: scale and
        offset follow their statistics.

    Example:
      recalibrate(model, dataset.train.images)
    """
    kept = set(identities)

    def call(layer: keras.layers.Layer, inputs: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            axes = [axis for axis in range(len(inputs.shape) - 1)]
            mean, variance = keras.ops.moments(inputs, axes=axes)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
            if layer.name in kept:
                layer.gamma.assign(keras.ops.sqrt(variance + layer.epsilon))
                layer.beta.assign(mean)
        return infer(layer, inputs)

    walk(model, np.asarray(images[:IMAGES], np.float32), call)
