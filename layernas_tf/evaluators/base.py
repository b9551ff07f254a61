"""What a reward is: the type that every evaluator has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from layernas_tf.space.candidate import Candidate


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is known of a candidate after it was evaluated.

    Example: `Evaluation(0.93, {"valid_loss": 0.2})`.

    Attributes:
      reward: What the search maximizes, usually validation accuracy.
      metrics: Further figures by name, for reports only: the search never sees them.
    """

    reward: float
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


Evaluator = Callable[[Candidate], Evaluation]
"""Any function of a candidate. What it raises fails that trial, with its message."""


class TrialFailure(RuntimeError):
    """A candidate could not be evaluated; the message is the reason, in one line.

    Example: `raise TrialFailure("loss became nan in epoch 2")`.
    """
