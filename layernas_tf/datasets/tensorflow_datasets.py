"""`tfds:NAME`: a data set of TensorFlow Datasets, in memory or streamed."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.arrays import make_dataset
from layernas_tf.datasets.frame import LARGEST_SIDE, Frame, frame_for
from layernas_tf.datasets.image_reader import fit_images, with_channels
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.split import ArraySplit, Dataset
from layernas_tf.datasets.stream import (
    HELD_BYTES,
    PHOTO_CROP,
    StreamSplit,
    stream_frame,
)

if TYPE_CHECKING:
    import tensorflow as tf

MOST_HELD_OUT = 50_000
"""Images of a streamed data set that are held out for validation at most."""

SHUFFLED = 4096
"""Images that a streamed data set is shuffled among, apart from its files; as many more
are read meanwhile."""

_FILES_READ = 16
"""Files of a streamed data set that are read at a time."""


def load_tfds(name: str, builder_name: str, options: Options) -> Dataset:
    """Loads a TFDS image-classification data set; downloads it where TFDS does.

    The test set is the split `test`, or `validation` where no labelled one exists (as
    for ImageNet). Images are cut to their central square and resized to one size.

    ImageNet, and what would take more than `HELD_BYTES`, is read anew in every round.
    Its validation images are then the first of the training split, a share of
    `valid_fraction` but at most `MOST_HELD_OUT`, whatever the seed: TFDS has shuffled
    them when it was prepared.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(builder_name)
    except Exception as error:  # TFDS raises many kinds, all about the name.
        raise UserError(
            f"{name}: TensorFlow Datasets cannot find {builder_name!r}: "
            f"{_first_line(error)}"
        ) from error
    info = builder.info
    features = dict(info.features)
    label = features.get("label")
    if not isinstance(label, tfds.features.ClassLabel) or not isinstance(
        features.get("image"), tfds.features.Image
    ):
        raise UserError(
            f"{name}: expected a data set with the features 'image' and 'label', got "
            f"{', '.join(features)}"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # The network, the disk, or a manual download.
        raise UserError(
            f"{name}: TensorFlow Datasets cannot prepare it (no network, or a manual "
            f"download is due): {_first_line(error)}"
        ) from error
    class_names = tuple(label.names)
    if _is_large(builder, options):
        return _stream(name, builder, class_names, options)
    train = _load_split(name, builder, "train", options, None)
    resolution = train.images.shape[1:3]
    test = _load_split(name, builder, _test_split(builder), options, resolution)
    present = len(np.unique(train.labels))
    if present < 2:
        raise UserError(f"{name}: expected images of at least 2 classes, got {present}")
    return make_dataset(
        name,
        train,
        test,
        class_names,
        dataclasses.replace(options, resolution=resolution),
        mirrors=train.images.shape[-1] == 3,
    )


def _test_split(builder: Any) -> str:
    # The test images of ImageNet come without labels.
    splits = builder.info.splits
    if builder.name.startswith("imagenet") or (splits and "test" not in splits):
        return "validation"
    return "test"


def _is_large(builder: Any, options: Options) -> bool:
    if builder.name == "imagenet2012":
        return True
    splits = builder.info.splits
    if not splits or "train" not in splits:
        return False
    height, width, channels = builder.info.features["image"].shape
    if height and width:
        frame = frame_for([[height, width]], 3, options.resolution, options.fit)
    else:
        frame = Frame(*(options.resolution or (LARGEST_SIDE, LARGEST_SIDE)), 3)
    images = min(splits["train"].num_examples, options.limit or math.inf)
    return images * frame.height * frame.width * (channels or 3) > HELD_BYTES


def _stream(
    name: str, builder: Any, class_names: tuple[str, ...], options: Options
) -> Dataset:
    splits = builder.info.splits
    test = _test_split(builder)
    for split in ("train", test):
        if split not in splits or not splits[split].num_examples:
            raise UserError(
                f"{name}: the split {split!r} is not in {str(builder.data_dir)!r}: "
                "expected a data set that TFDS has prepared with it"
            )
    if builder.info.file_format.value != "tfrecord":
        raise UserError(
            f"{name}: it is stored as {builder.info.file_format.value}: expected "
            "tfrecord, which can be streamed"
        )
    size = min(splits["train"].num_examples, options.limit or math.inf)
    held = max(1, min(round(options.valid_fraction * size), MOST_HELD_OUT))
    if held >= size:
        raise UserError(f"{name}: expected at least 2 training images, got {size}")
    height, width, channels = builder.info.features["image"].shape
    parse = functools.partial(_parse, name, builder.info.features)
    records = functools.partial(_records, _files(builder, f"train[:{size}]"))
    frame = stream_frame(
        (parse(record)[0].numpy() for (record,) in records(None).take(256)),
        options.channels or channels or 3,
        options.resolution,
        options.fit,
    )
    if options.fit == "crop" and not (height and width):
        # What is of one size was cut by those who made the data set.
        frame = dataclasses.replace(frame, share=PHOTO_CROP)

    def part(text: str) -> StreamSplit:
        return StreamSplit(
            size=splits[text].num_examples,
            frame=frame,
            records=functools.partial(_records, _files(builder, text)),
            parse=parse,
        )

    tested = min(splits[test].num_examples, options.limit or math.inf)
    return Dataset(
        name=name,
        classes=len(class_names),
        class_names=class_names,
        shape=frame.shape,
        train=part(f"train[{held}:{size}]"),
        valid=part(f"train[:{held}]"),
        test=part(f"{test}[:{tested}]"),
        mirrors=channels in (None, 3),
        frame=frame,
    )


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
    """One round of the serialized records; see `StreamSplit.records`."""
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


def _parse(name: str, features: Any, record: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The encoded image and the label of a record, and the data set's name."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    example = features.deserialize_example(
        record, decoders={"image": tfds.decode.SkipDecoding()}
    )
    return example["image"], example["label"], tf.constant(name)


def _load_split(
    name: str,
    builder: Any,
    split: str,
    options: Options,
    resolution: tuple[int, int] | None,
) -> ArraySplit:
    """Reads a split, resizing image by image; the first images settle the size."""
    try:
        source = builder.as_dataset(
            split=split,
            as_supervised=True,
            shuffle_files=False,
        )
    except Exception as error:
        raise UserError(f"{name}: no split {split!r}: {_first_line(error)}") from error
    if options.limit is not None:
        source = source.take(options.limit)
    if resolution is None:
        sizes = np.array(
            [image.shape[:2] for image, _ in source.take(256).as_numpy_iterator()]
        )
        if not len(sizes):
            raise UserError(f"{name}: the split {split!r} is empty")
        frame = frame_for(sizes, 3, options.resolution, options.fit)
        resolution = frame.shape[:2]
    images, labels = [], []
    for image, label in source.as_numpy_iterator():
        grey_or_rgb = with_channels(image[None], options.channels)
        frame = Frame(*resolution, grey_or_rgb.shape[-1], options.fit)
        images.append(fit_images(grey_or_rgb, frame)[0])
        labels.append(label)
    if not images:
        raise UserError(f"{name}: the split {split!r} is empty")
    labels = np.array(labels, np.int32)
    if labels.min() < 0:
        raise UserError(f"{name}: the split {split!r} has images without a label")
    return ArraySplit(np.stack(images), labels)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
