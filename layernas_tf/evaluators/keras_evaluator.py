"""The reward of a candidate: how good it is after a short training.

From pretrained weights (`training.start`), a candidate may also be judged without any
training.
"""

from __future__ import annotations

import ctypes
import gc
import math
import pathlib
import random
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.core.errors import UserError, describe
from layernas_tf.datasets.split import Dataset
from layernas_tf.evaluators.base import Evaluation, TrialFailure
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.training.inherit import descend, weights_of
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.result import TrainingResult
from layernas_tf.training.scoring import Scores
from layernas_tf.training.train import precision, train_model
from layernas_tf.training.weight_store import keep

if TYPE_CHECKING:
    import keras

    from layernas_tf.training.segments import SegmentCache
    from layernas_tf.training.start import Start

_KERNELS_KEPT = 10
"""Number of trials after which TensorFlow's kernels are made again."""


class KerasEvaluator:
    """Builds a candidate's network, trains it briefly and validates it.

    Every candidate starts from the same seed, so the same candidate gets the same
    reward, and two candidates see the same images in the same order.

    On TensorFlow, the pieces that candidates share are compiled once (see
    `layernas_tf.training.segments`). Nothing else of a network outlives its trial.

    Example:
      recipe = default_recipe(dataset, proxy=True)
      evaluator = KerasEvaluator(space, dataset, recipe, seed=0)
      evaluator(Candidate(space.default, 0)).reward

    Args:
      space: The search space, whose builder makes the networks.
      dataset: Images of the size that the space takes.
      recipe: How to train, usually `default_recipe(dataset, proxy=True)` of
        `layernas_tf.training.recipe`.
      seed: Seed of the weights, the order of the images and their augmentation.
      weights: Folder of trained weights. Candidates start from the weights there (see
        `layernas_tf.training.inherit`) and save their own there. With None, every
        candidate starts from fresh weights.
      start: Gives every candidate pretrained weights. With a recipe of 0 epochs, it is
        then judged without training (`Start.judge`).
      reward: One of `training.result.REWARDS`.

    Raises:
      UserError: The space has no builder, or takes other images than the data set has;
        or the recipe trains nothing and there are no pretrained weights.
    """

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        recipe: Recipe,
        *,
        seed: int = 0,
        weights: pathlib.Path | None = None,
        start: Start | None = None,
        reward: str = "accuracy",
    ):
        if space.builder is None:
            raise UserError(
                f"space {space.name!r} has no Keras builder: it cannot be trained"
            )
        if recipe.epochs < 1 and start is None:
            raise UserError("recipe: epochs must be at least 1 from fresh weights")
        image = space.start
        takes = (image.height, image.width, image.channels)
        if takes != dataset.shape:
            raise UserError(
                f"space {space.name!r} takes images of {takes} (height, width, "
                f"channels), the data set {dataset.name!r} has {dataset.shape}"
            )
        self._space = space
        self._dataset = dataset
        self._recipe = recipe
        self._seed = seed
        self._weights = weights
        self._start = start
        self._reward = reward
        self._segments: SegmentCache | None = None
        self._trained = 0

    def __call__(self, candidate: Candidate) -> Evaluation:
        """Trains the candidate.

        Returns:
          The reward, one of `training.result.REWARDS`, and `valid_loss`, `train_loss`,
          `train_seconds` and `build_seconds` as further figures, with `valid_accuracy`
          where it is not the reward. With inherited weights, there are four more:
          `lineage`, the number of trainings that led to the candidate's weights (1 if
          it started from fresh weights); `inherited_from`, the number of the trial that
          it inherited from; `inherited_share`, the share of its weights that were
          inherited, 0..1; and `weights_kept`, 0 if its own weights could not be saved.
          With pretrained weights, `pretrained_share` is the share of its weights that
          came from there.

        Raises:
          TrialFailure: The loss became NaN, memory ran out, or the network cannot be
            built or trained.
        """
        try:
            return self._evaluate(candidate)
        except UserError:
            raise
        except Exception as error:
            # A candidate that fails must not end the search.
            reason = _reason(error)
            error.__traceback__ = None
            self._segments = None
        finally:
            _release_memory()
        raise TrialFailure(reason)

    def _evaluate(self, candidate: Candidate) -> Evaluation:
        import keras

        if self._segments is None and keras.backend.backend() == "tensorflow":
            from layernas_tf.training.segments import SegmentCache

            self._segments = SegmentCache()
        started = time.perf_counter()
        _seed(self._seed, forget_kernels=self._trained % _KERNELS_KEPT == 0)
        self._trained += 1
        with precision(self._recipe):
            model = self._space.build(candidate.architecture)
        descent: dict[str, float] = {}
        if self._weights:
            descent |= descend(model, candidate, self._space, self._weights)
        built = time.perf_counter()
        if self._start is None:
            result = self._train(model)
        elif self._recipe.epochs:
            descent["pretrained_share"] = self._start.prepare(model)
            result = self._train(model)
        else:
            descent["pretrained_share"], scores = self._start.judge(
                model, self._dataset.valid
            )
            result = _untrained(scores, time.perf_counter() - built)
        reward = result.reward(self._reward)
        if self._weights:
            descent["weights_kept"] = keep(
                self._weights,
                candidate.number,
                candidate.architecture,
                reward,
                int(descent["lineage"]),
                weights_of(model),
            )
        further = {}
        if self._reward != "accuracy":
            further["valid_accuracy"] = result.valid_accuracy
        return Evaluation(
            reward=reward,
            metrics={
                **descent,
                **further,
                "valid_loss": result.valid_loss,
                **({"train_loss": result.train_loss} if self._recipe.epochs else {}),
                "build_seconds": built - started,
                "train_seconds": result.train_seconds,
            },
        )

    def _train(self, model: keras.Model) -> TrainingResult:
        return train_model(
            model,
            self._dataset,
            self._recipe,
            seed=self._seed,
            segments=self._segments,
        )


def _untrained(scores: Scores, seconds: float) -> TrainingResult:
    return TrainingResult(
        valid_accuracy=scores.accuracy,
        valid_loss=scores.loss,
        valid_balanced_accuracy=scores.balanced_accuracy,
        valid_correct=scores.correct,
        train_loss=math.nan,
        train_seconds=seconds,
        history=(),
    )


def _seed(seed: int, forget_kernels: bool) -> None:
    """Sets the seeds of a trial's weights, dropout and order of images.

    Setting TensorFlow's seed discards the kernels of all its functions. Making them
    again takes a second, but kept for long, they take more and more memory.
    """
    import keras

    if forget_kernels:
        keras.utils.set_random_seed(seed)
    else:
        # Keras draws all its random numbers from these two generators.
        random.seed(seed)
        np.random.seed(seed)


def _reason(error: Exception) -> str:
    if isinstance(error, FloatingPointError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == (
        "ResourceExhaustedError"
    ):
        return f"out of memory ({type(error).__name__})"
    return describe(error)


def _release_memory() -> None:
    """Gives the memory of a finished trial back to the operating system."""
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except AttributeError:  # Not glibc.
            pass
