"""One study of 100,000 trials: time of an ask and tell, of a resume, and of the files.

    python -m benchmarks.large_study
    python -m benchmarks.large_study --algorithms=layernas_bayes --trials=5000

Rewards come from a synthetic table of 8 ** 12 architectures. The asks and tells are
timed in memory, without a database. The study is then written into the database's
tables as the search would have left it, opened, and its files written. It takes some
minutes, and with `layernas_bayes` more than an hour; `--trials=5000` is quick.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from absl import flags  # noqa: E402

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.datasets import load_dataset
from layernas_tf.pipeline.baseline import Baseline
from layernas_tf.pipeline.export_winner import ExportedWinner
from layernas_tf.pipeline.final_trainer import Training
from layernas_tf.pipeline.finalists import Finalist
from layernas_tf.pipeline.finals import Finals
from layernas_tf.pipeline.results import report_data
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.report import write_report
from layernas_tf.space.budget import parse_budget
from layernas_tf.study.open_storage import open_storage, sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.study.optuna_trial import distributions, template
from layernas_tf.study.study import Study
from layernas_tf.study.trial import Trial
from search_spaces.tabular.synthetic import synthetic

_TABLE = synthetic(layers=12, options=8, buckets=600)
_SPACE = _TABLE.space
_BUDGETS = (parse_budget("cost<=60%", _SPACE),)


def algorithm(name: str) -> Algorithm:
    """The algorithm in its first state."""
    return make_algorithm(name, _SPACE, _BUDGETS, 0)


def asks_and_tells(name: str, trials: int) -> tuple[list[Trial], float]:
    """What a search tries, and CPU seconds of an ask and tell."""
    search = algorithm(name)
    tried, seconds = [], 0.0
    for number in range(trials):
        started = time.process_time()
        candidate = search.ask(number)
        seconds += time.process_time() - started
        if candidate is None:
            break  # nothing is left that it would try
        reward = _TABLE.query(candidate.architecture).valid
        _, costs = _SPACE.chain.walk(candidate.architecture)
        started = time.process_time()
        search.tell(candidate, reward)
        seconds += time.process_time() - started
        tried.append(
            Trial(
                number=number,
                architecture=candidate.architecture,
                costs=costs,
                asked_after=number,
                layer=candidate.layer,
                state="complete",
                told=number,
                reward=reward,
                seconds=1.0,
            )
        )
    return tried, seconds / len(tried)


def write_study(url: str, tried: Sequence[Trial]) -> None:
    """Writes the trials as the search would, in a single transaction."""
    storage = open_storage(url, "search")
    storage.settle({"space": _SPACE.name, "budgets": list(map(str, _BUDGETS))})
    options = distributions(_SPACE)
    with storage.transaction() as connection:
        for trial in tried:
            row = template(_SPACE, options, _BUDGETS, trial, {})
            stored = storage.insert(connection, trial.number, row)
            result: dict[str, Any] = {
                "seconds": trial.seconds,
                "metrics": {},
                "reason": "",
            }
            attributes = {"result": result, "told": trial.told}
            storage.finish(connection, stored, attributes, trial.reward)


def finals(study: Study, folder: pathlib.Path) -> Finals:
    """What the final trainings would have given, by the table."""

    def training(architecture: tuple[int, ...]) -> Training:
        figures = _TABLE.query(architecture)
        return Training(
            architecture,
            0,
            figures.valid,
            valid_loss=0.0,
            seconds=1.0,
            test_accuracy=figures.test,
            test_loss=0.0,
        )

    best = study.algorithm.best
    assert best is not None
    winner = Finalist(best.architecture, None, best.reward, best.quality)
    trained = training(winner.architecture)
    default = Baseline("default network", _SPACE, _SPACE.default)
    return Finals(
        ((winner, trained),),
        winner,
        "",
        (trained,),
        default,
        (training(_SPACE.default),),
        None,
        folder,
    )


def measure(name: str, trials: int, folder: pathlib.Path) -> None:
    """Prints all figures of one algorithm."""
    tried, seconds = asks_and_tells(name, trials)
    print(f"{name}: {len(tried):,} trials")
    print(f"  ask and tell: {1000 * seconds:.3f} ms, mean", flush=True)
    url = sqlite_url(folder / "study.db")
    write_study(url, tried)
    started = time.perf_counter()
    study = open_study(url, "search", _SPACE, _BUDGETS, lambda: algorithm(name))
    seconds = time.perf_counter() - started
    if not (study.exact and study.trials == tried):
        raise UserError("the study was not rebuilt as it was")
    megabytes = (folder / "study.db").stat().st_size / 1e6
    print(f"  resume: {seconds:.1f} s; study.db {megabytes:.0f} MB", flush=True)
    started = time.perf_counter()
    TrialsCsv(folder / "trials.csv", _SPACE, _BUDGETS).rewrite(study.trials)
    print(f"  trials.csv: {_made(folder / 'trials.csv', started)}")
    started = time.perf_counter()
    facts = {"dataset": "synthetic", "algorithm": name}
    data = report_data(
        study,
        [ExportedWinner(finals(study, folder), (), 0.0)],
        config=facts,
        notes=(),
        seconds={},
        dataset=load_dataset("digits"),
        reward_name="reward",
        reward_is_share=False,
    )
    write_report(data, folder / "report.html")
    print(f"  report.html: {_made(folder / 'report.html', started)}", flush=True)


def _made(path: pathlib.Path, started: float) -> str:
    seconds = time.perf_counter() - started
    return f"{path.stat().st_size / 1e6:.1f} MB in {seconds:.1f} s"


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_integer("trials", 100_000, "Trials of the study.", lower_bound=1)
    flags.DEFINE_list("algorithms", ["random", "layernas"], "Algorithms to measure.")


def main(argv: Sequence[str]) -> None:
    """Measures each algorithm and prints its times."""
    del argv
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in flags.FLAGS.algorithms:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, flags.FLAGS.trials, pathlib.Path(folder))


if __name__ == "__main__":
    define_flags()
    run_main(main)
