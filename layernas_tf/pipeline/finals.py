"""After the search: the most promising candidates are trained longer, and one wins.

Proxy rewards are noisy, so the longer training decides between the candidates of the
highest expected quality, on validation data.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from layernas_tf.pipeline.baseline import Baseline
from layernas_tf.pipeline.config_check import SEEDS
from layernas_tf.pipeline.final_trainer import (
    FinalTrainer,
    Training,
    correct_on_test,
)
from layernas_tf.pipeline.finalists import Finalist
from layernas_tf.pipeline.halving import Entry, halve, outcome
from layernas_tf.pipeline.targets import Target
from layernas_tf.space.types import Architecture
from layernas_tf.training.paired import (
    Comparison,
    compare_paired,
    paired_noise,
    unpack,
)


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
        return seconds_of([self])


def seconds_of(targets: Sequence[Finals]) -> float:
    """Duration of all trainings for several targets, each counted once.

    Targets share trainings: a candidate may be a finalist of each of them.

    Args:
      targets: The final trainings of each target of one search.
    """
    longest: dict[tuple, float] = {}
    for finals in targets:
        searched = (*(training for _, training in finals.finalists),)
        for group, trainings in (
            ("", (*searched, *finals.winner_trainings)),
            (
                finals.baseline.folder if finals.baseline else "",
                finals.baseline_trainings,
            ),
        ):
            for training in trainings:
                key = (group, training.architecture, training.seed)
                longest[key] = max(longest.get(key, 0.0), training.seconds)
    return sum(longest.values())


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
      reward: The search's reward, one of `training.result.REWARDS`; it decides what the
        finalists are compared by, as `Training.rank` says.
      target: What the winner may cost.

    Raises:
      UserError: No finalist could be trained.
    """
    entries, ended = halve(trainer, finalists, seed, say)
    winner, reason = choose_winner(ended, reward, finalists)
    if len(finalists) > 1:
        say(reason)

    all_seeds = seeds_from(seed, seeds)
    winners = _tested(trainer, winner.architecture, all_seeds, "winner", say)
    others: tuple[Training, ...] = ()
    if baseline is not None:
        by = baseline_trainer or trainer
        others = _tested(by, baseline.architecture, all_seeds, baseline.name, say)
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


def seeds_from(seed: int, number: int) -> list[int]:
    """This many seeds, counted on from one; after the largest comes 0.

    Example:
      >>> seeds_from(3, 2)
      [3, 4]
    """
    return [(seed + count) % SEEDS for count in range(number)]


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
      reward: The search's reward, one of `training.result.REWARDS`; it decides what
        they are compared by, as `Training.rank` says.
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

    That is by the balanced accuracy if it is the reward, else by the accuracy. The
    noise is that of the accuracy in both cases.
    """
    shortfall = best.rank(reward)[0] - other.rank(reward)[0]
    if not shortfall:
        return True
    if not (best.valid_correct and other.valid_correct):
        return False
    noise = paired_noise(unpack(best.valid_correct), unpack(other.valid_correct))
    return shortfall < noise


def _tested(
    trainer: FinalTrainer,
    architecture: Architecture,
    seeds: Sequence[int],
    name: str,
    say: Callable[[str], None],
) -> tuple[Training, ...]:
    """The trainings of one network with their test figures, without failed ones."""
    trainings = []
    for seed in seeds:
        training = trainer.train(architecture, seed)
        if not training.failed:
            training = trainer.test(training)
            trainings.append(training)
        say(f"{name}, seed {seed}: {outcome(training)}")
    return tuple(trainings)
