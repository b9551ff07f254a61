"""An evaluator made from the user's own function."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable

from layernas_tf.evaluators.base import Evaluation, TrialFailure
from layernas_tf.space.candidate import Candidate


@dataclasses.dataclass(frozen=True)
class FunctionEvaluator:
    """Takes the number that a function returns as the candidate's reward.

    Example:
      >>> from layernas_tf.space.candidate import Candidate
      >>> evaluator = FunctionEvaluator(lambda candidate: sum(candidate.architecture))
      >>> evaluator(Candidate((0, 2), 0)).reward
      2.0

    Attributes:
      function: Takes a candidate and returns a number, where higher is better, or an
        `Evaluation`. If it raises an exception, that trial fails, and the exception's
        message is the reason.
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
