"""The classes in the report: the accuracy of each, and which are confused."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from layernas_tf.report.data import ClassFigures
from layernas_tf.report.page import Section
from layernas_tf.report.wording import share_text

_MATRIX = 20
"""Classes up to which the confusion matrix is shown."""

_ROWS = 50
"""The most classes that are listed; they are those with the lowest accuracy."""


def classes_section(figures: ClassFigures) -> Section:
    """Accuracy by class beside the baseline's, and the winner's confusion matrix."""
    names, winner = figures.class_names, np.asarray(figures.winner)
    other = None if figures.baseline is None else np.asarray(figures.baseline)
    numbers = winner.sum(axis=1)
    order = sorted(
        np.flatnonzero(numbers), key=lambda c: (winner[c, c] / numbers[c], c)
    )
    rows = []
    for index in order[:_ROWS]:
        mistaken = winner[index].copy()
        mistaken[index] = 0
        most = int(mistaken.argmax())
        taken = f"{names[most]} ({mistaken[most]})" if mistaken[most] else ""
        cells = [
            f"{numbers[index]}",
            share_text(winner[index, index] / numbers[index]),
            "" if other is None else _share(other, index),
        ]
        rows.append(
            f"<tr><td>{html.escape(names[index])}</td>"
            + "".join(f'<td class="number">{cell}</td>' for cell in cells)
            + f"<td>{html.escape(taken)}</td></tr>"
        )
    head = (
        "<tr><th>class</th><th>test images</th><th>winner</th>"
        f"<th>{html.escape(figures.baseline_name or 'baseline')}</th>"
        "<th>most often taken for</th></tr>"
    )
    content = f"<table>{head}{''.join(rows)}</table>"
    if len(names) <= _MATRIX:
        content += _matrix(names, winner)
    text = "Share of each class's test images that are classified correctly, lowest"
    text += " first; the images of several trainings are added up."
    if len(order) > _ROWS:
        text += f" Only the {_ROWS} lowest of {len(order)} classes are listed."
    return Section("Classes", content, text)


def _share(confusion: np.ndarray, index: int) -> str:
    number = confusion[index].sum()
    return share_text(confusion[index, index] / number if number else None)


def _matrix(names: Sequence[str], confusion: np.ndarray) -> str:
    """The confusion matrix; each cell is shaded by its share of its row."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = []
    for name, row in zip(names, confusion):
        shares = row / max(1, row.sum())
        cells = "".join(
            f'<td class="number" style="background:rgba(66,133,244,{share:.2f})">'
            f"{number}</td>"
            for number, share in zip(row, shares)
        )
        rows.append(f"<tr><th>{html.escape(name)}</th>{cells}</tr>")
    return (
        "<p>Confusion matrix: a row per true class, a column per class predicted by "
        f"the winner.</p><table><tr><th></th>{head}</tr>{''.join(rows)}</table>"
    )
