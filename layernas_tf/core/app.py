"""How every binary runs: flags are parsed, and an error becomes one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags

from layernas_tf.core.errors import UserError
from layernas_tf.core.paths import expand_home


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
    """Puts the user's folder in place of `~` in what the command line gave."""
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


def run_main(main: Callable[[Sequence[str]], None]) -> None:
    """Runs an absl binary; a `UserError` becomes one line on stderr and exit code 2.

    TensorFlow's start-up chatter is switched off before anything imports it, unless
    the user has set TF_CPP_MIN_LOG_LEVEL.
    """
    # 2 would still let through a line about CUDA wherever there is no GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    def guarded(argv: Sequence[str]) -> None:
        try:
            main(argv)
        except UserError as error:
            _exit_with(str(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    app.run(guarded, flags_parser=_parse_flags)
