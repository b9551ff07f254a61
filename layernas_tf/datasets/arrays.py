"""Makes a `Dataset` of checked arrays, such as scikit-learn's `digits`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.frame import frame_for
from layernas_tf.datasets.framing import fit_images, with_channels
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.split import (
    ArraySplit,
    Dataset,
    check_limit,
    hold_out,
    subset,
)

TEST_FRACTION = 0.2
"""Share of each class that is held out as the test set where there is none."""


def make_dataset(
    name: str,
    train: ArraySplit,
    test: ArraySplit,
    class_names: tuple[str, ...],
    options: Options,
    *,
    mirrors: bool,
    valid: ArraySplit | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Limits, resizes and splits images of one size that have been checked.

    Without `valid`, a share of the training images is held out.
    """
    own_valid = valid is not None
    least = 2 if valid is None else 1
    if options.limit is not None:
        check_limit(name, options.limit, len(class_names), least)
        train = train.take(subset(train.labels, options.limit, options.seed, least))
        test = test.take(subset(test.labels, options.limit, options.seed))
        if valid is not None:
            valid = valid.take(subset(valid.labels, options.limit, options.seed))
    frame = frame_for(
        [train.images.shape[1:3]],
        options.channels or train.images.shape[-1],
        options.resolution,
        options.fit,
    )
    if valid is None:
        stay, held = hold_out(train.labels, options.valid_fraction, options.seed)
        train, valid = train.take(stay), train.take(held)

    def fitted(split: ArraySplit) -> ArraySplit:
        images = fit_images(with_channels(split.images, frame.channels), frame)
        return dataclasses.replace(split, images=images)

    return Dataset(
        name=name,
        classes=len(class_names),
        class_names=class_names,
        shape=frame.shape,
        train=fitted(train),
        valid=fitted(valid),
        test=fitted(test),
        mirrors=mirrors,
        frame=frame,
        notes=notes,
        own_valid=own_valid,
    )


def check_enough(
    name: str, labels: np.ndarray, class_names: Sequence[str], least: int = 2
) -> None:
    """Raises `UserError` unless there are two classes, each with enough images.

    Args:
      name: Name of the data set.
      labels: Labels of the training images.
      class_names: Names of all classes.
      least: Number of images that each class must have. It counts one image that is
        held out for validation and one for the test set, if the data set has no such
        set of its own.
    """
    classes = len(class_names)
    if classes < 2:
        raise UserError(f"{name}: expected at least 2 classes, got {classes}")
    counts = np.bincount(labels, minlength=classes)
    few = int(np.argmin(counts))
    if counts[few] < least:
        why = {
            1: "",
            2: " (one is held out for validation)",
            3: " (one is held out for validation, one as the test set)",
        }[least]
        images = "image" if least == 1 else "images"
        raise UserError(
            f"{name}: expected at least {least} training {images} of each of the "
            f"{classes} classes{why}, got {counts[few]} of class {class_names[few]}"
        )


def load_digits(name: str, options: Options) -> Dataset:
    """scikit-learn's 1,797 handwritten digits; the same fifth is always the test set.

    Source: E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    everything = ArraySplit(images, digits.target.astype(np.int32))
    stay, held = hold_out(everything.labels, TEST_FRACTION, seed=0)
    return make_dataset(
        name,
        everything.take(stay),
        everything.take(held),
        tuple(str(name) for name in digits.target_names),
        options,
        mirrors=False,
    )
