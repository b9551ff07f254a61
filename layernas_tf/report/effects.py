"""Learned effects by attribute: which value suits which layer."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Iterable

import numpy as np

from layernas_tf.report.data import ReportData
from layernas_tf.report.heatmaps import GRADIENT, effects_figure
from layernas_tf.report.page import chart
from layernas_tf.report.tables import cell, table
from layernas_tf.report.wording import NONE
from layernas_tf.space.types import AttributeValue, Layer, Option

_ROW = 24
"""Height of a row of a heat map, in CSS pixels."""


def effects_by_attribute(
    data: ReportData,
) -> dict[str, dict[str, dict[AttributeValue | None, float]]]:
    """Averages the effects of a layer's options over their other attributes.

    An option without the attribute (a dropped block has no kernel) is ignored where the
    other options of the layer differ in the attribute; where they all agree, it counts
    as the value None.

    Returns:
      By attribute, layer name and value (in order), the effect relative to the mean of
      the options that were not ignored. Attributes and layers without a choice are
      left out.
    """
    layers = {layer.name: layer for layer in data.space.layers}
    found: dict[str, dict[str, dict[AttributeValue | None, float]]] = {}
    for effects in data.effects:
        layer = layers[effects.layer]
        for attribute in _attributes(layer):
            groups: dict[AttributeValue | None, list[float]] = {}
            for option, mean in zip(layer.options, effects.means, strict=True):
                if not math.isnan(mean):
                    groups.setdefault(option.get(attribute), []).append(mean)
            if len(groups) > 2:
                groups.pop(None, None)
            if len(groups) > 1:
                centre = statistics.fmean(m for means in groups.values() for m in means)
                found.setdefault(attribute, {})[effects.layer] = {
                    value: statistics.fmean(groups[value]) - centre
                    for value in sorted(groups, key=_order)
                }
    return found


def _attributes(layer: Layer) -> list[str]:
    names = [name for option in layer.options for name, _ in option.attributes]
    return list(dict.fromkeys(names))


def _order(value: AttributeValue | None) -> tuple:
    if value is None:
        return (0, 0, "")
    return (1, value, "") if isinstance(value, (int, float)) else (2, 0, value)


def _value_texts(values: Iterable[AttributeValue | None]) -> list[str]:
    values = list(values)
    missing = "no" if True in values else "none"
    texts = {None: missing, True: "yes", False: "no"}
    return [
        texts[value]
        if value is None or isinstance(value, bool)
        else (value if isinstance(value, str) else f"{value:.4g}")
        for value in values
    ]


def effects_html(data: ReportData) -> str:
    """A heat map per attribute, and the best option of every layer."""
    scale = 100 if data.reward_is_share else 1
    found = effects_by_attribute(data)
    every = [
        e for rows in found.values() for row in rows.values() for e in row.values()
    ]
    reach = scale * max(map(abs, every), default=1.0) or 1.0
    charts = []
    for number, (attribute, rows) in enumerate(found.items()):
        figure = effects_figure(
            list(rows),
            [_value_texts(row) for row in rows.values()],
            [[round(scale * e, 5) for e in row.values()] for row in rows.values()],
            reach,
            attribute.replace("_", " "),
        )
        charts.append(chart(f"effects-{number}", figure, 60 + _ROW * len(rows)))
    unit = "points" if data.reward_is_share else data.reward_name
    legend = (
        f'<div class="scale">−{reach:.3g}<span style="background:{GRADIENT}"></span>'
        f"+{reach:.3g} {html.escape(unit)}</div>"
    )
    details = (
        "<details><summary>Best option of every layer</summary>"
        f"{_best(data, scale)}</details>"
    )
    return f'{legend}<div class="charts">{"".join(charts)}</div>{details}'


def _best(data: ReportData, scale: float) -> str:
    layers = {layer.name: (i, layer) for i, layer in enumerate(data.space.layers)}
    rows = []
    for effects in data.effects:
        index, layer = layers[effects.layer]
        best = int(np.nanargmax(effects.means))
        reference = effects.means[layer.default]
        gain = effects.means[best] - (0.0 if math.isnan(reference) else reference)
        text = f"{scale * gain:+.3g}"
        if effects.deviations:
            text += f" ± {scale * effects.deviations[best]:.2g}"
        chosen: Option | None = None
        if data.winner is not None:
            chosen = layer.options[data.winner[index]]
        rows.append(
            f"<tr>{cell(effects.layer)}{cell(layer.options[best].label)}"
            f"{cell(text, 'number')}"
            f"{cell(chosen.label if chosen else NONE, 'start')}</tr>"
        )
    head = [
        ("layer", ""),
        ("best by itself", ""),
        ("gain over the default", "number"),
        ("winner", "start"),
    ]
    return table(head, rows)
