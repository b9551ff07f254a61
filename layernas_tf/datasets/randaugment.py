"""RandAugment: a few operations, drawn for each image, all of one magnitude.

Source: E. D. Cubuk, B. Zoph, J. Shlens, Q. V. Le: RandAugment, arXiv 1909.13719; the
operations' ranges are those of the EfficientNet code (github.com/tensorflow/tpu,
models/official/efficientnet/autoaugment.py). `keras.layers.RandAugment` draws once for
a whole batch and computes every operation to keep one, which costs fifty times as much
as decoding the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

LARGEST_MAGNITUDE = 10.0

_OPERATIONS = 2
_GRAY = 128.0
"""The value of the areas that rotated, sheared and moved images leave empty."""


def rand_augment(image: tf.Tensor, key: tf.Tensor, magnitude: float) -> tf.Tensor:
    """Applies two random operations, one after the other.

    Args:
      image: (H, W, C) float32 in [0, 255], of 1 or 3 channels.
      key: (2,) int64 seed.
      magnitude: 0 (hardly a change) to `LARGEST_MAGNITUDE`.

    Returns:
      The augmented image, of the same shape and range.
    """
    import tensorflow as tf

    share = magnitude / LARGEST_MAGNITUDE
    for number in range(_OPERATIONS):
        step_key = tf.random.fold_in(key, 100 + number)
        choice = tf.random.stateless_uniform((), step_key, 0, len(ALL), tf.int32)
        positive = tf.random.stateless_uniform((), tf.random.fold_in(step_key, 1)) < 0.5
        sign = tf.where(positive, 1.0, -1.0)
        branches = [
            lambda image=image, sign=sign, name=name: ALL[name](image, share, sign)
            for name in ALL
        ]
        changed = tf.switch_case(choice, branches)
        image = tf.ensure_shape(tf.clip_by_value(changed, 0.0, 255.0), image.shape)
    return image


def _transform(image: tf.Tensor, rows: Sequence[tf.Tensor | float]) -> tf.Tensor:
    """Takes pixel (x, y) from the place that the matrix `rows` maps (x, y, 1) to."""
    import tensorflow as tf

    matrix = tf.cast(tf.stack([*rows, 0.0, 0.0]), tf.float32)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=matrix[None],
        output_shape=tf.shape(image)[:2],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=_GRAY,
    )[0]


def _rotate(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    angle = sign * share * math.radians(30)
    sine, cosine = tf.sin(angle), tf.cos(angle)
    center_y = (image.shape[0] - 1) / 2
    center_x = (image.shape[1] - 1) / 2
    return _transform(
        image,
        (
            cosine,
            -sine,
            center_x - cosine * center_x + sine * center_y,
            sine,
            cosine,
            center_y - sine * center_x - cosine * center_y,
        ),
    )


def _shear_x(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    return _transform(image, (1.0, sign * share * 0.3, 0.0, 0.0, 1.0, 0.0))


def _shear_y(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    return _transform(image, (1.0, 0.0, 0.0, sign * share * 0.3, 1.0, 0.0))


def _translate_x(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    # At most 100 pixels of 224 in the source.
    offset = sign * share * (100 / 224) * image.shape[1]
    return _transform(image, (1.0, 0.0, offset, 0.0, 1.0, 0.0))


def _translate_y(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    offset = sign * share * (100 / 224) * image.shape[0]
    return _transform(image, (1.0, 0.0, 0.0, 0.0, 1.0, offset))


def _blend(plain: tf.Tensor | float, image: tf.Tensor, share: float) -> tf.Tensor:
    """Goes from near `plain` (share 0) through the image (0.5) to beyond it (1)."""
    return plain + (0.1 + 1.8 * share) * (image - plain)


def _gray(image: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.image.rgb_to_grayscale(image) if image.shape[-1] == 3 else image


def _color(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    return _blend(_gray(image), image, share)


def _contrast(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return _blend(tf.reduce_mean(_gray(image)), image, share)


def _brightness(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    return _blend(0.0, image, share)


def _sharpness(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    channels = image.shape[-1]
    weights = tf.constant([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]])[:, :, None, None] / 13
    smooth = tf.nn.depthwise_conv2d(
        tf.pad(image, ((1, 1), (1, 1), (0, 0)), "SYMMETRIC")[None],
        tf.tile(weights, (1, 1, channels, 1)),
        (1, 1, 1, 1),
        "VALID",
    )[0]
    return _blend(smooth, image, share)


def _posterize(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    step = 2.0 ** round(4 * share)
    return tf.floor(image / step) * step


def _solarize(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.where(image < 256 * (1 - share), image, 255 - image)


def _solarize_add(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.where(image < 128, tf.minimum(image + 110 * share, 255.0), image)


def _invert(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    return 255 - image


def _autocontrast(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    low = tf.reduce_min(image, (0, 1))
    span = tf.reduce_max(image, (0, 1)) - low
    return tf.where(span > 0, (image - low) * 255 / tf.maximum(span, 1e-3), image)


def _equalize(image: tf.Tensor, share: float, sign: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    def channel(values: tf.Tensor) -> tf.Tensor:
        whole = tf.cast(tf.round(values), tf.int32)
        counts = tf.math.bincount(tf.reshape(whole, [-1]), minlength=256, maxlength=256)
        below = tf.cumsum(tf.cast(counts, tf.float32))
        first = tf.reduce_min(tf.where(counts > 0, below, below[-1]))
        scale = tf.math.divide_no_nan(255.0, below[-1] - first)
        equalized = tf.gather((below - first) * scale, whole)
        return tf.where(below[-1] > first, equalized, values)

    channels = tf.unstack(image, num=image.shape[-1], axis=-1)
    return tf.stack([channel(values) for values in channels], -1)


ALL = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": _invert,
    "rotate": _rotate,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""Each takes an image, a share of the largest magnitude, and the sign of a move."""
