"""Prints a search space and one of its architectures, layer by layer.

python -m layernas_tf.describe --space=mobilenet_v3_small --resolution=32 --classes=10
python -m layernas_tf.describe --architecture=runs/x/winner/architecture.json
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags
from rich import box
from rich.console import Console
from rich.table import Table

from layernas_tf.budget import format_exactly
from layernas_tf.costs.latency import read_table, with_latency
from layernas_tf.errors import UserError, run_main
from layernas_tf.report.wording import (
    axis_title,
    cost_text,
    label_key,
    metric_title,
    shape_text,
)
from layernas_tf.space import Architecture, Layer, Option, SearchSpace

_SPACE = flags.DEFINE_string(
    "space",
    None,
    "A registry name or path/to/file.py:function; by default the architecture file's.",
)
_ARCHITECTURE = flags.DEFINE_string(
    "architecture",
    None,
    "An architecture.json; by default the space's default architecture is shown.",
)
_RESOLUTION = flags.DEFINE_integer(
    "resolution", None, "Height and width of the images, in pixels."
)
_CLASSES = flags.DEFINE_integer("classes", None, "Number of classes.")
_STEM_STRIDE = flags.DEFINE_integer(
    "stem_stride", None, "Stride of the stem, 1 or 2; by default 1 below 64 pixels."
)
_LATENCY_TABLE = flags.DEFINE_string(
    "latency_table", None, "A table of export.latency_table: adds the latency."
)

_PIPE_WIDTH = 160
"""Columns of the output where it does not go to a terminal."""


def read_architecture_file(path: str) -> dict[str, Any]:
    """Reads the JSON object of an architecture file.

    Raises:
      UserError: It cannot be read or is no architecture file.
    """
    try:
        data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"architecture {path!r} cannot be read: {error.strerror}"
        ) from None
    except ValueError as error:
        raise UserError(f"architecture {path!r} is not JSON: {error}") from None
    if not isinstance(data, dict) or "architecture" not in data:
        raise UserError(
            f"architecture {path!r}: expected an object with 'space', 'arguments' and "
            "'architecture', as a search writes it"
        )
    return data


def choose_space(
    name: str | None, given: dict[str, int], file: dict[str, Any] | None
) -> SearchSpace:
    """Makes the space of the flags, filled up from the architecture file.

    Args:
      name: Of the space, or None to take the file's.
      given: Arguments that the user gave; they win over the file's.
      file: What `read_architecture_file` read, if there is one.

    Raises:
      UserError: There is no name, or the file is of another space.
    """
    from search_spaces.registry import get_space, names

    if file is None:
        if name is None:
            raise UserError("expected --space=NAME or --architecture=FILE, got neither")
        return get_space(name, **given)
    arguments = file.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise UserError(
            "architecture file: expected 'arguments' to be an object, got "
            f"{arguments!r}"
        )
    # A name of another kind is a file of Python: only the user may have that run.
    if name is None and file.get("space") not in names():
        raise UserError(
            f"the architecture file is of space {file.get('space')!r}, which is none "
            "of the framework's own: say --space=path/to/file.py:function"
        )
    space = get_space(name or file["space"], **{**arguments, **given})
    if file.get("space") not in (None, space.name):
        raise UserError(
            f"the architecture file is of space {file['space']!r}, but --space is "
            f"{space.name!r}"
        )
    return space


def summary(space: SearchSpace) -> str:
    """The space in a line or two."""
    arguments = ", ".join(f"{name}={value}" for name, value in space.arguments.items())
    return (
        f"{space.name}: {space.size:,} architectures, {len(space.searched_layers)} of "
        f"{len(space.layers)} layers with a choice"
        + (f"\n{arguments}" if arguments else "")
    )


def cost_table(space: SearchSpace) -> Table:
    """The space's costs: default, cheapest and dearest architecture."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("cost")
    table.add_column("unit")
    table.add_column("of the layers")
    for name in ("default", "cheapest", "dearest"):
        table.add_column(name, justify="right")
    default = space.costs(space.default)
    for metric in space.metrics:
        values = (
            default[metric.name],
            space.chain.cheapest((), metric.name),
            space.chain.dearest((), metric.name),
        )
        kind = {"sum": "sum", "max": "maximum"}[metric.kind]
        # The last digits of a time are those of a sum of fractions.
        words = [
            f"{v:.4f}" if metric.unit == "ms" else format_exactly(v) for v in values
        ]
        table.add_row(metric.name, metric.unit, kind, *words)
    return table


def layer_table(space: SearchSpace, architecture: Architecture) -> Table:
    """One architecture, layer by layer, with what each layer offers."""
    steps = list(space.walk(architecture))
    metrics = [
        metric
        for metric in space.metrics
        if metric.name not in ("model_bytes", "float32_bytes")
    ] or list(space.metrics)
    lead = metrics[0]
    totals = space.costs(architecture)
    # A chain that is no network keeps its one state.
    shaped = any(step.after != space.start for step in steps)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("layer", "whole network" if shaped else "in all")
    table.add_column("option")
    if shaped:
        table.add_column("input", justify="right")
        table.add_column("output", justify="right")
    for metric in metrics:
        total = cost_text(totals[metric.name], metric, unit=False)
        # Bytes are written with their unit.
        name = (metric_title if metric.unit == "bytes" else axis_title)(metric)
        table.add_column(name, total, justify="right")
    table.add_column(f"share of {metric_title(lead)}", justify="right")
    table.add_column("options on offer")
    for step in steps:
        cells = [step.layer.name, step.option.label]
        if shaped:
            cells += [shape_text(step.before), shape_text(step.after)]
        for metric in metrics:
            cells.append(cost_text(step.costs[metric.name], metric, unit=False))
        share = step.costs[lead.name] / totals[lead.name] if totals[lead.name] else 0.0
        table.add_row(*cells, f"{100 * share:.1f} %", offer_text(step.layer))
    return table


def offer_text(layer: Layer) -> str:
    """What a layer offers: `37: k3 5 7, e3 4 6, se, drop`."""
    if len(layer.options) == 1:
        return "fixed"
    names = [name for option in layer.options for name, _ in option.attributes]
    parts = []
    for name in dict.fromkeys(names):
        values = [option.get(name) for option in layer.options]
        values = list(dict.fromkeys(value for value in values if value is not None))
        if any(isinstance(value, bool) for value in values):
            parts.append(name)
        elif all(isinstance(value, (int, float)) for value in values):
            first, *rest = sorted(values)
            words = [Option.of(**{name: first}).label, *(f"{v:.4g}" for v in rest)]
            parts.append(" ".join(words))
        else:
            parts.append(" ".join(map(str, values)))
    return f"{len(layer.options)}: {', '.join(parts)}"


def main(argv: Sequence[str]) -> None:
    """Prints what the flags ask for."""
    del argv
    given = {
        flag.name: flag.value
        for flag in (_RESOLUTION, _CLASSES, _STEM_STRIDE)
        if flag.value is not None
    }
    file = None
    if _ARCHITECTURE.value is not None:
        file = read_architecture_file(_ARCHITECTURE.value)
    space = choose_space(_SPACE.value, given, file)
    if _LATENCY_TABLE.value is not None:
        table = read_table(_LATENCY_TABLE.value)
        space = with_latency(space, table)
    architecture = space.default if file is None else space.from_json(file)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=_PIPE_WIDTH)
    console.print(summary(space))
    if _LATENCY_TABLE.value is not None:
        console.print(f"latency_ms: {table}")
    console.print(cost_table(space))
    console.print(_ARCHITECTURE.value or "default architecture")
    console.print(layer_table(space, architecture))
    if key := label_key(space):
        console.print(key)


if __name__ == "__main__":
    run_main(main)
