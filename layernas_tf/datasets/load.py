"""`load_dataset`: loads the data set that a text names."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution
from layernas_tf.datasets.arrays import load_digits
from layernas_tf.datasets.data_check import check_arrays
from layernas_tf.datasets.folder import load_folder
from layernas_tf.datasets.frame import DEFAULT_FIT, FITS
from layernas_tf.datasets.moved_digits import load_moved_digits
from layernas_tf.datasets.npz import load_npz
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.split import ArraySplit, Dataset
from layernas_tf.datasets.tensorflow_datasets import load_tfds

KINDS = "digits, moved_digits, npz:FILE, folder:DIR, tfds:NAME"


def load_dataset(
    text: str,
    *,
    resolution: int | tuple[int, int] | str | None = None,
    valid_fraction: float = 0.2,
    seed: int = 0,
    limit: int | None = None,
    fit: str = DEFAULT_FIT,
    channels: int | None = None,
    skip_unreadable: bool = False,
    kept_check: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Loads a data set and holds out validation images from its training images.

    Args:
      text: `digits`, `moved_digits`, `npz:FILE`, `folder:DIR` or `tfds:NAME`.
      resolution: Height and width of the images in pixels: 96, (96, 160) or "96x160".
        By default a square of as many pixels as the median image, of at least 32 and at
        most 224 a side.
      valid_fraction: Share of the training images of each class that is held out. The
        test set is never touched.
      seed: Seed of the choice of held-out images.
      limit: At most about this many training images (with those that are held out for
        validation), test images, and images of a validation set of its own, each class
        in proportion; None takes all.
      fit: How an image of other proportions is brought into the frame: `squash`, `pad`
        or `crop` (`datasets.frame.FITS`).
      channels: 1 for grey, 3 for RGB; None keeps the channels of the images, or takes 3
        for a folder.
      skip_unreadable: Whether damaged files of a folder are left out instead of
        refused.
      kept_check: Path of an earlier check of the folder (`data_check.json`), which is
        used as long as the files are the same.
      progress: Called with the number of checked files and the number of all files.

    Returns:
      The data set; images are float32 in [0, 255] when they come in batches.

    Raises:
      UserError: The text names no data set, or the data cannot be used.
    """
    if fit not in FITS:
        raise UserError(f"fit: expected one of {', '.join(FITS)}, got {fit!r}")
    if channels not in (None, 1, 3):
        raise UserError(f"channels: expected 1 (grey) or 3 (RGB), got {channels}")
    if not 0 < valid_fraction < 1:
        raise UserError(
            f"valid_fraction: expected a share between 0 and 1, got {valid_fraction}"
        )
    if limit is not None and limit < 1:
        raise UserError(f"limit: expected at least 1 image, got {limit}")
    options = Options(
        None if resolution is None else parse_resolution(resolution),
        valid_fraction,
        seed,
        limit,
        fit,
        channels,
        skip_unreadable,
        kept_check,
        progress,
    )
    kind, colon, rest = text.partition(":")
    if kind in ("npz", "folder"):
        rest = os.path.expanduser(rest)
    loaders = {"npz": load_npz, "folder": load_folder, "tfds": load_tfds}
    embedded = {"digits": load_digits, "moved_digits": load_moved_digits}
    if text in embedded:
        return _checked(embedded[text](text, options))
    if colon and rest and kind in loaders:
        return _checked(loaders[kind](text, rest, options))
    raise UserError(f"unknown data set {text!r}: expected one of {KINDS}")


def _checked(dataset: Dataset) -> Dataset:
    """The data set with a check of what is in memory, if it has none."""
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    held = {n: split for n, split in splits.items() if isinstance(split, ArraySplit)}
    if dataset.check is not None or len(held) < len(splits):
        return dataset
    check = check_arrays(
        dataset.name,
        dataset.class_names,
        {name: split.images for name, split in held.items()},
        {name: split.labels for name, split in held.items()},
        own_valid=dataset.own_valid,
    )
    check.raise_problems(skip_unreadable=True)
    check = dataclasses.replace(check, notes=dataset.notes)
    return dataclasses.replace(dataset, check=check)
