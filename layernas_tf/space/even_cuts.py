"""The published network, evenly made smaller until it is inside the budgets.

Where networks start from pretrained weights, these are good first candidates: they keep
what the weights were trained for, and without them a search could end with less than
what everybody can have without a search.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer

_MOST = 10


def even_cuts(space: SearchSpace, budgets: Sequence[Budget]) -> list[Architecture]:
    """Architectures inside the budgets, near the published network.

    First the default with one attribute, such as the expansion ratio, at most a fixed
    share of the default's in all layers: for each attribute the greatest share that is
    inside the budgets. Then those with one share in the first layers and another in the
    others. All other attributes stay at the default's values.

    Args:
      space: The search space; its default is the published network.
      budgets: All hold together.

    Returns:
      At most ten architectures, of each kind those of most MAdds first; only the
      default where it is inside the budgets; none where no cut is.

    Example:
      >>> from layernas_tf.space.budget import parse_budget
      >>> from search_spaces.registry import get_space
      >>> space = get_space("mobilenet_v2")
      >>> first = even_cuts(space, [parse_budget("madds<=60%", space)])[0]
      >>> space.layers[4].options[first[4]].label
      'f32 k3 e3'
    """
    if inside(budgets, space.costs(space.default)):
        return [space.default]
    whole, halves = [], []
    for name in _attributes(space):
        shares = sorted(set(_shares(space, name)), reverse=True)
        networks = {share: _cut(space, name, share) for share in shares}
        fitting = (n for n in networks.values() if inside(budgets, space.costs(n)))
        whole += list(itertools.islice(fitting, 1))
        for first, second in itertools.permutations(networks.values(), 2):
            halves += list(itertools.islice(_joined(space, budgets, first, second), 1))
    metric = space.metrics[0].name
    halves.sort(key=lambda network: -space.costs(network)[metric])
    return list(dict.fromkeys([*whole, *halves]))[:_MOST]


def _attributes(space: SearchSpace) -> list[str]:
    """Numeric attributes of the default's options, the expansion ratio first."""
    names = {
        name
        for layer in space.layers
        for name, value in layer.options[layer.default].attributes
        if not isinstance(value, (bool, str))
    }
    return sorted(names, key=lambda name: (name != "expansion", name))


def _values(layer: Layer, name: str) -> dict[int, float]:
    """The attribute by option, for options that are otherwise like the default."""
    default = dict(layer.options[layer.default].attributes)
    if name not in default:
        return {}
    return {
        index: float(option[name])
        for index, option in enumerate(layer.options)
        if {**dict(option.attributes), name: default[name]} == default
        and not isinstance(option[name], (bool, str))
    }


def _shares(space: SearchSpace, name: str) -> Iterator[float]:
    for layer in space.layers:
        values = _values(layer, name)
        if values.get(layer.default, 0) <= 0:
            continue  # no share of it is smaller
        for value in values.values():
            if value <= values[layer.default]:
                yield round(value / values[layer.default], 6)


def _cut(space: SearchSpace, name: str, share: float) -> Architecture:
    """In every layer the greatest value up to the share, or else the least one."""
    chosen = []
    for layer in space.layers:
        values = _values(layer, name)
        if not values:
            chosen.append(layer.default)
            continue
        most = share * values[layer.default] + 1e-3
        fitting = {index: value for index, value in values.items() if value <= most}
        chosen.append(
            max(fitting, key=lambda index: fitting[index])
            if fitting
            else min(values, key=lambda index: values[index])
        )
    return tuple(chosen)


def _joined(
    space: SearchSpace,
    budgets: Sequence[Budget],
    first: Architecture,
    second: Architecture,
) -> Iterator[Architecture]:
    """The first layers of one and the others of the other, the dearest inside."""
    joined = {first[:depth] + second[depth:] for depth in range(1, len(first))}
    fitting = [n for n in joined - {first, second} if inside(budgets, space.costs(n))]
    metric = space.metrics[0].name
    yield from sorted(fitting, key=lambda n: (-space.costs(n)[metric], n))
