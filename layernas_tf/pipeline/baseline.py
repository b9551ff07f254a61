"""The strongest simple alternative: the default network made to fit the budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from layernas_tf.algorithms.trades import Trades
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

BASELINES = ("width", "default", "none")
"""`width`: the default network with all filters multiplied so that it just fits the
budgets; `default`: the default network as it is; `none`: nothing is compared."""

DEFAULT = "default network"
"""The name of a baseline that is the default network as it is."""

_LEAST_WIDTH = 0.05

Rescale = Callable[[float], SearchSpace]
"""Makes the space of a width, with all costs of the search's space."""


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
    """A network that a winner is compared with.

    Example: `Baseline("default network of width 0.62", narrow, narrow.default, 0.62)`.

    Attributes:
      name: For people, such as `default network of width 0.62`.
      space: Its space: that of the search, or one of another width.
      architecture: Of that space.
      width: The multiplier of its filters, where it differs from the search's.
    """

    name: str
    space: SearchSpace
    architecture: Architecture
    width: float | None = None

    @property
    def label(self) -> str:
        """A few letters for narrow tables."""
        if self.width is not None:
            return f"width {self.width:.2f}"
        return "default" if self.name == DEFAULT else "even default"

    @property
    def costs(self) -> Mapping[str, float]:
        """Its costs by metric."""
        return self.space.costs(self.architecture)

    @property
    def folder(self) -> str:
        """The folder of its trainings below the searched networks' folder."""
        return "" if self.width is None else f"width_{self.width:.2f}"


def choose_baseline(
    kind: str, space: SearchSpace, budgets: Sequence[Budget], rescale: Rescale | None
) -> Baseline | None:
    """The baseline of a search.

    Args:
      kind: One of `BASELINES`.
      space: What was searched.
      budgets: What the winner may cost.
      rescale: Makes the same space with another width; None where that is impossible.
        Then `width` is the default network with all layers made equally cheaper until
        it is inside.

    Returns:
      The baseline; None for `none`.
    """
    if kind == "none":
        return None
    default = Baseline(DEFAULT, space, space.default)
    if kind == "default" or inside(budgets, space.costs(space.default)):
        return default
    scaled = None if rescale is None else _widest(space, budgets, rescale)
    if scaled is not None:
        return scaled
    even = Trades(space, BudgetedChain(space.chain, budgets)).even()
    return Baseline(f"{DEFAULT} made evenly cheaper", space, even)


def rescaler(
    space: SearchSpace,
    get_space: Callable[..., SearchSpace],
    with_costs: Callable[[SearchSpace], SearchSpace],
) -> Rescale | None:
    """How the space is made with another width; None if that cannot be done.

    It can where `get_space` makes the very same space from its name and arguments, and
    takes a width.

    Args:
      space: The search space.
      get_space: Makes the space of a name.
      with_costs: Adds the costs that the search has added to the space.
    """

    def rescale(width: float) -> SearchSpace:
        return with_costs(get_space(space.name, **{**space.arguments, "width": width}))

    width = space.arguments.get("width", 1.0)
    try:
        same = rescale(width)
        if _shape(same) != _shape(space) or not _is_number(width):
            return None
        if same.costs(same.default) != space.costs(space.default):
            return None
        narrow = rescale(width / 2)
    except UserError:
        return None
    changed = narrow.costs(narrow.default) != space.costs(space.default)
    return rescale if changed else None


def _shape(space: SearchSpace) -> list[object]:
    return [(layer.name, layer.options, layer.default) for layer in space.layers]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _widest(
    space: SearchSpace, budgets: Sequence[Budget], rescale: Rescale
) -> Baseline | None:
    """The default of the greatest width, in hundredths, below every upper limit.

    Costs grow with the width, as rounding to multiples of 8 keeps the order. A lower
    limit is not looked at: the steps of the rounding may be wider than the band.
    """
    upper = [dataclasses.replace(budget, low=0.0) for budget in budgets]
    least = math.ceil(100 * _LEAST_WIDTH)
    most = round(100 * float(space.arguments.get("width", 1.0)))
    found = None
    while least < most:  # the widest that fits is in [least, most)
        middle = (least + most) // 2
        scaled = rescale(middle / 100)
        if inside(upper, scaled.costs(scaled.default)):
            name = f"{DEFAULT} of width {middle / 100:.2f}"
            found = Baseline(name, scaled, scaled.default, middle / 100)
            least = middle + 1
        else:
            most = middle
    return found
