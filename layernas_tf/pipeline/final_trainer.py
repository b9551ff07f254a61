"""Trainings with the final recipe: each one is done once, and its figures are kept.

Every training writes a file with its figures after its weights, and a checkpoint after
every epoch. A run that was killed continues with the epoch that it was in.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.core.errors import UserError, describe
from layernas_tf.core.files import read_json, write_json
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.checkpoint import Checkpoint
from layernas_tf.training.paired import pack, unpack
from layernas_tf.training.recipe import Recipe

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.segments import SegmentCache
    from layernas_tf.training.start import Start


@dataclasses.dataclass(frozen=True)
class Training:
    """One training with the final recipe.

    Example:
      >>> Training((1, 0, 2), 0, None, None, 12.0, "out of memory").failed
      True

    Attributes:
      architecture: The architecture that was trained.
      seed: Seed of its weights and batches.
      valid_accuracy: Share of the validation images classified correctly; None if the
        training failed.
      valid_loss: Mean cross-entropy on them.
      seconds: Duration of the training so far.
      reason: Why it failed, in one line.
      test_accuracy: Share of the test images classified correctly; None until it is
        measured.
      test_loss: Mean cross-entropy on them.
      valid_balanced_accuracy: Mean over the classes of the share of their validation
        images classified correctly.
      test_confusion: Numbers of test images by true class (rows) and the class that
        the network says (columns).
      epochs: Epochs that it was trained; None in files of earlier versions: all.
      valid_correct: Which validation images are classified correctly, as
        `training.paired.pack` writes it; empty in files of earlier versions.
      train_loss: Mean loss of its last epoch; None in files of earlier versions.
      test_correct: Likewise for the test images, empty until they are looked at.
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
    epochs: int | None = None
    valid_correct: str = ""
    train_loss: float | None = None
    test_correct: str = ""

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.valid_accuracy is None

    def rank(self, reward: str) -> tuple[float, float]:
        """What finalists are compared by; the greatest is the best.

        That is the balanced accuracy if it is the reward. With any other reward it is
        the accuracy. Of equal ones, the one of the least loss is the best.

        Args:
          reward: The search's reward, one of `training.result.REWARDS`.
        """
        balanced = self.valid_balanced_accuracy
        figure = balanced if reward == "balanced_accuracy" else self.valid_accuracy
        return (-math.inf if figure is None else figure, -(self.valid_loss or 0.0))


class FinalTrainer:
    """Trains architectures with the final recipe, each with each seed only once.

    Example:
      trainer = FinalTrainer(folder, space, dataset, recipe)
      trainer.train(architecture, seed=0, epochs=2)  # the first two of the recipe's
      trainer.test(trainer.train(architecture, seed=0)).test_accuracy

    Attributes:
      epochs: Epochs of a whole training.
      steps_per_epoch: Steps of each of them.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        space: SearchSpace,
        dataset: Dataset,
        recipe: Recipe,
        segments: SegmentCache | None = None,
        *,
        start: Start | None = None,
        teacher: str = "",
        about: Mapping[str, Any] | None = None,
    ):
        """Makes a trainer.

        Args:
          folder: Folder for the weights and figures.
          space: The search space, whose builder makes the networks.
          dataset: Images to train, validate and test on.
          recipe: How to train.
          segments: Compiled segments that the trainings share, where that is faster.
          start: Gives every network pretrained weights.
          teacher: Stands for the teacher of the data set's soft labels, if it has any.
          about: What the trainings are of, where the folder may be used again for other
            images or another space; a training of something else is not taken for one.
        """
        self._folder = folder
        self._space = space
        self._dataset = dataset
        self._recipe = recipe
        self._segments = segments
        self._start = start
        self._teacher = teacher
        self._about = dict(about or {})
        self.epochs = recipe.epochs
        self.steps_per_epoch = recipe.steps_per_epoch(dataset.train.size)

    def weights(self, architecture: Architecture, seed: int) -> pathlib.Path:
        """The path of the trained network, which exists after the training."""
        recipe = dataclasses.asdict(self._recipe)
        for name, value in (("class_weights", "none"), ("patience", 0.0)):
            if recipe[name] == value:
                del recipe[name]  # as before there was any
        about: list[Any] = [architecture, seed, recipe]
        if self._start is not None:
            about.append(self._start.digest)
        if self._teacher:
            about.append(f"taught by {self._teacher}")
        if self._about:  # a search's workdir is of one search, and says nothing here
            about.append(json.dumps(self._about, sort_keys=True, default=str))
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        return self._folder / f"{digest}.keras"

    def train(
        self, architecture: Architecture, seed: int, epochs: int | None = None
    ) -> Training:
        """Trains the architecture, or reads the results of an earlier run.

        A training that fails (out of memory, a loss that is NaN) gives a `Training`
        without an accuracy.

        Args:
          architecture: One option index per layer.
          seed: Seed of the weights and batches.
          epochs: Only the first ones of the recipe's epochs; a later call with more
            goes on from there. By default all.
        """
        weights = self.weights(architecture, seed)
        whole = epochs is None or epochs >= self.epochs
        figures = weights.with_suffix(".json")
        if not whole:
            figures = weights.with_name(f"{weights.stem}-{epochs}.json")
        known = _read(figures)
        if known is not None and (known.failed or not whole or weights.exists()):
            return known
        until = None if whole else epochs
        training = self._train(architecture, seed, until, weights)
        _write(figures, training)
        if whole:
            _checkpoint(weights).unlink(missing_ok=True)
        return training

    def test(self, training: Training) -> Training:
        """Adds the figures on the test set to a whole training."""
        if training.test_correct:
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
            test_correct=pack(scores.correct),
        )
        _write(path.with_suffix(".json"), training)
        return training

    def _train(
        self,
        architecture: Architecture,
        seed: int,
        until: int | None,
        path: pathlib.Path,
    ) -> Training:
        import keras

        from layernas_tf.training.train import precision, save_model, train_model

        try:
            keras.utils.set_random_seed(seed)
            with precision(self._recipe):
                model = self._space.build(architecture)
            if self._start is not None:
                self._start.prepare(model)
            result = train_model(
                model,
                self._dataset,
                self._recipe,
                seed=seed,
                segments=self._segments,
                checkpoint=Checkpoint(
                    _checkpoint(path), {"training": path.stem}, replace=True
                ),
                until=until,
            )
        except UserError:  # nothing of this network: the checkpoint cannot be written
            raise
        except Exception as error:  # one finalist must not end the run
            return Training(architecture, seed, None, None, 0.0, describe(error))
        if until is None:
            save_model(model, path)
        return Training(
            architecture,
            seed,
            result.valid_accuracy,
            result.valid_loss,
            result.epoch_seconds,
            valid_balanced_accuracy=result.valid_balanced_accuracy,
            epochs=len(result.history),
            valid_correct=pack(result.valid_correct),
            train_loss=result.train_loss,
        )


def correct_on_test(trainings: tuple[Training, ...]) -> np.ndarray | None:
    """(trainings, images) booleans, whether a test image is classified correctly.

    None if there is no training, or one that was not tested by this version.
    """
    if not trainings or not all(training.test_correct for training in trainings):
        return None
    return np.stack([unpack(training.test_correct) for training in trainings])


def _checkpoint(weights: pathlib.Path) -> pathlib.Path:
    return weights.with_name(f"{weights.stem}.checkpoint.npz")


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
        training = Training(**data)
        for packed in (training.valid_correct, training.test_correct):
            if packed:
                unpack(packed)
    except (TypeError, KeyError, ValueError, AttributeError):
        raise UserError(
            f"{str(path)!r} is not the figures of a training; remove it to train again"
        ) from None
    return training
