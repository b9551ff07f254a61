"""The error a user can mend, and how every binary reports it."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: one line saying what is wrong, where, and what would be right."""


def describe(error: BaseException) -> str:
    """An exception as one line; of this package's own, the message says it all."""
    text = " ".join(str(error).split())[:500]
    if text and type(error).__module__.startswith("layernas_tf."):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
