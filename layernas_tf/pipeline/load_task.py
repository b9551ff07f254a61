"""Loads the task of a search: what its configuration names, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from layernas_tf.algorithms.registry import check_name as check_algorithm_name
from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import resolution_name
from layernas_tf.costs.cost import with_user_costs
from layernas_tf.costs.latency import read_table, with_latency
from layernas_tf.evaluators.user_evaluator import check_evaluator, load_evaluator
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.targets import Target, read_targets
from layernas_tf.pipeline.task import Task
from layernas_tf.space.search_space import SearchSpace

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.recipe import Recipe


def load_task(
    config: SearchConfig,
    inputs: Inputs,
    *,
    kept_check: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Task:
    """Loads what the configuration names, cheap parts first.

    Args:
      config: The configuration. With an evaluator and without a `dataset`, the search
        trains nothing.
      inputs: The parts of the search that are given as objects.
      kept_check: See `datasets.load_dataset`.
      progress: Called with the number of files that were checked and the number of all
        files.

    Raises:
      UserError: Something is unknown, unusable, or does not fit the rest.
    """
    if inputs.algorithm is None:
        check_algorithm_name(config.algorithm)
    if inputs.space is None:
        inputs.check_space(config.space)
    if config.evaluator:
        check_evaluator(config.evaluator)
    if config.pretrained and inputs.evaluator is not None:
        raise UserError(
            "`pretrained`: expected without `evaluator`, which builds and trains "
            "candidates itself"
        )
    table = read_table(config.latency_table) if config.latency_table else None
    dataset = _dataset(config, inputs, kept_check, progress)
    space = _space(config, inputs, dataset)
    len(space.chain)  # compiled when first used: raises an error if it cannot be
    if space.builder is None and dataset is not None:
        raise UserError(
            f"space {space.name!r} has no Keras builder: it cannot be trained; "
            "layernas_tf.compare searches the spaces of tables"
        )
    if dataset is not None:
        _check_images(space, dataset)
    if table is not None:
        space = with_latency(space, table)
    if inputs.budgets is None:
        targets = read_targets(config.budget, space)
    else:
        for budget in inputs.budgets:
            space.metric(budget.metric)  # raises an error for an unknown one
        targets = (Target("winner", inputs.budgets),)
    task = Task(
        config=config,
        inputs=inputs,
        dataset=dataset,
        space=space,
        latency=table,
        targets=targets,
        proxy_recipe=recipe(config, dataset, proxy=True) if dataset else None,
        final_recipe=recipe(config, dataset, proxy=False) if dataset else None,
    )
    task.make_algorithm()
    if config.evaluator:
        load_evaluator(config.evaluator, space=space, dataset=dataset)
    return task


def _dataset(
    config: SearchConfig,
    inputs: Inputs,
    kept_check: str,
    progress: Callable[[int, int], None] | None,
) -> Dataset | None:
    if inputs.dataset is not None:
        return inputs.dataset
    if not config.dataset and (inputs.evaluator or config.evaluator):
        return None
    from layernas_tf.datasets import load_dataset

    return load_dataset(
        config.dataset,
        resolution=config.resolution,
        valid_fraction=config.valid_fraction,
        seed=config.seed,
        limit=config.limit,
        fit=config.fit,
        channels=config.channels,
        skip_unreadable=config.skip_unreadable,
        kept_check=kept_check,
        progress=progress,
    )


def _space(
    config: SearchConfig, inputs: Inputs, dataset: Dataset | None
) -> SearchSpace:
    arguments: dict[str, Any] = {}
    if config.stem_stride is not None:
        arguments["stem_stride"] = config.stem_stride
    if dataset is not None:
        height, width, channels = dataset.shape
        arguments.update(
            resolution=resolution_name(height, width),
            classes=dataset.classes,
            channels=channels,
        )
    space = inputs.space or inputs.get_space(config.space, **arguments)
    return with_user_costs(space, config.cost)


def _check_images(space: SearchSpace, dataset: Dataset) -> None:
    start = space.start
    if dataset.shape != (start.height, start.width, start.channels):
        raise UserError(
            f"space {space.name!r} takes images of {start.height}x{start.width} "
            f"pixels and {start.channels} channels, the data set's are "
            f"{'x'.join(map(str, dataset.shape))}: expected a space for these (its "
            "function gets a resolution that is no square as a text, which "
            "State.of_image reads)"
        )


_RECIPE_FIELDS = ("batch_size", "optimizer", "learning_rate", "weight_decay", "augment")


def recipe(config: SearchConfig, dataset: Dataset, *, proxy: bool) -> Recipe:
    """The data set's default recipe, changed where the configuration sets a value."""
    from layernas_tf.training.recipe import default_recipe, with_epochs

    chosen = default_recipe(dataset, proxy=proxy, pretrained=bool(config.pretrained))
    prefix = "" if proxy else "final_"
    fields = _RECIPE_FIELDS if proxy else (*_RECIPE_FIELDS, "patience")
    epochs = getattr(config, f"{prefix}epochs")
    if epochs is not None:
        chosen = with_epochs(chosen, epochs)
    if config.reward == "train_loss_sum" and not chosen.epochs:
        raise UserError(
            "`reward`=train_loss_sum: expected with `epochs` of 1 or more, as "
            "`pretrained` networks are not trained by default"
        )
    for name in fields:
        value = getattr(config, prefix + name)
        if value is None:
            continue
        try:
            chosen = dataclasses.replace(chosen, **{name: value})
        except UserError as error:
            reason = str(error).removeprefix("recipe: ")
            raise UserError(f"`{prefix}{name}`: {reason}") from None
    return dataclasses.replace(
        chosen,
        mixed_precision=config.mixed_precision,
        class_weights=config.class_weights,
    )
