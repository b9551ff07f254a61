"""A latency table: the blocks of a space, timed on a device."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from export.timing.latency_fit import calibration_networks, fit
from export.timing.space_files import block_file, check_blocks, network_file
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import read_json, write_json, write_text
from layernas_tf.costs.latency import KIND, VERSION
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import State

_CHUNK_FILES, _CHUNK_BYTES = 200, 64 * 2**20


class Timer(Protocol):
    """Times files, and returns milliseconds by the names of the files.

    Example:
      timer: Timer = HostTimer("ai-edge-litert", threads=1, rounds=5, form="int8")
      timer.networks({"default": content})
    """

    @property
    def runtime(self) -> str:
        """The runtime that runs the files."""

    @property
    def threads(self) -> int:
        """Threads of one inference."""

    @property
    def form(self) -> str:
        """The files' format: one of `tflite_graph.FORMATS`."""

    @property
    def device(self) -> str:
        """The device in words."""

    @property
    def version(self) -> str:
        """The version of the runtime."""

    def blocks(self, files: Mapping[str, bytes]) -> dict[str, float]:
        """Milliseconds of each block by name, less the fixed cost of an inference."""

    def networks(self, files: Mapping[str, bytes]) -> dict[str, float]:
        """Milliseconds of each network by name."""


@dataclasses.dataclass
class Measurement:
    """The results so far, in `PATH.partial` until the table is complete.

    Example:
      done = Measurement(pathlib.Path("latency.json.partial"), {}, {}, {})
      done.save()

    Attributes:
      path: Path of the partial file.
      header: The space and the device of the table.
      blocks: Milliseconds by the digest of a block's file.
      networks: Milliseconds by architecture, as JSON.
      seconds: Duration of the measurement so far.
    """

    path: pathlib.Path
    header: dict[str, Any]
    blocks: dict[str, float]
    networks: dict[str, float]
    seconds: float = 0.0

    def save(self) -> None:
        """Writes the partial file."""
        data = dataclasses.asdict(self)
        del data["path"]
        write_json(self.path, data)


def measure_table(
    space: SearchSpace,
    timer: Timer,
    out: pathlib.Path,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measures a space and writes the table.

    Args:
      space: A search space made of blocks.
      timer: Times files on the device.
      out: Path of the table. `NAME.partial` lies beside it until it is complete.
      say: Called with lines about the progress.

    Returns:
      The content of the table.

    Raises:
      UserError: The space is not made of blocks, a block cannot be built, or the
        partial file is of another measurement.
    """
    check_blocks(space)
    known = _begin(space, timer, out.with_name(out.name + ".partial"))
    if known.blocks:
        say(f"Continuing after {len(known.blocks):,} blocks.")
    begun = time.monotonic() - known.seconds
    # Whole networks are timed before and after the blocks: a noisy period may spare
    # one of the two.
    _time_networks(space, timer, known)
    places = _time_blocks(space, timer, known, begun, say)
    _time_networks(space, timer, known)
    known.seconds = time.monotonic() - begun
    table = _table(space, known, places)
    write_text(out, json.dumps(table, indent=1) + "\n")
    known.path.unlink(missing_ok=True)
    return table


def _time_blocks(
    space: SearchSpace,
    timer: Timer,
    known: Measurement,
    begun: float,
    say: Callable[[str], None],
) -> list[np.ndarray]:
    """Times the blocks that are not known yet, many at a time.

    Returns:
      The digest of the block's file for each state and option of each layer; None
      where the block computes nothing.
    """
    names: dict[tuple[Any, State, bool], str | None] = {}
    places = [np.full(n.shape, None, object) for n in space.chain.next_state]
    waiting: dict[str, bytes] = {}

    def time_waiting() -> None:
        if waiting:
            known.blocks.update(timer.blocks(waiting))
            waiting.clear()
            known.seconds = time.monotonic() - begun
            known.save()
            say(f"{len(known.blocks):,} blocks in {known.seconds:.0f} s")

    for i, s, o in _pairs(space):
        layer, state = space.layers[i], space.chain.states[i][s]
        assert layer.block is not None  # see check_blocks
        block = layer.block(layer.options[o])
        key = (block, state, i == 0)
        if key not in names:
            content = block_file(block, state, timer.form, pixels=i == 0)
            names[key] = None
            if content is not None:
                digest = names[key] = hashlib.sha256(content).hexdigest()
                if digest not in known.blocks:
                    waiting[digest] = content
        places[i][s, o] = names[key]
        size = sum(map(len, waiting.values()))
        if len(waiting) >= _CHUNK_FILES or size >= _CHUNK_BYTES:
            time_waiting()
    time_waiting()
    return places


def _pairs(space: SearchSpace) -> Iterator[tuple[int, int, int]]:
    """Layer, state and option of everything that an architecture may run."""
    for i, following in enumerate(space.chain.next_state):
        for s, o in np.ndindex(following.shape):
            yield i, s, o


def _begin(space: SearchSpace, timer: Timer, path: pathlib.Path) -> Measurement:
    header = {
        "kind": KIND,
        "version": VERSION,
        "space": space.name,
        "arguments": dict(space.arguments),
        "device": timer.device,
        "runtime": timer.runtime,
        "runtime_version": timer.version,
        "threads": timer.threads,
        "format": timer.form,
    }
    if not path.exists():
        return Measurement(path, header, {}, {})
    stored = read_json(path)
    if not isinstance(stored, dict) or set(stored) != {
        "header",
        "blocks",
        "networks",
        "seconds",
    }:
        raise UserError(
            f"{str(path)!r} is not an unfinished latency table: remove it, or give "
            "another `out`"
        )
    different = [
        f"{name} was {stored['header'].get(name)!r}, is {value!r}"
        for name, value in header.items()
        if stored["header"].get(name) != value
    ]
    if different:
        raise UserError(
            f"{str(path)!r} is of another measurement: {'; '.join(different)}. Remove "
            "it, or give another `out`"
        )
    return Measurement(path, **stored)


def _time_networks(space: SearchSpace, timer: Timer, known: Measurement) -> None:
    files = {
        json.dumps(architecture): network_file(space, architecture, timer.form)
        for architecture in calibration_networks(space)
    }
    for name, ms in timer.networks(files).items():
        known.networks[name] = min(ms, known.networks.get(name, ms))
    known.save()


def _table(
    space: SearchSpace, known: Measurement, places: list[np.ndarray]
) -> dict[str, Any]:
    """The content of the table, from the measured times."""
    times = [
        np.array([[known.blocks.get(name, 0.0) for name in row] for row in layer])
        for layer in places
    ]
    sums = {
        name: _sum_of_blocks(space, times, json.loads(name)) for name in known.networks
    }
    line = fit(list(sums.values()), list(known.networks.values()))
    used = {name for layer in places for name in layer.flat if name}
    return {
        **known.header,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "distinct_blocks": len(used),
        "seconds": round(known.seconds, 1),
        "calibration": {
            **dataclasses.asdict(line),
            "networks": [
                {
                    "architecture": json.loads(name),
                    "sum_of_blocks_ms": round(sums[name], 6),
                    "measured_ms": round(ms, 6),
                }
                for name, ms in known.networks.items()
            ],
        },
        "layers": [
            {
                "name": layer.name,
                "options": [option.label for option in layer.options],
                "states": [[s.channels, s.height, s.width] for s in states],
                "ms": np.round(ms, 6).tolist(),
            }
            for layer, states, ms in zip(space.layers, space.chain.states, times)
        ],
    }


def _sum_of_blocks(
    space: SearchSpace, times: list[np.ndarray], architecture: list[int]
) -> float:
    total, state = 0.0, 0
    for i, option in enumerate(architecture):
        total += times[i][state, option]
        state = space.chain.next_state[i][state, option]
    return float(total)
