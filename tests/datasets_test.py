"""Loading data sets, and saying in one line what is wrong with them."""

from __future__ import annotations

import functools
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
from layernas_tf.datasets.framing import fit_images
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


def floats(value: float) -> dict[str, np.ndarray]:
    """Float images of which one pixel has this value and the others 0."""
    train, test = np.zeros((30, 8, 8, 3)), np.zeros((9, 8, 8, 3))
    train[4, 2, 2, 1] = value
    return {"x_train": train, "x_test": test}


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
        ("text", {"y_train": np.full(30, "cat")}, ["y_train", "<U3", "y_test"]),
        ("length", {"y_train": np.arange(29) % 3}, ["30", "29"]),
        ("rank", {"x_train": np.zeros((30, 8))}, ["x_train", "(30, 8)"]),
        ("flat", {"x_train": np.zeros((30, 784))}, ["(30, 784)", "reshape"]),
        (
            "channels",
            {"x_test": np.zeros((9, 8, 8, 2), int)},
            ["x_test", "(9, 8, 8, 2)"],
        ),
        ("label_kinds", {"y_test": np.zeros((9, 3), int)}, ["kinds", "y_test"]),
        ("label_rank", {"y_test": np.zeros((9, 1, 1), int)}, ["y_test", "(9, 1, 1)"]),
        ("no_images", {"x_train": np.zeros((0, 8, 8))}, ["x_train", "empty"]),
        ("no_labels", {"y_test": np.zeros(0, int)}, ["y_test", "empty"]),
        ("nan", {"x_train": np.full((30, 8, 8), np.nan)}, ["x_train", "NaN"]),
        ("wide", {"x_test": np.full((9, 8, 8), 256)}, ["x_test", "0..255"]),
        ("sixteen", {"x_train": np.full((30, 8, 8, 3), 4095)}, ["4095", "16 bits"]),
        ("digits", floats(16.0), ["from 0 to 16", "[0, 1]"]),
        ("normal", floats(-2.1), ["-2.1", "undo"]),
        ("overshoot", floats(1.2), ["1.2", "[0, 1]"]),
        ("kinds", {"x_test": np.zeros((9, 8, 8, 3))}, ["x_test float64", "kinds"]),
        ("sizes", {"x_test": np.zeros((9, 8, 7, 3), int)}, ["x_test", "(8, 7, 3)"]),
        ("one_class", {"y_train": np.zeros(30, int)}, ["y_test", "0..0"]),
        ("single", {"y_train": np.array([2] + [0, 1] * 14 + [0])}, ["1 of class 2"]),
        ("complex", {"x_train": np.zeros((30, 8, 8), complex)}, ["complex128"]),
    )
    def test_refuses(self, changes, words):
        self.assert_refused(self.save(arrays(**changes)), *words)

    def test_a_missing_array_is_named(self):
        content = arrays()
        del content["y_train"]
        self.assert_refused(self.save(content), "training labels", "x_train, x_test")
        content = arrays() | {"train_images": arrays()["x_train"]}
        self.assert_refused(self.save(content), "x_train and train_images", "both")

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


class NpzFormsTest(DatasetTest):
    """Archives as people have them give the same data set as Keras' form."""

    def assert_same(self, content: dict[str, np.ndarray], *said: str, atol=0.0):
        plain = load_dataset(self.save(arrays()), resolution=8)
        other = load_dataset(self.save(content), resolution=8)
        self.assertEqual(other.shape, plain.shape)
        for part in ("train", "valid", "test"):
            expected, found = getattr(plain, part), getattr(other, part)
            np.testing.assert_allclose(found.images, expected.images, atol=atol)
            np.testing.assert_array_equal(found.labels, expected.labels)
            self.assertEqual(found.labels.dtype, np.int32)
        notes = " ".join(other.notes)
        for words in said:
            self.assertIn(words, notes)
        self.assertEqual(bool(notes), bool(said))

    def changed(self, change, which: str = "x") -> dict[str, np.ndarray]:
        content = arrays()
        return {k: change(v) if k.startswith(which) else v for k, v in content.items()}

    @parameterized.named_parameters(
        ("channels_first", lambda x: np.moveaxis(x, -1, 1), ["channels first"]),
        ("number_last", lambda x: np.moveaxis(x, 0, -1), ["last axis"]),
        ("sixteen_bits", lambda x: x.astype(np.uint16) * 257, ["16 bits"]),
        ("wide_integers", lambda x: x.astype(np.int64), []),
        ("wide_small", lambda x: x.astype(np.uint16), []),
        ("signed", lambda x: (x.astype(int) - 128).astype(np.int8), ["int8"]),
        ("to_255", lambda x: x.astype(np.float32), ["0..255"]),
        ("around_0", lambda x: x / 127.5 - 1, ["-1..1"]),
        ("half", lambda x: (x / 255).astype(np.float16), []),
    )
    def test_pixels(self, change, said):
        self.assert_same(self.changed(change), *said, atol=0.13 if not said else 1e-3)

    @parameterized.named_parameters(
        ("one_hot", lambda y: np.eye(3)[y.ravel()], ["one-hot"]),
        ("one_hot_booleans", lambda y: np.eye(3, dtype=bool)[y.ravel()], ["one-hot"]),
        ("texts", lambda y: np.array(["a", "b", "c"])[y.ravel()], ["texts"]),
        ("bytes", lambda y: np.array([b"a", b"b", b"c"])[y.ravel()], ["texts"]),
        ("from_one", lambda y: y + 1, ["counted from 1"]),
        ("floats", lambda y: y.astype(float), []),
    )
    def test_labels(self, change, said):
        self.assert_same(self.changed(change, "y"), *said)

    @parameterized.parameters(
        "train_images train_labels test_images test_labels",
        "images_train labels_train images_test labels_test",
        "X_train Y_train X_test Y_test",
        "trainX trainY testX testY",
        "xtrain ytrain xtest ytest",
        "training_data training_targets testing_data testing_targets",
        "images labels test_x test_y",
    )
    def test_names(self, names):
        self.assert_same(dict(zip(names.split(), arrays().values())))

    def test_alpha_is_composited_on_white(self):
        content = arrays()
        clear = self.changed(lambda x: np.pad(x, [(0, 0)] * 3 + [(0, 1)]))
        for key in ("x_train", "x_test"):
            clear[key][..., 3] = 255
        self.assert_same(clear, "alpha")
        clear["x_test"][0, 2, 3] = (10, 20, 30, 0)
        clear["x_test"][0, 4, 4] = (10, 20, 30, 51)
        dataset = load_dataset(self.save(content | clear), resolution=8)
        np.testing.assert_array_equal(dataset.test.images[0, 2, 3], [255] * 3)
        np.testing.assert_array_equal(dataset.test.images[0, 4, 4], [206, 208, 210])

    def test_booleans_are_two_classes_and_black_and_white(self):
        x = (np.arange(30 * 64) % 3 == 0).reshape(30, 8, 8)
        dataset = load_dataset(self.save({"x": x, "y": np.arange(30) % 2 == 1}))
        self.assertEqual(dataset.class_names, ("False", "True"))
        self.assertEqual(set(np.unique(dataset.train.images)) & {0, 255}, {0, 255})
        self.assertIn("boolean labels", " ".join(dataset.notes))

    def test_without_a_test_set_a_fifth_of_each_class_is_held_out(self):
        content = {k: v for k, v in arrays().items() if "train" in k}
        dataset = load_dataset(self.save(content), resolution=8)
        self.assertEqual(list(np.bincount(dataset.test.labels)), [2, 2, 2])
        self.assertEqual(dataset.train.size + dataset.valid.size, 24)
        self.assertIn("6 of 30 images are held out", dataset.notes[-1])
        unlabelled = content | {"x_test": arrays()["x_test"]}
        dataset = load_dataset(self.save(unlabelled), resolution=8)
        self.assertIn("arrays that are not used: x_test", dataset.notes)
        self.assertEqual(dataset.test.size, 6)

    def test_the_users_validation_set_is_used_as_such(self):
        content = arrays()
        medmnist = {
            f"{part}_{kind}": content[f"{short}_{source}"]
            for part, source in (("train", "train"), ("val", "test"), ("test", "test"))
            for short, kind in (("x", "images"), ("y", "labels"))
        }
        dataset = load_dataset(self.save(medmnist), resolution=8)
        self.assertEqual([dataset.train.size, dataset.valid.size], [30, 9])
        np.testing.assert_array_equal(dataset.valid.images, content["x_test"])
        limited = load_dataset(self.save(medmnist), resolution=8, limit=6)
        self.assertEqual([limited.train.size, limited.valid.size], [6, 6])

    def test_class_names_of_the_archive(self):
        names = np.array(["ape", "bee", "cat"])
        dataset = load_dataset(self.save(arrays(class_names=names)), resolution=8)
        self.assertEqual(dataset.class_names, ("ape", "bee", "cat"))
        text = self.save(arrays(class_names=names[:2]))
        self.assert_refused(text, "label 2", "class_names has 2")
        text = self.save(arrays(class_names=np.array(["a", "a", "b"])))
        self.assert_refused(text, "class_names", "repeats a name")
        for bad in ("", " ", "two\nlines", b"\xff"):
            odd = np.array(
                [b"a", b"b", bad] if isinstance(bad, bytes) else ["a", "b", bad]
            )
            self.assert_refused(self.save(arrays(class_names=odd)), "class_names")

    def test_classes_beside_labels_are_names_wherever_they_are(self):
        content = arrays(classes=np.array(["ape", "bee", "cat"]))
        for keys in (list(content), sorted(content)):
            ordered = {key: content[key] for key in keys}
            dataset = load_dataset(self.save(ordered), resolution=8)
            self.assertEqual(dataset.class_names, ("ape", "bee", "cat"))

    def test_rows_that_are_not_one_hot_are_named(self):
        rows = np.eye(3)[np.arange(30) % 3]
        rows[7] = [1, 0, 1]
        other = np.eye(3)[np.arange(9) % 3]
        text = self.save(arrays(y_train=rows, y_test=other))
        self.assert_refused(text, "y_train", "row 7", "one-hot")

    def test_a_text_that_is_not_in_the_training_labels_is_named(self):
        names = np.array(["a", "b", "c"])
        test = np.array(["a"] * 8 + ["zebra"])
        text = self.save(arrays(y_train=names[np.arange(30) % 3], y_test=test))
        self.assert_refused(text, "y_test", "'zebra'", "y_train")

    def test_the_home_folder_may_be_in_the_path(self):
        self.save(arrays())
        with absltest.mock.patch.dict("os.environ", {"HOME": str(self.folder)}):
            dataset = load_dataset("npz:~/data.npz", resolution=8)
        self.assertEqual(dataset.test.size, 9)


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
                self.assert_refused("tfds:mnist", "name resolution", "no internet")


@functools.cache
def tfds_builders() -> dict[str, type]:
    """Small data sets as people build them for themselves."""
    import tensorflow_datasets as tfds

    class Odd(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        skip_registration = True
        splits = {"train": True}
        image, label, dtype, channels = "image", "label", np.uint8, 3

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        self.image: tfds.features.Image(
                            shape=(40, 40, self.channels), dtype=self.dtype
                        ),
                        self.label: tfds.features.ClassLabel(names=["alpha", "beta"]),
                        "id": np.int64,
                    }
                ),
            )

        def _split_generators(self, manager):
            return {s: self._generate_examples(s) for s in self.splits}

        def _generate_examples(self, split):
            most = np.iinfo(self.dtype).max
            for i in range(30):
                pixels = np.full((40, 40, self.channels), most // 255 * 100 * (i % 2))
                if self.channels == 4:
                    pixels[..., 3] = most
                label = i % 2 if self.splits[split] else -1
                yield (
                    i,
                    {self.image: pixels.astype(self.dtype), self.label: label, "id": i},
                )

    class OtherNames(Odd):
        image, label = "picture", "kind"

    class Three(Odd):
        splits = {"train": True, "validation": True, "test": True}

    class Unlabelled(Odd):
        splits = {"train": True, "validation": True, "test": False}

    class OnlyUnlabelled(Odd):
        splits = {"train": True, "test": False}

    class Sixteen(Odd):
        dtype = np.uint16

    class Alpha(Odd):
        channels = 4

    kinds = (Odd, OtherNames, Three, Unlabelled, OnlyUnlabelled, Sixteen, Alpha)
    return {kind.__name__: kind for kind in kinds}


class OddTfdsTest(DatasetTest):
    def load(self, kind: str, **options):
        import tensorflow_datasets as tfds

        builder = tfds_builders()[kind](data_dir=str(self.folder))
        with absltest.mock.patch.object(tfds, "builder", return_value=builder):
            return load_dataset("tfds:odd", **options)

    @parameterized.product(
        (
            {"kind": "Odd", "sizes": (30, 6), "said": "held out"},
            {"kind": "OtherNames", "sizes": (30, 6), "said": "'picture'"},
            {"kind": "Three", "sizes": (30, 30), "said": ""},
            {"kind": "Unlabelled", "sizes": (30, 30), "said": "no label"},
            {"kind": "OnlyUnlabelled", "sizes": (30, 6), "said": "no label"},
            {"kind": "Sixteen", "sizes": (30, 6), "said": "held out"},
            {"kind": "Alpha", "sizes": (30, 6), "said": "held out"},
        ),
        streamed=(False, True),
    )
    def test_what_is_there_is_found(self, kind, sizes, said, streamed):
        held = 1 if streamed else 2**31
        where = "layernas_tf.datasets.tensorflow_datasets.HELD_BYTES"
        with absltest.mock.patch(where, held):
            dataset = self.load(kind)
        whole, test = sizes
        own = kind == "Three"
        self.assertEqual(dataset.test.size, test)
        used = dataset.train.size + (0 if own else dataset.valid.size)
        self.assertEqual(used, whole - (test if test == 6 else 0))
        self.assertEqual(dataset.valid.size == 30, own)
        self.assertIn(said, " ".join(dataset.notes))
        self.assertEqual(dataset.shape, (40, 40, 3))
        for split in (dataset.train, dataset.valid, dataset.test):
            for images, labels in split.batches(64):
                shown = images.numpy().mean(axis=(1, 2, 3))
                np.testing.assert_allclose(shown, 100 * labels.numpy(), atol=1)


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
