"""Weights that a candidate takes over from one trained before (`--inherit_weights`).

A child of LayerNAS differs from its parent in one layer, so nearly all of its weights
have been trained already. Layers correspond by their name, weights by their path in the
network. Where the shapes agree a weight is taken over whole, where they differ the part
that both have (`overlap`); what the other network has not keeps its fresh
initialization. The changed layer, the layers behind a change of channels and dropped
blocks need no rules of their own.

The idea is that of Net2Net (arXiv 1511.05641) and of weight inheritance in evolution
(Real et al., arXiv 1703.01041, section 3.4), without preserving the function.
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

_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<!^)(?=[A-Z][a-z])")
"""Where Keras puts the underscores when it names a layer after its class."""


def descend(
    model: keras.Model, candidate: Candidate, space: SearchSpace, folder: pathlib.Path
) -> dict[str, float]:
    """Gives a candidate's fresh network the weights of a trial before it.

    Args:
      model: The candidate's network.
      candidate: Whose number says which trials were before it.
      space: That it is from.
      folder: Of kept weights; where none can be read the network stays fresh.

    Returns:
      Figures of the trial: `lineage`, the trainings that lead to its weights, its own
      among them; `inherited_share` of the weights, 0..1; `inherited_from`, the number
      of the trial before it in the lineage, if it has one.

    Raises:
      UserError: As `check_names`.
    """
    check_names(model)
    kept = kept_before(folder, space, candidate.number)
    for ancestor in nearest_first(space, candidate, kept):
        trained = read_weights(ancestor)
        if trained is not None:
            return {
                "lineage": ancestor.lineage + 1,
                "inherited_share": inherit(model, trained),
                "inherited_from": ancestor.number,
            }
    return {"lineage": 1, "inherited_share": 0.0}


def overlap(fresh: np.ndarray, trained: np.ndarray, spatial: int = 0) -> np.ndarray:
    """A fresh weight with what a trained one of any other size has for it.

    Args:
      fresh: The freshly initialized weight.
      trained: The weight of the same path in the other network.
      spatial: So many leading axes are the height and width of a kernel, whose centres
        are laid on each other. On all other axes (channels, units) the leading entries
        correspond.

    Returns:
      An array of the fresh weight's shape; `fresh` where the two have not the same
      number of axes.
    """
    merged = fresh.copy()
    if fresh.ndim != trained.ndim:
        return merged
    here, there = [], []
    for axis, (to, start) in enumerate(zip(fresh.shape, trained.shape)):
        size = min(to, start)
        first_here = (to - size) // 2 if axis < spatial else 0
        first_there = (start - size) // 2 if axis < spatial else 0
        here.append(slice(first_here, first_here + size))
        there.append(slice(first_there, first_there + size))
    merged[tuple(here)] = trained[tuple(there)]
    return merged


def inherit(model: keras.Model, trained: Mapping[str, np.ndarray]) -> float:
    """Gives a fresh network the weights of a trained one, as far as they overlap.

    Args:
      model: Ends with them; running statistics of batch normalization included.
      trained: Weights by path, as `weights_of` gives them.

    Returns:
      The share of the network's weights that were taken over, 0..1.
    """
    spatial = _spatial_axes(model)
    taken = total = 0
    for variable in model.weights:
        fresh = np.asarray(variable.numpy())
        total += fresh.size
        weight = trained.get(variable.path)
        if weight is None or weight.ndim != fresh.ndim:
            continue
        taken += int(np.prod(np.minimum(fresh.shape, weight.shape)))
        variable.assign(overlap(fresh, weight, spatial.get(variable.path, 0)))
    return taken / max(1, total)


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    """All weights of a network by path, such as `stage1_block1_project_bn/gamma`."""
    return {variable.path: np.asarray(variable.numpy()) for variable in model.weights}


def _spatial_axes(model: keras.Model) -> dict[str, int]:
    axes = {}
    for layer in model._flatten_layers():
        # Convolutions of all kinds, depthwise and separable ones too.
        size = getattr(layer, "kernel_size", None)
        if isinstance(size, (tuple, list)):
            for variable in layer.weights:
                if variable.path.endswith("kernel"):
                    axes[variable.path] = len(size)
    return axes


def check_names(model: keras.Model) -> None:
    """Checks that layers with weights were named by whoever built them.

    The names that Keras invents count the layers made so far: in another architecture
    they would stand for other layers.

    Raises:
      UserError: A layer has an invented name.
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

    Those are the layers whose weights carry over whole: behind a change of channels an
    equal option is another layer.
    """
    return sum(
        a.option == b.option and a.before == b.before
        for a, b in zip(space.steps(one), space.steps(other), strict=True)
    )


def nearest_first(
    space: SearchSpace, candidate: Candidate, kept: Sequence[KeptWeights]
) -> list[KeptWeights]:
    """Whom a candidate inherits from: the first of these whose weights can be read.

    First its parent, if the algorithm named one and its weights are kept. Then, and for
    all candidates of algorithms that know no parents, the trained architecture with
    most layers in common: that is what makes LayerNAS' parent a good one, and the
    candidates of any algorithm that has found a good region resemble each other. Among
    equals the better one, then the earlier one, so that a resumed search chooses the
    same.
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
