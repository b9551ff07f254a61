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
      layers: The names that the publisher gave the layers, by ours.
      application: Class of `keras.applications` that downloads ImageNet's weights.
      arguments: Its arguments.
      optional: Layers that a file may lack, as networks without a top do.
      constants: Layers of the publisher that are constants here: the values that a
        file may have for each of their weights.
      from_npz: Reads arrays by their names in another framework; None: there is no
        such source. Raises `KeyError` for a name that is missing.

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
