"""The tables of a search's report, as HTML."""

from __future__ import annotations

import collections
import html
from collections.abc import Iterable, Mapping, Sequence

from layernas_tf.budget import inside
from layernas_tf.report.data import ReportData, ReportTrial, TrainedNetwork
from layernas_tf.report.wording import (
    NONE,
    cost_text,
    metric_title,
    reward_text,
    seconds_text,
    share_text,
    shown_metrics,
)
from layernas_tf.space import Architecture, Metric, State

_MOST_REASONS = 20


def cell(text: object, kind: str = "") -> str:
    """A table cell of escaped text; `kind` is its class, such as `number`."""
    shown = html.escape(str(text))
    return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"


def table(head: Sequence[tuple[str, str]], rows: Iterable[str], foot: str = "") -> str:
    """A table that scrolls sideways where the screen is narrow.

    Args:
      head: Plain text and class of each column.
      rows: `<tr>` elements.
      foot: `<tr>` elements of the foot.
    """
    cells = "".join(
        f'<th class="{kind}">{html.escape(name)}</th>' for name, kind in head
    )
    foot = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody>{foot}</table></div>"
    )


def trained_table(data: ReportData) -> str:
    """Every network of the final training, the winner marked."""
    metrics = shown_metrics(data, [network.costs for network in data.trained])
    proxy = any(network.proxy_reward is not None for network in data.trained)
    timed = any(network.seconds is not None for network in data.trained)
    head = [("network", ""), ("trial", "number")]
    head += [("reward in the search", "number")] if proxy else []
    head += [("validation accuracy", "number"), ("test accuracy", "number")]
    head += [(metric_title(metric), "number") for metric in metrics]
    head += [("in budget", "")] if data.budgets else []
    head += [("training time", "number")] if timed else []
    rows = []
    for network in data.trained:
        cells = [cell(network.name)]
        cells.append(cell(NONE if network.trial is None else network.trial, "number"))
        if proxy:
            cells.append(cell(reward_text(network.proxy_reward, data), "number"))
        for accuracy in (network.valid_accuracy, network.test_accuracy):
            cells.append(cell(share_text(accuracy), "number"))
        for metric in metrics:
            cost = network.costs.get(metric.name)
            cells.append(cell(cost_text(cost, metric, unit=False), "number"))
        if data.budgets:
            cells.append(cell(_in_budget(network, data)))
        if timed:
            cells.append(cell(seconds_text(network.seconds), "number"))
        mark = ' class="winner"' if network.name == data.winner_name else ""
        rows.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return table(head, rows)


def _in_budget(network: TrainedNetwork, data: ReportData) -> str:
    if any(budget.metric not in network.costs for budget in data.budgets):
        return NONE
    return "yes" if inside(data.budgets, network.costs) else "no"


def files_table(data: ReportData) -> str:
    """What was exported, with what was measured on each file."""
    noted = any(file.note for file in data.files)
    head = [
        ("file", ""),
        ("format", ""),
        ("size", "number"),
        ("test accuracy", "number"),
        ("same class as Keras", "number"),
        ("latency per image", "number"),
    ] + ([("note", "")] if noted else [])
    rows = []
    size = Metric("size", "sum", "bytes")
    for file in data.files:
        latency = None if file.latency_ms is None else f"{file.latency_ms:.3g} ms"
        rows.append(
            f"<tr><td><code>{html.escape(file.name)}</code></td>"
            + cell(file.format)
            + cell(cost_text(file.bytes, size), "number")
            + cell(share_text(file.test_accuracy), "number")
            + cell(share_text(file.agreement), "number")
            + cell(latency or NONE, "number")
            + (cell(file.note, "wide") if noted else "")
            + "</tr>"
        )
    return table(head, rows)


def _shape_text(state: State) -> str:
    return f"{state.height}×{state.width}×{state.channels}"


def layer_table(data: ReportData, winner: Architecture) -> str:
    """The winner's layers beside the default's; rows that differ are marked."""
    space = data.space
    ours, theirs = list(space.walk(winner)), list(space.walk(space.default))
    metrics = list(space.metrics)
    metrics = [m for m in metrics if m.name in ("madds", "params")] or metrics
    top = {m.name: _largest(ours, theirs, m.name) for m in metrics}
    spans = 2 + len(metrics)
    head = ["option", "output"], [(metric_title(m), "number") for m in metrics]
    columns = [*((name, "") for name in head[0]), *head[1]]
    cells = "".join(f'<th class="{kind}">{html.escape(n)}</th>' for n, kind in columns)
    thead = (
        '<thead><tr><th rowspan="2">layer</th>'
        f'<th class="group" colspan="{spans}">winner</th>'
        f'<th class="group" colspan="{spans}">default network</th></tr>'
        f"<tr>{cells}{cells}</tr></thead>"
    )
    rows = []
    for mine, other in zip(ours, theirs):
        differs = mine.option != other.option
        row = [cell(mine.layer.name)]
        for step, look in ((mine, ""), (other, " other")):
            row.append(cell(step.option.label))
            row.append(cell(_shape_text(step.after)))
            for metric in metrics:
                value = step.costs[metric.name]
                width = 100 * value / top[metric.name]
                row.append(
                    f'<td class="number">{cost_text(value, metric, unit=False)}'
                    f'<span class="bar{look}" style="width:{width:.1f}%"></span></td>'
                )
        mark = ' class="differs"' if differs else ""
        rows.append(f"<tr{mark}>{''.join(row)}</tr>")
    foot = [cell("whole network")]
    for architecture in (winner, space.default):
        costs = space.costs(architecture)
        foot += [cell(""), cell("")]
        foot += [
            cell(cost_text(costs[m.name], m, unit=False), "number") for m in metrics
        ]
    return (
        f'<div class="scroll"><table>{thead}<tbody>{"".join(rows)}</tbody>'
        f"<tfoot><tr>{''.join(foot)}</tr></tfoot></table></div>"
    )


def _largest(ours, theirs, metric: str) -> float:
    return max(step.costs[metric] for step in [*ours, *theirs]) or 1.0


def failures_table(failed: Sequence[ReportTrial]) -> str:
    """Failed trials by reason, the commonest first."""
    numbers: dict[str, list[int]] = collections.defaultdict(list)
    for trial in sorted(failed, key=lambda trial: trial.number):
        numbers[trial.reason or "no reason was recorded"].append(trial.number)
    ranked = sorted(numbers.items(), key=lambda item: -len(item[1]))
    rows = []
    for reason, trials in ranked[:_MOST_REASONS]:
        listed = ", ".join(map(str, trials[:8])) + (" …" if len(trials) > 8 else "")
        rows.append(
            f"<tr>{cell(f'{len(trials):,}', 'number')}{cell(reason, 'wide')}"
            f"{cell(listed)}</tr>"
        )
    rest = ranked[_MOST_REASONS:]
    if rest:
        count = sum(len(trials) for _, trials in rest)
        rows.append(
            f"<tr>{cell(f'{count:,}', 'number')}"
            f"{cell(f'{len(rest):,} further reasons', 'wide')}{cell('')}</tr>"
        )
    head = [("failed", "number"), ("reason", ""), ("trial numbers", "")]
    return table(head, rows)


def facts_table(name: str, value: str, facts: Mapping[str, object]) -> str:
    """Two columns: names and values."""
    rows = [
        f"<tr><td>{html.escape(str(key))}</td>"
        f'<td class="wide"><code>{html.escape(str(fact))}</code></td></tr>'
        for key, fact in facts.items()
    ]
    return table([(name, ""), (value, "")], rows)
