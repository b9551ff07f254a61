"""Linear algebra of small matrices in one thread."""

from __future__ import annotations

import contextlib
import functools

import threadpoolctl


def one_thread() -> contextlib.AbstractContextManager[object]:
    """Lets BLAS use one thread within a `with` block.

    Matrices of a few hundred rows gain nothing from more: the threads wait for each
    other, ten times as long as they compute when the cores are busy.

    Example:
      >>> import numpy as np
      >>> with one_thread():
      ...     float(np.ones(3) @ np.ones(3))
      3.0
    """
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()
