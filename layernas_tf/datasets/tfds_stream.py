"""TFDS data sets that exceed the memory: read from their files in every epoch."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.arrays import TEST_FRACTION
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.split import Dataset
from layernas_tf.datasets.stream import PHOTO_CROP, StreamSplit, stream_frame
from layernas_tf.datasets.tfds_source import TfdsSource, held_note

if TYPE_CHECKING:
    import tensorflow as tf

MOST_HELD_OUT = 50_000
"""The most images of a streamed data set that are held out for validation."""

SHUFFLED = 4096
"""A streamed data set is shuffled within chunks of this many images, besides the order
of its files; the next chunk is read meanwhile."""

_FILES_READ = 16
"""Files of a streamed data set that are read at a time."""


def stream_tfds(source: TfdsSource, options: Options) -> Dataset:
    """The data set as splits that are decoded while they are used.

    Raises:
      UserError: It is stored in a form that cannot be streamed, or it is too small.
    """
    name, builder = source.name, source.builder
    splits = builder.info.splits
    for split in source.splits.values():
        if not splits[split].num_examples:
            raise UserError(
                f"{name}: the split {split!r} is not in {str(builder.data_dir)!r}: "
                "expected a data set that TFDS has prepared with it"
            )
    if builder.info.file_format.value != "tfrecord":
        raise UserError(
            f"{name}: it is stored as {builder.info.file_format.value}: expected "
            "tfrecord, which can be streamed"
        )
    height, width, channels = builder.info.features[source.image].shape
    shown = options.channels or (1 if channels in (1, 2) else 3)
    parse = functools.partial(_parse, source)
    places, notes = _places(source, parse, options)
    first = functools.partial(_records, _files(builder, places["train"]))
    frame = stream_frame(
        (parse(record)[0].numpy() for (record,) in first(None).take(256)),
        shown,
        options.resolution,
        options.fit,
    )
    if options.fit == "crop" and not (height and width):
        # Images of one size were cropped by the makers of the data set.
        frame = dataclasses.replace(frame, share=PHOTO_CROP)

    def part(text: str) -> StreamSplit:
        return StreamSplit(
            size=splits[text].num_examples,
            frame=frame,
            records=functools.partial(_records, _files(builder, text)),
            parse=parse,
        )

    return Dataset(
        name=name,
        classes=len(source.class_names),
        class_names=source.class_names,
        shape=frame.shape,
        train=part(places["train"]),
        valid=part(places["valid"]),
        test=part(places["test"]),
        mirrors=shown == 3,
        frame=frame,
        notes=(*source.notes, *notes),
    )


def _places(
    source: TfdsSource, parse: Callable[..., tuple[tf.Tensor, ...]], options: Options
) -> tuple[dict[str, str], list[str]]:
    """For each part, TFDS' text of its records, such as `train[10:90]`; and notes."""
    splits = source.builder.info.splits
    found, notes = dict(source.splits), []
    for part in ("test", "valid"):
        if part in found and not _is_labelled(source, parse, found[part]):
            notes.append(
                f"the images of the split {found[part]!r} have no labels and are left "
                "out"
            )
            del found[part]
    if "test" not in found and "valid" in found:
        found["test"] = found.pop("valid")
    train = found["train"]
    whole = splits[train].num_examples
    limit = options.limit or math.inf
    size, start = min(whole, limit), 0
    places = {}
    if "test" in found:
        places["test"] = f"{found['test']}[:{min(_size(splits, found['test']), limit)}]"
    else:
        start = max(1, round(TEST_FRACTION * whole))
        size = min(whole - start, limit)
        places["test"] = f"{train}[:{min(start, limit)}]"
        notes.append(held_note(start, whole))
    if "valid" in found:
        held = 0
        number = min(_size(splits, found["valid"]), limit)
        places["valid"] = f"{found['valid']}[:{number}]"
    else:
        held = max(1, min(round(options.valid_fraction * size), MOST_HELD_OUT))
        places["valid"] = f"{train}[{start}:{start + held}]"
    if held >= size:
        raise UserError(
            f"{source.name}: expected at least 2 training images, got {size}"
        )
    places["train"] = f"{train}[{start + held}:{start + size}]"
    return places, notes


def _size(splits: Any, split: str) -> int:
    return splits[split].num_examples


def _is_labelled(
    source: TfdsSource, parse: Callable[..., tuple[tf.Tensor, ...]], split: str
) -> bool:
    number = min(8, _size(source.builder.info.splits, split))
    records = _records(_files(source.builder, f"{split}[:{number}]"), None)
    return all(int(parse(record)[1]) >= 0 for (record,) in records)


def _files(builder: Any, split: str) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Files of a split, with the records to skip and then to take in each."""
    import tensorflow as tf

    files = builder.info.splits[split].file_instructions
    return (
        tf.constant([str(file.filename) for file in files]),
        tf.constant([file.skip for file in files], tf.int64),
        tf.constant([file.take for file in files], tf.int64),
    )


def _records(files: tuple[tf.Tensor, ...], key: tf.Tensor | None) -> tf.data.Dataset:
    """The serialized records of one epoch; see `StreamSplit.records`."""
    import tensorflow as tf

    if key is not None:
        order = tf.range(tf.size(files[0]))
        order = tf.random.experimental.stateless_shuffle(order, key)
        files = tuple(tf.gather(column, order) for column in files)
    records = tf.data.Dataset.from_tensor_slices(files).interleave(
        lambda file, skip, take: tf.data.TFRecordDataset(file).skip(skip).take(take),
        cycle_length=_FILES_READ,
        block_length=_FILES_READ,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if key is not None:
        # Not by `shuffle`: its order depends on TensorFlow's own seed too.
        chunks = records.batch(SHUFFLED).prefetch(1).enumerate()
        records = chunks.flat_map(
            lambda number, chunk: tf.data.Dataset.from_tensor_slices(
                tf.random.experimental.stateless_shuffle(
                    chunk, tf.random.fold_in(key, number)
                )
            )
        )
    return records.map(lambda record: (record,))


def _parse(source: TfdsSource, record: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The encoded image and the label of a record, and the data set's name."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    example = source.builder.info.features.deserialize_example(
        record, decoders={source.image: tfds.decode.SkipDecoding()}
    )
    return example[source.image], example[source.label], tf.constant(source.name)
