"""Runs of algorithms on a table, also in several processes; each one gets a file."""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import threadpoolctl

from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.comparison.table_search import Curve, run_algorithm
from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.core.files import write_json, write_text
from layernas_tf.core.user_code import parse_reference, refers_to_file
from layernas_tf.space.budget import Budget
from layernas_tf.tabular.table import Table
from layernas_tf.workers.child_process import end_with_parent

_COLUMNS = ["trial", "valid", "test", "recommended_valid", "recommended_test"]


@dataclasses.dataclass(frozen=True)
class Setting:
    """Everything that the outcome of a run depends on, besides algorithm and seed.

    Example:
      Setting(
          "burger", "", "burger", 12, ("price<=60%",), RewardShape(), seed=0
      )

    Attributes:
      benchmark: Name of the benchmark.
      table: Path of the table's file or folder; empty for a computed table.
      dataset: What the table's architectures were trained on.
      signal_hp: For NATS-Bench, the number of epochs after which the signal is taken.
      budgets: The budgets as the user wrote them.
      shape: How the cost enters the reward of algorithms without constraints; `beta`
        as a share of the best possible reward.
      seed: Run `i` has the seed `seed + i`.
    """

    benchmark: str
    table: str
    dataset: str
    signal_hp: int
    budgets: tuple[str, ...]
    shape: RewardShape
    seed: int

    def identity(self) -> dict[str, object]:
        """What a folder of runs records, to refuse runs of another setting."""
        identity = dataclasses.asdict(self)
        identity["table"] = _digest(self.table) if self.table else ""
        identity["budgets"] = list(self.budgets)
        if refers_to_file(self.benchmark):
            digest = parse_reference("benchmark", self.benchmark).digest()
            identity["benchmark"] = f"{self.benchmark} {digest}"
        return identity


@dataclasses.dataclass(frozen=True, order=True)
class Job:
    """One run of one algorithm.

    Example: `Job("layernas", run=0, trials=400)`.

    Attributes:
      algorithm: Name of the algorithm.
      run: The run's number, counted from 0.
      trials: Number of evaluations.
    """

    algorithm: str
    run: int
    trials: int


def claim_folder(out: str, setting: Setting) -> None:
    """Makes the output folder, or checks that its runs are of the same setting.

    Raises:
      UserError: The folder holds runs of another setting, or cannot be written.
    """
    path = os.path.join(out, "config.json")
    identity = json.loads(json.dumps(setting.identity()))
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
    except FileNotFoundError:
        known = None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}), expected JSON") from None
    if known is None:
        write_json(path, dict(sorted(identity.items())))
        return
    if not isinstance(known, dict):
        known = {}
    for name, value in identity.items():
        if known.get(name) != value:
            raise UserError(
                f"`out` {out!r} holds runs with {name}={known.get(name)!r}, these have "
                f"{value!r}: choose another folder"
            )


def read_run(out: str, job: Job) -> Curve | None:
    """Reads a finished run; None if there is none or it is too short.

    Of a longer run, the first trials are taken: a search does not depend on how long it
    goes on.
    """
    try:
        with open(_path(out, job), newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        numbers = [str(trial + 1) for trial in range(len(rows))]
        if header != _COLUMNS or [row[0] for row in rows] != numbers:
            return None
        if len(rows) < job.trials:
            return None
        figures = (
            np.array([float(row[column]) if row[column] else np.nan for row in rows])
            for column in range(1, len(_COLUMNS))
        )
        return Curve(*(values[: job.trials] for values in figures))
    except (OSError, ValueError, IndexError):
        return None


def _write_run(out: str, job: Job, curve: Curve) -> None:
    lines = [",".join(_COLUMNS)]
    columns = (getattr(curve, name) for name in _COLUMNS[1:])
    lines += [
        ",".join((str(trial), *map(format_value, values)))
        for trial, values in enumerate(zip(*columns), start=1)
    ]
    write_text(_path(out, job), "\n".join(lines) + "\n")


def format_value(value: float) -> str:
    """A number as a CSV cell, with all its digits; empty for NaN."""
    return "" if np.isnan(value) else repr(float(value))


def _path(out: str, job: Job) -> str:
    name = job.algorithm
    if refers_to_file(name):
        # A file that is changed makes another algorithm, which has no runs yet.
        code = parse_reference("algorithm", name)
        place = hashlib.sha256(str(code.path.resolve()).encode()).hexdigest()[:8]
        name = f"{code.attribute}-{place}-{code.digest()}"
    return os.path.join(out, "runs", f"{name}-{job.run:04d}.csv")


LoadTable = Callable[[Setting], Table]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Set to one thread: the processes are the parallelism, and results must not depend on
how a sum is split."""


def run_all(
    setting: Setting,
    load: LoadTable,
    parse: Callable[[str, Table], Budget],
    jobs: Sequence[Job],
    out: str,
    processes: int,
    done: Callable[[Job], None],
) -> None:
    """Runs jobs, each to its file; calls `done` after each.

    Args:
      setting: The setting that all runs share.
      load: Importable function that loads the table; every process calls it once.
      parse: Importable function that reads a budget.
      jobs: The runs to make.
      out: Folder of the runs.
      processes: Number of runs at the same time; one is made in this process.
      done: Called in this process as the runs finish, in any order.

    Raises:
      UserError: A run raised it. Runs that finished before are kept.
    """
    if processes == 1:
        with _as_in_a_worker():
            loaded = _load(setting, load, parse)
            for job in jobs:
                _run(loaded, job, out)
                done(job)
        return
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    pool = concurrent.futures.ProcessPoolExecutor(
        max(1, min(processes, len(jobs))),
        multiprocessing.get_context("spawn"),
        _start_worker,
        (setting, load, parse),
    )
    try:
        futures = {pool.submit(_work, job, out): job for job in jobs}
        for future in concurrent.futures.as_completed(futures):
            future.result()
            done(futures[future])
    finally:
        pool.shutdown(cancel_futures=True)


class _Loaded(NamedTuple):
    setting: Setting
    table: Table
    budgets: list[Budget]


_NOISE = logging.WARNING
"""Optuna's Gaussian process warns whenever a fit fails, and goes on without it."""

_loaded: list[_Loaded] = []
"""In a worker process, what all its runs share."""


def _start_worker(
    setting: Setting, load: LoadTable, parse: Callable[[str, Table], Budget]
) -> None:
    end_with_parent()
    logging.disable(_NOISE)
    _loaded.append(_load(setting, load, parse))


def _work(job: Job, out: str) -> None:
    (loaded,) = _loaded
    _run(loaded, job, out)


def _load(
    setting: Setting, load: LoadTable, parse: Callable[[str, Table], Budget]
) -> _Loaded:
    table = load(setting)
    return _Loaded(setting, table, [parse(text, table) for text in setting.budgets])


@contextlib.contextmanager
def _as_in_a_worker() -> Iterator[None]:
    """Lets this process compute and log as a worker does, and afterwards as before."""
    missing = [name for name in _THREADS if name not in os.environ]
    disabled = logging.root.manager.disable
    # Libraries that are loaded only now read these; the limit is for the others.
    os.environ.update(dict.fromkeys(missing, "1"))
    logging.disable(_NOISE)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        logging.disable(disabled)
        for name in missing:
            os.environ.pop(name, None)


def _run(loaded: _Loaded, job: Job, out: str) -> None:
    curve = run_algorithm(
        job.algorithm,
        loaded.table,
        loaded.budgets,
        job.trials,
        loaded.setting.seed + job.run,
        loaded.setting.shape,
    )
    _write_run(out, job, curve)


def _digest(path: str) -> str:
    """A digest of a file's content, or of the names and sizes of a folder's files."""
    digest = hashlib.sha256()
    try:
        if os.path.isdir(path):
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                digest.update(f"{entry.name}:{entry.stat().st_size}\n".encode())
        else:
            with open(path, "rb") as file:
                digest.update(file.read())
    except OSError as error:
        raise UserError(
            f"`table` {path!r}: cannot be read: {reason_of(error)}"
        ) from None
    return digest.hexdigest()[:16]
