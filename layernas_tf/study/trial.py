"""A trial of a study, independent of how Optuna stores it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from layernas_tf.space.types import Architecture


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a study.

    Example: `Trial(0, (1, 2), {"madds": 2e6}, state="complete", told=0, reward=0.9)`
    is the first trial, which ended first and reached a reward of 0.9.

    Attributes:
      number: The trial's number, counted from 0.
      architecture: The architecture that is evaluated.
      costs: Its costs by metric name.
      asked_after: The number of tells that came before the algorithm proposed this
        trial; None if another program added the trial.
      idle_after: The same number for each ask, since the trial before, for which the
        algorithm had nothing to propose.
      layer: For LayerNAS, the layer whose option had been chosen.
      state: `running`, `complete` or `failed`.
      told: The trial's place in the order of the tells; None while it is running.
      reward: The reward of a complete trial.
      metrics: Further numbers from the evaluator.
      seconds: Duration of the evaluation.
      reason: Why the trial failed, in one line.
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
