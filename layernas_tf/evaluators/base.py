"""What a reward is: the type that every evaluator has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from layernas_tf.algorithms.base import Candidate


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is known of a candidate after it was evaluated.

    Attributes:
      reward: What the search maximizes, usually validation accuracy.
      metrics: Further figures by name, for reports only: the search never sees them.
    """

    reward: float
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


Evaluator = Callable[[Candidate], Evaluation]
"""Any function of a candidate. What it raises fails that trial, with its message."""
