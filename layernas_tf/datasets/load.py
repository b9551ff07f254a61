"""`load_dataset`: which kind of data set a text names."""

from __future__ import annotations

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.arrays import Options, load_digits, load_npz
from layernas_tf.datasets.folder import load_folder
from layernas_tf.datasets.split import Dataset
from layernas_tf.datasets.tensorflow_datasets import load_tfds

KINDS = "digits, npz:FILE, folder:DIR, tfds:NAME"


def load_dataset(
    text: str,
    *,
    resolution: int | None = None,
    valid_fraction: float = 0.2,
    seed: int = 0,
    limit: int | None = None,
) -> Dataset:
    """Loads a data set and holds validation images out of its training images.

    Args:
      text: `digits`, `npz:FILE`, `folder:DIR` or `tfds:NAME`.
      resolution: Height and width of the images in pixels. By default they keep their
        size, but are made at least 32 and at most 224 pixels.
      valid_fraction: Share of the training images of each class that is held out. The
        test set is never touched.
      seed: Draws the held-out images.
      limit: At most about this many training images (validation included) and test
        images, each class in proportion; None takes all.

    Returns:
      The data set; images are float32 in [0, 255] when they come in batches.

    Raises:
      UserError: The text names no data set, or the data are not usable.
    """
    if resolution is not None and resolution < 1:
        raise UserError(f"resolution: expected at least 1 pixel, got {resolution}")
    if not 0 < valid_fraction < 1:
        raise UserError(
            f"valid_fraction: expected a share between 0 and 1, got {valid_fraction}"
        )
    if limit is not None and limit < 1:
        raise UserError(f"limit: expected at least 1 image, got {limit}")
    options = Options(resolution, valid_fraction, seed, limit)
    kind, colon, rest = text.partition(":")
    loaders = {"npz": load_npz, "folder": load_folder, "tfds": load_tfds}
    if text == "digits":
        return load_digits(text, options)
    if colon and rest and kind in loaders:
        return loaders[kind](text, rest, options)
    raise UserError(f"unknown data set {text!r}: expected one of {KINDS}")
