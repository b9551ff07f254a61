"""The metadata of a .tflite file: class names, pixel values and how it was made.

It is written as TFLite's own metadata (`ModelMetadata` of
tensorflow_lite_support/metadata/metadata_schema.fbs: a buffer called TFLITE_METADATA,
and the labels as a file in a ZIP archive after the model), so that Android's and
MediaPipe's libraries find it too. This module is also a binary that reads it:

    python -m export.tflite.metadata --model=winner/model_int8.tflite
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
from absl import flags
from flatbuffers import number_types
from flatbuffers.table import Table

from export.tflite.flatbuffer import read_model, schema, write_model
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import read_bytes

_NAME = b"TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
_LABELS_FILE = "labels.txt"
_RECIPE_FILE = "input.json"
"""What an app must do to a picture, as `datasets.frame.Frame.recipe` lists it."""
_AXIS_LABELS = 2
_IMAGE_PROPERTIES = 2
_NORMALIZATION = 1
_COLOR_SPACES = {3: 1, 1: 2}


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Metadata of an image classifier.

    Example: `Metadata("digits", "An int8 network", ("zero", "one"))`.

    Attributes:
      name: Name of the network.
      description: How the file was made.
      labels: Names of the classes, in the order of the outputs.
      mean: What a user must subtract from pixels in [0, 255]: one number, or one per
        channel. Ours is 0, as the files take raw pixels and normalize inside.
      std: What to divide by after that; ours is 1.
      pixel_range: Lowest and highest value of a pixel.
      recipe: The steps by which an app prepares a picture, ready for JSON; empty if
        they are not known.
      recipe_text: The recipe in one sentence.
    """

    name: str
    description: str
    labels: tuple[str, ...]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    pixel_range: tuple[float, float] = (0.0, 255.0)
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    recipe_text: str = ""


def with_metadata(content: bytes, metadata: Metadata) -> bytes:
    """Adds metadata to the bytes of a .tflite file, in place of any that it has.

    Raises:
      UserError: If a label cannot be a line of a text file.
    """
    for label in metadata.labels:
        if not label.strip() or len(label.splitlines()) != 1:
            raise UserError(f"labels: expected names of one line each, got {label!r}")
    module = schema()
    model = read_model(content, metadata.name)
    channels = int(model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape[-1])
    model.metadata = [
        entry for entry in model.metadata or [] if _text(entry.name) != _NAME.decode()
    ]
    buffer = module.BufferT()
    buffer.data = list(_pack(metadata, channels))
    model.buffers.append(buffer)
    entry = module.MetadataT()
    entry.name, entry.buffer = _NAME, len(model.buffers) - 1
    model.metadata.append(entry)
    held = io.BytesIO()
    held.write(write_model(model))
    with zipfile.ZipFile(held, "a") as archive:
        # Stored, not deflated: libraries read it where it lies. No date: the same
        # model gives the same file.
        labels = "".join(f"{label}\n" for label in metadata.labels)
        archive.writestr(zipfile.ZipInfo(_LABELS_FILE), labels)
        if metadata.recipe:
            recipe = json.dumps(dict(metadata.recipe), indent=1)
            archive.writestr(zipfile.ZipInfo(_RECIPE_FILE), recipe)
    return held.getvalue()


def read_metadata(path: str) -> Metadata | None:
    """Reads what `with_metadata` wrote; None if a file has no such metadata.

    Raises:
      UserError: If the file cannot be read or its metadata is damaged.
    """
    content = read_bytes(path)
    model = read_model(content, path)
    entries = [
        entry for entry in model.metadata or [] if _text(entry.name) == _NAME.decode()
    ]
    if not entries:
        return None
    try:
        return _unpack(bytes(model.buffers[entries[0].buffer].data), content)
    except Exception as error:  # Offsets of a damaged table lead anywhere.
        raise UserError(f"the metadata of {path!r} are damaged: {error}") from error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class _Writer:
    """Writes tables of a flatbuffer, by the positions of their fields."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder()
        self.text = self.builder.CreateString

    def table(
        self, size: int, offsets: dict[int, int], numbers: dict[int, int] | None = None
    ) -> int:
        """A table of `size` fields: offsets of other objects, and bytes."""
        self.builder.StartObject(size)
        for slot, offset in offsets.items():
            self.builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, number in (numbers or {}).items():
            self.builder.PrependUint8Slot(slot, number, 0)
        return self.builder.EndObject()

    def vector(self, offsets: Sequence[int]) -> int:
        """A vector of tables."""
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def floats(self, values: Sequence[float]) -> int:
        """A vector of float32 numbers."""
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return self.builder.EndVector()


def _pack(metadata: Metadata, channels: int) -> bytes:
    """The `ModelMetadata` flatbuffer; numbers are positions in the schema's tables."""
    writer = _Writer()
    made, vector = writer.table, writer.vector
    floats, text = writer.floats, writer.text
    low, high = metadata.pixel_range
    normalization = made(2, {0: floats(metadata.mean), 1: floats(metadata.std)})
    unit = made(2, {1: normalization}, {0: _NORMALIZATION})
    image = made(2, {}, {0: _COLOR_SPACES.get(channels, 0)})
    about = f"Pixels from {low:g} to {high:g}; the network normalizes them."
    fields = {
        0: text("image"),
        1: text(f"{metadata.recipe_text} {about}".strip()),
        3: made(3, {1: image}, {0: _IMAGE_PROPERTIES}),
        4: vector([unit]),
        5: made(2, {0: floats([high]), 1: floats([low])}),
    }
    if metadata.recipe:
        note = text("What an app must do to a picture, step by step.")
        fields[6] = vector([made(5, {0: text(_RECIPE_FILE), 1: note})])
    input_ = made(7, fields)
    labels = made(
        5,
        {0: text(_LABELS_FILE), 1: text("Names of the classes, one a line.")},
        {2: _AXIS_LABELS},
    )
    output = made(
        7,
        {
            0: text("probability"),
            1: text("Probability of each class."),
            5: made(2, {0: floats([1.0]), 1: floats([0.0])}),
            6: vector([labels]),
        },
    )
    subgraph = made(10, {2: vector([input_]), 3: vector([output])})
    root = made(
        8,
        {
            0: text(metadata.name),
            1: text(metadata.description),
            3: vector([subgraph]),
            7: text(_PARSER_VERSION),
        },
    )
    writer.builder.Finish(root, _IDENTIFIER)
    return bytes(writer.builder.Output())


class _Reader:
    """A table of a flatbuffer, read by the positions of its fields."""

    def __init__(self, data: bytes, position: int):
        self._table = Table(bytearray(data), position)
        self._data = data

    def _field(self, slot: int) -> int:
        offset = self._table.Offset(4 + 2 * slot)
        if not offset:
            raise ValueError(f"no field {slot}")
        return offset + self._table.Pos

    def text(self, slot: int) -> str:
        return self._table.String(self._field(slot)).decode()

    def table(self, slot: int) -> _Reader:
        return _Reader(self._data, self._table.Indirect(self._field(slot)))

    def first(self, slot: int) -> _Reader:
        """The first table of a vector of tables."""
        start = self._table.Vector(self._field(slot) - self._table.Pos)
        return _Reader(self._data, self._table.Indirect(start))

    def floats(self, slot: int) -> tuple[float, ...]:
        offset = self._field(slot) - self._table.Pos
        start, size = self._table.Vector(offset), self._table.VectorLen(offset)
        flags_ = number_types.Float32Flags
        return tuple(self._table.Get(flags_, start + 4 * i) for i in range(size))


def _unpack(data: bytes, content: bytes) -> Metadata:
    root = _Reader(data, int.from_bytes(data[:4], "little"))
    subgraph = root.first(3)
    image, output = subgraph.first(2), subgraph.first(3)
    normalization = image.first(4).table(1)
    stats = image.table(5)
    recipe = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        labels = archive.read(output.first(6).text(0)).decode().splitlines()
        if _RECIPE_FILE in archive.namelist():
            recipe = json.loads(archive.read(_RECIPE_FILE))
    return Metadata(
        name=root.text(0),
        description=root.text(1),
        labels=tuple(labels),
        mean=normalization.floats(0),
        std=normalization.floats(1),
        pixel_range=(stats.floats(1)[0], stats.floats(0)[0]),
        recipe=recipe,
        recipe_text=image.text(1).rpartition(" Pixels from ")[0],
    )


def main(argv: Sequence[str]) -> None:
    """Runs the binary: prints the metadata as JSON."""
    del argv
    path = flags.FLAGS.model
    if not path:
        raise UserError("--model: expected a .tflite file, got nothing")
    metadata = read_metadata(path)
    if metadata is None:
        raise UserError(f"{path!r} has no metadata")
    print(json.dumps(dataclasses.asdict(metadata), indent=1, ensure_ascii=False))


def define_flags() -> None:
    """Defines the binary's flags: not at import, as libraries import this module."""
    flags.DEFINE_string("model", "", "The .tflite file.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
