"""What the runs show: tables of curves, checkpoints, and paired tests."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from layernas_tf.comparison.runs import format_value
from layernas_tf.comparison.table_search import Curve

_CHECKPOINTS = (10, 25, 50, 100, 200, 400, 800, 1600, 3200)
_TOLERANCE = 1e-9
_FIGURES = ("valid", "test", "recommended_valid", "recommended_test")


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """All runs of one algorithm.

    Example:
      run = run_algorithm("layernas", table, budgets, trials=50, seed=0)
      curves = Curves.of("layernas", [run])
      curves.test[:, -1]

    Attributes:
      algorithm: Name of the algorithm.
      valid: Search signal of the best architecture inside the budget so far, float
        array `(runs, trials)`; NaN while there is none.
      test: The result reported for that architecture, `(runs, trials)`.
      recommended_valid: Search signal of the architecture that the algorithm
        recommends, `(runs, trials)`.
      recommended_test: The result reported for the recommendation, `(runs, trials)`.
    """

    algorithm: str
    valid: np.ndarray
    test: np.ndarray
    recommended_valid: np.ndarray
    recommended_test: np.ndarray

    @classmethod
    def of(cls, algorithm: str, runs: Sequence[Curve]) -> Curves:
        """Stacks the curves of several runs."""
        return cls(
            algorithm,
            *(np.stack([getattr(run, name) for run in runs]) for name in _FIGURES),
        )

    @property
    def recommends(self) -> bool:
        """Whether it ever recommends another architecture than the best by signal."""
        return not (
            np.array_equal(self.valid, self.recommended_valid, equal_nan=True)
            and np.array_equal(self.test, self.recommended_test, equal_nan=True)
        )


@dataclasses.dataclass(frozen=True)
class Standing:
    """How an algorithm did over all its runs.

    Example: `standing(curves, table.best(budgets).valid, (93.0,)).found`.

    Attributes:
      algorithm: Name of the algorithm.
      runs: Number of runs.
      trials: Number of evaluations in each run.
      valid: Mean final search signal.
      test: Mean reported result of the final answers.
      spread: Distance between the quartiles of the final search signal.
      found: Share of runs that ended with the best possible search signal.
      needed: For each target, the median number of trials until it was reached; None
        where fewer than half of the runs reached it.
      reached: For each target, the share of runs that reached it.
    """

    algorithm: str
    runs: int
    trials: int
    valid: float
    test: float
    spread: float
    found: float
    needed: tuple[float | None, ...]
    reached: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Test:
    """A paired comparison of two algorithms after some number of trials.

    Example: `Test("layernas", "random", trial=50, runs=30, difference=0.4, p=0.002)`.

    Attributes:
      first: The algorithm in question.
      second: The algorithm that it is compared with.
      trial: Number of trials after which they are compared.
      runs: Number of pairs (two runs of the same seed).
      difference: Mean of the search signal of `first` minus that of `second`.
      p: Two-sided p-value of Wilcoxon's signed-rank test, not corrected for the
        number of comparisons.
    """

    first: str
    second: str
    trial: int
    runs: int
    difference: float
    p: float


def checkpoints(trials: int) -> tuple[int, ...]:
    """The numbers of trials at which summaries are given; the last is `trials`."""
    return (*(count for count in _CHECKPOINTS if count < trials), trials)


def curves_csv(benchmark: str, dataset: str, curves: Sequence[Curves]) -> str:
    """The text of `curves.csv`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("benchmark", "dataset", "algorithm", "run", "trial", *_FIGURES)
    writer.writerow(names)
    for each in curves:
        for run, figures in enumerate(zip(*(getattr(each, f) for f in _FIGURES))):
            for trial, values in enumerate(zip(*figures), start=1):
                writer.writerow(
                    (benchmark, dataset, each.algorithm, run, trial)
                    + tuple(map(format_value, values))
                )
    return out.getvalue()


def summary_csv(benchmark: str, dataset: str, curves: Sequence[Curves]) -> str:
    """The text of `summary.csv`: mean and quartiles at the checkpoints.

    `answered` is the number of runs that had an architecture inside the budget by then;
    means and quartiles are over those runs.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        "benchmark dataset algorithm trial runs answered "
        "valid_mean valid_p25 valid_p75 test_mean test_p25 test_p75 "
        "recommended_valid_mean recommended_valid_p25 recommended_valid_p75 "
        "recommended_test_mean recommended_test_p25 recommended_test_p75".split()
    )
    for each in curves:
        for trial in checkpoints(each.valid.shape[1]):
            figures = [getattr(each, name)[:, trial - 1] for name in _FIGURES]
            answered = int(np.count_nonzero(~np.isnan(figures[0])))
            writer.writerow(
                (benchmark, dataset, each.algorithm, trial, len(figures[0]), answered)
                + tuple(_rounded(v) for values in figures for v in _band(values))
            )
    return out.getvalue()


def _rounded(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"


def _band(values: np.ndarray) -> tuple[float, float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return np.nan, np.nan, np.nan
    low, high = np.percentile(known, (25, 75))
    return float(known.mean()), float(low), float(high)


def default_targets(best: float) -> tuple[float, ...]:
    """Search signals within 1 %, 0.5 %, 0.1 % and 0 % of the best possible."""
    return tuple(best - abs(best) * share for share in (0.01, 0.005, 0.001, 0.0))


def standing(curves: Curves, best: float, targets: Sequence[float]) -> Standing:
    """Sums up the runs of one algorithm; `best` is the best possible signal."""
    final = curves.valid[:, -1]
    mean, low, high = _band(final)
    needed, reached = [], []
    for target in targets:
        hit = curves.valid >= target - _TOLERANCE
        first = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)
        median = float(np.median(first))
        needed.append(median if np.isfinite(median) else None)
        reached.append(float(hit.any(axis=1).mean()))
    return Standing(
        curves.algorithm,
        len(final),
        curves.valid.shape[1],
        mean,
        _band(curves.test[:, -1])[0],
        high - low,
        float(np.mean(final >= best - _TOLERANCE)),
        tuple(needed),
        tuple(reached),
    )


def paired_tests(curves: Sequence[Curves]) -> list[Test]:
    """Tests each variant of LayerNAS against the other algorithms, by checkpoint."""
    return [
        _test(first, second, trial)
        for first in curves
        if first.algorithm.startswith("layernas")
        for second in curves
        if second is not first
        for trial in checkpoints(min(first.valid.shape[1], second.valid.shape[1]))
    ]


def _test(first: Curves, second: Curves, trial: int) -> Test:
    from scipy.stats import wilcoxon

    runs = min(len(first.valid), len(second.valid))
    difference = first.valid[:runs, trial - 1] - second.valid[:runs, trial - 1]
    difference = difference[~np.isnan(difference)]
    p = 1.0
    if np.any(np.abs(difference) > _TOLERANCE):
        p = float(wilcoxon(np.round(difference, 9), zero_method="pratt").pvalue)
    mean = float(difference.mean()) if len(difference) else np.nan
    return Test(first.algorithm, second.algorithm, trial, len(difference), mean, p)
