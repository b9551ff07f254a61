"""The result of a training."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Reward:
    """What a reward measures; more of it is better.

    Example: `Reward("validation accuracy", is_share=True)`.

    Attributes:
      title: For reports and dashboards.
      is_share: Whether it is in 0..1 and shown in percent.
    """

    title: str
    is_share: bool


REWARDS = {
    "accuracy": Reward("validation accuracy", is_share=True),
    "balanced_accuracy": Reward("balanced validation accuracy", is_share=True),
    "valid_loss": Reward("negative validation loss", is_share=False),
    "train_loss_sum": Reward("negative training loss", is_share=False),
}
"""What a reward can be: the share of the validation images classified correctly; the
mean over the classes of that share; their mean cross-entropy; or the mean of the losses
of all steps of the training, a fixed multiple of their sum.

Source of the last: B. Ru et al.: "Speedy Performance Estimation for Neural Architecture
Search", NeurIPS 2021, arXiv 2006.04492, section 3.
"""


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

    @property
    def epoch_seconds(self) -> float:
        """Wall time of all epochs, of those before a resume, too."""
        return sum(epoch["seconds"] for epoch in self.history)

    def reward(self, name: str) -> float:
        """The figure of one of `REWARDS`: losses are negative, more is better."""
        if name == "train_loss_sum":
            return -statistics.fmean(row["loss"] for row in self.history)
        return {
            "accuracy": self.valid_accuracy,
            "balanced_accuracy": self.valid_balanced_accuracy,
            "valid_loss": -self.valid_loss,
        }[name]


def check_finite(loss: float, epoch: int) -> None:
    """Raises `FloatingPointError` when the loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss} in epoch {epoch}")
