"""Searches a network under a budget, and hands back a trained and exported winner.

python -m layernas_tf.search --space=mobilenet_v3_small --dataset=digits \
    --budget='madds<=3M' --trials=60 --workdir=runs/x

Running it again with the same workdir continues where it was.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from absl import flags
from rich.console import Console

from layernas_tf import config as configuration
from layernas_tf.algorithms.registry import NAMES as ALGORITHMS
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.budget import Budget, parse_budget
from layernas_tf.config import SearchConfig
from layernas_tf.costs.latency import (
    LatencyTable,
    check_same_table,
    read_table,
    with_latency,
)
from layernas_tf.errors import UserError, run_main
from layernas_tf.evaluators.base import Evaluator, describe
from layernas_tf.evaluators.child_process import ChildProcess
from layernas_tf.executors import InProcess
from layernas_tf.finals import Finals, FinalTrainer, choose_finalists, run_finals
from layernas_tf.loop import search
from layernas_tf.report import ExportedFile, write_report
from layernas_tf.results import (
    file_table,
    latency_notes,
    memory_notes,
    metrics_json,
    network_table,
    notes_about,
    report_data,
)
from layernas_tf.space import SearchSpace
from layernas_tf.study import Study, open_study, sqlite_url
from layernas_tf.trials_csv import TrialsCsv
from layernas_tf.workdir import (
    check_workdir,
    lock_workdir,
    open_workdir,
    read_json,
    write_json,
    writing,
)

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.recipe import Recipe
    from layernas_tf.segments import SegmentCache


@dataclasses.dataclass(frozen=True)
class Task:
    """What is searched, checked and loaded."""

    config: SearchConfig
    dataset: Dataset
    space: SearchSpace
    latency: LatencyTable | None
    budgets: tuple[Budget, ...]
    proxy_recipe: Recipe
    final_recipe: Recipe

    def make_algorithm(self):
        """The algorithm in its first state."""
        config = self.config
        return make_algorithm(
            config.algorithm,
            self.space,
            self.budgets,
            config.seed,
            **config.algorithm_options(),
        )


def load_task(config: SearchConfig) -> Task:
    """Loads what the flags name, cheap things first.

    Raises:
      UserError: Something is unknown, unusable, or does not fit the rest.
    """
    from search_spaces.registry import check_name, get_space

    if config.algorithm not in ALGORITHMS:
        raise UserError(
            f"algorithm {config.algorithm!r}: expected one of {', '.join(ALGORITHMS)}"
        )
    check_name(config.space)
    table = read_table(config.latency_table) if config.latency_table else None
    from layernas_tf.datasets import load_dataset

    dataset = load_dataset(
        config.dataset,
        resolution=config.resolution,
        valid_fraction=config.valid_fraction,
        seed=config.seed,
        limit=config.limit,
    )
    height, _, channels = dataset.shape
    arguments = {"resolution": height, "classes": dataset.classes, "channels": channels}
    if config.stem_stride is not None:
        arguments["stem_stride"] = config.stem_stride
    space = get_space(config.space, **arguments)
    check_chain(space)
    if space.builder is None:
        raise UserError(
            f"space {space.name!r} has no Keras builder: it cannot be trained; "
            "layernas_tf.compare searches the spaces of tables"
        )
    if table is not None:
        space = with_latency(space, table)
    task = Task(
        config=config,
        dataset=dataset,
        space=space,
        latency=table,
        budgets=tuple(parse_budget(text, space) for text in config.budget),
        proxy_recipe=recipe(config, dataset, proxy=True),
        final_recipe=recipe(config, dataset, proxy=False),
    )
    task.make_algorithm()
    return task


def check_chain(space: SearchSpace) -> None:
    """Raises `UserError` if a transition of the space, which may be a user's, fails."""
    try:
        len(space.chain)  # compiled when first used
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"space {space.name!r}: a layer's transition raised {describe(error)}"
        ) from error


def recipe(config: SearchConfig, dataset: Dataset, *, proxy: bool) -> Recipe:
    """The data set's default recipe, with what the flags say instead."""
    from layernas_tf.recipe import default_recipe

    chosen = default_recipe(dataset, proxy=proxy)
    epochs = config.epochs if proxy else config.final_epochs
    changes = {
        name: getattr(config, name)
        for name in (
            "batch_size",
            "optimizer",
            "learning_rate",
            "weight_decay",
            "augment",
        )
        if getattr(config, name) is not None
    }
    if epochs is not None:
        changes["epochs"] = epochs
        changes["warmup_epochs"] = chosen.warmup_epochs * epochs / chosen.epochs
    return dataclasses.replace(
        chosen, mixed_precision=config.mixed_precision, **changes
    )


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
    from export.keras_model import load_keras_model
    from export.winner import export_winner

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
    task = load_task(config)
    kept = folder / "latency_table.json"
    check_same_table(task.latency, kept, resumed=(folder / "config.json").exists())
    open_workdir(folder)
    with lock_workdir(folder):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = open_study(
            config.storage or sqlite_url(folder / "study.db"),
            str(folder.resolve()) if config.storage else "search",
            task.space,
            task.budgets,
            task.make_algorithm,
        )
        if task.latency is not None:
            with writing(kept) as temporary:
                shutil.copyfile(task.latency.path, temporary)
        configuration.save(config, folder / "config.json")
        for line in _description(task, study):
            say(line)
        with evaluating(task, folder) as evaluator:
            search(
                study,
                InProcess(evaluator),
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
                    study, finals, files, config=facts, notes=notes, seconds=seconds
                ),
                temporary,
            )
    console.print(network_table(study, finals))
    console.print(file_table(files))
    for note in notes:
        say(f"Note: {note}")
    say(f"Results in {folder}: report.html, trials.csv, winner/, tensorboard/")


@contextlib.contextmanager
def evaluating(task: Task, folder: pathlib.Path) -> Iterator[Evaluator]:
    """What gives candidates their reward, within the context."""
    if not task.config.trials_per_process:
        yield make_evaluator(task, folder)
        return
    # Latency is a matter of budgets, which trainings know nothing of.
    config = dataclasses.replace(task.config, latency_table="", budget=())
    evaluator = ChildProcess(
        functools.partial(_evaluator_of_child, config, folder),
        task.config.trials_per_process,
    )
    with contextlib.closing(evaluator):
        yield evaluator


def make_evaluator(task: Task, folder: pathlib.Path) -> Evaluator:
    """Trains candidates in this process; weights are kept in the workdir `folder`."""
    from layernas_tf.evaluators.keras_evaluator import KerasEvaluator

    return KerasEvaluator(
        task.space,
        task.dataset,
        task.proxy_recipe,
        seed=task.config.seed,
        weights=folder / "weights" if task.config.inherit_weights else None,
    )


def _evaluator_of_child(config: SearchConfig, folder: pathlib.Path) -> Evaluator:
    _prepare_libraries()
    return make_evaluator(load_task(config), folder)


def _prepare_libraries() -> None:
    """Before TensorFlow or JAX is imported, or at least before they compute."""
    # Their advice on retracing does not fit networks that all differ.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # This process and its child share a GPU.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def shared_segments() -> SegmentCache | None:
    """What the final trainings share; None on accelerators, where fit is faster."""
    import keras

    devices = keras.distribution.list_devices()
    accelerated = any(not device.startswith("cpu") for device in devices)
    if accelerated or keras.backend.backend() != "tensorflow":
        return None
    from layernas_tf.segments import SegmentCache

    return SegmentCache()


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


def define_flags() -> None:
    """Defines the binary's flags: not at import, as tests import this module."""
    configuration.define_flags()
    flags.DEFINE_string("workdir", os.path.join("runs", "search"), "Folder of results.")


def main(argv: Sequence[str]) -> None:
    """Runs the binary."""
    del argv
    _prepare_libraries()
    config = configuration.from_flags(flags.FLAGS)
    try:
        run(config, flags.FLAGS.workdir, Console(highlight=False))
    except OSError as error:
        where = error.filename or flags.FLAGS.workdir
        raise UserError(
            f"{where!r}: {error.strerror or error}; the same command continues when "
            "this is mended"
        ) from None


if __name__ == "__main__":
    define_flags()
    run_main(main)
