"""Refits convolutions that lost input channels to what they gave before.

After a cut, a convolution reads fewer channels. Its remaining weights can make up for a
large part of the loss: they are fitted, by least squares on the user's images, to give
what the convolution of the uncut network gives for the same images. Source: Y. He, X.
Zhang, J. Sun, "Channel pruning for accelerating very deep neural networks", arXiv
1707.06168, section 3.1, where the fit is the second of two steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from layernas_tf.core.threads import one_thread
from layernas_tf.training.graph_walk import infer, walk

_PIXELS = 16
"""Pixels of each image's feature maps that are fitted to."""

_PENALTY = 0.3
"""Strength of the pull to the weights as cut, relative to the inputs' variance."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstruction:
    """What the convolutions of the uncut network give for some images.

    Example:
      known = record(pretrained.model, images)
      refit = functools.partial(known.refit, transplant(donor, model).channels)
      recalibrate(model, images, refit=refit)

    Attributes:
      outputs: For each pointwise convolution, (rows, channels): its outputs at the
        pixels that `_rows` chooses.
    """

    outputs: Mapping[str, np.ndarray]

    def refit(
        self,
        channels: Mapping[str, np.ndarray],
        layer: keras.layers.Layer,
        inputs: Any,
    ) -> None:
        """Fits a convolution's kernel, if the uncut network has the convolution.

        Args:
          channels: As `surgery.Transplant` has them.
          layer: A layer of the cut network. After a convolution comes a batch
            normalization, which makes up for constants.
          inputs: What it reads for the same images.
        """
        if layer.name not in channels or layer.name not in self.outputs:
            return
        known = self.outputs[layer.name]
        x = _rows(inputs)
        wanted = known[:, channels[layer.name]].astype(np.float64)
        x, wanted = x - x.mean(axis=0), wanted - wanted.mean(axis=0)
        kernel = np.asarray(layer.kernel.numpy(), np.float64)
        before = kernel.reshape(-1, kernel.shape[-1])
        with one_thread():
            square = x.T @ x
            square[np.diag_indices_from(square)] += (
                _PENALTY * np.trace(square) / len(square) + 1e-9
            )
            change = np.linalg.solve(square, x.T @ (wanted - x @ before))
        layer.kernel.assign((before + change).reshape(kernel.shape))


def record(model: keras.Model, images: np.ndarray) -> Reconstruction:
    """Runs the uncut network.

    Args:
      model: The network; its batch normalization fits the images.
      images: (N, H, W, C) in [0, 255].
    """
    outputs: dict[str, np.ndarray] = {}

    def call(layer: keras.layers.Layer, inputs: Any) -> Any:
        made = infer(layer, inputs)
        if _is_pointwise(layer):
            outputs[layer.name] = _rows(made).astype(np.float16)
        return made

    walk(model, np.asarray(images, np.float32), call)
    return Reconstruction(outputs)


def _is_pointwise(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and tuple(layer.kernel_size) == (1, 1)
        and not layer.use_bias
        and layer.filters <= 512
    )


def _rows(values: Any) -> np.ndarray:
    """(N * pixels, channels): the values at some pixels, the same in every network."""
    images, rows, columns, channels = values.shape
    chosen = np.random.default_rng(0).permutation(rows * columns)[:_PIXELS]
    pixels = keras.ops.reshape(values, (images, rows * columns, channels))
    # Of whole feature maps, the conversion would take longer than the fit.
    found = keras.ops.convert_to_numpy(keras.ops.take(pixels, chosen, axis=1))
    return np.asarray(found, np.float64).reshape(-1, channels)
