"""The study of a search: its asks and tells, recorded in Optuna's storage.

The state of an algorithm is a function of the sequence of its asks and tells, so the
study records this sequence: see `layernas_tf.study.replay`. Trials that were running
when the process ended become pending again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.history import credible
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.study.optuna_trial import Decoder, distributions, template
from layernas_tf.study.replay import Replay
from layernas_tf.study.storage import Storage
from layernas_tf.study.trial import Trial
from layernas_tf.workers.executor import Outcome

if TYPE_CHECKING:
    import sqlalchemy

STALE_SECONDS = 60.0
"""Seconds of silence of a driver after which others take over its trials."""

NOT_BELIEVED = "on record, but not believed: the search was another one"
"""The reason of trials that were evaluated before an accepted change."""

_KEYS = ("asked_after", "idle_after", "layer", "told", "result", "driver")
"""The attributes that are read; all others are for human readers."""


class Study:
    """The recorded asks and tells of one algorithm. Made by `open_study`.

    Several drivers may work on one study. Each of them asks and tells under the study's
    lock, after it has repeated the asks and tells of the others on its own algorithm.
    So at the same place of the history, all drivers have the same state.

    Example:
      candidate = study.ask()
      if candidate is not None:
          evaluation = Evaluation(reward=0.91)
          study.tell(Outcome(candidate, evaluation, seconds=12.0))

    Attributes:
      space: The search space.
      budgets: The limits on the costs.
      trials: All trials, sorted by number.
      pending: Trials that this driver has to evaluate again because the process that
        evaluated them has ended.
      renewed: Whether a change of the search was accepted when the study was opened.
    """

    def __init__(
        self,
        storage: Storage,
        space: SearchSpace,
        budgets: Sequence[Budget],
        make_algorithm: Callable[[], Algorithm],
        driver: str = "",
        believed_from: int = 0,
    ):
        self.space = space
        self.budgets = tuple(budgets)
        self.trials: list[Trial] = []
        self.pending: list[Candidate] = []
        self._storage = storage
        self._replay = Replay(make_algorithm)
        self._driver = driver
        self._believed_from = believed_from  # earlier trials are only on record
        self.renewed = False
        self._distributions = distributions(space)
        self._decoder: Decoder | None = None
        self._ids: list[int] = []  # the trials' ids in the database, by number
        self._newest = 0  # the largest of these ids
        self._mine: set[int] = set()  # numbers of this driver's running trials
        self._others: set[int] = set()  # numbers of other drivers' running trials
        self._news: list[Trial] = []
        with storage.transaction() as connection:
            self._catch_up(connection)
            self._adopt(connection)
        self._news = []

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm, in the state after all trials."""
        return self._replay.algorithm

    @property
    def exact(self) -> bool:
        """Whether the algorithm proposed the trials of the study again.

        If not (for instance because its code has changed), it was told their rewards
        nevertheless.
        """
        return self._replay.exact

    def ask(self, most: int | None = None) -> Candidate | None:
        """Records and returns the next candidate; None as in `Algorithm.ask`.

        Trials that have to be evaluated again come first.

        Args:
          most: The most trials that the study may have; None for no limit.
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
            proposed = self._propose()
            if proposed is None:
                return None
            trial = Trial(
                number=proposed.number,
                architecture=proposed.architecture,
                costs=self.space.costs(proposed.architecture),
                asked_after=self._replay.told,
                idle_after=tuple(self._replay.idle),
                layer=proposed.layer,
            )
            driver = {"driver": self._driver} if self._storage.shared else {}
            row = template(self.space, self._distributions, self.budgets, trial, driver)
            self._newest = self._storage.insert(connection, trial.number, row)
        self._replay.idle = []
        self._mine.add(trial.number)
        self._ids.append(self._newest)
        self.trials.append(trial)
        return proposed

    def tell(self, outcome: Outcome) -> Trial | None:
        """Records the outcome of a candidate and tells the algorithm.

        If the reward is not a finite number of at most 1e100, the trial fails.

        Returns:
          The trial; None if another driver has taken it over and finished it already,
          in which case the other driver's outcome counts.
        """
        number, evaluation = outcome.candidate.number, outcome.evaluation
        reward, reason = None, outcome.reason or "unknown"
        if evaluation is not None:
            reward, reason = float(evaluation.reward), ""
            if not credible(reward):
                reward, reason = None, f"the reward is {reward}"
        metrics = dict(evaluation.metrics) if evaluation is not None else {}
        with self._storage.transaction() as connection:
            self._catch_up(connection)
            self._mine.discard(number)
            if self.trials[number].state != "running":
                return None
            trial = dataclasses.replace(
                self.trials[number],
                state="failed" if reward is None else "complete",
                told=self._replay.told,
                reward=reward,
                metrics=metrics,
                seconds=outcome.seconds,
                reason=reason,
            )
            result = {
                "seconds": trial.seconds,
                "metrics": {name: float(value) for name, value in metrics.items()},
                "reason": trial.reason,
            }
            attributes = {"result": result, "told": trial.told}
            self._storage.finish(connection, self._ids[number], attributes, reward)
        self._others.discard(number)
        self.trials[number] = trial
        self._replay.tell(trial)
        return trial

    def news(self) -> list[Trial]:
        """Trials that other drivers have finished since the last call."""
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
        """Tells the other drivers that this one is alive."""
        ids = [self._ids[number] for number in tuple(self._mine)]
        if ids:
            self._storage.beat(ids)

    def _propose(self) -> Candidate | None:
        while True:
            candidate = self._replay.ask(len(self.trials))
            if candidate is None or self.exact:
                return candidate
            # An algorithm that was only told may propose a running trial again.
            running = {self.trials[n].architecture for n in self._mine | self._others}
            if candidate.architecture not in running:
                return candidate

    def _catch_up(self, connection: sqlalchemy.Connection) -> None:
        """Repeats the asks and tells that other drivers have added."""
        storage = self._storage
        if not storage.shared and self._newest:
            if storage.stored.newest(connection) != self._newest:
                raise UserError(
                    f"the study got a trial after number {len(self.trials) - 1}: "
                    "another program is writing to it; expected one at a time"
                )
            return
        if self._decoder is None:
            choices = storage.stored.choices(connection)
            if not choices and self.space.searched_layers:
                return  # no trial yet
            self._decoder = Decoder(self.space, choices)
        running = [self._ids[number] for number in self._others | self._mine]
        asked, ended = [], []
        for entry in storage.stored.read(connection, self._newest, _KEYS, running):
            trial = self._decoder.trial(entry)
            believed = trial.number >= self._believed_from
            if not believed:
                trial = dataclasses.replace(
                    trial, state="failed", reward=None, told=None, reason=NOT_BELIEVED
                )
            if trial.number == len(self.trials):
                if believed:
                    asked.append(trial)
                self.trials.append(trial)
                self._ids.append(entry.id)
            elif trial.number < len(self.trials):
                self.trials[trial.number] = trial
            else:
                raise UserError(
                    f"the study has no trial {len(self.trials)}: it was removed, or "
                    "another program is writing to it"
                )
            self._newest = max(self._newest, entry.id)
            if trial.state == "running":
                self._others.add(trial.number)
            else:
                self._others.discard(trial.number)
                self._mine.discard(trial.number)
                if believed:
                    ended.append(trial)
        if asked or ended:
            self._news += ended
            self._replay.follow(self.trials[self._believed_from :], asked, ended)

    def _adopt(self, connection: sqlalchemy.Connection) -> None:
        """Takes over running trials: of silent drivers, and its own after a restart."""
        dead = set(self._others)
        if dead and self._storage.shared:
            stale = self._storage.stale(connection, STALE_SECONDS)
            drivers = self._decoder.drivers if self._decoder is not None else {}
            dead = {
                number
                for number in dead
                if self._ids[number] in stale or drivers.get(number) == self._driver
            }
        for number in sorted(dead):
            self._others.discard(number)
            self._mine.add(number)
            self.pending.append(self._replay.candidate(self.trials[number]))
            if self._storage.shared:
                trial = self._ids[number]
                self._storage.note(connection, trial, {"driver": self._driver})
                self._storage.beat([trial], connection)
