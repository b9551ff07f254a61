"""Evaluations until the exact optimum, against the number of layers.

    python -m benchmarks.scaling --out=runs/scaling

The `synthetic` benchmark without interaction satisfies the layerwise assumption, so
LayerNAS must find the best architecture inside the budget after O(H * |S| * L)
evaluations. Here the most expensive architecture costs 4 units per layer and a bucket
is one unit, so H grows with L and the expected exponent is 2. What searches without the
assumption needs a number that grows with |S| ** L.

Prints a table and the fitted exponents, and writes `scaling.png` and `scaling.csv`.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from benchmarks.number_flags import define_numbers
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.comparison.style import MATPLOTLIB_DASH, style_of
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import write_text, writing
from layernas_tf.space.budget import inside, parse_budget
from search_spaces.tabular.synthetic import synthetic

LENGTHS = (5, 6, 7, 8, 10, 14, 20, 28, 40)
OPTIONS = 4
UNITS = 4
"""Units of cost per layer of the most expensive architecture."""

ALGORITHMS: dict[str, dict[str, Any]] = {
    "layernas_bayes": {},
    # The paper's complexity is that of its own base.
    "layernas": {"bucket_width": 1.0, "base": "default", "children": 8},
    "random": {},
    "local_search": {},
    "regularized_evolution": {},
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """How one algorithm did at one number of layers.

    Example: `Cell("layernas", 8, (40, 60, None)).median` is 60.

    Attributes:
      algorithm: Its name.
      layers: `L`.
      counts: Evaluations to the optimum, one per table; None where the cap came first.
    """

    algorithm: str
    layers: int
    counts: tuple[int | None, ...]

    @property
    def median(self) -> float | None:
        """None where the cap came first on half of the tables or more."""
        middle = statistics.median(
            float("inf") if count is None else count for count in self.counts
        )
        return None if middle == float("inf") else middle


def evaluations_to_optimum(
    name: str, options: dict[str, Any], layers: int, seed: int, cap: int
) -> int | None:
    """How many evaluations until the best architecture was evaluated; None past `cap`.

    Args:
      name: The algorithm.
      options: Its options.
      layers: `L`.
      seed: Of the table and of the search.
      cap: Where to give up.
    """
    table = synthetic(layers, OPTIONS, UNITS * layers, seed=seed)
    budgets = [parse_budget("cost<=50%", table.space)]
    best = table.best(budgets).valid
    algorithm = make_algorithm(name, table.space, budgets, seed, **options)
    for count in range(1, cap + 1):
        candidate = algorithm.ask()
        if candidate is None:
            return None
        reward = table.query(candidate.architecture).valid
        _, costs = table.space.chain.walk(candidate.architecture)
        algorithm.tell(candidate, reward)
        if reward >= best - 1e-9 and inside(budgets, costs):
            return count
    return None


def measure(name: str, lengths: Sequence[int], tables: int, cap: int) -> list[Cell]:
    """Measures one algorithm, up to the first length at which the cap comes first."""
    cells = []
    for layers in lengths:
        counts = [
            evaluations_to_optimum(name, ALGORITHMS[name], layers, seed, cap)
            for seed in range(tables)
        ]
        cells.append(Cell(name, layers, tuple(counts)))
        print(f"{name}, L = {layers}: {counts}", file=sys.stderr, flush=True)
        if cells[-1].median is None:
            break
    return cells


@dataclasses.dataclass(frozen=True)
class Fit:
    """Least squares on the logarithms of the medians.

    Example: `Fit(exponent=1.5, factor=1.3, polynomial=True).formula`.

    Attributes:
      exponent: `k` of the best `L ** k`.
      factor: `c` of the best `c ** L`.
      polynomial: Whether the first is the closer one.
    """

    exponent: float
    factor: float
    polynomial: bool

    @property
    def formula(self) -> str:
        """The closer one, for the plot's legend."""
        if self.polynomial:
            return f"$L^{{{self.exponent:.1f}}}$"
        return f"${self.factor:.1f}^L$"


def fit(cells: Sequence[Cell]) -> Fit | None:
    """Fits a power and an exponential; None with fewer than three lengths."""
    points = [(cell.layers, cell.median) for cell in cells if cell.median is not None]
    if len(points) < 3:
        return None
    layers, counts = np.array(points, float).T
    slopes, errors = [], []
    for x in (np.log(layers), layers):
        line = np.polyfit(x, np.log(counts), 1)
        slopes.append(float(line[0]))
        errors.append(float(np.sum((np.polyval(line, x) - np.log(counts)) ** 2)))
    return Fit(slopes[0], float(np.exp(slopes[1])), errors[0] <= errors[1])


def table_text(by_name: dict[str, list[Cell]], lengths: Sequence[int], cap: int) -> str:
    """The measurements and the fits, for people."""
    lines = [f"{'median evaluations, L =':<26}" + "".join(f"{n:>8}" for n in lengths)]
    for name, cells in by_name.items():
        known = {cell.layers: cell for cell in cells}
        texts = []
        for layers in lengths:
            cell = known.get(layers)
            if cell is None:
                texts.append("")
            else:
                texts.append(f">{cap}" if cell.median is None else f"{cell.median:.0f}")
        lines.append(f"{name:<26}" + "".join(f"{text:>8}" for text in texts))
    lines.append("")
    lines.append(f"{'fit':<26}{'L ** k, k =':>14}{'c ** L, c =':>14}  {'closer':<13}L")
    for name, cells in by_name.items():
        fitted = fit(cells)
        if fitted is None:
            lines.append(f"{name:<26}{'too few points':>14}")
            continue
        reached = [cell.layers for cell in cells if cell.median is not None]
        lines.append(
            f"{name:<26}{fitted.exponent:>14.2f}{fitted.factor:>14.2f}"
            f"  {'power' if fitted.polynomial else 'exponential':<13}"
            f"{min(reached)}..{max(reached)}"
        )
    return "\n".join(lines)


def csv_text(by_name: dict[str, list[Cell]]) -> str:
    """One line per search; `evaluations` is empty where the cap came first."""
    lines = ["algorithm,layers,table,evaluations"]
    lines += [
        f"{name},{cell.layers},{seed},{'' if count is None else count}"
        for name, cells in by_name.items()
        for cell in cells
        for seed, count in enumerate(cell.counts)
    ]
    return "\n".join(lines) + "\n"


def write_plot(path: str, by_name: dict[str, list[Cell]], cap: int) -> None:
    """Draws medians and ranges: a straight line on this scale is exponential growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.6), layout="constrained", dpi=200)
    for name, cells in by_name.items():
        style = style_of(name)
        done = [cell for cell in cells if cell.median is not None]
        medians = [cell.median for cell in cells if cell.median is not None]
        fitted = fit(cells)
        note = f": {fitted.formula}" if fitted is not None else ""
        x = [cell.layers for cell in done]
        axes.plot(
            x,
            medians,
            MATPLOTLIB_DASH[style.dash],
            marker="o",
            ms=4,
            color=style.colour,
            lw=style.width,
            label=style.label + note,
        )
        spans = [[cap if c is None else c for c in cell.counts] for cell in done]
        axes.fill_between(
            x,
            [min(span) for span in spans],
            [max(span) for span in spans],
            color=style.colour,
            alpha=0.13,
            lw=0,
        )
        for cell in cells:
            if cell.median is None and done:
                to = [x[-1], cell.layers], [medians[-1], cap]
                axes.plot(*to, ":", color=style.colour, lw=1)
                axes.plot(cell.layers, cap, "^", color=style.colour, ms=7)
    axes.axhline(cap, color="black", lw=0.6, dashes=(6, 3))
    axes.annotate(
        "given up",
        (1, cap),
        (-2, 3),
        ("axes fraction", "data"),
        "offset points",
        ha="right",
        fontsize=8,
    )
    axes.set_yscale("log")
    axes.set_xlabel(f"layers L ({OPTIONS} options each)")
    axes.set_ylabel("evaluations until the optimum")
    axes.grid(alpha=0.25, lw=0.6, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    pyplot.close(figure)


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("out", "runs/scaling", "Folder for the results.")
    define_numbers("lengths", LENGTHS, "Numbers of layers.")
    flags.DEFINE_integer("tables", 5, "Tables (and searches) per number of layers.")
    flags.DEFINE_integer("cap", 5_000, "Evaluations after which a search gives up.")
    flags.DEFINE_list("algorithms", list(ALGORITHMS), "Algorithms to measure.")


def main(argv: Sequence[str]) -> None:
    """Measures the algorithms, prints the table and writes the files."""
    given = flags.FLAGS
    if not given.lengths:
        raise UserError("--lengths: expected at least one number")
    unknown = [name for name in given.algorithms if name not in ALGORITHMS]
    if unknown:
        raise UserError(
            f"--algorithms: {unknown[0]!r} is none, expected {', '.join(ALGORITHMS)}"
        )
    if given.tables < 1 or given.cap < 1:
        raise UserError("--tables and --cap: expected at least 1")
    lengths = sorted(set(given.lengths))
    by_name = {
        name: measure(name, lengths, given.tables, given.cap)
        for name in given.algorithms
    }
    write_text(os.path.join(given.out, "scaling.csv"), csv_text(by_name))
    write_plot(os.path.join(given.out, "scaling.png"), by_name, given.cap)
    print(table_text(by_name, lengths, given.cap))
    print(f"written to {given.out}: scaling.csv, scaling.png")


if __name__ == "__main__":
    define_flags()
    run_main(main)
