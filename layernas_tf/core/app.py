"""How every binary runs: flags are parsed, and an error becomes one line."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from absl import app, flags

from layernas_tf.core.errors import UserError
from layernas_tf.core.paths import expand_home

_Config = TypeVar("_Config", bound="_Dataclass")


class _Dataclass(Protocol):
    """Any dataclass: what `dataclasses.fields` accepts."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


_KINDS: dict[str, Callable[..., Any]] = {
    "str": flags.DEFINE_string,
    "int": flags.DEFINE_integer,
    "int | str": flags.DEFINE_string,
    "float": flags.DEFINE_float,
    "bool": flags.DEFINE_boolean,
    "tuple[str, ...]": flags.DEFINE_multi_string,
}


def define_flags(
    config: type[_Dataclass], values: flags.FlagValues = flags.FLAGS
) -> None:
    """Defines a flag for every field of a dataclass.

    Args:
      config: The dataclass. `metadata["help"]` of a field is its flag's help.
      values: Where the flags are defined.
    """
    for field in dataclasses.fields(config):
        kind = str(field.type).removesuffix(" | None")
        default: Any = field.default
        if kind.startswith("tuple"):
            default = list(default)
        _KINDS[kind](field.name, default, field.metadata["help"], flag_values=values)


def from_flags(config: type[_Config], values: flags.FlagValues) -> _Config:
    """Makes a dataclass from the values of the flags that `define_flags` defined."""
    return config(**_values(config, values))


def given_flags(config: type[_Dataclass], values: flags.FlagValues) -> dict[str, Any]:
    """The values of those of the dataclass' flags that the command line has."""
    chosen = _values(config, values)
    return {name: value for name, value in chosen.items() if values[name].present}


def _values(config: type[_Dataclass], values: flags.FlagValues) -> dict[str, Any]:
    chosen = {}
    for field in dataclasses.fields(config):
        value = values[field.name].value
        chosen[field.name] = (
            tuple(value or ()) if str(field.type).startswith("tuple") else value
        )
    return chosen


def as_flags(message: str, known: flags.FlagValues = flags.FLAGS) -> str:
    """Rewrites a message of the library in the words of the command line.

    The library names arguments in backticks; those that are flags here become
    `--name`.
    """
    return re.sub(r"`(\w+)`", lambda m: f"--{m[1]}" if m[1] in known else m[0], message)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    try:
        rest = flags.FLAGS(list(argv))
    except flags.Error as error:
        _exit_with(f"{error} (--help lists the flags)")
    if len(rest) > 1:
        _exit_with(
            f"unexpected argument {rest[1]!r}: options are given as --flag=value"
        )
    _expand_paths(flags.FLAGS)
    return rest


def _expand_paths(values: flags.FlagValues) -> None:
    """Replaces `~` by the user's home folder in the flags of the command line."""
    for name in values:
        flag = values[name]
        if not flag.present:
            continue
        if isinstance(flag.value, str):
            flag.value = expand_home(flag.value)
        elif isinstance(flag.value, list):
            flag.value = [
                expand_home(part) if isinstance(part, str) else part
                for part in flag.value
            ]


def _exit_with(message: str) -> None:
    print("error: " + " ".join(str(message).split()), file=sys.stderr)
    sys.stderr.flush()
    sys.exit(2)


def _list_flags_in_help(main: Callable[[Sequence[str]], None]) -> None:
    """Makes `--help` show all flags of the binary and the text of its module.

    By itself, absl takes both from the file that was started. For an installed command,
    this file is a short script; and absl leaves out the flags of other modules.
    """
    sys.modules["__main__"].__doc__ = sys.modules[main.__module__].__doc__
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.split(".")[0] != "absl":
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def run_main(main: Callable[[Sequence[str]], None]) -> None:
    """Runs an absl binary; a `UserError` becomes one line on stderr and exit code 2.

    TensorFlow's start-up chatter is switched off before anything imports it, unless
    the user has set TF_CPP_MIN_LOG_LEVEL.
    """
    _list_flags_in_help(main)
    # On machines without a GPU, level 2 would still print a line about CUDA.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    def guarded(argv: Sequence[str]) -> None:
        try:
            main(argv)
        except UserError as error:
            _exit_with(as_flags(str(error)))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    app.run(guarded, flags_parser=_parse_flags)
