"""Writes models as a SavedModel and converts that to the bytes of a .tflite file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from export.tflite.quiet import captured_stderr
from layernas_tf.core.errors import UserError


def write_saved_model(
    call: Callable[[Any], Any],
    variables: Sequence[Any],
    shape: tuple[int, int, int],
    path: str,
) -> None:
    """Writes a function of one image as a SavedModel.

    `keras.Model.export` also writes the call functions of every layer, which nothing
    reads here. Without them, the .tflite file has the same size in half the time.
    (`TFLiteConverter.from_concrete_functions` would need no file at all, but loses the
    weights of Keras 3 models.)

    Args:
      call: The function from float32 images (1, height, width, channels) to the output.
      variables: The TensorFlow variables that it reads.
      shape: Height, width and channels of the image.
      path: The folder to write.
    """
    import tensorflow as tf

    module = tf.Module()
    module.variables_of_model = list(variables)
    module.serve = tf.function(
        call, input_signature=[tf.TensorSpec((1, *shape), tf.float32, name="image")]
    )
    with captured_stderr():
        tf.saved_model.save(module, path, signatures=module.serve)


def convert_saved_model(
    path: str, configure: Callable[[Any], None], format: str
) -> bytes:
    """Converts a SavedModel to the bytes of a .tflite file.

    Args:
      path: The SavedModel.
      configure: Sets the options of a `tf.lite.TFLiteConverter`.
      format: Name of the format, for messages.

    Raises:
      UserError: If the converter cannot convert it.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    with captured_stderr():
        converter = tf.lite.TFLiteConverter.from_saved_model(path)
        configure(converter)
        try:
            return converter.convert()
        except (ConverterError, RuntimeError, ValueError) as error:
            raise UserError(
                f"cannot convert to {format}: {_converter_reason(str(error))}"
            ) from error


def _converter_reason(message: str) -> str:
    operators = re.findall(r"(?:Flex|Custom) ops: ([^\n]+)", message)
    if operators:
        return f"TFLite has no operator for {', '.join(operators)}"
    return " ".join(message.split())[:200]
