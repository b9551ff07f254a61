"""After the search: the best few candidates are trained longer, and one of them wins.

Proxy rewards are noisy, so the longer training decides between the best candidates, on
validation data.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.final_trainer import FinalTrainer, Training
from layernas_tf.space.budget import inside
from layernas_tf.space.types import Architecture
from layernas_tf.study.study import Study


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
