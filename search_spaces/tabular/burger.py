"""GBurger: the burger of the LayerNAS post, a search space small enough to eat.

The post (Fan and Alon, "LayerNAS: Neural architecture search in polynomial
complexity", Google Research, April 2023) explains the algorithm on a burger of three
layers with four options each: every option has its price, mixtures taste differently,
and burgers are grouped by price so that only the most delicious of a group is built
upon. The post's options are in a picture only, so the names, prices and tastes here
are ours, chosen to repeat the post's search: 4 burgers at the first layer; 16 at the
second, which fall into 4 bands of two dollars; 16 at the third. No price that occurs
lies on a band's edge.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State
from layernas_tf.tabular.table import ArrayTable, all_architectures

BAND_DOLLARS = 2.0
"""Width of a price band."""

MENU = (
    (
        "patty",
        (
            (Option.of(name="bean", price=2.10), 3),
            (Option.of(name="chicken", price=3.60), 6),
            (Option.of(name="beef", price=5.60), 7),
            (Option.of(name="wagyu", price=7.60), 8),
        ),
    ),
    (
        "topping",
        (
            (Option.of(name="onion", price=0.25), 3),
            (Option.of(name="lettuce", price=0.75), 2),
            (Option.of(name="bacon", price=1.00), 7),
            (Option.of(name="truffle", price=1.50), 4),
        ),
    ),
    (
        "bun",
        (
            (Option.of(name="sesame", price=0.50), 4),
            (Option.of(name="rye", price=1.00), 1),
            (Option.of(name="brioche", price=1.50), 6),
            (Option.of(name="pretzel", price=2.00), 2),
        ),
    ),
)
"""The layers in order, each with its options by rising price and their tastes."""


def _buy(state: State, option: Option) -> tuple[State, Mapping[str, float]]:
    return state, {"price": option["price"]}


@functools.cache
def burger() -> SearchSpace:
    """The space: 64 burgers with a `price` in dollars; the largest is the default."""
    return SearchSpace(
        name="burger",
        start=State(1, 1, 1),
        layers=tuple(
            Layer(name, tuple(option for option, _ in dishes), len(dishes) - 1, _buy)
            for name, dishes in MENU
        ),
        metrics=(Metric("price", "sum", "dollars"),),
    )


def burger_table() -> ArrayTable:
    """Every burger's taste: the sum of its layers' tastes, as signal and as result."""
    space = burger()
    taste = sum(
        np.array([float(taste) for _, taste in dishes])[choice]
        for (_, dishes), choice in zip(MENU, all_architectures(space).T)
    )
    return ArrayTable("burger", "burger", space, "price", taste, taste, "burger menu")
