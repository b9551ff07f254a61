"""Workers that are killed, hang or cannot start: their trials are tried again."""

from __future__ import annotations

import functools
import os
import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
from rich.console import Console

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.loop import search
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.study.open_storage import sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.workers.attempts import Attempts
from layernas_tf.workers.limits import gpu_memory_mib
from layernas_tf.workers.ray_cluster import Resources, connect, shares
from layernas_tf.workers.ray_workers import RayWorkers
from tests.worker_evaluator import TABLE, evaluator_in


class RayWorkersTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        import ray

        # One Ray for all tests, which they connect to as to a cluster.
        connect("")
        cls.enterClassContext(mock.patch.object(ray, "init"))
        cls.enterClassContext(mock.patch.object(ray, "shutdown"))
        cls.addClassCleanup(ray._private.worker.shutdown)

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.said: list[str] = []

    def test_the_command_line_is_not_recorded(self):
        import ray

        entries = {job["Entrypoint"] for job in ray._private.state.jobs()}
        self.assertEqual(entries, {os.path.basename(sys.argv[0])})

    def workers(
        self, count: int = 2, timeout=None, retries: int = 2, **options
    ) -> RayWorkers:
        executor = RayWorkers(
            functools.partial(evaluator_in, str(self.folder)),
            Resources(count),
            address="auto",
            attempts=Attempts(timeout, retries, self.said.append),
            **options,
        )
        self.addCleanup(executor.close)
        return executor

    def search(self, executor, trials: int):
        space = TABLE.space
        make = functools.partial(make_algorithm, "random", space, (), 0)
        study = open_study(
            sqlite_url(self.folder / "study.db"), "test", space, (), make
        )
        search(
            study,
            executor,
            trials,
            TrialsCsv(self.folder / "trials.csv", space, ()),
            self.folder / "tensorboard",
            Console(quiet=True),
        )
        return study

    def attempts(self, number: int) -> int:
        return (self.folder / "attempts").read_text().split().count(str(number))

    def test_workers_share_the_trials_and_load_once(self):
        (self.folder / "meet").touch()
        study = self.search(self.workers(), 12)

        self.assertEqual([t.state for t in study.trials], ["complete"] * 12)
        self.assertLen({t.architecture for t in study.trials}, 12)
        for trial in study.trials:
            self.assertEqual(trial.reward, TABLE.query(trial.architecture).valid)
        pids = {trial.metrics["pid"] for trial in study.trials}
        self.assertNotIn(os.getpid(), pids)
        self.assertLen(pids, 2)
        self.assertEqual((self.folder / "loads").read_text(), "x" * 2)

    def test_workers_are_renewed(self):
        study = self.search(self.workers(1, trials=2), 5)

        pids = [trial.metrics["pid"] for trial in study.trials]
        self.assertEqual([pids[0], pids[2]], [pids[1], pids[3]])
        self.assertLen(set(pids), 3)

    def test_killed_worker_is_replaced_and_its_trial_tried_again(self):
        (self.folder / "kill_once_3").touch()
        study = self.search(self.workers(), 8)

        self.assertEqual([t.state for t in study.trials], ["complete"] * 8)
        self.assertEqual(self.attempts(3), 2)
        self.assertEqual(self.attempts(4), 1)
        self.assertLen(self.said, 1)
        self.assertStartsWith(self.said[0], "trial 3: the worker was lost: The actor")

    def test_trial_that_always_kills_its_worker_fails_with_the_reason(self):
        (self.folder / "kill_3").touch()
        study = self.search(self.workers(retries=1), 8)

        states = [trial.state for trial in study.trials]
        self.assertEqual(states, ["complete"] * 3 + ["failed"] + ["complete"] * 4)
        reason = study.trials[3].reason
        self.assertRegex(reason, "the worker was lost: .*; tried 2 times$")
        self.assertNotIn("\n", reason)
        self.assertEqual(self.attempts(3), 2)

    def test_trial_past_its_time_is_tried_again_then_fails(self):
        (self.folder / "hang_1").touch()
        executor = self.workers(retries=1, timeout=5.0)
        study = self.search(executor, 4)

        self.assertEqual(study.trials[1].state, "failed")
        self.assertEqual(
            study.trials[1].reason,
            "not done after 5 s (`trial_timeout`); tried 2 times",
        )
        self.assertEqual([study.trials[i].state for i in (0, 2, 3)], ["complete"] * 3)

    def test_exception_of_the_evaluator_fails_the_trial_at_once(self):
        (self.folder / "raise_2").touch()
        study = self.search(self.workers(), 5)

        self.assertEqual(study.trials[2].reason, "ValueError: no such layer")
        self.assertEqual(self.attempts(2), 1)

    def test_worker_that_cannot_load_ends_the_search_with_the_reason(self):
        (self.folder / "broken").touch()
        with self.assertRaisesRegex(
            UserError, "^a worker cannot start: FileNotFoundError: no data set on this"
        ):
            self.search(self.workers(1), 5)

    def test_workers_that_die_while_they_start_end_the_search(self):
        (self.folder / "dying").touch()
        with self.assertRaisesRegex(UserError, "^3 workers in a row died while they"):
            self.search(self.workers(1), 5)

    def test_more_than_this_machine_has_is_refused(self):
        make = functools.partial(evaluator_in, str(self.folder))
        with self.assertRaisesRegex(
            UserError, "`workers`=4 with 200 CPUs each need 800, this machine has"
        ):
            RayWorkers(make, Resources(4, cpus=200.0))
        with self.assertRaisesRegex(UserError, "0.5 GPUs each.*smaller `gpus_per_tri"):
            RayWorkers(make, Resources(400, gpus=0.5))


class SharesTest(parameterized.TestCase):
    @parameterized.parameters(
        (2, {"CPU": 2.0}, (1.0, 0.0)),
        (4, {"CPU": 6.0, "GPU": 2.0}, (1.0, 0.5)),
        (3, {"CPU": 2.0, "GPU": 2.0}, (0.66, 0.5)),  # a third of two would not fit
        (2, {"CPU": 96.0, "GPU": 8.0}, (48.0, 1.0)),
    )
    def test_workers_share_what_there_is(self, workers, there, expected):
        self.assertEqual(shares(there, Resources(workers), local=True), expected)

    def test_what_the_user_says_comes_first(self):
        there = {"CPU": 8.0, "GPU": 1.0}
        wanted = Resources(2, cpus=3.0, gpus=0.25)
        self.assertEqual(shares(there, wanted, local=True), (3.0, 0.25))


class DevicesTest(absltest.TestCase):
    def nvidia_smi(self, body: str) -> None:
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        self.enter_context(mock.patch.dict(os.environ, {"PATH": str(folder)}))

    def test_memory_of_the_smallest_gpu(self):
        self.nvidia_smi("echo 81559\necho 40960")
        self.assertEqual(gpu_memory_mib("0,1"), 40960)

    def test_memory_is_unknown_without_a_driver(self):
        self.nvidia_smi("echo driver not loaded; exit 9")
        self.assertIsNone(gpu_memory_mib(""))


if __name__ == "__main__":
    absltest.main()
