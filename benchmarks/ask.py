"""How long an ask of `layernas_bayes` takes, and what its cost buckets lose.

    python -m benchmarks.ask --space=mobilenet_v3_large

Rewards are drawn from an additive model of the space, with noise. Prints the mean time
of an ask (of the latest 50) as the trials grow, and for several numbers of cost buckets
how far the best architecture of the memorial table is below that of a far finer table,
in standard deviations of random architectures inside the budget.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence

# Small matrices: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
from absl import flags  # noqa: E402

from layernas_tf.algorithms.layernas_bayes import LayerNASBayes
from layernas_tf.algorithms.memorial_solver import UNITS, MemorialSolver
from layernas_tf.core.app import run_main
from layernas_tf.space.budget import parse_budget
from layernas_tf.space.completions import BudgetedChain
from search_spaces.registry import get_space

_LATEST = 50
_FINE = 8192
_DRAWS = 20
_NOISE = 0.3


def ask_times(search: LayerNASBayes, weights: np.ndarray, trials: int) -> np.ndarray:
    """CPU seconds of each ask of a search whose rewards are drawn, `(N,)`."""
    rng = np.random.default_rng(0)
    seconds = np.empty(trials)
    for trial in range(trials):
        started = time.process_time()
        candidate = search.ask()
        seconds[trial] = time.process_time() - started
        assert candidate is not None  # the spaces are far larger than the searches
        reward = search.effects.row(candidate.architecture) @ weights
        search.tell(candidate, float(reward + _NOISE * rng.standard_normal()))
    return seconds


def losses(
    search: LayerNASBayes, budgeted: BudgetedChain, draws: np.ndarray, units: int
) -> np.ndarray:
    """What a table of that many buckets loses at each draw, float array `(N,)`."""
    coarse = MemorialSolver(search.effects, budgeted, units)
    fine = MemorialSolver(search.effects, budgeted, _FINE)
    rng = np.random.default_rng(0)
    rows = np.array([search.effects.row(budgeted.sample(rng)) for _ in range(200)])
    found = []
    for weights in draws:
        scores = search.effects.scores(weights)
        best, _ = next(fine.solutions(scores))
        near, _ = next(coarse.solutions(scores))
        found.append((best - near) / np.std(rows @ weights))
    return np.array(found)


def main(argv: Sequence[str]) -> None:
    """Prints what the buckets lose and the times of asks."""
    del argv
    space = get_space(flags.FLAGS.space)
    budgets = (parse_budget(flags.FLAGS.budget, space),)
    search = LayerNASBayes(space, budgets)
    rng = np.random.default_rng(1)
    draws = 0.3 * rng.standard_normal((_DRAWS, len(search.effects)))
    print(f"{space.name}, {budgets[0]}: {len(search.effects)} effects")
    for units in sorted({UNITS // 4, UNITS, UNITS * 4}):
        lost = losses(search, BudgetedChain(space.chain, budgets), draws, units)
        print(
            f"{units:>6} buckets: loss {lost.mean():.3f} standard deviations in the "
            f"mean, {lost.max():.3f} at most"
        )
    seconds = ask_times(search, draws[0], flags.FLAGS.trials)
    points = itertools.takewhile(
        lambda n: n <= len(seconds), (50, 100, 200, 500, 1000, 2000)
    )
    for trials in points:
        mean = seconds[trials - _LATEST : trials].mean()
        print(f"{trials:>6} trials: {1000 * mean:.1f} ms of CPU per ask")


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("space", "mobilenet_v3_large", "As for the search.")
    flags.DEFINE_string("budget", "madds<=60%", "As for the search.")
    flags.DEFINE_integer("trials", 1000, "Trials to time.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
