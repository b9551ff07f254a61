"""`python -m layernas_tf.compare` and what it is made of."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import optuna
import psutil
from absl.testing import absltest, parameterized

from layernas_tf import compare
from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.comparison.compare import Plan, budget_of
from layernas_tf.comparison.curves import (
    Curves,
    checkpoints,
    default_targets,
    paired_tests,
    standing,
    summary_csv,
)
from layernas_tf.comparison.page import comparison_page
from layernas_tf.comparison.runs import Job, Setting, read_run, run_all
from layernas_tf.comparison.style import style_of
from layernas_tf.comparison.table_search import run_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import parse_budget
from layernas_tf.tabular.table import Row
from search_spaces.tabular.synthetic import parse_synthetic

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_DATASET = "layers=4,options=4,seed=1"


def _setting(**changes) -> Setting:
    known = {
        "benchmark": "synthetic",
        "table": "",
        "dataset": _DATASET,
        "signal_hp": 90,
        "budgets": ("cost<=50%",),
        "shape": RewardShape(),
        "seed": 0,
    }
    return Setting(**(known | changes))


def _folder(test: absltest.TestCase) -> str:
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    return folder.name


def _environment() -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path]),
        "COLUMNS": "100",
    }


def _run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "layernas_tf.compare", *arguments],
        cwd=tempfile.gettempdir(),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class BinaryTest(parameterized.TestCase):
    def test_writes_what_the_contract_says_and_goes_on_where_it_was(self):
        out = _folder(self)
        arguments = [
            "--benchmark=synthetic",
            f"--dataset={_DATASET}",
            "--budget=cost<=50%",
            "--algorithms=layernas,random,local_search:2",
            "--runs=3",
            "--trials=30",
            f"--out={out}",
        ]
        first = _run(*arguments)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("local_search", first.stdout)
        curves = pathlib.Path(out, "curves.csv").read_bytes()
        with open(os.path.join(out, "curves.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(
            list(rows[0]),
            "benchmark dataset algorithm run trial valid test "
            "recommended_valid recommended_test".split(),
        )
        self.assertLen(rows, (3 + 3 + 2) * 30)
        table = parse_synthetic(_DATASET)
        best = table.best([parse_budget("cost<=50%", table.space)])
        self.assertLessEqual(
            max(float(row["valid"]) for row in rows if row["valid"]), best.valid
        )
        for previous, row in zip(rows, rows[1:]):
            if row["run"] == previous["run"] and previous["valid"]:
                self.assertGreaterEqual(float(row["valid"]), float(previous["valid"]))
        png = pathlib.Path(out, "curves.png").read_bytes()
        self.assertTrue(png.startswith(b"\x89PNG"))
        page = pathlib.Path(out, "report.html").read_text()
        self.assertIn("Paired tests", page)
        self.assertNotRegex(page.split("<script>")[0], "https?://")

        # A run that is lost is done again; the others are not.
        kept = pathlib.Path(out, "runs", "random-0001.csv")
        stamp = kept.stat().st_mtime_ns
        pathlib.Path(out, "runs", "random-0000.csv").write_text("trial,valid,test\n1,")
        pathlib.Path(out, "runs", "layernas-0002.csv").unlink()
        again = _run(*arguments)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("6 of 8 runs were finished before", again.stderr)
        self.assertEqual(kept.stat().st_mtime_ns, stamp)
        self.assertEqual(pathlib.Path(out, "curves.csv").read_bytes(), curves)

        other = _run(*arguments, "--seed=7")
        self.assertEqual(other.returncode, 2)
        self.assertRegex(
            other.stderr, r"^error: --out .* holds runs with seed=0, these have 7"
        )
        self.assertEqual(pathlib.Path(out, "curves.csv").read_bytes(), curves)

    @parameterized.parameters(
        (["--algorithms=magic"], "algorithm 'magic': expected one of layernas, "),
        (["--runs=0"], "--runs: expected at least 1, got 0"),
        (["--trials=0"], "--trials: expected at least 1, got 0"),
        (["--budget=madds<=3"], "has no cost 'madds': expected one of cost"),
        (["--budget=cost<=0.1%"], "cannot be met: the cheapest architecture"),
        (["--targets=high"], "--targets: expected numbers, got 'high'"),
        (["--dataset=width=3"], "synthetic: cannot read 'width=3'"),
        (["--benchmark=nats_sss", "--table=no.csv"], "no file 'no.csv'"),
        (["--reward_shape=tunas", "--tunas_beta=1"], "must be negative"),
        (["--processes=0"], "--processes: expected at least 1, got 0"),
        (["--budget=none", "--budget=cost<=3"], "--budget: 'none' stands alone"),
    )
    def test_bad_input_is_one_line_and_writes_nothing(self, arguments, message):
        out = os.path.join(_folder(self), "out")
        finished = _run("--benchmark=synthetic", f"--out={out}", *arguments)
        self.assertEqual(finished.returncode, 2, finished.stderr)
        self.assertRegex(finished.stderr, "^error: [^\n]*\n$")
        self.assertIn(message, finished.stderr)
        self.assertFalse(os.path.exists(out))

    def test_imports_nothing_that_takes_long(self):
        heavy = ("matplotlib", "plotly", "optuna", "scipy", "pyglove", "tensorflow")
        program = (
            f"import sys, layernas_tf.compare\n"
            f"print(*(name for name in {heavy!r} if name in sys.modules))"
        )
        finished = subprocess.run(
            [sys.executable, "-c", program],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(finished.stdout.split(), [])

    def test_without_a_budget_everything_may_be_the_answer(self):
        out = _folder(self)
        finished = _run(
            "--benchmark=synthetic",
            "--dataset=layers=2,options=3",
            "--budget=none",
            "--algorithms=layernas,layernas_bayes,random",
            "--runs=1",
            "--trials=9",
            f"--out={out}",
        )
        self.assertEqual(finished.returncode, 0, finished.stderr)
        best = parse_synthetic("layers=2,options=3").best()
        with open(os.path.join(out, "summary.csv"), newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["trial"] == "9"]
        self.assertLen(rows, 3)
        for row in rows:
            self.assertAlmostEqual(float(row["valid_mean"]), best.valid, places=5)


class KilledTest(absltest.TestCase):
    def test_its_processes_end_with_it(self):
        out = _folder(self)
        program = subprocess.Popen(
            [sys.executable, "-m", "layernas_tf.compare", "--benchmark=synthetic"]
            + ["--algorithms=layernas_bayes", "--runs=1000", "--trials=1000"]
            + ["--processes=2", f"--out={out}"],
            cwd=tempfile.gettempdir(),
            env=_environment(),
            stderr=subprocess.DEVNULL,
        )
        workers = []
        deadline = time.monotonic() + 60
        while len(workers) < 3 and time.monotonic() < deadline:
            workers = psutil.Process(program.pid).children()
            time.sleep(0.1)
        program.kill()
        program.wait()

        _, alive = psutil.wait_procs(workers, timeout=60)

        self.assertLen(workers, 3)  # Two and what watches their semaphores.
        self.assertEmpty(alive)


class RunsTest(parameterized.TestCase):
    def test_curves_do_not_depend_on_the_processes(self):
        texts = []
        for processes in (1, 3):
            out = _folder(self)
            plans = {
                "regularized_evolution": Plan(3, 60),
                "ppo": Plan(2, 60),
                "layernas_bayes": Plan(2, 40),
            }
            compare.compare(_setting(), plans, out, processes, load=compare.load)
            texts.append(pathlib.Path(out, "curves.csv").read_bytes())
        self.assertEqual(texts[0], texts[1])

    def test_a_script_without_a_main_guard_makes_one_run_at_a_time(self):
        script = pathlib.Path(_folder(self), "script.py")
        script.write_text(
            "import os\n"
            "import layernas_tf\n"
            "before = dict(os.environ)\n"
            "print(*layernas_tf.compare_algorithms(\n"
            "    'burger', ['random'], runs=2, trials=5, verbose=0))\n"
            "assert os.environ == before\n"
        )
        finished = subprocess.run(
            [sys.executable, str(script)],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(finished.returncode, 0, finished.stderr)
        self.assertEqual(finished.stdout.count("Standing("), 1)

    def test_what_was_finished_before_an_interruption_is_kept(self):
        out = _folder(self)
        setting, jobs = _setting(), [Job("random", run, 20) for run in range(3)]
        loaded = []

        def load(given):
            loaded.append(given)
            return compare.load(given)

        def stop(job):
            if job.run == 1:
                raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            run_all(setting, load, budget_of, jobs, out, 1, stop)
        kept = [read_run(out, job) is not None for job in jobs]
        self.assertEqual(kept, [True, True, False])
        self.assertLen(loaded, 1)
        self.assertEqual(logging.root.manager.disable, logging.NOTSET)

    def test_more_runs_and_algorithms_are_added_to_what_is_there(self):
        out = _folder(self)
        compare.compare(_setting(), {"random": Plan(1, 30)}, out, 1, load=compare.load)
        path = pathlib.Path(out, "runs", "random-0000.csv")
        stamp = path.stat().st_mtime_ns
        standings = compare.compare(
            _setting(),
            {"random": Plan(2, 20), "ppo": Plan(1, 30)},
            out,
            1,
            load=compare.load,
        )
        self.assertEqual([s.algorithm for s in standings], ["random", "ppo"])
        self.assertEqual([s.runs for s in standings], [2, 1])
        self.assertEqual([s.trials for s in standings], [20, 30])
        self.assertEqual(path.stat().st_mtime_ns, stamp)

    def test_run_files_hold_the_run_to_the_last_digit(self):
        out = _folder(self)
        compare.compare(
            _setting(seed=5), {"random": Plan(2, 30)}, out, 2, load=compare.load
        )
        table = parse_synthetic(_DATASET)
        budgets = [parse_budget("cost<=50%", table.space)]
        expected = run_algorithm("random", table, budgets, 30, 6)
        found = read_run(out, Job("random", 1, 30))
        np.testing.assert_array_equal(found.valid, expected.valid)
        np.testing.assert_array_equal(found.test, expected.test)
        shorter = read_run(out, Job("random", 1, 10))
        np.testing.assert_array_equal(shorter.valid, expected.valid[:10])
        self.assertIsNone(read_run(out, Job("random", 1, 31)))
        self.assertIsNone(read_run(out, Job("random", 2, 30)))

    def test_a_search_that_ends_keeps_its_answer(self):
        table = parse_synthetic("layers=2,options=3")
        budgets = [parse_budget("cost<=70%", table.space)]
        curve = run_algorithm("random", table, budgets, 40, 0)
        self.assertEqual(curve.valid[-1], table.best(budgets).valid)
        self.assertFalse(np.isnan(curve.valid).any())

    def test_only_what_is_inside_the_budget_counts(self):
        table = parse_synthetic("layers=6,options=4")
        budgets = [parse_budget("cost<=50%", table.space)]
        curve = run_algorithm(
            "ppo", table, budgets, 60, 0, RewardShape("tunas", beta=-0.01)
        )
        known = curve.valid[~np.isnan(curve.valid)]
        self.assertNotEmpty(known)
        self.assertLessEqual(known.max(), table.best(budgets).valid)

    @parameterized.parameters("mnasnet", "tunas")
    def test_reward_shapes_change_the_runs_of_those_that_take_them(self, kind):
        table = parse_synthetic("layers=6,options=4")
        budgets = [parse_budget("cost<=50%", table.space)]
        for name, differs in (("regularized_evolution", True), ("random", False)):
            plain = run_algorithm(name, table, budgets, 80, 0)
            shaped = run_algorithm(name, table, budgets, 80, 0, RewardShape(kind))
            self.assertEqual(
                not np.array_equal(plain.valid, shaped.valid, equal_nan=True), differs
            )

    def test_another_table_file_is_another_setting(self):
        folder = _folder(self)
        paths = [os.path.join(folder, name) for name in "ab"]
        for path, text in zip(paths, ("x", "y")):
            pathlib.Path(path).write_text(text)
        identities = [_setting(table=path).identity() for path in paths]
        self.assertNotEqual(identities[0], identities[1])
        self.assertEqual(
            json.loads(json.dumps(identities[0])), _setting(table=paths[0]).identity()
        )


class CurvesTest(absltest.TestCase):
    def _curves(self, name, rows):
        valid = np.array(rows, float)
        return Curves(name, valid, valid - 1, valid, valid - 1)

    def test_checkpoints_end_with_the_last_trial(self):
        self.assertEqual(checkpoints(60), (10, 25, 50, 60))
        self.assertEqual(checkpoints(400), (10, 25, 50, 100, 200, 400))
        self.assertEqual(checkpoints(3), (3,))

    def test_standing(self):
        nan = np.nan
        curves = self._curves("random", [[nan, 1, 2, 3], [1, 2, 2, 2], [1, 1, 3, 3]])
        found = standing(curves, 3.0, (2.0, 3.0, 4.0))
        self.assertAlmostEqual(found.valid, 8 / 3)
        self.assertAlmostEqual(found.test, 5 / 3)
        self.assertAlmostEqual(found.found, 2 / 3)
        self.assertAlmostEqual(found.spread, 0.5)
        self.assertEqual(found.needed, (3.0, 4.0, None))
        self.assertEqual(found.reached, (1.0, 2 / 3, 0.0))

    def test_summary_is_over_the_runs_that_have_an_answer(self):
        curves = self._curves("random", [[np.nan, 1.0], [4.0, 5.0]])
        header, line = summary_csv("b", "d", [curves]).splitlines()
        row = dict(zip(header.split(","), line.split(",")))
        self.assertEqual((row["trial"], row["runs"], row["answered"]), ("2", "2", "2"))
        self.assertEqual(float(row["valid_mean"]), 3.0)
        self.assertEqual(float(row["valid_p25"]), 2.0)
        self.assertEqual(float(row["test_p75"]), 3.0)
        early = self._curves("random", curves.valid[:, :1])
        row = summary_csv("b", "d", [early]).splitlines()[1].split(",")
        self.assertEqual(row[5:7], ["1", "4.000000"])

    def test_paired_tests_of_each_layernas_against_each_other(self):
        rng = np.random.default_rng(0)
        base = rng.normal(size=(20, 5))
        curves = [
            self._curves("layernas", base + 1),
            self._curves("random", base + 0.1 * rng.normal(size=base.shape)),
            self._curves("layernas_bayes", base[:12] + 1),
        ]
        tests = {(t.first, t.second): t for t in paired_tests(curves)}
        self.assertLen(tests, 4)
        clear = tests["layernas", "random"]
        self.assertEqual((clear.trial, clear.runs), (5, 20))
        self.assertAlmostEqual(clear.difference, 1, delta=0.1)
        self.assertLess(clear.p, 1e-4)
        equal = tests["layernas", "layernas_bayes"]
        self.assertEqual((equal.p, equal.runs, equal.difference), (1.0, 12, 0.0))

    def test_the_page_corrects_p_values_for_their_number(self):
        curves = [
            self._curves(name, np.full((12, 5), value))
            for name, value in (("layernas", 2.0), ("random", 1.5), ("ppo", 1.0))
        ]
        tests = [
            dataclasses.replace(test, p=p)
            for test, p in zip(paired_tests(curves), (0.01, 0.04), strict=True)
        ]
        standings = [standing(each, 2.0, ()) for each in curves]
        best = Row((0,), 2.0, 2.0)
        page = comparison_page("title", curves, standings, tests, (), best, "command")
        self.assertIn("+0.500 (p 0.020)", page)
        self.assertIn("+1.000 (p 0.040)", page)

    def test_default_targets_lead_to_the_best(self):
        self.assertEqual(default_targets(100.0), (99.0, 99.5, 99.9, 100.0))
        self.assertEqual(default_targets(-10.0)[0], -10.1)


class StyleTest(absltest.TestCase):
    def test_rows_of_optuna_name_its_version(self):
        for name in ("tpe", "nsga2", "gp"):
            self.assertIn(f"(Optuna {optuna.__version__})", style_of(name).label)
        self.assertNotIn("Optuna", style_of("layernas").label)
        self.assertEqual(style_of("mine").label, "mine")


class ParsingTest(absltest.TestCase):
    def test_runs_per_algorithm(self):
        self.assertEqual(
            compare.parse_algorithms("layernas, random:3,tpe:2:50", 7, 400),
            {"layernas": Plan(7, 400), "random": Plan(3, 400), "tpe": Plan(2, 50)},
        )

    def test_what_is_wrong_is_said(self):
        for text, message in (
            ("", "expected one or more of"),
            ("random,random", "'random' occurs twice"),
            ("random:x", "'random:x': expected 'random', 'random:RUNS'"),
            ("random:0", "'random:0': expected 'random'"),
            ("random:1:2:3", "'random:1:2:3': expected 'random'"),
        ):
            with self.assertRaisesRegex(UserError, re.escape(message)):
                compare.parse_algorithms(text, 7, 400)

    def test_gp_without_pytorch_ends_before_any_run(self):
        out = _folder(self)
        if importlib.util.find_spec("torch") is None:
            with self.assertRaisesRegex(UserError, "'gp'.*needs the extra 'gp'"):
                compare.compare(
                    _setting(),
                    {"random": Plan(1, 30), "gp": Plan(1, 12)},
                    out,
                    1,
                    load=compare.load,
                )
            self.assertEmpty(os.listdir(out))
        else:
            compare.compare(_setting(), {"gp": Plan(1, 12)}, out, 1, load=compare.load)
            self.assertIsNotNone(read_run(out, Job("gp", 0, 12)))


if __name__ == "__main__":
    absltest.main()
