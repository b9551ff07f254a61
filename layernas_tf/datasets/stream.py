"""Splits that are read from their files in every round, for data beyond memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.datasets.augment import augment_images, crop_box, mirror
from layernas_tf.datasets.split import side_for

if TYPE_CHECKING:
    import tensorflow as tf

HELD_BYTES = 2 * 1024**3
"""Images that take more than this once they are resized are not held in memory."""

PHOTO_CROP = 0.875
"""Share of a photo's shorter side that is looked at without augmentation: 224 of 256
pixels, as networks for ImageNet are evaluated."""


@dataclasses.dataclass(frozen=True, eq=False)
class StreamSplit:
    """A split that is decoded while it is used.

    Attributes:
      size: The number of images.
      side: Height and width of the images that come out.
      channels: 1 or 3.
      crop: Share of the shorter side that the central square takes, where it is not cut
        at random.
      records: The records of one round: in their order for None, else shuffled by an
        int64 key of shape (2,).
      parse: From a record to the encoded image (JPEG, PNG) and its label.
    """

    size: int
    side: int
    channels: int
    crop: float
    records: Callable[[tf.Tensor | None], tf.data.Dataset]
    parse: Callable[..., tuple[tf.Tensor, tf.Tensor]]

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
        """As `ArraySplit.batches`; `crop_flip` cuts before it decodes."""
        import tensorflow as tf

        if repeat:
            batch_size = min(batch_size, self.size)
            per_round = self.size // batch_size
        else:
            per_round = -(-self.size // batch_size)
        taken = min(per_round * batch_size, self.size)
        first, left_out = divmod(start, per_round)
        seed_tensor = tf.constant(seed or 0, tf.int64)

        def read(number):
            if seed is None:
                return self.records(None)
            return self.records(tf.stack([seed_tensor, number])).take(taken)

        def prepare(index, record):
            content, label = self.parse(*record)
            key = tf.stack([seed_tensor, index])
            if augment == "crop_flip":
                image = self._image(content, lambda h, w: crop_box(h, w, key))
                image = augment_images(
                    mirror(image, key)[None], key, "none", randaugment
                )[0]
            else:
                image = self._image(content, self._central_box)
                image = augment_images(image[None], key, augment, randaugment)[0]
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

    def _central_box(self, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        short = tf.cast(tf.minimum(height, width), tf.float32)
        size = tf.maximum(1, tf.cast(tf.round(self.crop * short), tf.int32))
        return tf.stack([(height - size) // 2, (width - size) // 2, size, size])

    def _image(
        self,
        content: tf.Tensor,
        choose_box: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    ) -> tf.Tensor:
        """A part of an encoded image, resized; (side, side, channels) float32."""
        import tensorflow as tf

        part = decode_part(content, choose_box, self.channels)
        size = (self.side, self.side)
        # Antialiasing costs more than decoding, and shows where much is left out.
        image = tf.cond(
            tf.reduce_min(tf.shape(part)[:2]) > 2 * self.side,
            lambda: tf.image.resize(part, size, antialias=True),
            lambda: tf.image.resize(part, size),
        )
        image = tf.clip_by_value(image, 0.0, 255.0)
        return tf.ensure_shape(image, (*size, self.channels))


def decode_part(
    content: tf.Tensor,
    choose_box: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    channels: int,
) -> tf.Tensor:
    """Decodes a part of an image; of a JPEG nothing but that part.

    Args:
      content: The encoded image.
      choose_box: From height and width to (4,) int32: top, left, height, width.
      channels: 1 or 3.

    Returns:
      (height, width, channels) uint8.
    """
    import tensorflow as tf

    def jpeg():
        shape = tf.io.extract_jpeg_shape(content)
        box = choose_box(shape[0], shape[1])
        return tf.io.decode_and_crop_jpeg(content, box, channels=channels)

    def other():
        image = tf.io.decode_image(content, channels=channels, expand_animations=False)
        image = tf.ensure_shape(image, (None, None, channels))
        shape = tf.shape(image)
        top, left, height, width = tf.unstack(choose_box(shape[0], shape[1]))
        return image[top : top + height, left : left + width]

    return tf.cond(tf.io.is_jpeg(content), jpeg, other)


def stream_side(contents: Any, resolution: int | None) -> int:
    """The side of the square that encoded images are brought to, as `split.side_for`.

    Args:
      contents: Some of the images, encoded; NumPy bytes.
      resolution: What was asked for, or None.
    """
    import tensorflow as tf

    if resolution is not None:
        return resolution
    sizes = [
        tf.io.decode_image(content, expand_animations=False).shape[:2]
        for content in contents
    ]
    return side_for(np.array(sizes), None)
