"""How often a candidate is tried again when its worker is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


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
        return f"not done after {self.timeout:g} s (`trial_timeout`)"

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
