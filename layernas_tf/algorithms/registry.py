"""Algorithms by name. What a name needs is imported when it is asked for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace

_HERE = "layernas_tf.algorithms."
_ALGORITHMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "layernas": ("layernas", "LayerNAS", {"schedule": "sweep"}),
    "layernas_layerwise": ("layernas", "LayerNAS", {"schedule": "layerwise"}),
    "layernas_bayes": ("layernas_bayes", "LayerNASBayes", {}),
    "random": ("random_search", "RandomSearch", {}),
    "regularized_evolution": ("evolution", "RegularizedEvolution", {}),
    "local_search": ("local_search", "LocalSearch", {}),
    "ppo": ("ppo", "PPO", {}),
    "tpe": ("optuna_search", "OptunaSearch", {"sampler": "tpe"}),
    "nsga2": ("optuna_search", "OptunaSearch", {"sampler": "nsga2"}),
    "gp": ("optuna_search", "OptunaSearch", {"sampler": "gp"}),
}

NAMES = tuple(_ALGORITHMS)


def make_algorithm(
    name: str,
    space: SearchSpace,
    budgets: Sequence[Budget],
    seed: int = 0,
    **options: Any,
) -> Algorithm:
    """Makes a search algorithm.

    Args:
      name: One of `NAMES`.
      space: Where to search.
      budgets: What the answer may cost.
      seed: Of all randomness.
      **options: Of the algorithm; see its class.

    Raises:
      UserError: The name or an option is unknown, or nothing is inside the budgets.
    """
    try:
        module, attribute, fixed = _ALGORITHMS[name]
    except KeyError:
        raise UserError(
            f"algorithm {name!r}: expected one of {', '.join(NAMES)}"
        ) from None
    made = getattr(importlib.import_module(_HERE + module), attribute)
    known = [
        option
        for option in list(inspect.signature(made).parameters)[2:]
        if option != "seed" and option not in fixed
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UserError(
            f"algorithm {name!r} has no option {unknown[0]!r}: expected "
            + (f"one of {', '.join(known)}" if known else "none")
        )
    return made(space, budgets, seed=seed, **fixed, **options)


def takes_reward_shape(name: str) -> bool:
    """Whether the algorithm has no constraints and takes a `RewardShape` instead."""
    return name in ("regularized_evolution", "ppo")
