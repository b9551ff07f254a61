"""`convert_model` and `verify_model`: from a Keras model to a verified .tflite file."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.core.errors import UserError

if TYPE_CHECKING:
    import keras

    from export.tflite.verify import Verification


def convert_model(
    model: keras.Model,
    path: str | pathlib.Path,
    *,
    format: str = "float32",
    representative_images: np.ndarray | None = None,
    input_type: str = "uint8",
    labels: Sequence[str] = (),
) -> pathlib.Path:
    """Converts a Keras image classifier to a .tflite file.

    Args:
      model: A model that takes float32 images in [0, 255] of a fixed size.
      path: Where the file is written.
      format: `float32`, `float16`, `dynamic` or `int8`.
      representative_images: Images (N, H, W, C) in [0, 255], from which `int8` takes
        the ranges of its tensors.
      input_type: Input type of an int8 file: `uint8`, `int8` or `float32`.
      labels: Names of the classes, for the file's metadata.

    Returns:
      The path.

    Raises:
      UserError: The model cannot be converted, or the file cannot be written.
    """
    from export.conversion.convert import convert_all

    convert_all(
        model,
        {format: str(path)},
        representative_images=representative_images,
        input_type=input_type,
        labels=labels,
    )
    return pathlib.Path(path)


def verify_model(
    path: str | pathlib.Path,
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    runtime: str = "auto",
) -> Verification:
    """Runs a .tflite file on labelled images and compares it with its Keras model.

    Args:
      path: The file.
      model: The model that the file was converted from.
      images: (N, H, W, C) in [0, 255].
      labels: (N,) integers.
      runtime: `tflite-runtime`, `ai-edge-litert`, `tf.lite`, or `auto`.

    Returns:
      The accuracy of both, how often they agree, the largest difference between their
      outputs, and the file's operators.

    Raises:
      UserError: The file cannot be run, or images and labels do not fit.
    """
    from export.conversion.keras_model import image_shape
    from export.tflite.verify import keras_outputs, verify
    from layernas_tf.datasets.split import ArraySplit

    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or labels.shape != (len(images),) or not len(images):
        raise UserError(
            "expected `images` (N, H, W, C) and `labels` (N,), got shapes "
            f"{images.shape} and {labels.shape}"
        )
    expected = image_shape(model)
    if images.shape[1:] != expected:
        size = ", ".join(map(str, expected))
        raise UserError(
            f"`images`: expected (N, {size}) as the model takes them, got shape "
            f"{images.shape}"
        )
    split = ArraySplit(images, labels.astype(np.int32))
    return verify(str(path), keras_outputs(model, split), split, runtime=runtime)
