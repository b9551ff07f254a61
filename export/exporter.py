"""Exports a trained model to .tflite files, checks and times them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from export.conversion.convert import convert_all, described
from export.conversion.formats import FORMATS, QAT_INT8, check_formats, check_input_type
from export.conversion.keras_model import image_shape, in_float32
from export.tflite import runtime as runtimes
from export.tflite.delegate_support import Fallbacks
from export.tflite.memory import arena_bytes
from export.tflite.verify import RuntimeCheck, keras_outputs, verify
from export.timing.host import host_latency
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import write_bytes

if TYPE_CHECKING:
    import keras

    from export.quantization.quantize import Qat
    from layernas_tf.datasets import Dataset, Split
    from layernas_tf.space.search_space import SearchSpace
    from layernas_tf.space.types import Architecture
    from layernas_tf.training.paired import Comparison


@dataclasses.dataclass(frozen=True)
class TfliteFile:
    """A .tflite file, how it compares with its Keras model, and how fast it is.

    Example: `export_winner(model, dataset, "out", ("int8",))[0].accuracy`.

    Attributes:
      format: Name of the format.
      path: Path of the file.
      file_bytes: Size of the file.
      accuracy: Share of the test images that the file classifies correctly.
      keras_accuracy: Share of them that the Keras model classifies correctly.
      comparison: The file's accuracy less the Keras model's, with its uncertainty.
      agreement: Share of the test images on which both predict the same class.
      max_abs_error: Largest absolute difference of any output.
      latency_ms: Median time of one image on this machine, one thread, milliseconds.
      latency_p90_ms: 90th percentile of the same time.
      latency_p99_ms: 99th percentile of the same time.
      arena_bytes: See `memory.PeakMemory`.
      runtime: The runtime that ran and timed the file.
      runtimes: How each installed runtime runs the file.
      operators: TFLite operator names with their number, most frequent first.
      fallbacks: The operators that are not accelerated.
    """

    format: str
    path: str
    file_bytes: int
    accuracy: float
    keras_accuracy: float
    comparison: Comparison
    agreement: float
    max_abs_error: float
    latency_ms: float
    latency_p90_ms: float
    latency_p99_ms: float
    arena_bytes: int
    runtime: str
    runtimes: tuple[RuntimeCheck, ...]
    operators: tuple[tuple[str, int], ...]
    fallbacks: Fallbacks


def export_winner(
    model: keras.Model,
    dataset: Dataset,
    out_dir: str,
    formats: Sequence[str] = ("float32", "int8"),
    *,
    input_type: str = "uint8",
    representative_images: int = 200,
    runtime: str = "auto",
    latency_runs: int = 100,
    qat: Qat | None = None,
    network: tuple[SearchSpace, Architecture] | None = None,
) -> list[TfliteFile]:
    """Writes `model_FORMAT.tflite` into a folder, checks each file and times it.

    Integer ranges come from training images, never from test images; accuracy and
    agreement are measured on all test images.

    Args:
      model: A trained classifier of the data set's images.
      dataset: The data set that the model was trained on.
      out_dir: The folder; made if it does not exist.
      formats: Some of `formats.FORMATS` and `formats.QAT_INT8`.
      input_type: See `convert.convert_all`.
      representative_images: Training images that set the ranges of integer formats.
      runtime: The runtime that runs the files; one of `runtime.RUNTIMES`, or `auto`.
      latency_runs: Timed inferences of each file.
      qat: What the format `qat_int8` needs.
      network: In place of `qat`, the model's space and architecture, for a `Qat` with
        the default `Tuning`.

    Returns:
      One entry per format, in the order of `formats`.

    Raises:
      UserError: As `convert.convert_all` and `verify.verify`, or if the data set does
        not fit the model.
    """
    formats = tuple(formats)
    check_formats(formats)
    check_input_type(input_type)
    if QAT_INT8 in formats:
        qat = _checked_qat(qat, network)
    runtime = runtimes.resolve_runtime(runtime)
    _check_fit(model, dataset)
    # A model in mixed precision would differ from its files for that reason alone.
    model = in_float32(model)
    if representative_images < 1:
        raise UserError(
            f"representative images: expected 1 or more, got {representative_images}"
        )
    paths = {name: os.path.join(out_dir, f"model_{name}.tflite") for name in formats}
    plain = {name: path for name, path in paths.items() if name != QAT_INT8}
    if plain:
        _write_plain(model, dataset, plain, input_type, representative_images)
    if qat is not None and QAT_INT8 in formats:
        _write_qat(model, dataset, paths[QAT_INT8], input_type, qat)
    reference = keras_outputs(model, dataset.test)
    return [
        _measure(name, path, reference, dataset.test, runtime, latency_runs)
        for name, path in paths.items()
    ]


def print_table(files: Sequence[TfliteFile]) -> None:
    """Prints a table of the exported files (at least one) with their results."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"Exported from a Keras model of accuracy {files[0].keras_accuracy:.2%}"
    )
    table.add_column("format", no_wrap=True)
    for column in ("KiB", "accuracy", "agreement", "max error", "ms p50", "ms p99"):
        table.add_column(column, justify="right", no_wrap=True)
    for file in files:
        table.add_row(
            file.format,
            f"{file.file_bytes / 1024:,.1f}",
            f"{file.accuracy:.2%}",
            f"{file.agreement:.2%}",
            f"{file.max_abs_error:.2g}",
            f"{file.latency_ms:.3f}",
            f"{file.latency_p99_ms:.3f}",
        )
    console = Console(highlight=False)
    console.print(table)
    for file in files:
        console.print(file.path, soft_wrap=True, markup=False)
        console.print(f"  {_against_keras(file.comparison)}", soft_wrap=True)
        for line in file.fallbacks.lines():
            console.print(f"  {line}", soft_wrap=True, markup=False)
        for check in file.runtimes:
            if check.error:
                console.print(f"  {check.error}", soft_wrap=True, markup=False)
            else:
                console.print(
                    f"  {check.name} {check.version}: differs by "
                    f"{check.max_difference:.2g} at most",
                    soft_wrap=True,
                    markup=False,
                )


def _against_keras(comparison: Comparison) -> str:
    """What the format has cost, in points of accuracy, with the interval."""
    points, low, high = (
        f"{100 * value:+.2f}"
        for value in (comparison.difference, comparison.low, comparison.high)
    )
    return (
        f"accuracy less the Keras model's: {points} points (95 % interval {low} to "
        f"{high}, {comparison.images:,} test images)"
    )


def _checked_qat(
    qat: Qat | None, network: tuple[SearchSpace, Architecture] | None
) -> Qat:
    """What the format `qat_int8` needs, if all its packages are installed too."""
    from export.quantization.quantize import Qat, check_packages

    if qat is None and network is not None:
        qat = Qat(*network)
    if qat is None:
        raise UserError(f"format {QAT_INT8!r} needs the model's architecture, got none")
    check_packages()
    return qat


def _check_fit(model: keras.Model, dataset: Dataset) -> None:
    shape, classes = image_shape(model), model.outputs[0].shape[-1]
    if tuple(dataset.shape) != shape or dataset.classes != classes:
        raise UserError(
            f"data set {dataset.name!r} does not fit model {model.name!r}: expected "
            f"images of shape {shape} and {classes} classes, got "
            f"{tuple(dataset.shape)} and {dataset.classes}"
        )


def _write_plain(
    model: keras.Model,
    dataset: Dataset,
    paths: dict[str, str],
    input_type: str,
    representative_images: int,
) -> None:
    """Writes a file for each format that needs no training."""
    representative = None
    if any(FORMATS[name].integer for name in paths):
        representative = _draw(dataset.train, representative_images)
    convert_all(
        model,
        paths,
        representative_images=representative,
        input_type=input_type,
        labels=dataset.class_names,
        frame=dataset.frame,
    )


def _write_qat(
    model: keras.Model, dataset: Dataset, path: str, input_type: str, qat: Qat
) -> None:
    """Trains with the rounding and writes the file."""
    from export.quantization.quantize import qat_int8

    content = qat_int8(model, qat, dataset, input_type)
    write_bytes(
        path,
        described(content, model.name, QAT_INT8, dataset.class_names, dataset.frame),
    )


def _draw(split: Split, number: int) -> np.ndarray:
    images, _ = next(iter(split.batches(min(number, split.size), seed=0)))
    return images.numpy()


def _measure(
    name: str,
    path: str,
    reference: np.ndarray,
    test: Split,
    runtime: str,
    latency_runs: int,
) -> TfliteFile:
    checked = verify(path, reference, test, runtime=runtime)
    latency = host_latency(path, runtime=runtime, runs=latency_runs)
    return TfliteFile(
        format=name,
        path=path,
        file_bytes=checked.file_bytes,
        accuracy=checked.accuracy,
        keras_accuracy=checked.keras_accuracy,
        comparison=checked.comparison,
        agreement=checked.agreement,
        max_abs_error=checked.max_abs_error,
        latency_ms=latency.p50_ms,
        latency_p90_ms=latency.p90_ms,
        latency_p99_ms=latency.p99_ms,
        arena_bytes=arena_bytes(path, runtime=runtime),
        runtime=runtime,
        runtimes=checked.runtimes,
        operators=checked.operators,
        fallbacks=checked.fallbacks,
    )
