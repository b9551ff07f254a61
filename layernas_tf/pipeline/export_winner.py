"""winner/: the Keras model, the TFLite files, and the architecture."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

from layernas_tf.core.files import read_json, write_json, writing
from layernas_tf.pipeline.finals import Finals
from layernas_tf.pipeline.task import Task
from layernas_tf.report import ExportedFile

Exporter = Callable[..., Sequence[Any]]
"""Takes a Keras model, a data set, a folder, formats, and by name `input_type` and
`network` (space and architecture); writes `model_FORMAT.tflite` files there and returns
their figures."""

_OLD = {"formats": ["float32", "int8"], "input_type": "uint8"}
"""What was exported when the record did not say."""


@dataclasses.dataclass(frozen=True)
class ExportedWinner:
    """A winner with its files.

    Example:
      winner = export_finals(task, finals, folder, exporter)
      print([file.name for file in winner.files])

    Attributes:
      finals: Its final trainings.
      files: The exported files with their figures.
      seconds: Duration of the export.
    """

    finals: Finals
    files: tuple[ExportedFile, ...]
    seconds: float


def export_finals(
    task: Task, finals: Finals, folder: pathlib.Path, exporter: Exporter
) -> ExportedWinner:
    """Writes the winner's folder: the Keras model, TFLite files and the architecture.

    Files that an earlier run exported from the same weights are not made again; those
    of other weights are removed.

    Args:
      task: The search.
      finals: The winner and its weights.
      folder: The workdir.
      exporter: Writes the .tflite files, checks and times them.

    Returns:
      The winner with its files.
    """
    started = time.monotonic()
    winner = folder / finals.target.folder
    # As before there were several winners.
    suffix = finals.target.folder.removeprefix("winner")
    record = folder / "finals" / f"export{suffix}.json"
    config = task.config
    about = {
        "weights": finals.weights.name,
        "formats": list(config.format_names),
        "input_type": config.export_input_type,
    }
    names = ["model.keras", *(f"model_{form}.tflite" for form in config.format_names)]
    if record.exists() and all((winner / each).exists() for each in names):
        stored = read_json(record)
        if all(stored.get(key, _OLD.get(key)) == about[key] for key in about):
            known = tuple(ExportedFile(**file) for file in stored["files"])
            return ExportedWinner(finals, known, stored["seconds"])
    record.unlink(missing_ok=True)
    # Those of formats that are not asked for now would be of an earlier winner.
    for earlier in winner.glob("model_*.tflite"):
        earlier.unlink()
    files = _export(task, finals, winner, exporter)
    seconds = time.monotonic() - started
    write_json(
        record,
        {
            **about,
            "seconds": seconds,
            "files": [dataclasses.asdict(file) for file in files],
        },
    )
    return ExportedWinner(finals, files, seconds)


def _export(
    task: Task, finals: Finals, winner: pathlib.Path, exporter: Exporter
) -> tuple[ExportedFile, ...]:
    """Writes the files of a winner into its folder."""
    import keras

    config, name = task.config, finals.target.folder
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
            name=f"{name}/model.keras",
            format="Keras",
            bytes=(winner / "model.keras").stat().st_size,
            test_accuracy=finals.winner_trainings[0].test_accuracy,
        )
    ]
    for file in exported:
        files.append(
            ExportedFile(
                name=f"{name}/{pathlib.Path(file.path).name}",
                format=f"TFLite {file.format}",
                bytes=file.file_bytes,
                test_accuracy=file.accuracy,
                difference=file.comparison.difference,
                difference_interval=(file.comparison.low, file.comparison.high),
                agreement=file.agreement,
                latency_ms=file.latency_ms,
                arena_bytes=file.arena_bytes,
                note=f"run and timed by {file.runtime}, one thread",
            )
        )
    return tuple(files)
