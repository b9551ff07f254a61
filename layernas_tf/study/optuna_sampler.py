"""LayerNAS as a sampler for any Optuna program; see `examples/optuna_sampler.py`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from layernas_tf.algorithms.registry import AlgorithmLike, make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.study.optuna_trial import (
    constraints,
    distributions,
    from_params,
    read_trial,
    to_params,
)
from layernas_tf.study.replay import Replay
from layernas_tf.study.trial import Trial


def suggest(
    trial: optuna.Trial, space: SearchSpace, budgets: Sequence[Budget] = ()
) -> Architecture:
    """The architecture of an Optuna trial, with any sampler of the study.

    Its costs become user attributes of the trial, and each budget a constraint, so
    that `study.best_trial` is inside the budgets.

    Args:
      trial: The argument of the objective function.
      space: The search space.
      budgets: The limits on the costs.
    """
    params = {
        name: trial.suggest_categorical(name, distribution.choices)
        for name, distribution in distributions(space).items()
    }
    architecture = from_params(space, params)
    cost = space.costs(architecture)
    for name, value in cost.items():
        trial.set_user_attr(name, value)
    for name, value in constraints(budgets, cost).items():
        trial.set_constraint(name, value)
    return architecture


class LayerNASSampler(optuna.samplers.BaseSampler):
    """Proposes architectures with LayerNAS, or another algorithm of this package.

    A study that is loaded again continues where it stopped: the algorithm's state is
    rebuilt from the trials. The algorithm also learns from enqueued trials and from
    those of other samplers and processes. The objective gets its architecture from
    `suggest`; it may suggest further parameters, which `independent_sampler` draws.

    Example: see `examples/optuna_sampler.py`.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget] = (),
        *,
        algorithm: AlgorithmLike = "layernas",
        seed: int = 0,
        independent_sampler: optuna.samplers.BaseSampler | None = None,
        **options: Any,
    ):
        """Makes a sampler for one study.

        Args:
          space: The search space.
          budgets: The limits on the costs.
          algorithm: `layernas`, `layernas_bayes`, another registered name, or one of
            your own as `make_algorithm` takes it.
          seed: Seed of all random choices.
          independent_sampler: For parameters outside the space; random by default.
          **options: Options of the algorithm.

        Raises:
          UserError: The algorithm or an option is unknown, or no architecture is
            inside the budgets.
        """
        self._space = space
        self._budgets = tuple(budgets)
        self._seed = seed
        self._make = lambda: make_algorithm(
            algorithm, space, self._budgets, seed, **options
        )
        self._budgeted = BudgetedChain(space.chain, self._budgets)
        self._independent = independent_sampler or optuna.samplers.RandomSampler(seed)
        self._distributions = distributions(space)
        self._replay = Replay(self._make)
        self._study_name: str | None = None
        self._told: set[int] = set()
        self._lock = threading.RLock()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """The space's searched layers."""
        return dict(self._distributions)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: Mapping[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        """Asks the algorithm for an architecture, as one option label per layer."""
        self._raise_error_if_multi_objective(study)
        if "fixed_params" in trial.system_attrs:
            return {}  # enqueued by the user, not proposed by the algorithm
        with self._lock:
            self._catch_up(study, trial.number)
            candidate = self._replay.ask(trial.number)
            if candidate is None:
                architecture = self._spare(study, trial.number)
            else:
                architecture = candidate.architecture
                self._note(study, trial, "asked_after", self._replay.told)
                if self._replay.idle:
                    self._note(study, trial, "idle_after", self._replay.idle)
                    self._replay.idle = []
                if candidate.layer is not None:
                    name = self._space.layers[candidate.layer].name
                    self._note(study, trial, "layer", name)
        return to_params(self._space, architecture)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        """A layer that an enqueued trial left open takes its default."""
        self._raise_error_if_multi_objective(study)
        defaults = to_params(self._space, self._space.default)
        if param_name in defaults:
            return defaults[param_name]
        return self._independent.sample_independent(
            study, trial, param_name, param_distribution
        )

    def after_trial(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        state: optuna.trial.TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tells the algorithm the trial's value; a trial without one has failed."""
        with self._lock:
            self._catch_up(study, trial.number)
            try:
                architecture = from_params(self._space, trial.params)
            except UserError:
                return  # it ended before it was given an architecture
            reward = None
            if state == optuna.trial.TrialState.COMPLETE and values is not None:
                reward = _sign(study) * float(values[0])
            self._note(study, trial, "told", self._replay.told)
            costs = self._space.costs(architecture)
            self._tell(Trial(trial.number, architecture, costs, reward=reward))

    def reseed_rng(self) -> None:
        """Does nothing: proposals depend on the seed and the trial's number alone."""
        self._independent.reseed_rng()

    def _catch_up(self, study: optuna.Study, number: int) -> None:
        """Tells the algorithm the trials that this object has not seen yet.

        The first call replays the asks and tells of all trials in the study. Later
        calls add the trials that other processes have finished since.
        """
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != number]
        if self._study_name is None:
            self._study_name = study.study_name
            known = self._readable(study, trials)
            ended = [trial for trial in known if trial.told is not None]
            self._replay.follow(known, known, ended)
            self._told = {trial.number for trial in ended}
            return
        if self._study_name != study.study_name:
            raise UserError(
                f"LayerNASSampler: it belongs to study {self._study_name!r}; expected "
                f"another sampler for study {study.study_name!r}"
            )
        new = [t for t in trials if t.state.is_finished()]
        if len(new) == len(self._told):
            return
        for trial in self._readable(study, new):
            if trial.number not in self._told:
                self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        self._told.add(trial.number)
        self._replay.tell(trial)

    def _readable(
        self, study: optuna.Study, trials: Sequence[optuna.trial.FrozenTrial]
    ) -> list[Trial]:
        """The trials that have an architecture, with rewards that are maximized."""
        known = []
        for stored in trials:
            with contextlib.suppress(UserError):
                trial = read_trial(self._space, stored, _sign(study))
                known.append(trial)
        return known

    def _spare(self, study: optuna.Study, number: int) -> Architecture:
        """Any architecture inside the budgets, as the algorithm has nothing to propose.

        Optuna must be given one. When nothing is left to try at all, the study is
        stopped after this trial.
        """
        if self._replay.algorithm.finished:
            with contextlib.suppress(RuntimeError):  # not inside `optimize`
                study.stop()
        return self._budgeted.sample(np.random.default_rng((self._seed, number)))

    def _note(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, key: str, value: Any
    ) -> None:
        study._storage.set_trial_user_attr(trial._trial_id, key, value)


def _sign(study: optuna.Study) -> int:
    return 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
