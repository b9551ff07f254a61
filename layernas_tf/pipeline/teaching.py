"""The teacher: the published network, trained once, which then teaches others.

In a search it teaches the finalists and the baseline alike.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.core.files import writing
from layernas_tf.datasets.split import ArraySplit, Dataset
from layernas_tf.pipeline.final_trainer import FinalTrainer
from layernas_tf.pipeline.fingerprint import data_digest
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.training.recipe import Recipe

if TYPE_CHECKING:
    from layernas_tf.training.segments import SegmentCache
    from layernas_tf.training.start import Start


@dataclasses.dataclass(frozen=True, eq=False)
class Lesson:
    """What networks are trained on.

    Example: `Lesson(dataset)` has no teacher.

    Attributes:
      dataset: The images, with what the teacher gives if there is one.
      teacher: Stands for the teacher, its training and what it gives; empty without
        one.
    """

    dataset: Dataset
    teacher: str = ""

    def about(self) -> dict[str, str]:
        """What a record of a training says of the teacher; nothing without one."""
        return {"teacher": self.teacher} if self.teacher else {}


def lesson_for(
    distill: str,
    folder: pathlib.Path,
    space: SearchSpace,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    say: Callable[[str], None],
    start: Start | None = None,
    segments: SegmentCache | None = None,
    about: Callable[[], Mapping[str, Any]] | None = None,
) -> Lesson:
    """What networks are trained on: the images, with what a teacher gives if wanted.

    The teacher is trained here, on the true labels. The folder keeps its weights and
    logits, so a resumed search does not compute them again.

    Args:
      distill: One of `training.soft_labels.DISTILLATIONS`; with `none` there is no
        teacher.
      folder: Keeps the teacher.
      space: The search space; its default is the published network.
      dataset: The images with their true labels.
      recipe: How the teacher is trained: as those that it teaches.
      seed: Seed of the teacher's training.
      say: Called with a line of text about the teacher.
      start: Gives the teacher pretrained weights; then the network that they are of is
        the teacher.
      segments: As for `FinalTrainer`.
      about: Gives what the teacher is of, as `taught_about` does, so that a folder that
        is used again for other images trains another; a search's workdir needs none.

    Raises:
      UserError: The teacher could not be trained, or cannot teach with this backend.
    """
    if distill == "none":
        return Lesson(dataset)
    _check_backend(distill, dataset)
    known = about() if about else None
    trainer = FinalTrainer(
        folder, space, dataset, recipe, segments, start=start, about=known
    )
    architecture = space.default if start is None else start.architecture
    training = trainer.train(architecture, seed)
    if training.valid_accuracy is None:
        raise UserError(
            f"the teacher could not be trained: {training.reason}; `distill`=none "
            "does without one"
        )
    say(
        f"teacher (the published network): {training.valid_accuracy:.2%} on "
        f"validation, trained {training.seconds:.0f} s"
    )
    weights = trainer.weights(architecture, seed)
    if distill == "features":
        return Lesson(_hinted(dataset, weights, seed), f"{weights.stem}, features")
    return Lesson(_taught(dataset, weights, segments), weights.stem)


def taught_about(
    dataset: Dataset, named: str, space: SearchSpace, **data: Any
) -> dict[str, Any]:
    """What a teacher outside a search is of, for `lesson_for`.

    Example: `taught_about(load_dataset("digits"), "digits", space, fit="squash")`.

    Args:
      dataset: The images that it is trained on.
      named: What they were loaded from; empty for images that were given.
      space: The search space.
      **data: How the images were chosen and brought into the frame, by name: pixels
        that are read only in training are in no digest.
    """
    return {
        "dataset": dataset.name,
        "images": data_digest(dataset, named),
        "space": space.name,
        "arguments": dict(space.arguments),
        **data,
    }


def _check_backend(distill: str, dataset: Dataset) -> None:
    """Raises `UserError` if a teacher would see batches that it cannot see."""
    import keras

    backend = keras.backend.backend()
    asked_once = distill == "logits" and isinstance(dataset.train, ArraySplit)
    if backend != "tensorflow" and not asked_once:
        raise UserError(
            f"`distill`={distill}: expected Keras' TensorFlow backend, in which the "
            f"teacher sees every batch, got {backend}"
        )


def _hinted(dataset: Dataset, weights: pathlib.Path, seed: int) -> Dataset:
    import keras

    from layernas_tf.training.distill import hinted

    model = keras.models.load_model(weights, compile=False, safe_mode=True)
    # As after the teacher's training, which a resumed run does not repeat.
    keras.utils.set_random_seed(seed)
    return hinted(dataset, model)


def _taught(
    dataset: Dataset, weights: pathlib.Path, segments: SegmentCache | None
) -> Dataset:
    import keras

    from layernas_tf.training.distill import taught

    kept, train = weights.with_suffix(".npy"), dataset.train
    if isinstance(train, ArraySplit) and kept.exists():
        labels = _read(kept)
        if labels is not None and labels.shape == (train.size, dataset.classes):
            train = ArraySplit(train.images, labels)
            return dataclasses.replace(dataset, train=train)
    model = keras.models.load_model(weights, compile=False, safe_mode=True)
    made = taught(dataset, model, segments=segments)
    if isinstance(made.train, ArraySplit):
        with writing(kept) as temporary:
            np.save(temporary, made.train.labels)
    return made


def _read(path: pathlib.Path) -> np.ndarray | None:
    try:
        return np.load(path, allow_pickle=False)
    except Exception:  # A damaged file may raise any exception; it is made again.
        return None
