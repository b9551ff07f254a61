"""Splits of labelled images, and what is done to every data set before training."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

SMALLEST_SIDE = 32
"""Images are made at least this high and wide unless a resolution is asked for."""

LARGEST_SIDE = 224
"""Larger images are made this high and wide unless a resolution is asked for."""


class Split(Protocol):
    """Labelled images that arrive in batches.

    `ArraySplit` holds them in memory, `stream.StreamSplit` reads them in every round.
    """

    @property
    def size(self) -> int:
        """The number of images."""

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        augment: str = "none",
        randaugment: float = 0.0,
        repeat: bool = False,
        start: int = 0,
    ) -> tf.data.Dataset:
        """Batches of float32 images in [0, 255] and int32 labels."""


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySplit:
    """A split in memory.

    Attributes:
      images: (N, H, W, C), uint8 or float32, pixels in [0, 255].
      labels: (N,), int32, 0 <= label < number of classes.
    """

    images: np.ndarray
    labels: np.ndarray

    @property
    def size(self) -> int:
        """The number of images."""
        return len(self.labels)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        augment: str = "none",
        randaugment: float = 0.0,
        repeat: bool = False,
        start: int = 0,
    ) -> tf.data.Dataset:
        """Batches of the images, in their order or shuffled anew in every round.

        Args:
          batch_size: Images per batch; the last batch of a round may be smaller.
          seed: Shuffles, and draws the augmentation; None keeps the order.
          augment: See `layernas_tf.datasets.augment`; needs a seed.
          randaugment: Magnitude of `layernas_tf.datasets.randaugment`, 0 for none;
            needs a seed.
          repeat: Whether to go on for ever, with whole batches only. (A remainder of
            one or two images would spoil the batch statistics.)
          start: Batches to leave out at the beginning: a training that is resumed goes
            on with what it would have got.

        Returns:
          Float32 images (B, H, W, C) in [0, 255] and int32 labels (B,).
        """
        import tensorflow as tf

        from layernas_tf.datasets.augment import augment_images

        images, labels = self._tensors
        order = tf.data.Dataset.range(self.size)
        if seed is not None:
            order = order.shuffle(self.size, seed=seed, reshuffle_each_iteration=True)
        whole = repeat and self.size >= batch_size
        order = order.batch(batch_size, drop_remainder=whole)
        if repeat:
            order = order.repeat()

        def fetch(step, indices):
            batch = tf.cast(tf.gather(images, indices), tf.float32)
            key = tf.stack([tf.cast(seed or 0, tf.int64), step])
            batch = augment_images(batch, key, augment, randaugment)
            return batch, tf.gather(labels, indices)

        return (
            order.enumerate()
            .skip(start)
            .map(fetch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    @functools.cached_property
    def _tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        # Kept, since a search asks for batches in every trial. Not in an accelerator's
        # memory, which is for the network.
        import tensorflow as tf

        with tf.device("/cpu:0"):
            return tf.constant(self.images), tf.constant(self.labels)

    def take(self, indices: np.ndarray) -> ArraySplit:
        """The images at these indices."""
        return ArraySplit(self.images[indices], self.labels[indices])


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train, validate and test on.

    The search sees `train` and `valid` only; `valid` is held out of the training
    images, and `test` is for the final figures.

    Attributes:
      name: The text that it was loaded from.
      classes: Number of classes.
      class_names: One name per class.
      shape: (height, width, channels) of every image.
      train: Images to train on.
      valid: Images that rewards are measured on.
      test: Images for the final figures.
      mirrors: Whether a mirrored image still shows its class (not so for digits).
    """

    name: str
    classes: int
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    train: Split
    valid: Split
    test: Split
    mirrors: bool


def hold_out(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Parts indices in two, each class in the same proportion.

    Args:
      labels: (N,) integers.
      fraction: The share of each class that is held out, 0 < fraction < 1; at least
        one image of each class that has two, never the only image of a class.
      seed: Draws which.

    Returns:
      Sorted indices of those that stay and of those held out.
    """
    generator = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        number = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.append(members[:number])
    held = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held), held


def subset(labels: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """Sorted indices of about `limit` images, each class in the same proportion."""
    if len(labels) <= limit:
        return np.arange(len(labels))
    return hold_out(labels, limit / len(labels), seed)[1]


def side_for(sizes: np.ndarray, resolution: int | None) -> int:
    """The side of the square that images are brought to, in pixels.

    Args:
      sizes: (N, 2) heights and widths.
      resolution: What was asked for; None keeps the median shorter side, between
        `SMALLEST_SIDE` and `LARGEST_SIDE`.
    """
    if resolution is not None:
        return resolution
    median = math.ceil(float(np.median(sizes.min(axis=1))))
    return min(max(median, SMALLEST_SIDE), LARGEST_SIDE)


def to_square(image: np.ndarray, side: int) -> np.ndarray:
    """The central square of an image, or of a batch of equal images, resized.

    Args:
      image: (H, W, C) or (N, H, W, C), pixels in [0, 255].
      side: Height and width of the result.

    Returns:
      Of the same type and rank; bilinear, antialiased where it shrinks.
    """
    import tensorflow as tf

    height, width = image.shape[-3:-1]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    image = image[..., top : top + short, left : left + short, :]
    if short == side:
        return image
    batch = image if image.ndim == 4 else image[None]
    pieces = []
    for start in range(0, len(batch), 1024):
        with tf.device("/cpu:0"):
            piece = tf.image.resize(
                batch[start : start + 1024], (side, side), antialias=side < short
            ).numpy()
        if image.dtype == np.uint8:
            piece = np.clip(np.rint(piece), 0, 255)
        pieces.append(piece.astype(image.dtype))
    result = np.concatenate(pieces)
    return result if image.ndim == 4 else result[0]
