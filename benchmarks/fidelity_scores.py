"""Scores of untrained networks, as references for `benchmarks.fidelity`.

Sources: NASWOT: J. Mellor et al., "Neural Architecture Search without Training", ICML
2021, arXiv 2006.04647, section 3. ZiCo: G. Li et al., "ZiCo: Zero-shot NAS via Inverse
Coefficient of Variation on Gradients", ICLR 2023, arXiv 2301.11300, section 3.3.
"""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from layernas_tf.datasets.split import Dataset
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.segment_training import SegmentTraining
from layernas_tf.training.segments import SegmentCache

_BATCH = 64
_GRADIENTS = 2
"""Batches whose gradients ZiCo compares, as many as its authors'."""

_GATES = ("hard_sigmoid", "sigmoid", "softmax")


def scores(
    space: SearchSpace,
    architecture: Architecture,
    dataset: Dataset,
    seed: int,
    cache: SegmentCache,
) -> dict[str, dict[str, float]]:
    """By name the `score` and the `cpu_seconds` it took."""
    costs = space.costs(architecture)
    found = {
        name: {"score": float(costs[name]), "cpu_seconds": 0.0}
        for name in ("madds", "params")
    }
    keras.utils.set_random_seed(seed)
    started = time.process_time()
    model = space.build(architecture)
    built = time.process_time() - started
    for name, measure in (("naswot", naswot), ("zico", zico)):
        started = time.process_time()
        value = measure(model, dataset, seed, cache)
        seconds = built + time.process_time() - started
        found[name] = {"score": value, "cpu_seconds": seconds}
    return found


def naswot(
    model: keras.Model, dataset: Dataset, seed: int, cache: SegmentCache
) -> float:
    """Logarithm of the determinant of how alike images light up the activations."""
    del cache
    probe = keras.Model(
        model.inputs,
        [
            layer.input
            for layer in model.layers
            if isinstance(layer, (keras.layers.ReLU, keras.layers.Activation))
            and getattr(getattr(layer, "activation", None), "__name__", "")
            not in _GATES
        ],
    )
    images, _ = next(iter(dataset.train.batches(_BATCH, seed=seed)))
    outputs = probe(images, training=True)
    alike = np.zeros((_BATCH, _BATCH))
    for output in outputs if isinstance(outputs, list) else [outputs]:
        code = (np.reshape(output, (_BATCH, -1)) > 0).astype(np.float32)
        alike += code @ code.T + (1 - code) @ (1 - code).T
    return float(np.linalg.slogdet(alike)[1])


def zico(model: keras.Model, dataset: Dataset, seed: int, cache: SegmentCache) -> float:
    """Sum over kernels of the logarithm of the gradients' means over deviations."""
    training: Any = SegmentTraining.start(
        model, dataset, Recipe(1, _BATCH), seed, cache
    )
    gradients = np.stack([training.gradient().numpy() for _ in range(_GRADIENTS)])
    deviation = gradients.std(axis=0)
    moves = deviation > 0
    ratio = np.abs(gradients).mean(axis=0) / np.where(moves, deviation, 1.0) * moves
    total, start = 0.0, 0
    for variable in training.variables:
        size = int(np.prod(variable.shape))
        part = float(ratio[start : start + size].sum())
        if len(variable.shape) > 1 and part > 0:
            total += float(np.log(part))
        start += size
    return total
