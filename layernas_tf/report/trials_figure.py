"""The rewards over the trials, with the best so far."""

from __future__ import annotations

from collections.abc import Sequence

from layernas_tf.report.data import ReportData, ReportTrial
from layernas_tf.report.figures import (
    completed,
    improvements,
    marks,
    sample,
    trial_points,
)
from layernas_tf.report.style import (
    GREY,
    ORANGE,
    Figure,
    layout,
    reward_title,
    scaled,
    tame,
)
from layernas_tf.training.paired import accuracy_interval


def trials_figure(data: ReportData) -> Figure:
    """Reward over trials, with the best so far inside the budget."""
    done = completed(data)
    best = improvements(data)

    def number(trial: ReportTrial) -> int:
        return trial.number

    traces = trial_points(sample(done, best), number, data)
    if best:
        last = max(trial.number for trial in data.trials)
        numbers = [trial.number for trial in best] + [last]
        if data.reward_is_share and data.valid_images:
            traces += _band(numbers, [*best, best[-1]], data)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far inside" if data.budgets else "best so far",
                "x": numbers,
                "y": [scaled(t.score, data) for t in [*best, best[-1]]],
                "line": {"shape": "hv", "color": ORANGE, "width": 2.5},
                "hovertemplate": "best so far %{y:.5g}<extra></extra>",
            }
        )
    traces += marks(data, number)
    figure = layout("trial", reward_title(data), hovermode="closest")
    failed = sample([trial for trial in data.trials if trial.state == "failed"])
    if failed:
        traces.append(_failures(failed))
        figure["yaxis"]["domain"] = [0.08, 1]
        figure["yaxis2"] = {
            "domain": [0, 0.05],
            "visible": False,
            "fixedrange": True,
            "range": [-1, 1],
        }
        figure["xaxis"]["anchor"] = "free"
        figure["xaxis"]["position"] = 0
    return {"data": traces, "layout": figure}


def _band(
    numbers: Sequence[int], best: Sequence[ReportTrial], data: ReportData
) -> list[Figure]:
    """The intervals of the best rewards, for the choice of the validation images."""
    ends = [
        accuracy_interval(min(max(trial.score, 0.0), 1.0), data.valid_images)
        for trial in best
    ]
    shared = {
        "type": "scatter",
        "mode": "lines",
        "x": list(numbers),
        "line": {"shape": "hv", "width": 0, "color": ORANGE},
        "hoverinfo": "skip",
    }
    low = {"showlegend": False, "y": [scaled(end[0], data) for end in ends]}
    high = {
        "name": "its 95 % interval",
        "y": [scaled(end[1], data) for end in ends],
        "fill": "tonexty",
        "fillcolor": "rgba(230,159,0,.16)",
    }
    return [{**shared, **low}, {**shared, **high}]


def _failures(failed: Sequence[ReportTrial]) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "failed",
        "x": [trial.number for trial in failed],
        "y": [0] * len(failed),
        "yaxis": "y2",
        "text": [tame(trial.reason[:160]) for trial in failed],
        "hovertemplate": "<b>trial %{x} failed</b><br>%{text}<extra></extra>",
        "marker": {"symbol": "x-thin", "size": 7, "line": {"width": 2, "color": GREY}},
    }
