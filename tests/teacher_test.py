"""A folder that is used again: its teacher is of the same images, or another one."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

import layernas_tf
from layernas_tf.datasets.split import ArraySplit, Dataset
from layernas_tf.pipeline.final_trainer import FinalTrainer
from layernas_tf.pipeline.teaching import Lesson, lesson_for, taught_about
from layernas_tf.training.recipe import Recipe
from tests import small_networks

_EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"
_RECIPE = Recipe(1, batch_size=32, learning_rate=3e-3)


def relabelled(dataset: Dataset) -> Dataset:
    """The same images with other labels."""
    train = dataset.train
    assert isinstance(train, ArraySplit)
    labels = (train.labels + 1) % small_networks.CLASSES
    return dataclasses.replace(dataset, train=ArraySplit(train.images, labels))


class TeacherTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

    def lesson(self, dataset: Dataset, **data) -> Lesson:
        space = small_networks.space()
        return lesson_for(
            "logits",
            self.folder,
            space,
            dataset,
            _RECIPE,
            seed=0,
            say=len,
            about=lambda: taught_about(dataset, "", space, **data),
        )

    def test_other_images_are_taught_by_another_teacher(self):
        dataset = small_networks.stripes(64)
        first = self.lesson(dataset, fit="squash")
        second = self.lesson(relabelled(dataset), fit="squash")
        self.assertNotEqual(first.teacher, second.teacher)
        self.assertFalse(
            np.allclose(first.dataset.train.labels, second.dataset.train.labels)
        )
        self.assertNotEqual(self.lesson(dataset, fit="crop").teacher, first.teacher)
        times = {path: path.stat().st_mtime_ns for path in self.folder.iterdir()}
        self.assertEqual(self.lesson(dataset, fit="squash").teacher, first.teacher)
        self.assertEqual(times, {p: p.stat().st_mtime_ns for p in times})

    def test_a_search_keeps_the_files_that_it_has(self):
        trainer = FinalTrainer(
            self.folder, small_networks.space(), small_networks.stripes(64), _RECIPE
        )
        # What earlier versions have written.
        name = "b88badd834fbcbfd.keras"
        self.assertEqual(trainer.weights((0, 1, 0), 3).name, name)

    def test_an_architecture_is_taught_by_a_teacher_of_its_own_images(self):
        def taught(dataset: Dataset) -> str:
            splits = [(s.images, s.labels) for s in (dataset.train, dataset.test)]
            trained = layernas_tf.train_architecture(
                None,
                *splits,
                space=f"{_EXAMPLES}/my_space.py:tiny",
                workdir=self.folder,
                distill="logits",
                epochs=1,
                batch_size=32,
            )
            return trained.metrics["teacher"]

        dataset = small_networks.stripes(64)
        first = taught(dataset)
        self.assertNotEqual(taught(relabelled(dataset)), first)
        self.assertEqual(taught(dataset), first)


if __name__ == "__main__":
    absltest.main()
