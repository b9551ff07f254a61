"""`moved_digits`: scikit-learn's digits, moved, turned, scaled and in noise."""

from __future__ import annotations

import dataclasses

import numpy as np

from layernas_tf.datasets.arrays import TEST_FRACTION, make_dataset
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.split import ArraySplit, Dataset, hold_out

SIDE = 32
"""Pixels of an image."""

COPIES = {"train": 3, "valid": 6, "test": 8}
"""Images made of each original."""

_SIZES = (20.0, 28.0)
"""Side of a digit in pixels, from and to."""

_TURN = 25.0
"""Degrees that a digit is turned by, at most, either way."""

_CONTRAST = (0.5, 1.0)
"""Difference between a digit and its background, from and to, of 1."""

_NOISE = 25.0
"""Standard deviation of the noise, of 255."""


def load_moved_digits(name: str, options: Options) -> Dataset:
    """Images of 32 x 32 grey pixels, made of the 1,797 digits, always the same.

    A fifth of the originals, always the same, is for the test images, and a part of the
    others is held out for validation: no two splits share an original. Images made of
    one original are not independent of each other.

    Source of the digits: E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten
    Digits, UCI Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.float32) / 16
    labels = digits.target.astype(np.int32)
    made = {
        split: _made(images[indices], labels[indices], COPIES[split], seed)
        for seed, (split, indices) in enumerate(_originals(labels, options).items())
    }
    dataset = make_dataset(
        name,
        made["train"],
        made["test"],
        tuple(str(name) for name in digits.target_names),
        options,
        mirrors=False,
        valid=made["valid"],
    )
    # Made of originals that were held out, it is nobody's own.
    return dataclasses.replace(dataset, own_valid=False)


def _originals(labels: np.ndarray, options: Options) -> dict[str, np.ndarray]:
    """Indices of the digits that each split is made of; `test` is always the same."""
    stay, test = hold_out(labels, TEST_FRACTION, seed=0)
    train, valid = hold_out(labels[stay], options.valid_fraction, options.seed)
    return {"train": stay[train], "valid": stay[valid], "test": test}


def _made(
    originals: np.ndarray, labels: np.ndarray, copies: int, seed: int
) -> ArraySplit:
    generator = np.random.default_rng(seed)
    index = np.repeat(np.arange(len(labels)), copies)
    number = len(index)
    size = generator.uniform(*_SIZES, number)
    place = generator.uniform(
        size[:, None] / 2 - 1, SIDE - size[:, None] / 2 + 1, (number, 2)
    )
    turn = np.radians(generator.uniform(-_TURN, _TURN, number))
    picture = _drawn(originals[index], size, place, turn)
    contrast = generator.uniform(*_CONTRAST, (number, 1, 1))
    base = generator.uniform(0, 1 - contrast)
    pixels = 255 * (base + contrast * picture)
    pixels += generator.normal(0, _NOISE, pixels.shape)
    images = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)[..., None]
    return ArraySplit(images, labels[index])


def _drawn(
    originals: np.ndarray, size: np.ndarray, place: np.ndarray, turn: np.ndarray
) -> np.ndarray:
    """(N, SIDE, SIDE) pictures of originals of 8 x 8 pixels, bilinear."""
    side = originals.shape[1]
    grid = np.arange(SIDE) + 0.5
    down = grid[None, :, None] - place[:, 0, None, None]
    right = grid[None, None, :] - place[:, 1, None, None]
    cos, sin = (f(turn)[:, None, None] for f in (np.cos, np.sin))
    scale = (side / size)[:, None, None]
    y = (cos * down + sin * right) * scale + side / 2 - 0.5
    x = (cos * right - sin * down) * scale + side / 2 - 0.5
    padded = np.pad(originals, ((0, 0), (1, 2), (1, 2)))
    y, x = (np.clip(v, -1, side) + 1 for v in (y, x))
    top, left = y.astype(int), x.astype(int)
    dy, dx = y - top, x - left
    n = np.arange(len(originals))[:, None, None]
    return (
        (1 - dy) * (1 - dx) * padded[n, top, left]
        + (1 - dy) * dx * padded[n, top, left + 1]
        + dy * (1 - dx) * padded[n, top + 1, left]
        + dy * dx * padded[n, top + 1, left + 1]
    )
