"""The task of a search: the data set, the space, the budgets and the recipes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.registry import check_name as check_algorithm_name
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError, describe
from layernas_tf.core.resolution import resolution_name
from layernas_tf.costs.cost import with_user_costs
from layernas_tf.costs.latency import LatencyTable, read_table, with_latency
from layernas_tf.evaluators.user_evaluator import check_evaluator, load_evaluator
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.targets import Target, read_targets, united
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.even_cuts import even_cuts
from layernas_tf.space.parts import parts_of
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.training.result import REWARDS
from layernas_tf.training.soft_labels import default_distillation

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.pretrained import Pretrained
    from layernas_tf.training.recipe import Recipe


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """The parts of a search, checked and loaded.

    Example:
      task = load_task(SearchConfig(budget=("madds<=3M",)), inputs)
      task.space.costs(task.space.default)["madds"]

    Attributes:
      config: The configuration.
      inputs: The parts of the search that are given as objects.
      dataset: Images; None where the user's own evaluator needs none.
      space: The search space for the images' resolution, classes and channels.
      latency: The latency table, if a budget needs one.
      targets: What each winner may cost: one, or a family of budgets.
      proxy_recipe: How candidates are trained; None without images.
      final_recipe: How finalists are trained; None without images.
    """

    config: SearchConfig
    inputs: Inputs
    dataset: Dataset | None
    space: SearchSpace
    latency: LatencyTable | None
    targets: tuple[Target, ...]
    proxy_recipe: Recipe | None
    final_recipe: Recipe | None

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """What a candidate may cost: the budgets, or what they have in common."""
        return united(self.targets)

    @property
    def trains(self) -> bool:
        """Whether rewards come from trainings, not from an evaluator of the user's."""
        return not self.config.evaluator and self.inputs.evaluator is None

    @property
    def trials(self) -> int:
        """How many candidates are evaluated.

        From 60 to 200 candidates cut from pretrained weights, the best one's loss still
        falls much (docs/pretrained.md), and without training they take seconds.
        """
        if self.config.trials is not None:
            return self.config.trials
        return 200 if self._untrained else 60

    @property
    def reward(self) -> str:
        """What candidates are judged by, one of `training.result.REWARDS`.

        Of networks that were cut and not trained, the loss says more than the accuracy
        about what a training makes of them (docs/pretrained.md).
        """
        if self.config.reward is not None:
            return self.config.reward
        return "valid_loss" if self._untrained else "accuracy"

    @property
    def distill(self) -> str:
        """What a teacher gives, one of `training.soft_labels.DISTILLATIONS`."""
        if self.config.distill is not None:
            return self.config.distill
        return default_distillation(pretrained=bool(self.config.pretrained))

    @property
    def reward_name(self) -> str:
        """What the rewards measure, for reports and dashboards."""
        return REWARDS[self.reward].title if self.trains else "reward"

    @property
    def reward_is_share(self) -> bool:
        """Whether the rewards are in 0..1 and shown in percent."""
        return self.trains and REWARDS[self.reward].is_share

    @functools.cached_property
    def pretrained(self) -> Pretrained | None:
        """The weights that all networks start from, read when first used.

        Raises:
          UserError: They cannot be read, or are of another network.
        """
        if not self.config.pretrained:
            return None
        from layernas_tf.training.pretrained import load_pretrained

        return load_pretrained(self.space, self.config.pretrained)

    def make_algorithm(self) -> Algorithm:
        """The algorithm in its first state."""
        config = self.config
        space, added = self._searched
        limits = [(*t.budgets, *added) for t in self.targets]
        algorithm = make_algorithm(
            self.inputs.algorithm or config.algorithm,
            space,
            (*self.budgets, *added),
            config.seed,
            limits=limits if len(limits) > 1 else (),
            **config.algorithm_options(),
        )
        if config.pretrained:
            cuts = [even_cuts(self.space, target.budgets) for target in self.targets]
            algorithm.begin_with(list(dict.fromkeys(itertools.chain(*cuts))))
        return algorithm

    @property
    def _untrained(self) -> bool:
        """Whether candidates are judged as they were cut from pretrained weights."""
        recipe = self.proxy_recipe
        return bool(self.config.pretrained) and recipe is not None and not recipe.epochs

    @functools.cached_property
    def _searched(self) -> tuple[SearchSpace, tuple[Budget, ...]]:
        """The space as the algorithm sees it, and a budget on what is added to it.

        Untrained candidates are parts of the network that the weights belong to,
        unless that network is itself inside the budgets, or no part of it is.
        """
        given = isinstance(self.inputs.algorithm, Algorithm)  # for the whole space
        if not self._untrained or given:
            return self.space, ()
        from layernas_tf.training.pretrained import source_architecture

        whole = source_architecture(self.space, self.config.pretrained)
        if inside(self.budgets, self.space.costs(whole)):
            return self.space, ()
        space, parts = parts_of(self.space, whole)
        try:
            for target in self.targets:
                BudgetedChain(space.chain, (*target.budgets, parts))
        except UserError:  # all that is inside has more of something
            return self.space, ()
        return space, (parts,)


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
    check_chain(space)
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


def check_chain(space: SearchSpace) -> None:
    """Raises `UserError` if a transition of the space fails; users may write spaces."""
    try:
        len(space.chain)  # compiled when first used
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"space {space.name!r}: a layer's transition raised {describe(error)}"
        ) from error


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
