"""A teacher: soft labels, and trainings that learn from them."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

import keras
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_check import check_config
from layernas_tf.pipeline.final_trainer import FinalTrainer
from layernas_tf.pipeline.teaching import taught_lesson
from layernas_tf.training.class_weights import class_weights
from layernas_tf.training.distill import taught
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.segments import SegmentCache
from layernas_tf.training.soft_labels import TaughtSplit, soft_labels
from layernas_tf.training.train import train_model
from tests import small_networks

_RECIPE = Recipe(3, batch_size=32, learning_rate=3e-3, warmup_epochs=0.5)


class Lookalike:
    """A split that is read in every epoch, as far as training knows."""

    def __init__(self, split):
        self._split = split
        self.size = split.size

    def batches(self, batch_size, **options):
        return self._split.batches(batch_size, **options)


def _teacher():
    keras.utils.set_random_seed(0)
    return small_networks.network()


class SoftLabelsTest(parameterized.TestCase):
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**16), st.floats(0.5, 8), st.floats(0, 1))
    def test_they_are_probabilities_between_truth_and_teacher(
        self, seed, temperature, share
    ):
        generator = np.random.default_rng(seed)
        outputs = generator.dirichlet(np.ones(4), 6)
        labels = generator.integers(0, 4, 6)
        soft = soft_labels(outputs, labels, temperature=temperature, share=share)
        np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
        self.assertTrue((soft[np.arange(6), labels] >= 1 - share - 1e-6).all())

    def test_the_true_class_stays_the_most_probable(self):
        outputs = np.array([[0.999, 0.001], [0.4, 0.6]])
        labels = np.array([1, 0])
        np.testing.assert_array_equal(soft_labels(outputs, labels).argmax(1), labels)

    def test_what_is_streamed_gets_the_same_labels(self):
        dataset, teacher = small_networks.stripes(48), _teacher()
        held = taught(dataset, teacher).train
        stream = taught(
            dataclasses.replace(dataset, train=Lookalike(dataset.train)), teacher
        ).train
        self.assertIsInstance(stream, TaughtSplit)
        self.assertEqual(stream.size, 48)
        (_, one), (_, other) = (next(iter(s.batches(48))) for s in (held, stream))
        np.testing.assert_allclose(one, other, atol=1e-5)

    def test_classes_are_counted_by_their_true_labels(self):
        dataset = small_networks.stripes(48)
        np.testing.assert_array_equal(
            class_weights(taught(dataset, _teacher()), "balanced"),
            class_weights(dataset, "balanced"),
        )


class TrainingTest(parameterized.TestCase):
    @parameterized.parameters("none", "balanced")
    def test_both_ways_of_training_learn_from_them(self, weights):
        dataset = small_networks.stripes(96)
        recipe = dataclasses.replace(_RECIPE, class_weights=weights)
        soft = taught(dataset, _teacher())
        losses = []
        for segments in (SegmentCache(), None):
            keras.utils.set_random_seed(1)
            model = small_networks.network()
            result = train_model(model, soft, recipe, seed=0, segments=segments)
            losses.append(result.train_loss)
        self.assertAlmostEqual(*losses, delta=0.05 * losses[1])

    def test_a_teacher_is_trained_and_asked_once(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        space, dataset = small_networks.space(), small_networks.stripes(96)
        asked = []

        alone = FinalTrainer(folder, space, dataset, _RECIPE)

        def trainer():
            lesson = taught_lesson(alone, dataset, (0, 0, 0), seed=0, say=asked.append)
            return FinalTrainer(
                folder, space, lesson.dataset, _RECIPE, teacher=lesson.teacher
            )

        first = trainer()
        path = alone.weights((0, 0, 0), 0)
        self.assertIn("teacher", asked[0])
        self.assertNotEqual(first.weights((0, 0, 0), 0), path)
        labels = np.load(path.with_suffix(".npy"))
        self.assertEqual(labels.shape, (96, 3))
        times = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
        trainer()
        self.assertEqual(times, {p: p.stat().st_mtime_ns for p in folder.iterdir()})
        self.assertIsNotNone(first.train((0, 0, 0), 0).valid_accuracy)
        path.with_suffix(".npy").write_bytes(b"damaged")
        trainer()
        np.testing.assert_array_equal(np.load(path.with_suffix(".npy")), labels)


class FlagTest(absltest.TestCase):
    def test_unknown_kinds_are_refused(self):
        check_config(SearchConfig(distill="logits"))
        with self.assertRaisesRegex(UserError, "`distill`: expected one of none"):
            check_config(SearchConfig(distill="features"))


if __name__ == "__main__":
    absltest.main()
