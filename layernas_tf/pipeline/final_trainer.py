"""Trainings with the final recipe: each one is done once, and its figures are kept.

Every training writes a file with its figures after its weights. A run that was killed
continues with the first training that has no such file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from typing import TYPE_CHECKING, Any

from layernas_tf.core.errors import UserError, describe
from layernas_tf.core.files import read_json, write_json
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.recipe import Recipe

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.segments import SegmentCache


@dataclasses.dataclass(frozen=True)
class Training:
    """One training with the final recipe.

    Example: `Training((1, 0, 2), 0, None, None, 12.0, "out of memory")` is a training
    that failed.

    Attributes:
      architecture: The architecture that was trained.
      seed: Seed of its weights and batches.
      valid_accuracy: Share of the validation images classified correctly; None if the
        training failed.
      valid_loss: Mean cross-entropy on them.
      seconds: Duration of the training.
      reason: Why it failed, in one line.
      test_accuracy: Share of the test images classified correctly; None until it is
        measured.
      test_loss: Mean cross-entropy on them.
      valid_balanced_accuracy: Mean over the classes of the share of their validation
        images classified correctly.
      test_confusion: Numbers of test images by true class (rows) and the class that
        the network says (columns).
    """

    architecture: Architecture
    seed: int
    valid_accuracy: float | None
    valid_loss: float | None
    seconds: float
    reason: str = ""
    test_accuracy: float | None = None
    test_loss: float | None = None
    valid_balanced_accuracy: float | None = None
    test_confusion: tuple[tuple[int, ...], ...] | None = None

    def rank(self, reward: str) -> tuple[float, float]:
        """What finalists are compared by: one of `REWARDS`, then the least loss."""
        balanced = self.valid_balanced_accuracy
        figure = balanced if reward == "balanced_accuracy" else self.valid_accuracy
        return (-math.inf if figure is None else figure, -(self.valid_loss or 0.0))


class FinalTrainer:
    """Trains architectures with the final recipe, each with each seed only once.

    Example:
      trainer = FinalTrainer(folder, space, dataset, recipe)
      trainer.test(trainer.train(architecture, seed=0)).test_accuracy
    """

    def __init__(
        self,
        folder: pathlib.Path,
        space: SearchSpace,
        dataset: Dataset,
        recipe: Recipe,
        segments: SegmentCache | None = None,
    ):
        """Makes a trainer.

        Args:
          folder: Folder for the weights and figures.
          space: The search space, whose builder makes the networks.
          dataset: Images to train, validate and test on.
          recipe: How to train.
          segments: Compiled segments that the trainings share, where that is faster.
        """
        self._folder = folder
        self._space = space
        self._dataset = dataset
        self._recipe = recipe
        self._segments = segments

    def weights(self, architecture: Architecture, seed: int) -> pathlib.Path:
        """The path of the trained network, which exists after the training."""
        recipe = dataclasses.asdict(self._recipe)
        if recipe["class_weights"] == "none":
            del recipe["class_weights"]  # as before there were any
        about = [architecture, seed, recipe]
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        return self._folder / f"{digest}.keras"

    def train(self, architecture: Architecture, seed: int) -> Training:
        """Trains the architecture, or reads the results of an earlier run.

        A training that fails (out of memory, a loss that is NaN) gives a `Training`
        without an accuracy.
        """
        path = self.weights(architecture, seed)
        known = _read(path.with_suffix(".json"))
        if known is not None and (known.valid_accuracy is None or path.exists()):
            return known
        training = self._train(architecture, seed, path)
        _write(path.with_suffix(".json"), training)
        return training

    def test(self, training: Training) -> Training:
        """Adds the figures on the test set to a training."""
        if training.test_confusion is not None:
            return training
        import keras

        from layernas_tf.training.train import evaluate_model

        path = self.weights(training.architecture, training.seed)
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        scores = evaluate_model(model, self._dataset.test, segments=self._segments)
        training = dataclasses.replace(
            training,
            test_accuracy=scores.accuracy,
            test_loss=scores.loss,
            test_confusion=tuple(map(tuple, scores.confusion.tolist())),
        )
        _write(path.with_suffix(".json"), training)
        return training

    def _train(
        self, architecture: Architecture, seed: int, path: pathlib.Path
    ) -> Training:
        import keras

        from layernas_tf.training.train import precision, save_model, train_model

        try:
            keras.utils.set_random_seed(seed)
            with precision(self._recipe):
                model = self._space.build(architecture)
            result = train_model(
                model, self._dataset, self._recipe, seed=seed, segments=self._segments
            )
        except Exception as error:  # one finalist must not end the run
            return Training(architecture, seed, None, None, 0.0, describe(error))
        save_model(model, path)
        return Training(
            architecture,
            seed,
            result.valid_accuracy,
            result.valid_loss,
            result.train_seconds,
            valid_balanced_accuracy=result.valid_balanced_accuracy,
        )


def _write(path: pathlib.Path, training: Training) -> None:
    write_json(path, dataclasses.asdict(training))


def _read(path: pathlib.Path) -> Training | None:
    if not path.exists():
        return None
    data: dict[str, Any] = read_json(path)
    try:
        data["architecture"] = tuple(data["architecture"])
        if data.get("test_confusion"):
            data["test_confusion"] = tuple(map(tuple, data["test_confusion"]))
        return Training(**data)
    except (TypeError, KeyError):
        raise UserError(
            f"{str(path)!r} is not the figures of a training; remove it to train again"
        ) from None
