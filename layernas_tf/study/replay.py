"""Replay: rebuilds the state of an algorithm from the trials of a study.

The state of an algorithm is a function of the sequence of its asks and tells. The
trials record this sequence, also for parallel trials: a trial's number is its place
among the asks, `asked_after` the number of tells before it, and `told` its place among
the tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.space.candidate import Candidate
from layernas_tf.study.trial import Trial

FIRST_CHECKED = 100
"""This many first asks are always repeated and compared with the study."""

CHECKED_EVERY = 1000
"""Of the later asks, one in this many is repeated and compared."""


class Replay:
    """An algorithm that follows the asks and tells of a study.

    Example:
      >>> from layernas_tf.algorithms.random_search import RandomSearch
      >>> from layernas_tf.study.trial import Trial
      >>> from search_spaces.tabular.burger import burger
      >>> space = burger()
      >>> replay = Replay(lambda: RandomSearch(space, (), seed=0))
      >>> first = replay.ask(0)
      >>> replay.tell(Trial(0, first.architecture, {}, told=0, reward=0.5))
      >>> replay.told
      1

    Attributes:
      algorithm: The algorithm, in the state after those asks and tells.
      exact: Whether it proposed the same candidates again. If not (for instance because
        its code has changed), it was told all results without being asked.
      told: The number of tells that it has received.
      idle: For each ask since the newest trial for which it had nothing to propose, the
        number of tells before that ask.
    """

    def __init__(self, make_algorithm: Callable[[], Algorithm]):
        self._make = make_algorithm
        self._begin(exact=True)

    def _begin(self, *, exact: bool) -> None:
        self.algorithm = self._make()
        self.exact = exact
        self.told = 0
        self.idle: list[int] = []
        self._running: dict[int, Candidate] = {}

    def ask(self, number: int) -> Candidate | None:
        """The algorithm's next candidate."""
        if self.idle and self.idle[-1] == self.told:
            return None  # it had nothing to propose, and was told nothing since
        candidate = self.algorithm.ask(number)
        if candidate is None:
            self.idle.append(self.told)
        else:
            self._running[number] = candidate
        return candidate

    def tell(self, trial: Trial) -> None:
        """Tells the algorithm how a trial ended."""
        candidate = self.candidate(trial)
        self._running.pop(trial.number, None)
        self.told += 1
        self.algorithm.tell(candidate, trial.reward)

    def candidate(self, trial: Trial) -> Candidate:
        """The candidate of a running trial."""
        return self._running.get(trial.number) or Candidate(
            trial.architecture, trial.number, trial.layer
        )

    def follow(
        self, trials: Sequence[Trial], asked: Sequence[Trial], ended: Sequence[Trial]
    ) -> None:
        """Repeats the asks and tells that other drivers have added to the study.

        Args:
          trials: All trials of the study, sorted by number.
          asked: The new ones among them.
          ended: Those that have ended since the last call.
        """
        ended = sorted(ended, key=_place)
        if len(asked) < len(trials):
            places = list(range(self.told, self.told + len(ended)))
            if not self.exact:
                self._tell_all(ended)
                return
            if [trial.told for trial in ended] == places and self._do(asked, ended):
                return
            ended = sorted(
                (trial for trial in trials if trial.told is not None), key=_place
            )
        self._begin(exact=True)
        if not self._do(trials, ended, check_last=True):
            self._begin(exact=False)
            self._tell_all(ended)

    def _tell_all(self, ended: Sequence[Trial]) -> None:
        for trial in ended:
            self.tell(trial)

    def _do(
        self, asked: Sequence[Trial], ended: Sequence[Trial], check_last: bool = False
    ) -> bool:
        """Repeats asks and tells in order; False if a proposal differs."""
        start = self.told
        last = asked[-1].number if asked and check_last else None
        for trial in asked:
            if trial.asked_after is None:
                continue  # another program that uses Optuna added it
            known = len(self.idle)
            if list(trial.idle_after[:known]) != self.idle:
                return False  # it had nothing to propose where others did not ask
            for after in trial.idle_after[known:]:
                self._tell_all(ended[self.told - start : after - start])
                if self.algorithm.ask(trial.number) is not None:
                    return False
            self._tell_all(ended[self.told - start : trial.asked_after - start])
            candidate = self._ask_again(trial, check=trial.number == last)
            if candidate is None or candidate.architecture != trial.architecture:
                return False
            self._running[trial.number] = candidate
            self.idle = []
        self._tell_all(ended[self.told - start :])
        return True

    def _ask_again(self, trial: Trial, *, check: bool) -> Candidate | None:
        number = trial.number
        check = check or number < FIRST_CHECKED or number % CHECKED_EVERY == 0
        if not check and self.algorithm.pure_proposals:
            return self.algorithm.recall(trial.architecture, number)
        return self.algorithm.ask(number)


def _place(trial: Trial) -> int:
    """The place of an ended trial among the tells."""
    return -1 if trial.told is None else trial.told
