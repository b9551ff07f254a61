"""A searched architecture against the simplest alternative: the default, made narrower.

    python -m benchmarks.against_width --architecture=runs/x/winner/architecture.json \
        --dataset=npz:cifar10.npz --budget='madds<=60%' --seeds=3 --out=runs/x/width

Both networks get the same recipe and seeds: the winner, and the space's default with
the greatest uniform filter multiplier that the budget allows. Finished trainings are
kept in --out, and not repeated.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Sequence

from absl import flags

from layernas_tf.budget import Budget, format_cost, parse_budget
from layernas_tf.errors import UserError, run_main
from layernas_tf.space import Architecture, SearchSpace

_ARCHITECTURE = flags.DEFINE_string(
    "architecture", None, "winner/architecture.json of a search.", required=True
)
_DATASET = flags.DEFINE_string("dataset", "digits", "As for the search.")
_BUDGET = flags.DEFINE_string("budget", "madds<=60%", "As for the search.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Trainings of each network.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", None, "Epochs of a training.", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "Folder for the figures.", required=True)


def widest_default(
    space: SearchSpace, budget: Budget
) -> tuple[float, SearchSpace, Architecture]:
    """The default network with the greatest width inside the budget.

    Widths are tried in steps of 0.01 from above; filters are rounded to 8, so several
    neighbouring widths give the same network.
    """
    from search_spaces.registry import get_space

    for hundredths in range(200, 4, -1):
        width = hundredths / 100
        narrow = get_space(space.name, **{**space.arguments, "width": width})
        if budget.holds(narrow.costs(narrow.default)):
            return width, narrow, narrow.default
    raise UserError(f"no width from 0.05 to 2 brings the default inside {budget}")


def main(argv: Sequence[str]) -> None:
    """Trains what is not trained yet and prints the table."""
    del argv
    from layernas_tf.datasets import load_dataset
    from layernas_tf.recipe import default_recipe
    from search_spaces.registry import get_space

    try:
        data = json.loads(pathlib.Path(_ARCHITECTURE.value).read_text("utf-8"))
        space = get_space(data["space"], **data["arguments"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--architecture={_ARCHITECTURE.value}: {error}") from None
    architecture = space.from_json(data)
    budget = parse_budget(_BUDGET.value, space)
    width, narrow, default = widest_default(space, budget)
    dataset = load_dataset(_DATASET.value, resolution=space.start.height)
    recipe = default_recipe(dataset, proxy=False)
    if _EPOCHS.value:
        share = recipe.warmup_epochs / recipe.epochs
        recipe = dataclasses.replace(
            recipe, epochs=_EPOCHS.value, warmup_epochs=share * _EPOCHS.value
        )
    networks = {
        "searched": (space, architecture),
        f"default, width {width:.2f}": (narrow, default),
    }
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    scores: dict[str, list[float]] = {name: [] for name in networks}
    for seed in range(_SEEDS.value):
        for name, (built, chosen) in networks.items():
            path = out / f"{name.split(',')[0]}-{seed}.json"
            asked = {
                "network": built.to_json(chosen),
                "dataset": dataset.name,
                "recipe": dataclasses.asdict(recipe),
            }
            done = json.loads(path.read_text("utf-8")) if path.exists() else {}
            if {key: done.get(key) for key in asked} != asked:
                done = asked | _train(built, chosen, dataset, recipe, seed)
                path.write_text(json.dumps(done, indent=1), "utf-8")
            scores[name].append(done["test_accuracy"])
            print(f"{name}, seed {seed}: {done['test_accuracy']:.4f}", flush=True)
    print("\n| network | MAdds | params | test accuracy by seed | mean |")
    print("|---|---|---|---|---|")
    for name, (built, chosen) in networks.items():
        costs = built.costs(chosen)
        seeds = " / ".join(f"{100 * score:.2f}" for score in scores[name])
        print(
            f"| {name} | {format_cost(costs['madds'])} | {format_cost(costs['params'])}"
            f" | {seeds} | {100 * statistics.mean(scores[name]):.2f} % |"
        )


def _train(space, architecture, dataset, recipe, seed) -> dict[str, float]:
    import keras

    from layernas_tf.training import evaluate_model, train_model

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = space.build(architecture)
    result = train_model(model, dataset, recipe, seed=seed)
    return {
        "valid_accuracy": result.valid_accuracy,
        "test_accuracy": evaluate_model(model, dataset.test).accuracy,
        "train_seconds": result.train_seconds,
    }


if __name__ == "__main__":
    run_main(main)
