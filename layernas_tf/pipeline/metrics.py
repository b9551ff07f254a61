"""winner/metrics.json: the figures of the winner for programs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from layernas_tf.pipeline.class_figures import class_metrics
from layernas_tf.pipeline.final_trainer import Training
from layernas_tf.pipeline.finals import Finals
from layernas_tf.report import ExportedFile
from layernas_tf.space.budget import inside
from layernas_tf.study.study import Study


def metrics_json(
    study: Study,
    finals: Finals,
    files: Sequence[ExportedFile],
    config: Mapping[str, Any],
    notes: Sequence[str],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """The content of winner/metrics.json; accuracies in 0..1, costs by metric."""
    winner = finals.winner
    cost = study.space.costs(winner.architecture)
    return {
        "space": study.space.name,
        "dataset": config["dataset"],
        "algorithm": config["algorithm"],
        "budgets": [str(budget) for budget in study.budgets],
        "inside_budget": inside(study.budgets, cost),
        "trials": len(study.trials),
        "trial": winner.trial,
        "proxy_reward": winner.proxy_reward,
        "costs": cost,
        **accuracies(finals.winner_trainings),
        **class_metrics(finals.winner_trainings, class_names),
        "default": {
            "costs": study.space.costs(study.space.default),
            **accuracies(finals.default_trainings),
            **class_metrics(finals.default_trainings, class_names),
        },
        "files": {
            file.name: {
                "bytes": file.bytes,
                "test_accuracy": file.test_accuracy,
                "agreement": file.agreement,
                "latency_ms": file.latency_ms,
                "arena_bytes": file.arena_bytes,
            }
            for file in files
        },
        "notes": list(notes),
    }


def accuracies(trainings: Sequence[Training]) -> dict[str, Any]:
    """Figures of one network's trainings; means over the seeds that were tested."""
    tested = [t.test_accuracy for t in trainings if t.test_accuracy is not None]
    losses = [t.test_loss for t in trainings if t.test_loss is not None]
    return {
        "valid_accuracy": trainings[0].valid_accuracy if trainings else None,
        "test_accuracy": statistics.mean(tested) if tested else None,
        "test_accuracy_by_seed": {t.seed: t.test_accuracy for t in trainings},
        "test_loss": statistics.mean(losses) if losses else None,
    }
