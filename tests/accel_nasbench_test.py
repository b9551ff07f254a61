"""Accel-NASBench as a table: what is fitted, what is exact, what is noise."""

from __future__ import annotations

import os
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from scipy.stats import kendalltau

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import parse_budget
from search_spaces.tabular.accel_chain import accel_space
from search_spaces.tabular.accel_nasbench import TRAINING_DEVIATION, read_accel_rows
from search_spaces.tabular.accel_surrogate import fit_accuracy, fit_sum
from search_spaces.tabular.load import load_table
from tests.accel_table import true_accuracy, write_table

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLES = pathlib.Path(os.environ.get("LAYERNAS_TABLES") or ROOT.parent / "shared/data")
CSV = TABLES / "accel-nasbench_imagenet.csv"


class AccelTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "accel.csv"

    def test_surrogate_finds_effects_of_stages_and_of_two_together(self):
        table = load_table("accel_nasbench", write_table(self.path))
        rng = np.random.default_rng(1)
        fresh = rng.integers(36, size=(300, 7))
        predicted = [table.query(tuple(a.tolist())).test for a in fresh]
        self.assertGreater(kendalltau(predicted, true_accuracy(fresh)).statistic, 0.85)

    def test_sums_are_exact_where_the_costs_are_sums_despite_an_outlier(self):
        table = load_table("accel_nasbench", write_table(self.path))
        for architecture in ((0,) * 7, (35,) * 7, (3, 1, 4, 1, 5, 9, 2)):
            costs = table.space.costs(architecture)
            expected = 1.0 + 0.1 * sum(architecture)
            self.assertAlmostEqual(costs["latency_ms_zcu102"], expected, places=6)
            self.assertAlmostEqual(costs["latency_ms_vck190"], expected, places=6)
            self.assertAlmostEqual(costs["train_time_s"], 100 * expected, places=3)

    def test_signal_is_the_reported_accuracy_plus_noise_of_one_training(self):
        table = load_table("accel_nasbench", write_table(self.path))
        rng = np.random.default_rng(2)
        rows = [
            table.query(tuple(a.tolist())) for a in rng.integers(36, size=(2000, 7))
        ]
        noise = np.array([row.valid - row.test for row in rows])
        self.assertAlmostEqual(noise.std(), TRAINING_DEVIATION, delta=0.02)
        self.assertAlmostEqual(noise.mean(), 0, delta=0.03)
        self.assertEqual(table.query(rows[0].architecture), rows[0])

    def test_best_known_is_inside_and_above_many_random_networks(self):
        table = load_table("accel_nasbench", write_table(self.path))
        budgets = [
            parse_budget("macs<=50%", table.space),
            parse_budget("latency_ms_zcu102<=70%", table.space),
        ]
        best = table.best(budgets)
        costs = table.space.costs(best.architecture)
        self.assertTrue(all(budget.holds(costs) for budget in budgets))
        sampled = np.random.default_rng(0).integers(36, size=(20000, 7))
        totals = table.space.chain.costs(sampled)
        inside = np.all(
            [totals[budget.metric] <= budget.high for budget in budgets], axis=0
        )
        self.assertGreater(np.count_nonzero(inside), 50)
        self.assertGreater(best.test, table.accuracy.accuracy(sampled[inside]).max())
        self.assertEqual(best.valid, best.test)

    def test_budget_that_nothing_meets_together_says_so(self):
        table = load_table("accel_nasbench", write_table(self.path))
        budgets = [
            parse_budget("macs<=10%", table.space),
            parse_budget("params=95%..100%", table.space),
        ]
        with self.assertRaisesRegex(
            UserError, "no architecture was found inside macs<="
        ):
            table.best(budgets)

    @parameterized.parameters(
        (lambda rows: rows[:500], "expected 1,000 rows or more .* got 499"),
        (lambda rows: [rows[0][1:]] + rows[1:], "column 'block0_e' is missing"),
        (
            lambda rows: [rows[0], [7, *rows[1][1:]]],
            "line 2: expected a network of the space 'mnasnet'",
        ),
        (
            lambda rows: rows[:3] + [rows[3][:29] + [1.0] + rows[3][30:]] + rows[4:],
            "line 4: 1,000,000 macs, expected .*another space",
        ),
        (
            lambda rows: rows[:3] + [rows[3][:28] + [""] + rows[3][29:]] + rows[4:],
            "line 4: expected numbers for accuracy",
        ),
    )
    def test_broken_file_is_one_line(self, change, fault):
        path = write_table(self.path, change=change)
        with self.assertRaisesRegex(UserError, f"accel.csv: .*{fault}") as caught:
            load_table("accel_nasbench", path)
        self.assertNotIn("\n", str(caught.exception))

    def test_public_rows_are_predicted_where_they_were_held_out(self):
        if not CSV.exists():
            self.assertEqual(accel_space().size, 36**6 * 48)
            return
        rows = read_accel_rows(str(CSV))
        order = np.random.default_rng(0).permutation(len(rows.accuracy))
        fitted, held = np.split(order, [len(order) * 9 // 10])
        surrogate = fit_accuracy(
            rows.options, rows.architectures[fitted], rows.accuracy[fitted]
        )
        predicted = surrogate.accuracy(rows.architectures[held])
        truth = rows.accuracy[held]
        self.assertGreater(kendalltau(predicted, truth).statistic, 0.9)
        error = np.mean((predicted - truth) ** 2)
        self.assertGreater(1 - error / truth.var(), 0.98)
        latency = rows.sums["latency_ms_zcu102"]
        sizes = [len(each) for each in rows.options]
        model = fit_sum(sizes, rows.architectures[fitted], latency[fitted])
        off = model.predict(rows.architectures[held]) / latency[held] - 1
        self.assertLess(np.nanmedian(np.abs(off)), 0.005)


if __name__ == "__main__":
    absltest.main()
