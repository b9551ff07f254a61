"""Latency as a cost of the chain, from a table that was measured on a device.

`export.latency_table` measures every distinct block of a space on a device and writes
the table. Here it is read, checked against the space, and added to it as one more sum
along the chain. Bounds, counts and samples are then exact as for any other cost.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.costs.cost import Cost, with_cost
from layernas_tf.space.budget import LATENCY
from layernas_tf.space.search_space import SearchSpace, Step
from layernas_tf.space.types import Metric, State

KIND = "layernas_tf latency table"
VERSION = 1

TRAINING_ARGUMENTS = ("dropout",)
"""Arguments of a space that do not change an exported network."""


@dataclasses.dataclass(frozen=True)
class LayerTimes:
    """The times of one layer's blocks.

    Example: `LayerTimes("stem", ("16", "24"), (State(3, 96, 96),), ((0.4, 0.6),))`.

    Attributes:
      name: Name of the layer.
      options: Labels of its options.
      states: The states that can enter the layer.
      ms: Milliseconds by state and option, each block measured alone.
    """

    name: str
    options: tuple[str, ...]
    states: tuple[State, ...]
    ms: tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """How long a device takes for every block of a space.

    Example:
      table = read_table("latency.json")
      print(table)  # the device, the runtime, the threads and the format

    Attributes:
      path: Path of the file.
      digest: SHA-256 of the file.
      space: Name of the space.
      arguments: The arguments that the space was made with.
      device: The device that was measured, in words.
      runtime: The runtime that ran the blocks, with its version.
      threads: Number of threads of one inference.
      format: Number format of the measured files: `float32` or `int8`.
      scale: Factor that the sum of a network's blocks is multiplied by. It is fitted to
        whole networks, whose blocks find less of their data in the caches.
      offset_ms: Milliseconds that are then added for every network.
      layers: One entry per layer of the space.
    """

    path: str
    digest: str
    space: str
    arguments: Mapping[str, Any]
    device: str
    runtime: str
    threads: int
    format: str
    scale: float
    offset_ms: float
    layers: tuple[LayerTimes, ...]

    def __str__(self) -> str:
        threads = "one thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.device}, {self.runtime}, {threads}, {self.format}"


def read_table(path: str) -> LatencyTable:
    """Reads what `export.latency_table` wrote.

    Raises:
      UserError: The file cannot be read or is not a complete latency table; the message
        says what was expected, and where.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"latency table {path!r} cannot be read: {reason_of(error)}"
        ) from None
    try:
        data = json.loads(content)
    except ValueError as error:
        raise UserError(f"latency table {path!r} is not JSON: {error}") from None
    entry = _Entry(f"latency table {path!r}", data)
    if entry.text("kind") != KIND:
        raise entry.wrong("kind", repr(KIND))
    if entry.whole("version") != VERSION:
        raise entry.wrong("version", f"{VERSION} (make the table again)")
    if not isinstance(entry.of("arguments"), dict):
        raise entry.wrong("arguments", "an object")
    layers = entry.of("layers")
    if not isinstance(layers, list) or not layers:
        raise entry.wrong("layers", "a list of layers")
    calibration = _Entry(f"{entry.where}: calibration", entry.of("calibration"))
    return LatencyTable(
        path=str(path),
        digest=hashlib.sha256(content).hexdigest(),
        space=entry.text("space"),
        arguments=data["arguments"],
        device=entry.text("device"),
        runtime=f"{entry.text('runtime')} {entry.text('runtime_version')}",
        threads=entry.whole("threads"),
        format=entry.text("format"),
        scale=calibration.number("scale"),
        offset_ms=calibration.number("offset_ms"),
        layers=tuple(
            _layer(f"{entry.where}: layers[{number}]", layer)
            for number, layer in enumerate(layers)
        ),
    )


def _layer(where: str, data: Any) -> LayerTimes:
    entry = _Entry(where, data)
    options, states, ms = (entry.of(name) for name in ("options", "states", "ms"))
    if not isinstance(options, list) or not all(isinstance(o, str) for o in options):
        raise entry.wrong("options", "a list of labels")
    if not isinstance(states, list) or not all(
        isinstance(state, list) and len(state) == 3 and all(map(_is_whole, state))
        for state in states
    ):
        raise entry.wrong("states", "a list of [channels, height, width]")
    if (
        not isinstance(ms, list)
        or len(ms) != len(states)
        or not all(isinstance(row, list) and len(row) == len(options) for row in ms)
        or not all(_is_time(value) for row in ms for value in row)
    ):
        raise entry.wrong(
            "ms", f"{len(states)} rows of {len(options)} finite numbers >= 0"
        )
    return LayerTimes(
        name=entry.text("name"),
        options=tuple(options),
        states=tuple(State(*state) for state in states),
        ms=tuple(tuple(map(float, row)) for row in ms),
    )


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A JSON object whose members are checked as they are read."""

    where: str
    data: Any

    def of(self, name: str) -> Any:
        if not isinstance(self.data, dict):
            raise UserError(f"{self.where}: expected an object")
        if name not in self.data:
            raise UserError(f"{self.where}: expected a member {name!r}, got none")
        return self.data[name]

    def wrong(self, name: str, expected: str) -> UserError:
        got = repr(self.data[name])
        got = got if len(got) <= 60 else f"{got[:57]}..."
        return UserError(f"{self.where}: {name!r}: expected {expected}, got {got}")

    def text(self, name: str) -> str:
        if not isinstance(self.of(name), str):
            raise self.wrong(name, "a text")
        return self.data[name]

    def whole(self, name: str) -> int:
        if not _is_whole(self.of(name)) or self.data[name] < 1:
            raise self.wrong(name, "a whole number, 1 or more")
        return self.data[name]

    def number(self, name: str) -> float:
        if not _is_time(self.of(name)):
            raise self.wrong(name, "a finite number >= 0")
        return float(self.data[name])


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


def with_latency(space: SearchSpace, table: LatencyTable) -> SearchSpace:
    """The space with the table's latency as one more sum along its chain.

    The table's offset is a cost of the first layer, whatever its option.

    Raises:
      UserError: The table was made for another space, with other arguments (another
        resolution), or for another version of the space.
    """
    return with_cost(space, latency_cost(space, table))


def latency_cost(space: SearchSpace, table: LatencyTable) -> Cost:
    """The table's latency, as a cost of the space that it was made for.

    Raises:
      UserError: As `with_latency`.
    """
    check_fits(space, table)
    first = space.layers[0].name
    rows = {times.name: dict(zip(times.states, times.ms)) for times in table.layers}
    places = {
        layer.name: {option: number for number, option in enumerate(layer.options)}
        for layer in space.layers
    }

    def milliseconds(step: Step) -> float:
        name = step.layer.name
        offset = table.offset_ms if name == first else 0.0
        return offset + table.scale * rows[name][step.before][places[name][step.option]]

    return Cost(Metric(LATENCY, "sum", "ms", title="latency"), milliseconds)


def check_fits(space: SearchSpace, table: LatencyTable) -> None:
    """Raises `UserError` if a table was not made for this very space."""
    where = f"latency table {table.path!r}"
    if table.space != space.name:
        raise UserError(
            f"{where} was made for space {table.space!r}, not for {space.name!r}"
        )
    for name in dict.fromkeys([*space.arguments, *table.arguments]):
        made, asked = table.arguments.get(name), space.arguments.get(name)
        if made != asked and name not in TRAINING_ARGUMENTS:
            raise UserError(
                f"{where} was made for {space.name!r} with {name}={made}, not with "
                f"{name}={asked}: make another with export.latency_table"
            )
    expected = [
        (layer.name, tuple(option.label for option in layer.options), tuple(states))
        for layer, states in zip(space.layers, space.chain.states)
    ]
    got = [(times.name, times.options, times.states) for times in table.layers]
    if expected != got:
        different = [a[0] for a, b in zip(expected, got) if a != b]
        raise UserError(
            f"{where} was made for another version of space {space.name!r}: "
            + (
                f"layer {different[0]!r} has other options or sizes"
                if different
                else f"it has {len(got)} layers, the space has {len(expected)}"
            )
        )


def check_same_table(
    table: LatencyTable | None, kept: pathlib.Path, *, resumed: bool
) -> None:
    """Checks that a search goes on with the latency table that it began with.

    Args:
      table: The table that is asked for, if any.
      kept: Path of the workdir's copy of the table.
      resumed: Whether there is a search in the workdir.

    Raises:
      UserError: The search began with another table, with a table where none is given
        now, or without one where one is given now.
    """
    if not resumed or (table is None and not kept.exists()):
        return
    if table is None:
        raise UserError(
            f"workdir {str(kept.parent)!r} holds a search with a latency table: give "
            f"`latency_table`={kept} to resume it, or another `workdir`"
        )
    if not kept.exists():
        raise UserError(
            f"workdir {str(kept.parent)!r} holds a search without a latency table: "
            "leave `latency_table` out to resume it, or give another `workdir`"
        )
    if read_table(str(kept)).digest != table.digest:
        raise UserError(
            f"workdir {str(kept.parent)!r} holds a search with another latency table "
            f"than {table.path!r}: give `latency_table`={kept} to resume it, or "
            "another `workdir`"
        )
