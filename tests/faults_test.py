"""A full disk ends a search with one line, and the same command continues."""

from __future__ import annotations

import pathlib
import resource
import subprocess
import sys
import tempfile

from absl.testing import absltest

from benchmarks.faults import lost, told
from benchmarks.table_search import open_table_study

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_TRIALS = 12


class FaultsTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.workdir = pathlib.Path(folder) / "workdir"

    def command(self, trials: int) -> list[str]:
        return [
            *(sys.executable, "-m", "benchmarks.table_search"),
            f"--workdir={self.workdir}",
            f"--trials={trials}",
            "--seconds=0",
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


if __name__ == "__main__":
    absltest.main()
