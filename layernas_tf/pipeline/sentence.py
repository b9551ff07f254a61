"""The sentence that a search ends with."""

from __future__ import annotations

from layernas_tf.pipeline.finals import Finals
from layernas_tf.report.verdict import comparison_sentence, equal_cost
from layernas_tf.study.study import Study


def finals_sentence(study: Study, finals: Finals) -> str:
    """The winner against the baseline, with the interval, in one sentence."""
    baseline = finals.baseline
    if baseline is None:
        return comparison_sentence(None, same=False, baseline=None, cost="")
    metrics = [budget.metric for budget in finals.target.budgets]
    cost = equal_cost(
        study.space.costs(finals.winner.architecture),
        baseline.costs,
        metrics or [study.space.metrics[0].name],
        study.space,
    )
    same = baseline.width is None and (
        baseline.architecture == finals.winner.architecture
    )
    return comparison_sentence(
        finals.comparison, same=same, baseline=baseline.name, cost=cost
    )
