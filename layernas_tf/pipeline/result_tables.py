"""The tables that a search shows in the terminal when it has finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from layernas_tf.pipeline.final_trainer import Training
from layernas_tf.pipeline.finals import Finals
from layernas_tf.pipeline.metrics import accuracies
from layernas_tf.report import ExportedFile
from layernas_tf.report.wording import NONE, cost_text, share_text
from layernas_tf.space.types import NETWORK_METRICS, Metric
from layernas_tf.study.study import Study

if TYPE_CHECKING:
    from rich.table import Table


def network_table(study: Study, finals: Finals) -> Table:
    """The winner beside the baseline, both trained with the same recipe."""
    metrics = [budget.metric for budget in study.budgets]
    own = set(study.space.chain.metrics) - {metric.name for metric in NETWORK_METRICS}
    shown = {*metrics, "params", "model_bytes", *own}
    order = [*metrics, "params", "model_bytes", *study.space.chain.metrics]
    metrics = [
        name
        for name in dict.fromkeys(order)
        if name in shown and name in study.space.chain.metrics
    ]
    table = _table("", "valid", "test", "95 %", *metrics)

    def row(
        name: str, cost: Mapping[str, float], trainings: Sequence[Training]
    ) -> None:
        figures = accuracies(trainings)
        table.add_row(
            name,
            share_text(figures["valid_accuracy"]),
            share_text(figures["test_accuracy"]),
            _interval(figures["test_interval"]),
            *(
                cost_text(cost[name], study.space.metric(name), unit=False)
                for name in metrics
            ),
        )

    costs = study.space.costs(finals.winner.architecture)
    row("winner", costs, finals.winner_trainings)
    if finals.baseline is not None:
        row(finals.baseline.label, finals.baseline.costs, finals.baseline_trainings)
    return table


def _interval(interval: tuple[float, float] | None) -> str:
    return NONE if interval is None else "–".join(f"{100 * x:.1f}" for x in interval)


def file_table(files: Sequence[ExportedFile]) -> Table:
    """The exported files, run on the test set."""
    table = _table("file", "size", "test", "agreement", "latency")
    size = Metric("size", unit="bytes")
    for file in files:
        latency = file.latency_ms
        table.add_row(
            file.name,
            cost_text(file.bytes, size),
            share_text(file.test_accuracy),
            share_text(file.agreement),
            NONE if latency is None else f"{latency:.3g} ms",
        )
    return table


def _table(first: str, *others: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
