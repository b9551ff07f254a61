"""Keras model to TFLite, in several formats; also a binary.

    python -m export.convert --model=runs/x/winner/model.keras --out=exported \
        --formats=float32,float16,dynamic,int8 --dataset=digits

Every conversion goes through one SavedModel with a batch of one image, so that the
interpreter can plan its memory once and a file holds no shape arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from absl import flags

from export.conversion.formats import (
    FORMATS,
    INPUT_TYPES,
    QAT_INT8,
    check_formats,
    check_input_type,
)
from export.conversion.keras_model import image_shape, load_keras_model
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.datasets.frame import DEFAULT_FIT, FITS


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
    # Imported here, as both import this module.
    from export.exporter import export_winner, print_table
    from layernas_tf.datasets import load_dataset

    qat = _qat(values) if QAT_INT8 in formats else None
    model = load_keras_model(values.model)
    height, width, channels = image_shape(model)
    files = export_winner(
        model,
        load_dataset(
            values.dataset,
            resolution=(height, width),
            channels=channels if channels in (1, 3) else None,
            fit=values.fit,
            skip_unreadable=values.skip_unreadable,
        ),
        values.out,
        formats,
        input_type=values.input_type,
        representative_images=values.representative_images,
        runtime=values.runtime,
        qat=qat,
    )
    print_table(files)


def _qat(values: Any) -> Any:
    from export.quantization.quantize import Qat, Tuning
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
        "The data set that the model was trained on: digits, moved_digits, npz:FILE, "
        "folder:DIR or tfds:NAME. Its training images set the ranges of int8, its test "
        "images check the files.",
    )
    flags.DEFINE_enum(
        "fit", DEFAULT_FIT, FITS, "How images are fitted to the size, as in the search."
    )
    flags.DEFINE_bool(
        "skip_unreadable", False, "Leave out the files that cannot be read."
    )
    flags.DEFINE_string(
        "input_type",
        "uint8",
        f"Input and output of int8 files: {', '.join(INPUT_TYPES)}.",
    )
    flags.DEFINE_integer(
        "representative_images", 200, "Training images that set the ranges of int8."
    )
    flags.DEFINE_string(
        "runtime", "auto", "The runtime that runs the files; see export.benchmark."
    )
    flags.DEFINE_string(
        "architecture",
        "",
        f"For {QAT_INT8}: the model's architecture.json; by default the one beside it.",
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
        "Epochs of quantization-aware training (QAT): 3, or as many as make 200 steps.",
    )
    flags.DEFINE_float("qat_learning_rate", 2e-4, "Learning rate at the start of QAT.")
    flags.DEFINE_integer("qat_batch_size", None, "Images per step of QAT.")
    flags.DEFINE_integer("seed", 0, "Seed of QAT's order and augmentation of images.")


def cli() -> None:
    """The command `layernas-export`: parses the flags and runs."""
    define_flags()
    run_main(main)


if __name__ == "__main__":
    cli()
