"""Made-up benchmarks of any size; LayerNAS' assumption holds exactly or partly.

A reward is a sum of one term per layer, so the best architecture up to a layer extends
a best one up to the layer before: the layerwise assumption (Fan et al., LayerNAS,
arXiv 2304.11517, section 3). Terms between neighbouring layers (`interaction`) and
noise weaken it as far as asked. Costs are whole units and sums of independent
layers, so buckets of one unit lose nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, rows_inside
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer, Metric, Option, State
from layernas_tf.tabular.table import Row, all_architectures
from search_spaces.tabular.signal_noise import standard_normal

ENUMERABLE = 2**20
"""The largest number of architectures whose noisy rewards `best` compares."""


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticTable:
    """Seeded rewards of a chain; see `layernas_tf.tabular.table.Table`.

    `valid` is the reward with its noise (the same in every query), `test` without it.

    Example:
      >>> table = synthetic(layers=4, options=3, buckets=12)
      >>> len(table.best().architecture)
      4

    Attributes:
      benchmark: `synthetic`.
      dataset: The arguments that made the table, as text.
      space: `L` layers of `S` options; its cost is `cost`.
      metric: `cost`.
      unary: Reward of each option, float array `(L, S)`.
      pair: Reward of each pair of options of neighbouring layers, `(L - 1, S, S)`.
      noise: Standard deviation of the noise, in the rewards' unit.
      seed: Seed that everything was drawn from.
    """

    benchmark: str
    dataset: str
    space: SearchSpace
    metric: str
    unary: np.ndarray
    pair: np.ndarray
    noise: float
    seed: int

    def rewards(self, architectures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`valid` and `test` of a batch, int array `(N, L)`: float arrays `(N,)`."""
        layers = np.arange(len(self.unary))
        test = self.unary[layers, architectures].sum(axis=1)
        left, right = architectures[:, :-1], architectures[:, 1:]
        test = test + self.pair[layers[:-1], left, right].sum(axis=1)
        if not self.noise:
            return test, test
        return test + self.noise * standard_normal(self.seed, architectures), test

    def query(self, architecture: Architecture) -> Row:
        """The rewards of one architecture."""
        architecture = self.space.check(architecture)
        valid, test = self.rewards(np.array([architecture]))
        return Row(architecture, float(valid[0]), float(test[0]))

    def best(self, budgets: Sequence[Budget] = ()) -> Row:
        """The best inside all budgets, exactly.

        It is found by dynamic programming over (option, cost) for any size or, with
        noise, by comparing all architectures. If these are too many, it is the best
        without noise, and its `valid` has no noise either.

        Raises:
          UserError: No architecture is inside.
        """
        enumerable = self.space.size <= ENUMERABLE
        compared = bool(self.noise) and enumerable
        best = self._enumerated(budgets) if compared else self._solved(budgets)
        if best is None:
            raise UserError(
                f"synthetic table {self.dataset}: no architecture is inside "
                f"{' and '.join(map(str, budgets))}"
            )
        row = self.query(best)
        return row if compared or not self.noise else Row(best, row.test, row.test)

    def best_sum(self, budgets: Sequence[Budget] = ()) -> Row:
        """What can be known of a table without its interactions.

        The best inside all budgets by the mean effect of each option, over all options
        of the neighbours: the answer of an additive model that has learned everything.

        Raises:
          UserError: No architecture is inside.
        """
        effects = self.unary.copy()
        effects[1:] += self.pair.mean(axis=1)
        effects[:-1] += self.pair.mean(axis=2)
        alone = dataclasses.replace(
            self, unary=effects, pair=np.zeros_like(self.pair), noise=0.0
        )
        return self.query(alone.best(budgets).architecture)

    def _enumerated(self, budgets: Sequence[Budget]) -> Architecture | None:
        architectures = all_architectures(self.space)
        inside = rows_inside(budgets, self.space.chain.costs(architectures))
        if not inside.any():
            return None
        valid = np.where(inside, self.rewards(architectures)[0], -np.inf)
        return tuple(architectures[int(np.argmax(valid))].tolist())

    def _solved(self, budgets: Sequence[Budget]) -> Architecture | None:
        costs = _costs(self.space)
        count, options = costs.shape
        totals = np.arange(int(costs.max(axis=1).sum()) + 1)
        value = np.full((options, len(totals)), -np.inf)
        value[np.arange(options), costs[0]] = self.unary[0]
        came_from = []
        for layer in range(1, count):
            joined = value[:, None, :] + self.pair[layer - 1][:, :, None]
            came_from.append(joined.argmax(axis=0))
            reached = joined.max(axis=0)
            value = np.full_like(value, -np.inf)
            for option, cost in enumerate(costs[layer]):
                value[option, cost:] = (
                    reached[option, : len(totals) - cost] + self.unary[layer, option]
                )
        value[:, ~rows_inside(budgets, {self.metric: totals})] = -np.inf
        last, spent = map(int, np.unravel_index(int(value.argmax()), value.shape))
        if value[last, spent] == -np.inf:
            return None
        chosen = [last]
        for layer in reversed(range(1, count)):
            spent -= int(costs[layer, chosen[0]])
            chosen.insert(0, int(came_from[layer - 1][chosen[0], spent]))
        return tuple(chosen)


def synthetic(
    layers: int = 10,
    options: int = 5,
    buckets: int = 60,
    interaction: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
) -> SyntheticTable:
    """Draws a benchmark; the same arguments give the same one.

    More expensive options tend to be better, with diminishing returns and exceptions,
    and some layers matter more than others: as in networks.

    Args:
      layers: `L`, the number of layers.
      options: `|S|`, the number of options of a layer.
      buckets: `H`: the most expensive architecture costs at most this many units.
      interaction: Standard deviation of the terms between neighbours, where the terms
        of a layer are about 1; at 0 the layerwise assumption holds.
      noise: Standard deviation of the noise of `valid`.
      seed: Any integer >= 0.

    Raises:
      UserError: An argument is out of range.
    """
    for name, value, least in (
        ("layers", layers, 1),
        ("options", options, 2),
        ("buckets", buckets, layers),
        ("interaction", interaction, 0),
        ("noise", noise, 0),
        ("seed", seed, 0),
    ):
        if not least <= value < math.inf:
            raise UserError(f"synthetic: {name} must be at least {least}, got {value}")
    rng = np.random.default_rng((seed, layers, options, buckets))
    most_expensive = buckets // layers
    costs = np.stack([_draw_costs(rng, options, most_expensive) for _ in range(layers)])
    weight = rng.uniform(0.2, 1.8, (layers, 1))
    unary = weight * np.sqrt(costs / most_expensive) + 0.3 * rng.normal(
        size=costs.shape
    )
    pair = interaction * rng.normal(size=(layers - 1, options, options))
    arguments = {
        "layers": layers,
        "options": options,
        "buckets": buckets,
        "interaction": interaction,
        "noise": noise,
        "seed": seed,
    }
    space = SearchSpace(
        name="synthetic",
        start=State(1, 1, 1),
        layers=tuple(
            Layer(
                f"layer{index}",
                tuple(Option.of(level=level) for level in range(options)),
                options - 1,
                functools.partial(_charge, tuple(row.tolist())),
            )
            for index, row in enumerate(costs)
        ),
        metrics=(Metric("cost", "sum", "units"),),
        arguments=arguments,
    )
    text = ",".join(f"{name}={value:g}" for name, value in arguments.items())
    return SyntheticTable("synthetic", text, space, "cost", unary, pair, noise, seed)


def parse_synthetic(text: str) -> SyntheticTable:
    """Makes the table of a text such as `layers=20,options=4,interaction=0.3`."""
    kinds: dict[str, type[int] | type[float]] = {
        "layers": int,
        "options": int,
        "buckets": int,
        "seed": int,
        "interaction": float,
        "noise": float,
    }
    arguments: dict[str, Any] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, _, value = word.partition("=")
        try:
            arguments[name] = kinds[name](value)
        except (KeyError, ValueError):
            raise UserError(
                f"synthetic: cannot read {word!r} of {text!r}, expected numbers for "
                f"{', '.join(kinds)}, such as layers=20,options=4"
            ) from None
    return synthetic(**arguments)


def _charge(
    costs: tuple[int, ...], state: State, option: Option
) -> tuple[State, Mapping[str, float]]:
    return state, {"cost": costs[option["level"]]}


def _costs(space: SearchSpace) -> np.ndarray:
    return np.stack([row[0] for row in space.chain.cost["cost"]]).astype(np.int64)


def _draw_costs(
    rng: np.random.Generator, options: int, most_expensive: int
) -> np.ndarray:
    if options <= most_expensive:
        rest = rng.choice(np.arange(1, most_expensive), options - 1, replace=False)
    else:
        rest = rng.integers(1, most_expensive + 1, options - 1)
    return np.append(np.sort(rest), most_expensive)
