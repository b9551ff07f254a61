"""P-values corrected for the number of tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979).

    If every corrected value below 0.05 is called a difference, the chance that any of
    these calls is wrong is at most 5 %, however the tests depend on each other.

    Args:
      p_values: The p-value of each test, 0 to 1.

    Returns:
      The corrected values, in the same order, at most 1.

    Example:
      >>> holm([0.01, 0.04, 0.03])
      [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, float)
    order = np.argsort(values, kind="stable")
    left = np.arange(len(values), 0, -1)
    stepped = np.minimum(np.maximum.accumulate(values[order] * left), 1.0)
    corrected = np.empty_like(stepped)
    corrected[order] = stepped
    return corrected.tolist()
