"""How Optuna stores a trial: as parameters, attributes and constraints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer
from layernas_tf.study.trial import Trial
from layernas_tf.study.trial_reader import StoredTrial

if TYPE_CHECKING:
    import optuna


class Decoder:
    """Decodes the stored trials of one study.

    Example:
      decoder = Decoder(space, stored_trials.choices(connection))
      trial = decoder.trial(stored)

    Attributes:
      drivers: By trial number, the driver that evaluates the trial, if it is known.
    """

    def __init__(self, space: SearchSpace, choices: Mapping[str, Sequence[Any]]):
        """Makes a decoder; raises `UserError` if the choices do not fit the space.

        Args:
          space: The search space of the study.
          choices: By layer name, the option labels that the stored indices refer to.
        """
        self.drivers: dict[int, str] = {}
        self._space = space
        self._layers = []
        for i in space.searched_layers:
            name = space.layers[i].name
            options = [
                from_params(space, {**to_params(space, space.default), name: choice})[i]
                for choice in choices.get(name, ())
            ]
            self._layers.append((i, name, options))

    def trial(self, stored: StoredTrial) -> Trial:
        """A stored trial as a `Trial`; raises `UserError` if it does not fit."""
        architecture = list(self._space.default)
        for i, name, options in self._layers:
            if name not in stored.params:
                raise _no_layer(self._space, name)
            architecture[i] = options[stored.params[name]]
        if "driver" in stored.attributes:
            self.drivers[stored.number] = stored.attributes["driver"]
        return _trial(
            self._space,
            tuple(architecture),
            stored.number,
            stored.state,
            stored.attributes,
            stored.value,
        )


def labels(layer: Layer) -> tuple[str, ...]:
    """The layer's options as the choices of an Optuna parameter, each one unique."""
    texts = [option.label for option in layer.options]
    if len(set(texts)) < len(texts):
        texts = [f"{index}: {text}" for index, text in enumerate(texts)]
    return tuple(texts)


def distributions(
    space: SearchSpace,
) -> dict[str, optuna.distributions.CategoricalDistribution]:
    """One categorical parameter per searched layer, by the layer's name."""
    import optuna

    layers = [space.layers[i] for i in space.searched_layers]
    return {
        layer.name: optuna.distributions.CategoricalDistribution(labels(layer))
        for layer in layers
    }


def to_params(space: SearchSpace, architecture: Architecture) -> dict[str, str]:
    """An architecture as Optuna parameters."""
    return {
        space.layers[i].name: labels(space.layers[i])[architecture[i]]
        for i in space.searched_layers
    }


def from_params(space: SearchSpace, params: Mapping[str, Any]) -> Architecture:
    """Optuna parameters as an architecture; raises `UserError` if they do not fit."""
    architecture = list(space.default)
    for i in space.searched_layers:
        layer = space.layers[i]
        if layer.name not in params:
            raise _no_layer(space, layer.name)
        try:
            architecture[i] = labels(layer).index(params[layer.name])
        except ValueError:
            raise UserError(
                f"the study's layer {layer.name!r} has an option "
                f"{params[layer.name]!r} that space {space.name!r} has not: expected a "
                "study of this version of the space"
            ) from None
    return tuple(architecture)


def _no_layer(space: SearchSpace, name: str) -> UserError:
    return UserError(
        f"the study's trials have no layer {name!r}: expected a study of space "
        f"{space.name!r}"
    )


def constraints(
    budgets: Iterable[Budget], costs: Mapping[str, float]
) -> dict[str, float]:
    """By metric, how far the cost is outside its budgets; 0 or less is inside."""
    outside: dict[str, float] = {}
    for budget in budgets:
        excess = budget.excess(costs[budget.metric])
        outside[budget.metric] = max(excess, outside.get(budget.metric, -math.inf))
    return outside


def template(
    space: SearchSpace,
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
    budgets: Iterable[Budget],
    trial: Trial,
    further: Mapping[str, Any],
) -> optuna.trial.FrozenTrial:
    """A running trial in the form of Optuna, with all its attributes.

    Args:
      space: The search space.
      distributions: The space's parameters, as `distributions` makes them.
      budgets: The limits on the costs.
      trial: The trial that the algorithm has just proposed.
      further: Further user attributes.
    """
    import optuna

    attributes: dict[str, Any] = {**trial.costs, "asked_after": trial.asked_after}
    if trial.idle_after:
        attributes["idle_after"] = list(trial.idle_after)
    if trial.layer is not None:
        attributes["layer"] = space.layers[trial.layer].name
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=to_params(space, trial.architecture),
        distributions=dict(distributions),
        user_attrs={**attributes, **further},
        constraints=constraints(budgets, trial.costs),
    )


def read_trial(
    space: SearchSpace, stored: optuna.trial.FrozenTrial, sign: int = 1
) -> Trial:
    """A trial of Optuna's storage as a `Trial`; raises `UserError` if it does not fit.

    Args:
      space: The search space.
      stored: The trial in Optuna's storage.
      sign: 1 for a study that is maximized, -1 for one that is minimized.
    """
    reward = None
    if stored.state.name == "COMPLETE" and stored.value is not None:
        reward = sign * stored.value
    return _trial(
        space,
        from_params(space, stored.params),
        stored.number,
        stored.state.name,
        stored.user_attrs,
        reward,
    )


def _trial(
    space: SearchSpace,
    architecture: Architecture,
    number: int,
    state: str,
    attributes: Mapping[str, Any],
    value: float | None,
) -> Trial:
    finished = state not in ("RUNNING", "WAITING")
    complete = state == "COMPLETE"
    result = attributes.get("result", {}) if finished else {}
    names = [layer.name for layer in space.layers]
    layer = attributes.get("layer")
    return Trial(
        number=number,
        architecture=architecture,
        costs=space.costs(architecture),
        asked_after=attributes.get("asked_after"),
        idle_after=tuple(attributes.get("idle_after", ())),
        layer=names.index(layer) if layer in names else None,
        state="complete" if complete else "failed" if finished else "running",
        told=attributes.get("told", number) if finished else None,
        reward=value if complete else None,
        metrics=result.get("metrics", {}),
        seconds=result.get("seconds"),
        reason=result.get("reason", ""),
    )
