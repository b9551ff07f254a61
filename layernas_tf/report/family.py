"""Winners and baselines after the final training: accuracy against cost."""

from __future__ import annotations

import html
from collections.abc import Sequence

from layernas_tf.report.data import ReportData, TrainedNetwork
from layernas_tf.report.headline import lead_metric
from layernas_tf.report.page import Section, chart
from layernas_tf.report.style import GREEN, ORANGE, PURPLE, Figure, layout
from layernas_tf.report.wording import (
    axis_title,
    cost_text,
    interval_text,
    metric_title,
    share_text,
)


def family_section(data: ReportData) -> Section | None:
    """The networks that were tested, with their intervals; None if there are none."""
    winners = [member.winner for member in data.family]
    if not any(winner.test_accuracy is not None for winner in winners):
        return None
    metric = lead_metric(data)
    text = (
        "Bars are 95 % intervals of each accuracy, for the choice of the test images; "
        "the sentences compare on the same images, which is more exact."
    )
    lines = ""
    if len(data.family) > 1:
        text += " The Pareto front joins the winners that no cheaper one surpasses."
        lines = "".join(
            f"<li><b>{html.escape(member.budget)}</b>: {html.escape(member.verdict)}"
            "</li>"
            for member in data.family
        )
        lines = f"<ul>{lines}</ul>"
    return Section(
        f"Test accuracy against {metric_title(metric)}",
        lines + chart("family", family_figure(data), 400, ""),
        text,
    )


def family_figure(data: ReportData) -> Figure:
    """Test accuracy with error bars against the first budget's cost."""
    name = lead_metric(data).name
    winners = [member.winner for member in data.family]
    baselines = [m.baseline for m in data.family if m.baseline is not None]
    traces = []
    if len(winners) > 1:
        front = _front(winners, name)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "x": [network.costs[name] for network in front],
                "y": [_percent(network.test_accuracy) for network in front],
                "line": {"shape": "hv", "color": GREEN, "width": 2},
                "hoverinfo": "skip",
            }
        )
    traces.append(_points(baselines, data, "baseline", PURPLE, "diamond", 10))
    traces.append(_points(winners, data, "winner", ORANGE, "star", 14))
    figure = layout(
        axis_title(lead_metric(data)), "test accuracy [%]", hovermode="closest"
    )
    figure["xaxis"] |= {"tickformat": "~s", "nticks": 8}
    return {"data": [trace for trace in traces if trace["x"]], "layout": figure}


def _front(networks: Sequence[TrainedNetwork], name: str) -> list[TrainedNetwork]:
    front: list[TrainedNetwork] = []
    tested = [network for network in networks if network.test_accuracy is not None]
    tested.sort(key=lambda n: (n.costs[name], -_percent(n.test_accuracy)))
    for network in tested:
        reached = _percent(front[-1].test_accuracy) if front else -1.0
        if _percent(network.test_accuracy) > reached:
            front.append(network)
    return front


def _points(
    networks: Sequence[TrainedNetwork],
    data: ReportData,
    name: str,
    color: str,
    symbol: str,
    size: int,
) -> Figure:
    metric = lead_metric(data)
    tested = [network for network in networks if network.test_accuracy is not None]
    ends = [
        network.test_interval or (network.test_accuracy, network.test_accuracy)
        for network in tested
    ]
    accuracies = [_percent(network.test_accuracy) for network in tested]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [network.costs[metric.name] for network in tested],
        "y": accuracies,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_percent(end[1]) - y for end, y in zip(ends, accuracies)],
            "arrayminus": [y - _percent(end[0]) for end, y in zip(ends, accuracies)],
            "color": color,
            "thickness": 1.5,
        },
        "text": [
            f"<b>{html.escape(network.name)}</b><br>{share_text(network.test_accuracy)}"
            f"<br>{interval_text(network.test_interval)}"
            f"<br>{cost_text(network.costs[metric.name], metric)}"
            for network in tested
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "color": color,
            "symbol": symbol,
            "size": size,
            "line": {"width": 1.2, "color": "#222222"},
        },
    }


def _percent(share: float | None) -> float:
    return 0.0 if share is None else round(100 * share, 3)
