"""From checked arrays to a `Dataset`; `digits` and `npz:FILE`."""

from __future__ import annotations

import pathlib
import zipfile
import zlib

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.frame import frame_for
from layernas_tf.datasets.image_reader import fit_images, with_channels
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.split import (
    ArraySplit,
    Dataset,
    check_limit,
    hold_out,
    subset,
)


def make_dataset(
    name: str,
    train: ArraySplit,
    test: ArraySplit,
    class_names: tuple[str, ...],
    options: Options,
    *,
    mirrors: bool,
) -> Dataset:
    """Limits, resizes and parts images of one size that are checked already."""
    if options.limit is not None:
        check_limit(name, options.limit, len(class_names))
        train = train.take(subset(train.labels, options.limit, options.seed, least=2))
        test = test.take(subset(test.labels, options.limit, options.seed))
    frame = frame_for(
        [train.images.shape[1:3]],
        options.channels or train.images.shape[-1],
        options.resolution,
        options.fit,
    )
    train, test = (
        ArraySplit(
            fit_images(with_channels(split.images, frame.channels), frame), split.labels
        )
        for split in (train, test)
    )
    stay, held = hold_out(train.labels, options.valid_fraction, options.seed)
    return Dataset(
        name=name,
        classes=len(class_names),
        class_names=class_names,
        shape=train.images.shape[1:],
        train=train.take(stay),
        valid=train.take(held),
        test=test,
        mirrors=mirrors,
        frame=frame,
    )


def check_enough(name: str, labels: np.ndarray, classes: int) -> None:
    """Raises `UserError` unless there are two classes, each with two images."""
    if classes < 2:
        raise UserError(f"{name}: expected at least 2 classes, got {classes}")
    counts = np.bincount(labels, minlength=classes)
    few = int(np.argmin(counts))
    if counts[few] < 2:
        raise UserError(
            f"{name}: expected at least 2 training images of each of the {classes} "
            f"classes (one is held out for validation), got {counts[few]} of class "
            f"{few}"
        )


def load_digits(name: str, options: Options) -> Dataset:
    """scikit-learn's 1,797 handwritten digits; a fifth, always the same, is the test.

    Source: E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    everything = ArraySplit(images, digits.target.astype(np.int32))
    stay, held = hold_out(everything.labels, 0.2, seed=0)
    return make_dataset(
        name,
        everything.take(stay),
        everything.take(held),
        tuple(str(name) for name in digits.target_names),
        options,
        mirrors=False,
    )


ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")


def load_npz(name: str, path: str, options: Options) -> Dataset:
    """A NumPy archive with Keras' `x_train`, `y_train`, `x_test`, `y_test`.

    Images are (N, H, W) or (N, H, W, C) with 1 or 3 channels, integers in 0..255 or
    floats in [0, 1]; labels (N,) or (N, 1), integers counted from 0.
    """
    arrays = _read_npz(name, path)
    train = ArraySplit(
        _images(name, "x_train", arrays["x_train"]),
        _labels(name, "y_train", arrays["y_train"]),
    )
    test = ArraySplit(
        _images(name, "x_test", arrays["x_test"]),
        _labels(name, "y_test", arrays["y_test"]),
    )
    for part, split in (("train", train), ("test", test)):
        if len(split.images) != len(split.labels):
            raise UserError(
                f"{name}: x_{part} has {len(split.images)} images and y_{part} "
                f"{len(split.labels)} labels: expected as many"
            )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise UserError(
            f"{name}: x_test has images of shape {test.images.shape[1:]}, expected "
            f"{train.images.shape[1:]} as in x_train"
        )
    classes = len(np.unique(train.labels))
    for part, split in (("train", train), ("test", test)):
        if split.labels.max() >= classes:
            raise UserError(
                f"{name}: label {split.labels.max()} in y_{part} is out of range: "
                f"y_train has {classes} different labels, so expected 0..{classes - 1}"
            )
    check_enough(name, train.labels, classes)
    return make_dataset(
        name,
        train,
        test,
        tuple(str(label) for label in range(classes)),
        options,
        mirrors=train.images.shape[-1] == 3,
    )


def _read_npz(name: str, path: str) -> dict[str, np.ndarray]:
    file = pathlib.Path(path)
    if not file.is_file():
        raise UserError(f"{name}: no such file: {path!r}")
    try:
        archive = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{name}: not a NumPy .npz archive (or cut short): {error}"
        ) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UserError(
            f"{name}: expected an .npz archive with {', '.join(ARRAY_NAMES)}, got a "
            "single array"
        )
    with archive:
        missing = [key for key in ARRAY_NAMES if key not in archive.files]
        if missing:
            raise UserError(
                f"{name}: no array {', '.join(missing)}: expected "
                f"{', '.join(ARRAY_NAMES)}, got {', '.join(archive.files) or 'none'}"
            )
        arrays = {}
        for key in ARRAY_NAMES:
            try:
                arrays[key] = archive[key]
            except (
                ValueError,
                OSError,
                EOFError,
                zipfile.BadZipFile,
                zlib.error,
            ) as error:
                raise UserError(
                    f"{name}: array {key} cannot be read (cut short, or holds Python "
                    f"objects): {error}"
                ) from error
    return arrays


def _images(name: str, key: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise UserError(
            f"{name}: {key} has shape {array.shape}: expected (N, H, W), (N, H, W, 1) "
            "or (N, H, W, 3)"
        )
    if 0 in array.shape:
        raise UserError(f"{name}: {key} is empty, its shape is {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise UserError(f"{name}: {key} has pixels that are NaN or infinite")
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1:
            raise UserError(
                f"{name}: {key} has float pixels from {low:g} to {high:g}: expected "
                "floats in [0, 1] or integers in 0..255"
            )
        return (array * 255).astype(np.float32)
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(
            f"{name}: {key} is of type {array.dtype}: expected integers or floats"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 255:
        raise UserError(
            f"{name}: {key} has integer pixels from {low} to {high}: expected 0..255"
        )
    return array.astype(np.uint8)


def _labels(name: str, key: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UserError(
            f"{name}: {key} has shape {array.shape}: expected (N,) or (N, 1)"
        )
    if not len(array):
        raise UserError(f"{name}: {key} is empty")
    if not (
        np.issubdtype(array.dtype, np.integer)
        or np.issubdtype(array.dtype, np.floating)
    ):
        raise UserError(
            f"{name}: {key} is of type {array.dtype}: expected integer labels"
        )
    if not np.array_equal(array, np.floor(array)) or np.isinf(array).any():
        raise UserError(f"{name}: {key} has labels that are not integers")
    if array.min() < 0:
        raise UserError(
            f"{name}: {key} has the negative label {int(array.min())}: expected labels "
            "counted from 0"
        )
    if array.max() > np.iinfo(np.int32).max:
        raise UserError(f"{name}: label {int(array.max())} in {key} is out of range")
    return array.astype(np.int32)
