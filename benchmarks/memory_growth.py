"""Memory of a long search in one process: resident size by trial.

    python -m benchmarks.memory_growth

LayerNAS searches as in a real run, but every training is a few steps short. The last
line is the resident size after the last trial over that after trial 20.
"""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Sequence

from absl import flags

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.budget import parse_budget
from layernas_tf.datasets import load_dataset
from layernas_tf.errors import UserError, run_main
from layernas_tf.evaluators.keras_evaluator import KerasEvaluator
from layernas_tf.recipe import Recipe
from search_spaces.registry import get_space

FIRST = 20
"""The trial that the last one is compared with."""

_TRIALS = flags.DEFINE_integer("trials", 200, "Trials.", lower_bound=FIRST)
_SPACE = flags.DEFINE_string("space", "mobilenet_v3_small", "Search space.")
_BUDGET = flags.DEFINE_string("budget", "madds<=60%", "Budget of the search.")
_IMAGES = flags.DEFINE_integer(
    "images", 80, "Images, those for validation included.", lower_bound=40
)
_EVERY = flags.DEFINE_integer("every", 20, "Trials between two rows.", lower_bound=1)


def resident_mib() -> float:
    """Resident size of this process in MiB; Linux only."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError as error:
        raise UserError(f"expected Linux with /proc: {error}") from error
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    del argv
    dataset = load_dataset("digits", limit=_IMAGES.value)
    space = get_space(
        _SPACE.value,
        resolution=dataset.shape[0],
        classes=dataset.classes,
        channels=dataset.shape[2],
    )
    evaluator = KerasEvaluator(space, dataset, Recipe(1, 16), seed=0)
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
    ratio = resident[_TRIALS.value] / resident[FIRST]
    print(f"resident size after {_TRIALS.value} trials / after {FIRST}: {ratio:.3f}")


if __name__ == "__main__":
    run_main(main)
