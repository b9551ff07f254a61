"""Checks a .tflite file against the Keras model that it was made from."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from export.tflite import runtime as runtimes
from export.tflite.delegate_support import Fallbacks, fallbacks
from layernas_tf.core.errors import UserError
from layernas_tf.training.paired import Comparison, compare_paired

if TYPE_CHECKING:
    import keras

    from layernas_tf.datasets import Split

_BATCH = 256
_COMPARED_IMAGES = 16


@dataclasses.dataclass(frozen=True)
class RuntimeCheck:
    """How one installed runtime runs a file.

    Example: `RuntimeCheck("tflite-runtime", "2.14.0", max_difference=0.0)`.

    Attributes:
      name: One of `runtime.RUNTIMES`.
      version: Version of the runtime.
      max_difference: Largest absolute difference between its outputs and those of the
        runtime that ran all images, on the first of them; None if it did not load.
      error: Why it did not load the file; empty if it did.
    """

    name: str
    version: str
    max_difference: float | None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Verification:
    """How a .tflite file compares with its Keras model.

    Example: `verify(path, keras_outputs(model, test), test).agreement`.

    Attributes:
      path: Path of the file.
      file_bytes: Size of the file.
      images: Number of images that both ran.
      accuracy: Share of the images that the file classifies correctly.
      keras_accuracy: Share of the images that the Keras model classifies correctly.
      comparison: The file's accuracy less the Keras model's, with its uncertainty.
      agreement: Share of the images on which both predict the same class.
      max_abs_error: Largest absolute difference of any output.
      operators: TFLite operator names with their number, most frequent first.
      fallbacks: The operators that are not accelerated.
      runtime: The runtime that ran all the images.
      runtimes: How each installed runtime runs the file.
    """

    path: str
    file_bytes: int
    images: int
    accuracy: float
    keras_accuracy: float
    comparison: Comparison
    agreement: float
    max_abs_error: float
    operators: tuple[tuple[str, int], ...]
    fallbacks: Fallbacks
    runtime: str
    runtimes: tuple[RuntimeCheck, ...]


def keras_outputs(model: keras.Model, split: Split) -> np.ndarray:
    """The outputs of a Keras model for a split in its order, (n, classes) float32."""
    return np.concatenate(
        [model.predict_on_batch(images) for images, _ in split.batches(_BATCH)]
    )


def verify(
    path: str, reference: np.ndarray, split: Split, *, runtime: str = "auto"
) -> Verification:
    """Runs a .tflite file on test images and compares it with its Keras model.

    The images are divided among single-threaded interpreters, one per core: files have
    a batch size of one, and small networks hardly gain from more threads.

    Args:
      path: The .tflite file.
      reference: The Keras model's outputs for the split (`keras_outputs`).
      split: The images, at least one.
      runtime: The runtime for all images; other installed runtimes run a few images.

    Raises:
      UserError: If the split does not fit the reference or the file, or the runtime
        cannot load the file.
    """
    if not split.size == len(reference) > 0:
        raise UserError(
            f"verifying {path!r}: expected as many reference outputs as images, at "
            f"least one, got {len(reference)} for {split.size}"
        )
    runtime = runtimes.resolve_runtime(runtime)
    models = [runtimes.load(path, runtime=runtime) for _ in range(os.cpu_count() or 1)]
    if models[0].output.shape[1:] != reference.shape[1:]:
        raise UserError(
            f"verifying {path!r}: expected {reference.shape[1]} outputs, got "
            f"{models[0].output.shape[1]}"
        )
    outputs, labels = _run(models, split)
    chosen, reference_chosen = outputs.argmax(axis=1), reference.argmax(axis=1)
    right, reference_right = chosen == labels, reference_chosen == labels
    few = next(iter(split.batches(_COMPARED_IMAGES)))[0].numpy()
    return Verification(
        path=path,
        file_bytes=os.path.getsize(path),
        images=split.size,
        accuracy=float(right.mean()),
        keras_accuracy=float(reference_right.mean()),
        comparison=compare_paired(right[None], reference_right[None]),
        agreement=float(np.mean(chosen == reference_chosen)),
        max_abs_error=float(np.max(np.abs(outputs - reference))),
        operators=runtimes.operators(path),
        fallbacks=fallbacks(path, runtime=runtime),
        runtime=runtime,
        runtimes=tuple(
            _check_runtime(path, name, few, outputs[: len(few)])
            for name in runtimes.installed_runtimes()
        ),
    )


def _run(
    models: Sequence[runtimes.LoadedModel], split: Split
) -> tuple[np.ndarray, np.ndarray]:
    outputs: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    with concurrent.futures.ThreadPoolExecutor(len(models)) as pool:
        for images, batch_labels in split.batches(_BATCH):
            parts = np.array_split(images.numpy(), len(models))
            outputs += pool.map(lambda model, part: model.run(part), models, parts)
            labels.append(batch_labels.numpy())
    return np.concatenate(outputs), np.concatenate(labels)


def _check_runtime(
    path: str, name: str, images: np.ndarray, expected: np.ndarray
) -> RuntimeCheck:
    version = runtimes.runtime_version(name)
    try:
        outputs = runtimes.load(path, runtime=name).run(images)
    except UserError as error:
        return RuntimeCheck(name, version, None, str(error))
    return RuntimeCheck(name, version, float(np.max(np.abs(outputs - expected))))
