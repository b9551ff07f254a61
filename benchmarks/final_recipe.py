"""How long, and with what, the final training should be: recipes side by side.

    python -m benchmarks.final_recipe --dataset=npz:cifar10.npz --limit=20000 \
        --valid_fraction=0.5 --epochs=8,16,32,64 --at=32 --out=runs/final_recipe

Trains one architecture (by default the space's default, made cheaper alike in all
layers until it is inside the budget) with the data set's default final recipe for each
number of epochs and, at `--at` epochs, with one thing changed at a time. All figures
are of the validation images, because a recipe is chosen by them, and each is compared
on the same images with the default recipe of --at epochs. The rows go to `rows.jsonl`
in --out; the same command trains what is missing there and prints the table of all.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from benchmarks.json_rows import append_row, read_rows
from benchmarks.number_flags import define_numbers
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.training.paired import compare_paired, pack, unpack

if TYPE_CHECKING:
    from layernas_tf.training.recipe import Recipe

CHANGES: dict[str, dict[str, Any]] = {
    "no augmentation": {"augment": "none"},
    "random crops": {"augment": "crop_flip"},
    "RandAugment 5": {"randaugment": 5},
    "mixup 0.2": {"mixup": 0.2},
    "no label smoothing": {"label_smoothing": 0.0},
    "weight average": {"ema": 0.999},
    "half the rate": {"learning_rate": 1.5e-3},
    "twice the rate": {"learning_rate": 6e-3},
    "weight decay 0.05": {"weight_decay": 0.05},
}
"""One change of the default recipe each, by its name in the table."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
      name: `default`, or the name of the change.
      epochs: Rounds through the training images.
      seed: Seed of the weights and the batches.
      correct: Which validation images are classified correctly (`paired.pack`).
      train_loss: Mean loss of the last epoch, with what the recipe makes of labels.
      seconds: CPU seconds of the process.
    """

    name: str
    epochs: int
    seed: int
    correct: str
    train_loss: float
    seconds: float


def trainings(
    epochs: Sequence[int], changes: Sequence[str], at: int, seeds: int
) -> Iterable[tuple[str, int, int]]:
    """Name, epochs and seed of every training, in the order in which they are made."""
    for seed in range(seeds):
        yield from (("default", number, seed) for number in epochs)
        yield from ((name, at, seed) for name in changes)


def changed(recipe: Recipe, name: str, epochs: int) -> Recipe:
    """The recipe with one change and another number of epochs."""
    from layernas_tf.training.recipe import with_epochs

    return dataclasses.replace(with_epochs(recipe, epochs), **CHANGES.get(name, {}))


def table(rows: Sequence[Row], at: int) -> str:
    """Validation accuracy of each recipe, and against the default, as Markdown."""
    alike: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.name, row.epochs), []).append(row)
    correct = {
        key: np.stack([unpack(row.correct) for row in found])
        for key, found in alike.items()
    }
    lines = [
        "| recipe | epochs | training loss | validation accuracy by seed | "
        f"less the default of {at} epochs, 95 % | CPU seconds |",
        "|---|---|---|---|---|---|",
    ]
    for key, found in alike.items():
        against = "–"
        if key != ("default", at) and ("default", at) in correct:
            pair = compare_paired(correct[key], correct["default", at])
            points = (pair.difference, pair.low, pair.high)
            against = "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * x for x in points))
        by_seed = " / ".join(f"{100 * each.mean():.2f}" for each in correct[key])
        loss = statistics.mean(row.train_loss for row in found)
        seconds = statistics.mean(row.seconds for row in found)
        lines.append(
            f"| {key[0]} | {key[1]} | {loss:.3f} | {by_seed} | {against} "
            f"| {seconds:,.0f} |"
        )
    return "\n".join(lines)


def define_flags() -> None:
    """Defines the flags of this benchmark."""
    flags.DEFINE_string("dataset", "digits", "As for the search.")
    flags.DEFINE_integer("limit", None, "As for the search.")
    flags.DEFINE_float("valid_fraction", 0.5, "As for the search.")
    flags.DEFINE_string("space", "mobilenet_v3_small", "As for the search.")
    flags.DEFINE_string("budget", "madds<=60%", "As for the search.")
    flags.DEFINE_string("architecture", "", "architecture.json to train instead.")
    define_numbers("epochs", [8, 16, 32, 64], "Of the default recipe.")
    flags.DEFINE_list("changes", list(CHANGES), "Which changes of it to measure.")
    flags.DEFINE_integer("at", 32, "Epochs of the changed recipes.")
    flags.DEFINE_integer("seeds", 1, "Trainings of each recipe.")
    flags.DEFINE_string("out", "runs/final_recipe", "Folder of the rows.")


def _trained(network: Any, dataset: Any, recipe: Recipe, name: str, seed: int) -> Row:
    """Trains the network, given as space and architecture, once."""
    import keras

    from layernas_tf.training.train import train_model

    started = time.process_time()
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    space, architecture = network
    result = train_model(space.build(architecture), dataset, recipe, seed=seed)
    print(f"{name}, {recipe.epochs} epochs: {result.valid_accuracy:.2%}", flush=True)
    return Row(
        name,
        recipe.epochs,
        seed,
        pack(result.valid_correct),
        result.train_loss,
        time.process_time() - started,
    )


def _network(dataset: Any) -> Any:
    """Space and architecture: of the file, or the default made evenly cheaper."""
    from layernas_tf.algorithms.trades import Trades
    from layernas_tf.space.budget import parse_budget
    from layernas_tf.space.completions import BudgetedChain
    from search_spaces.architecture_files import load_architecture
    from search_spaces.registry import get_space

    given = flags.FLAGS
    height, width, channels = dataset.shape
    image: dict[str, Any] = {
        "resolution": f"{height}x{width}",
        "classes": dataset.classes,
        "channels": channels,
    }
    if given.architecture:
        return load_architecture(given.architecture, **image)
    space = get_space(given.space, **image)
    budgets = (parse_budget(given.budget, space),)
    return space, Trades(space, BudgetedChain(space.chain, budgets)).even()


def main(argv: Sequence[str]) -> None:
    """Trains what is missing and prints the table."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}")
    from layernas_tf.datasets import load_dataset
    from layernas_tf.training.recipe import default_recipe

    given = flags.FLAGS
    changes = [name.strip() for name in given.changes]
    for name in changes:
        if name not in CHANGES:
            raise UserError(
                f"--changes: expected some of {', '.join(CHANGES)}, got {name!r}"
            )
    dataset = load_dataset(
        given.dataset, limit=given.limit, valid_fraction=given.valid_fraction, seed=0
    )
    space, architecture = _network(dataset)
    print(f"{space.costs(architecture)['madds'] / 1e6:.3f}M MAdds", flush=True)
    default = default_recipe(dataset, proxy=False)
    path = pathlib.Path(given.out) / "rows.jsonl"
    rows = [Row(**row) for row in read_rows(path)]
    known = {(row.name, row.epochs, row.seed) for row in rows}
    plan = trainings(given.epochs, changes, given.at, given.seeds)
    for name, number, seed in plan:
        if (name, number, seed) in known:
            continue
        recipe = changed(default, name, number)
        rows.append(_trained((space, architecture), dataset, recipe, name, seed))
        append_row(path, dataclasses.asdict(rows[-1]))
    print(table(rows, given.at))


if __name__ == "__main__":
    define_flags()
    run_main(main)
