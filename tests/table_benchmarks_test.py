"""The benchmarks on tables: what they print and draw of small made-up tables."""

from __future__ import annotations

import os
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from benchmarks import burger_walk, training_hours
from benchmarks.layerwise_assumption import explained, literal
from benchmarks.published_tables import (
    accuracy_table,
    effort_table,
    read_outcome,
    run_missing,
    significance_table,
)
from benchmarks.tables import PublishedTable
from benchmarks.topology_and_size import draw
from layernas_tf.space.budget import parse_budget
from layernas_tf.tabular.table import ArrayTable, all_architectures
from search_spaces.tabular.accel_nasbench import read_accel_csv
from search_spaces.tabular.burger import burger_table
from search_spaces.tabular.synthetic import synthetic
from tests.accel_table import write_table

_PNG = b"\x89PNG"
_TABLE = PublishedTable("Made up 4", "synthetic", "", "layers=4,options=3", trials=30)
_ALGORITHMS = "layernas,random:4"


class AssumptionTest(absltest.TestCase):
    def _rows(self, interaction):
        table = synthetic(6, 4, 60, interaction=interaction, seed=1)
        rows = all_architectures(table.space)
        return table, rows, table.rewards(rows)[1]

    def test_a_sum_explains_a_sum(self):
        _, rows, rewards = self._rows(0.0)
        found = explained(rows, rewards, 200, seed=0)
        self.assertGreater(found["sum"][0], 0.99)
        self.assertGreater(found["sum"][1], 0.99)

    def test_neighbours_explain_what_a_sum_cannot(self):
        _, rows, rewards = self._rows(1.0)
        found = explained(rows, rewards, 800, seed=0)
        self.assertLess(found["sum"][0], 0.8)
        self.assertGreater(found["neighbours"][0], found["sum"][0] + 0.15)
        self.assertGreater(found["neighbours"][1], 0.95)
        self.assertGreater(found["neighbours"][0], found["all pairs"][0])

    def test_best_prefix_stays_best_on_a_sum_and_not_elsewhere(self):
        for each in literal(burger_table()):
            self.assertEqual((each.holds, each.loss), (1.0, 0.0))
            self.assertLess(each.chance, 1.0)
        table, _, rewards = self._rows(1.0)
        rows = ArrayTable("made up", "", table.space, "cost", rewards, rewards)
        worst = min(literal(rows), key=lambda each: each.holds)
        self.assertLess(worst.holds, 0.7)
        self.assertGreater(worst.loss, 0)


class PublishedTablesTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = folder.name

    def test_runs_are_made_once_and_told_in_tables_and_a_figure(self):
        before = read_outcome(_TABLE, "", self.out, _ALGORITHMS, 6)
        self.assertEmpty(before.curves)
        run_missing(_TABLE, "", self.out, _ALGORITHMS, 6, 1)
        outcome = read_outcome(_TABLE, "", self.out, _ALGORITHMS, 6)
        self.assertEqual({n: len(c.valid) for n, c in outcome.curves.items()},
                         {"layernas": 6, "random": 4})  # fmt: skip
        self.assertIn("made_up_4", os.listdir(self.out))

        text = "\n".join(accuracy_table([outcome], "valid"))
        self.assertIn(f"Made up 4 ({outcome.best.valid:.2f})", text)
        self.assertIn("(6) |", text)
        self.assertIn("(4) |", text)
        (line,) = (x for x in effort_table([outcome]) if x.startswith("| LayerNAS "))
        self.assertRegex(line, r"\| (> )?\d+, \d+% \|")
        self.assertLen(significance_table([outcome]), 2)  # No test at 30 trials.

        path = pathlib.Path(self.out, "figure.png")
        draw([outcome] * 6, str(path))
        self.assertTrue(path.read_bytes().startswith(_PNG))

    def test_hours_grow_with_every_trial_and_accuracy_never_falls_by_the_signal(self):
        table = read_accel_csv(write_table(os.path.join(self.out, "t.csv")))
        budgets = [parse_budget("macs<=60%", table.space)]
        run = training_hours.timed_run(table, budgets, "random", 3, 40)
        self.assertEqual(run.shape, (40, 2))
        self.assertTrue(np.all(np.diff(run[:, 0]) > 0))
        halfway = float(run[20, 0])
        later = training_hours.at_hours(run, np.array([0.0, halfway, 1e9]))
        self.assertTrue(np.isnan(later[0]))
        self.assertEqual(later[1:].tolist(), [run[20, 1], run[-1, 1]])


class BurgerWalkTest(absltest.TestCase):
    def test_nine_steps_fill_the_table_and_the_picture_shows_them(self):
        steps = burger_walk.walk()
        self.assertLen(steps, 1 + 4 + 4)
        self.assertEqual([step.layer for step in steps], [0] + [1] * 4 + [2] * 4)
        final = steps[-1].table
        table = burger_table()
        best = max(taste for (depth, _), (_, taste) in final.items() if depth == 2)
        self.assertEqual(best, table.best().valid)
        for (depth, band), (architecture, taste) in final.items():
            self.assertEqual(taste, table.query(architecture).valid)
            if depth == 2:
                price = table.space.costs(architecture)["price"]
                self.assertEqual(int(price // 2), band)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "burger.png")
            burger_walk.draw(steps, str(path))
            self.assertTrue(path.read_bytes().startswith(_PNG))


if __name__ == "__main__":
    absltest.main()
