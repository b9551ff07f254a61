"""Converts a Keras model to .tflite files of several formats."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export.conversion.bias_correction import with_corrected_biases
from export.conversion.formats import FORMATS, Format, check_formats, check_input_type
from export.conversion.keras_model import image_shape, in_float32
from export.conversion.saved_model import convert_saved_model, write_saved_model
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import write_bytes

if TYPE_CHECKING:
    import keras

    from layernas_tf.datasets.frame import Frame


def convert(
    model: keras.Model,
    *,
    format: str,
    path: str,
    representative_images: np.ndarray | None = None,
    input_type: str = "uint8",
) -> None:
    """Converts a Keras image classifier to one .tflite file; see `convert_all`."""
    convert_all(
        model,
        {format: path},
        representative_images=representative_images,
        input_type=input_type,
    )


def convert_all(
    model: keras.Model,
    paths: Mapping[str, str],
    *,
    representative_images: np.ndarray | None = None,
    input_type: str = "uint8",
    labels: Sequence[str] = (),
    frame: Frame | None = None,
) -> None:
    """Converts a Keras image classifier to .tflite files of several formats.

    The full-integer format follows the TFLite 8-bit quantization specification:
    int8 activations per tensor, int8 weights per output channel, ranges from running
    the representative images. Its input step is exactly one pixel value, so that raw
    pixels go in: 0..255 as uint8, the same less 128 as int8. Biases make up for what
    the rounding of the weights does on average (`bias_correction`).

    Args:
      model: The classifier. It takes float32 images with pixels in [0, 255], shape
        (n, h, w, c) with h and w fixed, and returns (n, classes).
      paths: The path of each file, by format name. Files are replaced when complete.
      representative_images: Pixels in [0, 255], shape (n, h, w, c), from the
        training data; a few hundred. Only integer formats need them.
      input_type: One of `INPUT_TYPES`: the type of the input and output of integer
        formats. The others have float32.
      labels: Names of the classes; with them the files get metadata.
      frame: How pictures become the model's input, for the metadata.

    Raises:
      UserError: If a format or the input type is unknown, the model is not such a
        model or uses an operator that TFLite lacks, images are missing or do not
        fit the model, or a file cannot be written.
    """
    check_formats(tuple(paths), tuple(FORMATS))
    check_input_type(input_type)
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UserError(
            "conversion needs KERAS_BACKEND=tensorflow (whatever the model was trained "
            f"with), got {keras.backend.backend()}"
        )
    shape = image_shape(model)
    model = in_float32(model)
    integer = [name for name in paths if FORMATS[name].integer]
    if integer:
        _check_representative(representative_images, shape, integer[0])
    networks = {False: model}
    if integer:
        assert representative_images is not None  # see _check_representative
        networks[True] = with_corrected_biases(model, representative_images)
    for is_integer, network in networks.items():
        names = [name for name in paths if FORMATS[name].integer == is_integer]
        settings = {
            name: functools.partial(
                _configure, FORMATS[name], representative_images, input_type
            )
            for name in names
        }
        for name, content in _converted(network, shape, settings):
            content = described(content, model.name, name, labels, frame)
            write_bytes(paths[name], content)


def _converted(
    network: keras.Model,
    shape: tuple[int, int, int],
    settings: Mapping[str, Callable[[Any], None]],
) -> Iterator[tuple[str, bytes]]:
    """Name and content of a file for each setting of the converter, by name."""
    if not settings:
        return
    with tempfile.TemporaryDirectory(prefix="saved_model_") as saved_model:
        write_saved_model(
            lambda image: network(image, training=False),
            [variable.value for variable in network.variables],
            shape,
            saved_model,
        )
        for name, configure in settings.items():
            yield name, convert_saved_model(saved_model, configure, name)


def _check_representative(
    images: np.ndarray | None, shape: tuple[int, int, int], name: str
) -> None:
    if images is None or len(images) == 0:
        raise UserError(f"format {name!r} needs representative images, got none")
    if images.shape[1:] != shape:
        raise UserError(
            f"representative images: expected shape {shape}, got {images.shape[1:]}"
        )


def _configure(
    form: Format, images: np.ndarray | None, input_type: str, converter: Any
) -> None:
    import tensorflow as tf

    form.configure(converter)
    if form.integer:
        assert images is not None  # see _check_representative
        converter.representative_dataset = _representative(images)
        converter.inference_input_type = tf.dtypes.as_dtype(input_type)
        converter.inference_output_type = tf.dtypes.as_dtype(input_type)


def _representative(images: np.ndarray) -> Callable[[], Iterator[list[np.ndarray]]]:
    def generate() -> Iterator[list[np.ndarray]]:
        for number, image in enumerate(images):
            image = np.array(image, np.float32)
            if number == 0:
                # Two corners pin the input's range to [0, 255] whatever the images
                # hold, and with it the input's step to one pixel value.
                image[0, 0], image[-1, -1] = 0.0, 255.0
            yield [image[np.newaxis]]

    return generate


def described(
    content: bytes,
    name: str,
    format: str,
    labels: Sequence[str],
    frame: Frame | None = None,
) -> bytes:
    """The bytes of a .tflite file, with metadata if there are labels."""
    if not labels:
        return content
    from export.tflite.metadata import Metadata, with_metadata

    text = f"Image classifier, {format}, exported by LayerNAS-TF."
    metadata = Metadata(
        name,
        text,
        tuple(labels),
        recipe=frame.recipe() if frame else {},
        recipe_text=frame.sentence() if frame else "",
    )
    return with_metadata(content, metadata)
