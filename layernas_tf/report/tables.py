"""The tables of a search's report, as HTML."""

from __future__ import annotations

import collections
import html
from collections.abc import Iterable, Mapping, Sequence

from layernas_tf.report.data import (
    ExportedFile,
    ReportData,
    ReportTrial,
    TrainedNetwork,
)
from layernas_tf.report.wording import (
    NONE,
    cost_text,
    interval_text,
    metric_title,
    points_text,
    reward_text,
    seconds_text,
    shape_text,
    share_text,
    shown_metrics,
)
from layernas_tf.space.budget import inside
from layernas_tf.space.types import NETWORK_METRICS, Architecture, Metric

_MOST_REASONS = 20


def cell(text: object, kind: str = "") -> str:
    """A table cell of escaped text; `kind` is its class, such as `number`."""
    shown = html.escape(str(text))
    return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"


def table(head: Sequence[tuple[str, str]], rows: Iterable[str], foot: str = "") -> str:
    """A table that scrolls sideways where the screen is narrow.

    Args:
      head: For each column, its heading in plain text and its CSS class.
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
    """All networks of the final training, with the winner marked."""
    metrics = shown_metrics(data, [network.costs for network in data.trained])
    # These are four times the params: they get a column only if a budget limits them.
    budgeted = {budget.metric for budget in data.budgets}
    metrics = [m for m in metrics if m.name != "float32_bytes" or m.name in budgeted]
    proxy = any(network.proxy_reward is not None for network in data.trained)
    expected = any(network.expected_quality is not None for network in data.trained)
    epochs = {network.epochs for network in data.trained} - {None}
    timed = any(network.seconds is not None for network in data.trained)
    head = [("network", ""), ("trial", "number")]
    head += [("search reward", "number")] if proxy else []
    head += [("expected", "number")] if expected else []
    head += [("epochs", "number")] if epochs else []
    head += [("validation accuracy", "number"), ("test accuracy", "number")]
    head += [("95 % interval", "number"), ("trainings", "number")]
    head += [(metric_title(metric), "number") for metric in metrics]
    head += [("in budget", "start")] if data.budgets else []
    head += [("training time", "number")] if timed else []
    rows = []
    for network in data.trained:
        cells = [cell(network.name)]
        cells.append(cell(NONE if network.trial is None else network.trial, "number"))
        if proxy:
            cells.append(cell(reward_text(network.proxy_reward, data), "number"))
        if expected:
            cells.append(cell(reward_text(network.expected_quality, data), "number"))
        if epochs:
            cells.append(cell(network.epochs or NONE, "number"))
        for accuracy in (network.valid_accuracy, network.test_accuracy):
            cells.append(cell(share_text(accuracy), "number"))
        cells.append(cell(interval_text(network.test_interval), "number"))
        cells.append(cell(network.trainings or NONE, "number"))
        for metric in metrics:
            cost = network.costs.get(metric.name)
            cells.append(cell(cost_text(cost, metric, unit=False), "number"))
        if data.budgets:
            cells.append(cell(_in_budget(network, data), "start"))
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
    """The exported files with what was measured of them."""
    noted = any(file.note for file in data.files)
    head = [
        ("file", ""),
        ("format", ""),
        ("size", "number"),
        ("test accuracy", "number"),
        ("less the Keras model, 95 %", "number"),
        ("same class as Keras", "number"),
        ("latency per image", "number"),
    ] + ([("note", "start")] if noted else [])
    rows = []
    size = Metric("size", "sum", "bytes")
    for file in data.files:
        latency = None if file.latency_ms is None else f"{file.latency_ms:.3g} ms"
        rows.append(
            f"<tr><td><code>{html.escape(file.name)}</code></td>"
            + cell(file.format)
            + cell(cost_text(file.bytes, size), "number")
            + cell(share_text(file.test_accuracy), "number")
            + cell(_from_keras(file), "number")
            + cell(share_text(file.agreement), "number")
            + cell(latency or NONE, "number")
            + (cell(file.note, "wide start") if noted else "")
            + "</tr>"
        )
    return table(head, rows)


def _from_keras(file: ExportedFile) -> str:
    """What the format has cost: `−0.17 points (−0.48 to +0.14)`."""
    if file.difference is None or file.difference_interval is None:
        return NONE
    low, high = (f"{100 * end:+.2f}" for end in file.difference_interval)
    return f"{points_text(file.difference)} ({low} to {high})".replace("-", "−")


def layer_table(data: ReportData, winner: Architecture) -> str:
    """The layers of the winner beside those of the default, differences marked."""
    space = data.space
    ours, theirs = list(space.steps(winner)), list(space.steps(space.default))
    hidden = {m.name for m in NETWORK_METRICS} - {"madds", "params"}
    metrics = [m for m in space.metrics if m.name not in hidden]
    top = {
        m.name: max(step.costs[m.name] for step in [*ours, *theirs]) for m in metrics
    }
    titles = "".join(f'<th class="number">{_title(metric)}</th>' for metric in metrics)
    columns = f'<th class="start">option</th><th>output</th>{titles}'
    group = f'class="group start" colspan="{2 + len(metrics)}"'
    head = (
        f'<tr><th rowspan="2">layer</th><th {group}>winner</th>'
        f"<th {group}>default network</th></tr><tr>{columns}{columns}</tr>"
    )
    rows = []
    for mine, other in zip(ours, theirs):
        row = [cell(mine.layer.name)]
        for step, reference, look in ((mine, other, "bar"), (other, mine, "bar other")):
            option = _marked(step.option.label, reference.option.label)
            shape = _marked(shape_text(step.after), shape_text(reference.after))
            row.append(f'<td class="start">{option}</td><td>{shape}</td>')
            for metric in metrics:
                value = step.costs[metric.name]
                row.append(_bar_cell(value, top[metric.name], metric, look))
        rows.append(f"<tr>{''.join(row)}</tr>")
    foot = [cell("whole network")]
    for architecture in (winner, space.default):
        costs = space.costs(architecture)
        foot += [cell(""), cell("")]
        foot += [
            cell(cost_text(costs[metric.name], metric, unit=False), "number")
            for metric in metrics
        ]
    return (
        f'<div class="scroll"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody>"
        f"<tfoot><tr>{''.join(foot)}</tr></tfoot></table></div>"
    )


def _title(metric: Metric) -> str:
    return html.escape(metric_title(metric))


def _marked(text: str, reference: str) -> str:
    """Marks the words that are not in the reference."""
    known = reference.split()
    words = (html.escape(word) for word in text.split())
    return " ".join(
        word if html.unescape(word) in known else f"<mark>{word}</mark>"
        for word in words
    )


def _bar_cell(value: float, top: float, metric: Metric, look: str) -> str:
    """A cost with a bar whose full width is `top`."""
    text = html.escape(cost_text(value, metric, unit=False))
    bar = ""
    if value:
        bar = f'<span class="{look}" style="width:{100 * value / top:.1f}%"></span>'
    return f'<td class="number">{text}{bar}</td>'


def failures_table(failed: Sequence[ReportTrial]) -> str:
    """Failed trials by reason, the most frequent reason first."""
    numbers: dict[str, list[int]] = collections.defaultdict(list)
    for trial in sorted(failed, key=lambda trial: trial.number):
        numbers[trial.reason or "no reason was recorded"].append(trial.number)
    ranked = sorted(numbers.items(), key=lambda item: -len(item[1]))
    rows = []
    for reason, trials in ranked[:_MOST_REASONS]:
        listed = ", ".join(map(str, trials[:8])) + (" …" if len(trials) > 8 else "")
        rows.append(
            f"<tr>{cell(f'{len(trials):,}', 'number')}{cell(reason, 'wide start')}"
            f"{cell(listed)}</tr>"
        )
    rest = ranked[_MOST_REASONS:]
    if rest:
        count = sum(len(trials) for _, trials in rest)
        rows.append(
            f"<tr>{cell(f'{count:,}', 'number')}"
            f"{cell(f'{len(rest):,} further reasons', 'wide start')}{cell('')}</tr>"
        )
    head = [("failed", "number"), ("reason", "start"), ("trial numbers", "")]
    return table(head, rows)


def facts_table(name: str, value: str, facts: Mapping[str, object]) -> str:
    """Two columns: names and values."""
    rows = [
        f"<tr><td>{html.escape(str(key))}</td>"
        f'<td class="wide"><code>{html.escape(str(fact))}</code></td></tr>'
        for key, fact in facts.items()
    ]
    return table([(name, ""), (value, "")], rows)
