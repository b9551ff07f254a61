"""A benchmark table of the user's own is compared on as ours are."""

from __future__ import annotations

import csv
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from layernas_tf.tabular.table import Row, table_of_rows
from layernas_tf.testing import everything, random_space
from search_spaces.tabular.load import load_table

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_EXAMPLE = f"{_ROOT / 'examples' / 'my_benchmark.py'}:digits_mlp"
_OWN = """
from layernas_tf.tabular.table import Row, table_of_rows
from layernas_tf.testing import everything, random_space


def quick(dataset="0"):
    space = random_space(int(dataset), layers=3)
    rows = [Row(tuple(map(int, a)), sum(a) * 1.0, 1.0) for a in everything(space)]
    return table_of_rows(space, rows, benchmark="quick", metric="madds")


def nothing():
    return None


def raises():
    return {}["missing"]
"""


class RowsTest(parameterized.TestCase):
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10**6), st.integers(1, 27))
    def test_rows_in_any_order_are_found_again_and_others_are_not(self, seed, count):
        space = random_space(seed, layers=3)
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(everything(space))[:count]
        rows = [Row(tuple(map(int, a)), *rng.normal(size=2).tolist()) for a in chosen]
        table = table_of_rows(space, rows, benchmark="own", metric="madds")
        for row in rows:
            self.assertEqual(table.query(row.architecture), row)
        self.assertEqual(table.best(), max(rows, key=lambda row: row.valid))
        cheapest = min(space.costs(row.architecture)["madds"] for row in rows)
        best = table.best([Budget("madds", 0, cheapest)])
        self.assertEqual(space.costs(best.architecture)["madds"], cheapest)
        for architecture in map(tuple, everything(space).tolist()):
            if architecture not in {row.architecture for row in rows}:
                with self.assertRaisesRegex(UserError, "own: there is no record of"):
                    table.query(architecture)

    @parameterized.parameters(
        ([], {}, "expected at least one row"),
        ([Row((0, 0), 1.0, 1.0)] * 2, {}, r"\(0, 0\) occurs twice"),
        ([Row((0, 9), 1.0, 1.0)], {}, "expected an option index 0..2, got 9"),
        ([Row((0, 0), float("nan"), 1.0)], {}, "finite results, got nan and 1.0"),
        ([Row((0, 0), 1.0, 1.0)], {"metric": "cost"}, "has no cost 'cost'"),
    )
    def test_rows_that_are_no_table_are_refused(self, rows, changes, message):
        given = {"benchmark": "own", "metric": "madds", **changes}
        with self.assertRaisesRegex(UserError, message):
            table_of_rows(random_space(0, layers=2), rows, **given)


class UserTableTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "own.py"
        self.path.write_text(_OWN)

    def compare(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "layernas_tf.compare", "--processes=1"),
                *(f"--out={self.folder / 'out'}", *arguments),
            ],
            capture_output=True,
            text=True,
            cwd=_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def test_the_example_is_compared_on(self):
        found = self.compare(
            f"--benchmark={_EXAMPLE}",
            "--budget=params<=50%",
            "--algorithms=random,layernas_bayes",
            *("--runs=2", "--trials=6"),
        )
        self.assertEqual(found.returncode, 0, found.stderr)
        with open(self.folder / "out" / "curves.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertLen(rows, 2 * 2 * 6)
        self.assertEqual({row["benchmark"] for row in rows}, {"digits_mlp"})
        last = [float(row["test"]) for row in rows if row["trial"] == "6"]
        self.assertGreater(min(last), 40)
        self.assertLess(max(last), 100)

    def test_runs_of_a_changed_file_are_not_mixed(self):
        arguments = (
            *(f"--benchmark={self.path}:quick", "--budget=madds<=100%"),
            *("--algorithms=random", "--runs=1", "--trials=3"),
        )
        found = self.compare(*arguments)
        self.assertEqual(found.returncode, 0, found.stderr)
        self.path.write_text(_OWN.replace("sum(a) * 1.0", "sum(a) * 2.0"))
        found = self.compare(*arguments)
        self.assertEqual(found.returncode, 2)
        self.assertRegex(found.stderr, "holds runs with benchmark=.*another folder")

    def test_arguments_are_handed_on(self):
        table = load_table(f"{self.path}:quick", dataset="4")
        self.assertEqual(table.space.name, "random4")
        with self.assertRaisesRegex(UserError, "takes no argument 'path': expected d"):
            load_table(f"{self.path}:quick", "figures.csv")

    @parameterized.parameters(
        ("nothing", "must return a layernas_tf.*Table, got NoneType without 'benchm"),
        ("raises", r"raises\(\) raised KeyError: 'missing' .*own.py, line"),
        ("gone", "has no function 'gone'"),
    )
    def test_what_is_no_table_is_refused(self, name, message):
        with self.assertRaisesRegex(UserError, message):
            load_table(f"{self.path}:{name}")


if __name__ == "__main__":
    absltest.main()
