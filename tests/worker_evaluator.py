"""An evaluator for worker processes that does what files ask of it."""

from __future__ import annotations

import os
import pathlib
import signal
import time

from layernas_tf.evaluators.base import Evaluation
from layernas_tf.space.candidate import Candidate
from search_spaces.tabular.synthetic import synthetic

TABLE = synthetic(layers=5, options=4, buckets=30)


def evaluator_in(folder: str):
    """An evaluator that says who evaluates, and does what the folder's files ask.

    `kill_3` has trial 3 kill its worker; `kill_once_3` only the first time; `hang_3`
    has it sleep; `raise_3` has it raise; `meet` has trial 0 wait for another.
    """
    path = pathlib.Path(folder)
    with open(path / "loads", "a") as file:
        file.write("x")
    if (path / "broken").exists():
        raise FileNotFoundError("no data set on this node")
    if (path / "dying").exists():
        os.kill(os.getpid(), signal.SIGKILL)

    def attempts() -> int:
        return len((path / "attempts").read_text().split())

    def evaluate(candidate: Candidate) -> Evaluation:
        number = candidate.number
        with open(path / "attempts", "a") as file:
            file.write(f"{number}\n")
        while (path / "meet").exists() and number == 0 and attempts() < 2:
            time.sleep(0.01)
        if (path / f"kill_once_{number}").exists():
            (path / f"kill_once_{number}").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if (path / f"kill_{number}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (path / f"hang_{number}").exists():
            time.sleep(1000)
        if (path / f"raise_{number}").exists():
            raise ValueError("no such layer")
        valid = TABLE.query(candidate.architecture).valid
        return Evaluation(valid, {"pid": float(os.getpid())})

    return evaluate
