"""Damaged picture files and odd names: refused in one line by the check, or trained on.

`LAYERNAS_LONG_TESTS=1` throws ten thousand files.
"""

from __future__ import annotations

import os
import pathlib
import random
import tempfile

import numpy as np
from absl.testing import absltest

from benchmarks import picture_kinds
from layernas_tf.core.errors import UserError
from layernas_tf.datasets import folder as folders
from layernas_tf.datasets import load_dataset
from layernas_tf.datasets.folder_check import check_folder
from layernas_tf.datasets.folder_listing import list_folder

_LONG = bool(os.environ.get("LAYERNAS_LONG_TESTS"))
_FILES = 10_000 if _LONG else 300
_AT_A_TIME = 500

_SUFFIXES = sorted({kind.suffix for kind in picture_kinds.KINDS if kind.suffix})


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A file cut short anywhere, with bytes changed, or with a part doubled."""
    how = draw.randrange(6)
    if how == 0:
        return content[: draw.randrange(len(content) + 1)]
    if how == 1:  # in the head, where sizes and kinds are
        content = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(min(len(content), 64))
            content[place] = draw.choice([0, 255, draw.randrange(256)])
        return bytes(content)
    if how == 2:
        content = bytearray(content)
        for _ in range(draw.randint(1, 30)):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        return bytes(content)
    if how == 3:
        start = draw.randrange(len(content))
        end = min(len(content), start + draw.randint(1, 200))
        return content[:start] + content[start:end] * draw.randint(0, 3) + content[end:]
    if how == 4:
        return draw.randbytes(draw.randrange(200))
    return content


def odd_name(draw: random.Random, number: int) -> bytes:
    """A file's name as bytes, which need not be text."""
    middles = [b"", b" ", b"\xff\xfe", b"\n", "ü🦉".encode(), b"'\"%s{}", b"a.b"]
    suffix = draw.choice(_SUFFIXES).encode()
    return f"{number}".encode() + draw.choice(middles) + suffix


class PictureFuzzTest(absltest.TestCase):
    def test_what_the_check_passes_can_be_trained_on_both_ways(self):
        draw = random.Random(3)
        contents = [k.content(n) for n in range(3) for k in picture_kinds.KINDS]
        refused = 0
        for start in range(0, _FILES, _AT_A_TIME):
            with tempfile.TemporaryDirectory() as place:
                count = min(_AT_A_TIME, _FILES - start)
                refused += self.thrown(pathlib.Path(place), contents, draw, count)
        self.assertBetween(refused, _FILES // 10, _FILES * 9 // 10)

    def thrown(self, root, contents, draw, count) -> int:
        """Writes a folder, checks and loads it; the number of files refused."""
        for label in ("a", "b"):
            (root / label).mkdir()
            for number in range(6):  # whatever the draws are, there is enough to train
                (root / label / f"good{number}.png").write_bytes(
                    picture_kinds.KINDS[6].content(number)
                )
        for number in range(count):
            name = os.fsencode(root / draw.choice("ab")) + b"/" + odd_name(draw, number)
            with open(name, "wb") as file:
                file.write(damaged(draw.choice(contents), draw))
        text = f"folder:{root}"
        listing = list_folder(text, str(root))
        check = check_folder(text, listing)
        for bad in check.unreadable:
            self.assertNotIn("\n", bad.file + bad.reason)
            self.assertNotEmpty(bad.reason)
        if check.unreadable:
            with self.assertRaises(UserError) as caught:
                load_dataset(text)
            self.assertNotIn("\n", str(caught.exception))
        held = load_dataset(text, resolution=32, skip_unreadable=True)
        with absltest.mock.patch.object(folders, "HELD_BYTES", 0):
            streamed = load_dataset(text, resolution=32, skip_unreadable=True)
        for part in ("train", "valid", "test"):
            batches = getattr(streamed, part).batches(64)
            images = np.concatenate([batch.numpy() for batch, _ in batches])
            np.testing.assert_array_equal(images, getattr(held, part).images)
        list(streamed.train.batches(64, seed=1, augment="crop_flip"))
        return len(check.unreadable)

    def test_odd_names_of_folders(self):
        draw = random.Random(5)
        words = ["a", "train", "test", "VAL", "eval", ".x", " ", "x\ny", "é", "e\u0301"]
        words += ["\u2028", "Thumbs.db", "a" * 200, "#", "%d", "$HOME", "..a", "b.jpg"]
        for _ in range(_FILES // 10):
            with tempfile.TemporaryDirectory() as place:
                root = pathlib.Path(place)
                for word in draw.sample(words, draw.randint(0, 5)):
                    for inner in draw.sample(words, draw.randint(0, 3)) or [""]:
                        folder = root / word / inner
                        folder.mkdir(parents=True, exist_ok=True)
                        for number in range(draw.randint(0, 3)):
                            (folder / f"{number}.png").write_bytes(
                                picture_kinds.KINDS[6].content(number)
                            )
                try:
                    load_dataset(f"folder:{root}")
                except UserError as error:
                    self.assertNotIn("\n", str(error))
                    self.assertLess(len(str(error)), 3000)


if __name__ == "__main__":
    absltest.main()
