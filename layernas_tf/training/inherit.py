"""Weights that a candidate inherits from an earlier candidate (`--inherit_weights`).

A child of LayerNAS differs from its parent in one layer, so nearly all of its weights
have been trained already. It gets them by surgery (`training.surgery`): a larger
network begins with the function of the smaller one, as in Net2Net (arXiv 1511.05641),
and a smaller one keeps the channels whose weights have the largest norms. Weight
inheritance in evolution: Real et al., arXiv 1703.01041, section 3.4.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.weight_store import KeptWeights, kept_before, read_weights

if TYPE_CHECKING:
    import keras

    from layernas_tf.training.surgery import Donor

_CRITERION = "l2"
"""Which channels matter, see `training.importance`; it needs no images."""

_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<!^)(?=[A-Z][a-z])")
"""Where Keras puts the underscores when it names a layer after its class."""


def descend(
    model: keras.Model, candidate: Candidate, space: SearchSpace, folder: pathlib.Path
) -> dict[str, float]:
    """Gives a candidate's fresh network the weights of an earlier trial.

    Args:
      model: The candidate's network.
      candidate: The candidate; only trials with lower numbers are considered.
      space: Its search space.
      folder: The folder of kept weights. If none of them can be read, the network stays
        fresh.

    Returns:
      Figures of the trial: `lineage`, the number of trainings that lead to its weights,
      including its own; `inherited_share`, the share of its weights that were
      inherited, 0..1; and, if it inherited, `inherited_from`, the number of the earlier
      trial.

    Raises:
      UserError: See `check_names`.
    """
    from layernas_tf.training.surgery import transplant

    check_names(model)
    kept = kept_before(folder, space, candidate.number)
    for ancestor in nearest_first(space, candidate, kept):
        trained = read_weights(ancestor)
        donor = trained and donor_of(space, ancestor.architecture, trained)
        if donor:
            return {
                "lineage": ancestor.lineage + 1,
                "inherited_share": transplant(donor, model).share,
                "inherited_from": ancestor.number,
            }
    return {"lineage": 1, "inherited_share": 0.0}


def donor_of(
    space: SearchSpace, architecture: Architecture, trained: Mapping[str, np.ndarray]
) -> Donor | None:
    """A trained network, ready for surgery.

    Args:
      space: The search space.
      architecture: The architecture that was trained.
      trained: Its weights by path, as returned by `weights_of`.

    Returns:
      The donor; None if the weights are not those of this architecture.
    """
    from layernas_tf.training.surgery import make_donor

    model = space.build(architecture)
    for variable in model.weights:
        weight = trained.get(variable.path)
        if weight is None or weight.shape != tuple(variable.shape):
            return None
        variable.assign(weight)
    return make_donor(model, _CRITERION)


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    """All weights of a network by path, such as `stage1_block1_project_bn/gamma`."""
    return {variable.path: np.asarray(variable.numpy()) for variable in model.weights}


def check_names(model: keras.Model) -> None:
    """Checks that the builder has named all layers with weights.

    Names made by Keras contain a count of the layers so far, so the same name would
    stand for another layer in another architecture.

    Raises:
      UserError: A layer has a name made by Keras.
    """
    for layer in model.layers:
        invented = _WORD_START.sub("_", type(layer).__name__).lower()
        if layer.weights and re.fullmatch(rf"{invented}(_\d+)?", layer.name):
            raise UserError(
                f"`inherit_weights`: layer {layer.name!r} of the network has a name "
                "that Keras made up; expected layers that the space's builder names "
                "alike in every architecture"
            )


def shared_layers(space: SearchSpace, one: Architecture, other: Architecture) -> int:
    """How many layers have the same option on the same incoming shape in both.

    The weights of these layers are inherited as a whole. After a change of channels,
    the same option gives a layer of another shape.
    """
    return sum(
        a.option == b.option and a.before == b.before
        for a, b in zip(space.steps(one), space.steps(other), strict=True)
    )


def nearest_first(
    space: SearchSpace, candidate: Candidate, kept: Sequence[KeptWeights]
) -> list[KeptWeights]:
    """The trials that a candidate may inherit from, in order of preference.

    The candidate inherits from the first one whose weights can be read. Its parent
    comes first, if the algorithm named one and its weights are kept. Then come the
    trained architectures with most layers in common: this is also why LayerNAS' parents
    are good sources, and once an algorithm has found a good region, its candidates are
    similar. Among equals, the higher reward comes first, then the lower number, so that
    a resumed search makes the same choice.
    """
    return sorted(
        kept,
        key=lambda other: (
            other.architecture != candidate.parent,
            -shared_layers(space, candidate.architecture, other.architecture),
            -other.reward,
            other.number,
        ),
    )
