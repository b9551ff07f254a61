"""Heat maps: the memorial table, and the learned effects of one attribute."""

from __future__ import annotations

import math
from collections.abc import Sequence

from layernas_tf.report.data import MemorialCell, MemorialSnapshot, ReportData
from layernas_tf.report.style import ORANGE, Figure, layout, reward_title, scaled, tame
from layernas_tf.report.wording import (
    axis_title,
    cost_text,
    metric_of,
    options_text,
    reward_text,
)
from layernas_tf.space.types import Metric

MOST_COLUMNS = 60
"""In tables with more columns than this, empty columns are left out."""

_DIVERGING: list[tuple[float, str]] = [
    (0, "#b35806"),
    (0.25, "#f1a340"),
    (0.5, "#f7f7f7"),
    (0.75, "#998ec3"),
    (1, "#542788"),
]

GRADIENT = f"linear-gradient(90deg,{','.join(colour for _, colour in _DIVERGING)})"
"""The colour scale of the effects' heat maps, for the style sheet."""


def memorial_figure(data: ReportData, table: MemorialSnapshot) -> Figure:
    """The memorial table: a row per layer, a column per cost bucket."""
    metric = metric_of(data.space, table.metric)
    filled = {bucket for row in table.rows.values() for bucket in row}
    columns = list(range(min(filled), max(filled) + 1))
    if len(columns) > MOST_COLUMNS:
        columns = sorted(filled)
    traces = [_cells(data, table, columns)]
    stars = [
        (position, name)
        for name, row in table.rows.items()
        for position, bucket in enumerate(columns)
        if bucket in row and row[bucket].architecture == data.winner
    ]
    if stars:
        traces.append(_stars(stars))
    ticks = _bucket_ticks(table, columns, metric)
    every = math.ceil(len(columns) / 20)
    where = f"lower end of the bucket, {axis_title(metric)}"
    number = f"number of the bucket of {axis_title(metric)}"
    figure = layout(where if ticks else number, "")
    figure["xaxis"] |= {
        "tickvals": list(range(len(columns)))[::every],
        "ticktext": (ticks or [str(bucket) for bucket in columns])[::every],
        "showgrid": False,
    }
    figure["yaxis"] |= {"autorange": "reversed", "type": "category", "showgrid": False}
    figure["plot_bgcolor"] = "rgba(128,140,155,.1)"
    return {"data": traces, "layout": figure}


def _cells(data: ReportData, table: MemorialSnapshot, columns: list[int]) -> Figure:
    """The rewards as a heat map; buckets without a candidate are empty."""
    metric = metric_of(data.space, table.metric)
    rewards, texts = [], []
    for row in table.rows.values():
        cells = [row.get(bucket) for bucket in columns]
        rewards.append([None if c is None else scaled(c.reward, data) for c in cells])
        texts.append(["" if c is None else _cell_text(c, metric, data) for c in cells])
    return {
        "type": "heatmap",
        "x": list(range(len(columns))),
        "y": [tame(name) for name in table.rows],
        "z": rewards,
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": False,
        "colorscale": "Viridis",
        "xgap": 2,
        "ygap": 2,
        "texttemplate": "" if len(columns) > 10 else "%{z:.4g}",
        "colorbar": {
            "orientation": "h",
            "thickness": 10,
            "len": 0.6,
            "x": 0,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "bottom",
            "outlinewidth": 0,
            "title": {"text": f"best {reward_title(data)}", "side": "top"},
        },
    }


def _stars(places: list[tuple[int, str]]) -> Figure:
    """A star on every cell that holds the winner: column and layer."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "winner",
        "x": [position for position, _ in places],
        "y": [tame(name) for _, name in places],
        "marker": {
            "symbol": "star",
            "size": 13,
            "color": ORANGE,
            "line": {"color": "#222222", "width": 1.2},
        },
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _cell_text(cell: MemorialCell, metric: Metric, data: ReportData) -> str:
    low, high = (cost_text(end, metric, unit=False) for end in (cell.low, cell.high))
    lines = [
        f"{reward_text(cell.reward, data)}, {low} to {cost_text(cell.high, metric)}"
    ]
    lines += options_text(data.space, cell.architecture)
    return "<br>".join(map(tame, lines))


def _bucket_ticks(
    table: MemorialSnapshot, columns: Sequence[int], metric: Metric
) -> list[str]:
    """The lower costs of the buckets; empty unless all layers share one grid."""
    cells = [(b, cell) for row in table.rows.values() for b, cell in row.items()]
    first, origin = cells[0]
    width = origin.high - origin.low
    for bucket, cell in cells:
        low = origin.low + (bucket - first) * width
        if not math.isclose(cell.low, low, abs_tol=1e-6 * width):
            return []
    lows = (origin.low + (bucket - first) * width for bucket in columns)
    return [cost_text(low, metric, unit=False) for low in lows]


def effects_figure(
    layers: Sequence[str],
    values: Sequence[Sequence[str]],
    effects: Sequence[Sequence[float]],
    reach: float,
    title: str,
) -> Figure:
    """One attribute's learned effects: a row per layer, a column per value.

    Args:
      layers: Names of the rows.
      values: For each row, the attribute's values as texts, in order.
      effects: For each row, the effect of each value.
      reach: The colour scale runs from `-reach` to `reach`.
      title: Title of the x axis.
    """
    width = max(map(len, values))
    figure = layout(title, "")
    figure["xaxis"] |= {
        "side": "top",
        "showticklabels": False,
        "ticks": "",
        "showgrid": False,
    }
    figure["yaxis"] |= {"autorange": "reversed", "type": "category", "showgrid": False}
    return {
        "data": [
            {
                "type": "heatmap",
                "x": list(range(width)),
                "y": [tame(name) for name in layers],
                "z": [[*row, *[None] * (width - len(row))] for row in effects],
                "text": [
                    [*map(tame, row), *[""] * (width - len(row))] for row in values
                ],
                "texttemplate": "%{text}",
                "hovertemplate": "%{y}, %{text}: %{z:+.3g}<extra></extra>",
                "hoverongaps": False,
                "colorscale": _DIVERGING,
                "zmin": -reach,
                "zmax": reach,
                "xgap": 2,
                "ygap": 2,
                "showscale": False,
            }
        ],
        "layout": figure,
    }
