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
import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layernas_tf.algorithms.base import Algorithm, Candidate
from layernas_tf.budget import Budget
from layernas_tf.errors import UserError
from layernas_tf.executors import Outcome
from layernas_tf.space import SearchSpace
from layernas_tf.storage import Storage, open_storage
from layernas_tf.trial import (
    Decoder,
    Trial,
    constraints,
    costs,
    distributions,
    to_params,
)

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

BEAT_SECONDS = 10.0
"""How often a driver says that it lives, where others work on the same study."""

STALE_SECONDS = 60.0
"""After so long without a word of its driver, a trial is another driver's."""

_KEYS = ("asked_after", "idle_after", "layer", "told", "result", "driver")
"""Attributes that are read; the others are for those who look at the study."""


class Study:
    """Asks and tells of one algorithm, recorded. Made by `open_study`.

    Several drivers may work on one study: each asks and tells under the study's lock,
    and first does the asks and tells of the others with its own algorithm. So all of
    them have the same state at the same place of the same history.

    Attributes:
      space: What is searched.
      budgets: What the answer may cost.
      algorithm: In the state that the trials give.
      trials: By number.
      exact: Whether the algorithm proposed again what the study says it did. If not
        (another version of it), what the trials found is known to it all the same.
      pending: What this driver has to evaluate again, as whoever did has died.
    """

    def __init__(
        self,
        storage: Storage,
        space: SearchSpace,
        budgets: Sequence[Budget],
        make_algorithm: Callable[[], Algorithm],
        driver: str = "",
    ):
        self.space = space
        self.budgets = tuple(budgets)
        self.trials: list[Trial] = []
        self.pending: list[Candidate] = []
        self._storage = storage
        self._make = make_algorithm
        self._driver = driver
        self._distributions = distributions(space)
        self._decoder: Decoder | None = None
        self._ids: list[int] = []
        self._newest = 0
        self._others: dict[int, int] = {}  # their running trials: numbers by id
        self._mine: dict[int, int] = {}  # this driver's, likewise
        self._idle: list[int] = []
        self._news: list[Trial] = []
        self._told = 0
        self._rebuild()
        with storage.transaction() as connection:
            self._catch_up(connection)
            self._adopt(connection)
        self._news = []

    def ask(self, most: int | None = None) -> Candidate | None:
        """The next candidate, recorded; None as `Algorithm.ask` says.

        What has to be evaluated again comes first.

        Args:
          most: Trials that the study is to have; None for any number.
        """
        with self._storage.transaction() as connection:
            self._catch_up(connection)
            if self._storage.shared:
                self._adopt(connection)
            while self.pending:
                candidate = self.pending.pop(0)
                if self.trials[candidate.number].state == "running":
                    return candidate
            if most is not None and len(self.trials) >= most:
                return None
            candidate = self._propose()
            if candidate is None:
                return None
            trial = Trial(
                number=candidate.number,
                architecture=candidate.architecture,
                costs=costs(self.space, candidate.architecture),
                asked_after=self._told,
                idle_after=tuple(self._idle),
                layer=candidate.layer,
            )
            trial_id = self._storage.insert(
                connection, trial.number, self._template(trial)
            )
        self._idle = []
        self._newest = trial_id
        self._mine[trial_id] = trial.number
        self._ids.append(trial_id)
        self.trials.append(trial)
        return candidate

    def tell(self, outcome: Outcome) -> Trial | None:
        """Records how a candidate ended and tells the algorithm.

        A reward that is no finite number fails the trial.

        Returns:
          The trial; None if another driver, which took this one for dead, has finished
          it already, and that stays.
        """
        candidate, evaluation = outcome.candidate, outcome.evaluation
        reward, reason = None, outcome.reason or "unknown"
        if evaluation is not None:
            reward, reason = float(evaluation.reward), ""
            if not math.isfinite(reward):
                reward, reason = None, f"the reward is {reward}"
        trial_id = self._ids[candidate.number]
        with self._storage.transaction() as connection:
            self._catch_up(connection)
            if self.trials[candidate.number].state != "running":
                self._mine.pop(trial_id, None)
                return None
            trial = dataclasses.replace(
                self.trials[candidate.number],
                state="failed" if reward is None else "complete",
                told=self._told,
                reward=reward,
                metrics=dict(evaluation.metrics) if evaluation is not None else {},
                seconds=outcome.seconds,
                reason=reason,
            )
            metrics = {name: float(value) for name, value in trial.metrics.items()}
            result = {
                "seconds": trial.seconds,
                "metrics": metrics,
                "reason": trial.reason,
            }
            attributes = {"result": result, "told": trial.told}
            self._storage.finish(connection, trial_id, attributes, reward)
        self._mine.pop(trial_id, None)
        self._others.pop(trial_id, None)
        self._told += 1
        self.trials[trial.number] = trial
        self.algorithm.tell(candidate, reward, trial.costs)
        return trial

    def news(self) -> list[Trial]:
        """Trials that other drivers have finished since this was called last."""
        news, self._news = self._news, []
        return news

    @property
    def shared(self) -> bool:
        """Whether other drivers may work on the study."""
        return self._storage.shared

    @property
    def others_running(self) -> int:
        """Trials that other drivers were evaluating at the last ask or tell."""
        return len(self._others)

    def beat(self) -> None:
        """Tells the other drivers that this one lives."""
        mine = set(self._mine)
        if mine:
            self._storage.beat(mine)

    def _propose(self) -> Candidate | None:
        if self._idle and self._idle[-1] == self._told:
            return None  # nothing has been told since it last had nothing
        running = {
            self.trials[n].architecture
            for n in (*self._mine.values(), *self._others.values())
        }
        number = len(self.trials)
        while True:
            candidate = self.algorithm.ask(number)
            if candidate is None:
                self._idle.append(self._told)
                return None
            # Only an algorithm that could not be replayed asks for it again.
            if candidate.architecture not in running:
                return candidate

    def _catch_up(self, connection: sqlalchemy.Connection) -> None:
        """Does what other drivers have done since."""
        storage = self._storage
        if not storage.shared and self._newest:
            if storage.newest(connection) != self._newest:
                raise UserError(
                    f"the study got a trial after number {len(self.trials) - 1}: "
                    "another program is writing to it; expected one at a time"
                )
            return
        if self._decoder is None:
            choices = storage.choices(connection)
            if not choices:
                return  # no trial yet
            self._decoder = Decoder(self.space, choices)
        running = [*self._others, *self._mine]
        stored = storage.read(connection, self._newest, _KEYS, running)
        if not stored:
            return
        asks, tells = [], []
        for entry in stored:
            trial = self._decoder.trial(entry)
            if entry.number == len(self.trials):
                asks.append(trial)
                self.trials.append(trial)
                self._ids.append(entry.id)
            elif entry.number < len(self.trials):
                self.trials[entry.number] = trial
            else:
                raise UserError(
                    f"the study has no trial {len(self.trials)}: it was removed, or "
                    "another program is writing to it"
                )
            self._newest = max(self._newest, entry.id)
            if trial.state == "running":
                self._others[entry.id] = trial.number
            else:
                self._others.pop(entry.id, None)
                self._mine.pop(entry.id, None)
                tells.append(trial)
        self._news += tells
        if not self._follow(asks, tells):
            self._rebuild()
        self._told += len(tells)

    def _follow(self, asks: Sequence[Trial], tells: Sequence[Trial]) -> bool:
        """Has the algorithm do these; False if it is to do everything anew."""
        tells = sorted(tells, key=lambda trial: trial.told)
        if not self.exact:
            for trial in tells:
                self._tell_again(trial)
            return True
        for place, trial in enumerate(tells):
            if trial.told != self._told + place:
                return False
        if len(self.trials) == len(asks):
            return False  # the study has just been opened
        done = 0
        for trial in asks:
            if trial.asked_after is None:
                return False
            idle = list(trial.idle_after)
            if idle[: len(self._idle)] != self._idle:
                return False  # it had nothing to propose, and they did not ask then
            for after in (*idle[len(self._idle) :], trial.asked_after):
                while self._told + done < after:
                    self._tell_again(tells[done])
                    done += 1
                proposed = self.algorithm.ask(trial.number)
            if proposed is None or proposed.architecture != trial.architecture:
                return False
            self._candidates[trial.number] = proposed
            self._idle = []
        for trial in tells[done:]:
            self._tell_again(trial)
        return True

    def _tell_again(self, trial: Trial) -> None:
        candidate = self._candidates.get(trial.number) or _candidate(trial)
        self.algorithm.tell(candidate, trial.reward, trial.costs)

    def _rebuild(self) -> None:
        self.algorithm, candidates = replay(self._make, self.trials)
        self.exact = candidates is not None
        self._candidates = candidates or {}
        self._idle = []

    def _adopt(self, connection: sqlalchemy.Connection) -> None:
        """Takes the running trials of drivers that are dead, and its own of before."""
        if not self._others:
            return
        dead = set(self._others)
        if self._storage.shared:
            dead &= self._storage.stale(connection, STALE_SECONDS) | {
                trial_id
                for trial_id, number in self._others.items()
                if self._decoder.drivers.get(number) == self._driver
            }
        for trial_id in sorted(dead, key=self._others.get):
            number = self._others.pop(trial_id)
            self._mine[trial_id] = number
            trial = self.trials[number]
            self.pending.append(self._candidates.get(number) or _candidate(trial))
            if self._storage.shared:
                self._storage.note(connection, trial_id, {"driver": self._driver})
                self._storage.beat({trial_id}, connection)

    def _template(self, trial: Trial) -> optuna.trial.FrozenTrial:
        import optuna

        attributes: dict[str, Any] = dict(trial.costs)
        attributes["asked_after"] = trial.asked_after
        if trial.idle_after:
            attributes["idle_after"] = list(trial.idle_after)
        if trial.layer is not None:
            attributes["layer"] = self.space.layers[trial.layer].name
        if self._storage.shared:
            attributes["driver"] = self._driver
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
    *,
    driver: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Study:
    """Loads a study and rebuilds its algorithm, or makes the study.

    Args:
      url: Of the storage; `sqlite_url` makes that of a file.
      name: Of the study in the storage.
      space: What is searched; a study of another space is refused.
      budgets: What the answer may cost.
      make_algorithm: Makes the algorithm in its first state.
      driver: If other drivers may work on the study at the same time, a name for this
        one: the same when the same one is started again.
      settings: By flag name, what all drivers of the study must agree on.

    Raises:
      UserError: The storage cannot be reached, read or written, or is of another
        space or other settings.
    """
    storage = open_storage(url, name, shared=bool(driver))
    given = json.loads(json.dumps(settings or {}))
    about = {"space": space.name, "budgets": list(map(str, budgets)), **given}
    noted = storage.settle(about)
    different = [
        f"--{key} is {noted[key]!r} there, {value!r} here"
        for key, value in given.items()
        if noted[key] != value
    ]
    if different:
        raise UserError(
            f"study {name!r} is another search: {'; '.join(different)}. Give the same "
            "flags to join it, or another --study"
        )
    return Study(storage, space, budgets, make_algorithm, driver)


@contextlib.contextmanager
def beating(study: Study) -> Iterator[None]:
    """Lets the other drivers of a study know that this one lives, all the while."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            with contextlib.suppress(UserError):  # the next may reach the database
                study.beat()

    thread = threading.Thread(target=beat, daemon=True)
    if study.shared:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if study.shared:
            thread.join()


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
