"""The public command on real images: killed, run to the end, run again."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_TRIALS = 3
_COMMAND = [
    *(sys.executable, "-m", "layernas_tf.search"),
    "--dataset=digits",
    "--resolution=16",
    "--limit=300",
    "--budget=madds<=60%",
    "--budget=model_bytes<=1.5M",
    "--budget=peak_memory_bytes<=100%",
    "--algorithm=layernas_bayes",
    f"--trials={_TRIALS}",
    "--epochs=1",
    "--finalists=1",
    "--final_epochs=1",
    "--final_seeds=1",
]
_CONTRACT = (
    "config.json",
    "study.db",
    "trials.csv",
    "winner/architecture.json",
    "winner/metrics.json",
    "winner/model.keras",
    "winner/model_float32.tflite",
    "winner/model_int8.tflite",
    "report.html",
    "tensorboard",
)
_TIMEOUT = 1500


def rows(workdir: pathlib.Path) -> list[dict[str, str]]:
    """The lines of trials.csv, none while there is no such file."""
    path = workdir / "trials.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class EndToEndTest(absltest.TestCase):
    def command(self) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*_COMMAND, f"--workdir={self.workdir}"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )

    def kill_after_first_trial(self):
        process = subprocess.Popen(
            [*_COMMAND, f"--workdir={self.workdir}"],
            cwd=_ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + _TIMEOUT
        while not rows(self.workdir) and time.monotonic() < end:
            self.assertIsNone(process.poll(), "the search ended by itself")
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def test_search_is_killed_and_finished_and_run_again(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.workdir = pathlib.Path(folder) / "a workdir"
        self.kill_after_first_trial()
        before = rows(self.workdir)
        self.assertLess(len(before), _TRIALS)

        finished = self.command()
        self.assertEqual(finished.returncode, 0, finished.stderr)
        self.assertIn("Resuming after", finished.stdout)
        self.assertRegex(
            finished.stdout, "Final training of 1 candidate .* about .* s,"
        )
        self.assertIn("(95 % interval", finished.stdout)
        self.assertNotIn("Traceback", finished.stderr)
        self.assertNotIn("study", finished.stderr)  # Optuna is quiet
        self.check_contract()
        self.check_trials(before)
        self.check_winner()

        made = self.snapshot()
        again = self.command()
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(self.snapshot(), made)
        self.assertNotIn("trial 0:", again.stdout)

        other = subprocess.run(
            [*_COMMAND, f"--workdir={self.workdir}", "--seed=5"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
        )
        self.assertEqual(other.returncode, 2)
        self.assertIn("--seed was 0, is 5", other.stderr)

    def check_contract(self):
        for name in _CONTRACT:
            self.assertTrue((self.workdir / name).exists(), name)
        left = [
            str(path)
            for path in self.workdir.rglob("*")
            if path.name.endswith(".tmp") or ".tmp." in path.name
        ]
        self.assertEmpty(left)
        report = (self.workdir / "report.html").read_text(encoding="utf-8")
        self.assertIn("mobilenet_v3_small", report)
        logs = list((self.workdir / "tensorboard").glob("trial_*"))
        self.assertLen(logs, _TRIALS)

    def check_trials(self, before):
        trials = rows(self.workdir)
        self.assertEqual(trials[: len(before)], before)
        self.assertEqual([int(row["number"]) for row in trials], [*range(_TRIALS)])
        self.assertEqual({row["state"] for row in trials}, {"complete"})
        self.assertLen({row["architecture"] for row in trials}, _TRIALS)
        for row in trials:
            self.assertLess(float(row["reward"]), 0)  # a negative loss
            self.assertEqual(row["inside"], "1")
        with sqlite3.connect(self.workdir / "study.db") as database:
            states = database.execute("SELECT state FROM trials").fetchall()
        self.assertEqual(states, [("COMPLETE",)] * _TRIALS)

    def check_winner(self):
        from search_spaces.registry import get_space

        winner = self.workdir / "winner"
        metrics = json.loads((winner / "metrics.json").read_text())
        file = json.loads((winner / "architecture.json").read_text())
        space = get_space(file["space"], **file["arguments"])
        costs = space.costs(space.from_json(file))
        default = space.costs(space.default)
        self.assertEqual(file["arguments"]["resolution"], 16)
        self.assertLessEqual(costs["madds"], 0.6 * default["madds"])
        self.assertLessEqual(costs["model_bytes"], 1.5e6)
        self.assertEqual(metrics["costs"], costs)
        self.assertTrue(metrics["inside_budget"])
        self.assertEqual(metrics["default"]["costs"], default)
        self.assertIsNone(metrics["default"]["test_accuracy"])  # not the baseline
        self.assertIn("default network of width", metrics["baseline"]["name"])
        self.assertLessEqual(
            metrics["baseline"]["costs"]["madds"], 0.6 * default["madds"]
        )
        for figures in (metrics, metrics["baseline"]):
            self.assertBetween(figures["valid_accuracy"], 0, 1)
            self.assertBetween(figures["test_accuracy"], 0, 1)
            low, high = figures["test_interval"]
            self.assertBetween(figures["test_accuracy"], low, high)
        comparison = metrics["comparison"]
        difference = metrics["test_accuracy"] - metrics["baseline"]["test_accuracy"]
        self.assertAlmostEqual(comparison["difference"], difference)
        self.assertEqual(comparison["seeds"], 1)
        self.assertIn("default network of width", comparison["sentence"])
        files = metrics["files"]
        self.assertLen(files, 3)
        for name, figures in files.items():
            size = os.path.getsize(self.workdir / name)
            self.assertEqual(figures["bytes"], size, name)
        self.assertEqual(files["winner/model_float32.tflite"]["agreement"], 1.0)
        integers = files["winner/model_int8.tflite"]
        self.assertAlmostEqual(
            integers["difference"],
            integers["test_accuracy"] - files["winner/model.keras"]["test_accuracy"],
        )
        low, high = integers["difference_interval"]
        self.assertBetween(integers["difference"], low, high)
        arena = files["winner/model_int8.tflite"]["arena_bytes"]
        self.assertBetween(arena / costs["peak_memory_bytes"], 0.9, 1.3)
        self.assertRegex(" ".join(metrics["notes"]), "take .*B in TFLite's interpreter")
        self.assertLess(
            files["winner/model_int8.tflite"]["bytes"],
            0.5 * files["winner/model_float32.tflite"]["bytes"],
        )

    def snapshot(self):
        """What a second run must leave alone, with its time of writing."""
        paths = [
            *self.workdir.glob("finals/**/*.*"),
            *self.workdir.glob("winner/model*"),
            self.workdir / "winner" / "architecture.json",
            self.workdir / "config.json",
            *self.workdir.glob("tensorboard/trial_*/*"),
        ]
        times = {str(path): path.stat().st_mtime_ns for path in paths}
        return times, rows(self.workdir)


if __name__ == "__main__":
    absltest.main()
