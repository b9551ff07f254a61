"""The results of a finished search: metrics.json, the report, the tables at the end."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.algorithms.layernas_bayes import LayerNASBayes
from layernas_tf.algorithms.memorial_table import table_of_trials
from layernas_tf.costs.latency import LatencyTable
from layernas_tf.datasets.samples import sample_images
from layernas_tf.pipeline.class_figures import class_metrics, confusion_of
from layernas_tf.pipeline.finals import Finalist, Finals, Training
from layernas_tf.report import (
    ClassFigures,
    ExportedFile,
    LayerEffects,
    MemorialCell,
    MemorialSnapshot,
    ReportData,
    ReportTrial,
    TrainedNetwork,
)
from layernas_tf.report.wording import NONE, cost_text, share_text
from layernas_tf.space.budget import LATENCY, PEAK_MEMORY, inside
from layernas_tf.space.types import NETWORK_METRICS, Architecture, Metric
from layernas_tf.study.storage import OBJECTIVE
from layernas_tf.study.study import Study

if TYPE_CHECKING:
    from rich.table import Table

    from layernas_tf.datasets import Dataset


def notes_about(study: Study, finals: Finals) -> list[str]:
    """Warnings that the reader of the results must not miss."""
    notes = []
    if finals.winner.trial is None:
        notes.append(
            "No candidate of the search was inside the budget when it ended: the "
            "winner is the best prefix found, completed inside the budget, and was "
            "first trained after the search. More trials would search it to the end."
        )
    if not study.exact:
        notes.append(
            "The algorithm did not propose again what this study's first trials say "
            "(another version?): it was told their results and went on from there."
        )
    if not finals.default_trainings:
        notes.append("The default architecture could not be trained for comparison.")
    failed = sum(trial.state == "failed" for trial in study.trials)
    if failed:
        notes.append(f"{failed} of {len(study.trials)} trials failed.")
    return notes


def latency_notes(
    study: Study,
    finals: Finals,
    files: Sequence[ExportedFile],
    table: LatencyTable | None,
) -> list[str]:
    """Compares the winner's latency on this machine with the latency table's."""
    if table is None:
        return []
    expected = study.space.costs(finals.winner.architecture)[LATENCY]
    text = f"The latency table gives the winner {expected:.3g} ms ({table})"
    for file in files:
        if file.format == f"TFLite {table.format}" and file.latency_ms is not None:
            text += f"; {file.name} took {file.latency_ms:.3g} ms here, {file.note}"
    return [f"{text}."]


def memory_notes(
    study: Study, finals: Finals, files: Sequence[ExportedFile]
) -> list[str]:
    """Compares the memory of the winner's activations with what the search counted.

    Only for a budget on this memory: TFLite's planner may leave gaps, which no sum or
    maximum along the chain can take into account.
    """
    for budget in study.budgets:
        for file in files:
            if budget.metric != PEAK_MEMORY or file.format != "TFLite int8":
                continue
            if file.arena_bytes is None:
                continue
            metric = Metric(PEAK_MEMORY, unit="bytes")
            taken = cost_text(file.arena_bytes, metric)
            counted = study.space.costs(finals.winner.architecture)[PEAK_MEMORY]
            text = (
                f"The activations of {file.name} take {taken} in TFLite's interpreter; "
                f"the search counted {cost_text(counted, metric)}"
            )
            if file.arena_bytes > budget.high:
                text += f". That is outside {budget}: search again with a lower limit"
            return [f"{text}."]
    return []


_AGREEING = 0.97
"""A quantized file that agrees with the Keras model on less of the test images is
named."""


def agreement_notes(files: Sequence[ExportedFile]) -> list[str]:
    """Quantized files that say other classes than the Keras model, and what to try."""
    others = {"int8": "qat_int8", "qat_int8": "float16"}
    notes = []
    for file in files:
        form = file.format.removeprefix("TFLite ")
        if file.agreement is None or file.agreement >= _AGREEING or form == "float32":
            continue
        text = (
            f"{file.name} gives the Keras model's class on only "
            f"{share_text(file.agreement)} of the test images (expected at least "
            f"{_AGREEING:.0%}); its test accuracy is {share_text(file.test_accuracy)}."
        )
        other = others.get(form, "float16")
        if form == "int8":
            text += (
                " Try --formats=float32,int8,qat_int8 (a short training with "
                "rounding), or dynamic or float16 where integers are not needed."
            )
        elif other != form:
            text += f" Try {other}, or longer final trainings (--final_epochs)."
        else:
            text += " Try float32: its numbers are out of float16's range."
        notes.append(text)
    return notes


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
        **_accuracies(finals.winner_trainings),
        **class_metrics(finals.winner_trainings, class_names),
        "default": {
            "costs": study.space.costs(study.space.default),
            **_accuracies(finals.default_trainings),
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


def _accuracies(trainings: Sequence[Training]) -> dict[str, Any]:
    tested = [t.test_accuracy for t in trainings if t.test_accuracy is not None]
    losses = [t.test_loss for t in trainings if t.test_loss is not None]
    return {
        "valid_accuracy": trainings[0].valid_accuracy if trainings else None,
        "test_accuracy": statistics.mean(tested) if tested else None,
        "test_accuracy_by_seed": {t.seed: t.test_accuracy for t in trainings},
        "test_loss": statistics.mean(losses) if losses else None,
    }


def report_data(
    study: Study,
    finals: Finals,
    files: Sequence[ExportedFile],
    *,
    config: Mapping[str, Any],
    notes: Sequence[str],
    seconds: Mapping[str, float],
    dataset: Dataset,
) -> ReportData:
    """Everything that report.html shows."""
    return ReportData(
        space=study.space,
        budgets=study.budgets,
        trials=tuple(
            ReportTrial(
                number=trial.number,
                architecture=trial.architecture,
                costs=trial.costs,
                reward=trial.reward,
                state=trial.state,
                reason=trial.reason,
                seconds=trial.seconds,
            )
            for trial in study.trials
        ),
        dataset=config["dataset"],
        algorithm=config["algorithm"],
        winner=finals.winner.architecture,
        trained=_trained(study, finals),
        memorial=memorial(study),
        effects=effects(study),
        files=tuple(files),
        config=config,
        versions=versions(),
        seconds=seconds,
        check=dataset.check,
        samples=sample_images(dataset) if dataset.check else {},
        classes=_class_figures(finals, dataset.class_names),
        notes=tuple(notes),
        made=time.strftime("%Y-%m-%d %H:%M"),
        reward_name="reward" if config.get("evaluator") else OBJECTIVE,
        reward_is_share=not config.get("evaluator"),
    )


def _class_figures(finals: Finals, names: tuple[str, ...]) -> ClassFigures | None:
    winner = confusion_of(finals.winner_trainings)
    if winner is None:
        return None
    return ClassFigures(names, winner, confusion_of(finals.default_trainings))


def _trained(study: Study, finals: Finals) -> tuple[TrainedNetwork, ...]:
    def network(
        name: str,
        architecture: Architecture,
        trainings: Sequence[Training],
        finalist: Finalist | None = None,
    ) -> TrainedNetwork:
        figures = _accuracies(trainings)
        return TrainedNetwork(
            name=name,
            architecture=architecture,
            costs=study.space.costs(architecture),
            trial=finalist.trial if finalist else None,
            proxy_reward=finalist.proxy_reward if finalist else None,
            valid_accuracy=figures["valid_accuracy"],
            test_accuracy=figures["test_accuracy"],
            seconds=trainings[0].seconds if trainings else None,
        )

    winner = finals.winner
    networks = [
        network("winner", winner.architecture, finals.winner_trainings, winner),
        network("default", study.space.default, finals.default_trainings),
    ]
    for number, (finalist, training) in enumerate(finals.finalists, 1):
        if finalist is not winner:
            name = f"finalist {number}"
            networks.append(
                network(name, finalist.architecture, (training,), finalist)
                if training.test_accuracy is not None
                else TrainedNetwork(
                    name=name,
                    architecture=finalist.architecture,
                    costs=study.space.costs(finalist.architecture),
                    trial=finalist.trial,
                    proxy_reward=finalist.proxy_reward,
                    valid_accuracy=training.valid_accuracy,
                    seconds=training.seconds,
                )
            )
    return tuple(networks)


def memorial(study: Study) -> MemorialSnapshot | None:
    """LayerNAS' memorial table, for other algorithms filled with their trials."""
    space, algorithm = study.space, study.algorithm
    if isinstance(algorithm, LayerNAS):
        table = algorithm.table
    else:
        metric = study.budgets[0].metric if study.budgets else space.metrics[0].name
        done = [
            (trial.architecture, trial.reward)
            for trial in study.trials
            if trial.reward is not None
        ]
        table = table_of_trials(space, metric, done)
    if not any(table.kept):
        return None
    rows = {}
    for depth, layer in enumerate(table.layers):
        rows[space.layers[layer].name] = {
            bucket: MemorialCell(
                *table.bucket_range(depth, bucket),
                reward=entries[0].reward,
                architecture=entries[0].architecture,
            )
            for bucket, entries in sorted(table.kept[depth].items())
        }
    return MemorialSnapshot(table.metric, rows)


def effects(study: Study) -> tuple[LayerEffects, ...]:
    """The effects of every option that `layernas_bayes` learned; empty for others."""
    algorithm = study.algorithm
    if not isinstance(algorithm, LayerNASBayes):
        return ()
    learned = algorithm.learned_effects()
    names = dict.fromkeys(effect.layer for effect in learned)
    return tuple(
        LayerEffects(
            name,
            tuple(effect.worth for effect in learned if effect.layer == name),
            tuple(effect.deviation for effect in learned if effect.layer == name),
        )
        for name in names
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that trained, searched and converted."""
    found = {"python": platform.python_version()}
    for name in ("tensorflow", "keras", "optuna", "numpy", "tflite-runtime"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def network_table(study: Study, finals: Finals) -> Table:
    """The winner beside the default architecture, both trained with the same recipe."""
    metrics = [budget.metric for budget in study.budgets]
    own = set(study.space.chain.metrics) - {metric.name for metric in NETWORK_METRICS}
    shown = {*metrics, "params", "model_bytes", *own}
    order = [*metrics, "params", "model_bytes", *study.space.chain.metrics]
    metrics = [
        name
        for name in dict.fromkeys(order)
        if name in shown and name in study.space.chain.metrics
    ]
    table = _table("", "validation", "test", *metrics)

    def row(
        name: str, architecture: Architecture, trainings: Sequence[Training]
    ) -> None:
        cost = study.space.costs(architecture)
        figures = _accuracies(trainings)
        table.add_row(
            name,
            share_text(figures["valid_accuracy"]),
            share_text(figures["test_accuracy"]),
            *(
                cost_text(cost[name], study.space.metric(name), unit=False)
                for name in metrics
            ),
        )

    row("winner", finals.winner.architecture, finals.winner_trainings)
    row("default", study.space.default, finals.default_trainings)
    return table


def file_table(files: Sequence[ExportedFile]) -> Table:
    """The exported files, run on the test set."""
    table = _table("file", "size", "test", "agreement", "latency")
    size = Metric("size", unit="bytes")
    for file in files:
        latency = file.latency_ms
        table.add_row(
            file.name,
            cost_text(file.bytes, size),
            share_text(file.test_accuracy),
            share_text(file.agreement),
            NONE if latency is None else f"{latency:.3g} ms",
        )
    return table


def _table(first: str, *others: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
