"""Who takes part in the final trainings: what the search recommends."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.prediction import predicted
from layernas_tf.algorithms.reward_belief import RewardBelief
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.study.study import Study


@dataclasses.dataclass(frozen=True)
class Finalist:
    """A candidate that is trained longer and may win.

    Example: `Finalist((1, 0, 2), trial=34, proxy_reward=0.96, quality=0.94)` was found
    by trial 34, which was lucky.

    Attributes:
      architecture: An architecture inside every budget.
      trial: The trial that found it; None for a prefix that was completed inside the
        budget and never trained.
      proxy_reward: Its reward in the search, if it has one.
      quality: Its expected reward without noise, where the algorithm has a belief
        about it.
    """

    architecture: Architecture
    trial: int | None
    proxy_reward: float | None
    quality: float | None = None

    @property
    def expected_quality(self) -> float:
        """What the search expects of it: the quality, or the reward for want of one."""
        known = self.proxy_reward if self.quality is None else self.quality
        return -math.inf if known is None else known

    @property
    def name(self) -> str:
        """For people."""
        if self.trial is None and self.quality is not None:
            return "predicted, never tried"
        if self.trial is None:
            return "prefix completed inside the budget, never trained in the search"
        return f"trial {self.trial}"


def choose_finalists(
    study: Study,
    count: int,
    budgets: Sequence[Budget] | None = None,
    *,
    untried: bool = False,
    always: Sequence[Architecture] = (),
) -> list[Finalist]:
    """The candidates inside the budgets of which the search expects the most.

    The highest of many rewards owes more to luck than to quality, so candidates are
    ranked by their expected reward without its noise where the algorithm has a belief
    about it, else by their reward. If no trained candidate is inside the study's
    budgets, the only finalist is the architecture that the algorithm completed inside
    them; if none is inside a smaller budget of a family, the finalists are those that
    the learned reward recommends there.

    Args:
      study: The trials.
      count: The most finalists.
      budgets: What they may cost; by default the study's budgets.
      untried: Whether architectures take part that were never tried and that the
        learned reward recommends inside the budgets.
      always: Architectures that take part wherever they were tried, in place of those
        of which the search expects the least.

    Raises:
      UserError: No trial succeeded inside the budgets.
    """
    budgets = study.budgets if budgets is None else tuple(budgets)
    finalists = _tried(study, budgets)
    if untried or not (finalists or budgets == study.budgets):
        space, added = _searched(study)
        for best in predicted(space, _belief(study), (*budgets, *added), count):
            finalists.setdefault(
                best.architecture,
                Finalist(best.architecture, None, None, best.quality),
            )
    if finalists:
        ranked = sorted(finalists.values(), key=lambda f: -f.expected_quality)
        kept = [f for f in ranked if f.architecture in always][:count]
        others = [f for f in ranked if f.architecture not in always]
        chosen = [*others[: count - len(kept)], *kept]
        return sorted(chosen, key=lambda f: -f.expected_quality)
    answer = study.algorithm.best
    if answer is None or not inside(budgets, study.space.costs(answer.architecture)):
        reasons = [trial.reason for trial in study.trials if trial.reason]
        wanted = " and ".join(map(str, budgets))
        raise UserError(
            f"none of the {len(study.trials)} trials succeeded inside the budget"
            + (f" {wanted}" if budgets != study.budgets else "")
            + (f"; the last one failed with {reasons[-1]}" if reasons else "")
            + "; more `trials` or a wider `budget` may help"
        )
    return [Finalist(answer.architecture, None, None)]


def _searched(study: Study) -> tuple[SearchSpace, list[Budget]]:
    """The space as the algorithm sees it, and its budgets on what the study lacks."""
    known = {metric.name for metric in study.space.metrics}
    budgets = study.algorithm.history.budgets
    return study.algorithm.space, [b for b in budgets if b.metric not in known]


def _tried(study: Study, budgets: Sequence[Budget]) -> dict[Architecture, Finalist]:
    """The trained candidates inside the budgets, each with its best reward."""
    quality = _expected_quality(study.algorithm)
    found: dict[Architecture, Finalist] = {}
    for trial in study.trials:
        if trial.reward is None or not inside(budgets, trial.costs):
            continue
        known = found.get(trial.architecture)
        if known is None or trial.reward > (known.proxy_reward or -math.inf):
            found[trial.architecture] = Finalist(
                trial.architecture,
                trial.number,
                trial.reward,
                quality.get(trial.architecture),
            )
    return found


def _belief(study: Study) -> RewardBelief:
    """What the algorithm learned, or what can be learned from its trials."""
    belief = getattr(study.algorithm, "belief", None)
    if isinstance(belief, RewardBelief):
        return belief
    learned = RewardBelief(study.space)
    for trial in study.trials:
        if trial.reward is not None:
            learned.add(trial.architecture, trial.reward)
    return learned


def _expected_quality(algorithm: Algorithm) -> Mapping[Architecture, float]:
    belief = getattr(algorithm, "belief", None)
    if not isinstance(belief, RewardBelief):
        return {}
    return dict(zip(belief.architectures, map(float, belief.expected_quality())))
