"""Arguments that every mobile space takes: image size, classes, width."""

from __future__ import annotations

import math
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution, resolution_name
from layernas_tf.space.types import State

SMALL_IMAGE = 64
"""Pixels below which the stem keeps the resolution: five steps of stride 2 would
leave a single pixel of a 32x32 image."""


def check_arguments(
    space: str,
    *,
    resolution: Any,
    classes: Any,
    channels: Any,
    stem_stride: Any,
    width: Any,
    dropout: Any,
) -> dict[str, Any]:
    """Checks a space's arguments and fills in the stem's stride.

    Returns:
      The arguments, with which the space can be made again.

    Raises:
      UserError: One is of the wrong type or out of range.
    """
    try:
        sides = parse_resolution(resolution, smallest=8)
    except UserError as error:
        raise UserError(f"space {space!r}: {error}") from None
    if stem_stride is None:
        stem_stride = 1 if min(sides) < SMALL_IMAGE else 2
    for name, value, allowed, good in (
        ("classes", classes, "2 or more", lambda v: v >= 2),
        ("channels", channels, "1 or more", lambda v: v >= 1),
        ("stem_stride", stem_stride, "1 or 2", lambda v: v in (1, 2)),
    ):
        if not _whole(value) or not good(value):
            raise UserError(
                f"space {space!r}: {name} must be a whole number, {allowed}, "
                f"got {value!r}"
            )
    for name, value, low, high in (
        ("width", width, 0.05, 8),
        ("dropout", dropout, 0, 0.95),
    ):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high:
            raise UserError(
                f"space {space!r}: {name} must be a number from {low} to {high}, "
                f"got {value!r}"
            )
    return {
        "resolution": resolution_name(*sides),
        "classes": classes,
        "channels": channels,
        "stem_stride": stem_stride,
        "width": width,
        "dropout": dropout,
    }


def image_state(arguments: dict[str, Any]) -> State:
    """The state of the input image."""
    return State(arguments["channels"], *parse_resolution(arguments["resolution"]))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
