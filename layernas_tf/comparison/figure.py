"""`curves.png`: mean and quartiles per algorithm, as in the LayerNAS post."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.comparison.curves import Curves
from layernas_tf.comparison.style import MATPLOTLIB_DASH, style_of
from layernas_tf.core.files import writing
from layernas_tf.tabular.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_VISIBLE_FROM = 14


def write_figure(path: str, title: str, curves: Sequence[Curves], best: Row) -> None:
    """Draws the search signal and the reported result against the trials.

    A curve begins where every run has an architecture inside the budget.

    Args:
      path: A PNG file; written whole or not at all.
      title: Title above the panels.
      curves: One entry per algorithm.
      best: The best row of the table inside the budget.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, 2, figsize=(10, 4.6), layout="constrained", dpi=200
    )
    for panel, attribute, best_value, label in (
        (panels[0], "valid", best.valid, "search signal (valid)"),
        (panels[1], "test", best.test, "reported (test)"),
    ):
        for each in curves:
            _draw(panel, each.algorithm, getattr(each, attribute))
            if attribute == "test" and each.recommends:
                _draw_recommended(panel, each.algorithm, each.recommended_test)
        panel.axhline(best_value, color="black", lw=0.8, dashes=(6, 3), zorder=1)
        panel.set_xlabel("trials")
        panel.set_title(label, fontsize=10)
        panel.set_ylim(*_limits(curves, attribute, best_value))
        panel.set_xlim(1, max(each.valid.shape[1] for each in curves))
        panel.grid(alpha=0.25, lw=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("best inside the budget so far")
    # The right panel has the recommendations as well.
    handles, labels = panels[1].get_legend_handles_labels()
    line = pyplot.Line2D([], [], color="black", lw=0.8, dashes=(6, 3))
    figure.legend(
        [*handles, line],
        [*labels, "best possible (right: its test)"],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    runs = sorted({len(each.valid) for each in curves})
    span = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    figure.suptitle(f"{title}: mean and 25–75 % band of {span} runs", fontsize=11)
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    pyplot.close(figure)


def complete_from(values: np.ndarray) -> int:
    """The first trial (from 0) at which every run has a value; the end if never."""
    complete = ~np.isnan(values).any(axis=0)
    return int(complete.argmax()) if complete.any() else values.shape[1]


def _draw(panel: Axes, algorithm: str, values: np.ndarray) -> None:
    style = style_of(algorithm)
    start = complete_from(values)
    trials = np.arange(start, values.shape[1]) + 1
    values = values[:, start:]
    if not len(trials):
        return
    low, high = np.percentile(values, (25, 75), axis=0)
    panel.fill_between(
        trials, low, high, color=style.colour, alpha=0.13, lw=0, zorder=2
    )
    panel.plot(
        trials,
        values.mean(axis=0),
        MATPLOTLIB_DASH[style.dash],
        color=style.colour,
        lw=style.width,
        label=style.label,
        zorder=3 + style.width,
    )


def _draw_recommended(panel: Axes, algorithm: str, values: np.ndarray) -> None:
    """Draws the reported result of the recommendation as a thin dotted line."""
    style = style_of(algorithm)
    start = complete_from(values)
    panel.plot(
        np.arange(start, values.shape[1]) + 1,
        values[:, start:].mean(axis=0),
        ":",
        color=style.colour,
        lw=1.3,
        label=f"{style.label}, recommended",
        zorder=6,
    )


def _limits(
    curves: Sequence[Curves], attribute: str, best: float
) -> tuple[float, float]:
    """The range of y that matters, without what is reached in the first trials."""
    lows, highs = [best], [best]
    for each in curves:
        values = getattr(each, attribute)
        start = max(complete_from(values), min(_VISIBLE_FROM, values.shape[1] - 1))
        if start < values.shape[1]:
            lows.append(float(values[:, start:].mean(axis=0).min()))
            highs.append(float(np.percentile(values[:, start:], 75, axis=0).max()))
    margin = 0.06 * (max(highs) - min(lows)) or 1e-3
    return min(lows) - margin, max(highs) + margin
