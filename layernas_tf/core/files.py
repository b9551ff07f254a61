"""Files written whole: a reader sees the old content or the new, never half."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import secrets
from collections.abc import Iterator
from typing import Any

from layernas_tf.core.errors import UserError, reason_of

TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp(\..*)?")
"""The names of the temporary files that `writing` makes."""


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path` that takes its place if all goes well.

    The folder of `path` is made where it is missing.

    Raises:
      UserError: The disk is full or the folder cannot be written.
    """
    path = pathlib.Path(path)
    # The random name keeps machines that share the folder apart. The file's own name is
    # not in it, because programs such as TensorBoard find their files by name.
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{str(path)!r} cannot be written: {reason_of(error)}"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 text file whole or not at all; raises like `writing`."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a binary file whole or not at all; raises like `writing`."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Writes a JSON file whole or not at all; raises like `writing`."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Reads a file; raises `UserError` where that fails."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {reason_of(error)}") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file; raises `UserError` where it is missing or not JSON."""
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not a JSON file: {error}") from None
