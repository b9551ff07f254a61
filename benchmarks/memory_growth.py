"""Memory of a long search: resident size by trial, of all its processes.

    python -m benchmarks.memory_growth

LayerNAS searches as in a real run, but every training has only a few steps. The last
lines are the resident size after the last trial and the largest one, each divided by
that after trial 20. `--trials_per_process=0` trains in the one process.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pathlib
import time
from collections.abc import Sequence

from absl import flags

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.datasets import Dataset, load_dataset
from layernas_tf.evaluators.base import Evaluator
from layernas_tf.evaluators.keras_evaluator import KerasEvaluator
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.space.budget import parse_budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.training.recipe import Recipe
from layernas_tf.workers.child_process import ChildProcess
from search_spaces.registry import get_space

FIRST = 20
"""The trial that the last one is compared with."""

_TRIALS = flags.DEFINE_integer(
    "trials", 200, "Trials of the search.", lower_bound=FIRST
)
_SPACE = flags.DEFINE_string("space", "mobilenet_v3_small", "Search space.")
_BUDGET = flags.DEFINE_string("budget", "madds<=60%", "Budget of the search.")
_IMAGES = flags.DEFINE_integer(
    "images", 80, "Images, those for validation included.", lower_bound=40
)
_TRIALS_PER_PROCESS = flags.DEFINE_integer(
    "trials_per_process",
    SearchConfig.trials_per_process,
    "As for the search.",
    lower_bound=0,
)
_EVERY = flags.DEFINE_integer("every", 20, "Trials between two rows.", lower_bound=1)


def resident_mib() -> float:
    """Resident size of this process and its children in MiB; Linux only."""
    ids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    try:
        pages = sum(
            int(pathlib.Path(f"/proc/{number}/statm").read_text().split()[1])
            for number in ids
        )
    except OSError as error:
        raise UserError(f"expected Linux with /proc: {error}") from error
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def load_space(name: str, dataset: Dataset) -> SearchSpace:
    """The space for the data set's images."""
    return get_space(
        name,
        resolution=dataset.shape[0],
        classes=dataset.classes,
        channels=dataset.shape[2],
    )


def make_evaluator(space: str, images: int) -> KerasEvaluator:
    """Trains for a few steps."""
    dataset = load_dataset("digits", limit=images)
    return KerasEvaluator(load_space(space, dataset), dataset, Recipe(1, 16), seed=0)


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    del argv
    make = functools.partial(make_evaluator, _SPACE.value, _IMAGES.value)
    evaluator: Evaluator = (
        ChildProcess(make, _TRIALS_PER_PROCESS.value)
        if _TRIALS_PER_PROCESS.value
        else make()
    )
    space = load_space(_SPACE.value, load_dataset("digits", limit=_IMAGES.value))
    algorithm = LayerNAS(space, [parse_budget(_BUDGET.value, space)], seed=0)
    started = time.perf_counter()
    resident = {}
    print(f"{'trial':>6} {'MiB':>8} {'seconds per trial':>18}")
    for number in range(1, _TRIALS.value + 1):
        candidate = algorithm.ask()
        if candidate is None:
            raise UserError(f"the search ended by itself before trial {number}")
        algorithm.tell(candidate, evaluator(candidate).reward)
        resident[number] = resident_mib()
        if number in (1, FIRST, _TRIALS.value) or number % _EVERY.value == 0:
            seconds = (time.perf_counter() - started) / number
            print(f"{number:>6} {resident[number]:>8.0f} {seconds:>18.2f}", flush=True)
    last, most = resident[_TRIALS.value], max(resident.values())
    print(f"after {_TRIALS.value} trials / after {FIRST}: {last / resident[FIRST]:.3f}")
    print(f"largest / after {FIRST}: {most / resident[FIRST]:.3f}")


if __name__ == "__main__":
    run_main(main)
