"""Keeps what C++ code writes to stderr off the terminal, unless it is needed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Holds back everything written to file descriptor 2 inside the block.

    TensorFlow's converter and the TFLite delegates log from C++ straight to the
    descriptor, past `sys.stderr`. The output of other threads is held back as well.

    Yields:
      A function that returns what was written so far; it works after the block too.
    """
    text = ""
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(held.fileno(), 2)

        def read() -> str:
            if held.closed:
                return text
            sys.stderr.flush()
            size = os.fstat(held.fileno()).st_size
            return os.pread(held.fileno(), size, 0).decode(errors="replace")

        try:
            yield read
        finally:
            text = read()
            os.dup2(original, 2)
            os.close(original)
