"""The parts of a search that are given as objects, in addition to its configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.evaluators.base import Evaluator


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """The parts of a search that are given as objects.

    For None, the configuration names the part.

    Example:
      Inputs(registry.get_space, registry.check_name, space=my_space)

    Attributes:
      get_space: Makes the space of a name, such as `search_spaces.registry.get_space`:
        the library itself has no spaces.
      check_space: Raises `UserError` for a name that `get_space` does not know, before
        anything is loaded.
      space: The search space.
      dataset: Images to train on.
      budgets: What the answer may cost.
      evaluator: Gives a candidate its reward, in place of a proxy training.
      algorithm: A class or function of (space, budgets, seed=), or an algorithm in its
        first state.
    """

    get_space: Callable[..., SearchSpace]
    check_space: Callable[[str], None]
    space: SearchSpace | None = None
    dataset: Dataset | None = None
    budgets: tuple[Budget, ...] | None = None
    evaluator: Evaluator | None = None
    algorithm: Any = None
