"""A teacher: soft labels, and trainings that learn from them."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_check import check_config
from layernas_tf.pipeline.final_trainer import FinalTrainer
from layernas_tf.pipeline.teaching import lesson_for
from layernas_tf.training.class_weights import class_weights
from layernas_tf.training.distill import hinted, taught
from layernas_tf.training.hints import features_of
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.segments import SegmentCache
from layernas_tf.training.soft_labels import (
    TaughtSplit,
    default_distillation,
    soft_labels,
)
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
            lesson = lesson_for(
                "logits", folder, space, dataset, _RECIPE, seed=0, say=asked.append
            )
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


class HintsTest(parameterized.TestCase):
    def features(self, model, images):
        seer = keras.Model(model.inputs[0], features_of(model))
        return keras.ops.convert_to_numpy(seer(images.astype(np.float32)))

    def distance(self, model, teacher, images):
        """Mean squared error of the features, each in its own deviation."""
        own, known = self.features(model, images), self.features(teacher, images)
        deviations = known.std(axis=0) + 0.01 * known.std() + 1e-3
        return float(np.mean(((own - known) / deviations) ** 2))

    def test_features_follow_the_labels(self):
        dataset, teacher = small_networks.stripes(96), _teacher()
        train = hinted(dataset, teacher).train
        images, labels = next(iter(train.batches(96)))
        known = self.features(teacher, dataset.train.images)
        np.testing.assert_array_equal(
            labels[:, :3], keras.ops.one_hot(dataset.train.labels, 3)
        )
        np.testing.assert_allclose(
            labels[:, 3:], known / np.array(train.deviations), rtol=1e-4, atol=1e-4
        )
        np.testing.assert_array_equal(images, dataset.train.images)
        self.assertBetween(np.std(labels[:, 3:], axis=0).max(), 0.5, 1.001)

    @parameterized.parameters("none", "balanced")
    def test_both_ways_of_training_learn_from_them(self, weights):
        dataset, teacher = small_networks.stripes(96), _teacher()
        train_model(teacher, dataset, _RECIPE, seed=0, segments=SegmentCache())
        recipe = dataclasses.replace(_RECIPE, epochs=8, class_weights=weights)

        def trained(data, segments):
            keras.utils.set_random_seed(1)
            model = small_networks.network()
            result = train_model(model, data, recipe, seed=0, segments=segments)
            self.assertEqual(model.output_shape, (None, 3))
            away = self.distance(model, teacher, dataset.valid.images)
            return result.train_loss, away

        _, alone = trained(dataset, SegmentCache())
        lesson, losses = hinted(dataset, teacher), []
        for segments in (SegmentCache(), None):
            loss, taught_so = trained(lesson, segments)
            losses.append(loss)
            self.assertLess(taught_so, 0.7 * alone)
        self.assertAlmostEqual(*losses, delta=0.05 * losses[1])

    def test_with_and_without_features_in_turn(self):
        dataset, segments = small_networks.stripes(96), SegmentCache()
        for data in (hinted(dataset, _teacher()), dataset, taught(dataset, _teacher())):
            model = small_networks.network()
            result = train_model(model, data, _RECIPE, seed=0, segments=segments)
            self.assertTrue(np.isfinite(result.train_loss))

    @parameterized.parameters(True, False)
    def test_a_network_with_other_features_learns_too(self, shared):
        dataset, teacher = small_networks.stripes(96), _teacher()
        keras.utils.set_random_seed(1)
        model = small_networks.network((8, 12))
        segments = SegmentCache() if shared else None
        result = train_model(
            model, hinted(dataset, teacher), _RECIPE, seed=0, segments=segments
        )
        self.assertGreater(result.valid_accuracy, 0.4)  # chance is a third

    @parameterized.parameters(True, False)
    def test_a_training_in_parts_is_the_whole_training(self, shared):
        space, dataset = small_networks.space(), small_networks.stripes(96)
        lesson, trained = hinted(dataset, _teacher()), []
        for parts in ((None,), (1, 2, None)):
            folder = self.enter_context(tempfile.TemporaryDirectory())
            trainer = FinalTrainer(
                pathlib.Path(folder),
                space,
                lesson,
                _RECIPE,
                SegmentCache() if shared else None,
                teacher="teacher, features",
            )
            for epochs in parts:
                trained.append(trainer.train((0, 1, 0), 0, epochs))
        self.assertAlmostEqual(trained[0].valid_loss, trained[-1].valid_loss, places=4)
        self.assertEqual(trained[-1].epochs, 3)


class ResumeTest(absltest.TestCase):
    def test_a_resumed_search_has_the_features_on_the_same_scale(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        # More images than the scale is measured on: which ones depends on the seed.
        space, dataset = small_networks.space(), small_networks.stripes(1_500)
        recipe = Recipe(1, batch_size=250, learning_rate=3e-3)
        deviations = []
        for seed in (4, 5):  # of the process; the second finds the teacher there
            keras.utils.set_random_seed(seed)
            lesson = lesson_for(
                "features", folder, space, dataset, recipe, seed=0, say=len
            )
            deviations.append(lesson.dataset.train.deviations)
        self.assertEqual(*deviations)


class BackendTest(absltest.TestCase):
    def test_other_backends_have_no_teacher_for_every_batch(self):
        self.assertEqual(default_distillation(pretrained=True), "features")
        space, dataset = small_networks.space(), small_networks.stripes(96)
        streamed = dataclasses.replace(dataset, train=Lookalike(dataset.train))
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        with mock.patch.object(keras.backend, "backend", return_value="jax"):
            self.assertEqual(default_distillation(pretrained=True), "none")
            for kind, data in (("features", dataset), ("logits", streamed)):
                with self.assertRaisesRegex(UserError, "TensorFlow backend.*got jax"):
                    lesson_for(kind, folder, space, data, _RECIPE, seed=0, say=print)


class FlagTest(absltest.TestCase):
    def test_unknown_kinds_are_refused(self):
        for kind in (None, "none", "logits", "features"):
            check_config(SearchConfig(distill=kind))
        with self.assertRaisesRegex(UserError, "`distill`: expected one of none"):
            check_config(SearchConfig(distill="labels"))


if __name__ == "__main__":
    absltest.main()
