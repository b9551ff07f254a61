"""The features of an additive reward: what an option may be worth at its layer.

The layerwise assumption as a statistical model: the reward of an architecture is a sum
of one term per layer and one per pair of neighbouring layers. An option is described by
its attributes, not by its index, so that a layer of a hundred options takes a dozen
coefficients:

* a numeric attribute (filters, kernel, expansion) has a slope in its logarithm and,
  thermometer-coded, a bend at each of its values, both shared by all layers;
* each layer departs from that by a slope of its own and by a coefficient for each
  value: whether layers follow a common curve, curves of their own, or none, is up to
  the scales of these kinds, which are learned;
* a boolean or a name has a coefficient for each value, shared and per layer;
* an option without the numbers of its layer, a dropped block, counts as having the
  least of them, and has a coefficient that all layers share: whether few large blocks
  are better than many small ones is a question that no number answers;
* neighbouring layers interact through products of their attributes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

import numpy as np

from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer

GROUPS = ("slope", "bend", "layer slope", "layer value", "neighbours", "dropped")
"""Kinds of coefficients; the scale of each is learned from the data."""

Feature = tuple[str, int | None, Hashable]
"""One of `GROUPS`, the layer that a feature belongs to, if it is of one, its name."""

_MOST_CONTEXTS = 10
"""A layer of more options affects the features of the next one by its state alone."""


@dataclasses.dataclass(frozen=True)
class LayerFeatures:
    """The features of one layer.

    A node is what the features depend on besides the layer's own option: the chain's
    state and, if the layer before has few options, its option. With `N` nodes, `O`
    options, `F` features:

    Example: `Effects(space).layers[0]` holds the features of the first layer.

    Attributes:
      columns: Indices of the layer's features among all, int array `(F,)`.
      features: Their values, float array `(N, O, F)`.
      next_node: Node of the next layer, int array `(N, O)`.
      state: The chain's state of a node, int array `(N,)`.
    """

    columns: np.ndarray
    features: np.ndarray
    next_node: np.ndarray
    state: np.ndarray


class Effects:
    """All features of a space.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> effects = Effects(burger())
      >>> effects.row(burger().default).shape == (len(effects),)
      True

    Attributes:
      layers: Per layer of the space.
      group: For each feature its index in `GROUPS`, int array `(D,)`.
      names: For each feature what it is, for reports.
    """

    def __init__(self, space: SearchSpace):
        self._index: dict[Feature, int] = {}
        groups: list[int] = []
        chain = space.chain
        nodes: list[tuple[int, int | None]] = [(0, None)]
        before: np.ndarray | None = None
        self.layers: list[LayerFeatures] = []
        for i, layer in enumerate(space.layers):
            values = _ordinals(layer)
            columns: dict[Feature, np.ndarray] = {}
            shape = len(nodes), len(layer.options)
            for feature, column in _own_features(i, layer).items():
                columns[feature] = np.broadcast_to(column, shape)
            context = _context(space, i, nodes, before)
            if len(layer.options) > 1 and context.shape[1]:
                for a in range(context.shape[1]):
                    for b in range(values.shape[1]):
                        product = context[:, a, None] * values[None, :, b]
                        if np.ptp(product):
                            columns[GROUPS[4], i, (a, b)] = product
            kept = {k: c for k, c in columns.items() if np.any(c)}
            for key in kept:
                if key not in self._index:
                    self._index[key] = len(self._index)
                    groups.append(GROUPS.index(key[0]))
            following: dict[tuple[int, int | None], int] = {}
            next_node = np.empty(shape, np.int64)
            few = 1 < len(layer.options) <= _MOST_CONTEXTS
            for n, (state, _) in enumerate(nodes):
                for o in range(len(layer.options)):
                    node = int(chain.next_state[i][state, o]), o if few else None
                    next_node[n, o] = following.setdefault(node, len(following))
            self.layers.append(
                LayerFeatures(
                    np.array([self._index[key] for key in kept], np.int64),
                    np.stack(list(kept.values()), -1)
                    if kept
                    else np.zeros((*shape, 0)),
                    next_node,
                    np.array([state for state, _ in nodes]),
                )
            )
            nodes = list(following)
            before = values if few else None
        self.group = np.array(groups, np.int64)
        self.names = tuple(self._index)

    def __len__(self) -> int:
        return len(self.group)

    def row(self, architecture: Architecture) -> np.ndarray:
        """The features of one architecture, float array `(D,)`."""
        row = np.zeros(len(self))
        node = 0
        for layer, option in zip(self.layers, architecture, strict=True):
            np.add.at(row, layer.columns, layer.features[node, option])
            node = layer.next_node[node, option]
        return row

    def scores(self, weights: np.ndarray) -> list[np.ndarray]:
        """Per layer the worth of an option at a node, float arrays `(N, O)`."""
        return [layer.features @ weights[layer.columns] for layer in self.layers]


def _levels(layer: Layer, name: str) -> np.ndarray:
    """Logarithm of an attribute per option; where absent, of the least value."""
    found = [option.get(name) for option in layer.options]
    least = min(float(v) for v in found if v is not None)
    shift = 0.0 if least > 0 else 1.0 - least
    return np.log([(least if v is None else float(v)) + shift for v in found])


def squared_differences(layer: Layer) -> np.ndarray:
    """How much the attributes of two options differ, 0 to 1, float array `(O, O)`.

    The mean of the squares over the attributes: of a number the difference of
    logarithms as a share of their range at the layer, of a boolean or a name whether it
    is another one. They are squares of Euclidean distances.
    """
    squares = []
    for name in _numeric(layer):
        levels = _levels(layer, name)
        share = (levels[:, None] - levels) / (np.ptp(levels) or 1.0)
        squares.append(share**2)
    for name in dict.fromkeys(name for name, _ in _words(layer)):
        words = [option.get(name) or False for option in layer.options]
        code = np.array([words.index(word) for word in words])
        squares.append((code[:, None] != code) * 1.0)
    varied = [square for square in squares if np.any(square)]
    size = len(layer.options)
    return np.mean(varied, axis=0) if varied else np.zeros((size, size))


def _numeric(layer: Layer) -> list[str]:
    """Attributes that are numbers wherever an option has them."""
    numbers: dict[str, bool] = {}
    for option in layer.options:
        for name, value in option.attributes:
            number = not isinstance(value, (bool, str))
            numbers[name] = numbers.get(name, True) and number
    return [name for name, number in numbers.items() if number]


def _own_features(i: int, layer: Layer) -> dict[Feature, np.ndarray]:
    """What an option is by itself, columns `(O,)`."""
    columns: dict[Feature, np.ndarray] = {}
    if len(layer.options) == 1:
        return columns
    for name in _numeric(layer):
        levels = _levels(layer, name)
        slope = levels - levels[layer.default]
        columns["slope", None, name] = columns["layer slope", i, name] = slope
        distinct = np.unique(levels)
        for low, high in zip(distinct[:-1], distinct[1:]):
            rank = round(float(high - distinct[0]), 3)
            bend = (high - low) * (levels >= high)
            columns["bend", None, (name, rank)] = bend - bend[layer.default]
        if len(distinct) > 2:  # of two values the slope says all
            for rank, level in enumerate(distinct):
                columns["layer value", i, (name, rank)] = (levels == level) * 1.0
    dropped = _dropped(layer)
    if np.any(dropped):
        columns["dropped", None, "dropped"] = dropped - dropped[layer.default]
    for word, column in _words(layer).items():
        column = column - column[layer.default]
        columns["slope", None, word] = columns["layer slope", i, word] = column
    return columns


def _dropped(layer: Layer) -> np.ndarray:
    """For each option whether it lacks a number that others have, `(O,)`."""
    numbers = _numeric(layer)
    return np.array(
        [float(any(o.get(name) is None for name in numbers)) for o in layer.options]
    )


def _words(layer: Layer) -> dict[tuple[str, bool | str | float], np.ndarray]:
    """For each value that is no mere number whether an option has it, arrays `(O,)`."""
    numeric = _numeric(layer)
    return {
        (name, value): np.array(
            [float(other.get(name) == value) for other in layer.options]
        )
        for option in layer.options
        for name, value in option.attributes
        if name not in numeric and value is not False
    }


def _ordinals(layer: Layer) -> np.ndarray:
    """Attributes scaled to -1..1 for the products with neighbours, `(O, A)`."""
    columns = [_levels(layer, name) for name in _numeric(layer)]
    columns += _words(layer).values()
    scaled = [
        (c - c.min()) / (c.max() - c.min()) * 2 - 1 for c in columns if np.ptp(c) > 0
    ]
    return np.stack(scaled, -1) if scaled else np.zeros((len(layer.options), 0))


def _context(
    space: SearchSpace,
    i: int,
    nodes: list[tuple[int, int | None]],
    before: np.ndarray | None,
) -> np.ndarray:
    """What a layer knows of the one before, per node, scaled to -1..1: `(N, A)`."""
    if before is not None:
        # Then every node knows the option before.
        return before[[option for _, option in nodes if option is not None]]
    channels = np.log([max(space.chain.states[i][s].channels, 1) for s, _ in nodes])
    if np.ptp(channels) == 0:
        return np.zeros((len(nodes), 0))
    return ((channels - channels.min()) / np.ptp(channels) * 2 - 1)[:, None]
