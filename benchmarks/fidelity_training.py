"""One training that gives the signals of many: what `benchmarks.fidelity` records.

A training with a constant rate passes through all shorter ones on its way. At each
length that is asked for, `record` notes what a training that ended there would say: its
running statistics average over a tenth of that length, its average of weights over the
last quarter of it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.split import Dataset
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.segment_training import SegmentTraining, averaged
from layernas_tf.training.segments import SegmentCache
from layernas_tf.training.train import precision

AVERAGED = 0.25
"""Share of the steps, at the end, whose weights or losses are averaged."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training and what is noted of it.

    Example: `Plan("constant", Recipe(1, schedule="constant"), lengths=(18, 60))`.

    Attributes:
      name: For the rows.
      recipe: How to train; its epochs are as many as the longest length needs.
      lengths: Steps after which signals are noted, rising.
      images: Training images, 0 for all of the data set's.
      test: Whether the test images are looked at in the end.
      averages: Whether averages of weights are validated, too.
    """

    name: str
    recipe: Recipe
    lengths: tuple[int, ...]
    images: int = 0
    test: bool = False
    averages: bool = True


class _Length:
    """What a training of one length needs of each step."""

    def __init__(self, training: SegmentTraining, steps: int):
        self.steps = steps
        self._training = training
        self._momenta = training.momenta(steps)
        self.statistics = training.statistics
        self._sum = tf.zeros_like(training.weights)
        self._summed = 0

    def note(self, step: int) -> None:
        training = self._training
        self.statistics = averaged(
            self.statistics, training.batch_statistics, self._momenta
        )
        if step > (1 - AVERAGED) * self.steps:
            self._sum += training.weights
            self._summed += 1

    @property
    def average(self) -> tf.Tensor:
        return self._sum / self._summed


def record(
    space: SearchSpace,
    architecture: Architecture,
    dataset: Dataset,
    plan: Plan,
    seed: int,
    cache: SegmentCache,
) -> list[dict[str, float]]:
    """Trains once; returns the signals at each length of the plan.

    Each has `step`, `cpu_seconds` (of the process, what a training of this length would
    have taken, its validation included), and signals of which more is better.
    """
    import keras

    started = time.process_time()
    keras.utils.set_random_seed(seed)
    with precision(plan.recipe):
        model = space.build(architecture)
    training = SegmentTraining.start(model, dataset, plan.recipe, seed, cache)
    if training is None:
        raise UserError(f"space {space.name!r} has networks that are no chains")
    lengths = [_Length(training, steps) for steps in plan.lengths]
    losses: list[float] = []
    points = []
    spent = 0.0
    for step in range(1, plan.lengths[-1] + 1):
        losses.append(float(training.step()))
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss became {losses[-1]} in step {step}")
        for length in lengths:
            if step <= length.steps:
                length.note(step)
            if step == length.steps:
                before = time.process_time()
                signals = _signals(training, length, losses, plan)
                validated = signals.pop("validation_seconds")
                seconds = before - started - spent + validated
                points.append({"step": step, "cpu_seconds": seconds, **signals})
                spent += time.process_time() - before
    return points


def _signals(
    training: SegmentTraining, length: _Length, losses: Sequence[float], plan: Plan
) -> dict[str, float]:
    before = time.process_time()
    scores = training.validate(statistics=length.statistics)
    last = round(AVERAGED * length.steps) or 1
    window = max(1.0, 0.1 * length.steps)
    fading = np.exp(-np.arange(length.steps)[::-1] / window)
    found = {
        "validation_seconds": time.process_time() - before,
        "accuracy": scores.accuracy,
        "valid_loss": -scores.loss,
        "train_loss": -float(np.mean(losses)),
        "train_loss_last": -float(np.mean(losses[-last:])),
        "train_loss_fading": -float(np.average(losses, weights=fading)),
    }
    if plan.averages:
        average = training.validate(length.average, length.statistics)
        found["average_accuracy"] = average.accuracy
        found["average_valid_loss"] = -average.loss
    if plan.test and length.steps == plan.lengths[-1]:
        test = training.test(length.statistics)
        found |= {"test_accuracy": test.accuracy, "test_loss": -test.loss}
    return found
