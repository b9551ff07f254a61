"""A search space is a chain: a start state, then layers that each offer options.

Everything else reads this one description: costs are sums and maxima along the chain,
an algorithm chooses option indices, and a builder turns them into a Keras model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from layernas_tf.core.errors import UserError, describe
from layernas_tf.space.chain import Chain
from layernas_tf.space.published import Published
from layernas_tf.space.types import (
    NETWORK_METRICS,
    Architecture,
    Layer,
    Metric,
    Option,
    State,
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One layer of one architecture, as `SearchSpace.steps` yields it.

    Example: `[step.costs["madds"] for step in space.steps(space.default)]` lists the
    MAdds of each layer.

    Attributes:
      layer: The layer.
      option: The option that the architecture has chosen there.
      before: The incoming state.
      after: The outgoing state.
      costs: The layer's cost by metric name.
    """

    layer: Layer
    option: Option
    before: State
    after: State
    costs: Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class SearchSpace:
    """A chain of layers and, where there is one, the builder of its Keras models.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> space = burger()
      >>> len(space.default) == len(space.layers)
      True
      >>> sorted(space.costs(space.default)) == sorted(m.name for m in space.metrics)
      True

    Attributes:
      name: The name in the registry, or the user's own.
      start: The state that the first layer receives.
      layers: The chain.
      metrics: The costs that every transition returns.
      builder: Makes the Keras model of an architecture; imports Keras when called. A
        builder that also takes `keras_module` can make the model with tf_keras.
      arguments: What the space was made with (resolution, classes, ...), so that an
        architecture file can make it again.
      published: Where trained weights of the default architecture can be found; None
        if none are published.
    """

    name: str
    start: State
    layers: tuple[Layer, ...]
    metrics: tuple[Metric, ...] = NETWORK_METRICS
    builder: Callable[..., Any] | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    published: Published | None = None

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if not names:
            raise UserError(
                f"space {self.name!r}: expected at least one layer, got none"
            )
        if not self.metrics:
            raise UserError(
                f"space {self.name!r}: expected at least one metric, got none"
            )
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UserError(
                f"space {self.name!r}: layer names must be unique, got "
                f"{', '.join(sorted(twice))} more than once"
            )
        for layer in self.layers:
            if not layer.options:
                raise UserError(
                    f"space {self.name!r}: layer {layer.name!r} has no option"
                )
            if not 0 <= layer.default < len(layer.options):
                raise UserError(
                    f"space {self.name!r}: default of layer {layer.name!r} must be "
                    f"0..{len(layer.options) - 1}, got {layer.default}"
                )

    @property
    def default(self) -> Architecture:
        """The published network; in the space of a table, the largest architecture."""
        return tuple(layer.default for layer in self.layers)

    @property
    def size(self) -> int:
        """The number of architectures."""
        return math.prod(len(layer.options) for layer in self.layers)

    @property
    def searched_layers(self) -> tuple[int, ...]:
        """Indices of the layers that offer a choice."""
        return tuple(i for i, layer in enumerate(self.layers) if len(layer.options) > 1)

    @functools.cached_property
    def chain(self) -> Chain:
        """The costs as arrays; see `layernas_tf.space.chain`.

        Raises:
          UserError: A transition raised an exception, or returned no usable costs.
        """
        with self._explaining():
            return Chain(self.start, self.layers, self.metrics, self.name)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """What a transition raises becomes a `UserError`: users may write spaces."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"space {self.name!r}: a layer's transition raised {describe(error)}"
            ) from error

    def metric(self, name: str) -> Metric:
        """The metric of that name."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        known = ", ".join(metric.name for metric in self.metrics)
        raise UserError(
            f"space {self.name!r} has no cost {name!r}: expected one of {known}"
        )

    def check(self, architecture: Any) -> Architecture:
        """Returns the architecture as a tuple; raises `UserError` if it is invalid."""
        if not isinstance(architecture, (tuple, list)) or len(architecture) != len(
            self.layers
        ):
            raise UserError(
                f"space {self.name!r}: expected {len(self.layers)} option indices, "
                f"got {architecture!r}"
            )
        for layer, index in zip(self.layers, architecture):
            if isinstance(index, bool) or not isinstance(index, int):
                raise UserError(
                    f"layer {layer.name!r}: expected an option index, got {index!r}"
                )
            if not 0 <= index < len(layer.options):
                raise UserError(
                    f"layer {layer.name!r}: expected an option index "
                    f"0..{len(layer.options) - 1}, got {index}"
                )
        return tuple(architecture)

    def steps(self, architecture: Architecture) -> Iterator[Step]:
        """Yields the layers of one architecture in order, with states and costs."""
        state = self.start
        for layer, index in zip(self.layers, architecture, strict=True):
            option = layer.options[index]
            with self._explaining():
                after, costs = layer.transition(state, option)
            yield Step(layer, option, state, after, costs)
            state = after

    def costs(self, architecture: Architecture) -> dict[str, float]:
        """The cost of one architecture, or of a prefix of one, by metric name."""
        return self.chain.walk(architecture)[1]

    def build(self, architecture: Architecture) -> Any:
        """Makes the Keras model of the architecture, with fresh weights."""
        if self.builder is None:
            raise UserError(
                f"space {self.name!r} has no Keras builder: it cannot be trained"
            )
        return self.builder(self.check(architecture))

    def to_json(self, architecture: Architecture) -> dict[str, Any]:
        """A description in JSON types, for `from_json` and for human readers."""
        return {
            "space": self.name,
            "arguments": dict(self.arguments),
            "architecture": list(self.check(architecture)),
            "layers": [
                {"name": layer.name, "option": dict(layer.options[index].attributes)}
                for layer, index in zip(self.layers, architecture)
            ],
        }

    def from_json(self, data: Any) -> Architecture:
        """Reads what `to_json` wrote; raises `UserError` where it does not fit."""
        if not isinstance(data, dict) or "architecture" not in data:
            raise UserError("architecture file: expected an object with 'architecture'")
        architecture = self.check(data["architecture"])
        for layer, index, entry in zip(
            self.layers, architecture, data.get("layers", []) or []
        ):
            expected = {
                "name": layer.name,
                "option": dict(layer.options[index].attributes),
            }
            if entry != expected:
                raise UserError(
                    f"architecture file: layer {layer.name!r} of space {self.name!r} "
                    f"is {expected['option']}, the file says {entry}: it was written "
                    "for another version of the space"
                )
        return architecture
