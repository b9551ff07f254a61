"""Prints a search space and one of its architectures, layer by layer.

python -m layernas_tf.describe --space=mobilenet_v3_small --resolution=32 --classes=10
python -m layernas_tf.describe --architecture=runs/x/winner/architecture.json
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from rich import box
from rich.console import Console
from rich.table import Table

from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.costs.cost import with_user_costs
from layernas_tf.costs.latency import read_table, with_latency
from layernas_tf.report.wording import (
    axis_title,
    cost_text,
    label_key,
    metric_title,
    shape_text,
)
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer, Option

_PIPE_WIDTH = 160
"""Columns of the output where it does not go to a terminal."""


def summary(space: SearchSpace) -> str:
    """The space in a line or two."""
    arguments = ", ".join(f"{name}={value}" for name, value in space.arguments.items())
    return (
        f"{space.name}: {space.size:,} architectures, {len(space.searched_layers)} of "
        f"{len(space.layers)} layers with a choice"
        + (f"\n{arguments}" if arguments else "")
    )


def cost_table(space: SearchSpace) -> Table:
    """The space's costs: default, cheapest and most expensive architecture."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("cost")
    table.add_column("unit")
    table.add_column("of the layers")
    for name in ("default", "cheapest", "most expensive"):
        table.add_column(name, justify="right")
    default = space.costs(space.default)
    for metric in space.metrics:
        values = (
            default[metric.name],
            space.chain.cheapest((), metric.name),
            space.chain.most_expensive((), metric.name),
        )
        kind = {"sum": "sum", "max": "maximum"}[metric.kind]
        write = metric.text or _exact
        table.add_row(metric.name, metric.unit, kind, *map(write, values))
    return table


def _exact(value: float) -> str:
    # The last digits of a fraction depend on the order in which layers are added up.
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"


def layer_table(space: SearchSpace, architecture: Architecture) -> Table:
    """One architecture, layer by layer, with what each layer offers."""
    steps = list(space.steps(architecture))
    metrics = [
        metric
        for metric in space.metrics
        if metric.name not in ("model_bytes", "float32_bytes")
    ] or list(space.metrics)
    lead = metrics[0]
    totals = space.costs(architecture)
    # A chain that is not a network has the same state throughout.
    shaped = any(step.after != space.start for step in steps)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("layer", "whole network" if shaped else "total")
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
    from search_spaces.architecture_files import load_architecture
    from search_spaces.registry import get_space

    del argv
    values = flags.FLAGS
    named = ("resolution", "classes", "channels", "stem_stride")
    given = {
        name: values[name].value for name in named if values[name].value is not None
    }
    if values.architecture is not None:
        space, architecture = load_architecture(
            values.architecture, values.space or "", **given
        )
    elif values.space is not None:
        space = get_space(values.space, **given)
        architecture = space.default
    else:
        raise UserError("expected --space=NAME or --architecture=FILE, got neither")
    space = with_user_costs(space, tuple(values.cost))
    if values.latency_table is not None:
        table = read_table(values.latency_table)
        space = with_latency(space, table)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=_PIPE_WIDTH)
    console.print(summary(space))
    if values.latency_table is not None:
        console.print(f"latency_ms: {table}")
    console.print(cost_table(space))
    console.print(values.architecture or "default architecture")
    console.print(layer_table(space, architecture))
    if key := label_key(space):
        console.print(key)


def define_flags() -> None:
    """Defines the binary's flags: not at import, as tests import this module."""
    flags.DEFINE_string(
        "space",
        None,
        "A registry name or path/to/file.py:function; by default the architecture "
        "file's.",
    )
    flags.DEFINE_string(
        "architecture",
        None,
        "An architecture.json; by default the space's default architecture is shown.",
    )
    flags.DEFINE_string(
        "resolution", None, "Size of the images in pixels, such as 96 or 96x160."
    )
    flags.DEFINE_integer("classes", None, "Number of classes.")
    flags.DEFINE_integer("channels", None, "Channels of the images: 1 or 3.")
    flags.DEFINE_integer(
        "stem_stride", None, "Stride of the stem, 1 or 2; by default 1 below 64 pixels."
    )
    flags.DEFINE_string(
        "latency_table",
        None,
        "A table of export.latency_table, to show the latency too.",
    )
    flags.DEFINE_multi_string(
        "cost", [], "A cost of your own, path/to/file.py:name. May repeat."
    )


def cli() -> None:
    """The command `layernas-describe`: parses the flags and runs."""
    define_flags()
    run_main(main)


if __name__ == "__main__":
    cli()
