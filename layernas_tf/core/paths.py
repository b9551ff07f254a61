"""`~` in paths, wherever a user may write one."""

from __future__ import annotations

import os
import re

_AFTER = re.compile(r"^(npz:|folder:|sqlite(?:\+\w+)?:///)?(~[^/\\:,]*)(?=/|:|$)")


def expand_home(text: str) -> str:
    """Replaces `~` by the user's home folder in a path or in a text that holds one.

    Shells do not expand the `~` of `--flag=~/file`. The text may also be a data set
    (`npz:~/x.npz`, `folder:~/pictures`), a space's file (`~/space.py:function`) or the
    URL of an SQLite file; any other text stays as it is.

    Example: for the user `ada`, `expand_home("npz:~/x.npz")` is
    `"npz:/home/ada/x.npz"`.
    """
    match = _AFTER.match(text)
    if match is None:
        return text
    kind, home = match.group(1) or "", match.group(2)
    return kind + os.path.expanduser(home) + text[match.end() :]
