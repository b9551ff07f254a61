"""What the numbers among an algorithm's options may be."""

from __future__ import annotations

import math
import numbers

from layernas_tf.core.errors import UserError


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Raises `UserError` unless an option is a whole number of at least `least`."""
    if not isinstance(value, numbers.Integral) or value < least:
        raise UserError(
            f"{name}: expected a whole number of at least {least}, got {value!r}"
        )


def check_number(name: str, value: object, least: float = 0.0) -> None:
    """Raises `UserError` unless an option is a finite number of at least `least`."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value) or value < least:
        raise UserError(
            f"{name}: expected a number of at least {least:g}, got {value!r}"
        )
