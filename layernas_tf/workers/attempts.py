"""How often a candidate is tried again when its worker is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Attempts:
    """When an evaluation in another process is stopped, and how often it is retried.

    Only the loss of a process is worth another attempt: an exception in the evaluator
    would most likely occur again.

    Example: with `Attempts(timeout=600, retries=2)`, a candidate fails when its third
    attempt has crashed or has taken longer than ten minutes.

    Attributes:
      timeout: Seconds that an evaluation may take; None for no limit.
      retries: How often a candidate is tried again.
      say: Called with a line of text whenever a candidate is tried again.
    """

    timeout: float | None = None
    retries: int = 0
    say: Callable[[str], None] = lambda line: None

    @property
    def too_late(self) -> str:
        """The reason of an attempt that took too long."""
        return f"not done after {self.timeout:g} s (`trial_timeout`)"

    def failed(self, number: int, attempts: int, reason: str) -> str | None:
        """Decides about a lost attempt: None to try again, else why the trial failed.

        Args:
          number: The trial's number.
          attempts: How many attempts have failed so far.
          reason: Why the last attempt failed.
        """
        if attempts <= self.retries:
            self.say(f"trial {number}: {reason}; tried again")
            return None
        return f"{reason}; tried {attempts} times" if attempts > 1 else reason


ONCE = Attempts()
"""One attempt, without a time limit."""
