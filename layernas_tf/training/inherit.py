"""Weights that a candidate inherits from an earlier candidate (`--inherit_weights`).

A child of LayerNAS differs from its parent in one layer, so nearly all of its weights
have been trained already. Layers correspond by their name, weights by their path in the
network. A weight of the same shape is inherited as a whole. Where the shapes differ,
only the part that both have is inherited (`overlap`), and the rest keeps its fresh
initialization. With these rules, the changed layer, the layers after a change of
channels and dropped blocks need no special treatment.

The idea is that of Net2Net (arXiv 1511.05641) and of weight inheritance in evolution
(Real et al., arXiv 1703.01041, section 3.4), but the function is not preserved.
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
    """Copies the part of a trained weight that fits into a fresh one of another size.

    Args:
      fresh: The freshly initialized weight.
      trained: The weight of the same path in the other network.
      spatial: Number of leading axes that are the height and width of a kernel; there,
        the centres correspond. On all other axes (channels, units), the leading entries
        correspond.

    Returns:
      An array of the fresh weight's shape; `fresh` itself if the numbers of axes
      differ.
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
      model: The fresh network; its weights are replaced, including the running
        statistics of batch normalization.
      trained: Weights by path, as returned by `weights_of`.

    Returns:
      The share of the network's weights that were inherited, 0..1.
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
