"""The progress of a running search: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import collections
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from layernas_tf.report.wording import seconds_text
from layernas_tf.space.budget import format_cost
from layernas_tf.study.trial import Trial

LINE_SECONDS = 5.0
"""Seconds between two plain lines at least, so that long logs stay readable."""

_LOOK_BACK = 10


class TimeLeft:
    """Estimates the remaining time from the pace of the latest trials.

    Example:
      >>> seconds = iter([0.0, 60.0])
      >>> left = TimeLeft(clock=lambda: next(seconds))
      >>> left.text(3)
      '?'
      >>> left.step()
      >>> left.text(3)
      '3 min 0 s'
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._last = clock()
        self._steps: collections.deque[float] = collections.deque(maxlen=_LOOK_BACK)

    def step(self) -> None:
        """Records that a trial has ended."""
        now = self._clock()
        self._steps.append(now - self._last)
        self._last = now

    def text(self, trials: int) -> str:
        """How long this number of trials will take, or `?` if that is not known yet."""
        if not self._steps:
            return "?"
        return seconds_text(statistics.mean(self._steps) * trials)


@contextlib.contextmanager
def showing(
    console: Console,
    total: int,
    metric: str,
    is_inside: Callable[[Trial], bool],
    earlier: Sequence[Trial] = (),
) -> Iterator[Callable[[Trial], None]]:
    """Shows a search while it runs.

    Args:
      console: Where the progress is shown.
      total: Number of trials that the search will have in the end.
      metric: The cost that is shown with the best candidate.
      is_inside: Whether a trial is inside every budget.
      earlier: Trials that an earlier run finished. They are counted, but they are not
        printed and do not count for the pace.

    Yields:
      `show(trial)`, to be called with every trial that finishes.
    """
    count = _Count(total, metric, is_inside, earlier)
    if console.is_terminal:
        with _bar(console, count) as show:
            yield show
    else:
        yield _line_printer(console, count)


class _Count:
    """How far a search is: its finished trials, the best of them, the time left."""

    def __init__(
        self,
        total: int,
        metric: str,
        is_inside: Callable[[Trial], bool],
        earlier: Sequence[Trial],
    ):
        self.total = total
        self.done = len(earlier)
        self._metric = metric
        self._is_inside = is_inside
        self._pace = TimeLeft()
        self._best: tuple[float, Trial] | None = None
        for trial in earlier:
            self._compare(trial)

    def add(self, trial: Trial) -> bool:
        """Counts a trial that has just finished; True if it is the best so far."""
        self.done += 1
        self._pace.step()
        return self._compare(trial)

    def _compare(self, trial: Trial) -> bool:
        if trial.reward is None or not self._is_inside(trial):
            return False
        if self._best is not None and trial.reward <= self._best[0]:
            return False
        self._best = trial.reward, trial
        return True

    def reached(self, reward: float, trial: Trial) -> str:
        """A reward and the cost that it takes."""
        cost = format_cost(trial.costs[self._metric])
        return f"{reward:.4f} at {self._metric}={cost}"

    def best(self) -> str:
        """The best trial in words."""
        if self._best is None:
            return "none inside the budget yet"
        return f"best {self.reached(*self._best)} (trial {self._best[1].number})"

    def left(self) -> str:
        """How long the remaining trials will take."""
        return self._pace.text(max(0, self.total - self.done))


@contextlib.contextmanager
def _bar(console: Console, count: _Count) -> Iterator[Callable[[Trial], None]]:
    columns = (
        TextColumn("[bold]trials"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TextColumn("{task.fields[left]} left"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(
            "", total=count.total, completed=count.done, best=count.best(), left="?"
        )

        def show(trial: Trial) -> None:
            count.add(trial)
            bar.update(task, completed=count.done, best=count.best(), left=count.left())

        yield show


def _line_printer(console: Console, count: _Count) -> Callable[[Trial], None]:
    printed = -LINE_SECONDS

    def show(trial: Trial) -> None:
        nonlocal printed
        better = count.add(trial)
        now = time.monotonic()
        if not better and count.done < count.total and now - printed < LINE_SECONDS:
            return
        printed = now
        outcome = (
            f"failed ({trial.reason})"
            if trial.reward is None
            else count.reached(trial.reward, trial)
        )
        console.print(
            f"trial {trial.number}: {outcome}; {count.best()}; "
            f"{count.done}/{count.total}, {count.left()} left",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )

    return show
