"""Where the weights of a space's published network are, and under what names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

LayerArrays = Mapping[str, Mapping[str, np.ndarray]]
"""Weights of layers: by the layer's name, then by the weight's."""


@dataclasses.dataclass(frozen=True)
class Published:
    """What a space knows of its published network's weights.

    Attributes:
      layers: The publisher's name of each layer, by the layer's name in the space.
      application: Class of `keras.applications` that downloads ImageNet weights.
      arguments: Arguments of that class.
      optional: Layers that a file may lack, as those of networks without a top do.
      constants: Layers of the publisher that are constants in the space: for each of
        their weights, the values that a file may hold.
      from_npz: Makes the weights of layers from arrays named as in another framework,
        and raises `KeyError` for a missing name. None if there is no such source.

    Example:
      Published({"stem_conv": "Conv1"}, "MobileNetV2", {"alpha": 1.0})
    """

    layers: Mapping[str, str]
    application: str = ""
    arguments: Mapping[str, object] = dataclasses.field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    constants: Mapping[str, Mapping[str, tuple[tuple[float, ...], ...]]] = (
        dataclasses.field(default_factory=dict)
    )
    from_npz: Callable[[Mapping[str, np.ndarray]], LayerArrays] | None = None
