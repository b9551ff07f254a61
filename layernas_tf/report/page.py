"""One HTML file that opens offline: style, script and figures are inside it."""

from __future__ import annotations

import dataclasses
import html
import importlib.resources
import json
import re
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of a page.

    Example: `Section("Settings", "<p>60 trials</p>", intro="As given by flags.")`.

    Attributes:
      title: The heading, plain text.
      body: HTML, with all user input escaped.
      intro: A sentence under the heading, plain text.
    """

    title: str
    body: str
    intro: str = ""


def chart(name: str, figure: dict[str, Any], height: int, caption: str = "") -> str:
    """A Plotly figure as HTML.

    Args:
      name: A name of letters, digits and dashes, unique in the page.
      figure: The figure's `data` and `layout`.
      height: Height in CSS pixels; the width is the page's.
      caption: Plain text under the figure.
    """
    # Only these characters could end a script element early.
    source = json.dumps(figure, allow_nan=False, separators=(",", ":"))
    source = source.replace("<", "\\u003c")
    note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><div class="chart" id="{name}" style="height:{height}px"></div>'
        f'<script type="application/json" data-chart="{name}">{source}</script>'
        f"{note}</figure>"
    )


def render(title: str, lead: str, sections: Sequence[Section], footer: str = "") -> str:
    """The whole page.

    Args:
      title: Plain text: the title of the window and the heading of the page.
      lead: HTML that comes first: the result in one sentence and the main figures.
      sections: The sections in order; each is linked from the top.
      footer: Plain text at the end.
    """
    anchors = [re.sub(r"[^a-z0-9]+", "-", part.title.lower()) for part in sections]
    links = "".join(
        f'<a href="#{anchor}">{html.escape(part.title)}</a>'
        for anchor, part in zip(anchors, sections)
    )
    parts = []
    for anchor, part in zip(anchors, sections):
        intro = f"<p>{html.escape(part.intro)}</p>" if part.intro else ""
        heading = f"<h2>{html.escape(part.title)}</h2>"
        parts.append(
            f'<section id="{anchor}">\n{heading}{intro}\n{part.body}\n</section>'
        )
    scripts = ""
    if any("data-chart" in text for text in (lead, *(part.body for part in sections))):
        from plotly.offline import get_plotlyjs

        scripts = (
            "<noscript><p>The figures need JavaScript; the tables do not."
            f"</p></noscript>\n<script>{get_plotlyjs()}</script>\n"
            f"<script>{_resource('page.js')}</script>\n"
        )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_resource('style.css')}"
        f"</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n"
        f"{lead}\n<nav>{links}</nav>\n"
        + "\n".join(parts)
        + f"\n<footer>{html.escape(footer)}</footer>\n</main>\n{scripts}"
        + "</body>\n</html>\n"
    )


def _resource(name: str) -> str:
    folder = importlib.resources.files("layernas_tf.report")
    return (folder / name).read_text(encoding="utf-8")
