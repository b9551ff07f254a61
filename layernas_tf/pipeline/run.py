"""One search from its configuration to the report."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from layernas_tf.core.files import write_json, writing
from layernas_tf.core.workdir import check_workdir
from layernas_tf.costs.latency import check_same_table
from layernas_tf.datasets.data_check import DATA_CHECK
from layernas_tf.datasets.file_progress import file_progress
from layernas_tf.pipeline.class_figures import class_notes
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_file import check_resume, save_config
from layernas_tf.pipeline.description import description
from layernas_tf.pipeline.evaluation import make_executor
from layernas_tf.pipeline.export_winner import ExportedWinner, Exporter, export_finals
from layernas_tf.pipeline.final_phase import prepare_finals, train_finalists
from layernas_tf.pipeline.finals import Finals, seconds_of
from layernas_tf.pipeline.fingerprint import fingerprint
from layernas_tf.pipeline.fresh_start import in_workdir, set_aside_unless_of
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.load_task import load_task
from layernas_tf.pipeline.loop import search
from layernas_tf.pipeline.metrics import metrics_json
from layernas_tf.pipeline.notes import (
    agreement_notes,
    joined_notes,
    latency_notes,
    memory_notes,
    notes_about,
)
from layernas_tf.pipeline.result_tables import file_table, network_table
from layernas_tf.pipeline.results import report_data
from layernas_tf.pipeline.retarget import take_over
from layernas_tf.pipeline.sentence import finals_sentence
from layernas_tf.pipeline.starting import check_weights, observe_once
from layernas_tf.pipeline.task import Task
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.report import write_report
from layernas_tf.report.wording import counted
from layernas_tf.study.open_storage import sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.study.study import Study
from layernas_tf.study.trial import Trial

if TYPE_CHECKING:
    from layernas_tf.training.recipe import Recipe


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
      winners: The winner of each budget, the largest budget first; none if nothing was
        trained.
      notes: Warnings that the reader of the results must not miss.
      seconds: Duration by phase.
    """

    folder: pathlib.Path
    task: Task
    study: Study
    winners: tuple[ExportedWinner, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    @property
    def finals(self) -> Finals | None:
        """The final trainings of the largest budget; None if nothing was trained."""
        return self.winners[0].finals if self.winners else None


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
    check_resume(config, folder / "config.json")
    kept_check = folder / DATA_CHECK
    with file_progress(console) as progress:
        task = load_task(config, inputs, kept_check=str(kept_check), progress=progress)
    kept = folder / "latency_table.json"
    check_weights(task)
    check_same_table(task.latency, kept, resumed=(folder / "config.json").exists())
    studies: list[Study] = []
    with in_workdir(folder, lambda: any(study.trials for study in studies)):
        if config.retarget_from:
            taken = take_over(task, folder)
            say(f"{counted(taken, 'trial')} taken over from {config.retarget_from}.")
        parts = fingerprint(task)
        study = open_study_of(task, folder, parts)
        studies.append(study)
        kept_aside = set_aside_unless_of(parts, folder, renewed=study.renewed)
        if task.latency is not None:
            with writing(kept) as temporary:
                shutil.copyfile(task.latency.path, temporary)
        if task.dataset is not None and task.dataset.check is not None:
            write_json(kept_check, task.dataset.check.to_json())
        save_config(config, folder / "config.json")
        if kept_aside:
            say(f"Searching anew; what was made before the change is in {kept_aside}.")
        for line in description(task, study):
            say(line)
        observe_once(task, folder)
        search_candidates(task, study, folder, console, callbacks)
        if task.dataset is None:
            seconds = {"search": sum(trial.seconds or 0 for trial in study.trials)}
            return FinishedSearch(folder, task, study, (), (), seconds)
        winners = []
        prepared = prepare_finals(task, folder, say)
        for target in task.targets:
            finals = train_finalists(task, study, folder, say, target, prepared)
            say("Exporting the winner and running the files on the test set.")
            winners.append(export_finals(task, finals, folder, exporter))
        finished = write_results(task, study, winners, folder)
    _show(finished, console, say)
    return finished


def _show(
    finished: FinishedSearch, console: Console, say: Callable[[str], None]
) -> None:
    """The results in the terminal; the last lines are what the winners are worth."""
    study = finished.study
    for winner in finished.winners:
        console.print(network_table(study, winner.finals))
        console.print(file_table(winner.files))
    for note in finished.notes:
        say(f"Note: {note}")
    for winner in finished.winners:
        target = winner.finals.target
        begin = f"{target}: " if len(finished.winners) > 1 else ""
        say(begin + finals_sentence(study, winner.finals))
    made = [f"{winner.finals.target.folder}/" for winner in finished.winners]
    made = ["report.html", "trials.csv", *made, "tensorboard/"]
    say(f"Results in {finished.folder}: {', '.join(made)}")


def open_study_of(
    task: Task, folder: pathlib.Path, parts: Mapping[str, str] | None = None
) -> Study:
    """The study of a workdir or of the configuration's storage, made if it is new.

    Args:
      task: The search.
      folder: The workdir.
      parts: The task's fingerprint; by default it is computed here.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config, alone = task.config, not task.config.storage
    # After a restart, the name is the same, and the driver resumes its own trials.
    driver = f"{socket.gethostname()}:{folder.resolve()}"
    return open_study(
        sqlite_url(folder / "study.db") if alone else config.storage,
        "search" if alone else config.study or str(folder.resolve()),
        task.space,
        task.budgets,
        task.make_algorithm,
        driver="" if alone else driver,
        settings=None if alone else config.settings(),
        objective=task.reward_name,
        fingerprint=fingerprint(task) if parts is None else parts,
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
            task.trials,
            TrialsCsv(folder / "trials.csv", task.space, task.budgets),
            folder / "tensorboard",
            console,
            callbacks,
        )


def write_results(
    task: Task,
    study: Study,
    winners: Sequence[ExportedWinner],
    folder: pathlib.Path,
) -> FinishedSearch:
    """Writes metrics.json of each winner, and report.html."""
    dataset = task.dataset
    assert dataset is not None
    assert task.proxy_recipe is not None and task.final_recipe is not None
    facts = {
        **task.config.to_json(),
        **task.chosen(),
        "workdir": str(folder),
        "proxy recipe": _one_line(task.proxy_recipe),
        "final recipe": _one_line(task.final_recipe),
    }
    seconds = {
        "search": sum(trial.seconds or 0 for trial in study.trials),
        "final training": seconds_of([winner.finals for winner in winners]),
        "export": sum(winner.seconds for winner in winners),
    }
    notes: list[tuple[str, list[str]]] = []
    for winner in winners:
        target = winner.finals.target
        own = _notes(task, study, winner)
        write_json(
            folder / target.folder / "metrics.json",
            metrics_json(
                study, winner.finals, winner.files, facts, own, dataset.class_names
            ),
        )
        notes.append((str(target), own))
    together = joined_notes(notes)
    data = report_data(
        study,
        winners,
        config=facts,
        notes=together,
        seconds=seconds,
        dataset=dataset,
        reward_name=task.reward_name,
        reward_is_share=task.reward_is_share,
    )
    write_report(data, folder / "report.html")
    return FinishedSearch(folder, task, study, tuple(winners), tuple(together), seconds)


def _notes(task: Task, study: Study, winner: ExportedWinner) -> list[str]:
    dataset, finals, files = task.dataset, winner.finals, winner.files
    assert dataset is not None
    return [
        *notes_about(study, finals),
        *latency_notes(study, finals, files, task.latency),
        *memory_notes(study, finals, files),
        *agreement_notes(files),
        *class_notes(finals, dataset.class_names, dataset.check, task.config),
    ]


def _one_line(recipe: Recipe) -> str:
    return json.dumps(dataclasses.asdict(recipe)).strip("{}").replace('"', "")
