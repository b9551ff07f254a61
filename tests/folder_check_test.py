"""What a folder holds, and what is wrong with it, is known before a training."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from layernas_tf.core.errors import UserError
from layernas_tf.datasets import folder as folders
from layernas_tf.datasets import folder_check, load_dataset
from layernas_tf.datasets.data_check import DataCheck, check_from_json
from layernas_tf.datasets.folder_check import check_folder
from layernas_tf.datasets.folder_listing import list_folder
from layernas_tf.datasets.split_names import split_of


def png(value: int, size: tuple[int, int] = (32, 32), *, grey: bool = False) -> bytes:
    pixels = np.full((*size, 3), value, np.uint8)
    pixels[0, 0] = (value, 255 - value, 255)
    image = Image.fromarray(pixels)
    content = io.BytesIO()
    (image.convert("L") if grey else image).save(content, "PNG")
    return content.getvalue()


class FolderCase(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory(prefix="folder"))
        )
        self.name = f"folder:{self.folder}"

    def fill(self, place: str, number: int = 4, first: int = 0, **options) -> None:
        """Writes different pictures into a folder."""
        folder = self.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        start = first + 7 * sum(map(ord, place))
        for index in range(number):
            content = png((start + 3 * index) % 250, **options)
            (folder / f"{index}.png").write_bytes(content)

    def check(self, **options) -> DataCheck:
        return check_folder(self.name, self.listing(), **options)

    def listing(self):
        return list_folder(self.name, str(self.folder))

    def sizes(self) -> dict[str, tuple[int, int, int]]:
        return {s.name: (s.train, s.valid, s.test) for s in self.check().classes}

    def assert_refused(self, *words: str, **options):
        with self.assertRaises(UserError) as caught:
            load_dataset(self.name, **options)
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        for word in words:
            self.assertIn(word, message)


class LayoutTest(FolderCase):
    @parameterized.parameters(
        ("train", "val", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "valid", "TEST"),
        ("train_set", "dev", "eval"),
        ("training-images", "eval", "test"),
        ("train2017", "val2017", "test2017"),
        ("data_train", "data_dev", "data_test"),
    )
    def test_splits_are_told_by_their_usual_names(self, train, valid, test):
        for place, number in ((train, 6), (valid, 3), (test, 2)):
            for label in "ab":
                self.fill(f"{place}/{label}", number)
        self.assertEqual(self.sizes(), {"a": (6, 3, 2), "b": (6, 3, 2)})
        dataset = load_dataset(self.name)
        self.assertEqual(
            [s.size for s in (dataset.train, dataset.valid, dataset.test)], [12, 6, 4]
        )

    def test_without_a_test_set_one_is_held_out_and_the_own_validation_set_stays(self):
        for label in "ab":
            self.fill(f"train/{label}", 10)
            self.fill(f"val/{label}", 3)
        dataset = load_dataset(self.name)
        self.assertEqual(
            [s.size for s in (dataset.train, dataset.valid, dataset.test)], [16, 6, 4]
        )
        self.assertIn("no test folder", " ".join(dataset.check.notes))

    def test_classes_may_be_called_as_splits_are(self):
        for label in ("bus", "train", "test"):
            self.fill(label)
        self.assertEqual(self.listing().class_names, ("bus", "test", "train"))

    def test_two_folders_for_one_split_and_none_to_train_on_are_refused(self):
        for place in ("val/a", "val/b"):
            self.fill(place)
        self.assert_refused("no folder of training pictures", "'val'")
        for place in ("train/a", "train/b", "Valid/a", "Valid/b"):
            self.fill(place)
        self.assert_refused("'Valid'", "'val'", "valid set")

    def test_hidden_and_system_folders_are_passed_over_and_counted(self):
        for label in "ab":
            self.fill(label)
        for place in (
            ".git", "__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN",
            "System Volume Information", "lost+found", "a/.ipynb_checkpoints",
            "a/__MACOSX", "b/@eaDir",
        ):  # fmt: skip
            self.fill(place)
        for file in ("a/Thumbs.db", "a/desktop.ini", "b/.DS_Store", "b/._0.png"):
            (self.folder / file).write_bytes(b"x")
        self.assertEqual(self.sizes(), {"a": (4, 0, 0), "b": (4, 0, 0)})
        self.assertEqual(dict(self.listing().left_out), {"hidden or a system's": 14})

    def test_sub_folders_links_and_loops(self):
        for place in ("a", "a/day1", "a/day1/more", "store/pictures"):
            self.fill(place, 3)
        self.fill("b", 3)
        os.symlink(self.folder / "b", self.folder / "c")
        os.symlink(self.folder / "a", self.folder / "a" / "day1" / "loop")
        os.rename(self.folder / "store", self.folder / "d")
        self.assertEqual(
            self.sizes(),
            {"a": (9, 0, 0), "b": (3, 0, 0), "c": (3, 0, 0), "d": (3, 0, 0)},
        )
        self.assertIn("links to a folder they lie in", dict(self.listing().left_out))

    def test_other_files_are_left_out_by_kind_and_number(self):
        for label in "ab":
            self.fill(label)
        for file in ("a/x.txt", "a/y.txt", "b/z.heic", "b/LICENSE", "readme.md"):
            (self.folder / file).write_bytes(b"some text")
        os.mkfifo(self.folder / "b" / "pipe.jpg")
        self.assertEqual(
            dict(self.listing().left_out),
            {
                ".txt": 2,
                ".heic": 1,
                "files without a suffix": 1,
                "pipes, sockets and devices": 1,
                f"files beside the class folders of '{self.folder.name}'": 1,
            },
        )
        line = " ".join(self.check().lines())
        self.assertIn("2 .txt", line)

    def test_names_are_compared_in_composed_form(self):
        for split, form in (("train", "NFC"), ("test", "NFD")):
            for label in ("caf\u00e9", "tea"):
                self.fill(f"{split}/{unicodedata.normalize(form, label)}")
        self.assertEqual(self.sizes(), {"caf\u00e9": (4, 0, 4), "tea": (4, 0, 4)})

    @parameterized.parameters(
        (b"caf\xe9", "UTF-8"), (b" ", "label"), (b"two\nlines", "label"),
        (b"bell\x07", "label"), ("line\u2028end".encode(), "label"),
    )  # fmt: skip
    def test_names_that_cannot_be_a_label_are_refused(self, name, words):
        self.fill("a")
        os.rename(
            os.fsencode(self.folder / "a"), os.fsencode(self.folder) + b"/" + name
        )
        self.fill("b")
        self.assert_refused(words)

    def test_a_class_written_otherwise_in_another_split_is_pointed_at(self):
        for place in ("train/Cat", "train/Dog", "test/cat", "test/Dog"):
            self.fill(place)
        self.assert_refused("'cat'", "'Cat'")

    def test_a_folder_too_high_is_pointed_at(self):
        for place in ("data/a", "data/b"):
            self.fill(place)
        self.assert_refused("got 1", f"folder:{self.folder}/data")

    def test_file_names_of_any_bytes_are_read_both_ways(self):
        for label in "ab":
            self.fill(label, 3)
            odd = os.fsencode(self.folder / label) + b"/\xff\xfe \n'.png"
            with open(odd, "wb") as file:
                file.write(png(90))
        held = load_dataset(self.name)
        with absltest.mock.patch.object(folders, "HELD_BYTES", 0):
            streamed = load_dataset(self.name)
        ((images, _),) = streamed.train.batches(99)
        np.testing.assert_array_equal(images, held.train.images)
        with open(odd, "wb") as file:
            file.write(b"damaged")
        self.assert_refused(r"\xff\xfe")


class FindingsTest(FolderCase):
    def test_every_damaged_file_is_listed_with_its_reason_or_left_out(self):
        for label in "ab":
            self.fill(label, 12)
        whole = (self.folder / "a" / "0.png").read_bytes()
        for number in range(1, 6):
            cut = whole[: len(whole) * number // 7]
            (self.folder / "a" / f"{number}.png").write_bytes(cut)
        (self.folder / "b" / "3.png").write_bytes(b"")
        os.symlink("nowhere", self.folder / "b" / "gone.jpg")
        names = [bad.file for bad in self.check().unreadable]
        self.assertLen(names, 7)
        self.assert_refused("7 of its pictures", "skip_unreadable", *names)
        for held_bytes in (2**30, 0):
            with absltest.mock.patch.object(folders, "HELD_BYTES", held_bytes):
                dataset = load_dataset(self.name, skip_unreadable=True)
            splits = (dataset.train, dataset.valid, dataset.test)
            self.assertEqual(sum(split.size for split in splits), 18)
            for split in splits:
                list(split.batches(4))
        self.assertIn("7 pictures cannot be read", " ".join(dataset.check.lines()))

    def test_too_few_pictures_are_told_by_the_names_of_classes(self):
        for label, number in (("cat", 9), ("dog", 9), ("yak", 2)):
            self.fill(label, number)
        self.assert_refused("2 of 'yak'", "at least 3")
        (self.folder / "yak" / "2.png").write_bytes(png(77))
        load_dataset(self.name)
        for limit in (1, 3, 5):
            self.assert_refused("limit", "at least 6", limit=limit)
        for limit in (6, 7, 12):
            dataset = load_dataset(self.name, limit=limit)
            self.assertLen(np.unique(dataset.train.labels), 3)
            self.assertLen(np.unique(dataset.valid.labels), 3)

    def test_duplicates_across_splits_and_classes_are_counted(self):
        for place in ("train/a", "train/b", "test/a", "test/b"):
            self.fill(place, 5)
        content = png(201)
        for file in ("train/a/x.png", "train/a/y.png", "test/a/z.png", "train/b/w.png"):
            (self.folder / file).write_bytes(content)
        check = self.check()
        self.assertEqual(check.across_splits, 4)
        self.assertEqual(check.contradicting, 4)
        self.assertEqual(check.repeated, 1)
        self.assertIn("another split", " ".join(check.lines()))

    def test_a_scale_that_cannot_be_right_is_named(self):
        for label in "ab":
            (self.folder / label).mkdir()
            for number in range(4):
                pixels = np.arange(1024).reshape(32, 32) * (number + 3) // 7 % 2
                Image.fromarray(pixels.astype(np.uint8)).save(
                    self.folder / label / f"{number}.png"
                )
        self.assert_refused("0 or 1 of 255")

    def test_twelve_bits_in_sixteen_are_noted(self):
        for label in "ab":
            (self.folder / label).mkdir()
            for number in range(4):
                pixels = np.full((32, 32), 900 * number + 300, np.uint16)
                Image.fromarray(pixels).save(self.folder / label / f"{number}.png")
        notes = " ".join(self.check().notes)
        self.assertIn("3,000 of 65,535", notes)
        self.assertIn("channels=1", notes)

    def test_the_frame_is_chosen_from_all_pictures(self):
        self.fill("a", 9, size=(40, 40))
        self.fill("b", 20, size=(90, 160))
        self.assertEqual(self.check().frame, (120, 120))
        self.assertEqual(self.check(fit="crop").frame, (90, 90))
        self.assertEqual(self.check(resolution=(30, 50)).frame, (30, 50))
        self.fill("a", 9, size=(90, 160))
        self.assertIn("`resolution`=88x160", " ".join(self.check().notes))

    def test_unbalanced_classes_are_noted_by_name(self):
        self.fill("many", 13)
        self.fill("few", 3)
        notes = " ".join(self.check().all_notes())
        self.assertIn("13 training pictures of 'many', 3 of 'few'", notes)

    def test_progress_ends_at_all_files(self):
        for label in "ab":
            self.fill(label, 5)
        calls = []
        self.check(progress=lambda done, total: calls.append((done, total)))
        self.assertEqual(calls[-1], (10, 10))


class KeptCheckTest(FolderCase):
    def setUp(self):
        super().setUp()
        for label in "ab":
            self.fill(label, 8)
        (self.folder / "a" / "3.png").write_bytes(b"damaged")
        self.kept = self.folder.parent / f"{self.folder.name}.json"
        self.addCleanup(lambda: self.kept.unlink(missing_ok=True))

    def load(self, **options):
        return load_dataset(
            self.name, kept_check=str(self.kept), skip_unreadable=True, **options
        )

    def test_it_comes_back_from_json(self):
        check = self.check()
        data = json.loads(json.dumps(check.to_json()))
        self.assertEqual(check_from_json(data), check)

    def test_a_kept_check_saves_reading_until_a_file_changes(self):
        first = self.load()
        self.kept.write_text(json.dumps(first.check.to_json()))
        with absltest.mock.patch.object(
            folder_check, "inspect_image", side_effect=AssertionError("looked at")
        ):
            again = self.load()
            self.assertEqual(again.check, first.check)
            np.testing.assert_array_equal(again.train.images, first.train.images)
            with self.assertRaises(AssertionError):
                self.load(fit="crop")
        (self.folder / "b" / "0.png").write_bytes(b"damaged too")
        self.assertLen(self.load().check.unreadable, 2)

    def test_a_damaged_one_is_made_anew(self):
        for text in ("", "[]", "{}", '{"classes": 3}', "\0"):
            self.kept.write_text(text)
            self.assertLen(self.load().check.unreadable, 1)


class NamesTest(parameterized.TestCase):
    @parameterized.parameters(
        ("cat", None), ("trainer", None), ("contest", None), ("valley", None),
        ("Train", "train"), ("test_images", "test"), ("set-val", "valid"),
        ("EVALUATION", "eval"), ("", None), ("images", None),
    )  # fmt: skip
    def test_which_part_a_name_means(self, name, part):
        self.assertEqual(split_of(name), part)


class BinaryTest(FolderCase):
    def test_it_lists_every_damaged_file_and_ends_with_1(self):
        for label in "ab":
            self.fill(label, 40)
        for number in range(30):
            (self.folder / "a" / f"{number}.png").write_bytes(b"damaged")
        out = self.folder.parent / f"{self.folder.name}.json"
        self.addCleanup(lambda: out.unlink(missing_ok=True))
        command = [sys.executable, "-m", "layernas_tf.datasets.check"]
        found = subprocess.run(
            [*command, f"--dataset={self.name}", f"--out={out}"],
            capture_output=True,
            text=True,
        )
        self.assertEqual(found.returncode, 1, found.stderr)
        self.assertEqual(found.stdout.count("/a/"), 30)
        self.assertIn("a 10, b 40", found.stdout)
        self.assertNotIn("Traceback", found.stderr)
        self.assertLen(check_from_json(json.loads(out.read_text())).unreadable, 30)
        found = subprocess.run(
            [*command, "--dataset=folder:/no/such"], capture_output=True, text=True
        )
        self.assertEqual(found.returncode, 2)
        self.assertEqual(found.stderr.count("\n"), 1)


class ArraysTest(absltest.TestCase):
    def test_a_data_set_in_memory_is_checked_too(self):
        check = load_dataset("digits", resolution=8).check
        self.assertLen(check.classes, 10)
        self.assertEqual(sum(size.total for size in check.classes), 1797)
        self.assertTrue(dataclasses.is_dataclass(check))

    def test_the_users_own_validation_set_is_counted_apart(self):
        numbers = {"train": 30, "valid": 6, "test": 9}
        arrays = {
            f"x_{part}": np.full((number, 8, 8), 9, np.uint8)
            for part, number in numbers.items()
        }
        arrays |= {f"y_{part}": np.arange(n) % 3 for part, n in numbers.items()}
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        np.savez(folder / "own.npz", **arrays)
        for size in load_dataset(f"npz:{folder}/own.npz").check.classes:
            self.assertEqual((size.train, size.valid, size.test), (10, 2, 3))
        del arrays["x_valid"], arrays["y_valid"]
        np.savez(folder / "held.npz", **arrays)
        for size in load_dataset(f"npz:{folder}/held.npz").check.classes:
            self.assertEqual((size.train, size.valid, size.test), (10, 0, 3))

    def test_a_validation_set_made_of_held_out_images_counts_as_training(self):
        sizes = load_dataset("moved_digits").check.classes
        self.assertEqual({size.valid for size in sizes}, {0})


if __name__ == "__main__":
    absltest.main()
