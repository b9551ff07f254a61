"""The final trainings: who takes part, who wins, and nothing is trained twice."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.datasets import ArraySplit, Dataset
from layernas_tf.evaluators.base import Evaluation
from layernas_tf.pipeline.final_trainer import FinalTrainer, Training
from layernas_tf.pipeline.finals import (
    Finalist,
    choose_finalists,
    run_finals,
)
from layernas_tf.space.budget import inside, parse_budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State
from layernas_tf.study.storage import sqlite_url
from layernas_tf.study.study import open_study
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.train import evaluate_model
from layernas_tf.workers.executor import InProcess
from search_spaces.tabular.synthetic import synthetic

_RECIPE = Recipe(epochs=2, batch_size=16)


def tiny_space() -> SearchSpace:
    """Two convolutions of 2, 4 or 8 filters for images of 8x8 pixels."""

    def transition(state: State, option: Option):
        filters = option["filters"]
        madds = 9 * state.channels * filters * state.height * state.width
        return dataclasses.replace(state, channels=filters), {"madds": madds}

    def build(architecture):
        import keras

        image = keras.Input((8, 8, 1))
        x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
        for index in architecture:
            x = keras.layers.Conv2D(2 << index, 3, activation="relu")(x)
        if architecture == (0, 2):
            raise MemoryError("does not fit")
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(image, keras.layers.Dense(3)(x))

    options = tuple(Option.of(filters=filters) for filters in (2, 4, 8))
    return SearchSpace(
        name="tiny",
        start=State(1, 8, 8),
        layers=tuple(Layer(name, options, 1, transition) for name in ("a", "b")),
        metrics=(Metric("madds"),),
        builder=build,
    )


def stripes() -> Dataset:
    """Images whose brightness tells the class."""
    rng = np.random.default_rng(0)

    def split(count: int) -> ArraySplit:
        labels = np.arange(count, dtype=np.int32) % 3
        images = (
            rng.integers(0, 60, (count, 8, 8, 1)) + labels[:, None, None, None] * 90
        )
        return ArraySplit(images.astype(np.uint8), labels)

    return Dataset(
        name="stripes",
        classes=3,
        class_names=("a", "b", "c"),
        shape=(8, 8, 1),
        train=split(48),
        valid=split(24),
        test=split(30),
        mirrors=False,
    )


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

    def test_winner_and_default_are_compared_over_seeds(self):
        lines = []
        finals = run_finals(
            self.trainer,
            [Finalist((0, 2), 4, 0.9), Finalist((2, 2), 7, 0.8)],
            (1, 1),
            seed=5,
            seeds=2,
            say=lines.append,
        )

        self.assertEqual(finals.winner, Finalist((2, 2), 7, 0.8))
        self.assertEqual([t.seed for t in finals.winner_trainings], [5, 6])
        self.assertEqual([t.seed for t in finals.default_trainings], [5, 6])
        self.assertTrue(finals.weights.exists())
        self.assertLen(lines, 6)
        self.assertIn("finalist 1 of 2 (trial 4): failed (MemoryError", lines[0])

    def test_no_finalist_that_can_be_trained_is_an_error(self):
        with self.assertRaisesRegex(UserError, "none of the 1 .* does not fit"):
            run_finals(
                self.trainer,
                [Finalist((0, 2), 4, 0.9)],
                (1, 1),
                seed=0,
                seeds=1,
                say=print,
            )


class FixedTrainer:
    """Hands out figures instead of training."""

    def __init__(self, figures):
        self._figures = figures

    def train(self, architecture, seed):
        accuracy, loss = self._figures[architecture]
        return Training(architecture, seed, accuracy, loss, 1.0)

    def test(self, training):
        return dataclasses.replace(training, test_accuracy=0.5, test_loss=1.0)

    def weights(self, architecture, seed):
        return pathlib.Path(f"{architecture}-{seed}.keras")


class WinnerTest(absltest.TestCase):
    def test_best_on_validation_wins_and_of_equals_the_least_loss(self):
        figures = {
            (0, 0): (0.90, 0.5),
            (0, 1): (0.95, 0.4),
            (1, 0): (0.95, 0.3),
            (1, 1): (0.97, 0.9),
        }
        chosen = [Finalist(a, n, None) for n, a in enumerate([(0, 0), (0, 1), (1, 0)])]
        finals = run_finals(
            FixedTrainer(figures), chosen, (1, 1), seed=0, seeds=1, say=lambda _: None
        )

        self.assertEqual(finals.winner.architecture, (1, 0))
        self.assertIsNone(finals.finalists[0][1].test_accuracy)


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
