"""What a report is made from: plain values, no study, no Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from layernas_tf.datasets.data_check import DataCheck
from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


@dataclasses.dataclass(frozen=True)
class ReportTrial:
    """One trial of the search.

    Attributes:
      number: The trial's number.
      architecture: What was tried.
      costs: By metric name; may hold more than the space's metrics (a latency).
      reward: The reward, or None unless the trial is complete.
      state: `complete`, `failed` or `running`.
      reason: Of a failed trial, why, in one line.
      seconds: How long the trial took, if known.
    """

    number: int
    architecture: Architecture
    costs: Mapping[str, float]
    reward: float | None = None
    state: str = "complete"
    reason: str = ""
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class MemorialCell:
    """The best candidate kept in one bucket of one layer.

    Attributes:
      low: Lower end of the bucket's cost range, in the table's metric.
      high: Its upper end.
      reward: The reward of the candidate that is kept.
      architecture: That candidate.
    """

    low: float
    high: float
    reward: float
    architecture: Architecture


@dataclasses.dataclass(frozen=True)
class MemorialSnapshot:
    """LayerNAS' memorial table.

    Attributes:
      metric: The cost that the buckets divide.
      rows: By layer name, in the chain's order, the filled buckets by their number.
    """

    metric: str
    rows: Mapping[str, Mapping[int, MemorialCell]]


@dataclasses.dataclass(frozen=True)
class LayerEffects:
    """What a model of the reward has learned about the options of one layer.

    Attributes:
      layer: The layer's name.
      means: Expected effect on the reward of each option, in the layer's order.
      deviations: Standard deviations of the effects against the layer's default
        option; empty if unknown.
    """

    layer: str
    means: tuple[float, ...]
    deviations: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A network that was trained with the final recipe.

    Attributes:
      name: For the reader, such as `winner`, `default`, `finalist 2`.
      architecture: In the space.
      costs: By metric name.
      trial: The number of the trial that found it; None for a network of no trial.
      proxy_reward: Its reward in the search, if it had one.
      valid_accuracy: Of the final training, in 0..1.
      test_accuracy: In 0..1; None where the test set was not touched.
      seconds: Training time.
    """

    name: str
    architecture: Architecture
    costs: Mapping[str, float]
    trial: int | None = None
    proxy_reward: float | None = None
    valid_accuracy: float | None = None
    test_accuracy: float | None = None
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A file made from the winner.

    Attributes:
      name: Path inside the workdir.
      format: Such as `Keras`, `TFLite float32`, `TFLite int8`.
      bytes: Its size.
      test_accuracy: Measured by running the file, in 0..1.
      agreement: Share of test images with the Keras model's class, in 0..1.
      latency_ms: Of one image on this host, in milliseconds.
      arena_bytes: What TFLite's interpreter sets aside for its activations.
      note: Whatever else must be said, such as the runtime or why a figure is missing.
    """

    name: str
    format: str
    bytes: int
    test_accuracy: float | None = None
    agreement: float | None = None
    latency_ms: float | None = None
    arena_bytes: int | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class ReportData:
    """Everything the report shows. What is empty is left out of it.

    Attributes:
      space: The search space; names, units, default and layer costs are read from it.
      budgets: All of them; an architecture is inside when every one holds.
      trials: In any order.
      dataset: For the headline and the title.
      algorithm: Likewise.
      winner: The answer of the run; None while there is none.
      reward_name: What a reward is, such as `validation accuracy` or `taste`.
      reward_is_share: Whether rewards are accuracies in 0..1, shown in percent.
      trained: Networks trained with the final recipe; `winner_name` and
        `default_name` say which is which.
      winner_name: `TrainedNetwork.name` of the winner.
      default_name: `TrainedNetwork.name` of the space's default architecture.
      memorial: LayerNAS' table, where the algorithm has one.
      effects: Learned effects per layer, where the algorithm learns them.
      files: What was exported.
      config: The run's settings, by flag.
      versions: Of Python and the libraries.
      seconds: Duration of each phase, by its name, in order.
      check: What the check of the data set found.
      samples: Images of each class as the network sees them, by its name.
      notes: Sentences that the reader must not miss, shown under the headline.
      made: When, as text.
    """

    space: SearchSpace
    budgets: tuple[Budget, ...]
    trials: tuple[ReportTrial, ...]
    dataset: str = ""
    algorithm: str = ""
    winner: Architecture | None = None
    reward_name: str = "validation accuracy"
    reward_is_share: bool = True
    trained: tuple[TrainedNetwork, ...] = ()
    winner_name: str = "winner"
    default_name: str = "default"
    memorial: MemorialSnapshot | None = None
    effects: tuple[LayerEffects, ...] = ()
    files: tuple[ExportedFile, ...] = ()
    config: Mapping[str, object] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    check: DataCheck | None = None
    samples: Mapping[str, Sequence[np.ndarray]] = dataclasses.field(
        default_factory=dict
    )
    notes: tuple[str, ...] = ()
    made: str = ""
