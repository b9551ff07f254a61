"""Every mode, suffix and layout of pictures, read both ways: the table of the docs.

    python -m benchmarks.image_modes

Each row is a folder of two classes that holds a picture of one kind: loaded in memory
and streamed, the largest difference between the two ways in any pixel, and the mean
difference from what was saved; or the line that refuses it.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from unittest import mock

import numpy as np

from benchmarks import picture_kinds
from benchmarks.picture_kinds import Kind
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.datasets import Dataset, folder, load_dataset
from layernas_tf.datasets.data_check import DataCheck
from layernas_tf.datasets.split import ArraySplit

_PLAIN = picture_kinds.KINDS[0]


def both_ways(root: pathlib.Path) -> tuple[Dataset, float, list[np.ndarray]]:
    """Loads a folder twice.

    Returns:
      The data set in memory, the largest difference of a pixel, the training images.
    """
    height, width = picture_kinds.SIZE
    held = load_dataset(f"folder:{root}", resolution=(height, width))
    with mock.patch.object(folder, "HELD_BYTES", 0):
        streamed = load_dataset(f"folder:{root}", resolution=(height, width))
    worst = 0.0
    for part in ("train", "valid", "test"):
        one, two = getattr(held, part), getattr(streamed, part)
        images = np.concatenate([batch.numpy() for batch, _ in two.batches(64)])
        worst = max(worst, float(np.abs(images - one.images).max()))
    assert isinstance(held.train, ArraySplit)
    return held, worst, list(held.train.images)


def kind_row(kind: Kind) -> str:
    """One mode of one format."""
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        for label in ("a", "b"):
            (root / label).mkdir()
            for number in range(3):
                file = root / label / f"{number}{kind.suffix}"
                file.write_bytes(kind.content(number))
        try:
            _, worst, images = both_ways(root)
        except UserError as error:
            reason = str(error).split(" (")[1].split(")")[0]
            return f"| {kind.name} | refused: {reason} | | |"
    shown = [
        picture_kinds.shown(number, grey=kind.grey).astype(float) for number in range(3)
    ]
    off = max(min(np.abs(image - one).mean() for one in shown) for image in images)
    return f"| {kind.name} | loads | {worst:g} | {off:.1f} |"


def write(root: pathlib.Path, place: str, number: int = 4) -> None:
    """Writes plain pictures into a folder."""
    (root / place).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        content = _PLAIN.content(100 * len(place) + index)
        (root / place / f"{index}.jpg").write_bytes(content)


def _splits(*names: str) -> Callable[[pathlib.Path], None]:
    def make(root: pathlib.Path) -> None:
        for name in names:
            write(root, f"{name}/a")
            write(root, f"{name}/b")

    return make


def _with(*others: str) -> Callable[[pathlib.Path], None]:
    def make(root: pathlib.Path) -> None:
        for place in ("a", "b", *others):
            write(root, place)

    return make


def _files(*names: str) -> Callable[[pathlib.Path], None]:
    def make(root: pathlib.Path) -> None:
        write(root, "a")
        write(root, "b")
        for name in names:
            (root / name).write_bytes(b"not a picture")

    return make


def _named(label: bytes) -> Callable[[pathlib.Path], None]:
    def make(root: pathlib.Path) -> None:
        write(root, "a")
        write(root, "b")
        os.rename(root / "a", os.fsencode(root) + b"/" + label)

    return make


LAYOUTS: dict[str, Callable[[pathlib.Path], None]] = {
    "`a/` `b/`": _splits("."),
    "`train/` `test/`": _splits("train", "test"),
    "`train/` `val/` `test/`": _splits("train", "val", "test"),
    "`Training/` `Validation/` `Testing/`": _splits(
        "Training", "Validation", "Testing"
    ),
    "`train/` `dev/` `eval/`": _splits("train", "dev", "eval"),
    "`train/` `valid/`": _splits("train", "valid"),
    "`train/` alone": _splits("train"),
    "`train2017/` `val2017/`": _splits("train2017", "val2017"),
    "`val/` `test/` alone": _splits("val", "test"),
    "`train/` `val/` `valid/`": _splits("train", "val", "valid"),
    "classes `a` `b` `train`": _with("train"),
    "folders inside a class": _with("a/day1", "b/day1/more"),
    "`.git/` `__MACOSX/` `@eaDir/`": _with(".git", "__MACOSX", "a/@eaDir"),
    "`.txt` and `.heic` beside pictures": _files("a/x.txt", "b/y.heic"),
    "a damaged `.jpg`": _files("a/bad.jpg"),
    "a class `café`": _named("café".encode()),
    "a class name that is not UTF-8": _named(b"caf\xe9"),
    "a class name of two lines": _named(b"two\nlines"),
    "one class folder in a folder": _splits("data"),
}


def layout_row(name: str, make: Callable[[pathlib.Path], None]) -> str:
    """One layout of folders."""
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place) / "DIR"
        root.mkdir()
        make(root)
        try:
            dataset, worst, _ = both_ways(root)
        except UserError as error:
            text = str(error).replace(str(root), "DIR").replace("\n", " ")
            return f"| {name} | refused: {text.partition(': ')[2]} | |"
    check = dataset.check
    assert isinstance(check, DataCheck)
    sizes = f"{dataset.train.size}, {dataset.valid.size}, {dataset.test.size}"
    left = ", ".join(f"{number} {kind}" for kind, number in check.left_out)
    classes = " ".join(dataset.class_names)
    found = f"{sizes}; classes {classes}" + (f"; left out: {left}" if left else "")
    return f"| {name} | {found} | {worst:g} |"


def main(argv: Sequence[str]) -> None:
    """Prints both tables."""
    del argv
    print(
        "| picture | outcome | largest difference, memory and stream | "
        "mean difference from what was saved |\n|---|---|---|---|"
    )
    for kind in picture_kinds.KINDS:
        print(kind_row(kind), flush=True)
    print(
        "\n| folder | images to train, validate, test | "
        "largest difference, memory and stream |\n|---|---|---|"
    )
    for name, make in LAYOUTS.items():
        print(layout_row(name, make), flush=True)


if __name__ == "__main__":
    run_main(main)
