"""The public Python functions: what they take, give back and refuse."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

import layernas_tf
from layernas_tf.algorithms.random_search import RandomSearch
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from search_spaces.registry import get_space
from search_spaces.tabular.burger import burger

_EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"


def images(number: int = 60, size: int = 32, channels: int = 3):
    """Images whose class is their brightness, so that a network can learn it."""
    rng = np.random.default_rng(0)
    labels = np.arange(number) % 3
    noise = rng.integers(0, 60, (number, size, size, channels))
    return (noise + 80 * labels[:, None, None, None]).astype(np.uint8), labels


def brief(**options):
    """A search of few, short trainings."""
    given = {
        "train": images(),
        "test": images(24),
        "space": "mobilenet_v3_small",
        "budget": "madds<=60%",
        "trials": 2,
        "epochs": 1,
        "final_epochs": 1,
        "finalists": 1,
        "verbose": 0,
    }
    return layernas_tf.run_search(**{**given, **options})


_DEFAULT_PRICE = burger().costs(burger().default)["price"]


def pricey(candidate) -> float:
    """A reward that needs no training: the sum of the option indices."""
    return float(sum(candidate.architecture))


class WholeSearchTest(absltest.TestCase):
    def test_arrays_give_a_winner_a_model_and_files(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        seen = []
        result = brief(workdir=folder / "w", callbacks=[seen.append])

        self.assertEqual([trial.number for trial in seen], [0, 1])
        self.assertLen(result.trials, 2)
        winner = result.winner
        self.assertEqual(result.space.check(winner.architecture), winner.architecture)
        self.assertBetween(winner.test_accuracy, 0, 1)
        default = result.space.costs(result.space.default)
        self.assertLessEqual(winner.costs["madds"], 0.6 * default["madds"] + 1)
        probabilities = result.model.predict(images(4)[0].astype(np.float32), verbose=0)
        self.assertEqual(probabilities.shape, (4, 3))
        file = result.export(folder / "model.tflite", format="int8")
        self.assertEqual(
            file.read_bytes(), (folder / "w/winner/model_int8.tflite").read_bytes()
        )
        result.export(folder / "half.tflite", format="float16")
        self.assertIn(b"TFL3", (folder / "half.tflite").read_bytes()[:8])
        self.assertIn("<html", result.report(folder / "r.html").read_text().lower())
        result.plot().savefig(folder / "plot.png")
        # The same call finds what is there, the binary's files among them.
        again = brief(workdir=folder / "w", trials=3, callbacks=[seen.append])
        self.assertEqual([trial.number for trial in seen], [0, 1, 2])
        self.assertLen(again.trials, 3)
        self.assertTrue((folder / "w" / "trials.csv").exists())
        with self.assertRaisesRegex(UserError, "holds another search: `dataset` was"):
            brief(workdir=folder / "w", train=images(63))


class EvaluatorTest(parameterized.TestCase):
    def test_a_function_is_searched_without_images(self):
        result = layernas_tf.run_search(
            space=burger(),
            budget="price<=60%",
            evaluator=pricey,
            algorithm="layernas",
            trials=12,
            verbose=0,
        )

        self.assertEqual(result.winner.reward, pricey(result.winner))
        inside = result.trials[result.trials["price"] <= 0.6 * _DEFAULT_PRICE]
        self.assertEqual(result.winner.reward, inside["reward"].max())
        self.assertIsNone(result.winner.test_accuracy)
        with self.assertRaisesRegex(UserError, "trained nothing, so it has no model"):
            _ = result.model

    @parameterized.parameters(
        RandomSearch,
        lambda: RandomSearch(burger(), [Budget("price", 0, 6.0)], seed=0),
    )
    def test_an_algorithm_is_a_class_or_an_object(self, algorithm):
        if not isinstance(algorithm, type):
            algorithm = algorithm()
        result = layernas_tf.run_search(
            space=burger(),
            budget=[Budget("price", 0, 6.0)],
            evaluator=pricey,
            algorithm=algorithm,
            trials=5,
            verbose=0,
        )
        self.assertLen(result.trials, 5)

    @parameterized.parameters(
        (lambda candidate: 1 / 0, "ZeroDivisionError"),
        (lambda candidate: float("nan"), "the reward is nan"),
        (lambda candidate: "good", "returned str: expected a number"),
    )
    def test_trials_that_fail_end_the_search_with_their_reason(self, evaluator, why):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        with self.assertRaisesRegex(UserError, f"5 of 5 trials failed.*{why}"):
            layernas_tf.run_search(
                space=burger(),
                budget="price<=60%",
                evaluator=evaluator,
                trials=9,
                workdir=folder,
                verbose=0,
            )
        self.assertTrue(pathlib.Path(folder, "study.db").exists())

    def test_an_interrupted_search_goes_on_with_the_same_call(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        calls = []

        def evaluator(candidate):
            calls.append(candidate.number)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return pricey(candidate)

        def search():
            return layernas_tf.run_search(
                space=burger(),
                budget="price<=60%",
                evaluator=evaluator,
                trials=6,
                workdir=folder,
                verbose=0,
            )

        with self.assertRaises(KeyboardInterrupt):
            search()
        self.assertLen(search().trials, 6)
        self.assertEqual(calls, [0, 1, 2, 3, 3, 4, 5])


class RefusalTest(parameterized.TestCase):
    @parameterized.parameters(
        ({"train": None}, "`train`: expected images and labels, or an `evaluator`"),
        ({"train": images()[0]}, r"`train`: expected \(images, labels\).*got ndarray"),
        ({"train": (images()[0], np.arange(7))}, "60 images and y_train 7 labels"),
        ({"train": (images()[0][0], images()[1])}, "has shape|images and"),
        ({"space": "nope"}, "space 'nope': expected one of"),
        ({"space": 3}, "`space`: expected a name.*got int"),
        ({"algorithm": "sgd"}, "algorithm 'sgd': expected one of"),
        ({"budget": "madds<=1"}, "cannot be met: the cheapest"),
        ({"budget": 3}, "`budget`|not iterable"),
        ({"trials": 0}, "`trials`: expected at least 1, got 0"),
        ({"trials": "9"}, "of a wrong type"),
        ({"epoch": 3}, "run_search has no argument 'epoch'"),
        ({"evaluator": 3}, "`evaluator`: expected a function"),
        ({"callbacks": [3]}, "`callbacks`: expected functions"),
        ({"train": "digits"}, "`test` and `valid` come with arrays"),
    )
    def test_one_line_says_what_is_right(self, options, pattern):
        with self.assertRaisesRegex(UserError, pattern) as caught:
            brief(**options)
        self.assertNotIn("\n", str(caught.exception))

    def test_images_of_another_size_than_the_space(self):
        space = get_space("mobilenet_v2", resolution=64, classes=3, channels=3)
        with self.assertRaisesRegex(UserError, "64x64 pixels .* are 32x32x3"):
            brief(space=space)


class DataTest(absltest.TestCase):
    def test_tf_data_equals_the_arrays(self):
        import tensorflow as tf

        from layernas_tf.datasets.given import given_dataset
        from layernas_tf.datasets.options import Options

        options = Options(None, 0.2, 0, None)
        train, test = images(), images(24)
        plain = given_dataset(train, test, options=options)
        for batch in (None, 7):
            pair = [tf.data.Dataset.from_tensor_slices(each) for each in (train, test)]
            if batch:
                pair = [each.batch(batch) for each in pair]
            given = given_dataset(*pair, options=options)
            np.testing.assert_array_equal(given.train.images, plain.train.images)
            np.testing.assert_array_equal(given.test.labels, plain.test.labels)
        endless = tf.data.Dataset.from_tensor_slices(train).repeat()
        with self.assertRaisesRegex(UserError, "never ends"):
            given_dataset(endless, test, options=options)
        x, y = train
        for odd in (({"image": x}, y), (x, {"label": y})):
            given = tf.data.Dataset.from_tensor_slices(odd).batch(7)
            with self.assertRaisesRegex(UserError, r"of \(image, label\), got"):
                given_dataset(given, test, options=options)


class OtherFunctionsTest(absltest.TestCase):
    def test_profile_is_the_sum_of_its_layers(self):
        profile = layernas_tf.profile_architecture(
            "mobilenet_v3_small", resolution=96, classes=5
        )
        total = sum(step.costs["madds"] for step in profile.layers)
        self.assertAlmostEqual(total, profile.costs["madds"])
        with self.assertRaisesRegex(UserError, "expected .* option indices"):
            layernas_tf.profile_architecture("mobilenet_v3_small", [0, 1])

    def test_a_model_is_converted_and_verified(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        space = get_space("mobilenet_v2", resolution=32, classes=3, channels=3)
        model = space.build(space.default)
        x, y = images(12)
        path = layernas_tf.convert_model(model, folder / "m.tflite")
        checked = layernas_tf.verify_model(path, model, x, y)
        self.assertEqual(checked.agreement, 1.0)
        self.assertLess(checked.max_abs_error, 1e-4)
        with self.assertRaisesRegex(UserError, "expected `images`"):
            layernas_tf.verify_model(path, model, x, y[:3])

    def test_an_architecture_is_trained(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        trained = layernas_tf.train_architecture(
            None,
            images(),
            images(24),
            space="mobilenet_v2",
            workdir=folder,
            epochs=1,
            batch_size=16,
        )
        self.assertEqual(trained.test_images, 24)
        self.assertBetween(trained.test_accuracy, 0, 1)
        self.assertEqual(trained.model.output_shape, (None, 3))
        for wrong, why in (
            ({"epoch": 1}, "no argument 'epoch'"),
            (
                {"distill": "labels"},
                "`distill`: expected one of none",
            ),
        ):
            with self.assertRaisesRegex(UserError, why):
                layernas_tf.train_architecture(
                    None, images(), space="mobilenet_v2", workdir=folder, **wrong
                )

    def test_an_architecture_is_taught(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        trained = layernas_tf.train_architecture(
            None,
            images(),
            images(24),
            space=f"{_EXAMPLES}/my_space.py:tiny",
            workdir=folder,
            distill="logits",
            epochs=1,
            batch_size=16,
        )
        teacher = folder / "teacher" / f"{trained.metrics['teacher']}.keras"
        self.assertTrue(teacher.exists())

    def test_algorithms_are_compared(self):
        standings = layernas_tf.compare_algorithms(
            "burger", ["layernas", "random"], runs=2, trials=10, verbose=0
        )
        self.assertEqual([s.algorithm for s in standings], ["layernas", "random"])
        self.assertEqual([s.runs for s in standings], [2, 2])

    def test_an_unknown_name_is_an_attribute_error(self):
        with self.assertRaisesRegex(AttributeError, "no attribute 'run_serch'"):
            _ = layernas_tf.run_serch

    def test_importing_the_package_loads_no_numpy(self):
        program = "import sys, layernas_tf; print('numpy' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stdout.strip(), "False")


if __name__ == "__main__":
    absltest.main()
