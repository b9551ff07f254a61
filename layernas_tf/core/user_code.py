"""The user's own code, named as `path/to/file.py:name`: loading and calling it.

The file is run like any Python program, so name only files that you trust.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import pathlib
import sys
import traceback
from collections.abc import Callable, Collection, Iterable
from types import ModuleType
from typing import Any

from layernas_tf.core.errors import UserError, describe, reason_of


@dataclasses.dataclass(frozen=True)
class UserCode:
    """What `path/to/file.py:name` refers to; made by `parse_reference`.

    For example, to call a function that makes a search space:

    ```python
    code = parse_reference("space", "my_space.py:tiny", ("burger",))
    space = code.call(code.load_callable(), resolution=32)
    ```

    Attributes:
      subject: What the code is meant to be and the text that named it, for error
        messages: `space 'my_space.py:tiny'`.
      path: Path of the file.
      attribute: The name inside the file.
    """

    subject: str
    path: pathlib.Path
    attribute: str

    def load(self) -> Any:
        """Runs the file and returns the object of that name.

        Raises:
          UserError: The file raised an exception or has no such name.
        """
        module = self._run()
        try:
            return getattr(module, self.attribute)
        except AttributeError:
            raise UserError(
                f"{self.subject}: {self.path} has no function {self.attribute!r}"
            ) from None

    def load_callable(self) -> Callable[..., Any]:
        """Like `load`; also raises `UserError` if the object cannot be called."""
        found = self.load()
        if not callable(found):
            raise UserError(
                f"{self.subject}: {self.path} has no function {self.attribute!r}"
            )
        return found

    def call(self, function: Callable[..., Any], *values: Any, **given: Any) -> Any:
        """Calls the user's function; an exception in it becomes a `UserError`."""
        try:
            return function(*values, **given)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{self.subject}: {self.attribute}() raised "
                f"{describe_in(error, self.path)}"
            ) from error

    def digest(self) -> str:
        """Eight characters that change when the file's content does.

        Raises:
          UserError: The file cannot be read.
        """
        return hashlib.sha256(self._read()).hexdigest()[:8]

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UserError(
                f"{self.subject}: {self.path} cannot be read: {reason_of(error)}"
            ) from None

    def _run(self) -> ModuleType:
        place = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:8]
        name = f"{self.path.stem}_{place}"
        spec = importlib.util.spec_from_file_location(name, self.path)
        assert spec is not None  # the name ends in .py
        module = importlib.util.module_from_spec(spec)
        source = self._read()
        # A dataclass looks up its module in there while the file is being run.
        sys.modules[name] = module
        try:
            # The import system's cache would miss a change within the same second.
            code = compile(source, str(self.path), "exec", dont_inherit=True)
            exec(code, module.__dict__)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise UserError(
                f"{self.subject}: running the file raised "
                f"{describe_in(error, self.path)}"
            ) from error
        return module


def refers_to_file(text: str) -> bool:
    """Whether a text has the form `path/to/file.py:name`."""
    file, colon, attribute = text.rpartition(":")
    return bool(colon) and file.endswith(".py") and attribute.isidentifier()


def parse_reference(
    kind: str, text: str, names: Collection[str] = (), *, noun: str = "function"
) -> UserCode:
    """Parses `path/to/file.py:name` without running the file.

    Args:
      kind: What the code is meant to be, such as `space`.
      text: The text that the user gave.
      names: Known names that could be given instead, for the error message.
      noun: What the file must define.

    Raises:
      UserError: The text has another form, or there is no such file.
    """
    subject = f"{kind} {text!r}"
    if not refers_to_file(text):
        known = f"one of {', '.join(names)}, or your own as " if names else ""
        raise UserError(f"{subject}: expected {known}path/to/file.py:{noun}")
    file, _, attribute = text.rpartition(":")
    path = pathlib.Path(file)
    if not path.is_file():
        raise UserError(f"{subject}: there is no file {file}")
    return UserCode(subject, path, attribute)


def accepted_arguments(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """The names of a callable's parameters; None if it takes any name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = inspect.Parameter
    if any(parameter.kind is kinds.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(
        parameter.name
        for parameter in parameters
        if parameter.kind in (kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    )


def check_arguments(
    subject: str, function: Callable[..., Any], given: Iterable[str]
) -> None:
    """Raises `UserError` if the function has no parameter of a given name."""
    accepted = accepted_arguments(function)
    if accepted is None:
        return
    unknown = [argument for argument in given if argument not in accepted]
    if unknown:
        raise UserError(
            f"{subject} takes no argument {unknown[0]!r}: expected "
            f"{', '.join(accepted) or 'none'}"
        )


def describe_in(error: BaseException, path: pathlib.Path) -> str:
    """An exception in one line, with the line of the user's file that caused it."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if pathlib.Path(frame.filename) in (path, path.resolve())
    ]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    where = f" ({path}, line {line})" if line else ""
    # A SyntaxError's own text would repeat the place.
    text = f"SyntaxError: {error.msg}" if isinstance(error, SyntaxError) else None
    return f"{text or describe(error)}{where}"
