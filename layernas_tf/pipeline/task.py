"""What a search is about, from its flags: the data set, the space, budgets, recipes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from layernas_tf.algorithms.registry import check_name as check_algorithm_name
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError, describe
from layernas_tf.core.resolution import resolution_name
from layernas_tf.costs.latency import LatencyTable, read_table, with_latency
from layernas_tf.evaluators.user_evaluator import check_evaluator, load_evaluator
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.space.budget import Budget, parse_budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import State

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Task:
    """What is searched, checked and loaded."""

    config: SearchConfig
    dataset: Dataset
    space: SearchSpace
    latency: LatencyTable | None
    budgets: tuple[Budget, ...]
    proxy_recipe: Recipe
    final_recipe: Recipe

    def make_algorithm(self):
        """The algorithm in its first state."""
        config = self.config
        return make_algorithm(
            config.algorithm,
            self.space,
            self.budgets,
            config.seed,
            **config.algorithm_options(),
        )


def load_task(
    config: SearchConfig,
    *,
    kept_check: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Task:
    """Loads what the flags name, cheap things first.

    Args:
      config: The flags.
      kept_check: As in `datasets.load_dataset`, likewise `progress`.
      progress: Gets the number of files that were looked at, and of all.

    Raises:
      UserError: Something is unknown, unusable, or does not fit the rest.
    """
    from search_spaces.registry import check_name, get_space

    check_algorithm_name(config.algorithm)
    check_name(config.space)
    if config.evaluator:
        check_evaluator(config.evaluator)
    table = read_table(config.latency_table) if config.latency_table else None
    from layernas_tf.datasets import load_dataset

    dataset = load_dataset(
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
    height, width, channels = dataset.shape
    arguments = {
        "resolution": resolution_name(height, width),
        "classes": dataset.classes,
        "channels": channels,
    }
    if config.stem_stride is not None:
        arguments["stem_stride"] = config.stem_stride
    space = get_space(config.space, **arguments)
    if height != width and space.start != State(channels, height, width):
        raise UserError(
            f"space {space.name!r} takes images of {space.start.height} rows by "
            f"{space.start.width} columns, expected {height}x{width}: its function "
            "gets such a resolution as a text, which State.of_image reads"
        )
    check_chain(space)
    if space.builder is None:
        raise UserError(
            f"space {space.name!r} has no Keras builder: it cannot be trained; "
            "layernas_tf.compare searches the spaces of tables"
        )
    if table is not None:
        space = with_latency(space, table)
    task = Task(
        config=config,
        dataset=dataset,
        space=space,
        latency=table,
        budgets=tuple(parse_budget(text, space) for text in config.budget),
        proxy_recipe=recipe(config, dataset, proxy=True),
        final_recipe=recipe(config, dataset, proxy=False),
    )
    task.make_algorithm()
    if config.evaluator:
        load_evaluator(config.evaluator, space=space, dataset=dataset)
    return task


def check_chain(space: SearchSpace) -> None:
    """Raises `UserError` if a transition of the space, which may be a user's, fails."""
    try:
        len(space.chain)  # compiled when first used
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"space {space.name!r}: a layer's transition raised {describe(error)}"
        ) from error


def recipe(config: SearchConfig, dataset: Dataset, *, proxy: bool) -> Recipe:
    """The data set's default recipe, with what the flags say instead."""
    from layernas_tf.training.recipe import default_recipe

    chosen = default_recipe(dataset, proxy=proxy)
    epochs = config.epochs if proxy else config.final_epochs
    changes = {
        name: getattr(config, name)
        for name in (
            "batch_size",
            "optimizer",
            "learning_rate",
            "weight_decay",
            "augment",
        )
        if getattr(config, name) is not None
    }
    if epochs is not None:
        changes["epochs"] = epochs
        changes["warmup_epochs"] = chosen.warmup_epochs * epochs / chosen.epochs
    return dataclasses.replace(
        chosen, mixed_precision=config.mixed_precision, **changes
    )
