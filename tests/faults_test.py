"""Full disk, read-only workdir, a kill: one line, and the same command continues."""

from __future__ import annotations

import ctypes
import os
import pathlib
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest

from benchmarks.faults import lost, told
from benchmarks.table_search import open_table_study

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_TRIALS = 12


def _obey_modes() -> None:
    """Has the program that follows find files read-only even if it runs as root."""
    if os.geteuid() == 0:
        drop_from_bounding_set, dac_override = 24, 1  # linux/prctl.h, capability.h
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(drop_from_bounding_set, dac_override, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


class FaultsTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.workdir = pathlib.Path(folder) / "workdir"

    def command(self, trials: int = _TRIALS, seconds: float = 0.0) -> list[str]:
        return [
            *(sys.executable, "-m", "benchmarks.table_search"),
            f"--workdir={self.workdir}",
            f"--trials={trials}",
            f"--seconds={seconds}",
        ]

    def run_command(self, trials: int = _TRIALS, **options):
        return subprocess.run(
            self.command(trials), cwd=_ROOT, capture_output=True, text=True, **options
        )

    def assert_one_line(self, finished, pattern: str):
        self.assertEqual(finished.returncode, 2, finished.stderr)
        self.assertEqual(finished.stderr.count("\n"), 1, finished.stderr)
        self.assertRegex(finished.stderr, pattern)

    def assert_continues(self):
        finished = self.run_command()
        self.assertEqual(finished.returncode, 0, finished.stderr)
        trials = open_table_study(self.workdir).trials
        self.assertEqual([t.state for t in trials], ["complete"] * _TRIALS)
        self.assertLen({t.architecture for t in trials}, _TRIALS)
        rows = told(self.workdir)
        self.assertEqual([int(row["number"]) for row in rows], list(range(_TRIALS)))
        self.assertEmpty(lost(rows, trials))
        self.assertEmpty(list(self.workdir.rglob(".*.tmp*")))

    def test_full_disk(self):
        self.assertEqual(self.run_command(2).returncode, 0)
        size = (self.workdir / "study.db").stat().st_size
        limit = size + 4096  # no file may grow beyond it

        finished = self.run_command(
            500,
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (limit, limit)
            ),
        )

        self.assert_one_line(finished, "error: .*(disk is full|cannot be written)")
        self.assertLess(len(open_table_study(self.workdir).trials), _TRIALS)
        self.assert_continues()

    def test_workdir_that_became_read_only(self):
        self.assertEqual(self.run_command(3).returncode, 0)
        paths = [self.workdir, *self.workdir.rglob("*")]
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
        for path, mode in modes.items():
            path.chmod(mode & 0o555 | 0o444)
        finished = self.run_command(preexec_fn=_obey_modes)
        for path, mode in modes.items():
            path.chmod(mode)

        self.assert_one_line(finished, "error: workdir .* cannot be written: .*read-on")
        self.assert_continues()

    def test_killed_while_it_runs(self):
        process = subprocess.Popen(
            self.command(seconds=0.2), cwd=_ROOT, stdout=subprocess.DEVNULL
        )
        while len(told(self.workdir)) < 2:
            self.assertIsNone(process.poll())
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = told(self.workdir)

        self.assertEmpty(lost(before, open_table_study(self.workdir).trials))
        self.assert_continues()
        self.assertEqual(told(self.workdir)[: len(before)], before)

    def test_loss_is_noticed(self):
        self.assertEqual(self.run_command(3).returncode, 0)
        rows, trials = told(self.workdir), open_table_study(self.workdir).trials

        self.assertEqual(lost(rows, trials[:2]), ["trial 2 is gone"])
        rows[1]["reward"] = "0.5"
        self.assertEqual(lost(rows, trials), ["trial 1 has changed"])


if __name__ == "__main__":
    absltest.main()
