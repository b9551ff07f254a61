"""The same name, colour and dash for an algorithm in every figure."""

from __future__ import annotations

import dataclasses
import importlib.metadata


@dataclasses.dataclass(frozen=True)
class Style:
    """How an algorithm is drawn.

    Example: `Style("LayerNAS", "#0072B2", "dash", width=2.0)`.

    Attributes:
      label: Name in legends.
      colour: Hexadecimal colour; the palette is Okabe and Ito's, safe for colour-blind
        readers, with two greys.
      dash: Plotly's name of the dash.
      width: Line width in points.
    """

    label: str
    colour: str
    dash: str = "solid"
    width: float = 1.5


_STYLES = {
    "layernas_bayes": Style("LayerNAS Bayes", "#D55E00", width=2.4),
    "layernas": Style("LayerNAS", "#0072B2", width=2.4),
    "layernas_layerwise": Style("LayerNAS layerwise", "#0072B2", "dash", 2.0),
    "random": Style("random", "#7F7F7F"),
    "regularized_evolution": Style("regularized evolution", "#009E73"),
    "local_search": Style("local search", "#8C6D31", "dot", 1.8),
    "bananas": Style("BANANAS (forest)", "#000000", "dashdot", 1.8),
    "ppo": Style("PPO", "#CC79A7"),
    "tpe": Style("TPE", "#56B4E9", "dash"),
    "nsga2": Style("NSGA-II", "#E69F00", "dashdot"),
    "gp": Style("Gaussian process", "#882255", "dot", 1.8),
}

MATPLOTLIB_DASH = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}


_OPTUNAS = ("tpe", "nsga2", "gp")


def style_of(algorithm: str) -> Style:
    """The style of an algorithm by its name; samplers of Optuna show its version."""
    style = _STYLES.get(algorithm, Style(algorithm, "#444444"))
    if algorithm in _OPTUNAS:
        version = importlib.metadata.version("optuna")
        style = dataclasses.replace(style, label=f"{style.label} (Optuna {version})")
    return style
