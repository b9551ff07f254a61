"""Searches and trainings from pretrained weights."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized
from rich.console import Console

from layernas_tf import run_search, search, train_architecture
from layernas_tf.core.errors import UserError
from layernas_tf.datasets.split import ArraySplit, Dataset
from layernas_tf.evaluators.keras_evaluator import KerasEvaluator
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.load_task import load_task
from layernas_tf.space.budget import parse_budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.even_cuts import even_cuts
from layernas_tf.space.parts import is_part
from layernas_tf.training.pretrained import load_pretrained
from layernas_tf.training.recipe import Recipe, default_recipe
from layernas_tf.training.start import load_start, observe_start, save_start
from search_spaces.registry import check_name, get_space
from tests.published_blocks import space

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_SPACE_FILE = f"{_ROOT / 'tests/published_blocks.py'}:space"
SPACE = space()


def stripes(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of stripes across, stripes down, or a checkerboard, in noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16] // 2 % 2
    patterns = np.stack([rows, columns, rows ^ columns])
    labels = np.arange(number) % 3
    images = patterns[labels] * 60.0 + generator.normal(90, 60, (number, 16, 16))
    return np.repeat(np.clip(images, 0, 255).astype(np.uint8)[..., None], 3, -1), labels


def _dataset() -> Dataset:
    train, valid, test = (ArraySplit(*stripes(96, seed)) for seed in range(3))
    names = ("across", "down", "checkers")
    return Dataset("stripes", 3, names, (16, 16, 3), train, valid, test, False)


class PretrainedTestCase(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory(prefix="pretrained"))
        )
        cls.weights = str(cls.shared / "published.keras")
        keras.utils.set_random_seed(0)
        SPACE.build(SPACE.default).save(cls.weights)
        cls.dataset = _dataset()
        np.savez(
            cls.shared / "stripes.npz",
            x_train=cls.dataset.train.images,
            y_train=cls.dataset.train.labels,
            x_test=cls.dataset.test.images,
            y_test=cls.dataset.test.labels,
        )

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

    def refused(self, pattern, function, *args, **kwargs):
        with self.assertRaisesRegex(UserError, pattern) as caught:
            function(*args, **kwargs)
        self.assertNotIn("\n", str(caught.exception))


class StartTest(PretrainedTestCase):
    def start(self):
        return observe_start(load_pretrained(SPACE, self.weights), self.dataset)

    def test_what_is_kept_prepares_the_same_networks(self):
        start = self.start()
        save_start(start, self.folder / "pretrained.npz")
        kept = load_start(self.folder / "pretrained.npz", SPACE, self.dataset)
        outputs = []
        for each in (start, kept):
            keras.utils.set_random_seed(1)
            model = SPACE.build((0, 1, 2, 3, 1, 2, 0))
            each.prepare(model)
            outputs.append(np.asarray(model(self.dataset.valid.images)))
        np.testing.assert_allclose(*outputs, atol=1e-5)
        self.assertEqual(kept.about, start.about)

    def test_the_images_do_not_depend_on_the_seed_of_the_process(self):
        path = self.folder / "pretrained.npz"
        keras.utils.set_random_seed(1)
        start = self.start()
        save_start(start, path)
        keras.utils.set_random_seed(2)
        kept = load_start(path, SPACE, self.dataset)
        np.testing.assert_array_equal(kept.images, start.images)
        np.testing.assert_array_equal(kept.labels, start.labels)
        self.assertEqual(tf.compat.v1.random.get_seed(0)[0], 2)

    def test_a_damaged_file_is_one_line(self):
        path = self.folder / "pretrained.npz"
        save_start(self.start(), path)
        path.write_bytes(path.read_bytes()[:-200])
        self.refused("remove it and run", load_start, path, SPACE, self.dataset)

    def test_a_candidate_is_judged_without_training_or_after_a_short_one(self):
        start = self.start()
        smaller = even_cuts(SPACE, [parse_budget("madds<=70%", SPACE)])[0]
        figures = []
        for recipe in (Recipe(0), Recipe(2, batch_size=32, learning_rate=1e-3)):
            evaluator = KerasEvaluator(SPACE, self.dataset, recipe, start=start)
            one, other = (evaluator(Candidate(smaller, n)) for n in range(2))
            self.assertEqual(one.reward, other.reward)
            self.assertEqual(one.metrics["pretrained_share"], 1)
            figures.append(one)
        self.assertNotIn("train_loss", figures[0].metrics)
        self.assertGreater(figures[0].reward, 0.5)
        self.assertIn("train_loss", figures[1].metrics)

    def test_without_weights_something_must_be_trained(self):
        self.refused("at least 1", KerasEvaluator, SPACE, self.dataset, Recipe(0))


class SearchTest(PretrainedTestCase):
    def search(self, trials=3, **options):
        return run_search(
            (self.dataset.train.images, self.dataset.train.labels),
            test=(self.dataset.test.images, self.dataset.test.labels),
            **{
                "space": SPACE,
                "resolution": 16,
                "budget": "madds<=70%",
                "trials": trials,
                "pretrained": self.weights,
                "finalists": 1,
                "final_epochs": 1,
                "final_seeds": 1,
                "baseline": "none",
                "formats": "float32",
                "workdir": self.folder / "search",
                "verbose": 0,
                **options,
            },
        )

    def test_begins_with_even_cuts_and_resumes_with_the_same_weights(self):
        trials = []
        self.search(callbacks=[trials.append])
        cuts = even_cuts(SPACE, [parse_budget("madds<=70%", SPACE)])
        self.assertEqual([trial.architecture for trial in trials[:2]], cuts[:2])
        kept = self.folder / "search" / "pretrained.npz"
        written = kept.stat().st_mtime_ns
        again = self.search(trials=4, callbacks=[trials.append])
        self.assertLen(again.trials, 4)
        for trial in trials:
            for layer, index in zip(SPACE.layers, trial.architecture):
                whole = layer.options[layer.default]
                self.assertTrue(is_part(layer.options[index], whole))
        self.assertEqual(kept.stat().st_mtime_ns, written)
        self.refused("`pretrained` was", self.search, pretrained="")
        model = keras.models.load_model(self.weights, compile=False)
        model.get_layer("stem_bn").beta.assign(np.ones(24))
        model.save(self.folder / "other.keras")
        content = (self.folder / "other.keras").read_bytes()
        original = pathlib.Path(self.weights).read_bytes()
        try:
            pathlib.Path(self.weights).write_bytes(content)
            self.refused("the pretrained weights", self.search)
        finally:
            pathlib.Path(self.weights).write_bytes(original)
        # The winner is a source itself.
        winner = str(self.folder / "search" / "winner" / "model.keras")
        next_one = self.search(
            pretrained=winner, workdir=self.folder / "next", distill="logits"
        )
        self.assertGreater(next_one.winner.test_accuracy, 0.4)  # chance is a third

    def test_parts_are_proposed_where_parts_are_inside(self):
        for budget, whole in (("madds<=70%", False), ("madds=101%..140%", True)):
            config = SearchConfig(
                space=_SPACE_FILE,
                dataset=f"npz:{self.shared}/stripes.npz",
                resolution=16,
                budget=(budget,),
                pretrained=self.weights,
            )
            task = load_task(config, Inputs(get_space, check_name))
            architecture = task.make_algorithm().ask().architecture
            parts = all(
                is_part(layer.options[index], layer.options[layer.default])
                for layer, index in zip(task.space.layers, architecture)
            )
            self.assertEqual(parts, not whole, budget)
            self.assertEqual(task.trials, 200)
            given = dataclasses.replace(config, trials=7)
            self.assertEqual(dataclasses.replace(task, config=given).trials, 7)

    def test_a_process_of_its_own_trains_the_candidates(self):
        config = SearchConfig(
            space=_SPACE_FILE,
            dataset=f"npz:{self.shared / 'stripes.npz'}",
            resolution=16,
            stem_stride=2,
            budget=("madds<=70%",),
            trials=2,
            pretrained=self.weights,
            reward="accuracy",
            finalists=1,
            final_epochs=1,
            final_seeds=1,
            baseline="none",
            formats="float32",
        )
        shown = io.StringIO()
        finished = search.run(config, str(self.folder / "search"), Console(file=shown))
        self.assertIn("Pretrained weights: ", shown.getvalue())
        self.assertIn("layers from", shown.getvalue())
        for trial in finished.study.trials:
            self.assertGreater(trial.reward, 0.4)

    @parameterized.parameters(
        ({"pretrained": "weights.pth"}, "expected 'imagenet'"),
        ({"pretrained": "missing.keras"}, "no such file"),
        ({"pretrained": "imagenet"}, "no weights for space 'small'"),
        ({"space": "mnasnet"}, "another network"),
        ({"inherit_weights": True}, "expected without `pretrained`"),
        ({"evaluator": lambda candidate: 0.5}, "expected without `evaluator`"),
        ({"pretrained": "", "epochs": 0}, "`epochs`: expected at least 1"),
        ({"reward": "train_loss_sum"}, "expected with `epochs` of 1 or more"),
    )
    def test_one_line_says_what_is_wrong(self, options, pattern):
        self.refused(pattern, self.search, **options)
        self.assertFalse((self.folder / "search").exists())

    def test_a_truncated_file_is_one_line(self):
        path = self.folder / "half.keras"
        content = pathlib.Path(self.weights).read_bytes()
        path.write_bytes(content[: len(content) // 2])
        self.refused("cannot be read", self.search, pretrained=str(path))


class TrainTest(PretrainedTestCase):
    def test_the_command_starts_from_the_weights(self):
        architecture = self.folder / "architecture.json"
        own = {**SPACE.to_json(SPACE.default), "space": _SPACE_FILE}
        architecture.write_text(json.dumps(own))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "layernas_tf.train"),
                f"--architecture={architecture}",
                f"--space={_SPACE_FILE}",
                f"--dataset=npz:{self.shared / 'stripes.npz'}",
                f"--pretrained={self.weights}",
                "--epochs=1",
                f"--workdir={self.folder / 'out'}",
            ],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Pretrained weights: ", done.stdout)
        metrics = json.loads((self.folder / "out" / "metrics.json").read_text())
        self.assertLen(metrics["pretrained"], 16)
        self.assertGreater(metrics["test_accuracy"], 0.5)

    def test_the_function_starts_from_the_weights(self):
        images = self.dataset.train
        trained = train_architecture(
            None,
            (images.images, images.labels),
            test=(self.dataset.test.images, self.dataset.test.labels),
            space=space(resolution=32),
            workdir=self.folder / "out",
            pretrained=self.weights,
            epochs=1,
        )
        self.assertGreater(trained.test_accuracy, 0.5)


class RecipeTest(absltest.TestCase):
    def test_weights_that_are_worth_keeping_are_trained_gently(self):
        dataset = _dataset()
        proxy = default_recipe(dataset, proxy=True, pretrained=True)
        final = default_recipe(dataset, proxy=False, pretrained=True)
        self.assertEqual(proxy.epochs, 0)
        fresh = default_recipe(dataset, proxy=False)
        self.assertLess(final.learning_rate, fresh.learning_rate)
        self.assertEqual(dataclasses.replace(proxy, epochs=1).epochs, 1)


if __name__ == "__main__":
    absltest.main()
