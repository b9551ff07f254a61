"""`report.html` of a comparison: interactive curves, the standings, paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layernas_tf.comparison.curves import Curves, Standing, Test
from layernas_tf.comparison.figure import complete_from
from layernas_tf.comparison.multiple_tests import holm
from layernas_tf.comparison.style import Style, style_of
from layernas_tf.report.page import Section, chart, render
from layernas_tf.report.style import layout
from layernas_tf.report.tables import cell, table
from layernas_tf.tabular.table import Row


def comparison_page(
    title: str,
    curves: Sequence[Curves],
    standings: Sequence[Standing],
    tests: Sequence[Test],
    targets: Sequence[float],
    best: Row,
    command: str,
) -> str:
    """The page as HTML.

    Args:
      title: Benchmark, dataset and budget.
      curves: One entry per algorithm.
      standings: The standings, in the order of `curves`.
      tests: The paired tests, as `paired_tests` makes them.
      targets: The search signals that the standings count trials to.
      best: The best row of the table inside the budget.
      command: The command that makes this page again.
    """
    sections = [
        _curves_section(
            "Search signal",
            "valid",
            curves,
            best.valid,
            "The best architecture inside the budget after each trial, chosen by its "
            "search signal: mean over the runs and the band of the middle half. A "
            "click on a name hides its curve.",
        ),
        _curves_section(
            "Reported result",
            "test",
            curves,
            best.test,
            "The test result of the same architectures, which no search sees. The "
            "dashed line is that of the architecture with the best search signal, so "
            "curves can lie above it.",
        ),
    ]
    if any(each.recommends for each in curves):
        sections.append(
            _curves_section(
                "Recommended",
                "recommended_test",
                curves,
                best.test,
                "The test result of what each algorithm recommends. An algorithm with "
                "a belief about the noise of the signal recommends the architecture "
                "with the highest expected quality; the others recommend the one "
                "above.",
            )
        )
    sections += _tables_sections(standings, tests, targets, best)
    headline = f'<p class="headline">{_headline(standings, best)}</p>'
    return render(title, headline, sections, f"Made by: {command}")


def _curves_section(
    title: str, attribute: str, curves: Sequence[Curves], best: float, text: str
) -> Section:
    name = attribute.replace("_", "-")
    return Section(title, chart(name, _figure(curves, attribute, best), 460), text)


def _tables_sections(
    standings: Sequence[Standing],
    tests: Sequence[Test],
    targets: Sequence[float],
    best: Row,
) -> list[Section]:
    sections = [
        Section(
            "Standings",
            _standings_table(standings, targets, best),
            "The results after the last trial. Trials to a signal: the median over the "
            "runs, and the share of runs that reached it.",
        )
    ]
    if tests:
        sections.append(
            Section(
                "Paired tests",
                _tests_table(tests),
                "Mean difference of the search signal between runs of the same seed "
                "and the two-sided p-value of Wilcoxon's signed-rank test, corrected "
                f"for the number of tests in this table, {_tested(tests)} (Holm): if "
                "every value below 0.05 is called a difference, the chance that any "
                "call is wrong is at most 5 %.",
            )
        )
    return sections


def _headline(standings: Sequence[Standing], best: Row) -> str:
    ranked = sorted(standings, key=lambda s: (-s.found, -s.valid))
    first = ranked[0]
    return (
        f"{style_of(first.algorithm).label} ends with the best possible architecture "
        f"({best.valid:.6g}) in {first.found:.0%} of {first.runs} runs"
        + (
            f"; {style_of(ranked[1].algorithm).label} follows with "
            f"{ranked[1].found:.0%}."
            if len(ranked) > 1
            else "."
        )
    )


def _figure(curves: Sequence[Curves], attribute: str, best: float) -> dict[str, Any]:
    data = []
    lows = [best]
    for each in curves:
        values = getattr(each, attribute)
        start = complete_from(values)
        trials = (np.arange(start, values.shape[1]) + 1).tolist()
        values = values[:, start:]
        if not trials:
            continue
        style = style_of(each.algorithm)
        low, high = np.percentile(values, (25, 75), axis=0).round(6).tolist()
        mean = values.mean(axis=0).round(6).tolist()
        lows.append(mean[max(0, min(14 - start, len(mean) - 1))])
        shared = {"legendgroup": each.algorithm, "mode": "lines"}
        data.append(shared | _band(trials, low, high, style))
        data.append(shared | _line(trials, mean, style))
    margin = 0.08 * max(best - min(lows), 1e-6)
    shape = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": best,
        "y1": best,
        "line": {"width": 1, "dash": "dash", "color": "#7d8996"},
    }
    return {
        "data": data,
        "layout": layout(
            "trials",
            "best inside the budget so far",
            shapes=[shape],
            hovermode="x unified",
            yaxis={"range": [min(lows) - margin, best + 2 * margin]},
        ),
    }


def _band(
    trials: list[int], low: list[float], high: list[float], style: Style
) -> dict[str, Any]:
    """The area between the quartiles."""
    return {
        "x": trials + trials[::-1],
        "y": high + low[::-1],
        "fill": "toself",
        "fillcolor": _transparent(style.colour),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _line(trials: list[int], mean: list[float], style: Style) -> dict[str, Any]:
    """The mean of the runs."""
    return {
        "x": trials,
        "y": mean,
        "name": style.label,
        "line": {"color": style.colour, "dash": style.dash, "width": style.width},
        "hovertemplate": "%{y:.3f}",
    }


def _transparent(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.13)"


def _standings_table(
    standings: Sequence[Standing], targets: Sequence[float], best: Row
) -> str:
    head = [
        ("algorithm", ""),
        ("runs", "number"),
        ("trials", "number"),
        ("final valid", "number"),
        ("IQR", "number"),
        ("final test", "number"),
        ("found the best possible", "number"),
    ]
    head += [(f"trials to {target:.6g}", "number") for target in targets]
    rows = []
    for each in sorted(standings, key=lambda s: -s.valid):
        cells = cell(style_of(each.algorithm).label)
        cells += "".join(
            cell(text, "number")
            for text in (
                each.runs,
                each.trials,
                f"{each.valid:.3f}",
                f"{each.spread:.3f}",
                f"{each.test:.3f}",
                f"{each.found:.0%}",
            )
        )
        for needed, reached in zip(each.needed, each.reached):
            text = "–" if needed is None else f"{needed:.0f}"
            cells += cell(f"{text} ({reached:.0%})", "number")
        rows.append(f"<tr>{cells}</tr>")
    foot = cell("best possible") + cell("") * 2
    foot += cell(f"{best.valid:.3f}", "number") + cell("")
    foot += cell(f"{best.test:.3f}", "number") + cell("") * (1 + len(targets))
    return table(head, rows, f"<tr>{foot}</tr>")


def _tested(tests: Sequence[Test]) -> int:
    return sum(test.runs > 0 for test in tests)


def _tests_table(tests: Sequence[Test]) -> str:
    points = sorted({test.trial for test in tests})
    head = [("algorithm", ""), ("against", "")]
    head += [(f"after {point} trials", "number") for point in points]
    rows = []
    pairs = dict.fromkeys((test.first, test.second) for test in tests)
    found = {(test.first, test.second, test.trial): test for test in tests}
    possible = [key for key, test in found.items() if test.runs]
    corrected = dict(zip(possible, holm([found[key].p for key in possible])))
    for first, second in pairs:
        cells = cell(style_of(first).label) + cell(style_of(second).label)
        for point in points:
            key = first, second, point
            text = "–" if key in found else ""
            if key in corrected:
                text = f"{found[key].difference:+.3f} (p {_p(corrected[key])})"
            cells += cell(text, "number")
        rows.append(f"<tr>{cells}</tr>")
    return table(head, rows)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
