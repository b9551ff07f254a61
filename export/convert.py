"""Keras model to TFLite, in several formats; also a binary.

    python -m export.convert --model=runs/x/winner/model.keras --out=exported \
        --formats=float32,float16,dynamic,int8 --dataset=digits

Every conversion goes through one SavedModel with a batch of one image, so that the
interpreter can plan its memory once and a file holds no shape arithmetic.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from export.keras_model import image_shape, in_float32, load_keras_model
from export.quiet import captured_stderr
from layernas_tf.errors import UserError, run_main

if TYPE_CHECKING:
    import keras

INPUT_TYPES = ("uint8", "int8", "float32")
"""What the input (and output) of a full-integer file may be."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One way to write a model as .tflite.

    Attributes:
      name: As in `--formats`.
      integer: Weights and activations are int8. Needs representative images, and
        input and output may be integers.
      configure: Sets the converter's options, beyond those of an integer format.
    """

    name: str
    integer: bool
    configure: Callable[[Any], None]


def _plain(converter: Any) -> None:
    del converter


def _optimized(converter: Any) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _float16(converter: Any) -> None:
    import tensorflow as tf

    _optimized(converter)
    converter.target_spec.supported_types = [tf.float16]


def _full_integer(converter: Any) -> None:
    import tensorflow as tf

    _optimized(converter)
    # Only integer kernels: an operator without one is an error, not a silent island
    # of floats that no microcontroller or NPU can run.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


FORMATS: Mapping[str, Format] = {
    form.name: form
    for form in (
        Format("float32", False, _plain),
        Format("float16", False, _float16),
        Format("dynamic", False, _optimized),
        Format("int8", True, _full_integer),
    )
}
"""The formats by name."""


def check_formats(names: tuple[str, ...]) -> None:
    """Checks format names.

    Raises:
      UserError: If there is none, or one is unknown or named twice.
    """
    if not names:
        raise UserError(f"formats: expected some of {', '.join(FORMATS)}, got none")
    for name in names:
        if name not in FORMATS:
            raise UserError(f"unknown format {name!r}: expected {', '.join(FORMATS)}")
        if names.count(name) > 1:
            raise UserError(f"formats: {name!r} is named twice")


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
) -> None:
    """Converts a Keras image classifier to .tflite files of several formats.

    The full-integer format follows the TFLite 8-bit quantization specification:
    int8 activations per tensor, int8 weights per output channel, ranges from running
    the representative images. Its input step is exactly one pixel value, so that raw
    pixels go in: 0..255 as uint8, the same less 128 as int8.

    Args:
      model: Takes float32 images with pixels in [0, 255], shape (n, h, w, c) with h
        and w fixed; puts out (n, classes).
      paths: Where to write, by format name. Files are replaced only when complete.
      representative_images: Pixels in [0, 255], shape (n, h, w, c), from the
        training data; a few hundred. Only integer formats need them.
      input_type: One of `INPUT_TYPES`: the type of the input and output of integer
        formats. The others have float32.

    Raises:
      UserError: If a format or the input type is unknown, the model is not such a
        model or uses an operator that TFLite lacks, images are missing or do not
        fit the model, or a file cannot be written.
    """
    check_formats(tuple(paths))
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UserError(
            "conversion needs KERAS_BACKEND=tensorflow (whatever the model was trained "
            f"with), got {keras.backend.backend()}"
        )
    if input_type not in INPUT_TYPES:
        raise UserError(
            f"unknown input type {input_type!r}: expected {', '.join(INPUT_TYPES)}"
        )
    shape = image_shape(model)
    model = in_float32(model)
    integer = [name for name in paths if FORMATS[name].integer]
    if integer:
        _check_representative(representative_images, shape, integer[0])
    with tempfile.TemporaryDirectory(prefix="saved_model_") as saved_model:
        _export(model, shape, saved_model)
        for name, path in paths.items():
            content = _convert_saved_model(
                saved_model, FORMATS[name], representative_images, input_type
            )
            _write(path, content)


def _check_representative(
    images: np.ndarray | None, shape: tuple[int, int, int], name: str
) -> None:
    if images is None or len(images) == 0:
        raise UserError(f"format {name!r} needs representative images, got none")
    if images.shape[1:] != shape:
        raise UserError(
            f"representative images: expected shape {shape}, got {images.shape[1:]}"
        )


def _export(model: keras.Model, shape: tuple[int, int, int], path: str) -> None:
    import tensorflow as tf

    # What `model.export` writes less the call functions of every layer, which nothing
    # reads here: the same .tflite, byte for byte in size, in half the time.
    # (`TFLiteConverter.from_concrete_functions` would need no file at all, but loses
    # the weights of Keras 3 models.)
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.variables]
    module.serve = tf.function(
        lambda image: model(image, training=False),
        input_signature=[tf.TensorSpec((1, *shape), tf.float32, name="image")],
    )
    with captured_stderr():
        tf.saved_model.save(module, path, signatures=module.serve)


def _convert_saved_model(
    saved_model: str, form: Format, images: np.ndarray | None, input_type: str
) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    with captured_stderr():
        converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
        form.configure(converter)
        if form.integer:
            converter.representative_dataset = _calibration(images)
            converter.inference_input_type = tf.dtypes.as_dtype(input_type)
            converter.inference_output_type = tf.dtypes.as_dtype(input_type)
        try:
            return converter.convert()
        except (ConverterError, RuntimeError, ValueError) as error:
            raise UserError(
                f"cannot convert to {form.name}: {_converter_reason(str(error))}"
            ) from error


def _calibration(images: np.ndarray) -> Callable[[], Any]:
    def generate():
        for number, image in enumerate(images):
            image = np.array(image, np.float32)
            if number == 0:
                # Two corners pin the input's range to [0, 255] whatever the images
                # hold, and with it the input's step to one pixel value.
                image[0, 0], image[-1, -1] = 0.0, 255.0
            yield [image[np.newaxis]]

    return generate


def _converter_reason(message: str) -> str:
    operators = re.findall(r"(?:Flex|Custom) ops: ([^\n]+)", message)
    if operators:
        return f"TFLite has no operator for {', '.join(operators)}"
    return " ".join(message.split())[:200]


def _write(path: str, content: bytes) -> None:
    partial = f"{path}.partial"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"cannot write {path!r}: {error.strerror}") from error


def main(argv: Sequence[str]) -> None:
    """Runs the binary."""
    del argv
    values = flags.FLAGS
    for name in ("model", "out"):
        if not values[name].value:
            raise UserError(f"--{name}: expected a path, got nothing")
    formats = tuple(values.formats)
    check_formats(formats)
    # Here, as both import this module.
    from export.winner import export_winner, print_table
    from layernas_tf.datasets import load_dataset

    model = load_keras_model(values.model)
    height, width, _ = image_shape(model)
    if height != width:
        raise UserError(
            f"model {model.name!r}: expected square images, as data sets give them, "
            f"got {height}x{width}"
        )
    files = export_winner(
        model,
        load_dataset(values.dataset, resolution=height),
        values.out,
        formats,
        input_type=values.input_type,
        representative_images=values.representative_images,
        runtime=values.runtime,
    )
    print_table(files)


def define_flags() -> None:
    """Defines the binary's flags: not at import, as libraries import this module."""
    flags.DEFINE_string("model", "", "The .keras file.")
    flags.DEFINE_string("out", "", "The folder to write model_FORMAT.tflite into.")
    flags.DEFINE_list("formats", ["float32", "int8"], f"Some of {', '.join(FORMATS)}.")
    flags.DEFINE_string(
        "dataset",
        "digits",
        "The data set that the model was trained on: digits, npz:FILE, folder:DIR or "
        "tfds:NAME. Its training images set the ranges of int8, its test images check "
        "the files.",
    )
    flags.DEFINE_string(
        "input_type",
        "uint8",
        f"Input and output of int8 files: {', '.join(INPUT_TYPES)}.",
    )
    flags.DEFINE_integer(
        "representative_images", 200, "Training images that set the ranges of int8."
    )
    flags.DEFINE_string("runtime", "auto", "What runs the files: see export.benchmark.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
