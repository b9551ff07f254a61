"""After the search: the best few candidates are trained longer, and one of them wins.

Proxy rewards are noisy, so the longer training decides between the best candidates, on
validation data. Every training writes a file with its figures after its weights. A run
that was killed continues with the first training that has no such file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from layernas_tf.core.errors import UserError, describe
from layernas_tf.core.files import read_json, write_json
from layernas_tf.space.budget import inside
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.study.study import Study
from layernas_tf.training.recipe import Recipe

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.segments import SegmentCache


@dataclasses.dataclass(frozen=True)
class Finalist:
    """A candidate that is trained longer and may win.

    Example: `Finalist((1, 0, 2), trial=34, proxy_reward=0.96)` was found by trial 34.

    Attributes:
      architecture: An architecture inside every budget.
      trial: The trial that found it; None for a prefix that was completed inside the
        budget and never trained.
      proxy_reward: Its reward in the search, if it has one.
    """

    architecture: Architecture
    trial: int | None
    proxy_reward: float | None


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


@dataclasses.dataclass(frozen=True)
class Finals:
    """The results of the final trainings.

    Example:
      finals = run_finals(trainer, finalists, space.default, seed=0, seeds=3, say=print)
      finals.winner.architecture, finals.winner_trainings[0].test_accuracy

    Attributes:
      finalists: Each candidate with its training.
      winner: The candidate that won.
      winner_trainings: Trainings of the winner, one per seed, with test figures. The
        weights of the first one are exported.
      default_trainings: Trainings of the space's default architecture, one per seed,
        without those that failed.
      weights: The Keras file of the winner's first training.
    """

    finalists: tuple[tuple[Finalist, Training], ...]
    winner: Finalist
    winner_trainings: tuple[Training, ...]
    default_trainings: tuple[Training, ...]
    weights: pathlib.Path

    @property
    def seconds(self) -> float:
        """Duration of all trainings, each counted once."""
        trainings = (
            *(training for _, training in self.finalists),
            *self.winner_trainings,
            *self.default_trainings,
        )
        by_key = {(t.architecture, t.seed): t.seconds for t in trainings}
        return sum(by_key.values())


def choose_finalists(study: Study, count: int) -> list[Finalist]:
    """The best candidates inside the budgets by reward, each architecture once.

    If no trained candidate is inside the budgets, the only finalist is the architecture
    that the algorithm completed inside the budgets.

    Raises:
      UserError: No trial succeeded.
    """
    done = [
        (trial.reward, trial)
        for trial in study.trials
        if trial.reward is not None and inside(study.budgets, trial.costs)
    ]
    done.sort(key=lambda entry: -entry[0])
    finalists: dict[Architecture, Finalist] = {}
    for reward, trial in done:
        finalists.setdefault(
            trial.architecture,
            Finalist(trial.architecture, trial.number, reward),
        )
    if finalists:
        return list(finalists.values())[:count]
    answer = study.algorithm.best
    if answer is None:
        reasons = [trial.reason for trial in study.trials if trial.reason]
        raise UserError(
            f"none of the {len(study.trials)} trials succeeded inside the budget"
            + (f"; the last one failed with {reasons[-1]}" if reasons else "")
            + "; more `trials` or a wider `budget` may help"
        )
    return [Finalist(answer.architecture, None, None)]


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


def run_finals(
    trainer: FinalTrainer,
    finalists: list[Finalist],
    default: Architecture,
    *,
    seed: int,
    seeds: int,
    say: Callable[[str], None],
    reward: str = "accuracy",
) -> Finals:
    """Trains the finalists, chooses the winner, and compares it with the default.

    The winner has the best reward on the validation images, of equals the least loss;
    the test set is only looked at afterwards.

    Args:
      trainer: Trains the architectures.
      finalists: The finalists, at least one.
      default: The space's default architecture.
      seed: Seed of the finalists' trainings.
      seeds: Number of trainings of the winner and of the default architecture for the
        test figures.
      say: Called with a line of text for each training.
      reward: What the finalists are compared by, one of `training.result.REWARDS`.

    Raises:
      UserError: No finalist could be trained.
    """
    entries = []
    for number, finalist in enumerate(finalists, 1):
        training = trainer.train(finalist.architecture, seed)
        entries.append((finalist, training))
        name = "prefix completed inside the budget, never trained in the search"
        if finalist.trial is not None:
            name = f"trial {finalist.trial}"
        say(f"finalist {number} of {len(finalists)} ({name}): {_outcome(training)}")
    trained = [entry for entry in entries if entry[1].valid_accuracy is not None]
    if not trained:
        raise UserError(
            f"none of the {len(entries)} finalists could be trained: "
            f"{entries[0][1].reason}"
        )
    winner, _ = max(trained, key=lambda entry: entry[1].rank(reward))

    def compared(architecture: Architecture, name: str) -> tuple[Training, ...]:
        trainings = []
        for number in range(seeds):
            training = trainer.train(architecture, seed + number)
            if training.valid_accuracy is not None:
                training = trainer.test(training)
                trainings.append(training)
            say(f"{name}, seed {seed + number}: {_outcome(training)}")
        return tuple(trainings)

    return Finals(
        finalists=tuple(entries),
        winner=winner,
        winner_trainings=compared(winner.architecture, "winner"),
        default_trainings=compared(default, "default architecture"),
        weights=trainer.weights(winner.architecture, seed),
    )


def _outcome(training: Training) -> str:
    if training.valid_accuracy is None:
        return f"failed ({training.reason})"
    text = f"{training.valid_accuracy:.2%} on validation"
    if training.test_accuracy is not None:
        text += f", {training.test_accuracy:.2%} on test"
    return f"{text}, trained {training.seconds:.0f} s"


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
