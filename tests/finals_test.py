"""The final trainings: who takes part, who wins, and nothing is trained twice."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import Evaluation
from layernas_tf.pipeline.baseline import Baseline
from layernas_tf.pipeline.final_trainer import FinalTrainer, Training
from layernas_tf.pipeline.finalists import Finalist, choose_finalists
from layernas_tf.pipeline.finals import (
    Finals,
    choose_winner,
    run_finals,
    seconds_of,
    seeds_from,
)
from layernas_tf.pipeline.halving import planned_epochs, rungs
from layernas_tf.space.budget import Budget, inside, parse_budget
from layernas_tf.study.open_storage import sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.training.paired import pack
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.train import evaluate_model
from layernas_tf.workers.executor import InProcess
from search_spaces.tabular.synthetic import synthetic
from tests.tiny_space import stripes, tiny_space

_RECIPE = Recipe(epochs=2, batch_size=16)


class FinalTrainerTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.dataset = stripes()
        self.trainer = self.make()

    def make(self, recipe: Recipe = _RECIPE) -> FinalTrainer:
        return FinalTrainer(self.folder, tiny_space(), self.dataset, recipe)

    def test_weights_give_the_figures(self):
        import keras

        training = self.trainer.test(self.trainer.train((1, 2), 0))
        model = keras.models.load_model(self.trainer.weights((1, 2), 0))
        valid = evaluate_model(model, self.dataset.valid)
        test = evaluate_model(model, self.dataset.test)

        self.assertAlmostEqual(training.valid_accuracy, valid.accuracy)
        self.assertAlmostEqual(training.test_accuracy, test.accuracy)
        self.assertAlmostEqual(training.test_loss, test.loss, places=5)

    def test_trains_each_architecture_seed_and_recipe_once(self):
        first = self.trainer.train((1, 2), 0)
        path = self.trainer.weights((1, 2), 0)
        written = path.stat().st_mtime_ns
        self.assertEqual(self.make().train((1, 2), 0), first)
        self.assertEqual(path.stat().st_mtime_ns, written)
        self.trainer.train((1, 2), 1)
        self.make(dataclasses.replace(_RECIPE, epochs=3)).train((1, 2), 0)

        self.assertLen(list(self.folder.glob("*.keras")), 3)

    def test_training_without_its_figures_is_done_again(self):
        self.trainer.train((1, 2), 0)
        path = self.trainer.weights((1, 2), 0)
        path.with_suffix(".json").unlink()
        path.write_bytes(b"half a file")
        training = self.trainer.test(self.trainer.train((1, 2), 0))

        self.assertIsNotNone(training.test_accuracy)

    def test_failed_training_says_why(self):
        training = self.trainer.train((0, 2), 0)

        self.assertIsNone(training.valid_accuracy)
        self.assertEqual(training.reason, "MemoryError: does not fit")
        self.assertEqual(self.make().train((0, 2), 0), training)

    def test_training_in_parts_is_the_training_at_once(self):
        recipe = dataclasses.replace(_RECIPE, epochs=4)
        at_once = self.make(recipe).train((1, 2), 0)
        weights = self.make(recipe).weights((1, 2), 0)
        for path in self.folder.iterdir():
            path.unlink()
        parts = [self.make(recipe).train((1, 2), 0, epochs) for epochs in (1, 2, 4)]

        self.assertEqual([part.epochs for part in parts], [1, 2, 4])
        self.assertAlmostEqual(parts[-1].valid_loss, at_once.valid_loss, places=4)
        self.assertEqual(parts[-1].valid_correct, at_once.valid_correct)
        written = weights.stat().st_mtime_ns
        self.assertEqual(self.make(recipe).train((1, 2), 0, 1), parts[0])
        self.assertEqual(self.make(recipe).train((1, 2), 0), parts[-1])
        self.assertEqual(weights.stat().st_mtime_ns, written)
        self.assertEmpty(list(self.folder.glob("*.npz")))

    def test_a_training_that_was_killed_goes_on_from_its_last_epoch(self):
        recipe = dataclasses.replace(_RECIPE, epochs=4)
        self.make(recipe).train((1, 2), 0, 3)
        (part,) = self.folder.glob("*-3.json")
        part.unlink()  # killed after the epoch and before its figures were written
        again = self.make(recipe).train((1, 2), 0, 3)
        self.assertEqual(again.epochs, 3)
        (checkpoint,) = self.folder.glob("*.checkpoint.npz")
        whole = self.make(recipe).train((1, 2), 0)
        self.assertEqual(whole.epochs, 4)
        self.assertFalse(checkpoint.exists())

    def test_half_a_checkpoint_is_trained_again(self):
        recipe = dataclasses.replace(_RECIPE, epochs=4)
        self.make(recipe).train((1, 2), 0, 1)
        (checkpoint,) = self.folder.glob("*.checkpoint.npz")
        checkpoint.write_bytes(b"half a file")

        self.assertEqual(self.make(recipe).train((1, 2), 0).epochs, 4)

    def test_figures_of_earlier_versions_are_read_and_tested_again(self):
        training = self.trainer.test(self.trainer.train((1, 2), 0))
        path = self.trainer.weights((1, 2), 0).with_suffix(".json")
        stored = json.loads(path.read_text())
        for new in ("epochs", "valid_correct", "test_correct"):
            del stored[new]
        path.write_text(json.dumps(stored))
        old = self.make().train((1, 2), 0)

        self.assertEqual(old.test_accuracy, training.test_accuracy)
        self.assertEqual(old.test_correct, "")
        again = self.make().test(old)
        self.assertEqual(again.test_correct, training.test_correct)
        path.write_text(json.dumps({**stored, "test_correct": "no bits"}))
        with self.assertRaisesRegex(UserError, "not the figures of a training"):
            self.make().train((1, 2), 0)

    def test_winner_and_baseline_are_compared_over_seeds(self):
        lines = []
        space = tiny_space()
        finals = run_finals(
            self.trainer,
            [Finalist((0, 2), 4, 0.9), Finalist((2, 2), 7, 0.8)],
            Baseline("default network", space, (1, 1)),
            seed=5,
            seeds=2,
            say=lines.append,
        )

        self.assertEqual(finals.winner, Finalist((2, 2), 7, 0.8))
        self.assertEqual([t.seed for t in finals.winner_trainings], [5, 6])
        self.assertEqual([t.seed for t in finals.baseline_trainings], [5, 6])
        self.assertTrue(finals.weights.exists())
        self.assertIn("finalist 1 of 2 (trial 4): failed (MemoryError", lines[0])
        self.assertEqual(finals.comparison.images, 30)
        self.assertEqual(finals.comparison.seeds, 2)
        means = [
            np.mean([t.test_accuracy for t in trainings])
            for trainings in (finals.winner_trainings, finals.baseline_trainings)
        ]
        self.assertAlmostEqual(finals.comparison.difference, means[0] - means[1])
        whole = {(t.architecture, t.seed): t.seconds for t in finals.winner_trainings}
        self.assertGreaterEqual(finals.seconds, sum(whole.values()))

    def test_a_training_that_targets_share_is_counted_once(self):
        def finals(*seconds: float) -> Finals:
            trained = [Training((n,), 0, 0.5, 1.0, s) for n, s in enumerate(seconds)]
            return Finals(
                finalists=tuple((Finalist(t.architecture, 0, 0.5), t) for t in trained),
                winner=Finalist((0,), 0, 0.5),
                reason="",
                winner_trainings=(trained[0],),
                baseline=Baseline("default network", tiny_space(), (0,)),
                baseline_trainings=(trained[0],),
                comparison=None,
                weights=self.folder / "x.keras",
            )

        large, small = finals(5.0, 3.0), finals(5.0, 2.0, 4.0)
        self.assertEqual(large.seconds, 8.0)
        self.assertEqual(seconds_of([large, small]), 5.0 + 3.0 + 4.0)

    def test_after_the_largest_seed_comes_0(self):
        self.assertEqual(seeds_from(2**32 - 2, 3), [2**32 - 2, 2**32 - 1, 0])

    def test_no_finalist_that_can_be_trained_is_an_error(self):
        with self.assertRaisesRegex(UserError, "none of the 1 .* does not fit"):
            run_finals(
                self.trainer,
                [Finalist((0, 2), 4, 0.9)],
                seed=0,
                seeds=1,
                say=print,
            )


class FixedTrainer:
    """Hands out figures instead of training: an accuracy for each part."""

    epochs = 8
    steps_per_epoch = 100

    def __init__(self, figures):
        self._figures = figures
        self.trained: list[tuple] = []

    def train(self, architecture, seed, epochs=8):
        self.trained.append((architecture, epochs))
        accuracy = self._figures[architecture].get(epochs)
        loss = None if accuracy is None else 1 - accuracy
        # On the validation images all are at chance until the end.
        valid = 0.1 if accuracy is not None and epochs < 8 else accuracy
        return Training(
            architecture, seed, valid, loss, 1.0, epochs=epochs, train_loss=loss
        )

    def test(self, training):
        return dataclasses.replace(training, test_accuracy=0.5, test_loss=1.0)

    def weights(self, architecture, seed):
        return pathlib.Path(f"{architecture}-{seed}.keras")


def run_fixed(figures) -> tuple:
    trainer = FixedTrainer(figures)
    chosen = [Finalist(a, n, 0.5) for n, a in enumerate(figures)]
    finals = run_finals(trainer, chosen, seed=0, seeds=1, say=lambda _: None)
    return trainer, finals


class HalvingTest(absltest.TestCase):
    def test_the_better_half_goes_on(self):
        trainer, finals = run_fixed(
            {
                (0,): {2: 0.1},
                (1,): {2: 0.4, 4: 0.5, 8: 0.6},
                (2,): {2: 0.3, 4: 0.4},
                (3,): {2: 0.5, 4: 0.6, 8: 0.7},
                (4,): {2: 0.2},
            }
        )
        self.assertEqual(finals.winner.architecture, (3,))
        self.assertEqual([t.epochs for _, t in finals.finalists], [2, 8, 4, 8, 2])
        self.assertIsNone(finals.finalists[0][1].test_accuracy)
        spent = planned_epochs(trainer, 5, 1, baseline=False)
        self.assertEqual(spent, 5 * 2 + 3 * 2 + 2 * 4)

    def test_those_that_fail_leave_their_place_to_others(self):
        trainer, finals = run_fixed(
            {(0,): {2: 0.3, 8: 0.3}, (1,): {2: 0.5}, (2,): {2: 0.4}, (3,): {}}
        )
        self.assertEqual(finals.winner.architecture, (0,))
        failed = [training.failed for _, training in finals.finalists]
        self.assertEqual(failed, [False, True, True, True])

    def test_few_epochs_or_finalists_have_no_rungs(self):
        trainer = FixedTrainer({})
        self.assertEqual(rungs(1, 8), [])
        self.assertEqual(rungs(20, 2), [])
        self.assertEqual(rungs(2, 8), [(1, 4)])
        self.assertEqual(rungs(20, 3), [(5, 2)])
        self.assertEqual(rungs(20, 4), [(5, 2)])
        self.assertEqual(rungs(20, 9), [(5, 5), (10, 3)])
        self.assertEqual(rungs(20, 8, 10), [(10, 4)])
        self.assertEqual(rungs(20, 8, 1), [])
        self.assertEqual(planned_epochs(trainer, 1, 3, baseline=True), 8 * 6)


def trained(correct: str, loss: float = 0.5) -> Training:
    right = np.array([letter == "1" for letter in correct])
    return Training((0,), 0, right.mean(), loss, 1.0, valid_correct=pack(right))


class WinnerTest(absltest.TestCase):
    def test_best_on_validation_wins_by_more_than_the_noise(self):
        best = (Finalist((0, 0), 1, 0.5), trained("1" * 90 + "0" * 10))
        other = (Finalist((1, 1), 2, 0.9), trained("1" * 70 + "0" * 30))
        winner, reason = choose_winner([other, best], "accuracy")

        self.assertEqual(winner.trial, 1)
        self.assertIn("trial 1 wins: it is the best", reason)

    def test_of_equals_the_search_decides_then_the_loss(self):
        # Ten images are told apart, six to four.
        one = trained("1" * 86 + "0" * 4 + "1" * 10)
        two = trained("1" * 80 + "0" * 6 + "1" * 4 + "1" * 10)
        lucky = Finalist((0, 0), 1, proxy_reward=0.9, quality=0.5)
        better = Finalist((1, 1), 2, proxy_reward=0.8, quality=0.6)
        winner, reason = choose_winner([(lucky, one), (better, two)], "accuracy")
        self.assertEqual(winner, better)
        self.assertIn("cannot tell it from trial 1", reason)

        equal = dataclasses.replace(lucky, trial=3)
        entries = [(lucky, one), (equal, dataclasses.replace(one, valid_loss=0.4))]
        self.assertEqual(choose_winner(entries, "accuracy")[0], equal)


class ChooseFinalistsTest(absltest.TestCase):
    def run_search(
        self, trials: int, evaluator=None, algorithm: str = "layernas", **options
    ):
        table = synthetic(layers=6, options=4, buckets=36)
        space = table.space
        budgets = (parse_budget("cost<=50%", space),)
        folder = self.enter_context(tempfile.TemporaryDirectory())
        make = functools.partial(
            make_algorithm, algorithm, space, budgets, 0, **options
        )
        url = sqlite_url(pathlib.Path(folder) / "study.db")
        study = open_study(url, "test", space, budgets, make)
        executor = InProcess(
            evaluator or (lambda c: Evaluation(table.query(c.architecture).valid))
        )
        for _ in range(trials):
            executor.submit(study.ask())
            study.tell(executor.wait()[0])
        return study

    def test_best_inside_the_budget_come_first(self):
        study = self.run_search(40, algorithm="random")
        finalists = choose_finalists(study, 3)
        rewards = sorted((t.reward for t in study.trials), reverse=True)

        self.assertEqual([f.proxy_reward for f in finalists], rewards[:3])
        for finalist in finalists:
            trial = study.trials[finalist.trial]
            self.assertEqual(trial.architecture, finalist.architecture)
            self.assertTrue(inside(study.budgets, trial.costs))

    def test_a_lucky_candidate_is_not_what_is_expected_of_it(self):
        study = self.run_search(40, algorithm="layernas_bayes")
        belief = study.algorithm.belief
        expected = dict(zip(belief.architectures, belief.expected_quality()))
        finalists = choose_finalists(study, 5)
        qualities = [finalist.quality for finalist in finalists]

        self.assertEqual(qualities, sorted(expected.values(), reverse=True)[:5])
        self.assertEqual(finalists[0].architecture, study.algorithm.best.architecture)
        self.assertEqual(finalists[0].expected_quality, qualities[0])

    def test_who_always_takes_part_does_so_in_place_of_the_least(self):
        study = self.run_search(40, algorithm="random")
        best, second, _ = choose_finalists(study, 3)
        least = min(study.trials, key=lambda trial: trial.reward).architecture
        with_least = choose_finalists(study, 3, always=[least, (0,) * 5])
        self.assertEqual(with_least[:2], [best, second])
        self.assertEqual(with_least[2].architecture, least)
        with_best = choose_finalists(study, 3, always=[best.architecture])
        self.assertEqual(with_best, choose_finalists(study, 3))

    def test_finalists_of_a_smaller_budget_are_inside_it(self):
        study = self.run_search(40, algorithm="random")
        smaller = (parse_budget("cost<=40%", study.space),)
        for finalist in choose_finalists(study, 3, smaller):
            self.assertTrue(inside(smaller, study.space.costs(finalist.architecture)))
        costs = [trial.costs["cost"] for trial in study.trials]
        cheaper = (Budget("cost", 0, 0.99 * min(costs)),)  # nothing was tried there
        for finalist in choose_finalists(study, 3, cheaper):
            self.assertTrue(inside(cheaper, study.space.costs(finalist.architecture)))
            self.assertIsNone(finalist.trial)
            self.assertIn("predicted", finalist.name)
        trained = choose_finalists(study, 3, study.budgets, untried=True)
        qualities = [finalist.expected_quality for finalist in trained]
        self.assertEqual(qualities, sorted(qualities, reverse=True))

    def test_search_too_short_gives_its_completed_prefix(self):
        study = self.run_search(3, base="default")
        self.assertFalse(any(inside(study.budgets, t.costs) for t in study.trials))
        (finalist,) = choose_finalists(study, 3)

        self.assertIsNone(finalist.trial)
        self.assertIsNone(finalist.proxy_reward)
        costs = study.space.costs(finalist.architecture)
        self.assertTrue(inside(study.budgets, costs))

    def test_no_success_at_all_is_an_error_with_the_reason(self):
        study = self.run_search(2, lambda candidate: 1 / 0)
        with self.assertRaisesRegex(UserError, "none of the 2 trials .*ZeroDivision"):
            choose_finalists(study, 3)


if __name__ == "__main__":
    absltest.main()
