"""An architecture that an algorithm wants to be evaluated."""

from __future__ import annotations

import dataclasses

from layernas_tf.space.types import Architecture


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture that an algorithm wants to be evaluated.

    Attributes:
      architecture: What to train.
      number: The ask's number, counted from 0; also the trial's number.
      layer: For LayerNAS, the layer whose option was just chosen.
      parent: For LayerNAS, the kept candidate that this one is a child of.
    """

    architecture: Architecture
    number: int
    layer: int | None = None
    parent: Architecture | None = None
