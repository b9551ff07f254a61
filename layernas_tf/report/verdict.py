"""The comparison of the winner with the baseline, in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layernas_tf.report.wording import change_text, counted, metric_of, metric_title
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.training.paired import Comparison

_EQUAL = 0.05
"""The relative difference up to which two costs are called equal."""


def verdict(comparison: Comparison, baseline: str, cost: str) -> str:
    """Says whether the winner is better, by how much, and how sure that is.

    Example:
      >>> comparison = Comparison(0.023, 0.004, 0.042, 0.02, images=1000, seeds=3)
      >>> print(verdict(comparison, "default network", "at equal MAdds"))
      The winner is 2.3 points above the default network at equal MAdds (95 % interval 0.4 to 4.2, 1,000 test images, mean of 3 trainings each).

    Args:
      comparison: The winner's accuracy on the test images against the baseline's.
      baseline: What the baseline is.
      cost: The costs compared, as `equal_cost` writes them.
    """  # noqa: E501
    images = counted(comparison.images, "test image")
    seeds = comparison.seeds
    averaged = f"mean of {seeds} trainings each" if seeds > 1 else "one training each"
    if comparison.told:
        sign = 1 if comparison.difference > 0 else -1
        ends = sorted((sign * comparison.low, sign * comparison.high))
        low, high = (f"{100 * end:.1f}".replace("-", "−") for end in ends)
        return (
            f"The winner is {100 * abs(comparison.difference):.1f} points "
            f"{'above' if sign > 0 else 'below'} the {baseline} {cost} "
            f"(95 % interval {low} to {high}, {images}, {averaged})."
        )
    low, high = (
        f"{100 * end:+.1f}".replace("-", "−")
        for end in (comparison.low, comparison.high)
    )
    return (
        f"No difference from the {baseline} {cost} can be told with {images} "
        f"(95 % interval {low} to {high} points, {averaged})."
    )


def equal_cost(
    winner: Mapping[str, float],
    baseline: Mapping[str, float],
    metrics: Sequence[str],
    space: SearchSpace,
) -> str:
    """How the winner's costs compare: `at equal MAdds and 12 % less latency`.

    Args:
      winner: Costs of the winner, by metric.
      baseline: Costs of the baseline, by metric.
      metrics: Names of the metrics to compare.
      space: The search space of these metrics.
    """
    equal, different = [], []
    for name in dict.fromkeys(metrics):
        title = metric_title(metric_of(space, name))
        reference = baseline[name]
        if abs(winner[name] - reference) <= _EQUAL * abs(reference):
            equal.append(title)
        else:
            different.append(f"{change_text(winner[name], reference)} {title}")
    parts = ([f"equal {' and '.join(equal)}"] if equal else []) + different
    return f"at {' and '.join(parts)}"


def comparison_sentence(
    comparison: Comparison | None,
    *,
    same: bool,
    baseline: str | None,
    cost: str,
) -> str:
    """The verdict on a search's winner, or why there is none.

    Args:
      comparison: None if the baseline was not trained, or failed.
      same: Whether the winner is the baseline itself.
      baseline: What the baseline is; None if there is none.
      cost: As for `verdict`.
    """
    if baseline is None:
        return "The winner was compared with no other network."
    if same:
        return f"The winner is the {baseline} itself."
    if comparison is None:
        return f"The {baseline} could not be trained for comparison."
    return verdict(comparison, baseline, cost)
