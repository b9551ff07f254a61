"""Keras model to TFLite, in several formats; also a binary.

    python -m export.convert --model=runs/x/winner/model.keras --out=exported \
        --formats=float32,float16,dynamic,int8 --dataset=digits

Every conversion goes through one SavedModel with a batch of one image, so that the
interpreter can plan its memory once and a file holds no shape arithmetic.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from export.conversion.formats import (
    FORMATS,
    INPUT_TYPES,
    QAT_INT8,
    Format,
    check_formats,
    check_input_type,
)
from export.conversion.keras_model import (
    image_shape,
    in_float32,
    load_keras_model,
)
from export.conversion.saved_model import (
    convert_saved_model,
    write_saved_model,
)
from layernas_tf.core.errors import (
    UserError,
    run_main,
)

if TYPE_CHECKING:
    import keras


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
      labels: Names of the classes; with them the files get metadata.

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
    with tempfile.TemporaryDirectory(prefix="saved_model_") as saved_model:
        write_saved_model(
            lambda image: model(image, training=False),
            [variable.value for variable in model.variables],
            shape,
            saved_model,
        )
        for name, path in paths.items():
            configure = functools.partial(
                _configure, FORMATS[name], representative_images, input_type
            )
            content = convert_saved_model(saved_model, configure, name)
            write_file(path, described(content, model.name, name, labels))


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
        converter.representative_dataset = _calibration(images)
        converter.inference_input_type = tf.dtypes.as_dtype(input_type)
        converter.inference_output_type = tf.dtypes.as_dtype(input_type)


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


def described(content: bytes, name: str, format: str, labels: Sequence[str]) -> bytes:
    """A .tflite file's bytes with metadata, if there are labels to put in."""
    if not labels:
        return content
    from export.tflite.metadata import (
        Metadata,
        with_metadata,
    )

    text = f"Image classifier, {format}, exported by LayerNAS-TF."
    return with_metadata(content, Metadata(name, text, tuple(labels)))


def write_file(path: str, content: bytes) -> None:
    """Writes a file whole or not at all; `UserError` where it cannot."""
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
    check_input_type(values.input_type)
    # Here, as both import this module.
    from export.conversion.exporter import (
        export_winner,
        print_table,
    )
    from layernas_tf.datasets import load_dataset

    qat = _qat(values) if QAT_INT8 in formats else None
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
        qat=qat,
    )
    print_table(files)


def _qat(values: Any) -> Any:
    from export.quantization.quantize import (
        Qat,
        Tuning,
    )
    from search_spaces.architecture_files import beside, load_architecture

    tuning = Tuning(
        epochs=values.qat_epochs,
        learning_rate=values.qat_learning_rate,
        batch_size=values.qat_batch_size,
        seed=values.seed,
    )
    path = values.architecture or beside(values.model)
    if not os.path.isfile(path):
        raise UserError(
            f"format {QAT_INT8!r} needs the architecture file that a search writes "
            f"beside the model: there is no {path!r}; name it with --architecture"
        )
    return Qat(*load_architecture(path, values.space), tuning)


def define_flags() -> None:
    """Defines the binary's flags: not at import, as libraries import this module."""
    flags.DEFINE_string("model", "", "The .keras file.")
    flags.DEFINE_string("out", "", "The folder to write model_FORMAT.tflite into.")
    flags.DEFINE_list(
        "formats",
        ["float32", "int8"],
        f"Some of {', '.join((*FORMATS, QAT_INT8))}.",
    )
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
    flags.DEFINE_string(
        "architecture",
        "",
        f"For {QAT_INT8}: its architecture.json; by default the one beside the model.",
    )
    flags.DEFINE_string(
        "space",
        "",
        f"For {QAT_INT8}: the architecture's space if it is your own code "
        "(path/to/file.py:function); a file alone never runs code.",
    )
    flags.DEFINE_integer(
        "qat_epochs",
        None,
        "Epochs of quantization-aware training: 3, or as many as make 200 steps.",
    )
    flags.DEFINE_float("qat_learning_rate", 2e-4, "Its learning rate at the start.")
    flags.DEFINE_integer("qat_batch_size", None, "Images per step.")
    flags.DEFINE_integer("seed", 0, "Of its order of images and their augmentation.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
