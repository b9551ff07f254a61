"""Everything that the report of a finished search shows."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import platform
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.algorithms.layernas_bayes import LayerNASBayes
from layernas_tf.algorithms.memorial_table import table_of_trials
from layernas_tf.datasets.samples import sample_images
from layernas_tf.pipeline.class_figures import confusion_of
from layernas_tf.pipeline.export_winner import ExportedWinner
from layernas_tf.pipeline.final_trainer import Training
from layernas_tf.pipeline.finalists import Finalist
from layernas_tf.pipeline.finals import Finals
from layernas_tf.pipeline.metrics import accuracies
from layernas_tf.pipeline.sentence import finals_sentence
from layernas_tf.report import (
    NO_LONGER,
    ClassFigures,
    FamilyMember,
    LayerEffects,
    MemorialCell,
    MemorialSnapshot,
    ReportData,
    ReportTrial,
    TrainedNetwork,
)
from layernas_tf.space.types import Architecture
from layernas_tf.study.study import NOT_BELIEVED, Study
from layernas_tf.study.trial import Trial

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset


def report_data(
    study: Study,
    winners: Sequence[ExportedWinner],
    *,
    config: Mapping[str, Any],
    notes: Sequence[str],
    seconds: Mapping[str, float],
    dataset: Dataset,
    reward_name: str,
    reward_is_share: bool,
) -> ReportData:
    """Everything that report.html shows; `winners` has the largest budget's first."""
    finals = winners[0].finals
    return ReportData(
        space=study.space,
        budgets=study.budgets,
        trials=report_trials(study.trials),
        dataset=config["dataset"],
        algorithm=config["algorithm"],
        winner=finals.winner.architecture,
        trained=tuple(
            network
            for winner in winners
            for network in _trained(study, winner.finals, first=winner is winners[0])
        ),
        family=tuple(_member(study, winner.finals) for winner in winners),
        memorial=memorial(study),
        effects=effects(study),
        files=tuple(file for winner in winners for file in winner.files),
        config=config,
        versions=versions(),
        seconds=seconds,
        check=dataset.check,
        samples=sample_images(dataset) if dataset.check else {},
        baseline_name=_baseline_name(finals),
        verdict=finals_sentence(study, finals),
        classes=_class_figures(finals, dataset.class_names),
        notes=tuple(notes),
        made=time.strftime("%Y-%m-%d %H:%M"),
        reward_name=reward_name,
        reward_is_share=reward_is_share,
        valid_images=dataset.valid.size,
    )


def report_trials(trials: Sequence[Trial]) -> tuple[ReportTrial, ...]:
    """The trials as report.html shows them."""
    return tuple(
        ReportTrial(
            number=trial.number,
            architecture=trial.architecture,
            costs=trial.costs,
            reward=trial.reward,
            state=NO_LONGER if trial.reason == NOT_BELIEVED else trial.state,
            reason=trial.reason,
            seconds=trial.seconds,
        )
        for trial in trials
    )


def _class_figures(finals: Finals, names: tuple[str, ...]) -> ClassFigures | None:
    winner = confusion_of(finals.winner_trainings)
    if winner is None:
        return None
    other = confusion_of(finals.baseline_trainings)
    return ClassFigures(names, winner, other, _baseline_name(finals))


def _baseline_name(finals: Finals) -> str:
    return "" if finals.baseline is None else finals.baseline.name


def _network(
    name: str,
    architecture: Architecture,
    costs: Mapping[str, float],
    trainings: Sequence[Training],
    finalist: Finalist | None = None,
) -> TrainedNetwork:
    figures = accuracies(trainings)
    return TrainedNetwork(
        name=name,
        architecture=architecture,
        costs=costs,
        trial=finalist.trial if finalist else None,
        proxy_reward=finalist.proxy_reward if finalist else None,
        valid_accuracy=figures["valid_accuracy"],
        test_accuracy=figures["test_accuracy"],
        test_interval=figures["test_interval"],
        expected_quality=finalist.quality if finalist else None,
        trainings=len(trainings),
        epochs=trainings[0].epochs if trainings else None,
        seconds=trainings[0].seconds if trainings else None,
    )


def _winner(study: Study, finals: Finals) -> TrainedNetwork:
    winner = finals.winner
    costs = study.space.costs(winner.architecture)
    trainings = finals.winner_trainings
    return _network("winner", winner.architecture, costs, trainings, winner)


def _baseline(finals: Finals) -> TrainedNetwork | None:
    baseline = finals.baseline
    if baseline is None:
        return None
    trainings = finals.baseline_trainings
    return _network(baseline.name, baseline.architecture, baseline.costs, trainings)


def _member(study: Study, finals: Finals) -> FamilyMember:
    return FamilyMember(
        budget=str(finals.target),
        winner=_winner(study, finals),
        baseline=_baseline(finals),
        verdict=finals_sentence(study, finals),
    )


def _trained(study: Study, finals: Finals, *, first: bool) -> list[TrainedNetwork]:
    """Winner, baseline and other finalists; of smaller budgets only the first two."""
    winner = dataclasses.replace(_winner(study, finals), name=finals.target.folder)
    networks = [winner, _baseline(finals)]
    for number, (finalist, training) in enumerate(finals.finalists, 1):
        if first and finalist is not finals.winner:
            architecture = finalist.architecture
            costs = study.space.costs(architecture)
            name = f"finalist {number}"
            networks.append(_network(name, architecture, costs, (training,), finalist))
    return [network for network in networks if network is not None]


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
    """The effects of options that `layernas_bayes` learned; empty for others."""
    algorithm = study.algorithm
    if not isinstance(algorithm, LayerNASBayes):
        return ()
    learned = {(e.layer, e.index): e for e in algorithm.learned_effects()}
    found = []
    for index in study.space.searched_layers:
        layer = study.space.layers[index]
        options = range(len(layer.options))
        effects = [learned.get((layer.name, option)) for option in options]
        found.append(
            LayerEffects(
                layer.name,
                tuple(e.worth if e else math.nan for e in effects),
                tuple(e.deviation if e else math.nan for e in effects),
            )
        )
    return tuple(found)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that trained, searched and converted."""
    found = {"python": platform.python_version()}
    for name in ("tensorflow", "keras", "optuna", "numpy", "tflite-runtime"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
