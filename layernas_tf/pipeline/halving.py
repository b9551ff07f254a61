"""Successive halving of the finalists: all begin, and the better half goes on.

After a quarter and after half of the epochs, the half with the lower training loss goes
on (Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", 2016). Nothing is trained twice: who goes on continues its training.
Those that are trained to the end are compared by `Training.rank`.

While the learning rate is high, the validation accuracy after a single step is a matter
of luck, and the mean loss of an epoch's steps is not: `benchmarks/fidelity.py` measures
both (`constant` in docs/fidelity.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.final_trainer import FinalTrainer, Training
from layernas_tf.pipeline.finalists import Finalist
from layernas_tf.report.wording import counted

_RUNGS = (0.25, 0.5)
"""Shares of the epochs after which the better half of the finalists goes on."""

_LEAST_STEPS = 60
"""Steps before which a training says little about its end."""

_LEAST = 2
"""Finalists that are trained to the end, if there are so many."""

Entry = tuple[Finalist, Training]
"""A finalist with its training, as far as that went."""


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


def halve(
    trainer: FinalTrainer,
    finalists: Sequence[Finalist],
    seed: int,
    say: Callable[[str], None],
) -> tuple[list[Entry], list[Entry]]:
    """Trains all finalists, the weaker ones not to the end.

    Args:
      trainer: Trains the architectures.
      finalists: The finalists, at least one.
      seed: Of the trainings.
      say: Called with a line of text for each training.

    Returns:
      All of them, in the given order, and those that were trained to the end.

    Raises:
      UserError: No finalist could be trained.
    """
    entries: dict[Finalist, Training] = {}
    number = {finalist: n for n, finalist in enumerate(finalists, 1)}

    def train(finalist: Finalist, epochs: int) -> None:
        training = entries[finalist] = trainer.train(
            finalist.architecture, seed, epochs
        )
        text = outcome(training)
        if epochs != trainer.epochs and training.train_loss is not None:
            text = f"training loss {training.train_loss:.3f}"
        so_far = (
            f" after {counted(epochs, 'epoch')}" if epochs != trainer.epochs else ""
        )
        name = f"finalist {number[finalist]} of {len(finalists)} ({finalist.name})"
        say(f"{name}{so_far}: {text}")

    def loss(finalist: Finalist) -> float:
        known = entries[finalist].train_loss
        return math.inf if known is None else known

    def best(among: Sequence[Finalist]) -> list[Finalist]:
        good = [finalist for finalist in among if not entries[finalist].failed]
        return sorted(good, key=loss)

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


def outcome(training: Training) -> str:
    """The figures of a training in a few words."""
    if training.valid_accuracy is None:
        return f"failed ({training.reason})"
    text = f"{training.valid_accuracy:.2%} on validation"
    if training.test_accuracy is not None:
        text += f", {training.test_accuracy:.2%} on test"
    return f"{text}, trained {training.seconds:.0f} s"
