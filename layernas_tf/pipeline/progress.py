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
    left = TimeLeft()
    best: Trial | None = None
    done = len(earlier)

    def note(trial: Trial) -> bool:
        nonlocal best
        better = (
            trial.reward is not None
            and is_inside(trial)
            and (best is None or trial.reward > best.reward)
        )
        if better:
            best = trial
        return better

    def best_text() -> str:
        if best is None:
            return "none inside the budget yet"
        cost = format_cost(best.costs[metric])
        return f"best {best.reward:.4f} at {metric}={cost} (trial {best.number})"

    for trial in earlier:
        note(trial)

    if console.is_terminal:
        columns = (
            TextColumn("[bold]trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TextColumn("{task.fields[left]} left"),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(
                "", total=total, completed=done, best=best_text(), left="?"
            )

            def show(trial: Trial) -> None:
                nonlocal done
                done += 1
                note(trial)
                left.step()
                bar.update(
                    task,
                    completed=done,
                    best=best_text(),
                    left=left.text(max(0, total - done)),
                )

            yield show
        return

    printed = -LINE_SECONDS

    def print_line(trial: Trial) -> None:
        nonlocal done, printed
        done += 1
        better = note(trial)
        left.step()
        now = time.monotonic()
        if not better and done < total and now - printed < LINE_SECONDS:
            return
        printed = now
        outcome = (
            f"failed ({trial.reason})"
            if trial.reward is None
            else f"{trial.reward:.4f} at {metric}={format_cost(trial.costs[metric])}"
        )
        rest = f"{left.text(max(0, total - done))} left"
        console.print(
            f"trial {trial.number}: {outcome}; {best_text()}; {done}/{total}, {rest}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )

    yield print_line
