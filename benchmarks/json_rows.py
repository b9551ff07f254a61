"""A file with a measurement on each line, to which a later call of a benchmark adds."""

from __future__ import annotations

import json
import pathlib
from typing import Any


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows so far; a line that was cut off is none."""
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def append_row(path: pathlib.Path, row: dict[str, Any]) -> None:
    """Adds a row, on a line of its own even after one that was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read() != b"\n":
                file.write(b"\n")
        file.write(json.dumps(row).encode() + b"\n")
