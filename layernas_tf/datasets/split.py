"""Splits of labelled images, and how images are held out from them."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Protocol

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.data_check import DataCheck
from layernas_tf.datasets.frame import Frame

if TYPE_CHECKING:
    import tensorflow as tf


class Split(Protocol):
    """Labelled images that arrive in batches.

    `ArraySplit` holds them in memory, `stream.StreamSplit` reads them in every epoch.

    Example:
      for images, labels in dataset.valid.batches(64):
          print(images.shape, labels.shape)
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

    Example:
      >>> split = ArraySplit(np.zeros((5, 8, 8, 1), np.uint8), np.zeros(5, np.int32))
      >>> split.take(np.array([0, 2])).size
      2

    Attributes:
      images: (N, H, W, C), uint8 or float32, pixels in [0, 255].
      labels: (N,), int32, 0 <= label < number of classes; or soft labels, (N, classes)
        float32 probabilities.
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
        """Batches of the images, in their order or reshuffled in every epoch.

        Args:
          batch_size: Images per batch; the last batch of an epoch may be smaller.
          seed: Seed of the order and the augmentation; None keeps the order.
          augment: See `layernas_tf.datasets.augment`; needs a seed.
          randaugment: Magnitude of `layernas_tf.datasets.randaugment`, 0 for none;
            needs a seed.
          repeat: Whether to repeat without end, with whole batches only. (A batch of
            one or two images would spoil the batch statistics.)
          start: Number of batches to skip, so that a resumed training gets the batches
            that it would have got next.

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

        def fetch(step: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
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

    The search sees `train` and `valid` only; `valid` is held out from the training
    images, and `test` is for the final results.

    Example:
      dataset = load_dataset("digits")
      print(dataset.shape, dataset.train.size, dataset.class_names)

    Attributes:
      name: The text that named the data set.
      classes: Number of classes.
      class_names: One name per class.
      shape: (height, width, channels) of every image.
      train: Images to train on.
      valid: Images that rewards are measured on.
      test: Images for the final results.
      mirrors: Whether a mirrored image still shows its class (not so for digits).
      frame: The frame that every image was brought into; None if that is not known.
      check: What a check of the data found, or None.
      notes: Sentences about data that were interpreted, converted or held out.
      own_valid: Whether `valid` is the user's own set of images in memory, not held out
        from the training images.
    """

    name: str
    classes: int
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    train: Split
    valid: Split
    test: Split
    mirrors: bool
    frame: Frame | None = None
    check: DataCheck | None = None
    notes: tuple[str, ...] = ()
    own_valid: bool = False


def hold_out(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices into two parts, each class in the same proportion.

    Args:
      labels: (N,) integers.
      fraction: The share of each class that is held out, 0 < fraction < 1; at least
        one image of each class that has two, never the only image of a class.
      seed: Seed of the draw.

    Returns:
      Sorted indices of those that stay and of those held out.
    """
    generator = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        number = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.append(members[:number])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out


def subset(labels: np.ndarray, limit: int, seed: int, least: int = 1) -> np.ndarray:
    """Sorted indices of about `limit` images, each class in the same proportion.

    Args:
      labels: (N,) integers.
      limit: About how many images are kept.
      seed: Seed of the draw.
      least: The least number of images of each class, as far as it has them.
    """
    if len(labels) <= limit:
        return np.arange(len(labels))
    generator = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        number = max(least, round(limit / len(labels) * len(members)))
        kept.append(members[:number])
    return np.sort(np.concatenate(kept))


def check_limit(name: str, limit: int, classes: int, least: int = 2) -> None:
    """Raises `UserError` unless the limit leaves each class some training images."""
    if limit < least * classes:
        each = "one image" if least == 1 else f"{least} images"
        raise UserError(
            f"{name}: limit: expected at least {least * classes}, {each} of each of "
            f"the {classes} classes, got {limit}"
        )
