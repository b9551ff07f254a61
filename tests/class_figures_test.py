"""Unbalanced classes: weights in the loss, rewards and figures by class."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.data_check import ClassSize, DataCheck
from layernas_tf.datasets.split import ArraySplit, Dataset
from layernas_tf.pipeline.class_figures import class_metrics, class_notes
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_check import check_config
from layernas_tf.pipeline.final_trainer import Training
from layernas_tf.pipeline.finalists import Finalist
from layernas_tf.pipeline.finals import Finals
from layernas_tf.pipeline.notes import agreement_notes, joined_notes
from layernas_tf.report import ClassFigures, ExportedFile
from layernas_tf.report.classes import classes_section
from layernas_tf.training.class_weights import class_weights
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.scoring import confusion_matrix, score
from layernas_tf.training.train import evaluate_model, train_model


def dataset_of(labels: np.ndarray, classes: int) -> Dataset:
    """Images of 8 pixels a side that say nothing of their class."""
    labels = np.asarray(labels, np.int32)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 1), np.uint8)
    split = ArraySplit(images, labels)
    names = tuple(f"class {c}" for c in range(classes))
    return Dataset("made", classes, names, (8, 8, 1), split, split, split, False)


def small_model(classes: int):
    """A network that can only learn how frequent the classes are."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(0.0)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


class ClassWeightsTest(parameterized.TestCase):
    @given(st.lists(st.integers(0, 3), min_size=1, max_size=50))
    def test_present_classes_count_alike_and_an_image_counts_one(self, labels):
        weights = class_weights(dataset_of(np.array(labels), 4), "balanced")
        counts = np.bincount(labels, minlength=4)
        present = counts > 0
        np.testing.assert_allclose((weights * counts)[present], len(labels) / 4)
        if present.all():
            self.assertAlmostEqual(float(weights[labels].mean()), 1, places=4)

    def test_none_gives_none_and_others_are_refused(self):
        self.assertIsNone(class_weights(dataset_of(np.array([0, 1]), 2), "none"))
        with self.assertRaisesRegex(UserError, "class_weights must be one of none, ba"):
            Recipe(1, class_weights="inverse")

    @parameterized.product(segmented=(False, True), kind=("none", "balanced"))
    def test_the_loss_counts_classes_as_asked(self, segmented, kind):
        from layernas_tf.training.segments import SegmentCache

        labels = np.repeat([0, 1], [90, 10])
        dataset = dataset_of(labels, 2)
        recipe = Recipe(60, 50, learning_rate=0.1, weight_decay=0.0, class_weights=kind)
        model = small_model(2)
        train_model(
            model,
            dataset,
            recipe,
            seed=0,
            segments=SegmentCache() if segmented else None,
        )
        logits = model.predict(np.zeros((1, 8, 8, 1)), verbose=0)[0]
        share = 1 / (1 + np.exp(logits[0] - logits[1]))
        # What minimizes the loss: how much the images of class 1 count.
        self.assertAlmostEqual(share, 0.1 if kind == "none" else 0.5, delta=0.03)


class ScoresTest(parameterized.TestCase):
    @given(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40
        )
    )
    def test_accuracies_follow_from_the_confusion_matrix(self, pairs):
        labels, said = np.array(pairs).T
        scores = score(np.eye(3)[said], labels, logits=False)
        np.testing.assert_array_equal(
            scores.confusion, confusion_matrix(labels, said, 3)
        )
        self.assertAlmostEqual(scores.accuracy, float((labels == said).mean()))
        shares = [(said[labels == c] == c).mean() for c in np.unique(labels)]
        self.assertAlmostEqual(scores.balanced_accuracy, float(np.mean(shares)))

    def test_evaluation_with_and_without_segments_counts_the_same(self):
        from layernas_tf.training.segments import SegmentCache

        dataset = dataset_of(np.arange(40) % 4, 4)
        model = small_model(4)
        plain = evaluate_model(model, dataset.test, batch_size=7)
        pieces = evaluate_model(model, dataset.test, segments=SegmentCache())
        np.testing.assert_array_equal(plain.confusion, pieces.confusion)
        self.assertEqual(plain.confusion.sum(), 40)
        self.assertAlmostEqual(plain.loss, pieces.loss, places=4)


def finals_of(confusion: list[list[int]]) -> Finals:
    training = Training(
        (0,), 0, 0.5, 1.0, 1.0, test_confusion=tuple(map(tuple, confusion))
    )
    finalist = Finalist((0,), 0, 0.5)
    path = pathlib.Path("x.keras")
    return Finals(
        ((finalist, training),), finalist, "", (training,) * 2, None, (), None, path
    )


class FiguresTest(parameterized.TestCase):
    names = ("ape", "<bee>", "cat")

    def test_metrics_add_up_seeds(self):
        finals = finals_of([[3, 1, 0], [0, 0, 2], [0, 0, 0]])
        found = class_metrics(finals.winner_trainings, self.names)
        self.assertEqual(
            found["test_accuracy_by_class"], {"ape": 0.75, "<bee>": 0.0, "cat": None}
        )
        self.assertEqual(found["test_balanced_accuracy"], 0.375)
        self.assertEqual(found["test_confusion"]["rows"][0], [6, 2, 0])
        self.assertEqual(class_metrics((), self.names), {})

    def test_notes_name_unbalanced_and_missed_classes(self):
        finals = finals_of([[3, 1, 0], [0, 0, 2], [0, 0, 4]])
        sizes = tuple(map(ClassSize, self.names, (300, 12, 90)))
        check = DataCheck("x", "", sizes)
        first, second = class_notes(finals, self.names, check, SearchConfig())
        self.assertIn("300 training images of 'ape', 12 of '<bee>'", first)
        self.assertIn("--class_weights=balanced and --reward=balanced_accuracy", first)
        self.assertIn("no test image of '<bee>'", second)
        config = SearchConfig(class_weights="balanced", reward="balanced_accuracy")
        self.assertNotIn("--", class_notes(finals, self.names, check, config)[0])
        sizes = tuple(map(ClassSize, self.names, (36, 12, 30)))
        check = DataCheck("x", "", sizes)
        self.assertLen(class_notes(finals, self.names, check, config), 1)

    def test_the_report_lists_the_worst_class_first_and_escapes_names(self):
        confusion = np.array([[3, 1, 0], [0, 0, 2], [0, 0, 4]])
        html = classes_section(ClassFigures(self.names, confusion)).body
        self.assertLess(html.index("&lt;bee&gt;"), html.index("ape"))
        self.assertNotIn("<bee>", html)
        self.assertIn("75.00 %", html)
        self.assertIn("cat (2)", html)

    def test_the_reward_chooses_the_finalist(self):
        one = Training((0,), 0, 0.9, 1.0, 1.0, valid_balanced_accuracy=0.5)
        two = dataclasses.replace(one, valid_accuracy=0.8, valid_balanced_accuracy=0.7)
        self.assertGreater(one.rank("accuracy"), two.rank("accuracy"))
        self.assertLess(one.rank("balanced_accuracy"), two.rank("balanced_accuracy"))

    @parameterized.parameters(
        ("int8", 0.96, "qat_int8"),
        ("qat_int8", 0.5, "float16"),
        ("dynamic", 0.9, "float16"),
        ("int8", 0.97, None),
        ("float32", 0.1, None),
    )
    def test_files_that_disagree_are_named_with_what_to_try(self, form, share, other):
        file = ExportedFile("f", f"TFLite {form}", 1, 0.8, agreement=share)
        notes = agreement_notes([file])
        self.assertLen(notes, 0 if other is None else 1)
        if other:
            self.assertIn(other, notes[0])

    def test_flags_are_checked(self):
        for name in ("class_weights", "reward"):
            with self.assertRaisesRegex(UserError, f"{name}.*expected one of"):
                check_config(SearchConfig(**{name: "x"}))


class JoinedNotesTest(absltest.TestCase):
    def test_what_holds_for_all_winners_is_said_once(self):
        notes = [("madds<=3M", ["a", "b"]), ("madds<=2M", ["c", "a"])]
        self.assertEqual(joined_notes(notes), ["a", "madds<=3M: b", "madds<=2M: c"])
        self.assertEqual(joined_notes(notes[:1]), ["a", "b"])
        self.assertEqual(joined_notes([]), [])


if __name__ == "__main__":
    absltest.main()
