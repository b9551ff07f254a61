"""A user's own cost: registered once, and known everywhere that costs are used.

With `with_cost` a space has one more metric along its chain. Budgets on it, bounds,
counts and samples are exact as for any other, and `describe`, the reports, trials.csv
and the tables show it. The latency of a device is such a cost (`costs.latency`).
"""

from __future__ import annotations

import dataclasses
import numbers
import pathlib
import re
from collections.abc import Callable, Mapping

from layernas_tf.core.errors import UserError
from layernas_tf.core.user_code import describe_in, parse_reference
from layernas_tf.space.search_space import SearchSpace, Step
from layernas_tf.space.types import Layer, Metric, Option, State


@dataclasses.dataclass(frozen=True)
class Cost:
    """A metric, and how much of it a layer costs.

    Example:
      Cost(Metric("activations", "max", "values"),
           lambda step: step.after.channels * step.after.height * step.after.width)

    Attributes:
      metric: The cost's name, unit and format, and whether the costs of layers are
        added up or the largest one counts.
      of_layer: Returns what one layer of an architecture costs, a finite number of at
        least 0. The step that it is given has the layer, its option, the states before
        and after it, and the costs that the space already had, by name.
    """

    metric: Metric
    of_layer: Callable[[Step], float]


def with_cost(space: SearchSpace, cost: Cost) -> SearchSpace:
    """The space with one more cost along its chain.

    Raises:
      UserError: The space has a cost of that name, or the name cannot be written in a
        budget. Later, when costs are first needed: `of_layer` failed or did not return
        such a number.
    """
    name = cost.metric.name
    if not re.fullmatch(r"[A-Za-z_0-9]+", name):
        raise UserError(
            f"cost {name!r}: expected a name of letters, digits and underscores"
        )
    if any(metric.name == name for metric in space.metrics):
        raise UserError(f"cost {name!r}: space {space.name!r} has a cost of that name")
    return dataclasses.replace(
        space,
        layers=tuple(_costed(layer, cost) for layer in space.layers),
        metrics=(*space.metrics, cost.metric),
    )


def _costed(layer: Layer, cost: Cost) -> Layer:
    def transition(state: State, option: Option) -> tuple[State, Mapping[str, float]]:
        after, costs = layer.transition(state, option)
        step = Step(layer, option, state, after, costs)
        return after, {**costs, cost.metric.name: _value(cost, step)}

    return dataclasses.replace(layer, transition=transition)


def _value(cost: Cost, step: Step) -> float:
    where = (
        f"cost {cost.metric.name!r}: layer {step.layer.name!r}, option "
        f"{step.option.label}"
    )
    try:
        value = cost.of_layer(step)
    except UserError:
        raise
    except Exception as error:
        code = getattr(cost.of_layer, "__code__", None)
        file = pathlib.Path(code.co_filename if code else "")
        raise UserError(f"{where}: {describe_in(error, file)}") from error
    if not isinstance(value, numbers.Real):
        raise UserError(f"{where}: expected a number, got {value!r}")
    return float(value)


def load_cost(reference: str, space: SearchSpace) -> Cost:
    """Loads a cost from `path/to/file.py:name`.

    Args:
      reference: The file, which is run (only name files that you trust), and the name
        of a `Cost`, or of a function that is given the space and returns one.
      space: The space that the cost is for.

    Raises:
      UserError: There is no such file or name, or the name stands for something else.
    """
    code = parse_reference("cost", reference, noun="name")
    found = code.load()
    if not isinstance(found, Cost) and callable(found):
        found = code.call(found, space)
    if not isinstance(found, Cost):
        raise UserError(
            f"{code.subject}: expected a layernas_tf.costs.cost.Cost or a function "
            f"that makes one, got {type(found).__name__}"
        )
    return found


def with_user_costs(space: SearchSpace, references: tuple[str, ...]) -> SearchSpace:
    """The space with each `path/to/file.py:name` as a further cost, in order.

    Raises:
      UserError: As `load_cost` and `with_cost`.
    """
    for reference in references:
        space = with_cost(space, load_cost(reference, space))
    return space
