"""How `benchmarks.fidelity` records signals and compares them with the truth."""

from __future__ import annotations

import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from scipy import stats

from benchmarks.fidelity import (
    drawn,
    extend,
    missing,
    order,
    proxy_plans,
    truth_plan,
)
from benchmarks.fidelity_tables import (
    ceiling,
    correlation,
    course,
    difference,
    figures,
    lines,
    losses_against_accuracies,
    markdown,
    truth,
)
from benchmarks.fidelity_training import Plan, record
from benchmarks.json_rows import append_row, read_rows
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.segments import SegmentCache
from search_spaces.registry import get_space
from tests import small_networks

ARCHITECTURE = (0, 1, 0)


def plan(*lengths: int) -> Plan:
    recipe = Recipe(
        lengths[-1], 16, schedule="constant", warmup_epochs=2, epoch_steps=1
    )
    return Plan("constant", recipe, lengths, test=True)


class RecordTest(absltest.TestCase):
    def test_a_long_training_says_what_short_ones_say(self):
        space, dataset = small_networks.space(), small_networks.stripes()
        cache = SegmentCache()
        short, long = record(space, ARCHITECTURE, dataset, plan(8, 20), 0, cache)
        (alone,) = record(space, ARCHITECTURE, dataset, plan(8), 0, cache)
        self.assertEqual((short["step"], long["step"]), (8, 20))
        self.assertNotIn("test_accuracy", short)
        self.assertIn("test_accuracy", long)
        for name, value in alone.items():
            if name not in ("cpu_seconds", "test_accuracy", "test_loss"):
                self.assertAlmostEqual(short[name], value, places=4, msg=name)
        self.assertGreater(long["train_loss_last"], long["train_loss"])

    def test_another_call_adds_what_is_missing(self):
        space, dataset = small_networks.space(), small_networks.stripes()
        path = pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl"
        two = [ARCHITECTURE, (1, 1, 1)]
        long = truth_plan(dataset, 4)
        brief = proxy_plans(dataset, (3,), (2, 4), (3,))
        plans = [*((p, 100) for p in brief), (long, 0)]
        extend(path, space, dataset, two[:1], plans, np.inf)
        before = path.read_text("utf-8")
        self.assertLen(read_rows(path), 5)
        extend(path, space, dataset, two, plans, np.inf)
        self.assertStartsWith(path.read_text("utf-8"), before)
        rows = read_rows(path)
        self.assertLen(rows, 10)
        self.assertEmpty(list(missing(rows, two, plans)))
        known = truth(rows, long.name, "test_accuracy")
        self.assertCountEqual(known, two)
        named = {(line.training, line.signal) for line in lines(figures(rows), known)}
        self.assertIn(("no training", "zico"), named)
        self.assertIn(("constant, 2 steps", "average_valid_loss"), named)
        self.assertIn(("cosine 3, augmented, 3 steps", "valid_loss"), named)
        self.assertNotIn((f"{long.name}, 4 steps", "accuracy"), named)

    def test_a_line_that_was_cut_off_costs_no_other(self):
        path = pathlib.Path(tempfile.mkdtemp()) / "new" / "rows.jsonl"
        self.assertEmpty(read_rows(path))
        rows = [{"architecture": [number], "scores": {}} for number in range(3)]
        append_row(path, rows[0])
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows[1])[:12])
        self.assertEqual(read_rows(path), rows[:1])
        append_row(path, rows[1])
        append_row(path, rows[2])
        self.assertEqual(read_rows(path), rows)


class DrawTest(parameterized.TestCase):
    def test_each_part_of_the_band_has_one_architecture(self):
        space = get_space("mobilenet_v3_small", resolution=32, classes=10, channels=1)
        costs = [space.costs(a)["madds"] for a in drawn(space, "1M..3M", 8)]
        self.assertEqual(costs, sorted(costs))
        for part, cost in enumerate(costs):
            self.assertBetween(cost, 1e6 + part * 0.25e6, 1e6 + (part + 1) * 0.25e6)

    @parameterized.parameters(1, 3, 8, 13)
    def test_the_order_has_each_once_and_spreads_the_first(self, number):
        self.assertCountEqual(order(number), range(number))
        if number == 8:
            self.assertEqual(order(8)[:4], [0, 4, 2, 6])


class TableTest(parameterized.TestCase):
    @parameterized.parameters(0, 1, 2)
    def test_tau_is_that_of_scipy_inside_its_interval(self, seed):
        generator = np.random.default_rng(seed)
        truth_ = generator.normal(size=20)
        signal = np.round(truth_ + generator.normal(size=20), 1)
        found = correlation(truth_, signal)
        self.assertAlmostEqual(found.tau, stats.kendalltau(truth_, signal).statistic)
        self.assertBetween(found.tau, found.low, found.high)
        self.assertLess(found.low, found.high)

    def test_the_interval_holds_the_true_value_nearly_always(self):
        # For a correlation of 1/sqrt(2) of normal figures tau is 1/2.
        generator = np.random.default_rng(0)
        held = 0
        for _ in range(60):
            a = generator.normal(size=24)
            found = correlation(a, a + generator.normal(size=24))
            held += found.low <= 0.5 <= found.high
        self.assertBetween(held, 50, 60)

    def test_equal_ranks_are_certain_and_few_say_nothing(self):
        found = correlation(range(9), [x**3 for x in range(9)])
        self.assertEqual((found.tau, found.low, found.high), (1, 1, 1))
        self.assertTrue(np.isnan(correlation([1, 2], [1, 2]).tau))
        self.assertEqual(str(correlation([], [])), "–")

    def test_the_ceiling_is_between_the_seeds(self):
        known = {(i,): {0: i, 1: (i, 9 - i)[i > 6]} for i in range(9)}
        expected = stats.kendalltau(range(9), [s[1] for s in known.values()]).statistic
        self.assertAlmostEqual(ceiling(known).tau, expected)

    def test_two_signals_are_compared_on_the_same_architectures(self):
        known = list(range(12))
        same = difference(known, known, known)
        self.assertEqual((same.tau, same.low, same.high), (0, 0, 0))
        noisy = [3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10]
        better = difference(known, noisy, known)
        tau = stats.kendalltau(noisy, known).statistic
        self.assertAlmostEqual(better.tau, 1 - tau)
        self.assertBetween(better.tau, better.low, better.high)

    def test_a_loss_that_ranks_better_than_the_accuracy_is_said_to(self):
        rows = [
            {
                "training": "cosine 18",
                "architecture": [i],
                "seed": 0,
                "points": [
                    {"step": 18, "cpu_seconds": 2, "accuracy": i % 3, "valid_loss": i}
                ],
            }
            for i in range(9)
        ]
        known = {(i,): {0: i} for i in range(9)}
        (line,) = losses_against_accuracies(figures(rows), known)
        tau = stats.kendalltau([i % 3 for i in range(9)], range(9)).statistic
        self.assertStartsWith(line, f"cosine 18, 18 steps: {1 - tau:+.2f} (")

    def test_a_training_on_its_way_is_compared_with_another_seed_only(self):
        generator = np.random.default_rng(0)
        ends = generator.normal(size=(2, 8))
        rows = [
            {
                "training": "truth 8",
                "truth": True,
                "architecture": [i],
                "seed": seed,
                "points": [
                    dict.fromkeys(("accuracy", "valid_loss", "train_loss_last"), value)
                    | {"step": step, "cpu_seconds": 1.0, "test_accuracy": value}
                    for step, value in ((4, -ends[1, i]), (8, ends[seed, i]))
                ],
            }
            for seed in (0, 1)
            for i in range(8)
        ]
        early, other = course(rows, "truth 8", "test_accuracy")
        found = {line.training: line.correlation.tau for line in lines(early, other)}
        self.assertAlmostEqual(found["after 4 steps"], -1)
        expected = stats.kendalltau(*ends).statistic
        self.assertAlmostEqual(found["after 8 steps"], expected)

    def test_the_table_has_a_row_per_training(self):
        rows = [
            {
                "training": "cosine 18",
                "truth": False,
                "architecture": [i],
                "seed": 0,
                "points": [{"step": 18, "cpu_seconds": 2.0, "accuracy": i % 3}],
            }
            for i in range(5)
        ]
        found = markdown(lines(figures(rows), {(i,): {0: i} for i in range(5)}))
        self.assertIn("| cosine 18, 18 steps | 2.0 | ", found)
        self.assertEqual({line.count("|") for line in found.splitlines()}, {4})


if __name__ == "__main__":
    absltest.main()
