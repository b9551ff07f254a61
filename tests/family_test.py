"""Families of budgets with a winner each, and finished searches for other budgets."""

from __future__ import annotations

import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

import layernas_tf
from layernas_tf.algorithms.layernas_bayes import LayerNASBayes
from layernas_tf.algorithms.prediction import predicted
from layernas_tf.algorithms.reward_belief import RewardBelief
from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.targets import join_family, read_targets, united
from layernas_tf.space.budget import inside
from search_spaces.mobile.mobilenet_v3 import mobilenet_v3_small
from search_spaces.tabular.synthetic import synthetic
from tests.small_blocks import small_space, table_of
from tests.tiny_space import tiny_space


def images(number: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is their brightness."""
    labels = np.arange(number) % 3
    noise = np.random.default_rng(0).integers(0, 60, (number, 8, 8))
    return (noise + 80 * labels[:, None, None]).astype(np.uint8), labels


def large(candidate) -> float:
    """A reward without training: the share of the largest options, with some noise."""
    noise = np.random.default_rng(sum(candidate.architecture)).normal(0, 0.01)
    return float(np.mean(candidate.architecture)) + noise


class TargetsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.space = mobilenet_v3_small(resolution=32, classes=10)

    def test_a_family_has_a_target_for_each_limit_the_largest_first(self):
        targets = read_targets(["madds<=30%, 60%,45%", "params<=1M"], self.space)
        full = self.space.costs(self.space.default)["madds"]

        self.assertEqual(
            [target.folder for target in targets],
            ["winner", "winner_45pct", "winner_30pct"],
        )
        highs = [target.budgets[0].high / full for target in targets]
        np.testing.assert_allclose(highs, [0.6, 0.45, 0.3])
        self.assertTrue(all(target.budgets[1].high == 1e6 for target in targets))
        self.assertEqual(united(targets), targets[0].budgets)

    def test_a_list_of_budgets_is_a_family(self):
        self.assertEqual(join_family(["madds<=30%", "madds <= 60%"]), "madds<=30%,60%")
        for texts in (["madds<=30%", "params<=1M"], ["madds<=3M", "madds=2M..3M"]):
            with self.assertRaisesRegex(UserError, "several limits of one cost"):
                join_family(texts)

    def test_bands_are_united(self):
        targets = read_targets(["madds=2M..2.5M,3M..3.5M"], self.space)
        self.assertEqual([t.folder for t in targets], ["winner", "winner_2M-2.5M"])
        (budget,) = united(targets)
        self.assertEqual((budget.low, budget.high), (2e6, 3.5e6))

    def test_a_single_budget_is_one_target(self):
        (target,) = read_targets(["madds<=3M", "params<=1M"], self.space)
        self.assertEqual(target.folder, "winner")
        self.assertEqual(str(target), "madds<=3M and params<=1M")
        self.assertEqual(str(read_targets([], self.space)[0]), "no budget")

    @parameterized.parameters(
        (["madds<=3M,4M", "params<=1M,2M"], "several limits in one budget at most"),
        (["madds<=3M,"], "expected limits such as"),
        (["madds,params"], "expected limits such as"),
        (["madds<=3M,3M"], "expected limits that differ"),
        (["madds<=3M,1"], "cannot be met"),
    )
    def test_refuses(self, texts, pattern):
        with self.assertRaisesRegex(UserError, pattern) as caught:
            read_targets(texts, self.space)
        self.assertNotIn("\n", str(caught.exception))


class AsksTest(absltest.TestCase):
    def test_asks_take_the_budgets_in_turn_and_one_reward_serves_all(self):
        table = synthetic(layers=6, options=4, buckets=36)
        space = table.space
        targets = read_targets(["cost<=40%,60%,80%"], space)
        search = LayerNASBayes(
            space, united(targets), limits=[target.budgets for target in targets]
        )
        found = []
        for number in range(24):
            candidate = search.ask(number)
            reward = table.query(candidate.architecture).valid
            search.tell(candidate, reward)
            found.append((space.costs(candidate.architecture), reward))
        for target in targets:
            costs = [c for c, _ in found if inside(target.budgets, c)]
            most = max(c["cost"] for c in costs)
            self.assertGreater(most, 0.9 * target.budgets[0].high)
            self.assertGreaterEqual(len(costs), 6)

    def test_what_was_learned_recommends_inside_other_budgets(self):
        table = synthetic(layers=6, options=4, buckets=36)
        space = table.space
        belief = RewardBelief(space)
        rng = np.random.default_rng(0)
        for _ in range(60):
            architecture = tuple(int(rng.integers(4)) for _ in range(6))
            belief.add(architecture, table.query(architecture).valid)
        budgets = read_targets(["cost<=50%"], space)[0].budgets
        best = predicted(space, belief, budgets, 3)
        rewards = [table.query(answer.architecture).valid for answer in best]

        for answer in best:
            self.assertTrue(inside(budgets, space.costs(answer.architecture)))
        self.assertEqual(
            [a.quality for a in best], sorted(a.quality for a in best)[::-1]
        )
        random = [
            table.query(a).valid
            for a in belief.architectures
            if inside(budgets, space.costs(a))
        ]
        self.assertGreater(max(rewards), np.quantile(random, 0.8))


class SearchTest(absltest.TestCase):
    def search(self, workdir: pathlib.Path, **options):
        given = {
            "train": images(),
            "test": images(30),
            "evaluator": large,
            "space": tiny_space(),
            "resolution": 8,
            "final_epochs": 1,
            "finalists": 2,
            "final_seeds": 1,
            "formats": "float32",
            "verbose": 0,
        }
        return layernas_tf.run_search(workdir=workdir, **{**given, **options})

    def test_one_search_ends_with_a_winner_for_each_budget_and_serves_others(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        result = self.search(
            folder / "a", budget=[["madds<=60%", "madds<=150%"]], trials=5
        )
        space = result.space
        full = space.costs(space.default)["madds"]

        self.assertEqual(list(result.winners), ["winner", "winner_60pct"])
        self.assertEqual(result.winner, result.winners["winner"])
        self.assertRegex(result.verdict, "default network")
        for name, share in (("winner", 1.5), ("winner_60pct", 0.6)):
            winner = result.winners[name]
            self.assertLessEqual(winner.costs["madds"], share * full + 1)
            metrics = json.loads((folder / "a" / name / "metrics.json").read_text())
            self.assertEqual(metrics["costs"], winner.costs)
            self.assertIn(f"{name}/model_float32.tflite", metrics["files"])
            self.assertLessEqual(
                metrics["baseline"]["costs"]["madds"], share * full + 1
            )
            self.assertIn("sentence", metrics["comparison"])
            self.assertTrue((folder / "a" / name / "architecture.json").exists())
        report = (folder / "a" / "report.html").read_text()
        self.assertIn('data-chart="family"', report)
        self.assertIn("winner_60pct", report)

        again = self.search(
            folder / "b", budget="madds<=100%", retarget_from=str(folder / "a")
        )
        self.assertLen(again.trials, 5)
        self.assertLessEqual(again.winner.costs["madds"], full + 1)
        self.assertIsNotNone(again.winner.test_accuracy)
        rewards = [trial["reward"] for trial in _rows(again)]
        self.assertEqual(rewards, [trial["reward"] for trial in _rows(result)])
        # And the same call finds what is there.
        third = self.search(
            folder / "b", budget="madds<=100%", retarget_from=str(folder / "a")
        )
        self.assertEqual(third.winner, again.winner)
        with self.assertRaisesRegex(UserError, "`seed`=5: the search in .* had 0"):
            self.search(
                folder / "c",
                budget="madds<=50%",
                seed=5,
                retarget_from=str(folder / "a"),
            )
        with self.assertRaisesRegex(UserError, "the data changed"):
            self.search(
                folder / "c",
                train=images(63),
                budget="madds<=50%",
                retarget_from=str(folder / "a"),
            )
        self.assertFalse((folder / "c").exists())

    def test_a_finished_search_serves_another_device(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        space = small_space()
        for name, scale in (("old", 2.0), ("new", 5.0)):
            table = json.dumps(table_of(space, scale=scale))
            (folder / f"{name}.json").write_text(table)

        def search(name: str, **options):
            return layernas_tf.run_search(
                evaluator=large,
                latency_table=str(folder / f"{name}.json"),
                workdir=folder / name,
                verbose=0,
                **options,
            )

        old = search("old", space=space, budget="latency_ms<=95%", trials=5)
        new = search(
            "new",
            space=space,
            budget="latency_ms<=90%",
            retarget_from=str(folder / "old"),
        )
        for one, two in zip(_rows(old), _rows(new), strict=True):
            self.assertEqual(one["architecture"], two["architecture"])
            self.assertEqual(one["reward"], two["reward"])
            self.assertGreater(two["latency_ms"], 1.5 * one["latency_ms"])
        full = new.space.costs(new.space.default)["latency_ms"]
        self.assertLessEqual(new.winner.costs["latency_ms"], 0.9 * full)

    def test_what_is_no_finished_search_is_refused(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        with self.assertRaisesRegex(UserError, "the workdir of a finished search"):
            self.search(folder / "b", budget="madds<=5%", retarget_from=str(folder))


def _rows(result) -> list[dict]:
    trials = result.trials
    return trials if isinstance(trials, list) else trials.to_dict("records")


if __name__ == "__main__":
    absltest.main()
