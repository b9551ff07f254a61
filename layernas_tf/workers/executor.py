"""Where candidates are evaluated; here in this process, one after the other.

`layernas_tf.workers.ray_workers` evaluates in many processes and on many machines. The
search's loop is the same for every executor: while it has a free place, ask and submit;
wait for what is done; tell.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable
from typing import Protocol

from layernas_tf.core.errors import describe
from layernas_tf.evaluators.base import Evaluation, Evaluator
from layernas_tf.space.candidate import Candidate


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the evaluation of one candidate ended.

    Attributes:
      candidate: What was evaluated.
      evaluation: What it gave; None if it failed.
      seconds: How long it took.
      reason: Why it failed, in one line.
    """

    candidate: Candidate
    evaluation: Evaluation | None
    seconds: float
    reason: str = ""


class Executor(Protocol):
    """Evaluates candidates.

    Attributes:
      free: How many candidates may be submitted now.
      running: How many are submitted and not yet handed back.
    """

    free: int
    running: int

    def submit(self, candidate: Candidate) -> None:
        """Takes a candidate; at once, without waiting for it."""

    def wait(self) -> list[Outcome]:
        """Blocks until at least one candidate is done; hands back all that are."""

    def close(self) -> None:
        """Ends what is running and gives back what was taken."""


class InProcess:
    """Evaluates in this process, one candidate at a time.

    Args:
      evaluator: Gives the rewards.
      end: Called when the executor is closed.
    """

    def __init__(self, evaluator: Evaluator, end: Callable[[], None] = lambda: None):
        self._evaluator = evaluator
        self._end = end
        self._submitted: collections.deque[Candidate] = collections.deque()

    @property
    def free(self) -> int:
        """See `Executor`."""
        return 1 - len(self._submitted)

    @property
    def running(self) -> int:
        """See `Executor`."""
        return len(self._submitted)

    def submit(self, candidate: Candidate) -> None:
        """See `Executor.submit`."""
        self._submitted.append(candidate)

    def wait(self) -> list[Outcome]:
        """See `Executor.wait`."""
        return [evaluate(self._evaluator, self._submitted.popleft())]

    def close(self) -> None:
        """See `Executor.close`."""
        self._submitted.clear()
        self._end()


def evaluate(evaluator: Evaluator, candidate: Candidate) -> Outcome:
    """Runs an evaluator; what it raises becomes the reason of a failed trial."""
    start = time.monotonic()
    try:
        evaluation, reason = evaluator(candidate), ""
    except Exception as error:  # one candidate must not end the search
        evaluation, reason = None, describe(error)
    return Outcome(candidate, evaluation, time.monotonic() - start, reason)
