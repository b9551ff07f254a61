"""Splits that are read from files in every epoch, for data that exceed the memory."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.datasets.augment import augment_images, mirror
from layernas_tf.datasets.decoding import ImageError
from layernas_tf.datasets.frame import Frame, frame_for
from layernas_tf.datasets.image_reader import inspect_image, read_image
from layernas_tf.datasets.picture_files import shown

if TYPE_CHECKING:
    import tensorflow as tf

HELD_BYTES = 2 * 1024**3
"""Images that take more than this once they are resized are not held in memory."""

PHOTO_CROP = 0.875
"""Share of a photo's shorter side that is looked at without augmentation: 224 of 256
pixels, as networks for ImageNet are evaluated."""


@dataclasses.dataclass(frozen=True, eq=False)
class StreamSplit:
    """A split that is decoded while it is used, by `image_reader.read_image`.

    Example:
      split = StreamSplit(size, frame, records, parse)
      images, labels = next(iter(split.batches(64)))

    Attributes:
      size: The number of images.
      frame: The frame that the images are brought into.
      records: Returns the records of one epoch: in their order for None, else shuffled
        by an int64 key of shape (2,).
      parse: Returns a record's encoded image, its label and a name for messages.
    """

    size: int
    frame: Frame
    records: Callable[[tf.Tensor | None], tf.data.Dataset]
    parse: Callable[..., tuple[tf.Tensor, ...]]

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
        """See `ArraySplit.batches`; here `crop_flip` crops before it resizes."""
        import tensorflow as tf

        if repeat:
            batch_size = min(batch_size, self.size)
            per_round = self.size // batch_size
        else:
            per_round = -(-self.size // batch_size)
        taken = min(per_round * batch_size, self.size)
        first, left_out = divmod(start, per_round)
        seed_tensor = tf.constant(seed or 0, tf.int64)

        def read(number: tf.Tensor) -> tf.data.Dataset:
            if seed is None:
                return self.records(None)
            return self.records(tf.stack([seed_tensor, number])).take(taken)

        def prepare(
            index: tf.Tensor, record: tuple[tf.Tensor, ...]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            content, label, name = self.parse(*record)
            key = tf.stack([seed_tensor, index])
            cropped = augment == "crop_flip"
            image = self._image(content, name, key if cropped else None)
            if cropped:
                image = mirror(image, key)
            rest = "none" if cropped else augment
            image = augment_images(image[None], key, rest, randaugment)[0]
            return image, tf.cast(label, tf.int32)

        return (
            tf.data.Dataset.range(first, tf.int64.max if repeat else 1)
            .flat_map(read)
            .skip(left_out * batch_size)
            .enumerate(first * taken + left_out * batch_size)
            .map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(batch_size, drop_remainder=repeat)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _image(
        self, content: tf.Tensor, name: tf.Tensor, key: tf.Tensor | None
    ) -> tf.Tensor:
        """An encoded image in the frame, or a part of it drawn by the key; float32."""
        import tensorflow as tf

        read = functools.partial(_read, self.frame)
        inputs = [content, name] if key is None else [content, name, key]
        image = tf.numpy_function(read, inputs, tf.uint8, stateful=False)
        return tf.cast(tf.ensure_shape(image, self.frame.shape), tf.float32)


def _read(
    frame: Frame, content: bytes, name: bytes, key: np.ndarray | None = None
) -> np.ndarray:
    drawn = None if key is None else (int(key[0]), int(key[1]))
    try:
        return read_image(content, frame, drawn)
    except ImageError as error:
        raise ImageError(
            f"cannot read the image {shown(os.fsdecode(name))}: {error}"
        ) from None


def stream_frame(
    contents: Iterable[bytes],
    channels: int,
    resolution: tuple[int, int] | None,
    fit: str,
) -> Frame:
    """The frame for encoded images; see `frame.frame_for`.

    Args:
      contents: Some of the images, encoded.
      channels: Channels of the frame.
      resolution: Height and width that were asked for, or None.
      fit: One of `frame.FITS`.
    """
    if resolution is not None:
        return frame_for([resolution], channels, resolution, fit)
    facts = [inspect_image(content) for content in contents]
    sizes = [(fact.height, fact.width) for fact in facts]
    return frame_for(sizes, channels, resolution, fit)
