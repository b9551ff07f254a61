"""Recipes, both ways of training, and evaluation."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.split import ArraySplit
from layernas_tf.training.checkpoint import Checkpoint
from layernas_tf.training.full_training import train_fully
from layernas_tf.training.optimizer import make_optimizer
from layernas_tf.training.progress import Laps, stale
from layernas_tf.training.scoring import score
from layernas_tf.training.segment_training import predict_segments
from layernas_tf.training.segments import SegmentCache, cut
from layernas_tf.training.train import (
    Recipe,
    default_recipe,
    evaluate_model,
    precision,
    save_model,
    train_model,
)
from tests import small_networks

QUICK = Recipe(4, 32, learning_rate=0.02, warmup_epochs=1)


def fresh(*args, **kwargs) -> keras.Model:
    """The same network with the same weights each time."""
    keras.utils.set_random_seed(0)
    return small_networks.network(*args, **kwargs)


class RecipeTest(parameterized.TestCase):
    @parameterized.parameters(("cosine", 0.0), ("cosine", 1.5), ("constant", 1.0))
    def test_learning_rates_are_those_of_the_keras_schedule(self, schedule, warmup):
        recipe = Recipe(5, 8, schedule=schedule, warmup_epochs=warmup)
        steps = 40
        rates = make_optimizer(fresh(), recipe, steps)._learning_rate
        for step in range(steps):
            self.assertAlmostEqual(
                recipe.learning_rate_at(step, steps), float(rates(step)), places=7
            )

    @parameterized.parameters(
        ({"optimizer": "adam"}, "adamw"),
        ({"schedule": "step"}, "cosine"),
        ({"augment": "mixup"}, "shift_flip"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"warmup_epochs": 9}, "warmup_epochs"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"randaugment": 11.0}, "randaugment"),
        ({"mixup": -1.0}, "mixup"),
        ({"ema": 1.0}, "ema"),
    )
    def test_senseless_recipes_are_refused(self, change, word):
        with self.assertRaisesRegex(UserError, word):
            dataclasses.replace(QUICK, **change)

    def test_defaults_train_longer_at_the_end_and_never_mirror_glyphs(self):
        dataset = small_networks.stripes()
        proxy = default_recipe(dataset, proxy=True)
        full = default_recipe(dataset, proxy=False)
        self.assertGreater(full.epochs, 2 * proxy.epochs)
        self.assertEqual((proxy.augment, full.augment), ("shift_flip", "shift_flip"))
        glyphs = dataclasses.replace(dataset, mirrors=False)
        self.assertEqual(default_recipe(glyphs, proxy=False).augment, "shift")

    def test_proxies_take_enough_steps_and_move_images_that_are_seen_again(self):
        for images, epochs, augment in (
            (30, 240, "shift_flip"),
            (1_000, 16, "shift_flip"),
            (6_000, 2, "shift_flip"),
            (10_000, 1, "none"),
            (45_000, 1, "none"),
        ):
            proxy = default_recipe(small_networks.stripes(images), proxy=True)
            self.assertEqual((proxy.epochs, proxy.augment), (epochs, augment), images)

    def test_final_trainings_take_about_ten_thousand_steps_where_there_are_images(self):
        for images, epochs in ((1_000, 60), (10_000, 60), (45_000, 30), (150_000, 8)):
            full = default_recipe(small_networks.stripes(images), proxy=False)
            self.assertEqual(full.epochs, epochs, images)

    def test_photos_in_great_number_are_trained_on_as_imagenet_is(self):
        images = np.broadcast_to(np.uint8(0), (300_000, 224, 224, 3))
        many = ArraySplit(images, np.broadcast_to(np.int32(0), 300_000))
        dataset = dataclasses.replace(
            small_networks.stripes(), train=many, shape=(224, 224, 3)
        )
        full = default_recipe(dataset, proxy=False)
        self.assertEqual((full.epochs, full.optimizer), (350, "rmsprop"))
        self.assertAlmostEqual(full.learning_rate / full.batch_size, 0.064 / 1024)
        self.assertGreater(full.ema, 0)
        proxy = default_recipe(dataset, proxy=True)
        self.assertEqual((proxy.epochs, proxy.ema, proxy.randaugment), (5, 0, 0))
        self.assertEqual({full.augment, proxy.augment}, {"crop_flip"})
        small = dataclasses.replace(dataset, shape=(32, 32, 3))
        self.assertLess(default_recipe(small, proxy=False).epochs, 10)


class CutTest(absltest.TestCase):
    def test_pieces_compute_what_the_network_computes(self):
        dataset = small_networks.stripes()
        model = fresh((8, 12, 12), dropout=0.3)
        pieces = cut(model)
        self.assertLen(pieces, 4)
        self.assertEqual(
            sum(len(piece.layers) for piece in pieces), len(model.layers) - 1
        )
        outputs, labels = predict_segments(model, dataset.test, SegmentCache(), 25)
        images = dataset.test.images.astype(np.float32)
        np.testing.assert_allclose(outputs, model.predict(images, verbose=0), atol=1e-5)
        np.testing.assert_array_equal(labels, dataset.test.labels)

    def test_networks_share_the_pieces_in_which_they_do_not_differ(self):
        # The last block is one piece with the classifier.
        cache = SegmentCache()
        for piece in cut(small_networks.network((8, 8, 8))):
            cache.get(piece)
        self.assertEqual((cache.hits, cache.misses), (1, 3))
        for piece in cut(small_networks.network((8, 8, 12))):
            cache.get(piece)
        self.assertEqual((cache.hits, cache.misses), (4, 4))

    def test_the_cache_forgets_what_was_used_longest_ago(self):
        stem, block, *_ = cut(small_networks.network((8, 12)))
        cache = SegmentCache(1)
        first = cache.get(stem)
        self.assertIs(cache.get(stem), first)
        cache.get(block)
        self.assertIsNot(cache.get(stem), first)

    def test_what_is_no_chain_is_left_whole(self):
        x = keras.Input((4,))
        shared = keras.layers.Dense(4)
        self.assertIsNone(cut(keras.Model(x, shared(shared(x)))))
        y = keras.layers.Dense(4, kernel_regularizer="l2")(x)
        self.assertIsNone(cut(keras.Model(x, y)))
        self.assertIsNone(cut(keras.Model(x, [y, shared(y)])))

    def test_a_network_with_frozen_statistics_is_left_whole(self):
        model = small_networks.network()
        self.assertIsNotNone(cut(model))
        frozen = [layer for layer in model.layers if "normalization" in layer.name]
        frozen[0].trainable = False
        self.assertIsNone(cut(model))


class TrainTest(parameterized.TestCase):
    @parameterized.parameters(("sgd", 0.0), ("rmsprop", 0.1), ("adamw", 0.1))
    def test_segments_train_as_keras_does(self, optimizer, smoothing):
        dataset = small_networks.stripes(96)
        recipe = Recipe(
            2,
            32,
            optimizer=optimizer,
            learning_rate=0.01,
            weight_decay=0.1,
            warmup_epochs=1,
            label_smoothing=smoothing,
            augment="shift_flip",
        )
        weights, results = [], []
        for segments in (None, SegmentCache()):
            model = fresh((8, 12))
            results.append(
                train_model(model, dataset, recipe, seed=3, segments=segments)
            )
            weights.append(model.get_weights())
        for one, two in zip(*weights, strict=True):
            np.testing.assert_allclose(one, two, atol=2e-3)
        self.assertAlmostEqual(results[0].train_loss, results[1].train_loss, places=3)
        self.assertAlmostEqual(results[0].valid_loss, results[1].valid_loss, places=2)

    def test_features_may_be_normalized(self):
        dataset = small_networks.stripes(96)
        losses = []
        for segments in (SegmentCache(), None):
            keras.utils.set_random_seed(0)
            image = keras.Input(dataset.shape)
            x = keras.layers.Conv2D(8, 3, strides=2)(image)
            x = keras.layers.GlobalAveragePooling2D()(x)
            x = keras.layers.BatchNormalization()(x)
            x = keras.layers.Dense(dataset.classes, activation="softmax")(x)
            model = keras.Model(image, x)
            result = train_model(model, dataset, QUICK, seed=0, segments=segments)
            losses.append(result.valid_loss)
        self.assertAlmostEqual(*losses, places=3)

    @parameterized.parameters(True, False)
    def test_a_dozen_steps_make_a_network_that_can_be_evaluated(self, shared):
        # With the layers' own momentum of 0.999 the running statistics would still
        # be those of the start, and the accuracy that of chance.
        dataset = small_networks.without_test(small_networks.stripes())
        model = fresh((8, 12), dropout=0.1)
        result = train_model(
            model, dataset, QUICK, seed=0, segments=SegmentCache() if shared else None
        )
        self.assertGreater(result.valid_accuracy, 0.9)
        scores = evaluate_model(model, dataset.valid)
        self.assertAlmostEqual(scores.accuracy, result.valid_accuracy)
        self.assertAlmostEqual(scores.loss, result.valid_loss, places=3)
        momenta = {
            layer.momentum
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        }
        self.assertEqual(momenta, {0.999})
        self.assertLen(result.history, QUICK.epochs)

    def test_validation_means_something_long_before_the_end(self):
        dataset = small_networks.without_test(small_networks.stripes(768))
        recipe = Recipe(500, 32, learning_rate=3e-3)  # 12,000 steps
        result = train_model(fresh((8, 12)), dataset, recipe, seed=0, until=16)
        self.assertGreater(result.valid_accuracy, 0.9)

    def test_the_same_seed_gives_the_same_training(self):
        dataset = small_networks.stripes(96)
        recipe = Recipe(1, 32, augment="shift")
        losses = [
            train_model(
                fresh(dropout=0.5), dataset, recipe, seed=seed, segments=SegmentCache()
            ).train_loss
            for seed in (1, 1, 2)
        ]
        self.assertEqual(losses[0], losses[1])
        self.assertNotEqual(losses[0], losses[2])

    @parameterized.parameters(True, False)
    def test_a_loss_that_explodes_is_an_error(self, shared):
        recipe = Recipe(2, 32, optimizer="sgd", learning_rate=1e30)
        with self.assertRaisesRegex(FloatingPointError, "epoch"):
            train_model(
                fresh(),
                small_networks.stripes(96),
                recipe,
                seed=0,
                segments=SegmentCache() if shared else None,
            )

    def test_the_average_of_weights_is_validated_and_kept(self):
        dataset = small_networks.stripes(96)
        recipe = Recipe(3, 32, learning_rate=0.02, schedule="constant")
        plain = train_model(fresh((8,)), dataset, recipe, seed=0)
        averaged = dataclasses.replace(recipe, ema=0.9)
        # A tenth of nine steps is one: the average of the last few.
        result = train_model(fresh((8,)), dataset, averaged, seed=0)
        self.assertAlmostEqual(result.train_loss, plain.train_loss, places=3)
        self.assertAlmostEqual(
            result.history[-1]["valid_loss"], result.valid_loss, places=4
        )
        self.assertNotAlmostEqual(result.valid_loss, plain.valid_loss, places=3)

    def test_a_checkpoint_of_all_epochs_gives_the_trained_network(self):
        dataset = small_networks.stripes(96)
        recipe = Recipe(2, 32, learning_rate=0.02, ema=0.9)
        folder = self.enter_context(tempfile.TemporaryDirectory())
        checkpoint = Checkpoint(pathlib.Path(folder) / "checkpoint.npz", {"seed": 0})
        results = [
            train_model(
                fresh((8,), dropout=0.2), dataset, recipe, seed=0, checkpoint=checkpoint
            )
            for _ in range(2)
        ]
        self.assertEqual(results[0].history, results[1].history)
        self.assertAlmostEqual(results[0].valid_loss, results[1].valid_loss, places=5)
        other = dataclasses.replace(checkpoint, about={"seed": 1})
        with self.assertRaisesRegex(UserError, "seed was 0, is 1"):
            train_model(fresh((8,)), dataset, recipe, seed=1, checkpoint=other)
        checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:200])
        with self.assertRaisesRegex(UserError, "no checkpoint"):
            train_model(fresh((8,)), dataset, recipe, seed=0, checkpoint=checkpoint)

    @parameterized.parameters(
        ({}, False), ({}, True), ({"ema": 0.9}, False), ({"optimizer": "sgd"}, True)
    )
    def test_a_training_in_parts_is_the_whole_training(self, changes, shared):
        dataset = small_networks.stripes(96)
        recipe = dataclasses.replace(QUICK, augment="shift", **changes)
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        segments = SegmentCache() if shared else None

        def train(**options):
            model = fresh((8,), dropout=0.2)
            result = train_model(
                model, dataset, recipe, seed=0, segments=segments, **options
            )
            return model, result

        whole, result = train()
        checkpoint = Checkpoint(folder / "checkpoint.npz", {})
        lengths = []
        for until in (1, 3, None):
            model, part = train(checkpoint=checkpoint, until=until)
            lengths.append(len(part.history))
            np.testing.assert_array_equal(
                part.valid_correct.mean(), part.valid_accuracy
            )

        self.assertEqual(lengths, [1, 3, 4])
        self.assertAlmostEqual(part.valid_loss, result.valid_loss, places=4)
        for one, two in zip(model.get_weights(), whole.get_weights()):
            np.testing.assert_allclose(one, two, atol=1e-4)
        # A checkpoint of more epochs than are asked for is not of use.
        self.assertLen(train(checkpoint=checkpoint, until=1)[1].history, 1)

    def test_a_checkpoint_of_another_way_to_train_may_be_replaced(self):
        dataset = small_networks.stripes(96)
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        strict = Checkpoint(folder / "checkpoint.npz", {})
        train_model(fresh((8,)), dataset, QUICK, seed=0, checkpoint=strict, until=1)
        options = {"seed": 0, "segments": SegmentCache(), "until": 2}
        with self.assertRaisesRegex(UserError, "segments was None"):
            train_model(fresh((8,)), dataset, QUICK, checkpoint=strict, **options)
        lenient = dataclasses.replace(strict, replace=True)
        result = train_model(fresh((8,)), dataset, QUICK, checkpoint=lenient, **options)
        self.assertLen(result.history, 2)

    def test_the_seconds_before_a_resume_count(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        space, dataset = small_networks.space(), small_networks.stripes(96)

        def train():
            return train_fully(space, (0, 0, 0), dataset, QUICK, folder)

        with mock.patch.object(Laps, "lap", side_effect=[100.0, 20.0, SystemExit]):
            self.assertRaises(SystemExit, train)
        with mock.patch.object(Laps, "lap", return_value=3.0):
            self.assertEqual(train().metrics["train_seconds"], 126.0)

    def test_a_training_that_no_longer_improves_ends(self):
        rows = [
            {"valid_accuracy": accuracy, "valid_loss": 1.0}
            for accuracy in (0.5, 0.6, *(0.6,) * 4)
        ]
        patient = Recipe(10, patience=0.6)
        eager = Recipe(10, patience=0.1)  # five epochs at least
        self.assertFalse(stale(rows, eager))
        self.assertTrue(stale([*rows, rows[-1]], eager))
        self.assertFalse(stale([*rows, rows[-1]], patient))
        self.assertTrue(stale([*rows, rows[-1], rows[-1]], patient))
        self.assertFalse(stale([*rows, {**rows[-1], "valid_loss": 0.9}], eager))
        self.assertFalse(stale([*rows, rows[-1]], Recipe(10)))
        self.assertFalse(stale([{"loss": 1.0}] * 9, eager))

        dataset = small_networks.stripes(96)
        frozen = Recipe(9, 32, "sgd", learning_rate=0.0, patience=0.1)
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        checkpoint = Checkpoint(folder / "checkpoint.npz", {})
        model = keras.Sequential(
            [keras.Input(dataset.shape), keras.layers.Flatten(), keras.layers.Dense(3)]
        )
        for _ in range(2):
            result = train_model(model, dataset, frozen, seed=0, checkpoint=checkpoint)
            self.assertLen(result.history, 6)

    def test_a_network_of_other_images_or_classes_is_refused(self):
        dataset = small_networks.stripes(96)
        for changed in (
            dataclasses.replace(dataset, classes=7),
            dataclasses.replace(dataset, shape=(16, 16, 3)),
        ):
            with self.assertRaisesRegex(UserError, "stripes"):
                train_model(fresh(), changed, QUICK, seed=0)

    @parameterized.parameters(True, False)
    def test_mixed_precision_computes_in_bfloat16_with_float32_weights(self, shared):
        recipe = dataclasses.replace(QUICK, mixed_precision=True)
        with precision(recipe):
            model = fresh((8, 12))
        self.assertEqual(keras.config.dtype_policy().name, "float32")
        self.assertEqual(model.layers[3].compute_dtype, "bfloat16")
        result = train_model(
            model,
            small_networks.stripes(),
            recipe,
            seed=0,
            segments=SegmentCache() if shared else None,
        )
        self.assertGreater(result.valid_accuracy, 0.8)
        self.assertEqual({w.dtype.name for w in model.get_weights()}, {"float32"})


class EvaluateTest(absltest.TestCase):
    def test_logits_and_probabilities_are_scored_alike(self):
        logits = np.random.default_rng(0).normal(0, 3, (50, 4))
        labels = np.arange(50) % 4
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        one = score(logits, labels, True)
        two = score(probabilities, labels, False)
        self.assertEqual(one.accuracy, two.accuracy)
        self.assertAlmostEqual(one.loss, two.loss, places=6)
        self.assertEqual(one.accuracy, float((logits.argmax(1) == labels).mean()))

    def test_networks_with_and_without_softmax_are_told_apart(self):
        dataset = small_networks.stripes(96)
        with_softmax, without = fresh(), fresh(logits=True)
        one = evaluate_model(with_softmax, dataset.valid)
        two = evaluate_model(without, dataset.valid, segments=SegmentCache())
        self.assertEqual(one.accuracy, two.accuracy)
        self.assertAlmostEqual(one.loss, two.loss, places=4)

    def test_a_saved_network_is_small_and_computes_the_same(self):
        dataset = small_networks.stripes(96)
        model = fresh((64, 64))
        train_model(model, dataset, Recipe(1, 32), seed=0)
        folder = self.enter_context(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "model.keras"
        save_model(model, path)
        self.assertEqual([f.name for f in path.parent.iterdir()], ["model.keras"])
        loaded = keras.models.load_model(path, safe_mode=True)
        self.assertLess(sum(v.numpy().size for v in loaded.optimizer.variables), 5)
        images = dataset.test.images.astype(np.float32)
        np.testing.assert_allclose(
            loaded.predict(images, verbose=0),
            model.predict(images, verbose=0),
            atol=1e-6,
        )


if __name__ == "__main__":
    absltest.main()
