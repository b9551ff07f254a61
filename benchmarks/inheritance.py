"""What `--inherit_weights` saves, and whether the ranking of candidates survives it.

    python -m benchmarks.inheritance --children=16 --epochs=2 --seeds=2 --out=DIR

Children and parents are those of a LayerNAS search whose rewards come from training
from scratch. Each child is then trained briefly in four ways, from scratch and with
inherited weights, with all and with half the epochs; the truth is the test accuracy
after a long training from scratch, the mean of some seeds. Weights are inherited down
the lineage, as in a search. Finished trainings are kept in --out and not repeated.
"""

from __future__ import annotations

import dataclasses
import pathlib
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import read_json, write_json
from layernas_tf.space.budget import parse_budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.training.recipe import Recipe, default_recipe, with_epochs

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset

_SPACE = flags.DEFINE_string("space", "mobilenet_v3_small", "As for the search.")
_DATASET = flags.DEFINE_string("dataset", "digits", "As for the search.")
_RESOLUTION = flags.DEFINE_integer("resolution", None, "As for the search.")
_BUDGET = flags.DEFINE_string("budget", "madds<=50%", "As for the search.")
_CHILDREN = flags.DEFINE_integer(
    "children", 16, "Children that are compared.", lower_bound=4
)
_SIBLINGS = flags.DEFINE_integer(
    "siblings", 2, "Children of a parent in a step: few make long lineages."
)
_EPOCHS = flags.DEFINE_integer(
    "epochs", 2, "Epochs of the proxy, an even number.", lower_bound=2
)
_TRUTH_EPOCHS = flags.DEFINE_integer(
    "truth_epochs", None, "Epochs of the long training."
)
_SEEDS = flags.DEFINE_integer(
    "seeds", 2, "Seeds of each proxy training.", lower_bound=1
)
_TRUTH_SEEDS = flags.DEFINE_integer(
    "truth_seeds", 2, "Seeds of the long training.", lower_bound=1
)
_OUT = flags.DEFINE_string("out", None, "Folder for the figures.", required=True)


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to train a child.

    Example: `Way("inherited", recipe, inherits=True)`.

    Attributes:
      name: For people, and in the file of figures.
      recipe: The recipe of the training.
      inherits: Whether it starts from a trained network.
    """

    name: str
    recipe: Recipe
    inherits: bool


def ways(dataset: Dataset) -> tuple[Way, ...]:
    """The four proxy trainings; the first one steers the search."""
    if _EPOCHS.value % 2:
        raise UserError(f"--epochs: expected an even number, got {_EPOCHS.value}")
    proxy = default_recipe(dataset, proxy=True)
    made = []
    for epochs in (_EPOCHS.value, _EPOCHS.value // 2):
        recipe = with_epochs(proxy, epochs)
        made += [Way("from scratch", recipe, False), Way("inherited", recipe, True)]
    return tuple(made)


class Trainings:
    """Trains candidates; what is in the file of figures is not trained again.

    Example:
      trainings = Trainings(space, dataset, pathlib.Path("out"))
      trainings.train(way, candidate, seed=0)
    """

    def __init__(self, space: SearchSpace, dataset: Dataset, out: pathlib.Path):
        from layernas_tf.training.segments import SegmentCache

        self._space, self._dataset, self._out = space, dataset, out
        self._path = out / "trainings.json"
        self._done = read_json(self._path) if self._path.exists() else {}
        # Large enough for all pieces, so that each is compiled once.
        self._segments = SegmentCache(400)

    def train(self, way: Way, candidate: Candidate, seed: int) -> dict[str, Any]:
        """Figures of a training: reward, test accuracy, processor seconds, lineage."""
        name = f"{way.name}, {way.recipe.epochs} epochs, seed {seed}"
        key = f"{name}, trial {candidate.number}"
        asked = [list(candidate.architecture), dataclasses.asdict(way.recipe)]
        done = self._done.get(key)
        if done is None or done["asked"] != asked:
            folder = self._out / name.replace(", ", "-").replace(" ", "_")
            figures = self._train(way, candidate, seed, folder)
            self._done[key] = {"asked": asked, **figures}
            write_json(self._path, self._done)
            print(f"{key}: {figures}", flush=True)
        return self._done[key]

    def _train(
        self, way: Way, candidate: Candidate, seed: int, folder: pathlib.Path
    ) -> dict[str, float]:
        from layernas_tf.training.inherit import descend, weights_of
        from layernas_tf.training.train import evaluate_model, train_model
        from layernas_tf.training.weight_store import keep

        # TensorFlow's own seed is left alone: setting it throws compiled kernels away.
        random.seed(seed)
        np.random.seed(seed)
        model = self._space.build(candidate.architecture)
        lineage = 1
        started = time.process_time()
        if way.inherits:
            found = descend(model, candidate, self._space, folder)
            lineage = int(found["lineage"])
        result = train_model(
            model, self._dataset, way.recipe, seed=seed, segments=self._segments
        )
        if way.inherits:
            reward, weights = result.valid_accuracy, weights_of(model)
            architecture = candidate.architecture
            keep(folder, candidate.number, architecture, reward, lineage, weights)
        seconds = time.process_time() - started
        scores = evaluate_model(model, self._dataset.test, segments=self._segments)
        return {
            "reward": result.valid_accuracy,
            "test": scores.accuracy,
            "seconds": seconds,
            "lineage": lineage,
        }


def lineage_of_search(
    space: SearchSpace, train: Callable[[Candidate], float]
) -> tuple[Candidate, list[Candidate]]:
    """The default network, and the first children of LayerNAS after it."""
    algorithm = make_algorithm(
        "layernas",
        space,
        [parse_budget(_BUDGET.value, space)],
        0,
        children=_SIBLINGS.value,
    )
    root = Candidate(space.default, 0)
    algorithm.tell(root, train(root))
    children: list[Candidate] = []
    while len(children) < _CHILDREN.value:
        child = algorithm.ask(len(children) + 1)
        if child is None:
            raise UserError(f"the search ended after {len(children)} children")
        algorithm.tell(child, train(child))
        children.append(child)
    return root, children


def main(argv: Sequence[str]) -> None:
    """Trains what is not trained yet and prints the table."""
    del argv
    from layernas_tf.datasets import load_dataset
    from search_spaces.registry import get_space

    dataset = load_dataset(_DATASET.value, resolution=_RESOLUTION.value)
    height, _, channels = dataset.shape
    space = get_space(
        _SPACE.value, resolution=height, classes=dataset.classes, channels=channels
    )
    four = ways(dataset)
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    trainings = Trainings(space, dataset, out)
    root, children = lineage_of_search(
        space, lambda candidate: trainings.train(four[0], candidate, 0)["reward"]
    )
    full = default_recipe(dataset, proxy=False)
    epochs = _TRUTH_EPOCHS.value or full.epochs
    long = Way("truth", with_epochs(full, epochs), False)
    truths = [
        [trainings.train(long, child, 1000 + seed)["test"] for child in children]
        for seed in range(_TRUTH_SEEDS.value)
    ]
    truth = [statistics.mean(scores) for scores in zip(*truths)]

    print(
        f"\n{len(children)} children of LayerNAS on {space.name}, {dataset.name}; "
        f"truth: {epochs} epochs, test accuracy {100 * min(truth):.1f} to "
        f"{100 * max(truth):.1f} %, mean of {len(truths)} seeds"
    )
    if len(truths) > 1:
        print(f"tau between two of its seeds: {correlation(*truths[:2]):.2f}")
    print_ways(trainings, four, [root, *children], truth)


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau."""
    from scipy.stats import kendalltau

    return float(kendalltau(one, other).statistic)


def print_ways(
    trainings: Trainings,
    four: Sequence[Way],
    family: Sequence[Candidate],
    truth: Sequence[float],
) -> None:
    """Trains and prints a row for each proxy training.

    Args:
      trainings: Trains the candidates.
      four: The proxy trainings.
      family: The default network, then its children.
      truth: Test accuracy of each child after the long training.
    """
    root, *children = family
    print(
        "\n| proxy training | epochs | tau with the truth, by seed | mean | accuracy "
        "| first half of the children | second half | processor seconds | lineage |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for way in four:
        taus, figures = [], []
        for seed in range(_SEEDS.value):
            trainings.train(way, root, seed)
            figures.append([trainings.train(way, child, seed) for child in children])
            taus.append(correlation([f["reward"] for f in figures[-1]], truth))

        def mean(
            name: str,
            start: int = 0,
            stop: int | None = None,
            rows: list[list[dict[str, Any]]] = figures,
        ) -> float:
            return statistics.mean(f[name] for row in rows for f in row[start:stop])

        # The slower of a child's trainings have compiled something.
        seconds = [min(f["seconds"] for f in child) for child in zip(*figures)]
        half = len(children) // 2
        print(
            f"| {way.name} | {way.recipe.epochs} "
            f"| {' / '.join(f'{tau:.2f}' for tau in taus)} "
            f"| {statistics.mean(taus):.2f} | {100 * mean('reward'):.1f} % "
            f"| {100 * mean('reward', 0, half):.1f} % "
            f"| {100 * mean('reward', half):.1f} % "
            f"| {statistics.mean(seconds):.2f} | {mean('lineage'):.1f} |"
        )


if __name__ == "__main__":
    run_main(main)
