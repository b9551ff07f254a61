"""Trials: as the study holds them, and as Optuna's parameters and attributes say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from layernas_tf.space.types import Architecture


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial as the study holds it.

    Attributes:
      number: Counted from 0; also the ask's number.
      architecture: What is or was tried.
      costs: By metric name.
      asked_after: Tells that the algorithm had received when this was asked; None if
        the algorithm did not ask for it.
      idle_after: Likewise, for each ask between the trial before and this one that
        had nothing to propose.
      layer: For LayerNAS, the layer whose option had been chosen.
      state: `running`, `complete` or `failed`.
      told: Place among the tells; None while running.
      reward: Of a complete trial.
      metrics: Further figures of the evaluator.
      seconds: Duration of the evaluation.
      reason: Of a failed trial, in one line.
    """

    number: int
    architecture: Architecture
    costs: Mapping[str, float]
    asked_after: int | None = None
    idle_after: tuple[int, ...] = ()
    layer: int | None = None
    state: str = "running"
    told: int | None = None
    reward: float | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float | None = None
    reason: str = ""
