"""`tfds:NAME`: a data set of TensorFlow Datasets, in memory or streamed."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.arrays import TEST_FRACTION, make_dataset
from layernas_tf.datasets.frame import LARGEST_SIDE, Frame, frame_for
from layernas_tf.datasets.framing import fit_images, with_channels
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.pixels import from_16_bits, without_alpha
from layernas_tf.datasets.split import ArraySplit, Dataset, hold_out
from layernas_tf.datasets.stream import HELD_BYTES
from layernas_tf.datasets.tfds_source import (
    TfdsSource,
    first_line,
    held_note,
    open_source,
)
from layernas_tf.datasets.tfds_stream import stream_tfds


def load_tfds(name: str, builder_name: str, options: Options) -> Dataset:
    """Loads a TFDS image-classification data set; downloads it where TFDS does.

    The only feature that is an image and the only `ClassLabel` are used, whatever their
    names. A labelled split `validation` is the validation set if there is a labelled
    `test` too; alone, it is the test set (as for ImageNet). Without either, a part of
    the training images becomes the test set.

    ImageNet, and data sets that would take more than `HELD_BYTES` in memory, are read
    again in every epoch. Then the first training images are held out, whatever the
    seed, as TFDS has shuffled them. For validation, their share is `valid_fraction`,
    but they are at most `tfds_stream.MOST_HELD_OUT`.
    """
    source = open_source(name, builder_name)
    if _is_large(source, options):
        return stream_tfds(source, options)
    return _hold(source, options)


def _hold(source: TfdsSource, options: Options) -> Dataset:
    """The data set in memory."""
    name, notes = source.name, list(source.notes)
    train, resolution = _load_split(source, "train", options, None)
    loaded = {"train": train}
    for part in source.splits:
        if part != "train":
            split, _ = _load_split(source, part, options, resolution)
            loaded[part] = split
    for part, split in list(loaded.items()):
        labelled = split.labels >= 0
        if labelled.all():
            continue
        missing = int((~labelled).sum())
        notes.append(
            f"{missing:,} of {split.size:,} images of the split "
            f"{source.splits[part]!r} have no label and are left out"
        )
        loaded[part] = split.take(np.flatnonzero(labelled))
        if not loaded[part].size:
            del loaded[part]
    if "train" not in loaded:
        raise UserError(f"{name}: the training images have no labels")
    if "test" not in loaded and "valid" in loaded:
        loaded["test"] = loaded.pop("valid")
    present = len(np.unique(loaded["train"].labels))
    if present < 2:
        raise UserError(f"{name}: expected images of at least 2 classes, got {present}")
    if "test" not in loaded:
        train = loaded["train"]
        stay, held = hold_out(train.labels, TEST_FRACTION, seed=0)
        loaded.update(train=train.take(stay), test=train.take(held))
        notes.append(held_note(len(held), train.size))
    return make_dataset(
        name,
        loaded["train"],
        loaded["test"],
        source.class_names,
        dataclasses.replace(options, resolution=resolution),
        mirrors=train.images.shape[-1] == 3,
        valid=loaded.get("valid"),
        notes=tuple(notes),
    )


def _load_split(
    source: TfdsSource,
    part: str,
    options: Options,
    resolution: tuple[int, int] | None,
) -> tuple[ArraySplit, tuple[int, int]]:
    """Reads a split image by image; the first images decide on height and width."""
    name, split = source.name, source.splits[part]
    try:
        examples = source.builder.as_dataset(split=split, shuffle_files=False)
    except Exception as error:
        raise UserError(f"{name}: no split {split!r}: {first_line(error)}") from error
    examples = examples.map(lambda e: (e[source.image], e[source.label]))
    if options.limit is not None:
        taken = options.limit
        if part == "train" and "test" not in source.splits:
            taken = math.ceil(taken / (1 - TEST_FRACTION))
        examples = examples.take(taken)
    if resolution is None:
        sizes = np.array(
            [image.shape[:2] for image, _ in examples.take(256).as_numpy_iterator()]
        )
        if not len(sizes):
            raise UserError(f"{name}: the split {split!r} is empty")
        frame = frame_for(sizes, 3, options.resolution, options.fit)
        resolution = (frame.height, frame.width)
    images, labels = [], []
    for image, label in examples.as_numpy_iterator():
        plain = with_channels(_pixels(name, image[None]), options.channels)
        frame = Frame(*resolution, plain.shape[-1], options.fit)
        images.append(fit_images(plain, frame)[0])
        labels.append(label)
    if not images:
        raise UserError(f"{name}: the split {split!r} is empty")
    return ArraySplit(np.stack(images), np.array(labels, np.int32)), resolution


def _pixels(name: str, images: np.ndarray) -> np.ndarray:
    """Images that TFDS has decoded, as 8-bit grey or RGB."""
    if images.dtype == np.uint16:
        images = from_16_bits(images)
    if images.dtype != np.uint8 or images.shape[-1] not in (1, 3, 4):
        raise UserError(
            f"{name}: its images are {images.dtype} with {images.shape[-1]} channels: "
            "expected 8 or 16 bits with 1, 3 or 4 channels"
        )
    return without_alpha(images)


def _is_large(source: TfdsSource, options: Options) -> bool:
    builder = source.builder
    if builder.name == "imagenet2012":
        return True
    if source.splits["train"] not in (builder.info.splits or ()):
        return False
    height, width, channels = builder.info.features[source.image].shape
    if height and width:
        frame = frame_for([[height, width]], 3, options.resolution, options.fit)
    else:
        frame = Frame(*(options.resolution or (LARGEST_SIDE, LARGEST_SIDE)), 3)
    split = builder.info.splits[source.splits["train"]]
    images = min(split.num_examples, options.limit or math.inf)
    return images * frame.height * frame.width * (channels or 3) > HELD_BYTES
