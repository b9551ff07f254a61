"""The search as figures: reward over trials and against cost.

A figure is a Plotly figure in plain dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from layernas_tf.report.data import ReportData, ReportTrial
from layernas_tf.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    Figure,
    layout,
    reward_title,
    scaled,
    tame,
)
from layernas_tf.report.wording import axis_title, cost_text, metric_of, reward_text
from layernas_tf.space.budget import Budget, inside

DRAWN = 2500
"""The most trials in a figure: browsers stay responsive up to this number."""


def completed(data: ReportData) -> list[ReportTrial]:
    """The trials that have a reward, sorted by number."""
    trials = [t for t in data.trials if t.state == "complete" and t.reward is not None]
    return sorted(trials, key=lambda trial: trial.number)


def improvements(data: ReportData) -> list[ReportTrial]:
    """The trials that were the best so far inside the budget when they ended."""
    best: list[ReportTrial] = []
    for trial in completed(data):
        if inside(data.budgets, trial.costs) and (
            not best or trial.score > best[-1].score
        ):
            best.append(trial)
    return best


def pareto_front(trials: Sequence[ReportTrial], metric: str) -> list[ReportTrial]:
    """The trials with a better reward than all cheaper ones, sorted by cost."""
    front: list[ReportTrial] = []
    for trial in sorted(trials, key=lambda t: (t.costs[metric], -t.score)):
        if not front or trial.score > front[-1].score:
            front.append(trial)
    return front


def sample(
    trials: Sequence[ReportTrial], keep: Sequence[ReportTrial] = ()
) -> list[ReportTrial]:
    """At most `DRAWN` trials, evenly spaced by number, with all of `keep`."""
    if len(trials) <= DRAWN:
        return list(trials)
    numbers = {trial.number for trial in keep}
    rest = [trial for trial in trials if trial.number not in numbers]
    room = max(DRAWN - len(numbers), 1)
    step = len(rest) / room
    numbers |= {rest[int(i * step)].number for i in range(room)} if rest else set()
    return [trial for trial in trials if trial.number in numbers]


def _hover(trial: ReportTrial, data: ReportData) -> str:
    lines = [reward_text(trial.score, data)]
    lines += [
        cost_text(trial.costs[metric.name], metric)
        for metric in data.space.metrics
        if metric.name in trial.costs
    ]
    lines.append("options " + "·".join(map(str, trial.architecture)))
    return "<br>".join([f"<b>trial {trial.number}</b>", *map(tame, lines)])


def _points(
    trials: Sequence[ReportTrial],
    x: Callable[[ReportTrial], float],
    data: ReportData,
    name: str,
    marker: Mapping[str, Any],
) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [x(trial) for trial in trials],
        "y": [scaled(trial.score, data) for trial in trials],
        "text": [_hover(trial, data) for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def trial_points(
    trials: Sequence[ReportTrial],
    x: Callable[[ReportTrial], float],
    data: ReportData,
) -> list[Figure]:
    """Points outside the budget, then those inside, on top."""
    size = 7 if len(trials) <= 300 else 5 if len(trials) <= 1200 else 4
    groups = (
        (False, "outside the budget", {"color": GREY, "symbol": "circle-open"}),
        (True, "inside the budget" if data.budgets else "trial", {"color": BLUE}),
    )
    traces = []
    for holds, name, marker in groups:
        chosen = [t for t in trials if inside(data.budgets, t.costs) == holds]
        if chosen:
            look = {"size": size, "opacity": 0.75, **marker}
            traces.append(_points(chosen, x, data, name, look))
    return traces


def marks(data: ReportData, x: Callable[[ReportTrial], float]) -> list[Figure]:
    """The default network and the winner, where they were trials."""
    by_architecture = {trial.architecture: trial for trial in reversed(completed(data))}
    found = []
    for name, architecture, marker in (
        ("default network", data.space.default, {"symbol": "diamond", "color": PURPLE}),
        ("winner", data.winner, {"symbol": "star", "color": ORANGE}),
    ):
        trial = None if architecture is None else by_architecture.get(architecture)
        if trial is not None:
            size = {"size": 15 if name == "winner" else 11}
            line = {"line": {"width": 1.2, "color": "#222222"}}
            found.append(_points([trial], x, data, name, marker | size | line))
    return found


def cost_figure(data: ReportData, name: str) -> Figure:
    """Reward against one cost, with the Pareto front and the budget.

    Args:
      data: The report's data.
      name: A metric; trials without that cost are left out.
    """
    metric = metric_of(data.space, name)
    done = [trial for trial in completed(data) if name in trial.costs]
    front = pareto_front(done, name)
    drawn = sample(done, [*front, *improvements(data)])

    def cost(trial: ReportTrial) -> float:
        return trial.costs[name]

    traces = trial_points(drawn, cost, data)
    if len(front) > 1:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "x": [cost(trial) for trial in front],
                "y": [scaled(trial.score, data) for trial in front],
                "line": {"shape": "hv", "color": GREEN, "width": 2},
                "hoverinfo": "skip",
            }
        )
    budgets = [budget for budget in data.budgets if budget.metric == name]
    ends = [end for b in budgets for end in (b.low, b.high) if end > 0]
    costs = [cost(trial) for trial in drawn] + ends
    default = data.space.costs(data.space.default).get(name)
    if default is not None:
        costs.append(default)
    limits = _padded(costs, 0.05, 0.05)
    reach = _padded([scaled(trial.score, data) for trial in drawn], 0.06, 0.08)
    for budget in budgets:
        traces.append(_budget_line(budget, reach, data))
    marked = marks(data, cost)
    tried = {mark["name"] for mark in marked}
    if default is not None and "default network" not in tried:
        # Its cost is known even though its reward is not.
        name, line = "default network, not tried", {"dash": "dot", "color": PURPLE}
        traces.append(_upright(name, [default], reach, line))
    traces += marked
    figure = layout(axis_title(metric), reward_title(data), hovermode="closest")
    figure["xaxis"] |= {"range": limits, "tickformat": "~s", "nticks": 8}
    figure["yaxis"] |= {"range": reach}
    figure["shapes"] = [_budget_area(budget, limits[0]) for budget in budgets]
    return {"data": traces, "layout": figure}


def _padded(values: Sequence[float], below: float, above: float) -> list[float]:
    """The range of the values with margins, as shares of the range, on both sides."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    spread = (high - low) or abs(high) or 1.0
    return [low - below * spread, high + above * spread]


def _budget_area(budget: Budget, left: float) -> Figure:
    """A green rectangle over the costs inside the budget."""
    return {
        "type": "rect",
        "layer": "below",
        "yref": "paper",
        "x0": max(budget.low, left),
        "x1": budget.high,
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": "rgba(0,158,115,.09)",
    }


def _budget_line(budget: Budget, reach: Sequence[float], data: ReportData) -> Figure:
    ends = [end for end in (budget.low, budget.high) if end > 0]
    metric = metric_of(data.space, budget.metric)
    label = " to ".join(cost_text(end, metric, unit=False) for end in ends)
    line = {"dash": "dash", "color": VERMILLION, "width": 1.8}
    return _upright(f"budget {label}", ends, reach, line)


def _upright(
    name: str, places: Sequence[float], reach: Sequence[float], line: Figure
) -> Figure:
    """Vertical lines, drawn as a trace so that the legend names them."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [x for place in places for x in (place, place, None)][:-1],
        "y": [y for _ in places for y in (*reach, None)][:-1],
        "line": line,
        "hoverinfo": "skip",
    }
