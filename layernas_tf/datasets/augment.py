"""Augmentation of whole batches, the same for every way of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

AUGMENTATIONS = ("none", "shift", "shift_flip")
"""`shift` moves an image by up to an eighth of its side (pad and crop); `shift_flip`
also mirrors it in half of the cases."""


def augment_images(images: tf.Tensor, key: tf.Tensor, augment: str) -> tf.Tensor:
    """Augments each image of a batch on its own.

    Args:
      images: (B, H, W, C) float32; what a shift uncovers repeats the border.
      key: (2,) int64 seed; the same key gives the same result.
      augment: One of `AUGMENTATIONS`.

    Returns:
      The augmented batch, of the same shape.
    """
    import tensorflow as tf

    if augment == "none":
        return images
    shape = tf.shape(images)
    draws = tf.random.stateless_uniform((3, shape[0]), key)

    def positions(size, draw):
        reach = tf.cast(size // 8, tf.float32)
        offset = tf.cast(tf.floor(draw * (2 * reach + 1) - reach), tf.int32)
        return tf.clip_by_value(tf.range(size)[None] + offset[:, None], 0, size - 1)

    images = tf.gather(images, positions(shape[1], draws[0]), axis=1, batch_dims=1)
    images = tf.gather(images, positions(shape[2], draws[1]), axis=2, batch_dims=1)
    if augment == "shift_flip":
        flip = (draws[2] < 0.5)[:, None, None, None]
        images = tf.where(flip, images[:, :, ::-1], images)
    return images
