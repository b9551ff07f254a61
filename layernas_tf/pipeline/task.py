"""The task of a search: the data set, the space, the budgets and the recipes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING, Any

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.costs.latency import LatencyTable
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.targets import Target, united
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
    def distill(self) -> str:
        """What a teacher gives, one of `training.soft_labels.DISTILLATIONS`."""
        if self.config.distill is not None:
            return self.config.distill
        return default_distillation(pretrained=bool(self.config.pretrained))

    def chosen(self) -> dict[str, Any]:
        """The values that were chosen for flags that the user left open, by name."""
        names = ("trials", "distill")
        return {name: getattr(self, name) for name in names}

    @property
    def reward_name(self) -> str:
        """What the rewards measure, for reports and dashboards."""
        return REWARDS[self.config.reward].title if self.trains else "reward"

    @property
    def reward_is_share(self) -> bool:
        """Whether the rewards are in 0..1 and shown in percent."""
        return self.trains and REWARDS[self.config.reward].is_share

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
