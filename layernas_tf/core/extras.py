"""Optional packages: if one is missing, one line names the extra that installs it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Literal

from layernas_tf.core.errors import UserError

Extra = Literal["gp", "postgres", "qat", "ray", "tfds", "tflite-runtime"]
"""The extras of the distribution `layernas-tf`, as in pyproject.toml."""


@contextlib.contextmanager
def needs_extra(extra: Extra, what: str) -> Iterator[None]:
    """Explains a failed import of an optional package; the body does the import.

    Example:
      ```python
      with needs_extra("ray", "training in several workers"):
          import ray
      ```

    Args:
      extra: The extra that installs the package.
      what: What the user asked for that needs the package; the message's subject.

    Raises:
      UserError: An import in the body fails; the message says why, and what to install.
    """
    try:
        yield
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{what} {missing(extra)} ({reason})") from None


def missing(extra: Extra) -> str:
    """The end of a sentence whose subject needs an extra: what to install.

    Args:
      extra: The extra that is needed.
    """
    text = f"needs the extra {extra!r}: pip install 'layernas-tf[{extra}]'"
    if extra == "tflite-runtime" and sys.version_info >= (3, 12):
        text = "needs Python 3.11 or older: tflite-runtime has no newer version"
    return text
