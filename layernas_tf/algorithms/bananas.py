"""Local search that a predictor guides, in the manner of BANANAS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.local_search import neighbours_inside
from layernas_tf.algorithms.option_checks import check_whole
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer

_TREES = 50


class Bananas(Algorithm):
    """BANANAS (White et al., arXiv 1910.11858) with a forest as its predictor.

    After a uniform start, an ensemble is fitted to all rewards after every `batch`
    of them. Candidates are the best architectures so far, changed in one layer and
    again in another; each is valued by one draw from a normal distribution with the
    ensemble's mean and spread (independent Thompson sampling, the paper's section 5),
    and the highest draws are the next batch. Ours are the budget, which every change
    keeps, and the ensemble: extremely randomized trees on the options' attributes in
    place of the paper's three neural networks, as trees fit in milliseconds and rank
    as well on tables (White et al., arXiv 2104.01177, figure 2).

    Example:
        ```python
        search = Bananas(space, [parse_budget("madds<=50%", space)], seed=1)
        candidate = search.ask()
        search.tell(candidate, 71.3)
        ```
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget],
        *,
        seed: int = 0,
        start: int = 10,
        batch: int = 10,
        parents: int = 10,
        candidates: int = 400,
    ):
        """Makes a search.

        Args:
          space: Where to search.
          budgets: What the answer may cost.
          seed: Determines every random choice.
          start: Rewards before the first fit.
          batch: Rewards between two fits.
          parents: How many of the best architectures are changed.
          candidates: How many changed architectures are valued after a fit.

        Raises:
          UserError: An option is out of range, or nothing is inside the budgets.
        """
        for name, number, least in (
            ("start", start, 2),
            ("batch", batch, 1),
            ("parents", parents, 1),
            ("candidates", candidates, 1),
        ):
            check_whole(name, number, least)
        super().__init__(space, budgets, seed=seed)
        self._start = start
        self._batch = batch
        self._parents = parents
        self._candidates = candidates
        self._features = [_features(space.layers[i]) for i in space.searched_layers]
        self._told: list[Architecture] = []
        self._fitted = 0
        self._queue: list[Architecture] = []

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """See `Algorithm.propose`."""
        due = len(self._told) - len(self._told) % self._batch
        if due >= self._start and due > self._fitted and self.space.searched_layers:
            self._fitted = due
            self._queue = self._ranked(self._told[:due])
        while self._queue:
            architecture = self._queue.pop()
            if self.history.is_new(architecture):
                return Candidate(architecture, number)
        sampled = self.untried.sample(rng)
        return None if sampled is None else Candidate(sampled, number)

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """See `Algorithm.learn`."""
        if reward is not None:
            self._told.append(candidate.architecture)

    def _ranked(self, told: list[Architecture]) -> list[Architecture]:
        """New architectures, the most promising last."""
        from sklearn.ensemble import ExtraTreesRegressor

        rng = np.random.default_rng((self.history.seed, len(told), 1))
        rewards = np.array([self.history.rewards[a] for a in told])
        pool = self._changed(told, rewards, rng)
        if not pool:
            return []
        forest = ExtraTreesRegressor(
            _TREES, min_samples_leaf=2, random_state=int(rng.integers(2**31)), n_jobs=1
        ).fit(self._encoded(told), rewards)
        encoded = self._encoded(pool).astype(np.float32)
        values = np.stack([tree.predict(encoded) for tree in forest.estimators_])
        drawn = rng.normal(values.mean(axis=0), values.std(axis=0))
        return [pool[i] for i in np.argsort(drawn, kind="stable")]

    def _changed(
        self, told: list[Architecture], rewards: np.ndarray, rng: np.random.Generator
    ) -> list[Architecture]:
        """New architectures one or two changes from the best, inside the budgets."""
        order = np.argsort(-rewards, kind="stable")
        inside = [told[i] for i in order if self.untried.fits(told[i])]
        found: dict[Architecture, None] = {}
        for parent in inside[: self._parents]:
            near = neighbours_inside(self.space, self.budgeted.budgets, parent)
            if not near:
                continue
            share = max(2, self._candidates // self._parents)
            for i in rng.permutation(len(near))[: share // 2]:
                found[near[i]] = None
                again = neighbours_inside(
                    self.space, self.budgeted.budgets, near[int(i)]
                )
                found[again[rng.integers(len(again))]] = None
        return [a for a in found if self.history.is_new(a)]

    def _encoded(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Attributes of the options of all searched layers, float array `(N, F)`."""
        chosen = np.array(architectures)[:, list(self.space.searched_layers)]
        return np.hstack([f[chosen[:, i]] for i, f in enumerate(self._features)])


def _features(layer: Layer) -> np.ndarray:
    """Numbers that describe the options of a layer, float array `(O, F)`.

    Attributes that are numbers or truth values stay as they are; words become zeros
    and ones. An attribute that an option lacks is -1.
    """
    names = dict.fromkeys(n for option in layer.options for n, _ in option.attributes)
    columns = []
    for name in names:
        values = [option.get(name) for option in layer.options]
        if any(isinstance(value, str) for value in values):
            for word in dict.fromkeys(values):
                columns.append([float(value == word) for value in values])
        else:
            columns.append([-1.0 if v is None else float(v) for v in values])
    return np.array(columns or [[0.0] * len(layer.options)]).T
