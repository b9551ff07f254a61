"""`train_architecture`: from one architecture to a trained Keras model."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layernas_tf.api.profile import profile_architecture
from layernas_tf.core.errors import UserError
from layernas_tf.core.workdir import lock_workdir, open_workdir
from layernas_tf.pipeline.config_check import check_seed
from layernas_tf.pipeline.evaluation import prepare_libraries
from layernas_tf.pipeline.teaching import lesson_for, taught_about
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.training.full_training import TrainedArchitecture, train_fully
from layernas_tf.training.soft_labels import DISTILLATIONS, default_distillation

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.recipe import Recipe


def train_architecture(
    architecture: Sequence[int] | str | pathlib.Path | None,
    train: Any,
    test: Any = None,
    valid: Any = None,
    *,
    space: str | SearchSpace,
    workdir: str | pathlib.Path,
    valid_fraction: float = 0.2,
    class_names: Sequence[str] = (),
    seed: int = 0,
    pretrained: str | pathlib.Path = "",
    distill: str | None = None,
    **recipe: Any,
) -> TrainedArchitecture:
    """Trains one architecture with the full recipe.

    Args:
      architecture: Option indices, or the path of an `architecture.json`; None is the
        space's default.
      train: `(images, labels)`, a finite `tf.data.Dataset`, or the text of a data set,
        as for `run_search`.
      test: Arrays or a `tf.data.Dataset`; by default held out from `train`.
      valid: Arrays or a `tf.data.Dataset`; by default held out from `train`.
      space: The search space of the architecture, a name or a `SearchSpace`.
      workdir: Folder of the results; the same call with the same folder resumes after
        the last finished epoch.
      valid_fraction: Share of the training images held out for validation.
      class_names: Names of the classes, where `train` is not a text.
      seed: Seed of the weights, the batches and the choice of held-out images.
      pretrained: Weights to start from, as for `run_search`; by default, the network
        is trained from scratch.
      distill: What a teacher, the space's published network trained by the same recipe
        in the folder `teacher` of `workdir`, gives: `features` (what its last layer
        reads), `logits` (soft labels) or `none`; by default `features` with
        `pretrained`, else `none`.
      **recipe: Fields of `training.recipe.Recipe`, such as `epochs`, in place of the
        defaults for this number of images.

    Raises:
      UserError: One line that says what is wrong and what would be right.
    """
    prepare_libraries()
    from layernas_tf.datasets import load_dataset
    from layernas_tf.datasets.given import given_dataset
    from layernas_tf.datasets.options import Options

    _check_recipe(recipe)
    check_seed(seed)
    if distill is None:
        distill = default_distillation(pretrained=bool(pretrained))
    if distill not in DISTILLATIONS:
        raise UserError(
            f"`distill`: expected one of {', '.join(DISTILLATIONS)}, got {distill!r}"
        )
    if isinstance(train, str):
        dataset = load_dataset(train, valid_fraction=valid_fraction, seed=seed)
    else:
        dataset = given_dataset(
            train,
            test,
            valid,
            options=Options(None, valid_fraction, seed, None),
            class_names=tuple(class_names),
        )
    arguments = _space_arguments(dataset) if isinstance(space, str) else {}
    profile = profile_architecture(space, architecture, **arguments)
    start = None
    if pretrained:
        from layernas_tf.training.start import start_from

        start = start_from(str(pretrained), profile.space, dataset)
    chosen = _chosen_recipe(dataset, recipe, pretrained=start is not None)
    folder = open_workdir(workdir)
    with lock_workdir(folder):
        lesson = lesson_for(
            distill,
            folder / "teacher",
            profile.space,
            dataset,
            chosen,
            seed=seed,
            say=_say_nothing,
            start=start,
            about=lambda: taught_about(
                dataset,
                train if isinstance(train, str) else "",
                profile.space,
                valid_fraction=valid_fraction,
            ),
        )
        return train_fully(
            profile.space,
            profile.architecture,
            lesson.dataset,
            chosen,
            folder,
            seed=seed,
            data={"valid_fraction": valid_fraction, **lesson.about()},
            start=start,
        )


def _say_nothing(line: str) -> None:
    """The library prints nothing."""


def _check_recipe(given: Mapping[str, Any]) -> None:
    """Raises an error if an argument is not a field of a recipe."""
    from layernas_tf.training.recipe import Recipe

    unknown = sorted(set(given) - {field.name for field in dataclasses.fields(Recipe)})
    if unknown:
        raise UserError(
            f"train_architecture has no argument {unknown[0]!r}: expected fields of a "
            "Recipe such as epochs, batch_size, learning_rate"
        )


def _space_arguments(dataset: Dataset) -> dict[str, Any]:
    """The arguments of a named space for the images of a data set."""
    height, width, channels = dataset.shape
    return {
        "resolution": height if height == width else f"{height}x{width}",
        "classes": dataset.classes,
        "channels": channels,
    }


def _chosen_recipe(
    dataset: Dataset, given: Mapping[str, Any], *, pretrained: bool
) -> Recipe:
    """The default recipe of a data set with the given fields in place of its own."""
    from layernas_tf.training.recipe import default_recipe, with_epochs

    chosen = default_recipe(dataset, proxy=False, pretrained=pretrained)
    if "epochs" in given:
        chosen = with_epochs(chosen, given["epochs"])
    others = {name: value for name, value in given.items() if name != "epochs"}
    return dataclasses.replace(chosen, **others)
