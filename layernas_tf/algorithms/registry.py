"""Algorithms by name. The module of an algorithm is imported when it is made."""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.core.errors import UserError, describe
from layernas_tf.core.user_code import UserCode, parse_reference, refers_to_file
from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace

ENTRY_POINTS = "layernas_tf.algorithms"
"""The group of entry points by which an installed package adds algorithms."""

_HERE = "layernas_tf.algorithms."
_ALGORITHMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "layernas": ("layernas", "LayerNAS", {"schedule": "sweep"}),
    "layernas_layerwise": ("layernas", "LayerNAS", {"schedule": "layerwise"}),
    "layernas_bayes": ("layernas_bayes", "LayerNASBayes", {}),
    "random": ("random_search", "RandomSearch", {}),
    "regularized_evolution": ("evolution", "RegularizedEvolution", {}),
    "local_search": ("local_search", "LocalSearch", {}),
    "bananas": ("bananas", "Bananas", {}),
    "ppo": ("ppo", "PPO", {}),
    "tpe": ("optuna_search", "OptunaSearch", {"sampler": "tpe"}),
    "nsga2": ("optuna_search", "OptunaSearch", {"sampler": "nsga2"}),
    "gp": ("optuna_search", "OptunaSearch", {"sampler": "gp"}),
}

NAMES = tuple(_ALGORITHMS)
"""The algorithms that come with the framework."""

AlgorithmLike = str | Callable[..., Algorithm] | Algorithm
"""A name of `names()`, a `path/to/file.py:Class`, a class, a function that is called
like a class, or an object that has not been asked yet."""


def names() -> tuple[str, ...]:
    """The names of all algorithms: ours, and those of installed packages."""
    return (*NAMES, *(name for name in sorted(_entry_points()) if name not in NAMES))


def check_name(name: str) -> None:
    """Raises `UserError` if there is no such algorithm; makes none, runs no file."""
    if name not in NAMES and name not in _entry_points():
        parse_reference("algorithm", name, names(), noun="Class")


def make_algorithm(
    algorithm: AlgorithmLike,
    space: SearchSpace,
    budgets: Sequence[Budget],
    seed: int = 0,
    limits: Sequence[Sequence[Budget]] = (),
    **options: Any,
) -> Algorithm:
    """Makes a search algorithm in its first state.

    Args:
      algorithm: A name of `names()`; `path/to/file.py:Class`, of which the file is
        run (only name files that you trust); a subclass of
        `layernas_tf.algorithms.base.Algorithm`; or an object of one, of which a copy
        is returned.
      space: Where to search.
      budgets: What the answer may cost.
      seed: Determines every random choice. An object keeps the seed it was made with.
      limits: Several budgets inside `budgets`, each with an answer of its own, for
        algorithms that can share their asks between them.
      **options: Of the algorithm; see its class.

    Raises:
      UserError: The name or an option is unknown, the user's code failed or makes no
        algorithm, or nothing is inside the budgets.
    """
    if isinstance(algorithm, Algorithm):
        return _copied(algorithm, space, budgets, options)
    subject, made, fixed, code = _found(algorithm)
    known = _options_of(made, fixed)
    unknown = sorted(set(options) - set(known)) if known is not None else []
    if unknown:
        raise UserError(
            f"{subject} has no option {unknown[0]!r}: expected "
            + (f"one of {', '.join(known)}" if known else "none")
        )
    if limits and "limits" in inspect.signature(made).parameters:
        options["limits"] = limits
    make = functools.partial(made, space, budgets, seed=seed, **fixed, **options)
    result = code.call(make) if code else make()
    if not isinstance(result, Algorithm):
        raise UserError(
            f"{subject}: expected a subclass of layernas_tf.algorithms.base.Algorithm, "
            f"got {type(result).__name__}"
        )
    return result


def takes_reward_shape(algorithm: AlgorithmLike) -> bool:
    """Whether the algorithm has no constraints and takes a `RewardShape` instead."""
    if isinstance(algorithm, Algorithm):
        return False
    _, made, fixed, _ = _found(algorithm)
    return "shape" in (_options_of(made, fixed) or ())


def _found(
    algorithm: str | Callable[..., Algorithm],
) -> tuple[str, Callable[..., Algorithm], Mapping[str, Any], UserCode | None]:
    """What makes the algorithm: words for errors, the maker, fixed options, a file."""
    if not isinstance(algorithm, str):
        if not callable(algorithm):
            raise UserError(
                "algorithm: expected a name, a class or an object of one, got "
                f"{algorithm!r}"
            )
        name = getattr(algorithm, "__name__", type(algorithm).__name__)
        return f"algorithm {name}", algorithm, {}, None
    subject = f"algorithm {algorithm!r}"
    if algorithm in _ALGORITHMS:
        module, attribute, fixed = _ALGORITHMS[algorithm]
        found = getattr(importlib.import_module(_HERE + module), attribute)
        return subject, found, fixed, None
    entry = None if refers_to_file(algorithm) else _entry_points().get(algorithm)
    if entry is not None:
        try:
            return subject, entry.load(), {}, None
        except Exception as error:
            raise UserError(
                f"{subject} of {entry.value} cannot be loaded: {describe(error)}"
            ) from error
    code = parse_reference("algorithm", algorithm, names(), noun="Class")
    return subject, code.load_callable(), {}, code


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {entry.name: entry for entry in found}


def _options_of(
    made: Callable[..., Algorithm], fixed: Mapping[str, Any]
) -> list[str] | None:
    """The options that a user may give; None if any."""
    parameters = inspect.signature(made).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return None
    return [
        name
        for name in list(parameters)[2:]
        if name not in ("seed", "proposal_budgets", "limits", *fixed)
    ]


def _copied(
    algorithm: Algorithm,
    space: SearchSpace,
    budgets: Sequence[Budget],
    options: Mapping[str, Any],
) -> Algorithm:
    """A fresh copy of a user's object; the spaces, which never change, are shared."""
    subject = f"algorithm {type(algorithm).__name__}"
    if options:
        raise UserError(
            f"{subject} is an object already: give option {min(options)!r} to its class"
        )
    if algorithm.history.asked or algorithm.history.rewards:
        raise UserError(
            f"{subject} has been asked or told before: expected one in its first state"
        )
    own = algorithm.space
    same = [(layer.name, layer.options) for layer in own.layers] == [
        (layer.name, layer.options) for layer in space.layers
    ]
    if not same or algorithm.history.budgets != tuple(budgets):
        raise UserError(
            f"{subject} was made for {own.name!r} under "
            f"{' and '.join(map(str, algorithm.history.budgets)) or 'no budget'}, not "
            f"for {space.name!r} under {' and '.join(map(str, budgets)) or 'no budget'}"
        )
    kept = {id(part): part for part in (own, own.chain)}
    return copy.deepcopy(algorithm, kept)
