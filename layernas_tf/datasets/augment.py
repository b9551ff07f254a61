"""Augmentation by a key: the same key gives the same result.

So a resumed training sees the same images as an uninterrupted one, however many threads
prepare them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

AUGMENTATIONS = ("none", "shift", "shift_flip", "crop_flip")
"""`shift` moves an image by up to an eighth of its side (pad and crop); `shift_flip`
also mirrors it in half of the cases; `crop_flip` enlarges a random part of it to the
full size and mirrors it in half of the cases, as is usual for ImageNet."""

SMALLEST_CROP = 0.08
"""The smallest share of an image's area that `crop_flip` cuts out."""

ASPECT_RATIOS = (3 / 4, 4 / 3)
"""Width over height of what `crop_flip` cuts out."""


def augment_images(
    images: tf.Tensor, key: tf.Tensor, augment: str, randaugment: float = 0.0
) -> tf.Tensor:
    """Augments each image of a batch on its own.

    Args:
      images: (B, H, W, C) float32 in [0, 255]; what a shift uncovers repeats the
        border.
      key: (2,) int64 seed.
      augment: One of `AUGMENTATIONS`.
      randaugment: Magnitude of `randaugment.rand_augment`, applied last; 0 for none.

    Returns:
      The augmented batch, of the same shape.
    """
    import tensorflow as tf

    if augment in ("shift", "shift_flip"):
        images = _shift(images, key, flip=augment == "shift_flip")
    keys = None
    if augment == "crop_flip" or randaugment:
        keys = tf.map_fn(
            lambda index: tf.random.fold_in(key, index),
            tf.range(tf.shape(images, tf.int64)[0]),
        )
    if augment == "crop_flip":
        images = _crop(images, keys)
    if randaugment:
        from layernas_tf.datasets.randaugment import rand_augment

        images = tf.map_fn(
            lambda both: rand_augment(both[0], both[1], randaugment),
            (images, keys),
            fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32),
        )
    return images


def crop_box(height: tf.Tensor, width: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """A random part of an image, by area and aspect ratio; the whole if none fits.

    Source: C. Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842, section
    6; with the aspect ratios that have become common since.

    Args:
      height: Height of the image, in pixels.
      width: Width of the image, in pixels.
      key: (2,) int64 seed.

    Returns:
      (4,) int32: top, left, height, width.
    """
    import tensorflow as tf

    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.stack([height, width, 1]),
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=key,
        min_object_covered=0.0,
        aspect_ratio_range=ASPECT_RATIOS,
        area_range=(SMALLEST_CROP, 1.0),
        max_attempts=10,
    )
    return tf.concat([begin[:2], size[:2]], 0)


def mirror(image: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """The image (H, W, C), or in half of the cases its mirror image."""
    import tensorflow as tf

    # Folded once more: `crop_box` draws from the key itself.
    draw = tf.random.stateless_uniform((), tf.random.fold_in(key, 1))
    return tf.where(draw < 0.5, image[:, ::-1], image)


def mixup(
    images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each image of a batch, and its label, with another image and its label.

    Source: H. Zhang et al., mixup: Beyond Empirical Risk Minimization, arXiv
    1710.09412; as there, one share is drawn per batch. The partners are the images of
    the batch in reverse order, since batches are shuffled beforehand.

    Args:
      images: (B, H, W, C) float32.
      labels: (B, classes) float32; each row sums to 1.
      key: (2,) int64 seed.
      alpha: The share is drawn from Beta(alpha, alpha), alpha > 0.

    Returns:
      The mixed images and labels; their sums over the batch do not change.
    """
    import tensorflow as tf

    gammas = tf.random.stateless_gamma((2,), key, alpha)
    # Small alphas give zeros for both: then nothing is mixed.
    share = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    return (
        images + share * (images[::-1] - images),
        labels + share * (labels[::-1] - labels),
    )


def _shift(images: tf.Tensor, key: tf.Tensor, *, flip: bool) -> tf.Tensor:
    import tensorflow as tf

    shape = tf.shape(images)
    draws = tf.random.stateless_uniform((3, shape[0]), key)

    def positions(size: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        reach = tf.cast(size // 8, tf.float32)
        offset = tf.cast(tf.floor(draw * (2 * reach + 1) - reach), tf.int32)
        return tf.clip_by_value(tf.range(size)[None] + offset[:, None], 0, size - 1)

    images = tf.gather(images, positions(shape[1], draws[0]), axis=1, batch_dims=1)
    images = tf.gather(images, positions(shape[2], draws[1]), axis=2, batch_dims=1)
    if flip:
        mirrored = (draws[2] < 0.5)[:, None, None, None]
        images = tf.where(mirrored, images[:, :, ::-1], images)
    return images


def _crop(images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    height, width, channels = images.shape[1:]

    def one(both: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, key = both
        top, left, rows, columns = tf.unstack(crop_box(height, width, key))
        part = image[top : top + rows, left : left + columns]
        return mirror(tf.image.resize(part, (height, width)), key)

    return tf.map_fn(
        one,
        (images, keys),
        fn_output_signature=tf.TensorSpec((height, width, channels), tf.float32),
    )
