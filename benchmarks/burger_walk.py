"""One search on the burger, with its memorial table after every step, as a picture.

    python -m benchmarks.burger_walk --figure=docs/images/burger.png

The burger is the example of the LayerNAS post (`search_spaces/tabular/burger.py`). The
search is the paper's: all layers behind the new option are at their defaults, the most
expensive options. A step trains the children of one kept burger at the next layer, and
keeps the tastiest burger of every price band of two dollars. Also prints the steps as
text.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.core.app import run_main
from layernas_tf.core.files import writing
from layernas_tf.space.budget import parse_budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.types import Architecture
from search_spaces.tabular.burger import BAND_DOLLARS, burger_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

Cells = dict[tuple[int, int], tuple[Architecture, float]]
"""By depth and band, the burger that is kept and its taste."""


@dataclasses.dataclass(frozen=True)
class Step:
    """The children of one kept burger, and the table after them.

    Example: `walk()[0].parent` is None: nothing comes before the first layer.

    Attributes:
      layer: Whose option is new.
      parent: What was built upon; None before the first layer.
      trained: The children with their tastes.
      table: What is kept after the step.
    """

    layer: int
    parent: Architecture | None
    trained: tuple[tuple[Architecture, float], ...]
    table: Cells


def walk() -> list[Step]:
    """One pass through the three layers."""
    table = burger_table()
    search = LayerNAS(
        table.space,
        [parse_budget("price<=100%", table.space)],
        schedule="layerwise",
        searches=4,
        children=None,
        reach=0.0,
        bucket_width=BAND_DOLLARS,
        base="default",
    )
    steps: list[Step] = []
    told: list[tuple[Candidate, float]] = []
    last = len(table.space.layers) - 1
    while (candidate := search.ask()) is not None:
        if told and _group(candidate) != _group(told[0][0]):
            steps.append(_step(told, search))
            if told[0][0].layer == last and candidate.layer != last:
                return steps
            told = []
        taste = table.query(candidate.architecture).valid
        search.tell(candidate, taste)
        told.append((candidate, taste))
    return [*steps, _step(told, search)]


def _group(candidate: Candidate) -> tuple[int | None, Architecture | None]:
    return candidate.layer, candidate.parent


def _step(told: Sequence[tuple[Candidate, float]], search: LayerNAS) -> Step:
    cells: Cells = {}
    for depth, kept in enumerate(search.table.kept):
        for band, entries in kept.items():
            if entries:
                cells[depth, band] = entries[0].architecture, entries[0].reward
    first = told[0][0]
    return Step(
        first.layer or 0,
        first.parent if first.layer else None,
        tuple((candidate.architecture, taste) for candidate, taste in told),
        cells,
    )


def name_of(architecture: Architecture, depth: int) -> str:
    """The dishes chosen up to a layer, without the defaults behind it."""
    layers = burger_table().space.layers[: depth + 1]
    return "\n".join(
        str(layer.options[option]["name"])
        for layer, option in zip(layers, architecture)
    )


def draw(steps: Sequence[Step], path: str) -> None:
    """A grid of tables, one per step: layers across, price bands upwards."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 3
    rows = math.ceil(len(steps) / columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(11, 3.4 * rows), layout="constrained", dpi=130
    )
    bands = [band for step in steps for _, band in step.table]
    before: Cells = {}
    for panel, step, number in zip(panels.flat, steps, range(1, len(steps) + 1)):
        _draw_table(panel, step, before, min(bands), max(bands))
        panel.set_title(_title(step, number), fontsize=8.5)
        before = step.table
    for panel in panels.flat[len(steps) :]:
        panel.axis("off")
    figure.suptitle(
        "Memorial table of LayerNAS on the burger: in each layer and price band the "
        "tastiest burger so far (green: new after the step)",
        fontsize=10,
    )
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    pyplot.close(figure)


def _draw_table(panel: Axes, step: Step, before: Cells, low: int, high: int) -> None:
    layers = burger_table().space.layers
    for (depth, band), kept in step.table.items():
        new = before.get((depth, band)) != kept
        colour = "#CFE8D5" if new else "#F2F2F2"
        panel.add_patch(
            _rectangle(depth, band, facecolor=colour, edgecolor="#555555", lw=0.6)
        )
        architecture, taste = kept
        names = name_of(architecture, depth).replace("\n", ", ")
        parts = names.split(", ")
        lines = [", ".join(parts[:2]), *parts[2:], f"taste {taste:g}"]
        panel.text(
            depth + 0.5,
            band + 0.5,
            "\n".join(lines),
            ha="center",
            va="center",
            fontsize=6.5,
        )
    panel.set_xlim(0, len(layers))
    panel.set_ylim(low, high + 1)
    panel.set_xticks([d + 0.5 for d in range(len(layers))], [x.name for x in layers])
    edges = range(low, high + 2)
    panel.set_yticks(list(edges), [f"${BAND_DOLLARS * edge:g}" for edge in edges])
    panel.tick_params(labelsize=7, length=0)
    panel.grid(axis="y", lw=0.4, alpha=0.5)


def _rectangle(depth: int, band: int, **style: Any) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((depth + 0.03, band + 0.05), 0.94, 0.9, **style)


def _title(step: Step, number: int) -> str:
    layer = burger_table().space.layers[step.layer].name
    if step.parent is None:
        return f"step {number}: every {layer} on the most expensive rest"
    names = name_of(step.parent, step.layer - 1).replace("\n", ", ")
    return f"step {number}: {names} with every {layer}"


def main(argv: Sequence[str]) -> None:
    """Prints the steps and draws the picture."""
    del argv
    steps = walk()
    for number, step in enumerate(steps, 1):
        print(_title(step, number))
        for architecture, taste in step.trained:
            names = name_of(architecture, 2).replace("\n", ", ")
            price = burger_table().space.costs(architecture)["price"]
            print(f"    {names}: ${price:.2f}, taste {taste:g}")
    draw(steps, flags.FLAGS.figure)


if __name__ == "__main__":
    flags.DEFINE_string("figure", "docs/images/burger.png", "A PNG file to write.")
    run_main(main)
