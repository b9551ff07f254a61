"""`folder:DIR`: one folder of images per class."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.arrays import TEST_FRACTION
from layernas_tf.datasets.data_check import DataCheck, check_from_json
from layernas_tf.datasets.decoding import ImageError
from layernas_tf.datasets.folder_check import (
    GREY_NOTE,
    Progress,
    check_folder,
    readable_part,
    stamp_of,
)
from layernas_tf.datasets.folder_listing import FolderListing, list_folder
from layernas_tf.datasets.frame import Frame
from layernas_tf.datasets.image_reader import read_image
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.picture_files import shown
from layernas_tf.datasets.split import (
    ArraySplit,
    Dataset,
    Split,
    check_limit,
    hold_out,
    subset,
)
from layernas_tf.datasets.stream import HELD_BYTES, StreamSplit

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Files and labels of one split."""

    files: np.ndarray
    labels: np.ndarray

    def at(self, indices: np.ndarray) -> _Part:
        return _Part(self.files[indices], self.labels[indices])


def load_folder(name: str, path: str, options: Options) -> Dataset:
    """Images in DIR/train/CLASS/, DIR/val/CLASS/, DIR/test/CLASS/, or in DIR/CLASS/.

    `folder_listing` says which folders and files count. Every file is decoded once
    before anything else, unless `options.kept_check` is a check of the same files.
    Without a test folder, a fifth of each class becomes the test set; without a
    validation folder, a share of the training images is held out. Images are brought
    into one frame, in RGB unless `options.channels` is 1. Images that would take more
    than `HELD_BYTES` in memory are read again in every epoch.

    Raises:
      UserError: A file cannot be read (all such files are named), a class has too few
        images, or the folder is not a data set.
    """
    listing = list_folder(name, path)
    check = check_listing(name, listing, options)
    check.raise_problems(skip_unreadable=options.skip_unreadable)
    train, valid, test, notes = _parts(name, readable_part(listing, check), options)
    # A kept check has these notes already.
    said = dict.fromkeys((*check.notes, *notes))
    if options.channels == 1:
        said.pop(GREY_NOTE, None)
    check = dataclasses.replace(check, notes=tuple(said))
    assert check.frame is not None  # there are readable pictures
    frame = Frame(*check.frame, options.channels or 3, options.fit)
    images = len(train.files) + len(valid.files)
    read = _stream if images * int(np.prod(frame.shape)) > HELD_BYTES else _hold
    return Dataset(
        name=name,
        classes=len(listing.class_names),
        class_names=listing.class_names,
        shape=frame.shape,
        train=read(name, train, frame),
        valid=read(name, valid, frame),
        test=read(name, test, frame),
        mirrors=True,
        frame=frame,
        check=check,
    )


def check_listing(
    name: str,
    listing: FolderListing,
    options: Options,
    progress: Progress | None = None,
) -> DataCheck:
    """The kept check if it is one of the same files, else a new one."""
    if options.kept_check:
        try:
            text = pathlib.Path(options.kept_check).read_text(encoding="utf-8")
            kept = check_from_json(json.loads(text))
            if kept.stamp == stamp_of(listing, options.resolution, options.fit):
                return kept
        except (OSError, ValueError, TypeError, KeyError):
            pass  # none, or of another version: the pictures are looked at again
    return check_folder(
        name,
        listing,
        resolution=options.resolution,
        fit=options.fit,
        progress=progress or options.progress,
    )


def _parts(
    name: str, listing: FolderListing, options: Options
) -> tuple[_Part, _Part, _Part, list[str]]:
    """Files to train, validate and test on, and lines about what was held out."""
    given = {
        split: _Part(
            # As bytes: names of files need not be text.
            np.array([os.fsencode(file) for file in files.paths], object),
            np.array(files.labels, np.int32),
        )
        for split, files in listing.splits.items()
    }
    train, valid, test = given["train"], given.get("valid"), given.get("test")
    notes = []
    if test is None:
        stay, held = hold_out(train.labels, TEST_FRACTION, seed=0)
        notes.append(
            f"no test folder, so {len(held):,} of {len(train.files):,} images are held "
            "out as the test set"
        )
        train, test = train.at(stay), train.at(held)
    if options.limit is not None:
        least = 2 if valid is None else 1
        check_limit(name, options.limit, len(listing.class_names), least)
        train = train.at(subset(train.labels, options.limit, options.seed, least))
        test = test.at(subset(test.labels, options.limit, options.seed))
    if valid is None:
        stay, held = hold_out(train.labels, options.valid_fraction, options.seed)
        train, valid = train.at(stay), train.at(held)
    elif options.limit is not None:
        valid = valid.at(subset(valid.labels, options.limit, options.seed))
    return train, valid, test, notes


def _hold(name: str, part: _Part, frame: Frame) -> Split:
    images = np.empty((len(part.files), *frame.shape), np.uint8)

    def read(index: int) -> None:
        images[index] = _read(name, part.files[index], frame)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(read, range(len(images))):
            pass  # to raise what a thread raised
    return ArraySplit(images, part.labels)


def _read(name: str, file: bytes, frame: Frame) -> np.ndarray:
    try:
        with open(file, "rb") as opened:
            return read_image(opened.read(), frame)
    except (OSError, ImageError) as error:
        raise UserError(
            f"{name}: cannot read the image {shown(os.fsdecode(file))}: {error}"
        ) from error


def _stream(name: str, part: _Part, frame: Frame) -> Split:
    import tensorflow as tf

    del name  # messages name the file
    return StreamSplit(
        size=len(part.files),
        frame=frame,
        records=functools.partial(
            _records, tf.constant(list(part.files)), tf.constant(part.labels)
        ),
        parse=_read_file,
    )


def _records(
    files: tf.Tensor, labels: tf.Tensor, key: tf.Tensor | None
) -> tf.data.Dataset:
    """The files and labels of one epoch; see `StreamSplit.records`."""
    import tensorflow as tf

    order = tf.range(len(files))
    if key is not None:
        order = tf.random.experimental.stateless_shuffle(order, key)
    return tf.data.Dataset.from_tensor_slices(
        (tf.gather(files, order), tf.gather(labels, order))
    )


def _read_file(file: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
    import tensorflow as tf

    return tf.io.read_file(file), label, file
