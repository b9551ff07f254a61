"""The report's first sentence and its few large numbers."""

from __future__ import annotations

import html
from collections.abc import Sequence

from layernas_tf.report.data import (
    NO_LONGER,
    ExportedFile,
    ReportData,
    ReportTrial,
    TrainedNetwork,
)
from layernas_tf.report.wording import (
    budget_text,
    change_text,
    cost_text,
    counted,
    interval_text,
    metric_of,
    metric_title,
    points_text,
    reward_text,
    share_text,
)
from layernas_tf.space.budget import inside
from layernas_tf.space.types import Architecture, Metric


def trained_network(data: ReportData, name: str) -> TrainedNetwork | None:
    """The network of that name in the final training, if there is one."""
    return next((n for n in data.trained if n.name == name), None)


def lead_metric(data: ReportData) -> Metric:
    """The metric of the headline: that of the first budget, else the space's first."""
    if data.budgets:
        return metric_of(data.space, data.budgets[0].metric)
    return data.space.metrics[0]


def headline(data: ReportData) -> str:
    """The run's result in one sentence, plain text."""
    budgets = " and ".join(budget_text(b, data.space) for b in data.budgets)
    complete = sum(trial.state == "complete" for trial in data.trials)
    if data.winner is None:
        trials = counted(len(data.trials), "trial")
        if not budgets:
            return f"No winner: {complete:,} of {trials} gave a reward."
        holds = sum(
            trial.state == "complete" and inside(data.budgets, trial.costs)
            for trial in data.trials
        )
        return (
            f"No winner inside the budget of {budgets}: {complete:,} of {trials} gave "
            f"a reward, {holds:,} of them inside."
        )
    cost = _cost_phrase(data)
    winner = trained_network(data, data.winner_name)
    if winner is None or winner.test_accuracy is None:
        reward = _winner_reward(data)
        if reward is None:
            return f"The winner itself was not trained; it has {cost}."
        reached = f"{reward_text(reward, data)} {data.reward_name}"
        return f"The winner reached {reached} in the search with {cost}."
    accuracy = f"{share_text(winner.test_accuracy)} test accuracy"
    return f"{data.verdict} The winner reaches {accuracy} with {cost}.".strip()


def _winner_reward(data: ReportData) -> float | None:
    rewards = [
        trial.reward
        for trial in data.trials
        if trial.architecture == data.winner and trial.reward is not None
    ]
    return rewards[0] if rewards else None


def _costs(data: ReportData) -> tuple[float | None, float | None]:
    """The winner's and the default network's cost in the headline's metric."""
    winner = trained_network(data, data.winner_name)
    trained = () if winner is None else (winner,)
    return _cost(data, data.winner, trained), _cost(data, data.space.default, ())


def _cost(
    data: ReportData,
    architecture: Architecture | None,
    trained: Sequence[TrainedNetwork],
) -> float | None:
    """What the final training or a trial says, else the space."""
    if architecture is None:
        return None
    name = lead_metric(data).name
    networks: tuple[TrainedNetwork | ReportTrial, ...] = (*trained, *data.trials)
    for each in networks:
        if each.architecture == architecture and name in each.costs:
            return each.costs[name]
    return data.space.costs(architecture).get(name)


def _cost_phrase(data: ReportData) -> str:
    metric = lead_metric(data)
    cost, _ = _costs(data)
    text = cost_text(cost, metric)
    if metric.unit != metric_title(metric):
        text += f" {metric_title(metric)}"
    if not data.budgets or cost is None:
        return text
    budget = data.budgets[0]
    limit = cost_text(budget.high, metric, unit=False)
    if budget.low > 0:
        return f"{text} (budget {cost_text(budget.low, metric, unit=False)} to {limit})"
    return f"{text} of the {limit} allowed"


def tiles(data: ReportData) -> str:
    """The most important numbers, as HTML."""
    parts = []
    winner = trained_network(data, data.winner_name)
    baseline = trained_network(data, data.baseline_name)
    if winner and winner.test_accuracy is not None:
        more = "on the test set"
        if winner.test_interval is not None:
            more = f"{interval_text(winner.test_interval)} (95 % interval)"
        if baseline and baseline.test_accuracy is not None:
            gain = points_text(winner.test_accuracy - baseline.test_accuracy)
            more += f"; {gain} against the {baseline.name}"
        parts.append(_tile("test accuracy", share_text(winner.test_accuracy), more))
    elif data.winner is not None and _winner_reward(data) is not None:
        reward = reward_text(_winner_reward(data), data)
        parts.append(_tile(data.reward_name, reward, "in the search"))
    if data.winner is not None:
        parts.append(_cost_tile(data))
    failed = sum(trial.state == "failed" for trial in data.trials)
    running = sum(trial.state == "running" for trial in data.trials)
    counts = [f"{failed:,} failed"]
    counts += [f"{running:,} still running"] if running else []
    earlier = sum(trial.state == NO_LONGER for trial in data.trials)
    counts += [f"{earlier:,} before a change, not believed"] if earlier else []
    of = f"of {data.space.size:,.0f} architectures"
    if data.space.size >= 10**7:
        of = f"of {_power_text(data.space.size)} architectures"
    parts.append(_tile("trials", f"{len(data.trials):,}", f"{', '.join(counts)}, {of}"))
    own = [file for file in data.files if _folder(file) == _folder(data.files[0])]
    quick = [file for file in own if file.latency_ms is not None]
    if quick:
        file = min(quick, key=lambda each: each.bytes)
        size = cost_text(file.bytes, Metric("size", "sum", "bytes"))
        more = f"{file.latency_ms:.3g} ms per image on this host"
        if file.test_accuracy is not None:
            more = f"{share_text(file.test_accuracy)}, {more}"
        parts.append(_tile(file.format, size, more))
    return f'<div class="tiles">{"".join(parts)}</div>'


def _folder(file: ExportedFile) -> str:
    """The winner that the file was made from; the largest one comes first."""
    return file.name.rpartition("/")[0]


def _power_text(number: int) -> str:
    """A large number: `1.2 × 10¹⁸`."""
    exponent = len(str(number)) - 1
    lead = number / 10**exponent
    digits = str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{lead:.1f} × 10{digits}"


def _cost_tile(data: ReportData) -> str:
    metric = lead_metric(data)
    cost, default = _costs(data)
    against = (
        f"; {change_text(cost, default)} than the default network"
        if cost is not None and default is not None and cost != default
        else ""
    )
    value = cost_text(cost, metric, unit=False)
    if not data.budgets or cost is None:
        return _tile(metric_title(metric), value, against.removeprefix("; "))
    high = data.budgets[0].high
    share = cost / high if high else 1.0
    limit = cost_text(high, metric, unit=False)
    more = f"{100 * share:.0f} % of the budget, {limit}{against}"
    meter = f'<div class="meter"><span style="width:{min(share, 1):.1%}"></span></div>'
    return _tile(metric_title(metric), value, more, meter)


def _tile(name: str, value: str, more: str, extra: str = "") -> str:
    return (
        f'<div class="tile"><div class="name">{html.escape(name)}</div>'
        f'<div class="value">{html.escape(value)}</div>'
        f'<div class="more">{html.escape(more)}</div>{extra}</div>'
    )
