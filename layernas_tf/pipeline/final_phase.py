"""The final trainings of a search: with what, how many, and how long they take."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.costs.cost import with_cost, with_user_costs
from layernas_tf.costs.latency_estimate import estimated_latency
from layernas_tf.pipeline.baseline import Baseline, choose_baseline, rescaler
from layernas_tf.pipeline.evaluation import shared_segments
from layernas_tf.pipeline.final_trainer import FinalTrainer
from layernas_tf.pipeline.finalists import choose_finalists
from layernas_tf.pipeline.finals import Finals, run_finals, seeds_from
from layernas_tf.pipeline.halving import planned_epochs
from layernas_tf.pipeline.starting import kept_start
from layernas_tf.pipeline.targets import Target
from layernas_tf.pipeline.task import Task
from layernas_tf.pipeline.teaching import Lesson, lesson_for
from layernas_tf.report.wording import counted, seconds_text
from layernas_tf.space.budget import Budget
from layernas_tf.space.even_cuts import even_cuts
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.study.study import Study

if TYPE_CHECKING:
    from layernas_tf.training.segments import SegmentCache
    from layernas_tf.training.start import Start

_SEEDS = ((2_000, 3), (5_000, 2))
"""Below so many test images, so many trainings of the winner and of the baseline."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """What the final trainings for all targets have in common.

    Example:
      prepared = prepare_finals(task, folder, print)
      for target in task.targets:
          train_finalists(task, study, folder, print, target, prepared)

    Attributes:
      segments: Compiled segments that the trainings share, where that is faster.
      start: Gives every network pretrained weights.
      lesson: What networks are trained on.
    """

    segments: SegmentCache | None
    start: Start | None
    lesson: Lesson


def train_finalists(
    task: Task,
    study: Study,
    folder: pathlib.Path,
    say: Callable[[str], None],
    target: Target | None = None,
    prepared: Prepared | None = None,
) -> Finals:
    """Trains the most promising candidates with the final recipe; one of them wins.

    Args:
      task: The search.
      study: Its trials.
      folder: The workdir.
      say: Called with a line of text for each training.
      target: What the winner may cost; by default the largest of the task's budgets.
      prepared: What `prepare_finals` returns; by default it is called here.
    """
    config = task.config
    assert task.dataset is not None
    target = target or task.targets[0]
    finalists = choose_finalists(
        study,
        config.finalists,
        target.budgets,
        untried=bool(config.retarget_from),
        # Whoever has pretrained weights has this network without any search.
        always=even_cuts(task.space, target.budgets)[:1] if config.pretrained else (),
    )
    baseline = baseline_of(task, target.budgets)
    seeds = final_seeds(task)
    prepared = prepared or prepare_finals(task, folder, say)
    trainer = _trainer(task, folder / "finals", task.space, prepared)
    other = None
    if baseline is not None and baseline.folder:
        place = folder / "finals" / baseline.folder
        other = _trainer(task, place, baseline.space, prepared)
    epochs = planned_epochs(trainer, len(finalists), seeds, bool(baseline))
    if baseline is not None:
        last = (other or trainer).weights(
            baseline.architecture, seeds_from(config.seed, seeds)[-1]
        )
        epochs = 0 if last.exists() else epochs
    if len(task.targets) > 1:
        say(f"Winner for {target}:")
    say(_plan(task, study, len(finalists), baseline, seeds, epochs))
    return run_finals(
        trainer,
        finalists,
        baseline,
        other,
        seed=config.seed,
        seeds=seeds,
        say=say,
        reward=task.config.reward,
        target=target,
    )


def prepare_finals(
    task: Task, folder: pathlib.Path, say: Callable[[str], None]
) -> Prepared:
    """Prepares the final trainings; with `distill`, the teacher is trained here.

    Args:
      task: The search.
      folder: The workdir.
      say: Called with a line of text about the teacher.

    Raises:
      UserError: The teacher could not be trained.
    """
    assert task.dataset is not None
    assert task.final_recipe is not None
    start, segments = kept_start(task, folder), shared_segments()
    lesson = lesson_for(
        task.distill,
        folder / "finals",
        task.space,
        task.dataset,
        task.final_recipe,
        seed=task.config.seed,
        say=say,
        start=start,
        segments=segments,
    )
    return Prepared(segments, start, lesson)


def _trainer(
    task: Task, folder: pathlib.Path, space: SearchSpace, prepared: Prepared
) -> FinalTrainer:
    """The trainer of the task's networks, or of a baseline from another space."""
    assert task.final_recipe is not None
    return FinalTrainer(
        folder,
        space,
        prepared.lesson.dataset,
        task.final_recipe,
        prepared.segments,
        start=prepared.start,
        teacher=prepared.lesson.teacher,
    )


def baseline_of(task: Task, budgets: Sequence[Budget]) -> Baseline | None:
    """What a winner of the task under these budgets is compared with."""

    def with_costs(space: SearchSpace) -> SearchSpace:
        space = with_user_costs(space, task.config.cost)
        if task.latency is None:
            return space
        return with_cost(space, estimated_latency(task.space, task.latency))

    rescale = None
    if task.config.baseline == "width":
        rescale = rescaler(task.space, task.inputs.get_space, with_costs)
    return choose_baseline(task.config.baseline, task.space, budgets, rescale)


def final_seeds(task: Task) -> int:
    """Trainings of the winner and of the baseline for the test figures.

    By default more, the fewer test images there are: 3 below 2,000, 2 below 5,000.
    """
    if task.config.final_seeds is not None:
        return task.config.final_seeds
    assert task.dataset is not None
    images = task.dataset.test.size
    return next((seeds for below, seeds in _SEEDS if images < below), 1)


def seconds_per_image(task: Task, study: Study) -> float | None:
    """Seconds that the search's trainings took for an image; None if it knows none.

    That of the fast quarter of the trials: others compiled what a longer training
    compiles only once.
    """
    if task.dataset is None or task.proxy_recipe is None:
        return None
    recipe = task.proxy_recipe
    steps = recipe.epochs * recipe.steps_per_epoch(task.dataset.train.size)
    images = steps * recipe.batch_size
    known = [
        trial.metrics["train_seconds"]
        for trial in study.trials
        if trial.metrics.get("train_seconds")
    ]
    return float(np.quantile(known, 0.25)) / images if known and images else None


def _plan(
    task: Task,
    study: Study,
    finalists: int,
    baseline: Baseline | None,
    seeds: int,
    epochs: int,
) -> str:
    """What is trained, and how long that takes; of 0 epochs everything is done."""
    assert task.dataset is not None and task.final_recipe is not None
    text = f"Final training of {counted(finalists, 'candidate')}"
    if baseline is not None:
        text += f" and the {baseline.name}"
    text += f" with {counted(task.final_recipe.epochs, 'epoch')} each"
    if seeds > 1:
        text += f", the last ones with {seeds} seeds"
    per_image = seconds_per_image(task, study)
    if per_image is not None and epochs:
        seconds = per_image * epochs * task.dataset.train.size
        text += f"; about {seconds_text(round(seconds))}, as fast as in the search"
    return f"{text}."
