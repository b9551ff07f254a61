"""The study behind a search: every ask and tell in Optuna's storage, to be replayed.

An algorithm's state is a function of its asks and tells in their order, so the order is
what a study must hold. A trial's number says when it was asked among the asks; its user
attributes `asked_after` (tells that the algorithm had received by then) and `told` (its
place among the tells) say the rest. Replaying them gives the algorithm exactly as it
was, for parallel trials as well; trials that were running when the process ended
are pending again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layernas_tf.algorithms.base import Algorithm, Candidate
from layernas_tf.budget import Budget
from layernas_tf.errors import UserError
from layernas_tf.executors import Outcome
from layernas_tf.space import Architecture, Layer, SearchSpace

if TYPE_CHECKING:
    import optuna


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial as the study holds it.

    Attributes:
      number: Counted from 0; also the ask's number.
      architecture: What is or was tried.
      costs: By metric name.
      asked_after: Tells that the algorithm had received when this was asked; None if
        the algorithm did not ask for it.
      idle_after: Likewise, for each ask between the trial before and this one that
        had nothing to propose.
      layer: For LayerNAS, the layer whose option had been chosen.
      state: `running`, `complete` or `failed`.
      told: Place among the tells; None while running.
      reward: Of a complete trial.
      metrics: Further figures of the evaluator.
      seconds: Duration of the evaluation.
      reason: Of a failed trial, in one line.
    """

    number: int
    architecture: Architecture
    costs: Mapping[str, float]
    asked_after: int | None = None
    idle_after: tuple[int, ...] = ()
    layer: int | None = None
    state: str = "running"
    told: int | None = None
    reward: float | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float | None = None
    reason: str = ""


class Study:
    """Asks and tells of one algorithm, recorded. Made by `open_study`.

    Attributes:
      space: What is searched.
      budgets: What the answer may cost.
      algorithm: In the state that the trials give.
      trials: By number.
      exact: Whether the algorithm proposed again what the study says it did. If not
        (another version of it), what the trials found is known to it all the same.
    """

    def __init__(
        self,
        storage: optuna.storages.BaseStorage,
        study_id: int,
        stored: Iterable[optuna.trial.FrozenTrial],
        space: SearchSpace,
        budgets: Sequence[Budget],
        make_algorithm: Callable[[], Algorithm],
    ):
        self.space = space
        self.budgets = tuple(budgets)
        self._storage = storage
        self._study_id = study_id
        self._distributions = distributions(space)
        self._ids: list[int] = []
        self.trials: list[Trial] = []
        for trial in stored:
            self._ids.append(trial._trial_id)
            self.trials.append(read_trial(space, trial))
        self.algorithm, candidates = replay(make_algorithm, self.trials)
        self.exact = candidates is not None
        self._told = sum(trial.told is not None for trial in self.trials)
        self._idle: list[int] = []
        self.pending: list[Candidate] = [
            (candidates or {}).get(trial.number) or _candidate(trial)
            for trial in self.trials
            if trial.state == "running"
        ]

    def ask(self) -> Candidate | None:
        """The next candidate, recorded; None as `Algorithm.ask` says.

        What was pending when the study was opened comes first.
        """
        if self.pending:
            return self.pending.pop(0)
        number = len(self.trials)
        candidate = self.algorithm.ask(number)
        if candidate is None:
            self._idle.append(self._told)
            return None
        trial = Trial(
            number=number,
            architecture=candidate.architecture,
            costs=costs(self.space, candidate.architecture),
            asked_after=self._told,
            idle_after=tuple(self._idle),
            layer=candidate.layer,
        )
        template = self._template(trial)
        with storage_errors():
            trial_id = self._storage.create_new_trial(self._study_id, template)
            stored = self._storage.get_trial_number_from_id(trial_id)
        if stored != number:
            raise UserError(
                f"the study got trial {stored} where {number} was expected: another "
                "search is writing to it; expected one at a time"
            )
        self._idle = []
        self._ids.append(trial_id)
        self.trials.append(trial)
        return candidate

    def tell(self, outcome: Outcome) -> Trial:
        """Records how a candidate ended and tells the algorithm.

        A reward that is no finite number fails the trial.
        """
        import optuna

        candidate, evaluation = outcome.candidate, outcome.evaluation
        reward, reason = None, outcome.reason or "unknown"
        if evaluation is not None:
            reward, reason = float(evaluation.reward), ""
            if not math.isfinite(reward):
                reward, reason = None, f"the reward is {reward}"
        trial = dataclasses.replace(
            self.trials[candidate.number],
            state="failed" if reward is None else "complete",
            told=self._told,
            reward=reward,
            metrics=dict(evaluation.metrics) if evaluation is not None else {},
            seconds=outcome.seconds,
            reason=reason,
        )
        result = {
            "seconds": trial.seconds,
            "metrics": {name: float(value) for name, value in trial.metrics.items()},
            "reason": trial.reason,
        }
        states = optuna.trial.TrialState
        trial_id = self._ids[trial.number]
        with storage_errors():
            # The state comes last: without it the trial is still running, and what
            # was written of it before is written again.
            self._storage.set_trial_user_attr(trial_id, "result", result)
            self._storage.set_trial_user_attr(trial_id, "told", trial.told)
            self._storage.set_trial_state_values(
                trial_id,
                states.FAIL if reward is None else states.COMPLETE,
                None if reward is None else [reward],
            )
        self._told += 1
        self.trials[trial.number] = trial
        self.algorithm.tell(candidate, reward, trial.costs)
        return trial

    def _template(self, trial: Trial) -> optuna.trial.FrozenTrial:
        import optuna

        attributes: dict[str, Any] = dict(trial.costs)
        attributes["asked_after"] = trial.asked_after
        if trial.idle_after:
            attributes["idle_after"] = list(trial.idle_after)
        if trial.layer is not None:
            attributes["layer"] = self.space.layers[trial.layer].name
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=to_params(self.space, trial.architecture),
            distributions=self._distributions,
            user_attrs=attributes,
            constraints=constraints(self.budgets, trial.costs),
        )


def open_study(
    url: str,
    name: str,
    space: SearchSpace,
    budgets: Sequence[Budget],
    make_algorithm: Callable[[], Algorithm],
) -> Study:
    """Loads a study and rebuilds its algorithm, or makes the study.

    Args:
      url: Of the storage; `sqlite_url` makes that of a file.
      name: Of the study in the storage.
      space: What is searched; a study of another space is refused.
      budgets: What the answer may cost.
      make_algorithm: Makes the algorithm in its first state.

    Raises:
      UserError: The storage cannot be reached, read or written, or is of another
        space.
    """
    import optuna

    arguments = {}
    if url.startswith("sqlite"):
        # Long enough for a dashboard that reads at the same time.
        arguments = {"connect_args": {"timeout": 60}}
    with storage_errors(url):
        storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
        try:
            study_id = storage.create_new_study(
                [optuna.study.StudyDirection.MAXIMIZE], name
            )
            storage.set_study_user_attr(study_id, "space", space.name)
            storage.set_study_user_attr(study_id, "budgets", list(map(str, budgets)))
        except optuna.exceptions.DuplicatedStudyError:
            study_id = storage.get_study_id_from_name(name)
        stored = storage.get_all_trials(study_id, deepcopy=False)
    return Study(storage, study_id, stored, space, budgets, make_algorithm)


def sqlite_url(path: pathlib.Path) -> str:
    """The storage URL of a file, whatever characters its path has."""
    import sqlalchemy

    url = sqlalchemy.URL.create("sqlite", database=str(path))
    text = url.render_as_string(hide_password=False)
    return text.replace("{", "{{").replace("}", "}}")  # Optuna formats URLs


def replay(
    make_algorithm: Callable[[], Algorithm], trials: Sequence[Trial]
) -> tuple[Algorithm, dict[int, Candidate] | None]:
    """Brings an algorithm to the state after these trials.

    Args:
      make_algorithm: Makes it in its first state.
      trials: By number.

    Returns:
      The algorithm, and by trial number the candidates it asked for again. These are
      None if it asked for something else than the trials say: the algorithm was then
      told their results without having asked.
    """
    algorithm = make_algorithm()
    tells = sorted(
        (trial for trial in trials if trial.told is not None), key=lambda t: t.told
    )
    candidates: dict[int, Candidate] = {}
    told = 0

    def tell_until(count: int) -> None:
        nonlocal told
        for trial in tells[told:count]:
            candidate = candidates.get(trial.number) or _candidate(trial)
            algorithm.tell(candidate, trial.reward, trial.costs)
        told = max(told, count)

    for trial in trials:
        if trial.asked_after is None:
            continue
        proposed = None
        for after in (*trial.idle_after, trial.asked_after):
            tell_until(after)
            proposed = algorithm.ask(trial.number)
        if proposed is None or proposed.architecture != trial.architecture:
            return _told_only(make_algorithm, tells), None
        candidates[trial.number] = proposed
    tell_until(len(tells))
    return algorithm, candidates


def _told_only(
    make_algorithm: Callable[[], Algorithm], tells: Iterable[Trial]
) -> Algorithm:
    algorithm = make_algorithm()
    for trial in tells:
        algorithm.tell(_candidate(trial), trial.reward, trial.costs)
    return algorithm


def _candidate(trial: Trial) -> Candidate:
    return Candidate(trial.architecture, trial.number, trial.layer)


def labels(layer: Layer) -> tuple[str, ...]:
    """The layer's options as the choices of an Optuna parameter, each one unique."""
    texts = [option.label for option in layer.options]
    if len(set(texts)) < len(texts):
        texts = [f"{index}: {text}" for index, text in enumerate(texts)]
    return tuple(texts)


def distributions(
    space: SearchSpace,
) -> dict[str, optuna.distributions.BaseDistribution]:
    """One categorical parameter per searched layer, by the layer's name."""
    import optuna

    layers = [space.layers[i] for i in space.searched_layers]
    return {
        layer.name: optuna.distributions.CategoricalDistribution(labels(layer))
        for layer in layers
    }


def to_params(space: SearchSpace, architecture: Architecture) -> dict[str, str]:
    """An architecture as Optuna parameters."""
    return {
        space.layers[i].name: labels(space.layers[i])[architecture[i]]
        for i in space.searched_layers
    }


def from_params(space: SearchSpace, params: Mapping[str, Any]) -> Architecture:
    """Optuna parameters as an architecture; raises `UserError` if they are none."""
    architecture = list(space.default)
    for i in space.searched_layers:
        layer = space.layers[i]
        if layer.name not in params:
            raise UserError(
                f"the study's trials have no layer {layer.name!r}: expected a study of "
                f"space {space.name!r}"
            )
        try:
            architecture[i] = labels(layer).index(params[layer.name])
        except ValueError:
            raise UserError(
                f"the study's layer {layer.name!r} has an option "
                f"{params[layer.name]!r} that space {space.name!r} has not: expected a "
                "study of this version of the space"
            ) from None
    return tuple(architecture)


def costs(space: SearchSpace, architecture: Architecture) -> dict[str, float]:
    """The cost of an architecture by metric name, from the compiled chain."""
    return space.chain.walk(architecture)[1]


def constraints(
    budgets: Iterable[Budget], costs: Mapping[str, float]
) -> dict[str, float]:
    """By metric, how far costs are outside its budgets: 0 or less is inside."""
    outside: dict[str, float] = {}
    for budget in budgets:
        cost = costs[budget.metric]
        excess = max(cost - budget.upper, budget.lower - cost)
        outside[budget.metric] = max(excess, outside.get(budget.metric, -math.inf))
    return outside


def read_trial(
    space: SearchSpace, stored: optuna.trial.FrozenTrial, sign: int = 1
) -> Trial:
    """A trial of Optuna's storage as a `Trial`; raises `UserError` if it is none.

    Args:
      space: What is searched.
      stored: The trial.
      sign: -1 for a study that is minimized.
    """
    architecture = from_params(space, stored.params)
    attributes = stored.user_attrs
    finished = stored.state.is_finished()
    complete = stored.state.name == "COMPLETE"
    result = attributes.get("result", {}) if finished else {}
    names = [layer.name for layer in space.layers]
    layer = attributes.get("layer")
    return Trial(
        number=stored.number,
        architecture=architecture,
        costs=costs(space, architecture),
        asked_after=attributes.get("asked_after"),
        idle_after=tuple(attributes.get("idle_after", ())),
        layer=names.index(layer) if layer in names else None,
        state="complete" if complete else "failed" if finished else "running",
        told=attributes.get("told", stored.number) if finished else None,
        reward=sign * stored.value if complete else None,
        metrics=result.get("metrics", {}),
        seconds=result.get("seconds"),
        reason=result.get("reason", ""),
    )


@contextlib.contextmanager
def storage_errors(url: str = "") -> Iterator[None]:
    """Turns what goes wrong in a database into one line that says what to do."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
    ) as error:
        raise UserError(_storage_message(error, url)) from None
    except (ImportError, RuntimeError) as error:
        # A missing driver; a file of another version of Optuna.
        raise UserError(f"study storage {_shown(url)}: {error}") from None


_STORAGE_ADVICE = (
    ("not a database", "is corrupt"),
    ("malformed", "is corrupt"),
    ("readonly", "cannot be written: it is read-only"),
    ("disk is full", "cannot be written: the disk is full"),
    ("disk I/O error", "cannot be written: the disk is full or fails"),
    ("unable to open", "cannot be opened"),
    ("locked", "is locked by another program"),
)


def _storage_message(error: BaseException, url: str) -> str:
    cause = error.__cause__ if error.__cause__ is not None else error
    text = " ".join(str(getattr(cause, "orig", None) or cause).split())
    for words, advice in _STORAGE_ADVICE:
        if words in text:
            if advice == "is corrupt":
                advice += "; restore a copy of it, or start again in a new --workdir"
            return f"study {_shown(url)} {advice} ({text})"
    return f"study {_shown(url)}: {text}"


def _shown(url: str) -> str:
    """The URL without its password; of an SQLite file, the path."""
    import sqlalchemy

    if not url:
        return "storage"
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        return "storage"
    if parsed.drivername.startswith("sqlite"):
        return repr(parsed.database)
    return parsed.render_as_string(hide_password=True)
