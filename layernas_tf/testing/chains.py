"""Random chains small enough to enumerate, for the tests of laws."""

import itertools

import numpy as np

from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State


def random_space(
    seed: int,
    layers: int = 4,
    options: int = 3,
    states: int = 3,
    fractions: bool = False,
    third: bool = False,
) -> SearchSpace:
    """A space whose costs depend on the state, so that layers are coupled.

    With `states=1` the costs of the layers are independent of each other. With `third`
    there is a third sum, `latency_ms`, in fractions.
    """
    rng = np.random.default_rng(seed)
    more = np.random.default_rng((seed, 3))

    def layer(i: int) -> Layer:
        costs = rng.integers(1, 30, (states, options)).astype(float)
        if fractions:
            costs = costs + rng.random((states, options))
        params = rng.integers(1, 9, (states, options))
        peaks = rng.integers(1, 9, (states, options))
        after = rng.integers(0, states, options)
        times = more.random((states, options))

        def transition(state: State, option: Option) -> tuple[State, dict[str, float]]:
            s, o = state.channels, option["level"] - 1
            found: dict[str, float] = {
                "madds": float(costs[s, o]),
                "params": int(params[s, o]),
                "peak_memory_bytes": int(peaks[s, o]),
            }
            if third:
                found["latency_ms"] = float(times[s, o])
            return State(int(after[o]), 1, 1), found

        choices = tuple(Option.of(level=k + 1) for k in range(options))
        return Layer(f"layer{i}", choices, int(rng.integers(options)), transition)

    return SearchSpace(
        f"random{seed}",
        State(0, 1, 1),
        tuple(layer(i) for i in range(layers)),
        (
            Metric("madds"),
            Metric("params"),
            Metric("peak_memory_bytes", "max"),
            *((Metric("latency_ms", "sum", "ms"),) if third else ()),
        ),
    )


def everything(space: SearchSpace) -> np.ndarray:
    """All architectures, int array `(N, L)`."""
    return np.array(
        list(itertools.product(*(range(len(layer.options)) for layer in space.layers)))
    )
