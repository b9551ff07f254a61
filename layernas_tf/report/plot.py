"""The trials of a search as a picture for notebooks and papers."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.report.wording import axis_title
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.types import Metric
from layernas_tf.study.trial import Trial

if TYPE_CHECKING:
    import matplotlib.figure

_INSIDE, _OUTSIDE, _BEST = "#1f77b4", "#bbbbbb", "#d62728"


def plot_trials(
    trials: Sequence[Trial], metric: Metric, budgets: Sequence[Budget] = ()
) -> matplotlib.figure.Figure:
    """Rewards over trials, with the best so far, and rewards against cost.

    Args:
      trials: Trials of a study; failed and running ones are left out.
      metric: The cost of the right-hand panel.
      budgets: The budgets; trials outside them are grey.

    Returns:
      A figure that belongs to no window.
    """
    from matplotlib.figure import Figure

    done = [trial for trial in trials if trial.reward is not None]
    numbers = np.array([trial.number for trial in done])
    rewards = np.array([trial.reward for trial in done], float)
    costs = np.array([trial.costs[metric.name] for trial in done])
    fits = np.array([inside(budgets, trial.costs) for trial in done], bool)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, values in ((left, numbers), (right, costs)):
        axes.scatter(values[fits], rewards[fits], 16, _INSIDE, label="inside")
        if not fits.all():
            axes.scatter(values[~fits], rewards[~fits], 16, _OUTSIDE, label="outside")
        axes.grid(alpha=0.3)
    if fits.any():
        best = np.maximum.accumulate(rewards[fits])
        left.step(numbers[fits], best, color=_BEST, where="post", label="best so far")
    left.set(xlabel="trial", ylabel="reward")
    left.legend(loc="lower right")
    right.set(xlabel=axis_title(metric))
    for budget in budgets:
        if budget.metric == metric.name and np.isfinite(budget.upper):
            right.axvline(budget.upper, color="black", linestyle=":", linewidth=1)
    # A notebook shows what has this method, whatever its matplotlib backend is.
    setattr(figure, "_repr_png_", functools.partial(_png, figure))  # noqa: B010
    return figure


def _png(figure: matplotlib.figure.Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
