"""How well a candidate's short training tells what a long one would.

    python -m benchmarks.fidelity --dataset=npz:cifar10.npz --limit=12500 \
        --band=1M..5M --rows=runs/fidelity/cifar_wide.jsonl

Draws architectures of a space, one at random in each of as many equal parts of a band
of MAdds, trains each for long (the truth: its test accuracy) and briefly in several
ways, and prints Kendall's rank correlation of every signal of the brief trainings with
the truth, its bootstrap interval, the correlation between two seeds of the long
training, and CPU seconds. Every training is a line of the file --rows; a later call
adds what is missing: more seeds, steps or architectures. Give the same --dataset and
--limit for the same file.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from benchmarks.fidelity_tables import (
    ceiling,
    course,
    figures,
    lines,
    losses_against_accuracies,
    markdown,
    truth,
)
from benchmarks.json_rows import append_row, read_rows
from benchmarks.number_flags import define_numbers
from layernas_tf.algorithms.random_search import RandomSearch
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.datasets import Dataset, load_dataset
from layernas_tf.space.budget import parse_budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from search_spaces.registry import get_space

PROXY_SEED = 100
"""One seed for all candidates, as in a search, and none of the truth's."""


def drawn(space: SearchSpace, band: str, number: int) -> list[Architecture]:
    """One random architecture in each of equal parts of a band such as `1M..5M`."""
    whole = parse_budget(f"madds={band}", space)
    width = (whole.high - whole.low) / number
    found = []
    for part in range(number):
        low = whole.low + part * width
        budget = dataclasses.replace(whole, low=low, high=low + width)
        candidate = RandomSearch(space, (budget,), seed=part).ask()
        if candidate is None:
            raise UserError(f"space {space.name!r} has no architecture of {budget}")
        found.append(candidate.architecture)
    return found


def order(number: int) -> list[int]:
    """0 to number - 1, each next one far from those before: any start covers all."""
    bits = max(1, (number - 1).bit_length())
    turned = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits))
    return [i for i in turned if i < number]


def truth_plan(dataset: Dataset, epochs: int) -> Any:
    """The long training: the final recipe for this number of epochs."""
    from benchmarks.fidelity_training import Plan
    from layernas_tf.training.recipe import default_recipe, with_epochs

    recipe = with_epochs(default_recipe(dataset, proxy=False), epochs)
    per_epoch = recipe.steps_per_epoch(dataset.train.size)
    apart = max(4, epochs // 6)
    marks = [*range(apart, epochs, apart), epochs]
    lengths = tuple(per_epoch * epoch for epoch in marks)
    return Plan(f"truth {epochs}", recipe, lengths, test=True, averages=False)


def proxy_plans(
    dataset: Dataset,
    cosine: Sequence[int],
    constant: Sequence[int],
    augmented: Sequence[int] = (),
) -> list[Any]:
    """The brief trainings, the cheapest first.

    Args:
      dataset: The images.
      cosine: Steps of the trainings whose rate falls to zero.
      constant: Steps after which the training with a constant rate is looked at.
      augmented: Steps of more trainings whose rate falls to zero, on images that are
        augmented as in the final recipe.
    """
    from benchmarks.fidelity_training import Plan
    from layernas_tf.training.recipe import Recipe, default_recipe

    def recipe(steps: int, schedule: str, warmup: float) -> Recipe:
        # An "epoch" of one step lets a training have any number of them.
        return Recipe(steps, schedule=schedule, warmup_epochs=warmup, epoch_steps=1)

    plans = [
        Plan(f"cosine {n}", recipe(n, "cosine", 0.3 * n), (n,), averages=False)
        for n in sorted(cosine)
    ]
    if len(cosine) > 1:
        few = dataclasses.replace(plans[-1], images=dataset.train.size // 5)
        plans.append(dataclasses.replace(few, name=f"{few.name}, a fifth of images"))
    augment = default_recipe(dataset, proxy=False).augment
    for n in sorted(augmented):
        plain = recipe(n, "cosine", 0.3 * n)
        moved = dataclasses.replace(plain, augment=augment)
        plans.append(Plan(f"cosine {n}, augmented", moved, (n,), averages=False))
    if constant:
        lengths = tuple(sorted(constant))
        plans.append(
            Plan(
                "constant",
                recipe(lengths[-1], "constant", min(6, lengths[-1])),
                lengths,
            )
        )
    return plans


def _row(plan: Any, architecture: Architecture, seed: int, points: Any) -> dict:
    return {
        "training": plan.name,
        "truth": plan.test,
        "recipe": dataclasses.asdict(plan.recipe),
        "images": plan.images,
        "architecture": list(architecture),
        "seed": seed,
        "points": points,
    }


def missing(
    rows: Sequence[dict[str, Any]],
    architectures: Sequence[Architecture],
    plans: Sequence[tuple[Any, int]],
) -> Iterator[tuple[Any, Architecture, int]]:
    """Plan, architecture and seed of what is not in the rows, in order of the plans."""
    done = {
        (r.get("training"), tuple(r["architecture"]), r.get("seed"))
        for r in rows
        if "points" in r
    }
    for plan, seed in plans:
        for architecture in architectures:
            if (plan.name, architecture, seed) not in done:
                yield plan, architecture, seed


def _fewer(dataset: Dataset, images: int) -> Dataset:
    from layernas_tf.datasets.split import ArraySplit, subset

    train = dataset.train
    if not isinstance(train, ArraySplit):
        raise UserError(f"{dataset.name} is too large for this benchmark: give --limit")
    kept = train.take(subset(train.labels, images, PROXY_SEED))
    return dataclasses.replace(dataset, train=kept)


def extend(
    path: pathlib.Path,
    space: SearchSpace,
    dataset: Dataset,
    architectures: Sequence[Architecture],
    plans: Sequence[tuple[Any, int]],
    until: float,
) -> None:
    """Runs what is missing, one line each, and starts nothing after `until`."""
    import gc

    from benchmarks.fidelity_scores import scores
    from benchmarks.fidelity_training import record
    from layernas_tf.training.segments import SegmentCache

    cache = SegmentCache(16)
    rows = read_rows(path)
    scored = {tuple(row["architecture"]) for row in rows if "scores" in row}

    for architecture in architectures:
        if architecture not in scored and time.time() < until:
            found = scores(space, architecture, dataset, PROXY_SEED, cache)
            append_row(path, {"architecture": list(architecture), "scores": found})
            cache = SegmentCache(16)
    for plan, architecture, seed in missing(rows, architectures, plans):
        if time.time() > until:
            return
        data = dataset
        if plan.images:
            data = _fewer(dataset, plan.images)
        # As a search does: what earlier candidates compiled is there for later ones.
        points = record(space, architecture, data, plan, seed, cache)
        append_row(path, _row(plan, architecture, seed, points))
        print(f"{plan.name}, seed {seed}: {points[-1]}", flush=True)
        gc.collect()


def print_tables(rows: Sequence[dict[str, Any]], name: str, signal: str) -> None:
    """Ceiling, and correlations with a test figure of the long training."""
    known = truth(rows, name, signal)
    if len(known) < 3:
        print(f"Only {len(known)} architectures are trained for long.")
        return
    every = [score for seeds in known.values() for score in seeds.values()]
    twice = sum(len(seeds) > 1 for seeds in known.values())
    print(f"Truth: {len(known)} architectures, {twice} with a second seed,")
    print(f"{signal} {min(every):.4f} to {max(every):.4f}.")
    print(f"Ceiling, between two seeds: {ceiling(known)}\n")
    values = figures(rows)
    print(markdown(lines(values, known)))
    print("\nBy how much the validation loss ranks better than the accuracy:")
    print("\n".join(losses_against_accuracies(values, known)))
    early, ends = course(rows, name, signal)
    if len(ends) > 2:
        print("\nOne seed of the long training, looked at early, with another's end:")
        print(markdown(lines(early, ends)))


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("space", "mobilenet_v3_small", "As for the search.")
    flags.DEFINE_string("dataset", "digits", "As for the search.")
    flags.DEFINE_integer("limit", None, "Training and validation images.")
    flags.DEFINE_integer("resolution", None, "As for the search.")
    flags.DEFINE_string("band", "1M..5M", "MAdds of the architectures.")
    flags.DEFINE_integer("architectures", 16, "How many.", lower_bound=3)
    flags.DEFINE_integer("truth_epochs", 24, "Of a long training.", lower_bound=4)
    flags.DEFINE_enum(
        "truth_signal",
        "test_accuracy",
        ["test_accuracy", "test_loss"],
        "What the long training is judged by; the loss is finer on few test images.",
    )
    flags.DEFINE_integer("seeds", 2, "Long trainings of each.", lower_bound=0)
    define_numbers("cosine", [18, 60, 120, 240], "Steps of trainings to a rate of 0.")
    define_numbers("constant", [18, 60, 120, 240, 480], "Steps at a constant rate.")
    define_numbers("augmented", [], "As --cosine, on augmented images.")
    flags.DEFINE_float("hours", 1000.0, "After them no training begins.")
    flags.DEFINE_integer("threads", 1, "Of TensorFlow.", lower_bound=1)
    flags.DEFINE_string("rows", "runs/fidelity.jsonl", "File of finished trainings.")


def main(argv: Sequence[str]) -> None:
    """Runs what is missing and prints the tables."""
    del argv
    values = flags.FLAGS
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(values.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    dataset = load_dataset(
        values.dataset, limit=values.limit, resolution=values.resolution
    )
    height, _, channels = dataset.shape
    space = get_space(
        values.space, resolution=height, classes=dataset.classes, channels=channels
    )
    found = drawn(space, values.band, values.architectures)
    architectures = [found[index] for index in order(len(found))]
    long = truth_plan(dataset, values.truth_epochs)
    plans = [(long, seed) for seed in range(values.seeds)]
    brief = proxy_plans(dataset, values.cosine, values.constant, values.augmented)
    plans = [*((plan, PROXY_SEED) for plan in brief), *plans]
    path = pathlib.Path(values.rows)
    until = time.time() + 3600 * values.hours
    extend(path, space, dataset, architectures, plans, until)
    print_tables(read_rows(path), long.name, values.truth_signal)


if __name__ == "__main__":
    define_flags()
    run_main(main)
