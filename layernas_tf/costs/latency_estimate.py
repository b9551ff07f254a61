"""The latency of blocks that a latency table does not have, from those that it has."""

from __future__ import annotations

import numpy as np
import scipy.optimize

from layernas_tf.costs.cost import Cost
from layernas_tf.costs.latency import LatencyTable
from layernas_tf.space.budget import LATENCY
from layernas_tf.space.search_space import SearchSpace, Step
from layernas_tf.space.types import Metric


def estimated_latency(space: SearchSpace, table: LatencyTable) -> Cost:
    """The table's latency as a cost of spaces with blocks of other sizes.

    A block that was measured has its time; for others, the time is a sum of a constant,
    of the MAdds, the weights and the activations with the coefficients, none of them
    negative, that fit the measured blocks best (relative errors).

    Args:
      space: The space that the table was made for; must have MAdds and params.
      table: The table.
    """
    rows = {times.name: dict(zip(times.states, times.ms)) for times in table.layers}
    places = {
        layer.name: {option: number for number, option in enumerate(layer.options)}
        for layer in space.layers
    }
    features, measured = [], []
    for layer, states in zip(space.layers, space.chain.states):
        for state in states:
            for option, ms in zip(layer.options, rows[layer.name][state]):
                after, costs = layer.transition(state, option)
                if ms > 0:
                    step = Step(layer, option, state, after, costs)
                    features.append(_features(step))
                    measured.append(ms)
    of_one = np.array(features) / np.array(measured)[:, None]
    weights, _ = scipy.optimize.nnls(of_one, np.ones(len(of_one)))
    first = space.layers[0].name

    def milliseconds(step: Step) -> float:
        name = step.layer.name
        offset = table.offset_ms if name == first else 0.0
        number = places.get(name, {}).get(step.option)
        known = rows.get(name, {}).get(step.before)
        if number is None or known is None:
            ms = float(_features(step) @ weights)
        else:
            ms = known[number]
        return offset + table.scale * ms

    return Cost(Metric(LATENCY, "sum", "ms", title="latency"), milliseconds)


def _features(step: Step) -> np.ndarray:
    """In thousands, so that the least squares are well conditioned."""
    before, after = (
        state.channels * state.height * state.width
        for state in (step.before, step.after)
    )
    sizes = (step.costs["madds"], step.costs["params"], before + after)
    return np.array([1.0, *(size / 1e3 for size in sizes)])
