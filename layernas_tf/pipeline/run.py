"""One search from its configuration to the report."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
import pathlib
import shutil
import socket
import time
from typing import TYPE_CHECKING

from rich.console import Console

from layernas_tf.core.files import read_json, write_json, writing
from layernas_tf.core.workdir import check_workdir, lock_workdir, open_workdir
from layernas_tf.costs.latency import check_same_table
from layernas_tf.datasets.data_check import DATA_CHECK
from layernas_tf.datasets.file_progress import file_progress
from layernas_tf.pipeline import config as configuration
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.evaluation import make_executor, shared_segments
from layernas_tf.pipeline.finals import (
    Finals,
    FinalTrainer,
    choose_finalists,
    run_finals,
)
from layernas_tf.pipeline.loop import search
from layernas_tf.pipeline.results import (
    file_table,
    latency_notes,
    memory_notes,
    metrics_json,
    network_table,
    notes_about,
    report_data,
)
from layernas_tf.pipeline.task import Task, load_task
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.report import ExportedFile, write_report
from layernas_tf.study.storage import OBJECTIVE, sqlite_url
from layernas_tf.study.study import Study, open_study

if TYPE_CHECKING:
    from layernas_tf.training.recipe import Recipe


def export(
    task: Task, finals: Finals, folder: pathlib.Path
) -> tuple[list[ExportedFile], float]:
    """Writes winner/: the Keras model, both TFLite files, and the architecture.

    What an earlier run has exported of the same weights is not made again.

    Returns:
      The files with their figures, and the seconds that it took.
    """
    started = time.monotonic()
    winner = folder / "winner"
    record = folder / "finals" / "export.json"
    names = ("model.keras", "model_float32.tflite", "model_int8.tflite")
    if record.exists() and all((winner / name).exists() for name in names):
        stored = read_json(record)
        if stored["weights"] == finals.weights.name:
            return [ExportedFile(**file) for file in stored["files"]], stored["seconds"]
    from export.conversion.keras_model import load_keras_model
    from export.exporter import export_winner

    record.unlink(missing_ok=True)
    with writing(winner / "model.keras") as temporary:
        shutil.copyfile(finals.weights, temporary)
    write_json(
        winner / "architecture.json", task.space.to_json(finals.winner.architecture)
    )
    model = load_keras_model(str(winner / "model.keras"))
    exported = export_winner(model, task.dataset, str(winner), ("float32", "int8"))
    files = [
        ExportedFile(
            name="winner/model.keras",
            format="Keras",
            bytes=(winner / "model.keras").stat().st_size,
            test_accuracy=finals.winner_trainings[0].test_accuracy,
        )
    ]
    for file in exported:
        files.append(
            ExportedFile(
                name=f"winner/{pathlib.Path(file.path).name}",
                format=f"TFLite {file.format}",
                bytes=file.file_bytes,
                test_accuracy=file.accuracy,
                agreement=file.agreement,
                latency_ms=file.latency_ms,
                arena_bytes=file.arena_bytes,
                note=f"run and timed by {file.runtime}, one thread",
            )
        )
    seconds = time.monotonic() - started
    write_json(
        record,
        {
            "weights": finals.weights.name,
            "seconds": seconds,
            "files": [dataclasses.asdict(file) for file in files],
        },
    )
    return files, seconds


def run(config: SearchConfig, workdir: str, console: Console) -> None:
    """The whole job: search, final trainings, export, report.

    Raises:
      UserError: See the message.
    """
    say = functools.partial(
        console.print, soft_wrap=True, markup=False, highlight=False
    )
    folder = pathlib.Path(workdir)
    check_workdir(folder)
    configuration.check_resume(config, folder / "config.json")
    kept_check = folder / DATA_CHECK
    with file_progress(console) as progress:
        task = load_task(config, kept_check=str(kept_check), progress=progress)
    kept = folder / "latency_table.json"
    check_same_table(task.latency, kept, resumed=(folder / "config.json").exists())
    open_workdir(folder)
    with lock_workdir(folder):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = open_study(
            config.storage or sqlite_url(folder / "study.db"),
            (config.study or str(folder.resolve())) if config.storage else "search",
            task.space,
            task.budgets,
            task.make_algorithm,
            # The same after a restart: what this workdir was at is its own again.
            driver=f"{socket.gethostname()}:{folder.resolve()}"
            if config.storage
            else "",
            settings=config.settings() if config.storage else None,
            objective="reward" if config.evaluator else OBJECTIVE,
        )
        if task.latency is not None:
            with writing(kept) as temporary:
                shutil.copyfile(task.latency.path, temporary)
        if task.dataset.check is not None:
            write_json(kept_check, task.dataset.check.to_json())
        configuration.save(config, folder / "config.json")
        for line in _description(task, study):
            say(line)
        with contextlib.closing(make_executor(task, folder, say)) as executor:
            search(
                study,
                executor,
                config.trials,
                TrialsCsv(folder / "trials.csv", task.space, task.budgets),
                folder / "tensorboard",
                console,
            )
        say("Final training of the best candidates and the default architecture.")
        finals = run_finals(
            FinalTrainer(
                folder / "finals",
                task.space,
                task.dataset,
                task.final_recipe,
                shared_segments(),
            ),
            choose_finalists(study, config.finalists),
            task.space.default,
            seed=config.seed,
            seeds=config.final_seeds,
            say=say,
        )
        say("Exporting the winner and running the files on the test set.")
        files, export_seconds = export(task, finals, folder)
        notes = notes_about(study, finals)
        notes += latency_notes(study, finals, files, task.latency)
        notes += memory_notes(study, finals, files)
        facts = {
            **config.to_json(),
            "workdir": workdir,
            "proxy recipe": _one_line(task.proxy_recipe),
            "final recipe": _one_line(task.final_recipe),
        }
        seconds = {
            "search": sum(trial.seconds or 0 for trial in study.trials),
            "final training": finals.seconds,
            "export": export_seconds,
        }
        write_json(
            folder / "winner" / "metrics.json",
            metrics_json(study, finals, files, facts, notes),
        )
        with writing(folder / "report.html") as temporary:
            write_report(
                report_data(
                    study,
                    finals,
                    files,
                    config=facts,
                    notes=notes,
                    seconds=seconds,
                    dataset=task.dataset,
                ),
                temporary,
            )
    console.print(network_table(study, finals))
    console.print(file_table(files))
    for note in notes:
        say(f"Note: {note}")
    say(f"Results in {folder}: report.html, trials.csv, winner/, tensorboard/")


def _description(task: Task, study: Study) -> list[str]:
    config, dataset = task.config, task.dataset
    budgets = " and ".join(map(str, task.budgets)) or "no budget"
    shape = "x".join(map(str, dataset.shape))
    lines = [
        f"{config.algorithm} on {task.space.name} ({task.space.size:.3g} "
        f"architectures) under {budgets}",
        f"{dataset.name}: {dataset.train.size:,} images to train, "
        f"{dataset.valid.size:,} to validate, {dataset.test.size:,} to test, {shape}, "
        f"{dataset.classes} classes; trained on {_device()}",
    ]
    if dataset.check is not None:
        lines += dataset.check.lines()
    else:
        lines += [f"Note: {note}" for note in dataset.notes]
    if dataset.frame is not None and config.dataset.startswith("folder:"):
        lines.append(f"Network's input: {dataset.frame.sentence()}")
    if task.latency is not None:
        lines.append(f"Latency: {task.latency}.")
    if study.trials:
        lines.append(f"Resuming after {len(study.trials)} trials.")
    return lines


def _device() -> str:
    """What Keras computes on; a GPU that its library does not find is not used."""
    import keras

    devices = keras.distribution.list_devices()
    kinds = collections.Counter(device.split(":")[0] for device in devices)
    return ", ".join(f"{count} {kind.upper()}" for kind, count in kinds.items())


def _one_line(recipe: Recipe) -> str:
    return json.dumps(dataclasses.asdict(recipe)).strip("{}").replace('"', "")
