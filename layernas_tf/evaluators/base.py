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


@dataclasses.dataclass(frozen=True)
class Attempts:
    """When an evaluation in another process is given up, and how often tried again.

    Only what befalls the process is worth another attempt; what the evaluator raises
    it would raise again.

    Attributes:
      timeout: Seconds that an evaluation may take; None for any time.
      retries: How often a candidate is tried again.
      say: Gets a line whenever one is.
    """

    timeout: float | None = None
    retries: int = 0
    say: Callable[[str], None] = lambda line: None

    @property
    def too_late(self) -> str:
        """The reason of an attempt that took too long."""
        return f"not done after {self.timeout:g} s (--trial_timeout)"

    def failed(self, number: int, attempts: int, reason: str) -> str | None:
        """Why a trial has failed now; None if it is to be tried again.

        Args:
          number: Of the trial.
          attempts: That have failed so far.
          reason: Why the last one did.
        """
        if attempts <= self.retries:
            self.say(f"trial {number}: {reason}; tried again")
            return None
        return f"{reason}; tried {attempts} times" if attempts > 1 else reason


ONCE = Attempts()
"""No second attempt, and any time for the first."""
