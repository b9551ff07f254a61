"""Architecture files: a network's space and the options chosen there, as JSON."""

from __future__ import annotations

import json
import os
from typing import Any

from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from search_spaces.registry import get_space, names

FILE_NAME = "architecture.json"


def load_architecture(
    path: str, space: str = "", **changes: Any
) -> tuple[SearchSpace, Architecture]:
    """Reads an architecture file and makes its space.

    Args:
      path: Path of a file as a search writes it.
      space: The space's name if it is one of the user's own (`file.py:function`): a
        file alone never makes code run.
      **changes: Arguments of the space in place of the file's; None keeps the file's.

    Raises:
      UserError: The file cannot be read or does not fit its space, or its space is the
        user's code and `space` does not name it.
    """
    data = _read(path)
    named = data["space"]
    if space not in ("", named):
        raise UserError(f"architecture {path!r} is of space {named!r}, not {space!r}")
    if not space and named not in names():
        raise UserError(
            f"architecture {path!r} is of space {named!r}, which is code: give "
            f"`space`={named} if you trust that file"
        )
    given = {name: value for name, value in changes.items() if value is not None}
    made = get_space(named, **{**data["arguments"], **given})
    return made, made.from_json(data)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except OSError as error:
        raise UserError(
            f"architecture {path!r} cannot be read: {reason_of(error)}"
        ) from None
    except ValueError as error:
        raise UserError(f"architecture {path!r} is not JSON: {error}") from None
    if (
        not isinstance(data, dict)
        or not isinstance(data.get("space"), str)
        or not isinstance(data.get("arguments"), dict)
    ):
        raise UserError(
            f"architecture {path!r}: expected an object with 'space', 'arguments' and "
            "'architecture', as a search writes it"
        )
    return data


def beside(model_path: str) -> str:
    """Where a search writes the architecture of a model file."""
    return os.path.join(os.path.dirname(model_path), FILE_NAME)
