"""Evaluation in a child process: its answers, its renewal, and its end."""

from __future__ import annotations

import functools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest

from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import Evaluation, TrialFailure
from layernas_tf.space.candidate import Candidate
from layernas_tf.workers.attempts import ONCE, Attempts
from layernas_tf.workers.child_process import ChildProcess
from tests.worker_evaluator import evaluator_in

_ROOT = pathlib.Path(__file__).resolve().parent.parent

KILLED, RAISES, CRASHES, LEAVES = 1, 2, 3, 4


def make_evaluator():
    """An evaluator that, by the candidate's first option, fails in some way."""

    def evaluate(candidate: Candidate) -> Evaluation:
        what = candidate.architecture[0]
        if what == RAISES:
            raise ValueError("loss is\nno number")
        if what == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == CRASHES:
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == LEAVES:
            os._exit(7)
        return Evaluation(candidate.number / 2, {"process": os.getpid()})

    return evaluate


def make_nothing():
    """Cannot make an evaluator."""
    raise UserError("data set 'gone.npz': no such file")


def sleep_long(marker: str):
    """An evaluator that writes its process's number and never comes back."""

    def evaluate(candidate: Candidate) -> Evaluation:
        pathlib.Path(marker).write_text(str(os.getpid()))
        time.sleep(600)
        return Evaluation(0.0)

    return evaluate


def _alive(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] != "Z"


class ChildProcessTest(absltest.TestCase):
    def child(
        self, make=make_evaluator, trials: int = 100, attempts: Attempts = ONCE
    ) -> ChildProcess:
        child = ChildProcess(make, trials, attempts)
        self.addCleanup(child.close)
        return child

    def test_answers_come_from_another_process(self):
        evaluate = self.child()
        first, second = evaluate(Candidate((0,), 3)), evaluate(Candidate((0,), 5))
        self.assertEqual((first.reward, second.reward), (1.5, 2.5))
        self.assertNotEqual(first.metrics["process"], os.getpid())
        self.assertEqual(first.metrics["process"], second.metrics["process"])

    def test_the_process_is_renewed(self):
        evaluate = self.child(trials=2)
        pids = [evaluate(Candidate((0,), i)).metrics["process"] for i in range(5)]
        self.assertEqual([pids[0], pids[2], pids[4]], [pids[1], pids[3], pids[4]])
        self.assertLen(set(pids), 3)
        self.assertFalse(_alive(int(pids[0])))

    def test_a_failure_keeps_its_reason_and_the_process(self):
        evaluate = self.child()
        before = evaluate(Candidate((0,), 0)).metrics["process"]
        with self.assertRaises(TrialFailure) as caught:
            evaluate(Candidate((RAISES,), 1))
        self.assertEqual(str(caught.exception), "ValueError: loss is no number")
        self.assertEqual(evaluate(Candidate((0,), 2)).metrics["process"], before)

    def test_a_death_fails_one_trial(self):
        evaluate = self.child()
        for what, reason in (
            (KILLED, "the training process was killed, maybe because memory ran out"),
            (CRASHES, "the training process died of SIGSEGV"),
            (LEAVES, "the training process ended by itself with exit code 7"),
        ):
            with self.assertRaises(TrialFailure) as caught:
                evaluate(Candidate((what,), 0))
            self.assertEqual(str(caught.exception), reason)
            self.assertEqual(evaluate(Candidate((0,), 4)).reward, 2.0)

    def test_an_evaluator_that_cannot_be_made_says_why(self):
        evaluate = self.child(make_nothing)
        with self.assertRaisesRegex(TrialFailure, "^data set 'gone.npz': no such file"):
            evaluate(Candidate((0,), 0))

    def test_a_killed_child_is_tried_again(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        said = []
        evaluate = self.child(
            functools.partial(evaluator_in, folder),
            attempts=Attempts(retries=1, say=said.append),
        )
        pathlib.Path(folder, "kill_once_3").touch()
        self.assertGreater(evaluate(Candidate((0,) * 5, 3)).reward, 0)
        reason = "the training process was killed, maybe because memory ran out"
        self.assertEqual(said, [f"trial 3: {reason}; tried again"])

        pathlib.Path(folder, "kill_4").touch()
        with self.assertRaises(TrialFailure) as caught:
            evaluate(Candidate((1,) * 5, 4))
        self.assertEqual(str(caught.exception), f"{reason}; tried 2 times")
        attempts = pathlib.Path(folder, "attempts").read_text().split()
        self.assertEqual(attempts, ["3", "3", "4", "4"])

    def test_a_child_past_its_time_is_tried_again_then_fails(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        pathlib.Path(folder, "hang_1").touch()
        evaluate = self.child(
            functools.partial(evaluator_in, folder),
            attempts=Attempts(timeout=2.0, retries=1),
        )
        process = int(evaluate(Candidate((0,) * 5, 0)).metrics["pid"])
        with self.assertRaises(TrialFailure) as caught:
            evaluate(Candidate((1,) * 5, 1))
        self.assertEqual(
            str(caught.exception), "not done after 2 s (`trial_timeout`); tried 2 times"
        )
        self.assertFalse(_alive(process))
        self.assertGreater(evaluate(Candidate((2,) * 5, 2)).reward, 0)

    def test_what_the_evaluator_raises_is_not_tried_again(self):
        evaluate = self.child(attempts=Attempts(retries=3, say=self.fail))
        with self.assertRaisesRegex(TrialFailure, "^ValueError: loss is no number$"):
            evaluate(Candidate((RAISES,), 1))

    def test_the_child_ends_with_a_parent_that_is_killed(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        marker = pathlib.Path(folder) / "pid"
        code = (
            "from tests.child_process_test import killed_parent\n"
            f"killed_parent({str(marker)!r})\n"
        )
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])
        }
        parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
        self.addCleanup(parent.kill)
        pid = _number(marker)
        self.assertTrue(_alive(pid))
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 20
        while _alive(pid):
            self.assertLess(time.monotonic(), deadline, "the child lives on")
            time.sleep(0.05)


def killed_parent(marker: str) -> None:
    """Waits for a child that never answers."""
    ChildProcess(functools.partial(sleep_long, marker), 1)(Candidate((0,), 0))


def _number(path: pathlib.Path) -> int:
    deadline = time.monotonic() + 60
    while True:
        text = path.read_text() if path.exists() else ""
        if text:
            return int(text)
        if time.monotonic() > deadline:
            raise AssertionError(f"nothing was written to {path}")
        time.sleep(0.05)


if __name__ == "__main__":
    absltest.main()
