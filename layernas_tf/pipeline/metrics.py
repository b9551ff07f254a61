"""winner/metrics.json: the figures of the winner for programs."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from layernas_tf.pipeline.baseline import DEFAULT
from layernas_tf.pipeline.class_figures import class_metrics
from layernas_tf.pipeline.final_trainer import Training
from layernas_tf.pipeline.finals import Finals
from layernas_tf.pipeline.sentence import finals_sentence
from layernas_tf.report import ExportedFile
from layernas_tf.space.budget import inside
from layernas_tf.study.study import Study
from layernas_tf.training.paired import accuracy_interval


def metrics_json(
    study: Study,
    finals: Finals,
    files: Sequence[ExportedFile],
    config: Mapping[str, Any],
    notes: Sequence[str],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """The content of winner/metrics.json; accuracies in 0..1, costs by metric."""
    winner, baseline = finals.winner, finals.baseline
    trained = baseline is not None and baseline.name == DEFAULT
    default = finals.baseline_trainings if trained else ()
    cost = study.space.costs(winner.architecture)
    return {
        "space": study.space.name,
        "dataset": config["dataset"],
        "algorithm": config["algorithm"],
        "budgets": [str(budget) for budget in finals.target.budgets],
        "inside_budget": inside(finals.target.budgets, cost),
        "trials": len(study.trials),
        "trial": winner.trial,
        "proxy_reward": winner.proxy_reward,
        "expected_quality": winner.quality,
        "why": finals.reason,
        "costs": cost,
        **accuracies(finals.winner_trainings),
        **class_metrics(finals.winner_trainings, class_names),
        "default": {
            "costs": study.space.costs(study.space.default),
            **accuracies(default),
            **class_metrics(default, class_names),
        },
        "baseline": _baseline(finals, class_names),
        "comparison": _comparison(finals, finals_sentence(study, finals)),
        "files": {
            file.name: {
                "bytes": file.bytes,
                "test_accuracy": file.test_accuracy,
                "difference": file.difference,
                "difference_interval": file.difference_interval,
                "agreement": file.agreement,
                "latency_ms": file.latency_ms,
                "arena_bytes": file.arena_bytes,
            }
            for file in files
        },
        "notes": list(notes),
    }


def _baseline(finals: Finals, class_names: Sequence[str]) -> dict[str, Any] | None:
    baseline = finals.baseline
    if baseline is None:
        return None
    return {
        "name": baseline.name,
        "architecture": list(baseline.architecture),
        "width": baseline.width,
        "costs": dict(baseline.costs),
        **accuracies(finals.baseline_trainings),
        **class_metrics(finals.baseline_trainings, class_names),
    }


def _comparison(finals: Finals, sentence: str) -> dict[str, Any]:
    comparison = finals.comparison
    figures = {} if comparison is None else dataclasses.asdict(comparison)
    return {**figures, "sentence": sentence}


def accuracies(trainings: Sequence[Training]) -> dict[str, Any]:
    """Figures of one network's trainings; means over the seeds that were tested."""
    tested = [t.test_accuracy for t in trainings if t.test_accuracy is not None]
    losses = [t.test_loss for t in trainings if t.test_loss is not None]
    return {
        "valid_accuracy": trainings[0].valid_accuracy if trainings else None,
        "test_accuracy": statistics.mean(tested) if tested else None,
        "test_interval": test_interval(trainings),
        "test_accuracy_by_seed": {t.seed: t.test_accuracy for t in trainings},
        "test_loss": statistics.mean(losses) if losses else None,
    }


def test_interval(trainings: Sequence[Training]) -> tuple[float, float] | None:
    """The interval of the mean test accuracy, from the number of test images."""
    tested = [t for t in trainings if t.test_accuracy is not None]
    if not tested or tested[0].test_confusion is None:
        return None
    images = sum(map(sum, tested[0].test_confusion))
    mean = statistics.mean(t.test_accuracy or 0.0 for t in tested)
    return accuracy_interval(mean, images)
