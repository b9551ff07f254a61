"""`config.json`: what a search was asked for, which a resumed search must match."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.files import read_json, write_json
from layernas_tf.pipeline.config import SearchConfig


def check_resume(config: SearchConfig, path: pathlib.Path) -> None:
    """Checks that a workdir's search is the one asked for.

    Args:
      config: The configuration that the user asks for.
      path: Path of `config.json`; if there is no such file, nothing is resumed.

    Raises:
      UserError: A flag that matters differs, or the file is no `config.json`.
    """
    if not path.exists():
        return
    stored = read_json(path)
    if not isinstance(stored, dict):
        raise UserError(f"{str(path)!r}: expected an object of flags")
    given = config.to_json()
    different = []
    for field in dataclasses.fields(SearchConfig):
        name = field.name
        before = stored.get(name, _default(field))
        if before != given[name] and not field.metadata["may_change"]:
            different.append(f"`{name}` was {_shown(before)}, is {_shown(given[name])}")
    if different:
        raise UserError(
            f"workdir {str(path.parent)!r} holds another search: "
            f"{'; '.join(different)}. Give the same flags to resume it, or another "
            "`workdir`"
        )


def save_config(config: SearchConfig, path: pathlib.Path) -> None:
    """Writes `config.json`, unless it says the same already."""
    if not path.exists() or read_json(path) != json.loads(json.dumps(config.to_json())):
        write_json(path, config.to_json())


def _default(field: dataclasses.Field) -> Any:
    return json.loads(json.dumps(field.default))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    if value is None:
        return "the default"
    return str(value) or "none"
