"""Data in the form of ImageNet, read from the files that TFDS prepares."""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import shutil
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from layernas_tf.core.errors import UserError
from layernas_tf.datasets import folder as folders
from layernas_tf.datasets import load_dataset, tfds_stream
from layernas_tf.datasets.image_reader import read_image
from layernas_tf.datasets.stream import StreamSplit
from layernas_tf.evaluators.keras_evaluator import KerasEvaluator
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.types import State
from layernas_tf.training.recipe import Recipe
from tests import imagenet_files, small_networks

TRAIN, TEST = 30, 6


def setUpModule():
    import tensorflow_datasets as tfds

    global _folder
    _folder = pathlib.Path(tempfile.mkdtemp(prefix="imagenet"))
    tfds.core.add_data_dir(str(imagenet_files.write(_folder, TRAIN, TEST)))


def tearDownModule():
    shutil.rmtree(_folder)


def contents(split: StreamSplit) -> list[bytes]:
    """The encoded images of a split, in their order."""
    return [split.parse(*record)[0].numpy() for record in split.records(None)]


def labels(split: StreamSplit, **options) -> list[list[int]]:
    return [batch.numpy().tolist() for _, batch in split.batches(4, **options)]


class ImageNetTest(parameterized.TestCase):
    def test_train_and_held_out_are_disjoint_and_complete(self):
        dataset = load_dataset("tfds:imagenet2012", resolution=32)
        self.assertEqual(dataset.shape, (32, 32, 3))
        self.assertEqual(dataset.classes, 1000)
        self.assertEqual(
            (dataset.train.size, dataset.valid.size, dataset.test.size), (24, 6, TEST)
        )
        everything = {
            imagenet_files.jpeg(number % 3, number): number for number in range(TRAIN)
        }
        train = [everything[content] for content in contents(dataset.train)]
        valid = [everything[content] for content in contents(dataset.valid)]
        self.assertLen(train, 24)
        self.assertLen(valid, 6)
        self.assertEqual(sorted(train + valid), list(range(TRAIN)))
        for content in contents(dataset.test):
            self.assertNotIn(content, everything)

    def test_the_held_out_images_are_the_same_whatever_the_seed_and_limited(self):
        one, two = (load_dataset("tfds:imagenet2012", seed=s).valid for s in (0, 5))
        self.assertEqual(contents(one), contents(two))
        with absltest.mock.patch.object(tfds_stream, "MOST_HELD_OUT", 4):
            dataset = load_dataset("tfds:imagenet2012")
        self.assertEqual((dataset.train.size, dataset.valid.size), (26, 4))
        dataset = load_dataset("tfds:imagenet2012", limit=10)
        self.assertEqual((dataset.train.size, dataset.valid.size), (8, 2))

    def test_labels_come_with_their_images(self):
        dataset = load_dataset("tfds:imagenet2012", resolution=32)
        expected = {
            imagenet_files.jpeg(number % 3, number): number % 3
            for number in range(TRAIN)
        }
        read = [expected[content] for content in contents(dataset.train)]
        self.assertEqual(sum(labels(dataset.train), []), read)
        shuffled = sum(labels(dataset.train, seed=1), [])
        self.assertNotEqual(shuffled, read)
        self.assertEqual(sorted(shuffled), sorted(read))

    def test_a_start_leaves_out_what_came_before_in_every_round(self):
        train = load_dataset("tfds:imagenet2012", resolution=16).train

        def batches(start: int, number: int):
            found = train.batches(
                7, seed=3, augment="crop_flip", repeat=True, start=start
            ).take(number)
            return [(x.numpy(), y.numpy().tolist()) for x, y in found]

        whole = batches(0, 8)
        self.assertEqual({len(y) for _, y in whole}, {7})
        self.assertNotEqual(whole[0][1] + whole[1][1], whole[3][1] + whole[4][1])
        for start in (2, 3, 5):
            for (x, y), (same_x, same_y) in zip(
                whole[start:], batches(start, 8 - start), strict=True
            ):
                np.testing.assert_array_equal(x, same_x)
                self.assertEqual(y, same_y)

    def test_evaluation_looks_at_the_middle_and_training_at_parts(self):
        train = load_dataset("tfds:imagenet2012", resolution=16, fit="crop").train
        content = imagenet_files.jpeg(0, 0)
        with Image.open(io.BytesIO(content)) as image:
            size = 0.875 * min(image.size)
            left, top = ((side - size) / 2 for side in image.size)
            box = tuple(map(round, (left, top, left + size, top + size)))
            middle = image.crop(box).resize((16, 16), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(
            read_image(content, train.frame), np.asarray(middle), atol=8
        )
        ((plain, _),) = train.batches(100, seed=0)
        ((cropped, _),) = train.batches(100, seed=0, augment="crop_flip")
        self.assertEqual(plain.shape, (24, 16, 16, 3))
        self.assertEqual(cropped.shape, (24, 16, 16, 3))
        self.assertGreater(np.abs(plain - cropped).max(axis=(1, 2, 3)).min(), 10)

    def test_a_search_does_not_read_the_test_split(self):
        dataset = load_dataset("tfds:imagenet2012", resolution=16)

        def fail(key):
            raise AssertionError("the test split was read")

        blind = dataclasses.replace(
            dataset, test=dataclasses.replace(dataset.test, records=fail)
        )
        for split in (blind.train, blind.valid):
            self.assertLen(labels(split, seed=0), -(-split.size // 4))
        with self.assertRaises(AssertionError):
            labels(blind.test)
        space = dataclasses.replace(
            small_networks.space(lambda architecture: small_networks.photos()),
            start=State(3, 16, 16),
        )
        recipe = Recipe(1, 12, augment="crop_flip", ema=0.9)
        reward = KerasEvaluator(space, blind, recipe)(Candidate((0, 0, 0), 0)).reward
        self.assertBetween(reward, 0, 1)

    def test_what_is_not_prepared_is_one_line(self):
        shard = next(_folder.rglob("imagenet2012"))
        moved = shard.with_name("elsewhere")
        os.rename(shard, moved)
        try:
            with self.assertRaisesRegex(UserError, "manual"):
                load_dataset("tfds:imagenet2012")
        finally:
            shutil.rmtree(shard, ignore_errors=True)
            os.rename(moved, shard)


class FolderTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory(prefix="folder"))
        )
        for label, name in enumerate(("across", "down", "checkers")):
            place = self.folder / name
            place.mkdir()
            for number in range(100):
                file = place / f"{number}.jpg"
                file.write_bytes(imagenet_files.jpeg(label, number))
        # A PNG under the name of a JPEG, as there is one in ImageNet.
        png = self.folder / "down" / "7.jpg"
        Image.fromarray(imagenet_files.picture(1, 7)).save(png, "PNG")

    def test_hundreds_of_photos_are_the_same_in_memory_and_streamed(self):
        name = f"folder:{self.folder}"
        held = load_dataset(name, resolution=24)
        with absltest.mock.patch.object(folders, "HELD_BYTES", 300_000):
            streamed = load_dataset(name, resolution=24)
        self.assertEqual(streamed.shape, held.shape)
        for part in ("train", "valid", "test"):
            one, two = getattr(held, part), getattr(streamed, part)
            self.assertIsInstance(two, StreamSplit)
            self.assertEqual(one.size, two.size)
            ((images, targets),) = two.batches(300)
            np.testing.assert_array_equal(targets, one.labels)
            np.testing.assert_array_equal(images, one.images)
        one = streamed.train.batches(50, seed=1, augment="crop_flip", randaugment=9)
        images, _ = next(iter(one))
        self.assertEqual(images.shape, (50, 24, 24, 3))
        self.assertBetween(float(images.numpy().min()), 0, 255)
        self.assertBetween(float(images.numpy().max()), 0, 255)


if __name__ == "__main__":
    absltest.main()
