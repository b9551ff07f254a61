"""The Keras side of an export: loading a model and checking it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from export.tflite.quiet import captured_stderr
from layernas_tf.core.errors import UserError, reason_of

if TYPE_CHECKING:
    import keras


def image_shape(model: keras.Model) -> tuple[int, int, int]:
    """Height, width and channels of the images that a model takes.

    Raises:
      UserError: If the model does not have one image input of fixed size and one output
        of shape (n, classes).
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(
            f"model {model.name!r}: expected one input and one output, got "
            f"{len(model.inputs)} and {len(model.outputs)}"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or None in shape[1:]:
        raise UserError(
            f"model {model.name!r}: expected an input of shape (None, height, width, "
            f"channels), got {shape}"
        )
    if len(model.outputs[0].shape) != 2:
        raise UserError(
            f"model {model.name!r}: expected an output of shape (None, classes), got "
            f"{tuple(model.outputs[0].shape)}"
        )
    return shape[1:]


def load_keras_model(path: str) -> keras.Model:
    """Loads a .keras file without running any code that is stored in it.

    Raises:
      UserError: If there is no such file or it is not one that Keras loads safely.
    """
    if not os.path.isfile(path):
        raise UserError(f"no file {path!r}: expected a model saved as .keras")
    try:
        with captured_stderr():
            import keras

            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # A broken file makes Keras raise anything.
        raise UserError(
            f"cannot load {path!r} as a .keras model: {reason_of(error)}"
        ) from error


def in_float32(model: keras.Model) -> keras.Model:
    """The same network in float32; the model itself if it computes in float32 already.

    TFLite has no bfloat16 arithmetic, and a model trained in mixed precision keeps
    the precision of each layer in its file. Its weights are float32 in any case.
    """
    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model
    import keras

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer.__class__.from_config(layer.get_config() | {"dtype": "float32"})

    converted = keras.models.clone_model(model, clone_function=copy)
    converted.set_weights(model.get_weights())
    return converted
