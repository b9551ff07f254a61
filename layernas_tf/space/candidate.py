"""An architecture that an algorithm wants to have evaluated."""

from __future__ import annotations

import dataclasses

from layernas_tf.space.types import Architecture


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture that an algorithm wants to have evaluated.

    Example: `Candidate((1, 0, 2), number=7)` proposes the options 1, 0 and 2 of three
    layers as the eighth trial.

    Attributes:
      architecture: The architecture to evaluate.
      number: The trial's number, counted from 0.
      layer: For LayerNAS, the layer whose option was just chosen.
      parent: For LayerNAS, the kept candidate that this one is a child of.
    """

    architecture: Architecture
    number: int
    layer: int | None = None
    parent: Architecture | None = None
