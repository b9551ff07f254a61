"""Rank correlations of signals with long training, for `benchmarks.fidelity`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

_RESAMPLES = 2000
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Correlation:
    """Kendall's tau-b with a bootstrap interval over the architectures.

    Example: `Correlation(0.6, 0.3, 0.8, 16)`.

    Attributes:
      tau: -1..1; NaN where it is not defined.
      low: Lower end of the 95 % interval (percentiles).
      high: Upper end.
      architectures: How many there were.
    """

    tau: float
    low: float
    high: float
    architectures: int

    def __str__(self) -> str:
        if np.isnan(self.tau):
            return "–"
        return f"{self.tau:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def correlation(one: Sequence[float], other: Sequence[float]) -> Correlation:
    """Kendall's tau-b between two figures of the same architectures.

    Args:
      one: (N,) figures, in any units.
      other: Likewise.
    """
    if len(one) < 3:
        return Correlation(np.nan, np.nan, np.nan, len(one))
    return Correlation(_tau(one, other), *_interval(_resampled(one, other)), len(one))


def difference(
    one: Sequence[float], other: Sequence[float], known: Sequence[float]
) -> Correlation:
    """How much better one signal ranks the same architectures than another.

    Args:
      one: (N,) figures, in any units.
      other: Likewise.
      known: The truth of both.

    Returns:
      The difference of the taus with the truth; both are resampled together.
    """
    if len(known) < 3:
        return Correlation(np.nan, np.nan, np.nan, len(known))
    apart = _resampled(one, known) - _resampled(other, known)
    tau = _tau(one, known) - _tau(other, known)
    return Correlation(tau, *_interval(apart), len(known))


def _tau(one: Sequence[float], other: Sequence[float]) -> float:
    return float(stats.kendalltau(one, other).statistic)


def _resampled(one: Sequence[float], other: Sequence[float]) -> np.ndarray:
    """Taus of architectures drawn with repeats, NaN where undefined."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    signs_a, signs_b = (np.sign(x[:, None] - x[None, :]) for x in (a, b))
    generator = np.random.default_rng(0)
    taus = np.full(_RESAMPLES, np.nan)
    for number, rows in enumerate(generator.integers(len(a), size=(len(taus), len(a)))):
        counts = np.bincount(rows, minlength=len(a))
        weights = np.outer(counts, counts)
        above = np.sum(weights * signs_a * signs_b)
        below = np.sum(weights * signs_a**2) * np.sum(weights * signs_b**2)
        if below:
            taus[number] = above / np.sqrt(below)
    return taus


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return np.nan, np.nan
    edge = (1 - _LEVEL) / 2
    low, high = np.quantile(known, (edge, 1 - edge))
    return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class Line:
    """A signal beside the truth.

    Example: `Line("constant, 60 steps", "valid_loss", found, 6.5)`.

    Attributes:
      training: What it was measured in.
      signal: Its name.
      correlation: With the truth.
      cpu_seconds: Per candidate, mean.
    """

    training: str
    signal: str
    correlation: Correlation
    cpu_seconds: float


Key = tuple[int, ...]


def truth(
    rows: Sequence[Mapping[str, Any]], name: str, signal: str
) -> dict[Key, dict[int, float]]:
    """Of each architecture the signal at the end of the long trainings, by seed."""
    found: dict[Key, dict[int, float]] = {}
    for row in rows:
        if row.get("training") == name:
            by_seed = found.setdefault(tuple(row["architecture"]), {})
            by_seed[row["seed"]] = row["points"][-1][signal]
    return found


def ceiling(known: Mapping[Key, Mapping[int, float]]) -> Correlation:
    """Between the first two seeds of the long training, where there are two."""
    pairs = [sorted(seeds.items())[:2] for seeds in known.values() if len(seeds) > 1]
    return correlation([a[1] for a, _ in pairs], [b[1] for _, b in pairs])


Figures = dict[tuple[str, str], dict[Key, tuple[float, float]]]
"""By training and signal: of each architecture the figure, and CPU seconds."""


def figures(rows: Sequence[Mapping[str, Any]]) -> Figures:
    """Every signal of every proxy training, and every score without training."""
    values: Figures = {}
    for row in rows:
        key = tuple(row["architecture"])
        for signal, score in row.get("scores", {}).items():
            pair = (score["score"], score["cpu_seconds"])
            values.setdefault(("no training", signal), {})[key] = pair
        for point in row.get("points", ()) if not row.get("truth") else ():
            training = f"{row['training']}, {point['step']} steps"
            for signal, value in point.items():
                if signal not in ("step", "cpu_seconds"):
                    pair = (value, point["cpu_seconds"])
                    values.setdefault((training, signal), {})[key] = pair
    return values


def course(
    rows: Sequence[Mapping[str, Any]], name: str, signal: str
) -> tuple[Figures, dict[Key, dict[int, float]]]:
    """The first seed of the long training on its way, and the ends of the others.

    So a long training that is broken off is compared with one that it has no part in.
    """
    known = truth(rows, name, signal)
    first = {key: min(seeds) for key, seeds in known.items() if len(seeds) > 1}
    values: Figures = {}
    for row in rows:
        key = tuple(row["architecture"])
        if row.get("training") != name or first.get(key) != row["seed"]:
            continue
        for point in row["points"]:
            for figure in ("accuracy", "valid_loss", "train_loss_last"):
                by_key = values.setdefault((f"after {point['step']} steps", figure), {})
                by_key[key] = point[figure], point["cpu_seconds"]
    others = {
        key: {seed: end for seed, end in known[key].items() if seed != first[key]}
        for key in first
    }
    return values, others


def lines(values: Figures, known: Mapping[Key, Mapping[int, float]]) -> list[Line]:
    """Every signal beside the mean of the long training's seeds."""
    found = []
    for (training, signal), by_key in values.items():
        common = [key for key in known if key in by_key]
        compared = correlation(
            [by_key[key][0] for key in common], [_mean(known[key]) for key in common]
        )
        seconds = float(np.mean([seconds for _, seconds in by_key.values()]))
        found.append(Line(training, signal, compared, seconds))
    return found


def losses_against_accuracies(
    values: Figures, known: Mapping[Key, Mapping[int, float]]
) -> list[str]:
    """Of each training by how much its validation loss ranks better than accuracy."""
    found = []
    for (training, signal), accuracy in values.items():
        loss = values.get((training, "valid_loss"))
        if signal != "accuracy" or loss is None:
            continue
        common = [key for key in known if key in loss and key in accuracy]
        apart = difference(
            [loss[key][0] for key in common],
            [accuracy[key][0] for key in common],
            [_mean(known[key]) for key in common],
        )
        found.append(f"{training}: {apart}")
    return found


def _mean(seeds: Mapping[int, float]) -> float:
    return float(np.mean(list(seeds.values())))


def markdown(found: Sequence[Line]) -> str:
    """One row per training, one column per signal; scores without training first."""
    trained = [line for line in found if line.training != "no training"]
    signals = list(dict.fromkeys(line.signal for line in trained))
    text = ["| training | CPU s | " + " | ".join(signals) + " |"]
    text.append("|---" * (2 + len(signals)) + "|")
    cells: dict[str, dict[str, Line]] = {}
    for line in found:
        if line.training == "no training":
            text.append(
                f"| {line.signal}, no training | {line.cpu_seconds:.1f} "
                f"| {line.correlation} |" + " |" * (len(signals) - 1)
            )
        else:
            cells.setdefault(line.training, {})[line.signal] = line
    for training, by_signal in cells.items():
        seconds = next(iter(by_signal.values())).cpu_seconds
        entries = [
            str(by_signal[s].correlation) if s in by_signal else "" for s in signals
        ]
        text.append(f"| {training} | {seconds:.1f} | " + " | ".join(entries) + " |")
    return "\n".join(text)
