"""Brings decoded pictures into a frame: its size, and its grey or RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

from layernas_tf.datasets.frame import BAR_COLOUR, Frame
from layernas_tf.datasets.placing import Placing, place_picture


def fit_images(images: np.ndarray, frame: Frame) -> np.ndarray:
    """Brings decoded pictures of one size into a frame, as `read_image` would.

    Args:
      images: (N, H, W, C), C as the frame's, uint8 or float32, pixels in [0, 255].
      frame: Size and fit.

    Returns:
      (N, height, width, C) of the same type.
    """
    height, width = images.shape[1:3]
    placing = place_picture(frame, (width, height), None)
    whole = (0.0, 0.0, float(width), float(height))
    if placing.size == (width, height) and placing.source == whole:
        if frame.shape[:2] == (height, width):
            return images
    result = np.full((len(images), *frame.shape), BAR_COLOUR, images.dtype)
    (left, top), (columns, rows) = placing.place, placing.size
    target = result[:, top : top + rows, left : left + columns]
    for index, image in enumerate(images):
        for channel in range(images.shape[-1]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            target[index, ..., channel] = _resized(plane, placing, (width, height))
    return result


def with_channels(images: np.ndarray, channels: int | None) -> np.ndarray:
    """Decoded pictures in grey or RGB.

    Args:
      images: (N, H, W, 1 or 3), uint8 or float32.
      channels: 1 makes grey as `read_image` does, 3 repeats grey; None keeps them.

    Returns:
      (N, H, W, channels) of the same type.
    """
    if channels is None or images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    luma = images.astype(np.float32) @ np.array([[0.299], [0.587], [0.114]], np.float32)
    if images.dtype == np.uint8:
        luma = np.rint(luma)
    return luma.astype(images.dtype)


def paint(
    upright: Image.Image, frame: Frame, placing: Placing, size: tuple[int, int]
) -> np.ndarray:
    """Paints the placed part of an upright picture into an empty frame.

    Args:
      upright: The picture, which may be decoded at a reduced size.
      frame: Size and channels.
      placing: The part, and its place in the frame.
      size: Width and height of the whole picture, to which the placing refers.

    Returns:
      Pixels of `frame.shape`, uint8.
    """
    part = np.asarray(
        _resized(upright.convert("L" if frame.channels == 1 else "RGB"), placing, size)
    )
    part = part.reshape(part.shape[0], part.shape[1], frame.channels)
    if part.shape == frame.shape:
        return part
    painted = np.full(frame.shape, BAR_COLOUR, np.uint8)
    (left, top), (columns, rows) = placing.place, placing.size
    painted[top : top + rows, left : left + columns] = part
    return painted


def _resized(
    image: Image.Image, placing: Placing, size: tuple[int, int]
) -> Image.Image:
    """The placed part of a picture; the placing refers to a picture of that `size`."""
    across, down = image.width / size[0], image.height / size[1]
    left, top, right, bottom = placing.source
    # Whole pixels, cut out first: resizing alone would look beyond the part's edges.
    box = (
        max(0, min(image.width - 1, round(left * across))),
        max(0, min(image.height - 1, round(top * down))),
        max(1, min(image.width, round(right * across))),
        max(1, min(image.height, round(bottom * down))),
    )
    box = (*box[:2], max(box[0] + 1, box[2]), max(box[1] + 1, box[3]))
    if box != (0, 0, *image.size):
        image = image.crop(box)
    if placing.size == image.size:
        return image
    return image.resize(placing.size, Image.Resampling.BILINEAR)
