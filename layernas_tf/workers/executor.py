"""Where candidates are evaluated: the interface, and the executor of this process.

`layernas_tf.workers.ray_workers` evaluates in many processes and on many machines. The
loop of the search is the same for every executor. While the executor has a free place,
it asks the algorithm and submits the candidate; then it waits for outcomes and tells
them to the algorithm.
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

    Example:
      >>> from layernas_tf.space.candidate import Candidate
      >>> Outcome(Candidate((0, 1), 0), None, 3.5, "out of memory").reason
      'out of memory'

    Attributes:
      candidate: The candidate that was evaluated.
      evaluation: The evaluator's result; None if the evaluation failed.
      seconds: Duration of the evaluation.
      reason: Why it failed, in one line; empty if it succeeded.
    """

    candidate: Candidate
    evaluation: Evaluation | None
    seconds: float
    reason: str = ""


class Executor(Protocol):
    """Evaluates candidates.

    Example:
      executor: Executor = InProcess(evaluator)
      executor.submit(candidate)
      outcomes = executor.wait()

    Attributes:
      free: How many candidates may be submitted now.
      running: How many were submitted and have not been returned by `wait` yet.
    """

    @property
    def free(self) -> int:
        """See the attributes."""

    @property
    def running(self) -> int:
        """See the attributes."""

    def submit(self, candidate: Candidate) -> None:
        """Accepts a candidate and returns without waiting for its evaluation."""

    def wait(self) -> list[Outcome]:
        """Waits for at least one candidate; returns the outcomes of all that ended."""

    def close(self) -> None:
        """Stops all evaluations and releases the executor's resources."""


class InProcess:
    """Evaluates in this process, one candidate at a time.

    Example:
      >>> from layernas_tf.evaluators.base import Evaluation
      >>> from layernas_tf.space.candidate import Candidate
      >>> executor = InProcess(lambda candidate: Evaluation(0.5))
      >>> executor.submit(Candidate((0, 1), 0))
      >>> [outcome.evaluation.reward for outcome in executor.wait()]
      [0.5]

    Args:
      evaluator: Computes the rewards.
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
    """Runs an evaluator; an exception becomes the reason of a failed trial."""
    start = time.monotonic()
    try:
        evaluation, reason = evaluator(candidate), ""
    except Exception as error:  # one candidate must not end the search
        evaluation, reason = None, describe(error)
    return Outcome(candidate, evaluation, time.monotonic() - start, reason)
