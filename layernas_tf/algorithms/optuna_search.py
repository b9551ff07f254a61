"""Optuna's TPE, NSGA-II and Gaussian process behind the ask/tell interface."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.core.extras import needs_extra
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "nsga2", "gp")

_START = {"tpe": 10, "nsga2": 50, "gp": 10}
"""Asks that are uniform inside the budget: Optuna's own defaults."""

_PROPOSALS = {"tpe": 1, "nsga2": 8, "gp": 1}
"""Proposals in one ask; if none is usable, the last one is moved inside the budget."""


class OptunaSearch(Algorithm):
    """A search by one of Optuna's samplers, in an in-memory study.

    The cost of a proposal is known before it is trained. One outside the budget is
    told to Optuna at once as infeasible by its overshoot, and one that was tried
    before with the reward it had; neither counts as a trial, and Optuna proposes
    again. After a few such proposals the last one is moved: the nearest untried
    architecture inside the budget on a random walk is taken. For the Gaussian process,
    the first such proposal is moved already: it needs a reward with every point, and
    learns the cost from how far the feasible points are below the budget.

    Optuna's samplers keep a random generator whose state a replay could not restore. So
    each ask makes a new sampler with a seed of its own, and the study holds the rest of
    the state.

    Example: `OptunaSearch(space, [Budget("madds", 0, 3e6)], sampler="nsga2")`.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget],
        *,
        seed: int = 0,
        sampler: str = "tpe",
    ):
        """Makes a search.

        Args:
          space: Where to search.
          budgets: What the answer may cost; Optuna's constraints.
          seed: Determines every random choice.
          sampler: One of `SAMPLERS`; `gp` needs PyTorch.

        Raises:
          UserError: Nothing is inside the budgets, the sampler is unknown, or PyTorch
            is missing.
        """
        import optuna

        if sampler not in SAMPLERS:
            raise UserError(
                f"Optuna sampler {sampler!r}: expected one of {', '.join(SAMPLERS)}"
            )
        if sampler == "gp":
            _require_torch()
        super().__init__(space, budgets, seed=seed)
        self._kind = sampler
        self._distributions = {
            space.layers[i].name: _distribution(space.layers[i])
            for i in space.searched_layers
        }
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="maximize", sampler=self._sampler(seed)
        )
        optuna.logging.set_verbosity(level)
        self._trials: dict[Architecture, optuna.Trial] = {}
        self._started = 0

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        seed %= 2**32
        if self._kind == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        if self._kind == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed)
        return optuna.samplers.GPSampler(seed=seed)

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """See `Algorithm.propose`."""
        self._study.sampler = self._sampler(int(rng.integers(2**32)))
        proposed = None
        if self._distributions and self._started >= _START[self._kind]:
            for _ in range(_PROPOSALS[self._kind]):
                trial = self._study.ask(self._distributions)
                proposed = self._architecture(trial.params)
                if self.untried.allows(proposed):
                    self._trials[proposed] = trial
                    return Candidate(proposed, number)
                self._dismiss(proposed, trial)
        architecture = self._moved(proposed, rng) if proposed else None
        if architecture is None:
            architecture = self.untried.sample(rng)
        if architecture is None:
            return None
        self._started += 1
        self._trials[architecture] = self._enqueued(architecture)
        return Candidate(architecture, number)

    def _dismiss(self, proposed: Architecture, trial: optuna.Trial) -> None:
        """Tells Optuna what is known of a proposal that is not worth a trial."""
        import optuna

        reward = self.history.rewards.get(proposed)
        worst = min(
            (r for r in self.history.rewards.values() if r is not None), default=0.0
        )
        if not self.untried.fits(proposed):
            self._close(trial, proposed, worst if reward is None else reward)
        elif reward is not None and self._kind != "gp":
            self._close(trial, proposed, reward)
        else:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _close(
        self, trial: optuna.Trial, architecture: Architecture, reward: float
    ) -> None:
        _, costs = self.space.chain.walk(architecture)
        for budget in self.budgeted.budgets:  # one for each metric
            over = budget.excess(costs[budget.metric])
            trial.set_constraint(budget.metric, over / (budget.high or 1))
        self._study.tell(trial, reward)

    def _moved(
        self, architecture: Architecture, rng: np.random.Generator
    ) -> Architecture | None:
        """The first untried architecture inside on a walk of one-layer steps."""
        space = self.space
        distance = self._overshoot(architecture)
        for _ in range(16 * len(space.searched_layers)):
            layer = space.searched_layers[rng.integers(len(space.searched_layers))]
            option = int(rng.integers(len(space.layers[layer].options)))
            step = (*architecture[:layer], option, *architecture[layer + 1 :])
            if self.untried.allows(step):
                return step
            # No step leads farther from the budget; inside it, every step is allowed.
            if self._overshoot(step) <= distance:
                architecture, distance = step, self._overshoot(step)
        return None

    def _overshoot(self, architecture: Architecture) -> float:
        _, costs = self.space.chain.walk(architecture)
        over = 0.0
        for budget in self.budgeted.budgets:
            over += max(budget.excess(costs[budget.metric]), 0) / (budget.upper or 1.0)
        return over

    def _architecture(self, params: Mapping[str, int]) -> Architecture:
        return tuple(
            int(params.get(layer.name, layer.default)) for layer in self.space.layers
        )

    def _enqueued(self, architecture: Architecture) -> optuna.Trial:
        """An Optuna trial of a given architecture."""
        layers = self.space.layers
        params = {
            layer.name: option
            for layer, option in zip(layers, architecture)
            if layer.name in self._distributions
        }
        with warnings.catch_warnings():
            # `enqueue_trial` is marked experimental.
            warnings.simplefilter("ignore")
            self._study.enqueue_trial(params)
        trial = self._study.ask(self._distributions)
        if self._kind == "nsga2":
            # Optuna gives a trial its generation when it samples; it has not sampled
            # this.
            _ = trial.relative_params
        return trial

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """See `Algorithm.learn`."""
        import optuna

        architecture = candidate.architecture
        trial = self._trials.pop(architecture, None)
        if reward is None:
            if trial is not None:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        if trial is None:
            self._started += 1
            self._study.sampler = self._sampler(candidate.number)
            trial = self._enqueued(architecture)
        self._close(trial, architecture, reward)


def _distribution(layer: Layer) -> optuna.distributions.BaseDistribution:
    """Whole numbers where the options are in the order of one attribute, else names."""
    import optuna

    count = len(layer.options)
    differing = {
        name
        for option in layer.options
        for name, _ in set(option.attributes) ^ set(layer.options[0].attributes)
    }
    if len(differing) == 1:
        (name,) = differing
        values = [option.get(name) for option in layer.options]
        numbers = all(type(value) in (int, float) for value in values)
        if numbers and values == sorted(values):
            return optuna.distributions.IntDistribution(0, count - 1)
    return optuna.distributions.CategoricalDistribution(tuple(range(count)))


def _require_torch() -> None:
    with needs_extra("gp", "algorithm 'gp' (Optuna's Gaussian process)"):
        import torch  # noqa: F401
