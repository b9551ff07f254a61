"""The report of one search: all its sections on one page."""

from __future__ import annotations

import os

from layernas_tf.core.files import write_text
from layernas_tf.report import tables
from layernas_tf.report.classes import classes_section
from layernas_tf.report.data import NO_LONGER, MemorialSnapshot, ReportData
from layernas_tf.report.dataset import dataset_section
from layernas_tf.report.effects import effects_html
from layernas_tf.report.family import family_section
from layernas_tf.report.figures import DRAWN, completed, cost_figure
from layernas_tf.report.headline import headline, lead_metric, tiles
from layernas_tf.report.heatmaps import memorial_figure
from layernas_tf.report.page import Section, chart, render
from layernas_tf.report.trials_figure import trials_figure
from layernas_tf.report.wording import (
    counted,
    label_key,
    metric_of,
    metric_title,
    seconds_text,
)


def write_report(data: ReportData, path: str | os.PathLike[str]) -> None:
    """Writes `report.html`: one file that opens offline.

    An earlier report is replaced in one step.

    Args:
      data: What the report shows; empty entries are left out.
      path: The file to write.
    """
    write_text(path, report_html(data))


def report_html(data: ReportData) -> str:
    """The report as text; see `write_report`."""
    notes = "".join(
        f'<p class="note">{tables.html.escape(note)}</p>' for note in data.notes
    )
    lead = (
        f'<p class="headline">{tables.html.escape(headline(data))}</p>'
        f"{notes}{tiles(data)}"
    )
    sections = [
        *_trial_sections(data),
        *_network_sections(data),
        *_table_sections(data),
        *([classes_section(data.classes)] if data.classes else []),
        *([dataset_section(data.check, data.samples)] if data.check else []),
        _facts(data),
    ]
    title = " · ".join(
        filter(None, ["LayerNAS", data.space.name, data.dataset, data.algorithm])
    )
    return render(title, lead, sections, f"LayerNAS-TF {data.made}".strip())


def _trial_sections(data: ReportData) -> list[Section]:
    done = completed(data)
    if not done:
        return []
    few = ""
    if len(done) > DRAWN:
        few = (
            f" About {DRAWN:,} of {counted(len(done), 'trial')} are drawn: every "
            "improvement, every point of the Pareto front, and an even sample of the "
            "rest."
        )
    reward = data.reward_name
    sections = [
        Section(
            f"{reward.capitalize()} over trials",
            chart("trials", trials_figure(data), 400, few.strip()),
            "Each point is one candidate of the search.",
        )
    ]
    names = list(dict.fromkeys(budget.metric for budget in data.budgets))
    for name in names or [lead_metric(data).name]:
        title = metric_title(metric_of(data.space, name))
        green = " The green area is inside the budget." if data.budgets else ""
        sections.append(
            Section(
                f"{reward.capitalize()} against {title}",
                chart(f"cost-{name}", cost_figure(data, name), 440, few.strip()),
                "The Pareto front joins the candidates that no cheaper one surpasses."
                + green,
            )
        )
    return sections


def _network_sections(data: ReportData) -> list[Section]:
    family = family_section(data)
    sections = [family] if family is not None else []
    if data.trained:
        sections.append(
            Section(
                "Final training",
                tables.trained_table(data),
                "All networks here were trained with the same, longer recipe, the "
                "weaker finalists only with its first epochs. The winner is chosen on "
                "validation data; the test set chooses nothing. Intervals are for the "
                "choice of the test images. “Expected” is what the search expects of a "
                "candidate’s reward without its noise.",
            )
        )
    if data.files:
        sections.append(
            Section(
                "Exported files",
                tables.files_table(data),
                "Each file was run on the test set; its answers are compared with "
                "those of the Keras model.",
            )
        )
    if data.winner is not None:
        pairs = zip(data.winner, data.space.default)
        changed = sum(ours != theirs for ours, theirs in pairs)
        key = label_key(data.space)
        sections.append(
            Section(
                "The winner, layer by layer",
                tables.layer_table(data, data.winner),
                f"It differs from the default network in {changed} of "
                f"{counted(len(data.space.layers), 'layer')}, marked. Output is height "
                "× width × channels." + (f" {key}." if key else ""),
            )
        )
    return sections


def _table_sections(data: ReportData) -> list[Section]:
    sections = []
    if data.memorial is not None and any(data.memorial.rows.values()):
        sections.append(_memorial(data, data.memorial))
    if data.effects:
        sections.append(
            Section(
                "What every layer wants",
                effects_html(data),
                "The learned effect of each option on the reward, relative to the mean "
                "of its layer and averaged over the option’s other attributes.",
            )
        )
    return sections


def _memorial(data: ReportData, memorial: MemorialSnapshot) -> Section:
    title = metric_title(metric_of(data.space, memorial.metric))
    height = 130 + 26 * len(memorial.rows)
    return Section(
        "Memorial table",
        chart(
            "memorial",
            memorial_figure(data, memorial),
            height,
            "Buckets divide the range of costs, cheapest first. Grey: no candidate.",
        ),
        f"The best reward found for each layer and bucket of {title}, with the layers "
        "after it at their defaults. A star marks the winner; point at a cell for its "
        "architecture.",
    )


def _facts(data: ReportData) -> Section:
    parts = []
    failed = [trial for trial in data.trials if trial.state == "failed"]
    if failed:
        share = f"{100 * len(failed) / len(data.trials):.1f} %"
        parts.append(
            f"<h3>{counted(len(failed), 'failed trial')} ({share})</h3>"
            + tables.failures_table(failed)
        )
    earlier = sum(trial.state == NO_LONGER for trial in data.trials)
    if earlier:
        parts.append(
            f"<p>On record, but not believed: {counted(earlier, 'trial')} of before an "
            "accepted change of the search.</p>"
        )
    columns = []
    if data.config:
        columns.append(tables.facts_table("setting", "value", data.config))
    if data.seconds:
        spent = {name: seconds_text(value) for name, value in data.seconds.items()}
        columns.append(tables.facts_table("phase", "duration", spent))
    if data.versions:
        columns.append(tables.facts_table("software", "version", data.versions))
    parts.append(f'<div class="facts">{"".join(columns)}</div>')
    return Section("Run facts", "".join(parts))
