"""An evaluator made of a function of the user's own."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable

from layernas_tf.evaluators.base import Evaluation, TrialFailure
from layernas_tf.space.candidate import Candidate


@dataclasses.dataclass(frozen=True)
class FunctionEvaluator:
    """Rewards a candidate with what a function returns.

    Example:
      FunctionEvaluator(lambda candidate: -sum(candidate.architecture))

    Attributes:
      function: From a candidate to a number, higher is better, or to an `Evaluation`.
        What it raises fails that trial, with its message.
    """

    function: Callable[[Candidate], float | Evaluation]

    def __call__(self, candidate: Candidate) -> Evaluation:
        """Evaluates the candidate.

        Raises:
          TrialFailure: The function returned neither a number nor an `Evaluation`.
        """
        value = self.function(candidate)
        if isinstance(value, Evaluation):
            return value
        if isinstance(value, numbers.Real) or getattr(value, "shape", None) == ():
            return Evaluation(reward=float(value))
        raise TrialFailure(
            f"the evaluator returned {type(value).__name__}: expected a number"
        )
