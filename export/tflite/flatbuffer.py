""".tflite files as Python objects, and back."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import flatbuffers

from layernas_tf.core.errors import UserError

_ALIGNMENT = 16
"""Alignment in bytes; kernels may load weights with instructions that need it."""


def schema() -> ModuleType:
    """The classes of TFLite's file format."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        # The same, in a package that takes seconds to import.
        from tensorflow.lite.python import schema_py_generated
    return schema_py_generated


def read_model(content: bytes, path: str) -> Any:
    """The `ModelT` of a file's bytes; `path` is for the message.

    Raises:
      UserError: If they are not those of a .tflite file.
    """
    if content[4:8] != b"TFL3":
        raise UserError(f"{path!r} is not a .tflite file")
    try:
        return schema().ModelT.InitFromPackedBuf(content, 0)
    except Exception as error:  # Offsets of a damaged file lead anywhere.
        raise UserError(f"{path!r} is a damaged .tflite file: {error}") from error


def write_model(model: Any) -> bytes:
    """The bytes of a `ModelT`."""
    builder = _AlignedBuilder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns byte vectors as the schema says.

    The schema has `force_align: 16` for the data of buffers, which the generated Python
    code ignores.
    """

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        if elemSize == 1:
            alignment = _ALIGNMENT
        return super().StartVector(elemSize, numElems, alignment)
