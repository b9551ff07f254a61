"""What coarser buckets and coupled costs lose: LayerNAS run to its end on sums.

    python -m benchmarks.buckets

Rewards are sums over the layers, so with buckets as fine as the costs' unit and costs
that are independent between layers LayerNAS finds the optimum. The table shows what is
left of that with fewer buckets, and with the costs of NATS-Bench size, where a layer's
cost depends on the width before it. Loss is the distance to the optimum inside the
budget, as a share of the distance between a random architecture and the optimum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import flags

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.core.app import run_main
from layernas_tf.space.budget import Budget, rows_inside
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.tabular.table import all_architectures
from search_spaces.tabular.nats_bench import nats_bench_size
from search_spaces.tabular.synthetic import synthetic

_RUNS = flags.DEFINE_integer("runs", 20, "Rewards drawn per row.", lower_bound=1)

_GRIDS = (
    ("unit", {"bucket_width": 1.0}),
    ("100", {"buckets": 100}),
    ("50", {"buckets": 50}),
    ("20", {"buckets": 20}),
    ("20, 3 replicas", {"buckets": 20, "replicas": 3}),
    ("10", {"buckets": 10}),
    ("5", {"buckets": 5}),
)


def measure(
    space: SearchSpace, rewards: np.ndarray, share: float, options: dict, seed: int
) -> tuple[float, int]:
    """Runs LayerNAS to its end.

    Args:
      space: An enumerable space.
      rewards: By architecture in lexicographic order, `(N,)`.
      share: The budget, as a share of the most expensive architecture's cost.
      options: For `LayerNAS`.
      seed: For `LayerNAS`.

    Returns:
      The loss as defined above, and the number of trainings.
    """
    architectures = all_architectures(space)
    metric = space.metrics[0].name
    costs = space.chain.costs(architectures)
    budget = Budget(metric, 0, share * costs[metric].max())
    inside = rewards[rows_inside([budget], costs)]
    index = {tuple(row): n for n, row in enumerate(architectures.tolist())}
    search = LayerNAS(space, [budget], seed=seed, base="default", children=8, **options)
    trainings = 0
    while (candidate := search.ask()) is not None:
        trainings += 1
        search.tell(candidate, rewards[index[candidate.architecture]])
    best = search.best
    assert best is not None and best.reward is not None  # everything was tried
    loss = (inside.max() - best.reward) / (inside.max() - inside.mean())
    return float(loss), trainings


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    del argv
    print("| costs | buckets | mean loss | worst loss | optimum found | trainings |")
    print("|---|---|---|---|---|---|")
    for name in ("independent", "coupled (NATS-Bench size)"):
        for label, options in _GRIDS:
            if label == "unit" and name != "independent":
                continue  # a MAdd wide, millions of buckets: nothing is ever beaten
            found = []
            for run in range(_RUNS.value):
                table = synthetic(layers=5, options=8, buckets=100, seed=run)
                rewards, _ = table.rewards(all_architectures(table.space))
                space = table.space
                if name != "independent":
                    # The same shape, 5 layers of 8 options: the same rewards serve.
                    space = nats_bench_size()
                found.append(measure(space, rewards, 0.5, options, run))
            losses, trainings = map(np.array, zip(*found))
            print(
                f"| {name} | {label} | {100 * losses.mean():.2f} % | "
                f"{100 * losses.max():.2f} % | "
                f"{np.count_nonzero(losses < 1e-9)} of {len(losses)} | "
                f"{trainings.mean():,.0f} of {space.size:,} |",
                flush=True,
            )


if __name__ == "__main__":
    run_main(main)
