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


class TrialFailure(RuntimeError):
    """A candidate could not be evaluated; the message is the reason, in one line."""


def describe(error: BaseException) -> str:
    """An exception as one line; of this package's own, the message says it all."""
    text = " ".join(str(error).split())[:500]
    if text and type(error).__module__.startswith("layernas_tf."):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
