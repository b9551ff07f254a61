"""Decides which part of a picture goes where in a frame."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from layernas_tf.datasets.augment import ASPECT_RATIOS, SMALLEST_CROP
from layernas_tf.datasets.frame import Frame


@dataclasses.dataclass(frozen=True)
class Placing:
    """A part of the upright picture, and its place in the frame, in pixels.

    Example: `Placing((0, 0, 200, 100), (0, 24), (96, 48))` shows a picture of 200x100
    pixels between two bars in a frame of 96x96.

    Attributes:
      source: Left, top, right and bottom of the part.
      place: Left and top in the frame.
      size: Width and height in the frame.
    """

    source: tuple[float, float, float, float]
    place: tuple[int, int]
    size: tuple[int, int]


def place_picture(
    frame: Frame, size: tuple[int, int], key: tuple[int, int] | None
) -> Placing:
    """Places a picture of a size (width, height) in a frame; see `image_reader`."""
    width, height = size
    whole = (0.0, 0.0, float(width), float(height))
    everywhere = (0, 0), (frame.width, frame.height)
    if key is not None:
        part = _random_part(frame, size, key)
        if part is not None:
            return Placing(part, *everywhere)
    if frame.fit == "squash":
        return Placing(whole, *everywhere)
    scales = frame.width / width, frame.height / height
    if frame.fit == "pad":
        columns = min(frame.width, max(1, round(width * min(scales))))
        rows = min(frame.height, max(1, round(height * min(scales))))
        left, top = (frame.width - columns) // 2, (frame.height - rows) // 2
        return Placing(whole, (left, top), (columns, rows))
    return Placing(_middle(frame, width, height), *everywhere)


def _middle(frame: Frame, width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a picture that the fit `crop` shows."""
    scale = max(frame.width / width, frame.height / height)
    columns, rows = (
        frame.share * frame.width / scale,
        frame.share * frame.height / scale,
    )
    left, top = max(0.0, (width - columns) / 2), max(0.0, (height - rows) / 2)
    return left, top, min(width, left + columns), min(height, top + rows)


def _random_part(
    frame: Frame, size: tuple[int, int], key: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """A random part, drawn as by `augment.crop_box`; None if none fits."""
    draws = np.random.default_rng([int(number) & (2**64 - 1) for number in key])
    width, height = size
    # In units that make the frame, and a part that fills it unstretched, a square.
    across, down = (
        (1.0, 1.0)
        if frame.fit == "squash"
        else (width / frame.width, height / frame.height)
    )
    for _ in range(10):
        area = draws.uniform(SMALLEST_CROP, 1.0) * across * down
        ratio = draws.uniform(*ASPECT_RATIOS)
        columns = math.sqrt(area * ratio) / across * width
        rows = math.sqrt(area / ratio) / down * height
        left, top = draws.uniform(0, 1), draws.uniform(0, 1)
        if columns <= width and rows <= height:
            columns, rows = max(1.0, columns), max(1.0, rows)
            left, top = left * (width - columns), top * (height - rows)
            return left, top, left + columns, top + rows
    return None
