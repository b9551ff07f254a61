"""Shows how many files of a data set have been checked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


@contextlib.contextmanager
def file_progress(
    console: Console | None,
) -> Iterator[Callable[[int, int], None] | None]:
    """Yields the `progress` function of `load_dataset`; removes the bar at the end.

    Args:
      console: Where the bar is shown. None, or one that is not a terminal, shows none.
    """
    if console is None or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("Checking the pictures"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("files", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show
