"""The result of a training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

REWARDS = ("accuracy", "balanced_accuracy")
"""What a reward can be, on the validation images: the share of them classified
correctly, or the mean over the classes of that share."""


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The figures of a finished training.

    Example:
      >>> TrainingResult(0.9, 0.4, 0.3, 12.0, (), 0.8).reward("balanced_accuracy")
      0.8

    Attributes:
      valid_accuracy: Share of the validation images classified correctly.
      valid_loss: Mean cross-entropy on them, without label smoothing.
      train_loss: Mean loss of the last epoch.
      train_seconds: Wall time, including compilation and validation.
      history: Figures by name, for each epoch.
      valid_balanced_accuracy: Mean over the classes of the share of their validation
        images classified correctly.
      valid_correct: (images,) booleans, whether each validation image is classified
        correctly.
    """

    valid_accuracy: float
    valid_loss: float
    train_loss: float
    train_seconds: float
    history: tuple[Mapping[str, float], ...]
    valid_balanced_accuracy: float
    valid_correct: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0, bool), compare=False, repr=False
    )

    def reward(self, name: str) -> float:
        """The figure of one of `REWARDS`, in 0..1."""
        return {
            "accuracy": self.valid_accuracy,
            "balanced_accuracy": self.valid_balanced_accuracy,
        }[name]


def check_finite(loss: float, epoch: int) -> None:
    """Raises `FloatingPointError` when the loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss} in epoch {epoch}")
