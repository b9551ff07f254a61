"""Timings on the terminal, from this machine or a phone alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from export.timing.profile import Profile

_SLOWEST = 15


@dataclasses.dataclass(frozen=True)
class Row:
    """One setting and its figures.

    Attributes:
      where: Runtime or device.
      threads: Threads of one inference.
      runs: Inferences that were timed.
      times: Milliseconds by name; None where it is not known.
      memory: Memory by name with its unit, likewise.
    """

    where: str
    threads: int
    runs: int
    times: Mapping[str, float | None]
    memory: Mapping[str, float | None]


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Prints settings, at least one, below each other."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    times = [name for name in rows[0].times if any(row.times[name] for row in rows)]
    memory = [name for name in rows[0].memory if any(row.memory[name] for row in rows)]
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("on", min_width=14)
    for column in ("threads", "runs", *times, *memory):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.where,
            str(row.threads),
            str(row.runs),
            *(_number(row.times[name]) for name in times),
            *(_number(row.memory[name]) for name in memory),
        )
    Console(highlight=False).print(table)


def print_profile(title: str, profiled: Profile) -> None:
    """Prints the operators' times: by kind, and the slowest of them."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    total = profiled.sum_ms or 1.0
    kinds = Table(title=f"Operators: {title}")
    kinds.add_column("kind")
    for column in ("number", "ms", "share"):
        kinds.add_column(column, justify="right")
    for kind, number, milliseconds in profiled.by_kind():
        kinds.add_row(
            kind, str(number), f"{milliseconds:.4f}", f"{milliseconds / total:.1%}"
        )
    console.print(kinds)
    slowest = Table(title=f"The {min(_SLOWEST, len(profiled.operators))} slowest")
    slowest.add_column("at", justify="right")
    slowest.add_column("kind", no_wrap=True)
    slowest.add_column("ms", justify="right")
    slowest.add_column("share", justify="right")
    slowest.add_column("output", overflow="ellipsis", no_wrap=True)
    order = sorted(
        enumerate(profiled.operators), key=lambda entry: -entry[1].milliseconds
    )
    for number, operator in order[:_SLOWEST]:
        slowest.add_row(
            str(number),
            operator.kind,
            f"{operator.milliseconds:.4f}",
            f"{operator.milliseconds / total:.1%}",
            _short(operator.name),
        )
    console.print(slowest)
    line = f"Timed by {profiled.method}: {profiled.sum_ms:.3f} ms in all"
    if profiled.whole_ms:
        ratio = profiled.sum_ms / profiled.whole_ms
        line += f", {ratio:.2f} of the whole network's {profiled.whole_ms:.3f} ms"
    console.print(line, soft_wrap=True)


def _short(name: str) -> str:
    # The converter joins the names of all that it fused, each a path.
    return "/".join(name.split(";")[0].split("/")[-2:])[-40:]


def _number(value: float | None) -> str:
    # Four digits, so that a row fits a terminal whatever the size of the network.
    return "–" if value is None else f"{value:.4g}"
