"""Prints timings on the terminal, those of this machine and of phones alike.

If the terminal is narrow, names are wrapped or shortened, but numbers stay whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from export.timing.profile import Profile

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_SLOWEST = 15
_NARROWEST = 50
"""Columns that a profile takes even where the terminal has fewer."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One setting and its timings.

    Example: `Row("tflite-runtime 2.14.0", 1, 200, {"p50": 1.58}, {"RSS MiB": 9.1})`.

    Attributes:
      where: Runtime or device.
      threads: Threads of one inference.
      runs: Inferences that were timed.
      times: Milliseconds by name; None for what is not known.
      memory: Memory by name with its unit; None for what is not known.
      error: Why there are no timings, in one line.
    """

    where: str
    threads: int
    runs: int
    times: Mapping[str, float | None]
    memory: Mapping[str, float | None]
    error: str = ""


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Prints settings, at least one, below each other."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    times = list(dict.fromkeys(n for row in rows for n, v in row.times.items() if v))
    memory = list(dict.fromkeys(n for row in rows for n, v in row.memory.items() if v))
    table = Table(
        title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("on")
    columns = {
        "threads": [str(row.threads) for row in rows],
        "runs": ["error" if row.error else str(row.runs) for row in rows],
        **{name: [_number(row.times.get(name)) for row in rows] for name in times},
        **{name: [_number(row.memory.get(name)) for row in rows] for name in memory},
    }
    for name, cells in columns.items():
        _add_numbers(table, name, cells)
    for row, *cells in zip(rows, *columns.values()):
        table.add_row(row.where, *cells)
    unlimited = Console(width=1000)
    least = Measurement.get(unlimited, unlimited.options, table).minimum
    _console(least).print(table)
    for row in rows:
        if row.error:
            print(f"{row.where}, {row.threads} threads: error: {row.error}")


def print_profile(title: str, profiled: Profile) -> None:
    """Prints the operators' times: by kind, and the slowest of them."""
    console = _console(_NARROWEST)
    console.print(_kinds(f"Operators: {title}", profiled))
    console.print(_slowest(profiled))
    line = f"Timed by {profiled.method}: {profiled.sum_ms:.3f} ms in all"
    if profiled.whole_ms:
        ratio = profiled.sum_ms / profiled.whole_ms
        line += f", {ratio:.2f} of the whole network's {profiled.whole_ms:.3f} ms"
    print(line)


def _console(least: int) -> Console:
    """A console as wide as the terminal; a narrow one continues on the next line."""
    from rich.console import Console

    return Console(highlight=False, width=max(Console().width, least))


def _kinds(title: str, profiled: Profile) -> Table:
    """A row for each kind of operator."""
    from rich.table import Table

    table = Table(title=title)
    table.add_column("kind")
    kinds, numbers, milliseconds = zip(*profiled.by_kind())
    columns = {
        "number": [str(number) for number in numbers],
        "ms": [f"{each:.4f}" for each in milliseconds],
        "share": [_share(each, profiled) for each in milliseconds],
    }
    for name, cells in columns.items():
        _add_numbers(table, name, cells)
    for kind, *cells in zip(kinds, *columns.values()):
        table.add_row(_shortened(kind), *cells)
    return table


def _slowest(profiled: Profile) -> Table:
    """A row for each of the slowest operators."""
    from rich.table import Table

    order = sorted(
        enumerate(profiled.operators), key=lambda entry: -entry[1].milliseconds
    )[:_SLOWEST]
    table = Table(title=f"The {len(order)} slowest")
    times = [operator.milliseconds for _, operator in order]
    _add_numbers(table, "at", [str(number) for number, _ in order])
    table.add_column("kind")
    _add_numbers(table, "ms", [f"{each:.4f}" for each in times])
    _add_numbers(table, "share", [_share(each, profiled) for each in times])
    table.add_column("output")
    for number, operator in order:
        table.add_row(
            str(number),
            _shortened(operator.kind),
            f"{operator.milliseconds:.4f}",
            _share(operator.milliseconds, profiled),
            _shortened(_short(operator.name)),
        )
    return table


def _add_numbers(table: Table, name: str, cells: Sequence[str]) -> None:
    """Adds a column that keeps the width of its longest cell."""
    width = max(map(len, (name, *cells)))
    table.add_column(name, justify="right", no_wrap=True, min_width=width)


def _shortened(name: str) -> Text:
    """A name that ends in an ellipsis where the terminal is too narrow for it."""
    from rich.text import Text

    return Text(name, no_wrap=True, overflow="ellipsis")


def _share(milliseconds: float, profiled: Profile) -> str:
    return f"{milliseconds / (profiled.sum_ms or 1.0):.1%}"


def _short(name: str) -> str:
    # The converter joins the names of everything that it fused; each is a path.
    return "/".join(name.split(";")[0].split("/")[-2:])[-40:]


def _number(value: float | None) -> str:
    # Four digits, so that a row fits a terminal whatever the size of the network.
    return "–" if value is None else f"{value:.4g}"
