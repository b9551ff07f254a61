"""Loading data sets, and saying in one line what is wrong with them."""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from layernas_tf.core.errors import UserError
from layernas_tf.datasets import load_dataset
from layernas_tf.datasets.frame import Frame, frame_for
from layernas_tf.datasets.image_reader import fit_images
from layernas_tf.datasets.split import ArraySplit, hold_out


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """A small valid archive of three classes, with some arrays replaced."""
    generator = np.random.default_rng(0)
    valid = {
        "x_train": generator.integers(0, 256, (30, 8, 8, 3), np.uint8),
        "y_train": np.arange(30) % 3,
        "x_test": generator.integers(0, 256, (9, 8, 8, 3), np.uint8),
        "y_test": np.arange(9)[:, None] % 3,
    }
    return valid | changes


class DatasetTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory(prefix="datasets"))
        )

    def save(self, content: dict[str, np.ndarray]) -> str:
        path = self.folder / "data.npz"
        np.savez_compressed(path, **content)
        return f"npz:{path}"

    def assert_refused(self, text: str, *words: str, **options):
        with self.assertRaises(UserError) as caught:
            load_dataset(text, **options)
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        for word in words:
            self.assertIn(word, message)


class DigitsTest(DatasetTest):
    def test_every_digit_is_in_exactly_one_split(self):
        dataset = load_dataset("digits", resolution=8)
        self.assertEqual(dataset.shape, (8, 8, 1))
        self.assertEqual(dataset.classes, 10)
        self.assertFalse(dataset.mirrors)
        splits = (dataset.train, dataset.valid, dataset.test)
        self.assertEqual(sum(split.size for split in splits), 1797)
        everything = np.concatenate([split.images for split in splits])
        sums = np.sort(everything.reshape(1797, -1).sum(axis=1, dtype=np.int64))
        from sklearn.datasets import load_digits

        expected = np.rint(load_digits().images * (255 / 16)).sum(axis=(1, 2))
        np.testing.assert_array_equal(sums, np.sort(expected))

    def test_small_images_are_enlarged_to_32_pixels(self):
        dataset = load_dataset("digits", limit=40)
        self.assertEqual(dataset.shape, (32, 32, 1))
        images, labels = next(iter(dataset.train.batches(16)))
        self.assertEqual(images.dtype.name, "float32")
        self.assertEqual(labels.dtype.name, "int32")
        self.assertGreater(images.numpy().max(), 200)
        self.assertLessEqual(images.numpy().max(), 255)

    def test_the_seed_changes_validation_but_not_the_test_set(self):
        one, two = (load_dataset("digits", resolution=8, seed=s) for s in (1, 2))
        np.testing.assert_array_equal(one.test.images, two.test.images)
        self.assertFalse(np.array_equal(one.valid.images, two.valid.images))

    def test_unknown_names_and_options_are_refused(self):
        self.assert_refused("digit", "'digit'", "npz:FILE", "tfds:NAME")
        self.assert_refused("npz:", "npz:FILE")
        self.assert_refused("digits", "valid_fraction", "1.5", valid_fraction=1.5)
        self.assert_refused("digits", "resolution", "0", resolution=0)
        self.assert_refused("digits", "limit", "-1", limit=-1)


class NpzTest(DatasetTest):
    def test_integers_and_floats_give_the_same_pixels(self):
        content = arrays()
        whole = load_dataset(self.save(content), resolution=8)
        floats = {k: content[k] / 255 for k in ("x_train", "x_test")}
        scaled = load_dataset(self.save(content | floats), resolution=8)
        ((images, labels),) = whole.train.batches(100)
        ((same, same_labels),) = scaled.train.batches(100)
        np.testing.assert_allclose(images, same, atol=1e-4)
        np.testing.assert_array_equal(labels, same_labels)
        self.assertGreater(images.numpy().max(), 200)

    def test_gray_images_without_a_channel_axis(self):
        gray = {k: arrays()[k][..., 0] for k in ("x_train", "x_test")}
        dataset = load_dataset(self.save(arrays(**gray)))
        self.assertEqual(dataset.shape, (32, 32, 1))
        self.assertFalse(dataset.mirrors)

    def test_test_images_stay_in_order(self):
        content = arrays()
        dataset = load_dataset(self.save(content), resolution=8)
        np.testing.assert_array_equal(dataset.test.images, content["x_test"])
        np.testing.assert_array_equal(dataset.test.labels, content["y_test"][:, 0])

    @parameterized.named_parameters(
        ("negative", {"y_train": np.arange(30) % 3 - 1}, ["y_train", "-1"]),
        ("out_of_range", {"y_test": np.arange(9)}, ["y_test", "8", "0..2"]),
        ("gap", {"y_train": np.arange(30) % 3 * 2}, ["4", "y_train", "0..2"]),
        ("fraction", {"y_train": np.arange(30) / 2}, ["y_train", "integers"]),
        ("nan_label", {"y_train": np.full(30, np.nan)}, ["y_train", "integers"]),
        ("text", {"y_train": np.full(30, "cat")}, ["y_train", "<U3"]),
        ("length", {"y_train": np.arange(29) % 3}, ["30", "29"]),
        ("rank", {"x_train": np.zeros((30, 8))}, ["x_train", "(30, 8)"]),
        ("channels", {"x_test": np.zeros((9, 8, 8, 2))}, ["x_test", "(9, 8, 8, 2)"]),
        ("label_rank", {"y_test": np.zeros((9, 3), int)}, ["y_test", "(9, 3)"]),
        ("no_images", {"x_train": np.zeros((0, 8, 8))}, ["x_train", "empty"]),
        ("no_labels", {"y_test": np.zeros(0, int)}, ["y_test", "empty"]),
        ("nan", {"x_train": np.full((30, 8, 8), np.nan)}, ["x_train", "NaN"]),
        ("scale", {"x_train": np.full((30, 8, 8), 3.0)}, ["x_train", "[0, 1]"]),
        ("wide", {"x_test": np.full((9, 8, 8), 256)}, ["x_test", "0..255"]),
        ("sizes", {"x_test": np.zeros((9, 8, 7, 3))}, ["x_test", "(8, 7, 3)"]),
        ("one_class", {"y_train": np.zeros(30, int)}, ["y_test", "0..0"]),
        ("single", {"y_train": np.array([2] + [0, 1] * 14 + [0])}, ["1 of class 2"]),
        ("complex", {"x_train": np.zeros((30, 8, 8), complex)}, ["complex128"]),
    )
    def test_refuses(self, changes, words):
        self.assert_refused(self.save(arrays(**changes)), *words)

    def test_a_missing_array_is_named(self):
        content = arrays()
        del content["y_test"]
        self.assert_refused(self.save(content), "y_test", "x_train")

    def test_missing_and_broken_files_are_refused(self):
        self.assert_refused("npz:/no/such/file.npz", "no such file")
        path = self.folder / "empty.npz"
        path.write_bytes(b"")
        self.assert_refused(f"npz:{path}", ".npz")
        path.write_text("x_train, y_train")
        self.assert_refused(f"npz:{path}", ".npz")
        whole = pathlib.Path(self.save(arrays()).removeprefix("npz:")).read_bytes()
        for size in (len(whole) // 2, len(whole) - 10):
            path.write_bytes(whole[:size])
            self.assert_refused(f"npz:{path}", "cut short")
        # Intact as an archive, broken inside: the checksum of the data tells.
        damaged = bytearray(whole)
        damaged[500] ^= 0xFF
        path.write_bytes(damaged)
        self.assert_refused(f"npz:{path}", "x_train")

    def test_single_arrays_and_pickles_are_refused(self):
        path = self.folder / "array.npy"
        np.save(path, np.zeros(3))
        self.assert_refused(f"npz:{path}", "single array")
        objects = np.array([{"a": 1}] * 30, dtype=object)
        self.assert_refused(self.save(arrays(y_train=objects)), "y_train", "objects")


class FolderTest(DatasetTest):
    def write(self, place: str, number: int, size: tuple[int, int], suffix=".png"):
        folder = self.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(number):
            pixels = np.full((*size, 3), 20 * index + 5, np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}{suffix}")

    def test_train_and_test_folders(self):
        for class_name in ("cat", "dog"):
            self.write(f"train/{class_name}", 6, (40, 50))
            self.write(f"test/{class_name}", 2, (60, 40), ".jpg")
        dataset = load_dataset(f"folder:{self.folder}")
        self.assertEqual(dataset.class_names, ("cat", "dog"))
        self.assertEqual(dataset.shape, (45, 45, 3))
        self.assertEqual(
            [s.size for s in (dataset.train, dataset.valid, dataset.test)], [10, 2, 4]
        )
        self.assertEqual(list(dataset.test.labels), [0, 0, 1, 1])
        self.assertTrue(dataset.mirrors)

    def test_without_test_folder_a_fifth_is_held_out_and_said(self):
        for class_name in ("a", "b", "c"):
            self.write(class_name, 10, (32, 32))
        dataset = load_dataset(f"folder:{self.folder}")
        self.assertIn("6 of 30 images", dataset.check.notes[-1])
        self.assertEqual(dataset.test.size, 6)
        self.assertEqual(list(np.bincount(dataset.test.labels)), [2, 2, 2])

    def test_refuses_what_has_no_classes_or_images(self):
        self.assert_refused("folder:/no/such/folder", "no such folder")
        self.assert_refused(f"folder:{self.folder}", "at least 2 folders", "got 0")
        self.write("a", 4, (32, 32))
        (self.folder / "b").mkdir()
        self.assert_refused(f"folder:{self.folder}", "0 of 'b'")

    def test_an_unreadable_image_is_named(self):
        for class_name in ("a", "b"):
            self.write(class_name, 4, (32, 32))
        broken = self.folder / "b" / "broken.jpg"
        broken.write_bytes(b"\xff\xd8\xff not a picture")
        self.assert_refused(f"folder:{self.folder}", "broken.jpg")
        broken.unlink()
        whole = (self.folder / "a" / "0.png").read_bytes()
        (self.folder / "a" / "0.png").write_bytes(whole[:60])
        self.assert_refused(f"folder:{self.folder}", "0.png")

    def test_a_class_of_the_test_set_alone_is_refused(self):
        for place in ("train/a", "train/b", "test/a", "test/zebra"):
            self.write(place, 3, (32, 32))
        self.assert_refused(f"folder:{self.folder}", "'zebra'")


class TfdsTest(DatasetTest):
    def test_a_small_set_of_images_of_one_size(self):
        import tensorflow_datasets as tfds

        with tfds.testing.mock_data(num_examples=120):
            dataset = load_dataset("tfds:cifar10", limit=100)
        self.assertEqual(dataset.shape, (32, 32, 3))
        self.assertEqual(dataset.classes, 10)
        self.assertLen(dataset.class_names, 10)
        self.assertEqual(dataset.train.size + dataset.valid.size, 100)

    def test_unknown_names_and_other_tasks_are_refused(self):
        import tensorflow_datasets as tfds

        self.assert_refused("tfds:no_such_set", "no_such_set")
        with tfds.testing.mock_data(num_examples=4):
            self.assert_refused("tfds:imdb_reviews", "image")

    def test_a_failed_download_is_one_line(self):
        import tensorflow_datasets as tfds

        def fail(*args, **kwargs):
            raise ConnectionError("name resolution failed\nmore lines")

        with tfds.testing.mock_data(num_examples=4):
            with absltest.mock.patch.object(
                tfds.core.DatasetBuilder, "download_and_prepare", fail
            ):
                self.assert_refused("tfds:mnist", "name resolution failed", "network")


class SplitTest(parameterized.TestCase):
    @given(
        labels=st.lists(st.integers(0, 4), min_size=2, max_size=60),
        fraction=st.floats(0.01, 0.99),
        seed=st.integers(0, 2**32),
    )
    def test_holding_out_is_a_partition_with_each_class_in_proportion(
        self, labels, fraction, seed
    ):
        labels = np.array(labels)
        stay, held = hold_out(labels, fraction, seed)
        np.testing.assert_array_equal(
            np.sort(np.concatenate([stay, held])), np.arange(len(labels))
        )
        for label in set(labels.tolist()):
            number = int((labels == label).sum())
            part = int((labels[held] == label).sum())
            self.assertLess(part, number)
            self.assertLessEqual(abs(part - fraction * number), 1)
            if number > 1:
                self.assertGreaterEqual(part, 1)

    def test_batches_come_in_order_or_shuffled_by_the_seed(self):
        split = ArraySplit(
            np.zeros((10, 4, 4, 1), np.uint8), np.arange(10, dtype=np.int32)
        )

        def labels(**options):
            return [b.numpy().tolist() for _, b in split.batches(4, **options)]

        self.assertEqual(labels(), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])
        self.assertEqual(labels(seed=3), labels(seed=3))
        self.assertNotEqual(labels(seed=3), labels(seed=4))
        self.assertCountEqual(sum(labels(seed=3), []), range(10))

    def test_repeated_batches_are_whole_and_differ_between_rounds(self):
        split = ArraySplit(
            np.zeros((10, 4, 4, 1), np.uint8), np.arange(10, dtype=np.int32)
        )
        batches = iter(split.batches(4, seed=0, repeat=True))
        rounds = [[next(batches)[1].numpy().tolist() for _ in "ab"] for _ in "abc"]
        self.assertEqual({len(b) for r in rounds for b in r}, {4})
        self.assertNotEqual(rounds[0], rounds[1])
        small = ArraySplit(split.images[:3], split.labels[:3])
        self.assertLen(next(iter(small.batches(4, seed=0, repeat=True)))[1], 3)

    def test_a_shift_moves_pixels_and_a_flip_mirrors_them(self):
        ramp = np.tile(np.arange(16, dtype=np.uint8), (64, 16, 1))[..., None]
        split = ArraySplit(ramp, np.zeros(64, np.int32))
        ((plain, _),) = split.batches(64)
        np.testing.assert_array_equal(plain, ramp)
        ((shifted, _),) = split.batches(64, seed=0, augment="shift")
        steps = np.diff(shifted.numpy()[:, 0, :, 0], axis=1)
        self.assertTrue(((steps == 0) | (steps == 1)).all())
        offsets = shifted.numpy()[:, 0, 8, 0] - 8
        self.assertEqual(set(offsets.tolist()), {-2, -1, 0, 1, 2})
        ((flipped, _),) = split.batches(64, seed=0, augment="shift_flip")
        falling = np.diff(flipped.numpy()[:, 0, :, 0], axis=1).min(axis=1) < 0
        self.assertBetween(falling.sum(), 16, 48)

    def test_the_central_square_is_resized(self):
        images = np.zeros((1, 40, 100, 3), np.uint8)
        images[:, :, 30:70] = 200
        (square,) = fit_images(images, Frame(20, 20, 3, "crop"))
        self.assertEqual(square.shape, (20, 20, 3))
        self.assertEqual(square.dtype, np.uint8)
        self.assertTrue((square == 200).all())

    @parameterized.parameters(
        ((8, 8), "pad", 32),
        ((40, 90), "pad", 60),
        ((40, 90), "squash", 60),
        ((40, 90), "crop", 40),
        ((500, 375), "pad", 224),
    )
    def test_the_side_is_that_of_the_images_within_bounds(self, size, fit, side):
        frame = frame_for([size], 3, None, fit)
        self.assertEqual(frame.shape, (side, side, 3))
        self.assertEqual(frame_for([size], 1, (12, 20), fit).shape, (12, 20, 1))


if __name__ == "__main__":
    absltest.main()
