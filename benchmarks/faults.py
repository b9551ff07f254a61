"""Kills searches at random moments, and says what was lost.

    python -m benchmarks.faults
    python -m benchmarks.faults --workers=2

A small search (`benchmarks.table_search`) is killed with SIGKILL at a random moment of
its life, from the start of its process to its end, and the same command is run again,
until it has finished. Further searches follow until there have been `--kills` kills.
With one worker the driver is killed; with more, the driver and one of its workers in
turn, the worker while it evaluates.

After every kill, the trials that had been told before (their lines in trials.csv) must
be in the study as they were. After every search, no architecture may have been tried
twice, no file may be incomplete, and with one worker all trials must equal those of an
uninterrupted search.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import functools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from absl import flags

from benchmarks.table_search import EVALUATIONS, open_table_study
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.study.trial import Trial

_ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Command:
    """How the search is run.

    Example: `Command(trials=60, seconds=0.5, workers=1, address="").start(folder)`.

    Attributes:
      trials: Of each search.
      seconds: Of each trial.
      workers: Of the search.
      address: Of the Ray cluster, for more than one.
    """

    trials: int
    seconds: float
    workers: int
    address: str

    def start(self, folder: pathlib.Path) -> subprocess.Popen:
        """Starts it in a workdir; its errors go to a file there."""
        arguments = [
            *(sys.executable, "-m", "benchmarks.table_search"),
            f"--workdir={folder / 'workdir'}",
            f"--trials={self.trials}",
            f"--seconds={self.seconds}",
            f"--workers={self.workers}",
            f"--ray_address={self.address}",
        ]
        with open(folder / "errors", "a", encoding="utf-8") as errors:
            return subprocess.Popen(
                arguments, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=errors
            )


def told(workdir: pathlib.Path) -> list[dict[str, str]]:
    """The whole lines of trials.csv."""
    try:
        text = (workdir / "trials.csv").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def lost(before: Sequence[dict[str, str]], trials: Sequence[Trial]) -> list[str]:
    """What the study has lost or changed of the trials that were told."""
    problems = []
    for row in before:
        number = int(row["number"])
        if number >= len(trials):
            problems.append(f"trial {number} is gone")
            continue
        trial = trials[number]
        architecture = " ".join(map(str, trial.architecture))
        reward = "" if trial.reward is None else repr(trial.reward)
        if (row["architecture"], row["reward"]) != (architecture, reward):
            problems.append(f"trial {number} has changed")
    return problems


def wrong(folder: pathlib.Path, command: Command, whole: Sequence[Trial]) -> list[str]:
    """What is wrong with a finished search.

    Args:
      folder: Of the search.
      command: That ran it.
      whole: The trials of an uninterrupted search with one worker.
    """
    workdir = folder / "workdir"
    study = open_table_study(workdir)
    trials = study.trials
    problems = []
    if [trial.state for trial in trials] != ["complete"] * command.trials:
        states = collections.Counter(trial.state for trial in trials)
        problems.append(f"its trials are {dict(states)}")
    if len({trial.architecture for trial in trials}) < len(trials):
        problems.append("an architecture was tried twice")
    if not study.exact:
        problems.append("the algorithm's state cannot be rebuilt")
    rows = told(workdir)
    if sorted(int(row["number"]) for row in rows) != list(range(command.trials)):
        problems.append("trials.csv does not have every trial once")
    problems += lost(rows, trials)
    if command.workers == 1 and _key(trials) != _key(whole):
        problems.append("its trials are not those of an uninterrupted search")
    result = json.loads((workdir / "result.json").read_text(encoding="utf-8"))
    best = study.algorithm.best
    if best is None or result != [list(best.architecture), best.reward]:
        problems.append("result.json is of another search")
    left = [path.name for path in workdir.rglob(".*.tmp*")]
    if left:
        problems.append(f"half files: {', '.join(left)}")
    return problems


def _key(trials: Sequence[Trial]) -> list:
    return [(t.number, t.architecture, t.reward, t.told, t.layer) for t in trials]


def worker(workdir: pathlib.Path, after: int) -> int | None:
    """A process of Ray that evaluated lately; None if none does.

    Args:
      workdir: Of the search.
      after: Bytes of the evaluations' file that are of an earlier driver.
    """
    with contextlib.suppress(OSError, IndexError):
        lines = (workdir / EVALUATIONS).read_text(encoding="utf-8")[after:].split("\n")
        pid = int(lines[-2].split()[1])
        name = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        return pid if name.startswith(b"ray::_Process") else None
    return None


def strike(
    process: subprocess.Popen, seconds: float, victim: Callable[[], int | None]
) -> bool:
    """Kills the victim, a number of seconds after it has appeared.

    Returns:
      Whether it was killed; False if the search ended before.
    """
    end = None
    while process.poll() is None:
        pid = victim()
        if pid is not None and end is None:
            end = time.monotonic() + seconds
        if pid is not None and end is not None and time.monotonic() >= end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        time.sleep(0.002)
    return False


def _always(pid: int) -> Callable[[], int]:
    return lambda: pid


def run_whole(command: Command, folder: pathlib.Path) -> float:
    """Seconds that the search takes when nothing is killed."""
    folder.mkdir()
    started = time.monotonic()
    if command.start(folder).wait():
        raise UserError((folder / "errors").read_text(encoding="utf-8").strip())
    return time.monotonic() - started


@dataclasses.dataclass
class Kills:
    """How many kills are wanted, and how many there were.

    Example: `Kills(wanted=20, drivers=3, workers=4).done` is 7.
    """

    wanted: int
    drivers: int = 0
    workers: int = 0

    @property
    def done(self) -> int:
        """The kills so far."""
        return self.drivers + self.workers


def attack(
    command: Command,
    folder: pathlib.Path,
    kills: Kills,
    length: float,
    rng: random.Random,
) -> list[str]:
    """Runs a search and kills its processes until it ends or there were enough kills.

    Args:
      command: What runs the search.
      folder: Of the search.
      kills: Where the kills are counted.
      length: Seconds of the search when nothing is killed.
      rng: Chooses the moments.

    Returns:
      What was lost.
    """
    workdir = folder / "workdir"
    log = workdir / EVALUATIONS
    evaluating = command.trials * command.seconds / command.workers
    problems = []
    while True:
        old = log.stat().st_size if log.exists() else 0
        process = command.start(folder)
        while kills.done < kills.wanted and process.poll() is None:
            if command.workers > 1 and kills.workers < kills.drivers:
                find = functools.partial(worker, workdir, old)
                if strike(process, rng.uniform(0, evaluating), find):
                    kills.workers += 1
            elif strike(process, rng.uniform(0, length), _always(process.pid)):
                kills.drivers += 1
                process.wait()
        if process.wait() != -signal.SIGKILL:
            break
        before = told(workdir)
        if before:
            problems += lost(before, open_table_study(workdir).trials)
    if process.returncode:
        text = (folder / "errors").read_text(encoding="utf-8").strip()
        problems.append(f"it ended with {text or process.returncode}")
    return problems


def measure(command: Command, wanted: int, seed: int) -> tuple[int, Kills, list[str]]:
    """Kills; returns the number of searches, the kills, and what was wrong."""
    rng = random.Random(seed)
    kills = Kills(wanted)
    problems: list[str] = []
    searches = 0
    with tempfile.TemporaryDirectory() as temporary:
        base = pathlib.Path(temporary)
        alone = dataclasses.replace(command, workers=1, address="")
        length = run_whole(alone, base / "alone")
        whole = open_table_study(base / "alone" / "workdir").trials
        if command.workers > 1:
            length = run_whole(command, base / "whole")
        while kills.done < wanted:
            searches += 1
            folder = base / f"search{searches}"
            folder.mkdir()
            found = attack(command, folder, kills, length, rng)
            found = found or wrong(folder, command, whole)
            problems += [f"search {searches}: {problem}" for problem in found]
            print(f"{kills.done} kills, {searches} searches, {len(problems)} problems")
    return searches, kills, problems


def main(argv: Sequence[str]) -> None:
    """Kills searches and prints what was lost."""
    del argv
    given = flags.FLAGS
    address = ""
    if given.workers > 1:
        # The harder case: workers of a cluster outlive a driver for a moment, while
        # those of a local Ray die with it.
        import ray

        from layernas_tf.workers.ray_cluster import connect

        connect("")
        address = ray.get_runtime_context().gcs_address
    command = Command(given.trials, given.seconds, given.workers, address)
    searches, kills, problems = measure(command, given.kills, given.seed)
    for problem in problems:
        print(problem)
    hit = len({problem.partition(":")[0] for problem in problems})
    print(
        f"{kills.done} kills ({kills.drivers} of drivers, {kills.workers} of workers) "
        f"in {searches} searches of {given.trials} trials: "
        + ("nothing was lost" if not hit else f"{hit} searches were damaged")
    )
    if problems:
        sys.exit(1)


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_integer("kills", 100, "Number of kills.", lower_bound=1)
    flags.DEFINE_integer("trials", 30, "Trials of each search.", lower_bound=1)
    flags.DEFINE_float("seconds", 0.02, "Duration of a trial.", lower_bound=0)
    flags.DEFINE_integer("workers", 1, "Workers of each search.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the moments.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
