"""The error that a user can fix, and exceptions as one line of text."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: one line saying what is wrong, where, and what would be right.

    Example: `UserError("trials: expected 1 or more, got 0")`.
    """


def reason_of(error: BaseException) -> str:
    """What went wrong, as one line of at most 500 characters.

    For an `OSError`, these are the operating system's words without the path; for any
    other exception, its message. An exception without a message gives its type.

    Example: `reason_of(FileNotFoundError(2, "No such file or directory", "x.npz"))` is
    `"No such file or directory"`.
    """
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error)).split())[:500] or type(error).__name__


def describe(error: BaseException) -> str:
    """An exception as one line: its type, and its message in at most 500 characters.

    For exceptions of this package, the type is left out: their messages are written
    for users.

    Example: `describe(ValueError("too  few"))` is `"ValueError: too few"`.
    """
    text = " ".join(str(error).split())[:500]
    if text and type(error).__module__.startswith("layernas_tf."):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
