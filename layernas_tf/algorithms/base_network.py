"""The network that LayerNAS' children are changes to.

`DefaultBase` is the paper's: the layers behind a new option are at their defaults.
`MovingBase` stays inside the budgets and moves to the best candidates found.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from layernas_tf.algorithms.history import History
from layernas_tf.algorithms.option_worth import OptionWorth
from layernas_tf.algorithms.trades import Trades
from layernas_tf.space.budget import inside
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

_ROOTS = 50
"""The number of best candidates that may begin a pass through the layers."""

_COMPLETIONS = 4
"""How often a child is completed again because the result was tried before."""


class BaseNetwork(Protocol):
    """What LayerNAS needs of the network that its children are changes to.

    Example:
      base: BaseNetwork = DefaultBase(space)
      parent = base.roots()[0]
      base.child(parent, 0, 1, rng)

    Attributes:
      complete: Whether every child is a complete answer inside the budgets, so that a
        parent stands for itself at the next layer too.
    """

    complete: bool

    def roots(self) -> list[Architecture]:
        """Parents of the first layer's children, the preferred first."""

    def order(
        self, layer: int, options: Sequence[int], rng: np.random.Generator
    ) -> list[int]:
        """The options of a layer in the order in which they are tried."""

    def child(
        self, parent: Architecture, layer: int, option: int, rng: np.random.Generator
    ) -> Architecture | None:
        """The parent up to a layer, an option there, and the layers after it."""

    def learn(self, architecture: Architecture, reward: float) -> None:
        """Takes in a reward."""

    def begin_again(self, architecture: Architecture) -> None:
        """Forgets what was learned: an architecture inside the budgets is the base."""


class DefaultBase:
    """The default of every layer, inside the budgets or not.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> base = DefaultBase(burger())
      >>> base.roots() == [burger().default]
      True
      >>> base.child((0, 0, 0), 1, 2, np.random.default_rng(0))
      (0, 2, 3)
    """

    complete = False

    def __init__(self, space: SearchSpace):
        """Makes the base of a space."""
        self._default = space.default

    def roots(self) -> list[Architecture]:
        """See `BaseNetwork.roots`."""
        return [self._default]

    def order(
        self, layer: int, options: Sequence[int], rng: np.random.Generator
    ) -> list[int]:
        """At random; see `BaseNetwork.order`."""
        return rng.permutation(options).tolist()

    def child(
        self, parent: Architecture, layer: int, option: int, rng: np.random.Generator
    ) -> Architecture:
        """With defaults after the option; see `BaseNetwork.child`."""
        return (*parent[:layer], option, *self._default[layer + 1 :])

    def learn(self, architecture: Architecture, reward: float) -> None:
        """Nothing: the default stays what it is."""

    def begin_again(self, architecture: Architecture) -> None:
        """Nothing: the default stays what it is."""


class MovingBase:
    """First the default made evenly smaller, or a random start; then the best so far.

    The layers after a new option are the parent's. They are made cheaper if the option
    exceeds the budgets, and more expensive if it leaves budget unused.

    Example:
      >>> from search_spaces.tabular.burger import burger
      >>> from layernas_tf.space.budget import parse_budget
      >>> budgets = [parse_budget("price<=60%", burger())]
      >>> budgeted = BudgetedChain(burger().chain, budgets)
      >>> base = MovingBase(burger(), budgeted, History(burger(), budgets))
      >>> inside(budgets, burger().costs(base.roots()[0]))
      True
    """

    complete = True

    def __init__(self, space: SearchSpace, budgeted: BudgetedChain, history: History):
        """Makes the base of a search."""
        self._space = space
        self._history = history
        self._budgets = budgeted.budgets
        self._trades = Trades(space, budgeted)
        self._worth = OptionWorth(self._trades.rank)
        self._start = self._trades.even()
        self._ranked: list[tuple[float, Architecture]] = []

    def roots(self) -> list[Architecture]:
        """The best candidates so far; see `BaseNetwork.roots`."""
        return [architecture for _, architecture in self._ranked] or [self._start]

    def order(
        self, layer: int, options: Sequence[int], rng: np.random.Generator
    ) -> list[int]:
        """By a draw of what they are worth; see `BaseNetwork.order`."""
        if self._history.is_new(self._start):
            # The first child is the start itself.
            return sorted(options, key=lambda option: option != self._start[layer])
        worth = self._worth.draw(rng)[layer]
        return sorted(options, key=lambda option: -worth[option])

    def child(
        self, parent: Architecture, layer: int, option: int, rng: np.random.Generator
    ) -> Architecture | None:
        """Completed by trades, untried where possible; see `BaseNetwork.child`."""
        start = (*parent[:layer], option, *parent[layer + 1 :])
        for _ in range(_COMPLETIONS):
            worth = self._worth.draw(rng)
            child = self._trades.complete(start, layer + 1, parent, worth)
            if child is None or self._history.is_new(child):
                break
        return child

    def learn(self, architecture: Architecture, reward: float) -> None:
        """See `BaseNetwork.learn`."""
        self._worth.add(architecture, reward)
        _, costs = self._space.chain.walk(architecture)
        if inside(self._budgets, costs):
            bisect.insort(self._ranked, (-reward, architecture))
            del self._ranked[_ROOTS:]

    def begin_again(self, architecture: Architecture) -> None:
        """What is left of the budgets is spent; see `BaseNetwork.begin_again`."""
        self._start = self._trades.filled(architecture)
        self._worth = OptionWorth(self._trades.rank)
        self._ranked = []
