"""The interface of every evaluator: from a candidate to its reward."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from layernas_tf.space.candidate import Candidate


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of evaluating one candidate.

    Example: `Evaluation(0.93, {"valid_loss": 0.2})`.

    Attributes:
      reward: What the search maximizes, usually validation accuracy.
      metrics: Further figures by name; they appear in reports only and do not influence
        the search.
    """

    reward: float
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


Evaluator = Callable[[Candidate], Evaluation]
"""Any function of a candidate. If it raises an exception, that trial fails, and the
exception's message is the reason."""


class TrialFailure(RuntimeError):
    """A candidate could not be evaluated; the message is the reason, in one line.

    Example: `raise TrialFailure("loss became nan in epoch 2")`.
    """
