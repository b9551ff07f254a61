"""How the size of an image is written: `96`, or `96x160` for 96 rows of 160 pixels."""

from __future__ import annotations

from typing import Any

from layernas_tf.core.errors import UserError

LARGEST = 4096
"""The largest height or width of an image, in pixels."""


def parse_resolution(value: Any, smallest: int = 1) -> tuple[int, int]:
    """Height and width, in pixels.

    Example: `parse_resolution("96x160")` is `(96, 160)`, `parse_resolution(96)` is
    `(96, 96)`.

    Args:
      value: A number, `(height, width)`, or a text such as `96` or `96x160`.
      smallest: The smallest height or width that is accepted.

    Raises:
      UserError: It is none of these, or a side is too small or too large.
    """
    parts = list(value) if isinstance(value, (tuple, list)) else [value]
    if isinstance(value, str):
        parts = [
            int(part) if part.isascii() and part.isdigit() and len(part) < 9 else -1
            for part in value.lower().split("x")
        ]
    whole = all(isinstance(p, int) and not isinstance(p, bool) for p in parts)
    if whole and len(parts) in (1, 2):
        height, width = parts[0], parts[-1]
        if smallest <= min(height, width) and max(height, width) <= LARGEST:
            return height, width
    raise UserError(
        f"resolution must be a whole number, {smallest} to {LARGEST} pixels, or a "
        f"height and a width such as 96x160, got {value!r}"
    )


def resolution_name(height: int, width: int) -> int | str:
    """The shortest of the forms that `parse_resolution` takes."""
    return height if height == width else f"{height}x{width}"
