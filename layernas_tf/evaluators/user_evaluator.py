"""An evaluator that the user has named as `path/to/file.py:function`."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.user_code import (
    UserCode,
    accepted_arguments,
    describe_in,
    parse_reference,
)
from layernas_tf.evaluators.base import Evaluation, Evaluator, TrialFailure
from layernas_tf.evaluators.function import FunctionEvaluator
from layernas_tf.space.candidate import Candidate

KIND = "evaluator"


def check_evaluator(reference: str) -> None:
    """Raises `UserError` if the text names no file; the file is not run."""
    parse_reference(KIND, reference)


def load_evaluator(reference: str, **offered: Any) -> Evaluator:
    """Loads `path/to/file.py:function`.

    For example, `load_evaluator("my_evaluator.py:reward", space=space)` calls
    `reward(candidate, space=space)` if the function has a parameter `space`, and
    `reward(candidate)` if it has not.

    Args:
      reference: The file, which is run (only name files that you trust), and the name
        of a function from a `Candidate` to a number, higher is better, or to an
        `Evaluation`.
      **offered: What the function may ask for by the name of a parameter.

    Raises:
      UserError: There is no such file or function, or it asks for something else.
    """
    code = parse_reference(KIND, reference)
    function = code.load_callable()
    accepted = accepted_arguments(function)
    if accepted is None:
        given = offered
    else:
        unknown = [name for name in accepted[1:] if name not in offered]
        if not accepted or unknown:
            raise UserError(
                f"{code.subject}: expected a function of a candidate, and perhaps of "
                f"{', '.join(offered)}; {code.attribute}() takes "
                f"{', '.join(accepted) or 'nothing'}"
            )
        given = {name: offered[name] for name in accepted[1:]}
    return _Explained(code, FunctionEvaluator(functools.partial(function, **given)))


@dataclasses.dataclass(frozen=True)
class _Explained:
    """Says in which line of the user's file a trial failed."""

    code: UserCode
    evaluator: Evaluator

    def __call__(self, candidate: Candidate) -> Evaluation:
        try:
            return self.evaluator(candidate)
        except (TrialFailure, UserError):
            raise
        except Exception as error:
            raise TrialFailure(describe_in(error, self.code.path)) from error
