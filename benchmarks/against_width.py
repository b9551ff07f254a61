"""A searched architecture against the simplest alternative: the default, made narrower.

    python -m benchmarks.against_width --architecture=runs/x/winner/architecture.json \
        --dataset=npz:cifar10.npz --budget='madds<=60%' --seeds=3 --out=runs/x/width

Both networks get the same recipe and seeds: the winner, and the space's default with
the greatest uniform filter multiplier that the budget allows. With --latency_table and
--budget='latency_ms<=...' all of them are measured on this host, and the default is the
widest that takes no longer than the winner or the budget, whichever is more. Finished
trainings are kept in --out, and not repeated.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import read_json, write_json
from layernas_tf.costs.latency import LatencyTable, read_table, with_latency
from layernas_tf.space.budget import LATENCY, Budget, format_cost, parse_budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.recipe import Recipe

_ROUNDS = 20
"""Turns of each network when latency is measured."""

_ARCHITECTURE = flags.DEFINE_string(
    "architecture", None, "winner/architecture.json of a search.", required=True
)
_DATASET = flags.DEFINE_string("dataset", "digits", "As for the search.")
_BUDGET = flags.DEFINE_string("budget", "madds<=60%", "As for the search.")
_LATENCY_TABLE = flags.DEFINE_string(
    "latency_table", "", "As for the search; its device must be this host."
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Trainings of each network.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", None, "Epochs of a training.", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "Folder for the figures.", required=True)


@dataclasses.dataclass(frozen=True)
class Network:
    """An architecture with its space.

    Example: `Network("width 0.75", space, space.default)`.

    Attributes:
      name: For people.
      space: Its space, of a width of its own.
      architecture: Of that space.
      latency_ms: Measured here; None if the budget is no latency.
    """

    name: str
    space: SearchSpace
    architecture: Architecture
    latency_ms: float | None = None


def widths_of_default(space: SearchSpace) -> list[Network]:
    """The default network in all widths from 2 down to 0.05, in steps of 0.01.

    Filters are rounded to 8, so several neighbouring widths give the same network: of
    those the greatest is kept.
    """
    from search_spaces.registry import get_space

    networks: dict[tuple, Network] = {}
    for hundredths in range(200, 4, -1):
        width = hundredths / 100
        narrow = get_space(space.name, **{**space.arguments, "width": width})
        costs = tuple(narrow.costs(narrow.default).values())
        name = f"default, width {width:.2f}"
        networks.setdefault(costs, Network(name, narrow, narrow.default))
    return list(networks.values())


def widest_inside(space: SearchSpace, budget: Budget) -> Network:
    """The default network with the greatest width inside the budget."""
    for network in widths_of_default(space):
        if budget.holds(network.space.costs(network.architecture)):
            return network
    raise UserError(f"no width from 0.05 to 2 brings the default inside {budget}")


def measured(networks: Sequence[Network], table: LatencyTable) -> list[Network]:
    """The networks with their latency on this host, by turns, as the table's."""
    from export.tflite import runtime as runtimes
    from export.timing.host_timer import HostTimer
    from export.timing.space_files import network_file

    runtime = runtimes.resolve_runtime(table.runtime.rpartition(" ")[0])
    timer = HostTimer(runtime, table.threads, _ROUNDS, table.format)
    if timer.device != table.device:
        raise UserError(f"the table is of {table.device}, this is {timer.device}")
    files = {
        network.name: network_file(network.space, network.architecture, table.format)
        for network in networks
    }
    found = timer.networks(files)
    return [dataclasses.replace(n, latency_ms=found[n.name]) for n in networks]


def widest_as_fast(
    searched: Network, budget: Budget, table: LatencyTable
) -> tuple[Network, Network]:
    """The searched network, and the widest default that takes no longer; measured."""
    searched, *defaults = measured(
        [searched, *widths_of_default(searched.space)], table
    )
    assert searched.latency_ms is not None  # it has just been measured
    longest = max(searched.latency_ms, budget.high)
    for network in defaults:
        if network.latency_ms is not None and network.latency_ms <= longest:
            return searched, network
    raise UserError(f"no width from 0.05 to 2 brings the default to {longest:.3g} ms")


def main(argv: Sequence[str]) -> None:
    """Trains what is not trained yet and prints the table."""
    del argv
    from layernas_tf.datasets import load_dataset
    from layernas_tf.training.recipe import default_recipe, with_epochs
    from search_spaces.architecture_files import load_architecture

    space, architecture = load_architecture(_ARCHITECTURE.value)
    searched = Network("searched", space, architecture)
    if _LATENCY_TABLE.value:
        table = read_table(_LATENCY_TABLE.value)
        budget = parse_budget(_BUDGET.value, with_latency(space, table))
        if budget.metric != LATENCY:
            raise UserError(f"--latency_table needs a budget on {LATENCY}")
        networks = widest_as_fast(searched, budget, table)
    else:
        networks = (searched, widest_inside(space, parse_budget(_BUDGET.value, space)))
    dataset = load_dataset(_DATASET.value, resolution=space.start.height)
    recipe = default_recipe(dataset, proxy=False)
    if _EPOCHS.value:
        recipe = with_epochs(recipe, _EPOCHS.value)
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    scores: dict[str, list[float]] = {network.name: [] for network in networks}
    for seed in range(_SEEDS.value):
        for network in networks:
            path = out / f"{network.name.split(',')[0]}-{seed}.json"
            asked = {
                "network": network.space.to_json(network.architecture),
                "dataset": dataset.name,
                "recipe": dataclasses.asdict(recipe),
            }
            done = read_json(path) if path.exists() else {}
            if {key: done.get(key) for key in asked} != asked:
                done = asked | _train(network, dataset, recipe, seed)
                write_json(path, done)
            scores[network.name].append(done["test_accuracy"])
            print(
                f"{network.name}, seed {seed}: {done['test_accuracy']:.4f}", flush=True
            )
    print("\n| network | latency | MAdds | params | test accuracy by seed | mean |")
    print("|---|---|---|---|---|---|")
    for network in networks:
        costs = network.space.costs(network.architecture)
        latency = f"{network.latency_ms:.3f} ms" if network.latency_ms else "–"
        seeds = " / ".join(f"{100 * score:.2f}" for score in scores[network.name])
        print(
            f"| {network.name} | {latency} | {format_cost(costs['madds'])}"
            f" | {format_cost(costs['params'])}"
            f" | {seeds} | {100 * statistics.mean(scores[network.name]):.2f} % |"
        )


def _train(
    network: Network, dataset: Dataset, recipe: Recipe, seed: int
) -> dict[str, float]:
    import keras

    from layernas_tf.training.train import evaluate_model, train_model

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = network.space.build(network.architecture)
    result = train_model(model, dataset, recipe, seed=seed)
    return {
        "valid_accuracy": result.valid_accuracy,
        "test_accuracy": evaluate_model(model, dataset.test).accuracy,
        "train_seconds": result.train_seconds,
    }


if __name__ == "__main__":
    run_main(main)
