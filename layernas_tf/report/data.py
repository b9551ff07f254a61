"""The input of a report: plain values, without a study or Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from layernas_tf.datasets.data_check import DataCheck
from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

NO_LONGER = "not believed"
"""The state of a trial that was evaluated before an accepted change of the search."""


@dataclasses.dataclass(frozen=True)
class ReportTrial:
    """One trial of the search.

    Example: `ReportTrial(0, (1, 0, 2), {"madds": 2.4e6}, reward=0.91)`.

    Attributes:
      number: The trial's number.
      architecture: The architecture of the trial.
      costs: By metric name; may hold more than the space's metrics (a latency).
      reward: The reward of a complete trial, else None.
      state: `complete`, `failed`, `running` or `NO_LONGER`.
      reason: Why the trial failed, in one line.
      seconds: How long the trial took, if known.
    """

    number: int
    architecture: Architecture
    costs: Mapping[str, float]
    reward: float | None = None
    state: str = "complete"
    reason: str = ""
    seconds: float | None = None

    @property
    def score(self) -> float:
        """The reward of a complete trial; raises `ValueError` for any other."""
        if self.reward is None:
            raise ValueError(f"trial {self.number} has no reward")
        return self.reward


@dataclasses.dataclass(frozen=True)
class MemorialCell:
    """The best candidate in one bucket of one layer.

    Example: `MemorialCell(2e6, 2.5e6, 0.91, (1, 0, 2))` is the best candidate between
    2M and 2.5M MAdds.

    Attributes:
      low: Lower end of the bucket's cost range, in the table's metric.
      high: Upper end of that range.
      reward: Reward of the best candidate.
      architecture: The best candidate.
    """

    low: float
    high: float
    reward: float
    architecture: Architecture


@dataclasses.dataclass(frozen=True)
class MemorialSnapshot:
    """LayerNAS' memorial table at the end of the search.

    Example:
      cell = MemorialCell(2e6, 2.5e6, 0.91, (1, 0, 2))
      MemorialSnapshot("madds", {"block1": {4: cell}})

    Attributes:
      metric: The cost that the buckets divide.
      rows: By layer name, in the chain's order, the filled buckets by their index.
    """

    metric: str
    rows: Mapping[str, Mapping[int, MemorialCell]]


@dataclasses.dataclass(frozen=True)
class LayerEffects:
    """What a model of the reward has learned about the options of one layer.

    Example: `LayerEffects("block1", (0.01, -0.01))` prefers the first of two options.

    Attributes:
      layer: The layer's name.
      means: Expected effect on the reward of each option, in the layer's order; NaN
        for an option that is outside of a budget whatever the other layers choose.
      deviations: Standard deviations of the effects against the layer's default
        option; empty if unknown.
    """

    layer: str
    means: tuple[float, ...]
    deviations: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A network that was trained with the final recipe.

    Example: `TrainedNetwork("winner", (1, 0, 2), {"madds": 2e6}, test_accuracy=0.93)`.

    Attributes:
      name: Its name in the report, such as `winner`, `default network`, `finalist 2`.
      architecture: Its architecture in the space.
      costs: Its costs by metric name.
      trial: The number of the trial that found it; None if no trial did.
      proxy_reward: Its reward in the search, if it had one.
      valid_accuracy: Validation accuracy after the final training, in 0..1.
      test_accuracy: Test accuracy in 0..1, the mean where there are several trainings;
        None if the test set was not used.
      seconds: Duration of the training.
      test_interval: The 95 % interval of the test accuracy.
      expected_quality: Its reward without noise, as the search expects it.
      trainings: Number of trainings, each with a seed of its own.
      epochs: Epochs of a training; fewer if other finalists surpassed the network.
    """

    name: str
    architecture: Architecture
    costs: Mapping[str, float]
    trial: int | None = None
    proxy_reward: float | None = None
    valid_accuracy: float | None = None
    test_accuracy: float | None = None
    seconds: float | None = None
    test_interval: tuple[float, float] | None = None
    expected_quality: float | None = None
    trainings: int = 1
    epochs: int | None = None


@dataclasses.dataclass(frozen=True)
class FamilyMember:
    """The winner of one budget beside its baseline.

    Example: `FamilyMember("madds<=3M", winner, baseline, "The winner is ...")`.

    Attributes:
      budget: The budget as a text.
      winner: The winner after its final training.
      baseline: What it is compared with; None for nothing.
      verdict: The comparison of the two in one sentence.
    """

    budget: str
    winner: TrainedNetwork
    baseline: TrainedNetwork | None
    verdict: str


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A file made from the winner.

    Example: `ExportedFile("export/int8.tflite", "TFLite int8", 120_000)`.

    Attributes:
      name: Path inside the workdir.
      format: Format, such as `Keras`, `TFLite float32` or `TFLite int8`.
      bytes: Size of the file.
      test_accuracy: Test accuracy of the file itself, in 0..1.
      agreement: Share of the test images on which the file and the Keras model predict
        the same class, in 0..1.
      difference: Its test accuracy less the Keras model's, in -1..1.
      difference_interval: Ends of the 95 % interval of that difference.
      latency_ms: Time of one image on this machine, in milliseconds.
      arena_bytes: Memory of TFLite's interpreter for activations.
      note: A remark, such as the runtime, or why a value is missing.
    """

    name: str
    format: str
    bytes: int
    test_accuracy: float | None = None
    agreement: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    latency_ms: float | None = None
    arena_bytes: int | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """How the networks classify the test images of each class.

    Example: `ClassFigures(("cat", "dog"), np.array([[48, 2], [5, 45]]))` says that the
    winner takes 2 of 50 cats for dogs and 5 of 50 dogs for cats.

    Attributes:
      class_names: Names of the classes, in the order of the labels.
      winner: Numbers of images, int array `(classes, classes)`: a row per true class,
        a column per class predicted by the winner.
      baseline: The same for the baseline, or None.
      baseline_name: The baseline's name in the report.
    """

    class_names: tuple[str, ...]
    winner: np.ndarray
    baseline: np.ndarray | None = None
    baseline_name: str = ""


@dataclasses.dataclass(frozen=True)
class ReportData:
    """Everything that the report shows; empty entries are left out of the page.

    Example:
      trial = ReportTrial(0, (1, 0, 2), {"madds": 2.4e6}, reward=0.91)
      ReportData(space, (Budget("madds", 0, 3e6),), (trial,), winner=(1, 0, 2))

    Attributes:
      space: The search space; names, units, default and layer costs are read from it.
      budgets: The budgets, which must all hold.
      trials: The trials, in any order.
      dataset: Name of the data set, for the headline and the title.
      algorithm: Name of the algorithm, for the title.
      winner: The winning architecture; None if there is none yet.
      reward_name: What rewards measure, such as `validation accuracy` or `taste`.
      valid_images: Number of images that rewards are measured on; 0 if unknown.
      reward_is_share: Whether rewards are accuracies in 0..1, shown in percent.
      trained: Networks trained with the final recipe; `winner_name` and
        `baseline_name` say which is which.
      winner_name: `TrainedNetwork.name` of the winner.
      baseline_name: `TrainedNetwork.name` of the network that the winner is compared
        with; empty if there is none.
      verdict: The comparison of the two in one sentence.
      family: The winner of each budget, the largest budget first.
      memorial: LayerNAS' memorial table, if the algorithm has one.
      effects: Learned effects per layer, if the algorithm learns them.
      files: The exported files.
      config: The settings of the run, by flag name.
      versions: Versions of Python and the libraries.
      seconds: Duration of each phase by its name, in order.
      check: The findings of the check of the data set.
      samples: By class name, images as the network sees them.
      classes: How the winner classifies the test images of each class.
      notes: Important remarks, shown under the headline.
      made: Date and time of the report, as text.
    """

    space: SearchSpace
    budgets: tuple[Budget, ...]
    trials: tuple[ReportTrial, ...]
    dataset: str = ""
    algorithm: str = ""
    winner: Architecture | None = None
    reward_name: str = "validation accuracy"
    reward_is_share: bool = True
    valid_images: int = 0
    trained: tuple[TrainedNetwork, ...] = ()
    winner_name: str = "winner"
    baseline_name: str = ""
    verdict: str = ""
    family: tuple[FamilyMember, ...] = ()
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
    classes: ClassFigures | None = None
    notes: tuple[str, ...] = ()
    made: str = ""
