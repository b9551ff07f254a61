"""Finds the features and splits of a prepared TFDS data set that are used."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.extras import needs_extra
from layernas_tf.datasets.split_names import split_of


@dataclasses.dataclass(frozen=True, eq=False)
class TfdsSource:
    """A prepared data set, and which of its features and splits are used.

    Example:
      source = open_source("tfds:mnist", "mnist")
      print(source.image, source.label, source.splits)

    Attributes:
      name: The text that named the data set.
      builder: The builder of TFDS.
      image: Name of the feature that is the image.
      label: Name of the feature that is the class.
      class_names: Names of the classes.
      splits: Names of the splits by part: `train`, perhaps `valid` and `test`.
      notes: Sentences about parts that are not used or were interpreted.
    """

    name: str
    builder: Any
    image: str
    label: str
    class_names: tuple[str, ...]
    splits: Mapping[str, str]
    notes: tuple[str, ...]


def open_source(name: str, builder_name: str) -> TfdsSource:
    """Finds a data set and prepares it, which downloads it where TFDS does.

    Args:
      name: The text that named the data set, for messages.
      builder_name: TFDS' name of the data set.

    Raises:
      UserError: There is no such data set, it cannot be prepared, or it does not hold
        labelled images.
    """
    with needs_extra("tfds", name):
        import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(builder_name)
    except Exception as error:  # TFDS raises many kinds, all about the name.
        raise UserError(
            f"{name}: TensorFlow Datasets cannot find {builder_name!r}: "
            f"{first_line(error)}"
        ) from error
    image, label = _features(name, builder)
    try:
        builder.download_and_prepare()
    except Exception as error:  # The connection, the disk, or a manual download.
        raise UserError(
            f"{name}: TensorFlow Datasets cannot prepare it (no internet connection, "
            f"or a manual download is needed): {first_line(error)}"
        ) from error
    names = tuple(builder.info.features[label].names)
    splits, notes = _splits(name, builder)
    if (image, label) != ("image", "label"):
        notes.append(f"the images are the feature {image!r}, the classes {label!r}")
    return TfdsSource(name, builder, image, label, names, splits, tuple(notes))


def _features(name: str, builder: Any) -> tuple[str, str]:
    """The names of the features that are the image and its class."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    named = dict(features) if hasattr(features, "keys") else {}
    kinds = (
        # A LabeledImage has a class for each pixel.
        ("image", "Image", lambda f: type(f) is tfds.features.Image),
        ("label", "ClassLabel", lambda f: isinstance(f, tfds.features.ClassLabel)),
    )
    chosen = []
    for usual, kind, fits in kinds:
        found = [key for key, feature in named.items() if fits(feature)]
        supervised = [key for key in builder.info.supervised_keys or () if key in found]
        if usual in found:
            chosen.append(usual)
        elif len(supervised) == 1:
            chosen.append(supervised[0])
        elif len(found) == 1:
            chosen.append(found[0])
        else:
            listed = ", ".join(f"{k} ({type(f).__name__})" for k, f in named.items())
            raise UserError(
                f"{name}: expected one {usual}, a feature of kind {kind}, got "
                f"{len(found)} of {listed or type(features).__name__}"
            )
    return chosen[0], chosen[1]


def _splits(name: str, builder: Any) -> tuple[dict[str, str], list[str]]:
    """The name of each part's split, and notes about those that are not used."""
    present = list(builder.info.splits or {})
    if not present:  # not known before they are read
        return {"train": "train", "test": "test"}, []
    found: dict[str, str] = {}
    notes = []
    for split in sorted(present, key=lambda s: (s not in _USUAL, present.index(s))):
        part = split_of(split)
        if part == "eval":
            part = "valid" if "test" in found else "test"
        if part is None or part in found:
            notes.append(f"the split {split!r} is not used")
        else:
            found[part] = split
    if "train" not in found and len(present) == 1:
        found, notes = {"train": present[0]}, []
    if "train" not in found:
        raise UserError(
            f"{name}: no split 'train' in {str(builder.data_dir)!r}, got "
            f"{', '.join(present) or 'none'}: expected a prepared data set"
        )
    # The test images of ImageNet come without labels.
    if builder.name.startswith("imagenet"):
        found.pop("test", None)
        if "valid" not in found:
            raise UserError(
                f"{name}: the split 'validation' is not in {str(builder.data_dir)!r}: "
                "expected a data set that TFDS has prepared with it"
            )
    if "test" not in found and "valid" in found:
        found["test"] = found.pop("valid")
    return found, notes


_USUAL = ("train", "validation", "test")


def held_note(held: int, size: int) -> str:
    """A note that a test set was held out of the training images."""
    return (
        f"no labelled test set, so {held:,} of {size:,} images are held out as the "
        "test set"
    )


def first_line(error: Exception) -> str:
    """The kind of an error and its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
