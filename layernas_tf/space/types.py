"""The types of a search space: states, options, layers and metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution

Architecture = tuple[int, ...]
"""One option index per layer of a search space, and nothing else."""


AttributeValue = int | float | bool | str


@dataclasses.dataclass(frozen=True)
class State:
    """The shape of the tensor between two layers.

    Example:
      >>> State.of_image(3, "96x160")
      State(channels=3, height=96, width=160)

    Attributes:
      channels: Number of channels.
      height: Rows, in pixels.
      width: Columns, in pixels.
    """

    channels: int
    height: int
    width: int

    @classmethod
    def of_image(cls, channels: int, resolution: int | str) -> State:
        """The state of an image, such as `State.of_image(3, "96x160")` with 96 rows.

        Raises:
          UserError: The text is not a resolution.
        """
        return cls(channels, *parse_resolution(resolution))


_LABELS = {"kernel": "k", "expansion": "e", "filters": "f"}


@dataclasses.dataclass(frozen=True)
class Option:
    """One choice at a layer, described by its attributes.

    Example:
      >>> option = Option.of(kernel=3, expansion=6, se=True)
      >>> option["kernel"], option.label
      (3, 'k3 e6 se')

    Attributes:
      attributes: Pairs of name and value. Numbers are ordinal (a kernel of 5 lies
        between 3 and 7); booleans and strings are not.
    """

    attributes: tuple[tuple[str, AttributeValue], ...]

    @classmethod
    def of(cls, **attributes: AttributeValue) -> Option:
        """Makes an option: `Option.of(kernel=3, expansion=6, se=True)`."""
        return cls(tuple(attributes.items()))

    def __getitem__(self, name: str) -> Any:
        for key, value in self.attributes:
            if key == name:
                return value
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute's value, or `default` where the option has none."""
        return next((value for key, value in self.attributes if key == name), default)

    @property
    def label(self) -> str:
        """A short text for tables and plots, such as `f24 k3 e6 se`."""
        words = []
        for key, value in self.attributes:
            if value is True:
                words.append(key)
            elif value is False:
                continue
            elif isinstance(value, str):
                words.append(value)
            else:
                words.append(f"{_LABELS.get(key, key + '=')}{value:.4g}")
        return " ".join(words) or "-"


Transition = Callable[[State, Option], tuple[State, Mapping[str, float]]]


@dataclasses.dataclass(frozen=True)
class Layer:
    """One decision of the chain.

    A layer with a single option (a stem, a classifier) adds its cost, and algorithms
    skip it.

    Example:
      >>> def transition(state, option):
      ...     filters = option["filters"]
      ...     cost = state.channels * filters * state.height * state.width
      ...     return State(filters, state.height, state.width), {"madds": cost}
      >>> options = tuple(Option.of(filters=n) for n in (8, 16))
      >>> Layer("conv", options, default=1, transition=transition).name
      'conv'

    Attributes:
      name: Unique in the space.
      options: What may be chosen here; at least one.
      default: Index into `options` of the published network's choice.
      transition: Takes the incoming state and an option; returns the outgoing state
        and the layer's cost by metric name.
      block: Where options stand for blocks of a network, a function from an option to
        its block (`search_spaces.blocks.blocks.Block`), which a latency table measures.
    """

    name: str
    options: tuple[Option, ...]
    default: int
    transition: Transition
    block: Callable[[Option], Any] | None = None


@dataclasses.dataclass(frozen=True)
class Metric:
    """How the costs of the layers add up to the cost of the architecture.

    Example: `Metric("peak_memory_bytes", "max", "bytes")` is the largest of the costs
    of all layers, in bytes.

    Attributes:
      name: Name of the cost, such as `madds`.
      kind: `sum` (MAdds, bytes of weights) or `max` (peak activation memory).
      unit: Unit in reports, such as `bytes`.
      title: Title in reports, such as `peak memory`; by default made from the name.
      text: Formats a value without its unit; by default like `2.94M`.
    """

    name: str
    kind: str = "sum"
    unit: str = ""
    title: str = ""
    text: Callable[[float], str] | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("sum", "max"):
            raise UserError(
                f"metric {self.name!r}: kind must be 'sum' or 'max', got {self.kind!r}"
            )


NETWORK_METRICS = (
    Metric("madds", "sum", "MAdds"),
    Metric("params", "sum", "params"),
    Metric("model_bytes", "sum", "bytes"),
    Metric("float32_bytes", "sum", "bytes"),
    Metric("peak_memory_bytes", "max", "bytes"),
)
