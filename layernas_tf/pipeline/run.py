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
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from layernas_tf.core.files import read_json, write_json, writing
from layernas_tf.core.workdir import check_workdir
from layernas_tf.costs.latency import check_same_table
from layernas_tf.datasets.data_check import DATA_CHECK
from layernas_tf.datasets.file_progress import file_progress
from layernas_tf.pipeline import config as configuration
from layernas_tf.pipeline.class_figures import class_notes
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.evaluation import make_executor, shared_segments
from layernas_tf.pipeline.finals import (
    Finals,
    FinalTrainer,
    choose_finalists,
    run_finals,
)
from layernas_tf.pipeline.fingerprint import fingerprint
from layernas_tf.pipeline.fresh_start import in_workdir, set_aside
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.loop import search
from layernas_tf.pipeline.results import (
    agreement_notes,
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
from layernas_tf.study.trial import Trial

if TYPE_CHECKING:
    from layernas_tf.training.recipe import Recipe


Exporter = Callable[..., Sequence[Any]]
"""Takes a Keras model, a data set, a folder, formats, and by name `input_type` and
`network` (space and architecture); writes `model_FORMAT.tflite` files there and returns
their figures."""


@dataclasses.dataclass(frozen=True, eq=False)
class FinishedSearch:
    """Everything that a finished search has produced.

    Example:
      finished = run(config, "runs/digits", Console(), inputs, export_winner)
      print(finished.finals.winner.architecture, finished.seconds)

    Attributes:
      folder: The workdir.
      task: The data set, the space, the budgets and the recipes.
      study: Every trial.
      finals: The final trainings; None if nothing was trained.
      files: The exported files.
      notes: Warnings that the reader of the results must not miss.
      seconds: Duration by phase.
    """

    folder: pathlib.Path
    task: Task
    study: Study
    finals: Finals | None
    files: tuple[ExportedFile, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]


def run(
    config: SearchConfig,
    workdir: str,
    console: Console,
    inputs: Inputs,
    exporter: Exporter,
    callbacks: Sequence[Callable[[Trial], None]] = (),
) -> FinishedSearch:
    """Runs the whole search: trials, final trainings, export and report.

    Args:
      config: The configuration.
      workdir: Folder for all files; a search that was begun there is resumed.
      console: Shows the progress and the results.
      inputs: The parts of the search that are given as objects.
      exporter: Writes the .tflite files, as `export.exporter.export_winner` does.
      callbacks: Called with each finished trial.

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
        task = load_task(config, inputs, kept_check=str(kept_check), progress=progress)
    kept = folder / "latency_table.json"
    check_same_table(task.latency, kept, resumed=(folder / "config.json").exists())
    studies: list[Study] = []
    with in_workdir(folder, lambda: any(study.trials for study in studies)):
        study = open_study_of(task, folder)
        studies.append(study)
        kept_aside = set_aside(folder) if study.renewed else None
        if task.latency is not None:
            with writing(kept) as temporary:
                shutil.copyfile(task.latency.path, temporary)
        if task.dataset is not None and task.dataset.check is not None:
            write_json(kept_check, task.dataset.check.to_json())
        configuration.save(config, folder / "config.json")
        if kept_aside:
            say(f"Searching anew; what was made before the change is in {kept_aside}.")
        for line in _description(task, study):
            say(line)
        search_candidates(task, study, folder, console, callbacks)
        if task.dataset is None:
            seconds = {"search": sum(trial.seconds or 0 for trial in study.trials)}
            return FinishedSearch(folder, task, study, None, (), (), seconds)
        say("Final training of the best candidates and the default architecture.")
        finals = train_finalists(task, study, folder, say)
        say("Exporting the winner and running the files on the test set.")
        files, export_seconds = export_finals(task, finals, folder, exporter)
        finished = write_results(task, study, finals, files, export_seconds, folder)
    console.print(network_table(study, finals))
    console.print(file_table(files))
    for note in finished.notes:
        say(f"Note: {note}")
    say(f"Results in {folder}: report.html, trials.csv, winner/, tensorboard/")
    return finished


def open_study_of(task: Task, folder: pathlib.Path) -> Study:
    """The study of a workdir or of the configuration's storage, made if it is new."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config = task.config
    trained = not config.evaluator and task.inputs.evaluator is None
    objective = OBJECTIVE if trained else "reward"
    if not config.storage:
        return open_study(
            sqlite_url(folder / "study.db"),
            "search",
            task.space,
            task.budgets,
            task.make_algorithm,
            objective=objective,
            fingerprint=fingerprint(task),
            accept_changes=config.accept_changes,
        )
    return open_study(
        config.storage,
        config.study or str(folder.resolve()),
        task.space,
        task.budgets,
        task.make_algorithm,
        # After a restart, the name is the same, and the driver resumes its own trials.
        driver=f"{socket.gethostname()}:{folder.resolve()}",
        settings=config.settings(),
        objective=objective,
        fingerprint=fingerprint(task),
        accept_changes=config.accept_changes,
    )


def search_candidates(
    task: Task,
    study: Study,
    folder: pathlib.Path,
    console: Console,
    callbacks: Sequence[Callable[[Trial], None]] = (),
) -> None:
    """Evaluates candidates until the study has as many trials as configured."""
    say = functools.partial(
        console.print, soft_wrap=True, markup=False, highlight=False
    )
    with contextlib.closing(make_executor(task, folder, say)) as executor:
        search(
            study,
            executor,
            task.config.trials,
            TrialsCsv(folder / "trials.csv", task.space, task.budgets),
            folder / "tensorboard",
            console,
            callbacks,
        )


def train_finalists(
    task: Task, study: Study, folder: pathlib.Path, say: Callable[[str], None]
) -> Finals:
    """Trains the best candidates with the final recipe; one of them wins."""
    config = task.config
    assert task.dataset is not None and task.final_recipe is not None
    trainer = FinalTrainer(
        folder / "finals",
        task.space,
        task.dataset,
        task.final_recipe,
        shared_segments(),
    )
    return run_finals(
        trainer,
        choose_finalists(study, config.finalists),
        task.space.default,
        seed=config.seed,
        seeds=config.final_seeds,
        say=say,
        reward=config.reward,
    )


def export_finals(
    task: Task, finals: Finals, folder: pathlib.Path, exporter: Exporter
) -> tuple[list[ExportedFile], float]:
    """Writes winner/: the Keras model, the TFLite files, and the architecture.

    Files that an earlier run exported from the same weights are not made again.

    Args:
      task: The search.
      finals: The winner and its weights.
      folder: The workdir.
      exporter: Writes the .tflite files, checks and times them.

    Returns:
      The files with their figures, and the seconds that it took.
    """
    started = time.monotonic()
    winner = folder / "winner"
    record = folder / "finals" / "export.json"
    config = task.config
    about = {
        "weights": finals.weights.name,
        "formats": list(config.format_names),
        "input_type": config.export_input_type,
    }
    names = ["model.keras", *(f"model_{name}.tflite" for name in config.format_names)]
    if record.exists() and all((winner / name).exists() for name in names):
        stored = read_json(record)
        if all(stored.get(key, _OLD.get(key)) == about[key] for key in about):
            return [ExportedFile(**file) for file in stored["files"]], stored["seconds"]
    import keras

    record.unlink(missing_ok=True)
    with writing(winner / "model.keras") as temporary:
        shutil.copyfile(finals.weights, temporary)
    write_json(
        winner / "architecture.json", task.space.to_json(finals.winner.architecture)
    )
    model = keras.models.load_model(
        winner / "model.keras", compile=False, safe_mode=True
    )
    exported = exporter(
        model,
        task.dataset,
        str(winner),
        config.format_names,
        input_type=config.export_input_type,
        network=(task.space, finals.winner.architecture),
    )
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
            **about,
            "seconds": seconds,
            "files": [dataclasses.asdict(file) for file in files],
        },
    )
    return files, seconds


_OLD = {"formats": ["float32", "int8"], "input_type": "uint8"}
"""What was exported when the record did not say."""


def write_results(
    task: Task,
    study: Study,
    finals: Finals,
    files: Sequence[ExportedFile],
    export_seconds: float,
    folder: pathlib.Path,
) -> FinishedSearch:
    """Writes winner/metrics.json and report.html."""
    dataset = task.dataset
    assert dataset is not None
    assert task.proxy_recipe is not None and task.final_recipe is not None
    notes = notes_about(study, finals)
    notes += latency_notes(study, finals, files, task.latency)
    notes += memory_notes(study, finals, files)
    notes += agreement_notes(files)
    notes += class_notes(finals, dataset.class_names, dataset.check, task.config)
    facts = {
        **task.config.to_json(),
        "workdir": str(folder),
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
        metrics_json(study, finals, files, facts, notes, dataset.class_names),
    )
    data = report_data(
        study,
        finals,
        files,
        config=facts,
        notes=notes,
        seconds=seconds,
        dataset=dataset,
    )
    write_report(data, folder / "report.html")
    return FinishedSearch(
        folder, task, study, finals, tuple(files), tuple(notes), seconds
    )


def _description(task: Task, study: Study) -> list[str]:
    config, dataset = task.config, task.dataset
    budgets = " and ".join(map(str, task.budgets)) or "no budget"
    lines = [
        f"{config.algorithm} on {task.space.name} ({task.space.size:.3g} "
        f"architectures) under {budgets}"
    ]
    if dataset is not None:
        shape = "x".join(map(str, dataset.shape))
        lines.append(
            f"{dataset.name}: {dataset.train.size:,} images to train, "
            f"{dataset.valid.size:,} to validate, {dataset.test.size:,} to test, "
            f"{shape}, {dataset.classes} classes; trained on {_device()}"
        )
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
    """The devices that Keras computes on; a GPU that it does not find is not listed."""
    import keras

    devices = keras.distribution.list_devices()
    kinds = collections.Counter(device.split(":")[0] for device in devices)
    return ", ".join(f"{count} {kind.upper()}" for kind, count in kinds.items())


def _one_line(recipe: Recipe) -> str:
    return json.dumps(dataclasses.asdict(recipe)).strip("{}").replace('"', "")
