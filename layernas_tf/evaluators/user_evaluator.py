"""An evaluator that the user names as `path/to/file.py:function`."""

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
    `reward(candidate)` if it does not.

    Args:
      reference: The file and the name of a function in it. The file is run, so name
        only files that you trust. The function takes a `Candidate` and returns a
        number, where higher is better, or an `Evaluation`.
      **offered: Objects that the function receives if it has a parameter of that name.

    Raises:
      UserError: There is no such file or function, or the function has a parameter that
        is not offered.
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
