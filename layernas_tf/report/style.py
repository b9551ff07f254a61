"""The common style of all figures: colours, layout, the scale of rewards.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart. The
same holds for the colour scales: viridis for the memorial table, orange to purple for
the effects. Text colours depend on the light or dark theme and are set by the page's
style sheet.
"""

from __future__ import annotations

import html
from typing import Any

from layernas_tf.report.data import ReportData

Figure = dict[str, Any]

BLUE = "#2a7fc0"
GREY = "#7d8996"
GREEN = "#009e73"
ORANGE = "#e69f00"
VERMILLION = "#d55e00"
PURPLE = "#cc79a7"


def layout(x: str, y: str, **more: Any) -> dict[str, Any]:
    """The layout that all figures share.

    Args:
      x: Title of the x axis, with its unit.
      y: Title of the y axis, with its unit.
      **more: Further entries; `xaxis` and `yaxis` add to the shared ones.
    """
    axis = {
        "gridcolor": "rgba(128,140,155,.22)",
        "zeroline": False,
        "automargin": True,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "rgba(128,140,155,.5)",
    }
    shared = {
        "font": {"family": "system-ui, sans-serif", "size": 12.5, "color": GREY},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
        "hoverlabel": {"font": {"size": 12.5}, "align": "left"},
        "xaxis": axis | {"title": {"text": x, "standoff": 12}} | more.pop("xaxis", {}),
        "yaxis": axis | {"title": {"text": y, "standoff": 8}} | more.pop("yaxis", {}),
    }
    return shared | more


def scaled(reward: float, data: ReportData) -> float:
    """A reward in the unit of the figures: percent for accuracies."""
    return round(100 * reward if data.reward_is_share else reward, 5)


def reward_title(data: ReportData) -> str:
    """Title of an axis of rewards, with the unit."""
    return f"{data.reward_name} [%]" if data.reward_is_share else data.reward_name


def tame(text: str) -> str:
    """Escapes text for Plotly, which reads a few HTML tags in its labels."""
    return html.escape(text, quote=False)
