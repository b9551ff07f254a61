"""`profile_architecture`: the layers and the costs of an architecture, as data."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from layernas_tf.space.search_space import SearchSpace, Step
from layernas_tf.space.types import Architecture
from search_spaces.architecture_files import load_architecture
from search_spaces.registry import get_space


@dataclasses.dataclass(frozen=True)
class ArchitectureProfile:
    """An architecture, layer by layer.

    Example:
      profile = profile_architecture("mobilenet_v3_small", resolution=96)
      profile.costs["madds"], [step.layer.name for step in profile.layers]

    Attributes:
      space: The search space.
      architecture: One option index per layer.
      costs: Costs of the whole network by metric, in the metric's unit.
      layers: Each layer with its option, the states before and after it, and its cost.
    """

    space: SearchSpace
    architecture: Architecture
    costs: Mapping[str, float]
    layers: tuple[Step, ...]


def profile_architecture(
    space: str | SearchSpace,
    architecture: Sequence[int] | str | pathlib.Path | None = None,
    **arguments: Any,
) -> ArchitectureProfile:
    """Computes what an architecture costs, without building the network.

    Args:
      space: A name, `path/to/file.py:function`, or a `SearchSpace`.
      architecture: Option indices, or the path of an `architecture.json`; None is the
        space's default.
      **arguments: Arguments of the space, such as `resolution` and `classes`.

    Raises:
      UserError: There is no such space, or the space has no such architecture.
    """
    if isinstance(architecture, (str, pathlib.Path)):
        name = space if isinstance(space, str) else space.name
        made, chosen = load_architecture(str(architecture), name, **arguments)
    else:
        made = get_space(space, **arguments) if isinstance(space, str) else space
        chosen = (
            made.default if architecture is None else made.check(tuple(architecture))
        )
    steps = tuple(made.steps(chosen))
    return ArchitectureProfile(made, chosen, made.costs(chosen), steps)
