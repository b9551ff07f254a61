"""The formats that a network can be exported to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from layernas_tf.core.errors import UserError

INPUT_TYPES = ("uint8", "int8", "float32")
"""Types that the input and the output of a full-integer file may have."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One way to write a model as .tflite.

    Example: `FORMATS["int8"].integer` is true.

    Attributes:
      name: Name of the format, as in `--formats`.
      integer: Whether weights and activations are int8. Such a format needs
        representative images, and its input and output may be integers.
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
"""The formats that a model alone can be converted to, by name."""

QAT_INT8 = "qat_int8"
"""The full-integer format of a network that was trained with rounding.

See `export.quantization.quantize`.
"""


def check_formats(
    names: tuple[str, ...], known: tuple[str, ...] = (*FORMATS, QAT_INT8)
) -> None:
    """Checks format names.

    Raises:
      UserError: If there is none, or one is unknown or named twice.
    """
    if not names:
        raise UserError(f"formats: expected some of {', '.join(known)}, got none")
    for name in names:
        if name not in known:
            raise UserError(f"unknown format {name!r}: expected {', '.join(known)}")
        if names.count(name) > 1:
            raise UserError(f"formats: {name!r} is named twice")


def check_input_type(input_type: str) -> None:
    """Raises `UserError` unless the type is one of `INPUT_TYPES`."""
    if input_type not in INPUT_TYPES:
        raise UserError(
            f"unknown input type {input_type!r}: expected {', '.join(INPUT_TYPES)}"
        )
