"""Texts of costs, rewards, times and metrics for human readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layernas_tf.report.data import ReportData
from layernas_tf.space.budget import Budget, format_cost
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Metric, State

NONE = "–"
"""The text for a missing value."""

_TITLES = {
    "madds": "MAdds",
    "params": "params",
    "model_bytes": "int8 weights",
    "float32_bytes": "float32 weights",
    "peak_memory_bytes": "peak memory",
    "latency_ms": "latency",
}


def metric_of(space: SearchSpace, name: str) -> Metric:
    """The space's metric of that name, or a new one (for a measured latency)."""
    for metric in space.metrics:
        if metric.name == name:
            return metric
    for suffix, unit in (("_ms", "ms"), ("_bytes", "bytes")):
        if name.endswith(suffix):
            return Metric(name, "sum", unit)
    return Metric(name)


def metric_title(metric: Metric) -> str:
    """The metric's name for people: `peak memory`."""
    return metric.title or _TITLES.get(metric.name, metric.name.replace("_", " "))


def axis_title(metric: Metric) -> str:
    """The metric's name, and its unit unless the name says it."""
    title = metric_title(metric)
    if not metric.unit or metric.unit == title:
        return title
    return f"{title} [{metric.unit}]"


def cost_text(value: float | None, metric: Metric, unit: bool = True) -> str:
    """A cost for people: `2.94M MAdds`, `412 kB`, `1.3 ms`."""
    if value is None:
        return NONE
    if metric.text is None and metric.unit == "bytes":
        for name, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if abs(value) >= scale:
                return f"{value / scale:.4g} {name}"
        return f"{value:.4g} B"
    text = metric.text(value) if metric.text else format_cost(value)
    return f"{text} {metric.unit}" if unit and metric.unit else text


def budget_text(budget: Budget, space: SearchSpace) -> str:
    """A budget for people: `at most 3M MAdds`, `2.5M to 3M MAdds`."""
    metric = metric_of(space, budget.metric)
    high = cost_text(budget.high, metric)
    title = metric_title(metric)
    if metric.unit != title:
        high += f" {title}"
    if budget.low <= 0:
        return f"at most {high}"
    return f"{cost_text(budget.low, metric, unit=False)} to {high}"


def share_text(value: float | None, digits: int = 2) -> str:
    """A share in 0..1 as percent: `96.11 %`."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def interval_text(interval: tuple[float, float] | None) -> str:
    """An interval of a share: `94.1 to 97.3 %`."""
    if interval is None:
        return NONE
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def reward_text(value: float | None, data: ReportData) -> str:
    """A reward as the report writes it."""
    if value is None:
        return NONE
    return share_text(value) if data.reward_is_share else f"{value:.5g}"


def points_text(difference: float) -> str:
    """A difference of two accuracies in percentage points, with its sign."""
    text = f"{100 * difference:+.2f}".replace("-", "−")
    return ("±0.00" if text in ("+0.00", "−0.00") else text) + " points"


def change_text(value: float, reference: float) -> str:
    """A cost relative to a reference: `49 % less`, `the same`."""
    if value == reference:
        return "the same"
    if reference == 0:
        return "more"
    share = value / reference - 1
    percent = f"{100 * abs(share):.{0 if abs(share) >= 0.095 else 1}f} %"
    return f"{percent} {'more' if share > 0 else 'less'}"


def seconds_text(seconds: float | None) -> str:
    """A duration: `41 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def shape_text(state: State) -> str:
    """Height × width × channels: `32×32×16`."""
    return f"{state.height}×{state.width}×{state.channels}"


_KEYS = {
    "filters": "f filters",
    "kernel": "k kernel size",
    "expansion": "e expansion ratio",
    "se": "se squeeze-and-excite",
    "drop": "drop: the block is left out",
}


def label_key(space: SearchSpace) -> str:
    """An explanation of the abbreviations in option labels; empty if none is used."""
    used = {
        name
        for layer in space.layers
        for option in layer.options
        for name, _ in option.attributes
    }
    return ", ".join(text for name, text in _KEYS.items() if name in used)


def counted(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`, `100,000 trials`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def options_text(space: SearchSpace, architecture: Architecture) -> list[str]:
    """`layer: option` for every layer that offers a choice."""
    return [
        f"{space.layers[i].name}: {space.layers[i].options[architecture[i]].label}"
        for i in space.searched_layers
    ]


def shown_metrics(
    data: ReportData, costs: Sequence[Mapping[str, float]]
) -> list[Metric]:
    """The space's metrics and any other cost that the given networks have."""
    names = [metric.name for metric in data.space.metrics]
    for extra in [budget.metric for budget in data.budgets] + [
        name for each in costs for name in each
    ]:
        if extra not in names and any(extra in each for each in costs):
            names.append(extra)
    return [metric_of(data.space, name) for name in names]
