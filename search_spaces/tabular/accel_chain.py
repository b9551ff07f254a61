"""The chain of Accel-NASBench: the stages of `mnasnet`, costs as its authors count.

The authors' MACs differ from `madds` in two ways: a batch normalization has four MACs
per element, and a mean over pixels has one per element and one more per channel. Params
are the trainable weights. Both equal the 5,138 published rows to the last digit.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State
from search_spaces.mobile.mnasnet import mnasnet

SUMS = ("latency_ms_zcu102", "latency_ms_vck190", "train_time_s")
"""Columns whose cost is fitted; the space's metrics have the same names."""


def accel_space(
    terms: Sequence[Sequence[np.ndarray]] | None = None,
) -> SearchSpace:
    """The chain of the table: the stages of `mnasnet`, costs as the authors count.

    Args:
      terms: For each stage, and each column of `SUMS`, the cost of every option; by
        default the chain has MACs and params only.
    """
    network = mnasnet()
    stem, *stages, head = network.layers
    state, _ = stem.transition(network.start, stem.options[0])
    before = _operators(stem, stem.options[0], network.start)[1]
    layers = []
    for number, stage in enumerate(stages):
        last = number == len(stages) - 1
        charge = functools.partial(
            _charge,
            stage,
            tuple(before) if number == 0 else (),
            head if last else None,
            {option: i for i, option in enumerate(stage.options)},
            tuple(terms[number]) if terms else (),
        )
        layers.append(Layer(stage.name, stage.options, len(stage.options) - 1, charge))
    metrics = [Metric("macs", "sum", "MACs"), Metric("params", "sum", "params")]
    if terms:
        units = {"train_time_s": "s"}
        metrics += [Metric(name, "sum", units.get(name, "ms")) for name in SUMS]
    return SearchSpace(
        name="accel_nasbench",
        start=state,
        layers=tuple(layers),
        metrics=tuple(metrics),
    )


def _operators(
    layer: Layer, option: Option, state: State
) -> tuple[State, tuple[Operator, ...]]:
    assert layer.block is not None  # as in every mobile network
    return layer.block(option).operators(state)


def _charge(
    stage: Layer,
    before: tuple[Operator, ...],
    head: Layer | None,
    index: Mapping[Option, int],
    terms: Sequence[np.ndarray],
    state: State,
    option: Option,
) -> tuple[State, Mapping[str, float]]:
    """One stage, with the stem before the first and the head after the last."""
    after, operators = _operators(stage, option, state)
    operators = (*before, *operators)
    if head is not None:
        after, more = _operators(head, head.options[0], after)
        operators += more
    costs: dict[str, float] = {
        "macs": authors_macs(operators),
        "params": sum(_trainable(operator) for operator in operators),
    }
    costs |= {name: float(term[index[option]]) for name, term in zip(SUMS, terms)}
    return after, costs


def authors_macs(operators: Sequence[Operator]) -> int:
    """MACs as Accel-NASBench counts them; see the module."""
    total = sum(operator.madds for operator in operators)
    for operator in operators:
        if operator.kind == "batch_norm":
            total += 4 * ops.elements(operator.target)
        elif operator.kind == "global_pool":
            total += ops.elements(operator.source) + operator.source.channels
    return total


def _trainable(operator: Operator) -> int:
    half = operator.kind == "batch_norm"
    return operator.params // 2 if half else operator.params
