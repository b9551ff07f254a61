"""The parts of a network: architectures with no more of anything than it has.

A network that starts from trained weights and is judged as it was cut gains nothing
from a larger kernel, a deeper expansion or more filters: they compute the same function
at a greater cost. A search among the parts of the trained network leaves them out.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping

from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import (
    Architecture,
    AttributeValue,
    Layer,
    Metric,
    Option,
    State,
    Transition,
)

_LARGER = "larger"


def parts_of(
    space: SearchSpace, architecture: Architecture
) -> tuple[SearchSpace, Budget]:
    """A space with the same architectures, and the budget that only parts are inside.

    Args:
      space: The search space.
      architecture: Of which network parts are wanted.

    Returns:
      The space with one more metric: 1 if a layer's option has more of anything than
      the network's, else 0. Options and their indices are the same.

    Example:
      >>> from search_spaces.registry import get_space
      >>> whole = get_space("mobilenet_v2")
      >>> space, parts = parts_of(whole, whole.default)
      >>> parts.holds(space.costs(space.default))
      True
    """
    layers = tuple(
        _marked(layer, layer.options[index])
        for layer, index in zip(space.layers, space.check(architecture))
    )
    metrics = (*space.metrics, Metric(_LARGER, "max"))
    return dataclasses.replace(space, layers=layers, metrics=metrics), Budget(
        _LARGER, 0, 0
    )


def is_part(option: Option, whole: Option) -> bool:
    """Whether an option of a layer is a part of another one.

    Numbers are at most as large, a boolean is not added, a name is the same. An option
    that drops the layer is a part of any.

    Example:
      >>> whole = Option.of(kernel=3, expansion=6)
      >>> is_part(Option.of(kernel=3, expansion=4), whole), is_part(whole, whole)
      (True, True)
      >>> is_part(Option.of(kernel=5, expansion=4), whole)
      False
    """
    if option.get("drop"):
        return True
    found = dict(whole.attributes)
    return all(_at_most(value, found.get(name)) for name, value in option.attributes)


def _at_most(value: AttributeValue, whole: AttributeValue | None) -> bool:
    if value is False:
        return True
    if isinstance(value, (bool, str)) or isinstance(whole, (bool, str)):
        return value == whole
    return whole is not None and value <= whole


def _marked(layer: Layer, whole: Option) -> Layer:
    larger = frozenset(o for o in layer.options if not is_part(o, whole))
    return dataclasses.replace(
        layer, transition=functools.partial(_transition, layer.transition, larger)
    )


def _transition(
    transition: Transition, larger: Collection[Option], state: State, option: Option
) -> tuple[State, Mapping[str, float]]:
    after, costs = transition(state, option)
    return after, {**costs, _LARGER: float(option in larger)}
