"""After the search: the most promising candidates are trained longer, and one wins.

Proxy rewards are noisy, so the longer training decides between the candidates of the
highest expected quality, on validation data. They are trained side by side: after a
quarter and after half of the epochs the better half goes on (successive halving;
Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", 2016). Nothing is trained twice: who goes on continues its training.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence

from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.baseline import Baseline
from layernas_tf.pipeline.final_trainer import (
    FinalTrainer,
    Training,
    correct_on_test,
)
from layernas_tf.pipeline.finalists import Finalist
from layernas_tf.pipeline.targets import Target
from layernas_tf.report.wording import counted
from layernas_tf.training.paired import (
    Comparison,
    compare_paired,
    paired_noise,
    unpack,
)

_RUNGS = (0.25, 0.5)
"""Shares of the epochs after which the better half of the finalists goes on."""

_LEAST_STEPS = 60
"""Steps before which a training says little about its end."""

_LEAST = 2
"""Finalists that are trained to the end, if there are so many."""

Entry = tuple[Finalist, Training]
"""A finalist with its training, as far as that went."""


@dataclasses.dataclass(frozen=True)
class Finals:
    """The results of the final trainings.

    Example:
      finals = run_finals(trainer, finalists, seed=0, seeds=3, say=print)
      finals.winner.architecture, finals.winner_trainings[0].test_accuracy

    Attributes:
      finalists: Each candidate with its training, which ends early for those that
        others surpassed.
      winner: The candidate that won.
      reason: Why it won, in one sentence.
      winner_trainings: Trainings of the winner, one per seed, with test figures. The
        weights of the first one are exported.
      baseline: What the winner is compared with; None for nothing.
      baseline_trainings: Trainings of the baseline, one per seed, without those that
        failed.
      comparison: The winner's test accuracy against the baseline's; None where there is
        no baseline or it could not be trained.
      weights: The Keras file of the winner's first training.
      target: What the winner may cost, and the folder that it is exported to.
    """

    finalists: tuple[Entry, ...]
    winner: Finalist
    reason: str
    winner_trainings: tuple[Training, ...]
    baseline: Baseline | None
    baseline_trainings: tuple[Training, ...]
    comparison: Comparison | None
    weights: pathlib.Path
    target: Target = Target("winner", ())

    @property
    def seconds(self) -> float:
        """Duration of all trainings, each counted once."""
        longest: dict[tuple, float] = {}
        searched = (*(training for _, training in self.finalists),)
        for group, trainings in (
            ("", (*searched, *self.winner_trainings)),
            (self.baseline.folder if self.baseline else "", self.baseline_trainings),
        ):
            for training in trainings:
                key = (group, training.architecture, training.seed)
                longest[key] = max(longest.get(key, 0.0), training.seconds)
        return sum(longest.values())


def rungs(
    epochs: int, finalists: int, steps_per_epoch: int = _LEAST_STEPS
) -> list[tuple[int, int]]:
    """After which epochs finalists are compared, and how many go on from there.

    Example:
      >>> rungs(20, 8)
      [(5, 4), (10, 2)]

    Args:
      epochs: Of a whole training.
      finalists: How many begin.
      steps_per_epoch: Steps of an epoch: nobody is judged in the first `_LEAST_STEPS`.
    """
    found = []
    before = 0
    for share in _RUNGS:
        at, remaining = math.ceil(share * epochs), max(_LEAST, -(-finalists // 2))
        judged = before < at < epochs and at * steps_per_epoch >= _LEAST_STEPS
        if judged and remaining < finalists:
            found.append((at, remaining))
            before, finalists = at, remaining
    return found


def planned_epochs(
    trainer: FinalTrainer, finalists: int, seeds: int, baseline: bool
) -> int:
    """Epochs of all final trainings together, if none fails or ends early."""
    total, before, epochs = 0, 0, trainer.epochs
    for at, remaining in rungs(epochs, finalists, trainer.steps_per_epoch):
        total += (at - before) * finalists
        before, finalists = at, remaining
    total += (epochs - before) * finalists
    return total + epochs * (seeds - 1 + seeds * baseline)


def run_finals(
    trainer: FinalTrainer,
    finalists: Sequence[Finalist],
    baseline: Baseline | None = None,
    baseline_trainer: FinalTrainer | None = None,
    *,
    seed: int,
    seeds: int,
    say: Callable[[str], None],
    reward: str = "accuracy",
    target: Target = Target("winner", ()),  # noqa: B008
) -> Finals:
    """Trains the finalists, chooses the winner, and compares it with the baseline.

    The winner is chosen on the validation images (`choose_winner`); the test set is
    only looked at afterwards.

    Args:
      trainer: Trains the architectures.
      finalists: The finalists, at least one.
      baseline: What the winner is compared with.
      baseline_trainer: Trains the baseline; by default `trainer`.
      seed: Seed of the finalists' trainings.
      seeds: Number of trainings of the winner and of the baseline for the test figures.
      say: Called with a line of text for each training.
      reward: What the finalists are compared by, one of `training.result.REWARDS`.
      target: What the winner may cost.

    Raises:
      UserError: No finalist could be trained.
    """
    entries, ended = _halve(trainer, finalists, seed, say, reward)
    winner, reason = choose_winner(ended, reward, finalists)
    if len(finalists) > 1:
        say(reason)

    def tested(
        by: FinalTrainer, architecture: tuple[int, ...], name: str
    ) -> tuple[Training, ...]:
        trainings = []
        for number in range(seeds):
            training = by.train(architecture, seed + number)
            if not training.failed:
                training = by.test(training)
                trainings.append(training)
            say(f"{name}, seed {seed + number}: {_outcome(training)}")
        return tuple(trainings)

    winners = tested(trainer, winner.architecture, "winner")
    others: tuple[Training, ...] = ()
    if baseline is not None:
        by = baseline_trainer or trainer
        others = tested(by, baseline.architecture, baseline.name)
    first, second = correct_on_test(winners), correct_on_test(others)
    comparison = None
    if first is not None and second is not None:
        comparison = compare_paired(first, second)
    return Finals(
        finalists=tuple(entries),
        winner=winner,
        reason=reason,
        winner_trainings=winners,
        baseline=baseline,
        baseline_trainings=others,
        comparison=comparison,
        weights=trainer.weights(winner.architecture, seed),
        target=target,
    )


def choose_winner(
    entries: Sequence[Entry], reward: str, finalists: Sequence[Finalist] = ()
) -> tuple[Finalist, str]:
    """The finalist that wins, and why.

    The best on the validation images wins, unless others cannot be told from it there:
    their shortfall is less than the standard error of the paired difference. Of those,
    the one of which the search expects the most wins. (The rule of one standard error
    is that of Breiman et al., "Classification and Regression Trees", 1984.)

    Args:
      entries: Finalists that were trained to the end, at least one.
      reward: What they are compared by, one of `training.result.REWARDS`.
      finalists: All finalists, in the order that numbers them in the reason.
    """
    named = {f: f"finalist {n} ({f.name})" for n, f in enumerate(finalists, 1)}
    best = max(entries, key=lambda entry: entry[1].rank(reward))
    equals = [e for e in entries if e is best or _is_equal(best[1], e[1], reward)]
    winner = max(equals, key=lambda e: (e[0].expected_quality, e[1].rank(reward)))
    name = named.get(winner[0], winner[0].name)
    if len(entries) == 1:
        return winner[0], f"{name} is the only finalist that was trained to the end."
    if len(equals) == 1:
        return winner[0], f"{name} wins: it is the best on the validation images."
    others = ", ".join(named.get(e[0], e[0].name) for e in equals if e is not winner)
    return winner[0], (
        f"{name} wins: the validation images cannot tell it from {others}, and the "
        "search expects the most of it."
    )


def _is_equal(best: Training, other: Training, reward: str) -> bool:
    """Whether the validation images cannot tell the two trainings apart.

    The noise is that of the accuracy, also where the classes are to count alike.
    """
    shortfall = best.rank(reward)[0] - other.rank(reward)[0]
    if not shortfall:
        return True
    if not (best.valid_correct and other.valid_correct):
        return False
    noise = paired_noise(unpack(best.valid_correct), unpack(other.valid_correct))
    return shortfall < noise


def _halve(
    trainer: FinalTrainer,
    finalists: Sequence[Finalist],
    seed: int,
    say: Callable[[str], None],
    reward: str,
) -> tuple[list[Entry], list[Entry]]:
    """Trains all finalists, the weaker ones not to the end.

    Returns:
      All of them, in the given order, and those that were trained to the end.
    """
    entries: dict[Finalist, Training] = {}
    number = {finalist: n for n, finalist in enumerate(finalists, 1)}

    def train(finalist: Finalist, epochs: int) -> None:
        entries[finalist] = trainer.train(finalist.architecture, seed, epochs)
        so_far = ""
        if epochs != trainer.epochs:
            so_far = f" after {counted(epochs, 'epoch')}"
        say(
            f"finalist {number[finalist]} of {len(finalists)} ({finalist.name})"
            f"{so_far}: {_outcome(entries[finalist])}"
        )

    def best(among: Sequence[Finalist]) -> list[Finalist]:
        good = [finalist for finalist in among if not entries[finalist].failed]
        return sorted(good, key=lambda f: entries[f].rank(reward), reverse=True)

    remaining = list(finalists)
    steps = trainer.steps_per_epoch
    for epochs, most in rungs(trainer.epochs, len(finalists), steps):
        for finalist in remaining:
            train(finalist, epochs)
        remaining = best(remaining)[:most]
    ended: list[Entry] = []
    # If all that went on have failed in the end, the others get their turn.
    others = [finalist for finalist in best(list(entries)) if finalist not in remaining]
    for finalist in [*remaining, *others]:
        if finalist in remaining or not ended:
            train(finalist, trainer.epochs)
            if not entries[finalist].failed:
                ended.append((finalist, entries[finalist]))
    if not ended:
        raise UserError(
            f"none of the {len(finalists)} finalists could be trained: "
            f"{entries[finalists[0]].reason}"
        )
    return [(finalist, entries[finalist]) for finalist in finalists], ended


def _outcome(training: Training) -> str:
    if training.valid_accuracy is None:
        return f"failed ({training.reason})"
    text = f"{training.valid_accuracy:.2%} on validation"
    if training.test_accuracy is not None:
        text += f", {training.test_accuracy:.2%} on test"
    return f"{text}, trained {training.seconds:.0f} s"
